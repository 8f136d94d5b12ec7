"""Every object of the daemon, built and handed its neighbours; the order in which threads start and stop.

Start goes from the books outwards to the ports, stop from the ports inwards: first no more bytes come in, then what is
in flight is judged, recorded and answered, and the books close last (style.md §6).
"""

from __future__ import annotations

import logging
import os
import queue
import resource
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from warppool import __version__
from warppool.app.certificate import Certificate
from warppool.app.connector import Connector, doors_of
from warppool.app.lock import DataDirLock
from warppool.app.options import Config, NodeConfig
from warppool.events import BlockFound, ShareAccepted
from warppool.ledger.items import BlockOutcome, BlockRow, Refusals, Shares
from warppool.ledger.thread import LedgerThread
from warppool.ledger.url import open_ledger
from warppool.mining.extranonce import PREFIX_SIZE
from warppool.mining.job import COMMON_EXTRANONCE_SIZES, START_ID_SIZE, Job, JobFactory
from warppool.net.hasher import Hasher
from warppool.net.inbox import Ask, Drain, JobReady, WorkerStats
from warppool.net.limits import connection_cap
from warppool.net.listener import Listener, listen
from warppool.net.outbox import FlushAndStop, StopAccepting
from warppool.net.reactor import Reactor
from warppool.net.worker import Worker
from warppool.node.desk import Desk
from warppool.node.httpline import NodeAddress
from warppool.node.items import Found
from warppool.node.journal import Journal
from warppool.node.jsonrpc import Cookie, Credentials, UserPassword
from warppool.node.regtest import RegtestSource
from warppool.node.rpc import RpcSource
from warppool.node.rpcsubmit import RpcSubmitter
from warppool.node.submitter import NodeDoor, Submitter
from warppool.noise.primitives import public_key
from warppool.say import say
from warppool.sv1.jobs import ENCODING as NOTIFY_ENCODING
from warppool.sv1.jobs import encoder as notify_encoder
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.profile import WARP
from warppool.threads import STOP, spawn

log = logging.getLogger("warppool")

SWITCH_INTERVAL_S = 0.005
DRAIN_S = 2.0
"""How long a stop waits for shares in flight; with what follows it stays within the 5 s that SIGTERM is promised."""

NODES_S = 2.0
"""The same for the nodes: an embedded chain takes what it was handed for 1 s, and then flushes."""

JOIN_S = 0.5
BEAT_LIMIT_S = 20.0
"""A thread that has not turned for so long hangs: each promises a turn every 5 s."""

NODE_BEAT_LIMIT_S = 60.0
"""The same for the thread of a node, which may stand in a call of 20 s."""


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


