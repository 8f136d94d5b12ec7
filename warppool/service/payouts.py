"""The threads by which a pool follows its own blocks and shares rewards: `payout`, `audits` and `headers`.

In mode `pool` nobody follows: there are none of these threads, and nobody tells them anything.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from warppool.addresses import NodeAddress
from warppool.bitcoin.address import canonical
from warppool.claimfiles import folder_of
from warppool.config.options import Config, PoolConfig
from warppool.errors import ConfigError
from warppool.files import make_folder
from warppool.ledger.database import Reader
from warppool.ledger.opening import open_reader
from warppool.ledger.payoutitems import SharesBooked
from warppool.loop import Reconfigure, ServingThread, Takes
from warppool.node.jobsnapshots import JobSnapshots
from warppool.node.startids import StartIds
from warppool.payout.rules import PayoutRules
from warppool.rewards.audits import AuditWriter, WriteAudit
from warppool.rewards.claimtaker import ClaimTaker
from warppool.rewards.headers import HeaderReader, NodesToAsk
from warppool.rewards.making import SnapshotMaker
from warppool.rewards.past import read_past
from warppool.rewards.reading import BooksReading
from warppool.rewards.settling import Settling, SettlingUse
from warppool.rewards.settlinglines import COPY_CURE, COPY_MEANING
from warppool.rewards.snapshots import Neighbours, Snapshots
from warppool.rewards.stored import StoredSnapshots
from warppool.rewards.thread import Parties, PayoutThread
from warppool.say import say
from warppool.service.ledger import Ledger
from warppool.service.nodes import Nodes, credentials_of
from warppool.service.threads import Threads
from warppool.stats.snapshot import PayoutStats

log = logging.getLogger("warppool.payout")

PAYOUT_S: Final = 0.5
"""How long a stop waits for the thread `payout` to hand the last blocks to the books."""


class Payouts(Protocol):
    """Who is paid, as the rest of the pool sees it."""

    @property
    def inbox(self) -> queue.Queue[Any] | None:
        """Where job maker, submitter and nodes tell what happens; None where nobody asks."""

    @property
    def heard(self) -> Takes | None:
        """Where the ledger tells what is booked."""

    @property
    def snapshots(self) -> JobSnapshots: ...
    @property
    def looks_along_chain(self) -> bool:
        """Whether own blocks that the books lack are found as balances are cleared, so that nobody else must look."""

    @property
    def stats(self) -> PayoutStats | None:
        """For people to see; None where nobody follows blocks. Any thread may ask."""

    def fields(self) -> dict[str, object]: ...
    def words(self) -> str: ...
    def join(self, config: Config, ledger: Ledger, nodes: Nodes, jobs: queue.Queue[Any], start_id: bytes) -> None: ...
    def start(self, threads: Threads) -> None: ...
    def stop(self, threads: Threads) -> None: ...
    def reconfigure(self, nodes: Nodes) -> Sequence[ServingThread]: ...


def payouts_of(pool: PoolConfig) -> Payouts:
    """By `pool.payout`."""
    return NoPayouts() if pool.payout == "pool" else FollowedBlocks(is_shared=pool.payout == "pplns")


class NoPayouts:
    """All is paid to one address, and nothing is owed."""

    inbox = heard = stats = None
    looks_along_chain = False

    def __init__(self) -> None:
        self.snapshots = JobSnapshots()

    def fields(self) -> dict[str, object]:
        """Nothing is to be said."""
        return {}

    def words(self) -> str:
        """Nothing is to be said."""
        return ""

    def join(self, config: Config, ledger: Ledger, nodes: Nodes, jobs: queue.Queue[Any], start_id: bytes) -> None:
        """Nothing is needed."""

    def start(self, threads: Threads) -> None:
        """Nobody is there."""

    def stop(self, threads: Threads) -> None:
        """Nobody is there."""

    def reconfigure(self, nodes: Nodes) -> Sequence[ServingThread]:
        """Nobody is there."""
        return ()


class FollowedBlocks:
    """Own blocks are followed until they are settled, and where rewards are shared, so are shares and balances.

    `inbox` and `snapshots` are there at once, for those to whom they are handed. `join` needs the books.
    """

    def __init__(self, *, is_shared: bool) -> None:
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.heard: Takes = self.inbox if is_shared else _WithoutShares(self.inbox)
        self.snapshots = JobSnapshots(self.inbox.put, is_needed=is_shared)
        self.looks_along_chain = self._is_shared = is_shared

    @property
    def stats(self) -> PayoutStats:
        """What the thread `payout` shows."""
        view = self._thread.view
        newest = view.newest
        amounts = ((), (), 0) if newest is None else (newest.weights, newest.balances, newest.total_weight)
        weights, balances, total_weight = amounts
        return PayoutStats(
            unsettled=view.unsettled, is_shared=view.is_shared, accounts=view.accounts, payable_sat=view.payable_sat,
            window_percent=float(view.weight_percent) if view.is_shared and view.is_read else None,
            is_paying=view.is_paying, weights=weights, balances=balances, total_weight=total_weight)

    def fields(self) -> dict[str, object]:
        """For the line of each minute: own blocks that are not settled; and where rewards are shared, how full the
        window is (in percent), how many accounts are in it, what is owed to them, and whether jobs pay of that now.
        """
        view = self._thread.view
        fields: dict[str, object] = {"unsettled": view.unsettled}
        if view.is_shared:
            fields |= {"window": view.weight_percent if view.is_read else "none", "accounts": view.accounts,
                       "payable_sat": view.payable_sat, "paying": view.is_paying}
        return fields

    def words(self) -> str:
        """For `systemctl status`: how full the window is."""
        view = self._thread.view
        if not view.is_shared:
            return ""
        return f"window {view.weight_percent} % full" if view.is_read else "the window of shares is being read"

    def join(self, config: Config, ledger: Ledger, nodes: Nodes, jobs: queue.Queue[Any], start_id: bytes) -> None:
        """Make the threads; ConfigError, LedgerError. `jobs` is the job maker's inbox: it gets the first snapshot."""
        pool = config.pool
        try:
            make_folder(folder_of(pool.data_dir))
        except OSError as exc:
            raise ConfigError(f"pool.data_dir: {folder_of(pool.data_dir)} cannot be made ({exc.strerror})") from exc

        def opened() -> Reader:
            return open_reader(config.ledger.url, pool.data_dir)

        reading = BooksReading(opened)
        with opened() as reader:
            past = read_past(reader)
            if past.is_unconfirmed:
                say(log, logging.WARNING, "payout.unconfirmed", meaning=COPY_MEANING, cure=COPY_CURE)
            start_ids = {start.start_id for start in reader.starts()} | set(StartIds(pool.data_dir).read())
            began = max((start.time_ms / 1000 for start in reader.starts()), default=0.0)
            use = SettlingUse(pool.network, pool.payout_script, self._is_shared, frozenset({*start_ids, start_id}),
                              self.inbox, lambda block_hash: reading().has_block(block_hash),
                              lambda unix: unix >= began or reading().explains_loss(unix))
            settling = Settling(past, use, StoredSnapshots(reading))
            self._audits = AuditWriter(pool.data_dir, opened)
            self._headers = HeaderReader(_nodes_to_ask(nodes)) if self._is_shared else None
            snapshots = None
            if self._is_shared:
                has_headers = any(node.source == "rpc" for node in config.nodes)
                headers = self._headers.inbox if self._headers is not None and has_headers else None
                snapshots = Snapshots(SnapshotMaker(rules_of_payout(pool), reading), settling,
                                      Neighbours(jobs, ledger.inbox, headers, self.inbox))
                snapshots.start(reader, time.monotonic())
        self._thread = PayoutThread(
            self.inbox, settling, snapshots, ClaimTaker(folder_of(pool.data_dir), settling), reading,
            Parties(ledger.inbox, nodes.askers, self._write_audits))

    def start(self, threads: Threads) -> None:
        """Start them, once the ledger and the nodes' threads are there."""
        threads.start(*self._threads)

    def stop(self, threads: Threads) -> None:
        """What was heard of blocks is in the ledger's inbox before the ledger ends."""
        for thread in self._threads:
            thread.stop()
        threads.join([thread.name for thread in self._threads], PAYOUT_S)

    def reconfigure(self, nodes: Nodes) -> Sequence[ServingThread]:
        """The nodes are others; who is to be asked whether that has taken effect."""
        self.inbox.put(Reconfigure(nodes.askers))
        if self._headers is not None:
            self._headers.put(Reconfigure(_nodes_to_ask(nodes)))
        return (self._thread,)

    @property
    def _threads(self) -> Sequence[PayoutThread | AuditWriter | HeaderReader]:
        return [self._thread, self._audits, *([self._headers] if self._headers is not None else [])]

    def _write_audits(self, hashes: tuple[bytes, ...]) -> None:
        for block_hash in hashes:
            self._audits.put(WriteAudit(block_hash))


class _WithoutShares:
    """Where nothing is shared, no share wakes the thread `payout`."""

    def __init__(self, inbox: queue.Queue[Any]) -> None:
        self._inbox = inbox

    def put(self, item: Any, /) -> None:
        """Pass on all but shares."""
        if not isinstance(item, SharesBooked):
            self._inbox.put(item)


def rules_of_payout(pool: PoolConfig) -> PayoutRules:
    """What the configuration says of shared rewards, as snapshots hold it."""
    return PayoutRules(
        network=pool.network, payout_address=canonical(pool.payout_address), fee_bp=pool.fee_basis_points,
        window=pool.window, window_days=pool.window_days, window_rampup=pool.window_rampup,
        min_payout_sat=pool.min_payout_sat, min_paid_ratio=pool.min_paid_ratio)


def _nodes_to_ask(nodes: Nodes) -> NodesToAsk:
    return {number: (NodeAddress.parse(node.table.url), credentials_of(node.table))
            for number, node in nodes.by_number.items() if node.table.source == "rpc"}
