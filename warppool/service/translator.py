"""The translator: its parts are made here, and each is handed its neighbours."""

from __future__ import annotations

import argparse
import logging
import queue
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from warppool import __version__
from warppool.config.translator import LEDGER_URL, read_translator_config
from warppool.config.translatoroptions import PROGRAM, TranslatorConfig
from warppool.events import BlockFound, ShareAccepted
from warppool.ledger.items import Shares
from warppool.ledger.opening import open_reader
from warppool.loop import Reconfigure, ServingThread, ask_all
from warppool.net.inbox import FromWorker
from warppool.net.reports import WorkerReport
from warppool.net.resolver import Resolver
from warppool.net.worker import Worker
from warppool.say import say
from warppool.service.connector import TranslatorConnector, check_upstreams, fds_each, listen_addresses
from warppool.service.faces import Faces
from warppool.service.ledger import Ledger
from warppool.service.log import set_up
from warppool.service.notices import notices_of
from warppool.service.numbers import Ear, Fork, StatsThread
from warppool.service.pastnumbers import read_past
from warppool.service.patience import Patience, impatient
from warppool.service.ports import Ports
from warppool.service.reload import Program, Reload
from warppool.service.run import serve
from warppool.service.service import Parts, Service
from warppool.service.statusfaces import status_faces
from warppool.service.summary import SUMMARY_S, fields_of
from warppool.service.threads import Threads
from warppool.service.translatorsources import TranslatorSources
from warppool.service.translatorweb import translator_web
from warppool.service.upstreamwatch import UpstreamWatch
from warppool.service.web import fds_of
from warppool.stats.items import BlockSent, MachineItem, Took
from warppool.translate.counters import ShareCounts
from warppool.translate.waitingnames import Message as NameMessage

log = logging.getLogger("warppool")

MAX_DRAIN_S = 2.5
"""How long a stop waits for verdicts, if they may take so long: no thread of a node has to be waited for after it."""


def translate(args: argparse.Namespace) -> int:
    """Run the translator until SIGTERM or SIGINT: 0 after a clean stop, 1 if a thread died."""
    def read() -> TranslatorConfig:
        return read_translator_config(args.config)

    config = read()
    set_up(config.log.level)
    return serve(lambda patience: Translator(config, patience, read).service)


class Translator:
    """Makes the parts of the translator and the `service` of them; made by the main thread.

    The service is ready when every port listens and an upstream has answered, or none has for a while: machines wait
    here then, as they would later. ConfigError, LedgerError and NotNow as for the pool. `read` reads the configuration
    anew, for a reload.
    """

    def __init__(self, config: TranslatorConfig, patience: Patience | None = None,
                 read: Callable[[], TranslatorConfig] | None = None) -> None:
        self.config = config
        with ExitStack() as resources:
            self._build(config, patience or impatient(), resources)
            self.service = Service(Parts(
                resources=resources.pop_all(), ledger=self.ledger, ports=self.ports, ask_nodes=_no_nodes,
                behind=LookUps(self._resolver), before=self.first_upstream, status=TranslatorStatus(self),
                reload=Reload(config, Program(read or (lambda: config), self.prepare, _nothing_odd)),
                faces=Faces(self.numbers, *self._status_faces, *self.web, *notices_of(
                    config.notices, self.numbers.latest, PROGRAM, self.ports.certificate, None))),
                self.is_ready, drain_s=_drain_s(config))

    def _build(self, config: TranslatorConfig, patience: Patience, resources: ExitStack) -> None:
        translator = config.translator
        check_upstreams(config)
        self.is_ready = threading.Event()
        self.ear = Ear()
        self.ledger = Ledger(translator.data_dir, "translator.data_dir", LEDGER_URL, "none", patience, resources,
                             heard=Fork(self.ear, None), told=self.ear.put)
        self.ports = Ports(listen_addresses(config.stratum), config.stratum, patience, resources, fds_each(config),
                           besides=fds_of(config.web))
        self._resolver = Resolver(self.ports.reactor.mailbox, self.ports.inboxes)
        self._connectors: list[TranslatorConnector] = []
        self.ports.add_workers(self._worker)
        self.first_upstream = UpstreamWatch(
            lambda: [upstream.url for upstream in self.config.upstreams], self.ports.inboxes[0].put,
            lambda: all(connector.is_idle for connector in self._connectors), self.is_ready)
        self._add_faces(config, patience, resources)
        say(log, logging.INFO, "daemon.started", version=__version__, data_dir=str(translator.data_dir),
            mode=translator.mode, upstreams=",".join(upstream.url.place for upstream in config.upstreams),
            python=sys.version.split()[0], sqlite=sqlite3.sqlite_version, workers=config.stratum.workers)

    def _add_faces(self, config: TranslatorConfig, patience: Patience, resources: ExitStack) -> None:
        """The numbers, and all that shows them."""
        data_dir = config.translator.data_dir
        self.numbers = StatsThread(self.ear, TranslatorSources(
            [connector.upstreams for connector in self._connectors], self.first_upstream, self.ledger.thread,
            self.ports.reactor.drops))
        self.numbers.take_past(read_past(partial(open_reader, LEDGER_URL, data_dir), time.time()))
        self._status_faces = status_faces(config.status, data_dir, self.numbers.latest, resources)
        self.web = translator_web(config, self.numbers.latest, self.ports, patience, resources)

    def prepare(self, config: TranslatorConfig, new: TranslatorConfig) -> Callable[[], Sequence[ServingThread]]:
        """Do all that may fail of running with `config`, where the file says `new`; ConfigError. Returns what tells the
        threads.
        """
        check_upstreams(config)
        take_ports = self.ports.prepare(config.stratum, has_tls=new.stratum.has_tls)

        def take() -> Sequence[ServingThread]:
            self.config = config
            self.service.drain_s = _drain_s(config)
            take_ports()
            self.ports.tell_workers(Reconfigure(config))
            return self.ports.threads

        return take

    def _worker(self, index: int, inbox: queue.Queue[Any]) -> Worker:
        ports, ledger_inbox = self.ports, self.ledger.inbox

        def record(shares: tuple[ShareAccepted, ...]) -> None:
            ledger_inbox.put(Shares(shares, None))      # verdicts; no answer to a machine waits for the books

        others = [each for each in ports.inboxes if each is not inbox]

        def tell(message: NameMessage) -> None:
            for other in others:
                other.put(FromWorker(message))

        connector = TranslatorConnector(self.config, ports.certificate, tell)
        self._connectors.append(connector)
        return Worker(index, inbox, ports.reactor.mailbox, ports.hasher, connector, record=record,
                      refused=self.ledger.refused, found=_no_block, dial=self._resolver.dial,
                      hear=connector.hear, reconfigure=connector.reconfigure, sessions=connector.counters.counts,
                      log_limit=ports.log_limit, tell=self._hear_of, awaits_records=False)

    def _hear_of(self, item: MachineItem | Took) -> None:
        """Any worker: what happens to its machines."""
        if isinstance(item, BlockSent):
            self.ledger.block(item.hash, item.height, item.name, item.at, item.difficulty)
        else:
            self.ear.put(item)

    def counts(self) -> ShareCounts:
        """What became of every share so far, of all workers together."""
        return counts_of(self.ports.reports())


