"""The snapshot: all numbers that people see, as one frozen value, made anew once a second.

Every face (files, socket, web, page, notices, the summary in the log) reads the newest snapshot and nothing else. No
session id, no extranonce and no address of a peer stands in it.

Times are in Unix seconds, 0.0 for never; ages in seconds. Rates are in hashes a second, from the credited work of their
window, and no number here is NaN or infinite. Names are as the books have them: whole, with `surrogateescape` for bytes
that are no UTF-8, and whatever characters a stranger likes. `best` is the difficulty that a share's hash met.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

WINDOWS: Final = (("1m", 60), ("5m", 300), ("15m", 900), ("1h", 3600), ("6h", 21_600), ("1d", 86_400), ("7d", 604_800))
"""The windows of the rates: name and seconds, in the order of `Rates`."""

IDLE_S: Final = 60.0
"""A machine is idle that is here and has had no share accepted for so long."""


class Rates(NamedTuple):
    """Hashes a second by window."""

    m1: float = 0.0
    m5: float = 0.0
    m15: float = 0.0
    h1: float = 0.0
    h6: float = 0.0
    d1: float = 0.0
    d7: float = 0.0


NO_RATES: Final = Rates()


class ShareTally(NamedTuple):
    """What a worker, a user or the pool has done.

    `accepted` and `refused` count shares since the program started, and `difficulty` is what the accepted ones were
    credited with. `total_accepted` and `total_difficulty` are of all time, by the books. `round_difficulty` and `best`
    are since the last own block, `best_ever` is of all time. `last_share` is the time of the last accepted one.
    """

    rates: Rates = NO_RATES
    accepted: int = 0
    refused: int = 0
    difficulty: float = 0.0
    total_accepted: int = 0
    total_difficulty: float = 0.0
    round_difficulty: float = 0.0
    best: float = 0.0
    best_ever: float = 0.0
    last_share: float = 0.0


class WorkerStats(NamedTuple):
    """A worker by its whole name. `machines` of that name are connected now: `agent` and `protocol` are those of the
    one that came last, `since` is when the first of them came. Where none is, these are of the last one, and `gone_at`
    is when it went. `refused` is by reason.
    """

    name: str
    user: str
    tally: ShareTally
    machines: int = 0
    is_idle: bool = False
    agent: str = ""
    protocol: str = ""                      # "v1", "v1-tls", "v2" (warp), "v2-spec"
    since: float = 0.0
    gone_at: float = 0.0
    refused: tuple[tuple[str, int], ...] = ()


class UserStats(NamedTuple):
    """A user, with its workers, those with the most work of seven days first. `since` is when it was first seen."""

    name: str
    tally: ShareTally
    workers: tuple[WorkerStats, ...] = ()
    machines: int = 0
    since: float = 0.0

    @property
    def idle(self) -> int:
        """Workers that are connected and idle."""
        return sum(worker.is_idle for worker in self.workers)


class BlockStats(NamedTuple):
    """An own block; `hash` is in display order, hex. `difficulty` is the network's, `worker` who found it.

    `state` is found (no node has answered yet), accepted, side, refused, or settled (accepted, and its coinbase is
    mature). `effort` is the work of its round in network difficulties; None where that is not known.
    """

    hash: str
    height: int
    worker: str
    time: float
    difficulty: float
    state: str
    confirmations: int = 0
    effort: float | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts[i]` values were at most `bounds[i]` seconds and more than the bound before; the last count, one more than
    there are bounds, is of those beyond all bounds. `total` is the sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def quantile(self, part: float) -> float | None:
        """The bound that `part` (0 to 1) of the values do not exceed; None where there is none yet, and the last bound
        for what is beyond it.
        """
        wanted, seen = part * self.count, 0
        if not self.count:
            return None
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return bound
        return self.bounds[-1]


BOUNDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of all histograms here, in seconds."""

EMPTY: Final = Histogram(BOUNDS, (0,) * (len(BOUNDS) + 1))


class NodeStats(NamedTuple):
    """A node by its name in the log, or the translator's upstream. `state` is up, behind or lost."""

    name: str
    state: str
    reason: str = ""                        # why it is lost, in words
    is_mined: bool = False
    since: float = 0.0                      # when that state began
    requests: Histogram = EMPTY             # how long it took for each answer