class Daemon:
    """The pool as one object: `start`, `is_ready`, `stop`. Made, started and stopped by the main thread.

    The constructor takes the data directory, opens the books, reads the block journal and binds the ports, so that
    every mistake of the operator shows at once, as ConfigError or LedgerError, and leaves nothing open behind it.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.is_ready = threading.Event()           # every port listens and a template is there
        self.has_failed = threading.Event()         # a thread died: the daemon must end
        self.latest: Job | None = None              # set by thread `jobs`, read by anyone: it is frozen
        self._undo: list[Callable[[], None]] = []   # what to close when the constructor fails or the daemon ends
        self._threads: dict[str, threading.Thread] = {}
        try:
            self._build()
        except BaseException:
            self._close_all()
            raise

    # --- building -----------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        config = self.config
        raise_fd_limit()
        assert config.pool.data_dir is not None
        lock = DataDirLock(config.pool.data_dir)
        self._undo.append(lock.release)
        self._ledger_inbox: queue.Queue[Any] = queue.Queue()
        books = open_ledger(config.ledger.url, config.pool.data_dir)
        books.close()                               # good; its thread opens it again, since SQLite is a thread's own
        self._ledger = LedgerThread(books, self._ledger_inbox, config.ledger.durability)
        self._build_nodes()
        self._build_net()
        self._submitter.replay()
        say(log, logging.INFO, "daemon.started", version=__version__, data_dir=str(config.pool.data_dir),
            network=config.pool.network, address=config.pool.payout_address, python=sys.version.split()[0],
            sqlite=sqlite3.sqlite_version, workers=config.stratum.workers)

    def _build_nodes(self) -> None:
        """The template sources and what hands them blocks, in the order of the configuration."""
        config = self.config
        self._desk_inbox: queue.Queue[Any] = queue.Queue()
        factory = JobFactory(
            payout_script=config.pool.payout_script, tag=config.pool.coinbase_tag.encode(),
            start_id=os.urandom(START_ID_SIZE), encoders={
                WARP.name: lambda job: EncodedJob(WARP, job),
                NOTIFY_ENCODING: notify_encoder(config.stratum.extranonce2_size),
            }, extranonce_sizes={*COMMON_EXTRANONCE_SIZES, PREFIX_SIZE + config.stratum.extranonce2_size})
        self._desk = Desk(factory, self._desk_inbox, self._broadcast)
        self._sources: list[RpcSource | RegtestSource] = []
        self._submitters: list[RpcSubmitter] = []
        outcomes: queue.Queue[Any] = queue.Queue()
        doors: list[NodeDoor] = []
        for number, node in enumerate(config.nodes):
            doors.append(self._build_node(number, node, outcomes))
        assert config.pool.data_dir is not None
        self._submitter = Submitter(outcomes, Journal(config.pool.data_dir / "blocks"), doors,
                                    LedgerBooks(self._ledger_inbox))

    def _build_node(self, number: int, node: NodeConfig, outcomes: queue.Queue[Any]) -> NodeDoor:
        pool = self.config.pool
        if node.source == "regtest":
            assert pool.data_dir is not None
            embedded = RegtestSource(number, pool.data_dir, self._desk_inbox, outcomes)
            self._sources.append(embedded)
            return NodeDoor(embedded.inbox, is_embedded=True)
        address, credentials = NodeAddress.parse(node.url), credentials_of(node)
        submitter = RpcSubmitter(number, address, credentials, outcomes)
        self._sources.append(RpcSource(number, address, credentials, pool.network, self._desk_inbox))
        self._submitters.append(submitter)
        return NodeDoor(submitter.inbox, is_embedded=False)

    def _build_net(self) -> None:
        """Ports, reactor, hasher and workers."""
        stratum = self.config.stratum
        self.certificate = Certificate(stratum.tls_cert, stratum.tls_key) if stratum.tls_listen else None
        self.listeners: list[Listener] = []
        for door in doors_of(stratum):
            listener = listen(door.kind, str(door.address), door.key)
            self.listeners.append(listener)
            self._undo.append(listener.sock.close)
        self._inboxes: list[queue.Queue[Any]] = [queue.Queue() for _ in range(stratum.workers)]
        self._reactor = Reactor(self.listeners, self._inboxes, max_connections=connection_cap(stratum.max_connections),
                                max_per_ip=stratum.max_per_ip)
        self._undo.append(self._reactor.close)
        self._hasher = Hasher(stratum.workers)
        self._undo.append(self._hasher.stop)
        self._workers = [self._build_worker(index) for index in range(stratum.workers)]

    def _build_worker(self, index: int) -> Worker:
        inbox = self._inboxes[index]

        def record(shares: tuple[ShareAccepted, ...]) -> None:
            self._ledger_inbox.put(Shares(shares, inbox))

        def refused(counts: tuple[tuple[str, str, int, int], ...]) -> None:
            self._ledger_inbox.put(Refusals(counts))

        def found(block: BlockFound) -> None:
            self._submitter.inbox.put(Found(block, inbox))

        return Worker(index, inbox, self._reactor.mailbox, self._hasher,
                      Connector(self.config, index, self.certificate), record=record, refused=refused, found=found)

    # --- running ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every thread; `is_ready` follows when a node gives a template."""
        self._spawn("ledger", self._ledger.run)
        self._spawn("submitter", self._submitter.run)
        for worker in self._workers:
            self._spawn(f"worker-{worker.index}", worker.run)
        self._spawn("reactor", self._reactor.run)
        self._spawn("jobs", self._desk.run)
        for submitter in self._submitters:
            self._spawn(submitter.name.replace("node-", "submit-"), submitter.run)
        for source in self._sources:
            self._spawn(source.name, source.run)
        if self.config.secrets.sv2_static_priv_key is not None:
            say(log, logging.INFO, "key.loaded", public_key=public_key(self.config.secrets.sv2_static_priv_key))

    def reload(self) -> None:
        """Read anew what can change while miners stay, which is the certificate; for the main thread."""
        if self.certificate is not None:
            self.certificate.reload()
        else:
            say(log, logging.INFO, "reload.ignored", meaning="only the certificate of tls_listen is read anew: for all "
                "else restart")

    def look(self, now: float) -> None:
        """Warn of what draws near, at Unix time `now`: the end of the certificate; for the main thread."""
        if self.certificate is not None:
            self.certificate.look(now)

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        self._threads[name] = spawn(name, run, self._died)

    def _died(self, name: str) -> None:
        say(log, logging.CRITICAL, "daemon.failed", thread=name, meaning="a bug: the daemon ends so that it can be "
            "started anew; the log above has the traceback")
        self.has_failed.set()

    def _broadcast(self, job: Job) -> None:
        for inbox in self._inboxes:
            inbox.put(JobReady(job))
        self.latest = job
        self.is_ready.set()

    def stats(self, timeout_s: float = 2.0) -> list[WorkerStats]:
        """What the workers have counted; a worker that does not answer in time is left out."""
        reply: queue.SimpleQueue[WorkerStats] = queue.SimpleQueue()
        for inbox in self._inboxes:
            inbox.put(Ask(reply))
        return list(_collect(reply, len(self._inboxes), timeout_s))

    def hanging(self, now: float) -> list[str]:
        """The names of threads that have not turned for too long, by the monotonic clock."""
        limits: list[tuple[str, float, float]] = [("reactor", self._reactor.beat, BEAT_LIMIT_S),
                                                  ("jobs", self._desk.beat, BEAT_LIMIT_S)]
        limits += [(f"worker-{worker.index}", worker.beat, BEAT_LIMIT_S) for worker in self._workers]
        limits += [(source.name, source.beat, NODE_BEAT_LIMIT_S) for source in self._sources]
        return [name for name, beat, limit in limits if now - beat > limit]

    # --- stopping -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End every thread within 5 s: answers in flight go out, blocks are handed on, the books are committed."""
        self._reactor.mailbox.post(StopAccepting())
        for source in self._sources:
            if isinstance(source, RpcSource):
                source.stop()
        self._desk_inbox.put(STOP)
        self._drain()
        for inbox in self._inboxes:
            inbox.put(STOP)
        self._join(f"worker-{worker.index}" for worker in self._workers)
        self._reactor.mailbox.post(FlushAndStop(time.monotonic() + JOIN_S))
        self._stop_nodes()
        self._submitter.inbox.put(STOP)
        self._join(["submitter"])
        self._ledger_inbox.put(STOP)
        self._join(["ledger", "reactor", "jobs"])
        self._close_all()
        left = sorted(name for name, thread in self._threads.items() if thread.is_alive())
        if left:
            say(log, logging.ERROR, "daemon.hanging", threads=",".join(left))
        say(log, logging.INFO, "daemon.stopped")

    def _drain(self) -> None:
        """Wait until no share is in flight: each is judged, recorded, and its answer on its way."""
        reply: queue.SimpleQueue[int] = queue.SimpleQueue()
        for inbox in self._inboxes:
            inbox.put(Drain(reply))
        drained = list(_collect(reply, len(self._inboxes), DRAIN_S))
        if len(drained) < len(self._inboxes):
            say(log, logging.WARNING, "daemon.undrained", workers=len(self._inboxes) - len(drained),
                meaning="some shares in flight stay unanswered; their miners send them again or lose them")

    def _stop_nodes(self) -> None:
        """Blocks go to the nodes first; what no node took is in the journal and comes again at the next start."""
        self._submitter.settle(JOIN_S)
        for submitter in self._submitters:
            submitter.inbox.put(STOP)
        for source in self._sources:
            if isinstance(source, RegtestSource):
                source.stop()
        names = [submitter.name.replace("node-", "submit-") for submitter in self._submitters]
        self._join(names)
        for submitter in self._submitters:
            submitter.stop()
        self._join([*names, *(source.name for source in self._sources)], NODES_S)

    def _join(self, names: Iterable[str], timeout_s: float = JOIN_S) -> None:
        deadline = time.monotonic() + timeout_s
        for name in names:
            thread = self._threads.get(name)
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _close_all(self) -> None:
        while self._undo:
            self._undo.pop()()


def _collect(reply: queue.SimpleQueue[Any], count: int, timeout_s: float) -> Iterable[Any]:
    """Up to `count` answers, for as long as `timeout_s` allows in all."""
    deadline = time.monotonic() + timeout_s
    with suppress(queue.Empty):
        for _ in range(count):
            yield reply.get(timeout=max(0.0, deadline - time.monotonic()))


def credentials_of(node: NodeConfig) -> Credentials:
    """How we log in at a node: by its user, where one is given, else by its cookie."""
    return UserPassword(node.user, node.password) if node.user else Cookie(node.cookie_file)


def raise_fd_limit() -> None:
    """Take all the file descriptors that the system grants without asking root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

