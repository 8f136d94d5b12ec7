"""The pool: its parts are made here, and each is handed its neighbours.

Nodes give templates, the job maker makes jobs of them, the workers give these to the miners, and what comes back goes
to the books and, where it is a block, to the submitter.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from warppool import __version__
from warppool.addresses import NodeAddress
from warppool.bitcoin.address import is_guarded
from warppool.config.options import Config, NodeConfig, PoolConfig
from warppool.config.pool import TAG_CUT, UNGUARDED, check_asked, start_off_range
from warppool.events import BlockFound, ShareAccepted
from warppool.ledger.beginning import Beginning
from warppool.ledger.items import LedgerSettings, Shares
from warppool.ledger.opening import open_reader
from warppool.loop import Reconfigure, ServingThread, ask_all
from warppool.mining.counter import SECRET_SIZE, Shuffle
from warppool.mining.extranonce import PREFIX_SIZE
from warppool.mining.job import COMMON_EXTRANONCE_SIZES, START_ID_SIZE, Job, JobFactory
from warppool.net.inbox import FromWorker, JobReady, NoWork
from warppool.net.outbox import TurnAway
from warppool.net.worker import Worker
from warppool.node.choice import Rules
from warppool.node.items import BestNode, Found
from warppool.node.jobmaker import JobMaker, JobMakerSettings
from warppool.node.missing import MissingBlocks, Ours
from warppool.node.startids import StartIds
from warppool.noise.primitives import public_key
from warppool.say import say
from warppool.service.blockpath import MISSING, BlockPath
from warppool.service.connector import Connector, listen_addresses, profiles_of, serves_spec
from warppool.service.faces import Faces
from warppool.service.ledger import Ledger
from warppool.service.names import names_of
from warppool.service.nodes import Nodes, credentials_of, plan_of
from warppool.service.notices import notices_of
from warppool.service.numbers import Ear, Fork, StatsThread
from warppool.service.pastnumbers import read_past
from warppool.service.patience import Patience, impatient
from warppool.service.payers import payer_of
from warppool.service.payouts import payouts_of
from warppool.service.poolsources import PoolSources
from warppool.service.poolweb import pool_web
from warppool.service.ports import Ports
from warppool.service.reload import Program, Reload
from warppool.service.servedtemplates import first_template_id, let_past, templates_of
from warppool.service.service import InTurn, Parts, Service
from warppool.service.specidentity import SpecIdentity, prepare_identity
from warppool.service.statusfaces import status_faces
from warppool.service.summary import SUMMARY_S, fields_of
from warppool.service.threads import Threads
from warppool.service.web import fds_of
from warppool.sv1.jobs import ENCODING as NOTIFY_ENCODING
from warppool.sv1.jobs import encoder as notify_encoder
from warppool.sv1.resume import Message as SessionMessage
from warppool.sv2.jobs import EncodedJob

log = logging.getLogger("warppool")


class Pool:
    """Makes the parts of the pool and the `service` of them; made by the main thread.

    The constructor takes the data directory, opens the books, binds the ports and reads the block journal, so that
    every mistake of the operator shows at once, as ConfigError or LedgerError, and leaves nothing open behind it.
    Trouble of the moment is waited for, as long as `patience` allows, and then it is NotNow. The service is ready when
    every port listens and a template is there. `read` reads the configuration anew, for a reload.
    """

    def __init__(self, config: Config, patience: Patience | None = None, read: Callable[[], Config] | None = None
                 ) -> None:
        self.config = config
        with ExitStack() as resources:
            self._build(config, patience or impatient(), resources)
            self._work_path = WorkPath(config, self._start_id, self.job_maker, self.nodes, self._missing)
            self.service = Service(Parts(
                resources=resources.pop_all(), ledger=self.ledger, ports=self.ports, ask_nodes=self.nodes.ask_now,
                behind=InTurn(self.blocks, self.payouts), before=self._work_path, status=PoolStatus(self),
                reload=Reload(config, Program(read or (lambda: config), self.prepare, say_odd)),
                faces=Faces(self.numbers, *self._status_faces, *self.web, *notices_of(
                    config.notices, self.numbers.latest, "warppool", self.ports.certificate, self.ports.spec))),
                self.is_ready)

    def _build(self, config: Config, patience: Patience, resources: ExitStack) -> None:
        pool = config.pool
        self.is_ready = threading.Event()
        self._start_id = os.urandom(START_ID_SIZE)
        self._shuffle = Shuffle(os.urandom(SECRET_SIZE))
        self._first_template_id = first_template_id()
        self._names = names_of(pool)
        self.payouts = payouts_of(pool)
        self.ear = Ear()
        self.ledger = Ledger(pool.data_dir, "pool.data_dir", config.ledger.url, config.ledger.durability, patience,
                           resources, keep_days=config.ledger.keep_days,
                           beginning=Beginning(pool.payout, pool.server_id, self._start_id, time.time()),
                           heard=Fork(self.ear, self.payouts.heard), told=self.ear.put)
        spec = SpecIdentity(config.secrets, config.stratum.cert_validity_s) if serves_spec(config) else None
        self.ports = Ports(listen_addresses(config.stratum), config.stratum, patience, resources, spec=spec,
                           besides=fds_of(config.web))
        self.work = WorkBroadcast(self.ports, self.is_ready, let_past(config))
        job_inbox: queue.Queue[Any] = queue.Queue()
        outcomes: queue.Queue[Any] = queue.Queue()
        self.nodes = Nodes(pool, config.nodes, plan_of(pool), job_inbox, outcomes)
        resources.callback(self.nodes.close)
        self.job_maker = JobMaker(
            job_factory(config, self._start_id, self._shuffle), job_inbox, self.work.job,
            nodes=self.nodes.names, rules=rules_of(pool, self.nodes), end_work=self.work.end,
            best=lambda node: outcomes.put(BestNode(node)), snapshots=self.payouts.snapshots)
        self.payouts.join(config, self.ledger, self.nodes, job_inbox, self._start_id)
        self.blocks = BlockPath(pool.data_dir, outcomes, self.nodes, self.ledger, self.job_maker, self.payouts.inbox)
        self.submitter = self.blocks.submitter
        self._missing = self._missing_blocks(config)
        self.ports.add_workers(self._worker)
        self.numbers = StatsThread(self.ear, PoolSources(
            pool, self.work, self.job_maker, self.nodes, self.ledger.thread, self.payouts, self.ports.reactor.drops))
        self.numbers.take_past(read_past(partial(open_reader, config.ledger.url, pool.data_dir), time.time()))
        self._status_faces = status_faces(config.status, pool.data_dir, self.numbers.latest, resources)
        self.web = pool_web(config, self.numbers.latest, self.ports, patience, resources)
        self.submitter.replay()
        say(log, logging.INFO, "daemon.started", version=__version__, data_dir=str(pool.data_dir),
            network=pool.network, address=pool.payout_address, python=sys.version.split()[0],
            sqlite=sqlite3.sqlite_version, workers=config.stratum.workers)

    def prepare(self, config: Config, new: Config) -> Callable[[], Sequence[ServingThread]]:
        """Do all that may fail of running with `config`, where the file says `new`; ConfigError. Returns what tells the
        threads.

        Job maker and submitter hear of other nodes before these start or stop.
        """
        check_asked(config.pool.payout, config.nodes, "this pool runs with pool.payout = 'pplns' until a restart")
        take_ports = self.ports.prepare(config.stratum, has_tls=new.stratum.has_tls)
        take_spec = prepare_identity(self.ports.spec, config, new)
        numbers = self.nodes.numbers_of(config.nodes)

        def take() -> Sequence[ServingThread]:
            threads, pool = self.service.threads, config.pool
            self.config = config
            take_ports()
            take_spec()
            self.ports.tell_workers(Reconfigure(config))
            change = self.nodes.change(pool, config.nodes, numbers)
            self.job_maker.inbox.put(Reconfigure(JobMakerSettings(
                rules_of(pool, self.nodes), self.nodes.names, pool.coinbase_tag.encode())))
            self.submitter.inbox.put(Reconfigure(self.nodes.inboxes))
            self.ledger.inbox.put(Reconfigure(LedgerSettings(config.ledger.durability, config.ledger.keep_days)))
            change.follow(threads)
            if change.new or change.gone:
                self._work_path.search_again(threads, self._missing_blocks(config))
            return [*self.ports.threads, self.job_maker, self.submitter, *self.payouts.reconfigure(self.nodes)]

        return take

    def _missing_blocks(self, config: Config) -> MissingBlocks:
        nodes = () if self.payouts.looks_along_chain else config.nodes
        return missing_blocks(config, nodes, self.ledger, self.is_ready)

    def _worker(self, index: int, inbox: queue.Queue[Any]) -> Worker:
        ledger_inbox, submitter_inbox, inboxes = self.ledger.inbox, self.submitter.inbox, self.ports.inboxes

        def record(shares: tuple[ShareAccepted, ...]) -> None:
            ledger_inbox.put(Shares(shares, inbox, time.monotonic()))

        def found(block: BlockFound) -> None:
            submitter_inbox.put(Found(block, inbox))

        def post(worker: int, message: SessionMessage) -> None:
            inboxes[worker].put(FromWorker(message))

        ports = self.ports
        spec, job_maker = None if ports.spec is None else ports.spec.identity(), self.job_maker
        templates = templates_of(self.config, index, self._first_template_id, lambda: job_maker.answered_at)
        connector = Connector(self.config, index, ports.certificate, self._shuffle, post, self._names, spec, templates)
        return Worker(index, inbox, ports.reactor.mailbox, ports.hasher, connector, record=record,
                      refused=self.ledger.refused, found=found, hear=connector.hear,
                      reconfigure=connector.reconfigure, log_limit=ports.log_limit, tell=self.ear.put,
                      let_past=let_past(self.config))


def say_odd(config: Config) -> None:
    """Warn of what is no mistake, and may still not be what was meant."""
    if not is_guarded(config.pool.payout_script):
        say(log, logging.WARNING, "config.unguarded", key="pool.payout_address", meaning=UNGUARDED)
    if config.pool.is_tag_cut:
        say(log, logging.WARNING, "config.tag_cut", key="pool.coinbase_tag", used=config.pool.coinbase_tag,
            meaning=TAG_CUT)
    if odd := start_off_range(config):
        say(log, logging.WARNING, "config.bounded", key="difficulty.start", meaning=odd)


def rules_of(pool: PoolConfig, nodes: Nodes) -> Rules:
    """What the operator says about nodes that are behind, come back, are silent, or may be anybody."""
    return Rules(pool.behind_blocks, pool.behind_s, pool.return_after_s, pool.work_max_age_s, insecure=nodes.insecure)


def job_factory(config: Config, start_id: bytes, shuffle: Shuffle) -> JobFactory:
    """What makes jobs for V1 and for V2, in the words of both."""
    return JobFactory(
        payer=payer_of(config.pool), tag=config.pool.coinbase_tag.encode(), start_id=start_id,
        shuffle=shuffle, encoders={
            **{profile.name: partial(EncodedJob, profile) for profile in profiles_of(config)},
            NOTIFY_ENCODING: notify_encoder(config.stratum.extranonce2_size),
        }, extranonce_sizes={*COMMON_EXTRANONCE_SIZES, PREFIX_SIZE + config.stratum.extranonce2_size})


def missing_blocks(config: Config, tables: Sequence[NodeConfig], ledger: Ledger, is_ready: threading.Event
                   ) -> MissingBlocks:
    """What looks, once after the start, at the nodes of `tables` for blocks of ours that the books do not have."""
    pool = config.pool

    def is_booked(block_hash: bytes) -> bool:
        with open_reader(config.ledger.url, pool.data_dir) as reader:
            return reader.has_block(block_hash)

    nodes = [(NodeAddress.parse(node.url), credentials_of(node)) for node in tables if node.source == "rpc"]
    ours = Ours(pool.coinbase_tag.encode(), StartIds(pool.data_dir).read(), pool.server_id)
    return MissingBlocks(nodes, ours, ledger, may_begin=is_ready.is_set, is_booked=is_booked)


class WorkBroadcast:
    """Hands each new job to every worker, or says that there is none; called by the thread `jobs`.

    `latest` is the newest job, for any thread to read.
    """

    def __init__(self, ports: Ports, is_ready: threading.Event, let_past: frozenset[str] = frozenset()) -> None:
        self.latest: Job | None = None
        self._ports = ports
        self._is_ready = is_ready
        self._let_past = let_past                   # kinds of listeners where somebody may come who wants no work
        self._turns_away = False                    # the reactor was told so

    def job(self, job: Job) -> None:
        """There is a new job."""
        is_new = self.latest is None or self.latest.tip != job.tip
        self._ports.tell_workers(JobReady(job, time.monotonic() if is_new else None))
        self.latest = job
        self._is_ready.set()
        if self._turns_away:
            self._turns_away = False
            self._ports.reactor.mailbox.post(TurnAway(False))

    def end(self) -> None:
        """No node answers: whoever mines here is sent away, and whoever comes."""
        self._turns_away = True
        self._ports.reactor.mailbox.post(TurnAway(True, self._let_past))
        self._ports.tell_workers(NoWork())


class WorkPath:
    """The part before the workers: nodes, job maker, and the search for blocks that the books have lost."""

    def __init__(self, config: Config, start_id: bytes, job_maker: JobMaker, nodes: Nodes,
                 missing: MissingBlocks) -> None:
        self._config = config
        self._start_id = start_id
        self._job_maker = job_maker
        self._nodes = nodes
        self._missing = missing

    def start(self, threads: Threads) -> None:
        """Start them; the job maker gives the first job when a node gives a template."""
        self._write_start()
        threads.start(self._job_maker)
        self._nodes.start(threads)
        threads.spawn(MISSING, self._missing.run)
        if self._config.secrets.sv2_static_priv_key is not None:
            say(log, logging.INFO, "key.loaded", public_key=public_key(self._config.secrets.sv2_static_priv_key))

    def stop(self, threads: Threads) -> None:
        """No more work comes; the nodes still take blocks."""
        self._missing.stop()
        self._nodes.stop_templates()
        self._job_maker.stop()

    def search_again(self, threads: Threads, missing: MissingBlocks) -> None:
        """The nodes are others: the search for lost blocks begins anew with them, unless it is over."""
        if threads.is_alive(MISSING):
            self._missing.stop()
            self._missing = missing
            threads.spawn(MISSING, missing.run)

    def _write_start(self) -> None:
        """Before the first job: the id by which blocks of this start are known again."""
        try:
            StartIds(self._config.pool.data_dir).add(self._start_id, time.time())
        except OSError as exc:
            say(log, logging.WARNING, "start.unwritten", reason=exc.strerror, consequence="blocks of this start that "
                "the books lose are not found again", cure="free space on the disk of data_dir, then restart")


class NodeStatus:
    """What people read of a program whose work comes from nodes.

    `serving` and `idle` begin its line: while there is work, and while no node answers.
    """

    def __init__(self, network: str, ports: Ports, nodes: Nodes, job_maker: JobMaker, work: WorkBroadcast, *,
                 serving: str, idle: str) -> None:
        self._network = network
        self._ports = ports
        self._nodes = nodes
        self._job_maker = job_maker
        self._work = work
        self._serving = serving
        self._idle = idle

    def ready_fields(self) -> dict[str, object]:
        """The height that is mined."""
        return {"height": self._height()}

    def line(self) -> str:
        """Network and ports, and what an operator should see to; it changes while the program runs."""
        where = f"{self._network}, {self._ports.addresses}"
        lagging = f"; behind: {', '.join(self._job_maker.lagging)}" if self._job_maker.lagging else ""
        begin = f"{self._idle};" if self._job_maker.is_out_of_work else self._serving
        return f"{begin} {where}{lagging}"

    def mistake(self) -> str:
        """Every node is on another network, and has been since the start: no waiting mends that."""
        return "" if self._work.latest is not None else self._nodes.mistake()

    def waits_for(self) -> str:
        """The first template, and why it does not come."""
        return "waiting for the node: " + ("; ".join(self._nodes.troubles()) or "no template yet")

    def template_fields(self, now: float) -> dict[str, object]:
        """For the line of each minute: the height that is mined, and how long ago a node answered."""
        return {"height": self._height(), "template_age": _age(self._job_maker.answered_at, now)}

    def _height(self) -> int:
        return self._work.latest.tip.height if self._work.latest is not None else 0


class PoolStatus(NodeStatus):
    """The same of the pool, and what its workers have counted."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.config.pool.network, pool.ports, pool.nodes, pool.job_maker, pool.work,
                         serving="mining on", idle="no work, since no node answers; machines are sent away")
        self._payouts = pool.payouts
        self._numbers = pool.numbers

    def line(self) -> str:
        """The same, and how full the window is."""
        words = self._payouts.words()
        return f"{super().line()}; {words}" if words else super().line()

    def waits_for(self) -> str:
        """The same; or the window, where a node is there and jobs wait for the first snapshot."""
        words = self._payouts.words()
        return super().waits_for() if self._nodes.troubles() or not words else f"waiting: {words}"

    def say_summary(self, now: float) -> None:
        """What all faces show, and how fresh the work is."""
        ask_all([self._numbers], SUMMARY_S)                     # it makes a snapshot before it answers
        fields = fields_of(self._numbers.latest()) | self.template_fields(now) | {
            "work_age": _age(self._job_maker.template_at, now)} | self._payouts.fields()
        if self._job_maker.lagging:
            fields["lagging"] = ",".join(self._job_maker.lagging)
        say(log, logging.INFO, "pool.summary", **fields)


def _age(since: float | None, now: float) -> object:
    """Whole seconds from `since` to `now` (monotonic), `none` where there is nothing yet."""
    return "none" if since is None else max(0, round(now - min(since, now)))
