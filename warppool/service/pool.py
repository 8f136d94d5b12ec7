"""The pool: every object of it beside what it shares with the translator (`service.py`), handed its neighbours."""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import sys
import time
from dataclasses import dataclass
from typing import Any

from warppool import __version__
from warppool.config.options import Config, PoolConfig
from warppool.events import BlockFound, ShareAccepted
from warppool.ledger.items import BlockOutcome, BlockRow, Refusals, Shares
from warppool.ledger.url import open_reader
from warppool.loop import ask_all
from warppool.mining.counter import SECRET_SIZE, Shuffle
from warppool.mining.extranonce import PREFIX_SIZE
from warppool.mining.job import COMMON_EXTRANONCE_SIZES, START_ID_SIZE, Job, JobFactory
from warppool.net.inbox import FromWorker, JobReady, NoWork
from warppool.net.outbox import TurnAway
from warppool.net.worker import Worker
from warppool.node.choice import Rules
from warppool.node.httpline import NodeAddress
from warppool.node.items import BestNode, Found
from warppool.node.jobmaker import JobMaker
from warppool.node.journal import Journal
from warppool.node.journalthread import JournalThread
from warppool.node.missing import MissingBlocks, Ours
from warppool.node.regtest import RegtestSource
from warppool.node.rpc import RpcSource
from warppool.node.startids import StartIds
from warppool.node.submitter import Submitter
from warppool.noise.primitives import public_key
from warppool.say import say
from warppool.service.connector import Connector, listen_addresses
from warppool.service.nodes import Nodes, credentials_of
from warppool.service.patience import Patience
from warppool.service.service import JOIN_S, Service
from warppool.service.summary import Summary
from warppool.service.unpaid import UnpaidNames
from warppool.sv1.jobs import ENCODING as NOTIFY_ENCODING
from warppool.sv1.jobs import encoder as notify_encoder
from warppool.sv1.resume import Message as SessionMessage
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.profile import WARP
from warppool.threads import STOP

log = logging.getLogger("warppool")

NODES_S = 2.0
"""How long a stop waits for the nodes: an embedded chain takes what it was handed for 1 s, and then flushes."""

JOURNAL_S = 1.2
"""How long a stop waits for the disk of the block journal, which is given 1 s for its last fsyncs."""


@dataclass(frozen=True, slots=True)
class LedgerBooks:
    """What the submitter knows of the ledger: its queue."""

    inbox: queue.Queue[Any]

    def shares(self, shares: tuple[ShareAccepted, ...], reply_to: queue.Queue[Any] | None) -> None:
        """Book shares whose blocks are safe."""
        self.inbox.put(Shares(shares, reply_to))

    def block(self, block_hash: bytes, height: int, user: str, time: float, difficulty: float) -> None:
        """Book a block."""
        self.inbox.put(BlockRow(block_hash, height, user, time, difficulty))

    def block_outcome(self, block_hash: bytes, outcome: str, detail: str, time: float) -> None:
        """Book what became of it."""
        self.inbox.put(BlockOutcome(block_hash, outcome, detail, time))


