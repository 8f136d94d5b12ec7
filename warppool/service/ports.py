"""The ports of a service: what listens there, the reactor that moves the bytes, and the workers that answer."""

from __future__ import annotations

import logging
import queue
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from warppool.config.options import StratumConfig
from warppool.config.provideroptions import TemplatePortsConfig
from warppool.config.translatoroptions import MachinesConfig
from warppool.loop import Reconfigure, ask_all, collect
from warppool.net.hasher import Hasher
from warppool.net.inbox import Drain
from warppool.net.limits import AcceptLimits, connection_cap
from warppool.net.listener import Listener, listen
from warppool.net.loglimit import LogLimit
from warppool.net.outbox import FlushAndStop, StopAccepting
from warppool.net.reactor import Reactor
from warppool.net.reports import WorkerReport
from warppool.net.worker import Worker
from warppool.say import say
from warppool.service.certificate import Certificate
from warppool.service.connector import ListenAddress
from warppool.service.patience import Patience
from warppool.service.specidentity import SpecIdentity
from warppool.service.threads import Threads
from warppool.threads import STOP

log = logging.getLogger("warppool")

PortsConfig = StratumConfig | MachinesConfig | TemplatePortsConfig


class Ports:
    """Binds `addresses` and makes the reactor and the hasher; `add_workers` follows, before `start_workers`.

    ConfigError; trouble of the moment is waited for by `patience`. `resources` closes what is open here. `fds_each` is
    2 where one connection is dialled for each that is accepted. `spec` is who the server is in the published profile of
    V2, None where that is not served. `besides` are descriptors that other parts of the service may take.
    """

    def __init__(self, addresses: Iterable[ListenAddress], stratum: PortsConfig, patience: Patience,
                 resources: ExitStack, fds_each: int = 1, spec: SpecIdentity | None = None,
                 besides: int = 0) -> None:
        raise_fd_limit()
        self.spec = spec
        pair = _pair_of(stratum)
        self.certificate = Certificate(*pair) if pair is not None and stratum.has_tls else None
        self.listeners: list[Listener] = []
        for listening in addresses:
            listener = patience.until_done(partial(listen, listening.kind, str(listening.address), listening.key))
            self.listeners.append(listener)
            resources.callback(listener.sock.close)
        self.inboxes: list[queue.Queue[Any]] = [queue.Queue() for _ in range(stratum.workers)]
        self._fds_each = fds_each
        self._besides = besides
        self.reactor = Reactor(self.listeners, self.inboxes, accept_limits=self.limits_of(stratum))
        resources.callback(self.reactor.close)
        self.log_limit = LogLimit()
        resources.callback(self.log_limit.close)
        self.hasher = Hasher(stratum.workers)
        resources.callback(self.hasher.stop)
        self.workers: list[Worker] = []

    def add_workers(self, make: Callable[[int, queue.Queue[Any]], Worker]) -> None:
        """Have `make(index, inbox)` make every worker."""
        self.workers = [make(index, inbox) for index, inbox in enumerate(self.inboxes)]

    def limits_of(self, stratum: PortsConfig) -> AcceptLimits:
        """What is accepted, within what the system allows."""
        return AcceptLimits(connection_cap(stratum.max_connections, self._fds_each, self._besides),
                            stratum.max_per_ip, stratum.proxy_from)

    def prepare(self, stratum: PortsConfig, *, has_tls: bool) -> Callable[[], None]:
        """Load the certificate; ConfigError. Returns what takes certificate and limits over, for those who come.

        Where the file has no port for TLS any more, the certificate of the one that is still open stays as it is.
        """
        take_certificate, pair = None, _pair_of(stratum)
        if self.certificate is not None and pair is not None and has_tls:
            take_certificate = self.certificate.prepare(*pair)

        def take() -> None:
            if take_certificate is not None:
                take_certificate()
            self.reactor.mailbox.post(Reconfigure(self.limits_of(stratum)))

        return take

    @property
    def threads(self) -> list[Worker | Reactor]:
        """Who serves connections."""
        return [self.reactor, *self.workers]

    @property
    def addresses(self) -> str:
        """Where it listens, for people."""
        return ",".join(listener.address for listener in self.listeners)

    def tell_workers(self, item: object) -> None:
        """Any thread: put `item` into the inbox of every worker."""
        for inbox in self.inboxes:
            inbox.put(item)

    def reports(self, timeout_s: float = 2.0) -> list[WorkerReport]:
        """What the workers have counted; a worker that does not answer in time is left out."""
        return ask_all(self.workers, timeout_s)

    # --- the order of a stop ------------------------------------------------------------------------------------------

    def stop_accepting(self) -> None:
        """No new connection, and no more bytes of those that are there."""
        self.reactor.mailbox.post(StopAccepting())

    def drain(self, timeout_s: float) -> None:
        """Wait until no share is in flight: each is judged, recorded, and its answer on its way."""
        reply: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.tell_workers(Drain(reply))
        drained = collect(reply, len(self.inboxes), timeout_s)
        if len(drained) < len(self.inboxes):
            say(log, logging.WARNING, "daemon.undrained", workers=len(self.inboxes) - len(drained),
                meaning="some shares in flight stay unanswered; their miners send them again or lose them")

    def stop_workers(self, threads: Threads) -> None:
        """End the workers; what they have said is with the reactor then."""
        self.tell_workers(STOP)
        threads.join(worker.name for worker in self.workers)

    def flush(self, timeout_s: float) -> None:
        """Send what is left, for as long as `timeout_s` allows, and end the reactor."""
        self.reactor.mailbox.post(FlushAndStop(time.monotonic() + timeout_s))


def _pair_of(stratum: PortsConfig) -> tuple[Path, Path] | None:
    """Certificate and key for TLS; None where there is no such port."""
    return None if isinstance(stratum, TemplatePortsConfig) else (stratum.tls_cert, stratum.tls_key)


def raise_fd_limit() -> None:
    """Take all the file descriptors that the system grants without asking root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
