"""The translator: every object of it beside what it shares with the pool (`service.py`), handed its neighbours."""

from __future__ import annotations

import argparse
import logging
import sqlite3
import sys
from collections import Counter

from warppool import __version__
from warppool.config.translator import LEDGER_URL, read_translator_config
from warppool.config.translatoroptions import TranslatorConfig
from warppool.events import BlockFound, ShareAccepted
from warppool.ledger.items import Refusals, Shares
from warppool.miner.link import PoolUrl
from warppool.net.resolver import Resolver
from warppool.net.worker import Worker
from warppool.say import say
from warppool.service.connector import TranslatorConnector, fds_each, listen_addresses
from warppool.service.log import set_up
from warppool.service.patience import Patience
from warppool.service.run import serve
from warppool.service.scout import PATIENCE_S, Scout
from warppool.service.service import Service
from warppool.service.summary import Summary
from warppool.translate.counters import Counts

log = logging.getLogger("warppool")

MAX_DRAIN_S = 2.5
"""How long a stop waits for verdicts, if they may take so long: no thread of a node has to be waited for after it."""


def translate(args: argparse.Namespace) -> int:
    """Run the translator until SIGTERM or SIGINT: 0 after a clean stop, 1 if a thread died."""
    config = read_translator_config(args.config)
    set_up(config.log.level)
    return serve(lambda patience: Translator(config, patience))


class Translator(Service):
    """The translator as one object: `start`, `is_ready`, `stop`. Made, started and stopped by the main thread.

    Ready means that every port listens and that an upstream has answered, or that none has for a while: machines wait
    here then, as they would later.
    """

    def __init__(self, config: TranslatorConfig, patience: Patience | None = None) -> None:
        self.config = config
        self.upstream: PoolUrl | None = None        # that answered at the start; set before `is_ready`
        self._connectors: list[TranslatorConnector] = []
        self.drain_s = min(MAX_DRAIN_S, float(config.translator.verdict_timeout_s) + 0.5)
        super().__init__(patience)

    # --- building -----------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        config, translator = self.config, self.config.translator
        self._open_books(translator.data_dir, "translator.data_dir", LEDGER_URL, "none")
        self._open_listeners(listen_addresses(config.stratum), config.stratum, fds_each(config))
        self._scout = Scout([upstream.url for upstream in config.upstreams], self._inboxes[0].put, self._scouted,
                            PATIENCE_S)
        say(log, logging.INFO, "daemon.started", version=__version__, data_dir=str(translator.data_dir),
            mode=translator.mode, upstreams=",".join(upstream.url.place for upstream in config.upstreams),
            python=sys.version.split()[0], sqlite=sqlite3.sqlite_version, workers=config.stratum.workers)

    def _build_worker(self, index: int) -> Worker:
        if not index:
            self._resolver = Resolver(self._reactor.mailbox, self._inboxes)
        connector = TranslatorConnector(self.config, self.certificate)
        self._connectors.append(connector)
        return Worker(index, self._inboxes[index], self._reactor.mailbox, self._hasher, connector,
                      record=self._book, refused=self._count, found=_no_block, dial=self._resolver.dial,
                      log_limit=self._log_limit, awaits_records=False)

    def _book(self, shares: tuple[ShareAccepted, ...]) -> None:
        """Verdicts for the books; no answer to a machine waits for them."""
        self._ledger_inbox.put(Shares(shares, None))

    def _count(self, counts: tuple[tuple[str, str, int, int], ...]) -> None:
        self._ledger_inbox.put(Refusals(counts))

    def _scouted(self, upstream: PoolUrl | None) -> None:
        self.upstream = upstream
        self.is_ready.set()

    # --- running ------------------------------------------------------------------------------------------------------

    def _start_behind(self) -> None:
        self._start(self._resolver)

    def _start_before(self) -> None:
        self._spawn("scout", self._scout.run)

    def _stop_before(self) -> None:
        self._scout.stop()
        self._join(["scout"])

    def _stop_behind(self) -> None:
        self._resolver.stop()
        self._join(["resolver"])

    # --- what people read ---------------------------------------------------------------------------------------------

    def ready_fields(self) -> dict[str, object]:
        """The upstream that answered."""
        return {"upstream": "none" if self.upstream is None else self.upstream.place}

    def status(self) -> str:
        """Ports and upstreams."""
        upstreams = ", ".join(upstream.url.place for upstream in self.config.upstreams)
        return f"translating on {self.ports} for {upstreams}"

    def waits_for(self) -> str:
        """The first upstream that answers."""
        return "waiting for an upstream: " + ", ".join(upstream.url.place for upstream in self.config.upstreams)

    def counts(self) -> Counts:
        """What became of every share so far, of all workers together."""
        return _sum([connector.counters.counts() for connector in self._connectors])

    def say_summary(self, summary: Summary, now: float) -> None:
        """What the workers have counted, and where every share is."""
        stats, counts = self.stats(), self.counts()
        fields = summary.fields(stats, now)
        for name in [name for name in fields if name.startswith(("accepted", "refused", "blocks"))]:
            del fields[name]
        level = logging.INFO if counts.is_balanced else logging.ERROR
        say(log, level, "translator.summary", machines=fields.pop("miners"),
            upstreams=sum(worker.upstreams for worker in stats), **fields, received=counts.received,
            accepted=counts.accepted, rejected=sum(count for _, count in counts.rejected),
            **{f"rejected_{reason}": count for reason, count in counts.rejected}, filtered=counts.filtered,
            pending=counts.pending, unconfirmed=counts.unconfirmed, late=counts.late, unnamed=counts.unnamed,
            balanced=counts.is_balanced)


def _sum(parts: list[Counts]) -> Counts:
    rejected: Counter[str] = Counter()
    for part in parts:
        rejected.update(dict(part.rejected))
    return Counts(
        received=sum(part.received for part in parts), accepted=sum(part.accepted for part in parts),
        rejected=tuple(sorted(rejected.items())), filtered=sum(part.filtered for part in parts),
        pending=sum(part.pending for part in parts), unconfirmed=sum(part.unconfirmed for part in parts),
        late=sum(part.late for part in parts), unnamed=sum(part.unnamed for part in parts))


def _no_block(block: BlockFound) -> None:
    raise AssertionError("blocks are the upstream's: a share that is one goes there like any other")
