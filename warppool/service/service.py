"""What every program of ours is made of, whatever it serves: ports, reactor, workers, hasher, books, and their threads.

Start goes from the books outwards to the ports, stop from the ports inwards: first no more bytes come in, then what is
in flight is judged, recorded and answered, and the books close last (style.md §6). `pool.py` makes the pool of it,
`translator.py` the translator.
"""

from __future__ import annotations

import logging
import math
import queue
import resource
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from warppool.config.options import StratumConfig
from warppool.config.translatoroptions import MachinesConfig
from warppool.ledger.thread import LedgerThread
from warppool.ledger.url import open_ledger
from warppool.loop import Watched
from warppool.net.hasher import Hasher
from warppool.net.inbox import Ask, Drain, WorkerStats
from warppool.net.limits import AcceptLimits, connection_cap
from warppool.net.listener import Listener, listen
from warppool.net.loglimit import LogLimit
from warppool.net.outbox import FlushAndStop, StopAccepting
from warppool.net.reactor import Reactor
from warppool.net.worker import Worker
from warppool.say import say
from warppool.service.certificate import Certificate
from warppool.service.connector import ListenAddress
from warppool.service.lock import DataDirLock
from warppool.service.patience import Patience, impatient
from warppool.service.summary import Summary
from warppool.service.watch import Watchdog
from warppool.threads import STOP, spawn

log = logging.getLogger("warppool")

DRAIN_S = 2.0
"""How long a stop waits for shares in flight; with what follows it stays within the 5 s that SIGTERM is promised."""

FLUSH_S = 0.5
"""How long a stop waits for peers to take the last answers and hang up."""

JOIN_S = 0.5
STOP_S = 4.5
"""How long a stop takes at most, whatever hangs: what is left then ends with the process."""


class Runs(Watched, Protocol):
    """A thread that serves: its body, and what the watchdog sees of it."""

    def run(self) -> None: ...