class LookUps:
    """The part behind the workers: who looks up the names of upstreams."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def start(self, threads: Threads) -> None:
        """Start the resolver."""
        threads.start(self._resolver)

    def stop(self, threads: Threads) -> None:
        """End it."""
        self._resolver.stop()
        threads.join([self._resolver.name])


class TranslatorStatus:
    """What people read of the translator."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self._ports = translator.ports

    def _upstreams(self) -> str:
        return ", ".join(upstream.url.place for upstream in self._translator.config.upstreams)

    def ready_fields(self) -> dict[str, object]:
        """The upstream that answered."""
        found = self._translator.first_upstream.found
        return {"upstream": "none" if found is None else found.place}

    def line(self) -> str:
        """Ports and upstreams."""
        return f"translating on {self._ports.addresses} for {self._upstreams()}"

    def mistake(self) -> str:
        """None: an upstream that is away may come back."""
        return ""

    def waits_for(self) -> str:
        """The first upstream that answers."""
        return f"waiting for an upstream: {self._upstreams()}"

    def say_summary(self, now: float) -> None:
        """What all faces show, and where every share is."""
        ask_all([self._translator.numbers], SUMMARY_S)          # it makes a snapshot before it answers
        reports = self._ports.reports()
        fields, counts = fields_of(self._translator.numbers.latest()), counts_of(reports)
        for name in [name for name in fields if name.startswith(("accepted", "refused", "blocks", "effort"))]:
            del fields[name]
        level = logging.INFO if counts.is_balanced else logging.ERROR
        say(log, level, "translator.summary", machines=fields.pop("miners"),
            upstreams=sum(worker.upstreams for worker in reports), **fields, received=counts.received,
            accepted=counts.accepted, rejected=sum(count for _, count in counts.rejected),
            **{f"rejected_{reason}": count for reason, count in counts.rejected}, filtered=counts.filtered,
            pending=counts.pending, unconfirmed=counts.unconfirmed, late=counts.late, unnamed=counts.unnamed,
            balanced=counts.is_balanced)


def _drain_s(config: TranslatorConfig) -> float:
    """How long a stop waits for verdicts."""
    return min(MAX_DRAIN_S, float(config.translator.verdict_timeout_s) + 0.5)


def _nothing_odd(config: TranslatorConfig) -> None:
    """There is nothing to warn of."""


def counts_of(reports: Iterable[WorkerReport]) -> ShareCounts:
    """What became of every share that these workers' sessions have counted."""
    parts = [report.sessions for report in reports if isinstance(report.sessions, ShareCounts)]
    rejected: Counter[str] = Counter()
    for part in parts:
        rejected.update(dict(part.rejected))
    return ShareCounts(
        received=sum(part.received for part in parts), accepted=sum(part.accepted for part in parts),
        rejected=tuple(sorted(rejected.items())), filtered=sum(part.filtered for part in parts),
        pending=sum(part.pending for part in parts), unconfirmed=sum(part.unconfirmed for part in parts),
        late=sum(part.late for part in parts), unnamed=sum(part.unnamed for part in parts))


def _no_block(block: BlockFound) -> None:
    raise AssertionError("blocks are the upstream's: a share that is one goes there like any other")


def _no_nodes() -> None:
    say(log, logging.INFO, "signal.ignored", meaning="there is no node to ask")