class Daemon(Service):
    """The pool as one object: `start`, `is_ready`, `stop`. Made, started and stopped by the main thread.

    Ready means that every port listens and a template is there. Beside what a Service does, the constructor reads the
    block journal.
    """

    def __init__(self, config: Config, patience: Patience | None = None) -> None:
        self.config = config
        self.latest: Job | None = None              # set by thread `jobs`, read by anyone: it is frozen
        self._turns_away = False                    # of thread `jobs`: the reactor was told so
        super().__init__(patience)

    # --- building -----------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        config = self.config
        self._open_books(config.pool.data_dir, "pool.data_dir", config.ledger.url, config.ledger.durability)
        self._build_nodes()
        self._open_listeners(listen_addresses(config.stratum), config.stratum)
        self._submitter.replay()
        say(log, logging.INFO, "daemon.started", version=__version__, data_dir=str(config.pool.data_dir),
            network=config.pool.network, address=config.pool.payout_address, python=sys.version.split()[0],
            sqlite=sqlite3.sqlite_version, workers=config.stratum.workers)

    def _build_nodes(self) -> None:
        """The template sources and what hands them blocks, in the order of the configuration."""
        config = self.config
        self._job_inbox: queue.Queue[Any] = queue.Queue()
        self._shuffle = Shuffle(os.urandom(SECRET_SIZE))
        self._unpaid = UnpaidNames(config.pool.network, config.pool.payout_script)
        self._start_id = os.urandom(START_ID_SIZE)
        factory = JobFactory(
            payout_script=config.pool.payout_script, tag=config.pool.coinbase_tag.encode(),
            start_id=self._start_id, shuffle=self._shuffle, encoders={
                WARP.name: lambda job: EncodedJob(WARP, job),
                NOTIFY_ENCODING: notify_encoder(config.stratum.extranonce2_size),
            }, extranonce_sizes={*COMMON_EXTRANONCE_SIZES, PREFIX_SIZE + config.stratum.extranonce2_size})
        pool = config.pool
        outcomes: queue.Queue[Any] = queue.Queue()
        self._nodes = Nodes(config, self._job_inbox, outcomes)
        self._undo.append(self._nodes.close)
        self._job_maker = JobMaker(
            factory, self._job_inbox, self._broadcast,
            nodes=self._nodes.names,
            rules=Rules(pool.behind_blocks, pool.behind_s, pool.return_after_s, pool.work_max_age_s),
            end_work=self._end_work, best=lambda node: outcomes.put(BestNode(node)))
        self._journal = JournalThread(Journal(config.pool.data_dir / "blocks"), outcomes)
        self._submitter = Submitter(outcomes, self._journal, self._nodes.inboxes, LedgerBooks(self._ledger_inbox))
        self._start_ids = StartIds(config.pool.data_dir)
        self._missing = self._build_missing(config.pool, config.ledger.url)

    def _build_missing(self, pool: PoolConfig, ledger_url: str) -> MissingBlocks:
        assert pool.data_dir is not None
        data_dir = pool.data_dir

        def is_booked(block_hash: bytes) -> bool:
            with open_reader(ledger_url, data_dir) as books:
                return books.has_block(block_hash)

        nodes = [(NodeAddress.parse(node.url), credentials_of(node))
                 for node in self.config.nodes if node.source == "rpc"]
        ours = Ours(pool.coinbase_tag.encode(), self._start_ids.read(), pool.server_id)
        return MissingBlocks(nodes, ours, LedgerBooks(self._ledger_inbox), may_begin=self.is_ready.is_set,
                             is_booked=is_booked)

    def _build_worker(self, index: int) -> Worker:
        inbox = self._inboxes[index]

        def record(shares: tuple[ShareAccepted, ...]) -> None:
            self._ledger_inbox.put(Shares(shares, inbox, time.monotonic()))

        def refused(counts: tuple[tuple[str, str, int, int], ...]) -> None:
            self._ledger_inbox.put(Refusals(counts))

        def found(block: BlockFound) -> None:
            self._submitter.inbox.put(Found(block, inbox))

        def post(worker: int, message: SessionMessage) -> None:
            self._inboxes[worker].put(FromWorker(message))

        connector = Connector(self.config, index, self.certificate, self._shuffle, post, self._unpaid)
        return Worker(index, inbox, self._reactor.mailbox, self._hasher, connector, record=record, refused=refused,
                      found=found, hear=connector.hear, log_limit=self._log_limit)

    # --- running ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every thread; `is_ready` follows when a node gives a template."""
        try:
            self._start_ids.add(self._start_id, time.time())
        except OSError as exc:
            say(log, logging.WARNING, "start.unwritten", reason=exc.strerror, consequence="blocks of this start that "
                "the books lose are not found again", cure="free space on the disk of data_dir, then restart")
        super().start()
        if self.config.secrets.sv2_static_priv_key is not None:
            say(log, logging.INFO, "key.loaded", public_key=public_key(self.config.secrets.sv2_static_priv_key))

    def _start_behind(self) -> None:
        self._start(self._journal)
        self._start(self._submitter)

    def _start_before(self) -> None:
        self._start(self._job_maker)
        self._nodes.start(self._start)
        self._spawn("missing", self._missing.run)

    def _broadcast(self, job: Job) -> None:
        for inbox in self._inboxes:
            inbox.put(JobReady(job))
        self.latest = job
        self.is_ready.set()
        if self._turns_away:
            self._turns_away = False
            self._reactor.mailbox.post(TurnAway(False))

    def _end_work(self) -> None:
        """No node answers: whoever mines here is sent away, and whoever comes."""
        self._turns_away = True
        self._reactor.mailbox.post(TurnAway(True))
        for inbox in self._inboxes:
            inbox.put(NoWork())

    def ask_nodes(self) -> None:
        """Ask every node for a template at once, as when somebody knows of a new tip."""
        for source in self._nodes.sources:
            if isinstance(source, RpcSource):
                source.ask_now()

    # --- what people read ---------------------------------------------------------------------------------------------

    def ready_fields(self) -> dict[str, object]:
        """The height that is mined."""
        return {"height": self._height()}

    def status(self) -> str:
        """Network and ports, and what an operator should see to; it changes while the program runs."""
        where = f"{self.config.pool.network}, {self.ports}"
        lagging = f"; behind: {', '.join(self._job_maker.lagging)}" if self._job_maker.lagging else ""
        if self._job_maker.is_out_of_work:
            return f"no work, since no node answers; machines are sent away; {where}{lagging}"
        return f"mining on {where}{lagging}"

    def mistake(self) -> str:
        """Every node is on another network, and has been since the start: no waiting mends that."""
        if self.is_ready.is_set() or not all(source.is_misplaced for source in self._nodes.sources):
            return ""
        return "; ".join(f"{source.name}: {source.trouble}" for source in self._nodes.sources)

    def waits_for(self) -> str:
        """The first template, and why it does not come."""
        troubles = [f"{source.name}: {source.trouble}" for source in self._nodes.sources if source.trouble]
        return "waiting for the node: " + ("; ".join(troubles) or "no template yet")

    def say_summary(self, summary: Summary, now: float) -> None:
        """What the workers have counted, and how fresh the work is."""
        fields = summary.fields(self.stats(), now) | {
            "height": self._height(), "template_age": _age(self._job_maker.answered_at, now),
            "work_age": _age(self._job_maker.template_at, now)}
        if self._job_maker.lagging:
            fields["lagging"] = ",".join(self._job_maker.lagging)
        say(log, logging.INFO, "pool.summary", **fields)

    def _height(self) -> int:
        return self.latest.tip.height if self.latest is not None else 0

    # --- stopping -----------------------------------------------------------------------------------------------------

    def _stop_before(self) -> None:
        self._missing.stop()
        for source in self._nodes.sources:
            if isinstance(source, RpcSource):
                source.stop()
        self._job_inbox.put(STOP)

    def _stop_behind(self) -> None:
        self._stop_nodes()
        self._submitter.inbox.put(STOP)
        self._join(["submitter", "jobs"])
        self._journal.inbox.put(STOP)
        self._join(["journal"], JOURNAL_S)

    def _stop_nodes(self) -> None:
        """Blocks go to the nodes first; what no node took is in the journal and comes again at the next start."""
        ask_all([self._submitter], JOIN_S)
        for submitter in self._nodes.submitters:
            submitter.inbox.put(STOP)
        for source in self._nodes.sources:
            if isinstance(source, RegtestSource):
                source.stop()
        names = [submitter.name for submitter in self._nodes.submitters]
        self._join(names)
        for submitter in self._nodes.submitters:
            submitter.stop()
        self._join([*names, "missing", *(source.name for source in self._nodes.sources)], NODES_S)


def _age(since: float | None, now: float) -> object:
    """Whole seconds from `since` to `now` (monotonic), `none` where there is nothing yet."""
    return "none" if since is None else max(0, round(now - min(since, now)))
