"""What a page shows, as plain values: a page is a function of one of these and of nothing else.

Rates are hashes a second, difficulties bdiff, times Unix seconds, ages seconds, amounts satoshi. Names are as they are
to be shown: who makes a view shortens those of lists, where the operator wants that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from warppool.page.wording import POOL, Wording
from warppool.stats.snapshot import Rates

SHOWN_WORKERS: Final = 100
"""Rows of a page of a long list, or of a user's page."""


class State(NamedTuple):
    """Whether it works, in one word and one sentence. `level` is `good`, `warn` or `bad`."""

    level: str
    word: str
    sentence: str


class Point(NamedTuple):
    """One slot of a chart, by its beginning."""

    time: float
    rate: float


class RefusedByReason(NamedTuple):
    """Shares that were refused for one reason."""

    reason: str
    shares: int


class ShareSums(NamedTuple):
    """Shares: how many were accepted, what they were credited, and why others were refused."""

    accepted: int = 0
    difficulty: float = 0.0
    refusals: tuple[RefusedByReason, ...] = ()

    @property
    def refused(self) -> int:
        """Of all reasons."""
        return sum(each.shares for each in self.refusals)


class PageLink(NamedTuple):
    """A name in a list; `path` is its page, "" where none may be named."""

    name: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class MinerRow:
    """One user or one worker in a list."""

    who: PageLink
    rate_5m: float
    rate_1d: float
    best: float
    last_share: float | None
    machines: int                   # connected now
    agent: str = ""


class FoundBlockRow(NamedTuple):
    """A block of the pool; `state` in words, as `12 of 100 confirmations`, and its `level` as State's."""

    height: int
    hash: str                       # display hex
    time: float
    finder: str
    effort: float | None            # the work of its round, 1.0 for what a block takes on average
    state: str
    level: str = ""


class PaidOutput(NamedTuple):
    """One output of the coinbase that is mined now; `to` is an address, or words for what has none."""

    to: str
    sat: int


@dataclass(frozen=True, slots=True)
class JobView:
    """The work that machines have now."""

    height: int
    template_age: float | None      # None: there was none yet
    tip_age: float | None
    transactions: int | None
    value_sat: int
    network_difficulty: float
    outputs: tuple[PaidOutput, ...] = ()
    tag: str = ""                   # readable text of the coinbase's input


class NodeRow(NamedTuple):
    """One node of the pool; `level` as State's."""

    name: str
    state: str
    level: str


class ConnectUrl(NamedTuple):
    """One way to mine here: what it is called, and the URL to copy."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Site:
    """What all pages of one pool have in common. `paid` is the sentence that says who gets a block's reward."""

    pool: str
    network: str
    paid: str
    at: float                       # of the snapshot
    started: float
    wording: Wording = POOL


@dataclass(frozen=True, slots=True)
class PoolView:
    """The first page."""

    site: Site
    state: State
    rates: Rates
    machines: tuple[tuple[str, int], ...]           # connections by protocol
    users: int
    idle: int
    best_now: float
    best_ever: float
    effort: float                                   # 1.0: as much work as a block takes on average
    work: ShareSums
    job: JobView | None = None
    blocks_found: int = 0
    history: tuple[Point, ...] | None = None        # None: the books cannot be asked now
    miners: tuple[MinerRow, ...] = ()               # those with the most work, the most first
    workers: int = 0                                # how many there are, listed or not
    blocks: tuple[FoundBlockRow, ...] = ()          # newest first
    nodes: tuple[NodeRow, ...] = ()
    timings: tuple[tuple[str, str], ...] = ()       # label, value in words
    connect: tuple[ConnectUrl, ...] = ()
    window: tuple[tuple[str, str], ...] = ()        # of pplns: label, value in words
    is_short: bool = False                          # names of lists are shortened, and lead nowhere
    all_blocks: int = 0                             # how many could be listed


@dataclass(frozen=True, slots=True)
class MinerView:
    """The page of one user or of one worker; `name` is whole."""

    site: Site
    name: str
    is_worker: bool
    state: State
    rates: Rates
    best_now: float
    best_ever: float
    work: ShareSums
    network_difficulty: float = 0.0
    last_share: float | None = None
    since: float | None = None                      # of a machine that is connected: when it came
    user: PageLink | None = None                    # whose worker this is
    history: tuple[Point, ...] | None = None        # None: the books cannot be asked now
    miners: tuple[MinerRow, ...] = ()               # its workers, those with the most work first
    workers: int = 0                                # how many there are, listed or not
    facts: tuple[tuple[str, str], ...] = ()         # label, value in words: agent, protocol ...
    payout: tuple[tuple[str, str], ...] = ()        # label, value in words: part of the window, balance
    first: int = 0                                  # how many stand before those that are listed


@dataclass(frozen=True, slots=True)
class ListView:
    """A part of a long list on a page of its own: `first` rows of `total` stand before it."""

    site: Site
    first: int
    total: int
    miners: tuple[MinerRow, ...] = ()
    blocks: tuple[FoundBlockRow, ...] = ()
    is_short: bool = False