class Service(ABC):
    """A program as one object: `start`, `is_ready`, `stop`. Made, started and stopped by the main thread.

    The constructor takes the data directory, opens the books and binds the ports, so that every mistake of the operator
    shows at once, as ConfigError or LedgerError, and leaves nothing open behind it. Trouble of the moment is waited
    for, as long as `patience` allows, and then it is NotNow.
    """

    drain_s = DRAIN_S

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or impatient()
        self.is_ready = threading.Event()           # every port listens, and there is something to serve
        self.has_failed = threading.Event()         # a thread died: the program must end
        self.listeners: list[Listener] = []
        self.certificate: Certificate | None = None
        self._undo: list[Callable[[], None]] = []   # what to close when the constructor fails or the program ends
        self.watchdog = Watchdog()
        self._threads: dict[str, threading.Thread] = {}
        self._stop_by = math.inf                    # monotonic: a stop waits for no thread beyond it
        self.is_hanging = False                     # threads are left after `stop`
        raise_fd_limit()
        try:
            self._build()
        except BaseException:
            self._close_all()
            raise

    # --- what each program has of its own -----------------------------------------------------------------------------

    @abstractmethod
    def _build(self) -> None:
        """Make all objects: `_open_books`, then `_open_listeners`, and what else there is."""

    @abstractmethod
    def _build_worker(self, index: int) -> Worker:
        """Worker number `index` on its inbox; `_open_listeners` asks for it once the reactor is there."""

    @abstractmethod
    def _start_behind(self) -> None:
        """Start the threads that workers hand things on to."""

    @abstractmethod
    def _start_before(self) -> None:
        """Start the threads that give workers something to do."""

    @abstractmethod
    def _stop_before(self) -> None:
        """No more work comes; workers still answer."""

    @abstractmethod
    def _stop_behind(self) -> None:
        """The workers are at their end; the books are still open."""

    @property
    def ports(self) -> str:
        """The addresses that are listened on."""
        return ",".join(listener.address for listener in self.listeners)

    @abstractmethod
    def ready_fields(self) -> dict[str, object]:
        """What `event=service.ready` says beside the ports."""

    @abstractmethod
    def status(self) -> str:
        """What the program does, for `systemctl status`."""

    @abstractmethod
    def waits_for(self) -> str:
        """What is still missing before `is_ready`, for `systemctl status`."""

    def mistake(self) -> str:
        """What only the operator can mend, found before `is_ready`; "" for nothing."""
        return ""

    @abstractmethod
    def say_summary(self, summary: Summary, now: float) -> None:
        """The line of each minute, at monotonic `now`."""

    # --- building -----------------------------------------------------------------------------------------------------

    def _open_books(self, data_dir: Path, key: str, url: str, durability: str) -> None:
        """Lock `data_dir`, which the configuration says under `key`, and open the ledger."""
        lock = self._patience.until_done(lambda: DataDirLock(data_dir, key))
        self._undo.append(lock.release)
        self._ledger_inbox: queue.Queue[Any] = queue.Queue()
        books = self._patience.until_done(lambda: open_ledger(url, data_dir))
        books.close()                               # good; its thread opens it again, since SQLite is a thread's own
        self._ledger = LedgerThread(books, self._ledger_inbox, durability)

    def _open_listeners(self, addresses: Iterable[ListenAddress], stratum: StratumConfig | MachinesConfig,
                        fds_each: int = 1) -> None:
        """Ports, reactor, hasher and workers; `fds_each` is 2 where one is dialled for each that is accepted."""
        self.certificate = Certificate(stratum.tls_cert, stratum.tls_key) if stratum.tls_listen else None
        for listening in addresses:
            listener = self._patience.until_done(partial(listen, listening.kind, str(listening.address), listening.key))
            self.listeners.append(listener)
            self._undo.append(listener.sock.close)
        self._inboxes: list[queue.Queue[Any]] = [queue.Queue() for _ in range(stratum.workers)]
        self._reactor = Reactor(self.listeners, self._inboxes, accept_limits=AcceptLimits(
            connection_cap(stratum.max_connections, fds_each), stratum.max_per_ip))
        self._undo.append(self._reactor.close)
        self._log_limit = LogLimit()
        self._undo.append(self._log_limit.close)
        self._hasher = Hasher(stratum.workers)
        self._undo.append(self._hasher.stop)
        self._workers = [self._build_worker(index) for index in range(stratum.workers)]

    # --- running ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every thread; `is_ready` follows."""
        self._start(self._ledger)
        self._start_behind()
        for worker in self._workers:
            self._start(worker)
        self._start(self._reactor)
        self._start_before()

    def reload(self) -> None:
        """Read anew what can change while miners stay, which is the certificate; for the main thread."""
        if self.certificate is not None:
            self.certificate.reload()
        else:
            say(log, logging.INFO, "reload.ignored", meaning="only the certificate of tls_listen is read anew: for all "
                "else restart")

    def ask_nodes(self) -> None:
        """Somebody knows of a new tip: ask for work at once, where there is anyone to ask; for the main thread."""
        say(log, logging.INFO, "signal.ignored", meaning="there is no node to ask")

    def look(self, now: float) -> None:
        """Warn of what draws near, at Unix time `now`: the end of the certificate; for the main thread."""
        if self.certificate is not None:
            self.certificate.look(now)

    def _start(self, thread: Runs) -> None:
        """Start a thread that serves, under the eyes of the watchdog."""
        self.watchdog.add(thread)
        self._spawn(thread.name, thread.run)

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        """Start a thread that does one thing and ends."""
        self._threads[name] = spawn(name, run, self._died)

    def _died(self, name: str) -> None:
        say(log, logging.CRITICAL, "daemon.failed", thread=name, meaning="a bug: the daemon ends so that it can be "
            "started anew; the log above has the traceback")
        self.has_failed.set()

    def stats(self, timeout_s: float = 2.0) -> list[WorkerStats]:
        """What the workers have counted; a worker that does not answer in time is left out."""
        reply: queue.SimpleQueue[WorkerStats] = queue.SimpleQueue()
        for inbox in self._inboxes:
            inbox.put(Ask(reply))
        return _collect(reply, len(self._inboxes), timeout_s)

    def relieve(self) -> None:
        """While a commit of the books hangs: refuse the shares that have waited too long; for the main thread."""
        self._ledger.relieve()

    def hanging(self, now: float) -> list[str]:
        """The names of threads that have not turned for too long, by the monotonic clock: they starve the watchdog."""
        return self.watchdog.hanging(now)

    # --- stopping -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End every thread within 5 s: answers in flight go out, and the books are committed.

        A thread that a disk or a node holds up longer than that is left behind (`is_hanging`).
        """
        self._stop_by = time.monotonic() + STOP_S - FLUSH_S - JOIN_S
        self._reactor.mailbox.post(StopAccepting())
        self._stop_before()
        self._drain()
        for inbox in self._inboxes:
            inbox.put(STOP)
        self._join(f"worker-{worker.index}" for worker in self._workers)
        self._reactor.mailbox.post(FlushAndStop(time.monotonic() + FLUSH_S))
        self._stop_behind()
        self._ledger_inbox.put(STOP)
        self._stop_by = math.inf
        self._join(["ledger", "reactor"], FLUSH_S + JOIN_S)
        self._close_all()
        left = sorted(name for name, thread in self._threads.items() if thread.is_alive())
        self.is_hanging = bool(left)
        if left:
            say(log, logging.ERROR, "daemon.hanging", threads=",".join(left))
        say(log, logging.INFO, "daemon.stopped")

    def _drain(self) -> None:
        """Wait until no share is in flight: each is judged, recorded, and its answer on its way."""
        reply: queue.SimpleQueue[int] = queue.SimpleQueue()
        for inbox in self._inboxes:
            inbox.put(Drain(reply))
        drained = _collect(reply, len(self._inboxes), self.drain_s)
        if len(drained) < len(self._inboxes):
            say(log, logging.WARNING, "daemon.undrained", workers=len(self._inboxes) - len(drained),
                meaning="some shares in flight stay unanswered; their miners send them again or lose them")

    def _join(self, names: Iterable[str], timeout_s: float = JOIN_S) -> None:
        deadline = min(time.monotonic() + timeout_s, self._stop_by)
        for name in names:
            thread = self._threads.get(name)
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _close_all(self) -> None:
        while self._undo:
            self._undo.pop()()


def _collect(reply: queue.SimpleQueue[Any], count: int, timeout_s: float) -> list[Any]:
    """Up to `count` answers, for as long as `timeout_s` allows in all."""
    deadline = time.monotonic() + timeout_s
    answers: list[Any] = []
    with suppress(queue.Empty):
        for _ in range(count):
            answers.append(reply.get(timeout=max(0.0, deadline - time.monotonic())))
    return answers


def raise_fd_limit() -> None:
    """Take all the file descriptors that the system grants without asking root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