class OutputStats(NamedTuple):
    """An output of the coinbase: `to` is an address, or what else it is, in words. `is_miner`: it is an address that
    the operator has not written.
    """

    to: str
    sat: int
    is_miner: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStats:
    """What is mined now. Before the first job `has_work` is False, `height` 0 and the ages None.

    `template_age_s` is the time since a node answered with the template that is mined; None too where there is no
    work; beyond `stale_after_s` it is stale (None: no work is stale by its age). `tip_age_s` is the time since the tip
    came. The coinbase is that of a channel which pays nobody else.
    """

    has_work: bool = False
    height: int = 0
    prev_hash: str = ""                     # display order, hex
    job_id: int = 0
    node: str = ""
    template_age_s: float | None = None
    stale_after_s: float | None = None
    tip_age_s: float | None = None
    value_sat: int = 0
    transactions: int | None = None         # None where the node keeps them itself
    network_difficulty: float = 0.0
    outputs: tuple[OutputStats, ...] = ()
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStats:
    """Since the last own block, or since the books began. `effort` is the work in network difficulties: 1.0 is what a
    block takes on average.
    """

    since: float = 0.0
    difficulty: float = 0.0
    effort: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStats:
    """The books: whether they cannot be written now, and what waits."""

    is_troubled: bool = False
    waiting_shares: int = 0
    rows: int = 0
    commits: int = 0


class AccountPart(NamedTuple):
    """What an account has in the window (0.0 to 1.0 of the work there), and the sat that a later block owes it."""

    part: float
    owed_sat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutStats:
    """Where blocks are followed: own ones that are not settled; and where rewards are shared, the window in percent
    (None while it is read), the accounts in it, what is owed to them, and whether jobs pay of that now. Amounts of each
    account are those of the newest snapshot that jobs pay by.
    """

    unsettled: int = 0
    is_shared: bool = False
    window_percent: float | None = None
    accounts: int = 0
    payable_sat: int = 0
    is_paying: bool = False
    weights: tuple[tuple[str, int], ...] = ()           # in the window, by account, sorted
    balances: tuple[tuple[str, int], ...] = ()          # owed sat, by account, sorted
    total_weight: int = 0                               # of all

    def part_of(self, user: str) -> AccountPart | None:
        """What the account that `user` names has; None where it has no work in the window and is owed nothing."""
        for account in (user, user.lower()):            # Bech32 has no case
            weight, owed = _amount(self.weights, account), _amount(self.balances, account)
            if weight or owed:
                return AccountPart(weight / self.total_weight if self.total_weight else 0.0, owed)
        return None


def _amount(amounts: tuple[tuple[str, int], ...], account: str) -> int:
    at = bisect_left(amounts, (account, 0))
    return amounts[at][1] if at < len(amounts) and amounts[at][0] == account else 0


class TrafficStats(NamedTuple):
    """Counted since the start, but for `channels`, which are open now. All words are ours, and few."""

    shares: tuple[tuple[str, int, float], ...] = ()     # protocol, accepted shares, their difficulty
    refused: tuple[tuple[str, str, int], ...] = ()      # protocol ("" where it is not known), reason, shares
    channels: tuple[tuple[str, int], ...] = ()          # by type
    handshakes: tuple[tuple[str, str, int], ...] = ()   # protocol, result, handshakes
    dropped: tuple[tuple[str, int], ...] = ()           # connections that we closed, by reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsSnapshot:
    """All of it at `at`. `number` grows by one with each; `is_whole` is False while the books are being read after a
    start, when rates, bests and totals are those of this run alone.

    `users` and `workers` stand in the order of their work of seven days, the most first; one that is unchanged is the
    same object in the next snapshot. `connections` counts machines by protocol, `refused` shares by reason,
    `shares_per_second` is over 1m, 5m, 15m and 1h. `blocks` has the newest first, at most 100.
    """

    number: int
    at: float
    started: float
    program: str = "warppool"
    version: str = ""
    network: str = ""
    is_whole: bool = True
    pool: ShareTally = field(default_factory=ShareTally)
    shares_per_second: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    users: tuple[UserStats, ...] = ()
    workers: tuple[WorkerStats, ...] = ()
    machines: int = 0                       # connected, and with work
    idle: int = 0                           # workers that are connected and idle
    gone: int = 0                           # workers whose machines went within seven days
    connections: tuple[tuple[str, int], ...] = ()
    refused: tuple[tuple[str, int], ...] = ()
    traffic: TrafficStats = field(default_factory=TrafficStats)
    round: RoundStats = field(default_factory=RoundStats)
    blocks: tuple[BlockStats, ...] = ()
    blocks_found: int = 0                   # of all time
    work: WorkStats = field(default_factory=WorkStats)
    nodes: tuple[NodeStats, ...] = ()
    ledger: LedgerStats = field(default_factory=LedgerStats)
    payout: PayoutStats | None = None       # None where nobody follows blocks
    tip_to_notify: Histogram = EMPTY        # from a new tip's job to the last machine of each worker thread
    share_to_answer: Histogram = EMPTY      # from the weighing of each commit's oldest share to its answer
    commit: Histogram = EMPTY               # of the books
    users_by_name: Mapping[str, UserStats] = field(default_factory=lambda: MappingProxyType({}))
    workers_by_name: Mapping[str, WorkerStats] = field(default_factory=lambda: MappingProxyType({}))
