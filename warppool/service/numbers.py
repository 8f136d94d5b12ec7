"""The thread `stats`: hears what happens, and swaps one frozen snapshot a second, which every face reads.

Nobody waits for it, and it wakes up for nothing: what others tell it lies in an `Ear` until its next turn.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from warppool import __version__
from warppool.events import ShareAccepted
from warppool.ledger.items import BlockOutcome, BlockRow
from warppool.ledger.payoutitems import SharesBooked
from warppool.loop import Loop, Report, Takes, patient
from warppool.net.haste import HASTE
from warppool.service.pastnumbers import Read
from warppool.stats.items import (
    ANSWER,
    COMMIT,
    NOTIFY,
    HandshakeOver,
    MachineCame,
    MachineGone,
    PeerDropped,
    RefusedShares,
    Took,
)
from warppool.stats.ownblocks import OwnBlocks
from warppool.stats.snapshot import LedgerStats, NodeStats, PayoutStats, RoundStats, StatsSnapshot, WorkStats
from warppool.stats.standings import Standings
from warppool.stats.times import Durations
from warppool.stats.traffic import KINDS
from warppool.stats.windows import Moment

TURN_S: Final = 1.0
"""Between two snapshots."""

SLOW_S: Final = 5.0
"""A turn may take so long before it is complained of; nobody who mines waits for it."""

SHARE_OF_BLOCK_S: Final = 60.0
"""The share that is a block is booked within this time of the block, or it was refused."""

JUST_NOW_S: Final = 60.0
"""A block that was found so long ago at most is none that a replay tells again, whatever clock timed the others."""

CLOCK_SET_S: Final = 2.0
"""The wall's clock was set if it went so much more or less than the monotonic one. A small machine has no clock of its
own, and is told the time after the daemon has started: what people see is timed by the clock that is right."""


class Ear:
    """Where threads leave what the thread `stats` is to hear. Unlike a queue's, its `put` wakes nobody, since a thread
    that was woken by each commit would cost more than all else here.
    """

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self.put: Callable[[Any], None] = self._items.append
        """Any thread: leave a frozen item."""

    def drain(self) -> list[Any]:
        """All that lies here; by the thread `stats` alone."""
        return [self._items.popleft() for _ in range(len(self._items))]


class Fork:
    """Hands each item of the ledger to the thread `stats`, and to whoever hears besides."""

    def __init__(self, ear: Ear, other: Takes | None) -> None:
        self._ear = ear
        self._other = other

    def put(self, item: Any, /) -> None:
        """Pass it on."""
        if self._other is not None:
            self._other.put(item)
        if isinstance(item, SharesBooked):
            self._ear.put(item)


class Looked(NamedTuple):
    """What is there to be looked at each second, as plain values of other threads."""

    work: WorkStats
    nodes: tuple[NodeStats, ...] = ()
    ledger: LedgerStats = LedgerStats()
    payout: PayoutStats | None = None
    dropped: Mapping[str, int] = MappingProxyType({})       # connections that the reactor closed, by reason


class Sources(Protocol):
    """What differs between the programs that have numbers."""

    @property
    def program(self) -> str: ...
    @property
    def network(self) -> str: ...

    def look(self, now: float, unix: float) -> Looked:
        """What is there now, by the monotonic clock and by the wall's."""


@dataclass(frozen=True, slots=True)
class StatsReport(Report):
    """`snapshots` since the start, and how many workers and machines the newest has."""

    snapshots: int
    workers: int
    machines: int


class StatsThread(Loop[object]):
    """`ear` has what others tell. `latest` is for any thread to call."""

    limits = patient(SLOW_S)

    def __init__(self, ear: Ear, sources: Sources, *, monotonic: Callable[[], float] = time.monotonic,
                 unix: Callable[[], float] = time.time) -> None:
        super().__init__("stats", queue.Queue(), monotonic)
        self._ear = ear
        self._sources = sources
        self._unix = unix
        self._begun = monotonic()
        self._started = self._begun_unix = self._began = unix()
        self._moment = Moment(self._started, self._started)
        self._standings = Standings(self._moment)
        self._blocks = OwnBlocks()
        self._round_since = self._started
        self._ending: dict[bytes, float] = {}       # own blocks whose share is not booked yet; since when, monotonic
        self._times = {NOTIFY: Durations(), ANSWER: Durations(), COMMIT: Durations()}
        self._snapshot = StatsSnapshot(number=0, at=self._started, started=self._started, version=__version__,
                                       program=sources.program, network=sources.network)

    def take_past(self, read: Read) -> None:
        """What the books have from before this run; called once, before the thread starts."""
        self._began = min(self._started, read.past.began)
        self._moment = Moment(self._started, self._began)
        self._standings = Standings(self._moment)
        self._standings.take_past(read.past)
        for block in reversed(read.blocks):
            self._blocks.add(block.hash, block.height, block.worker, block.time, block.difficulty, state=block.outcome)
        self._round_since = read.blocks[0].time if read.blocks else read.past.began

    def latest(self) -> StatsSnapshot:
        """The newest snapshot; from the beginning there is one, without anybody in it."""
        return self._snapshot

    def report(self) -> StatsReport:
        """What the newest snapshot has."""
        snapshot = self._snapshot
        return StatsReport(*self.vitals(), snapshots=snapshot.number, workers=len(snapshot.workers),
                           machines=snapshot.machines)

    def turn(self, items: list[object]) -> float:
        """Hear all that was said, and make a snapshot of it. No machine waits for that."""
        with HASTE.giving_way():
            for item in (*self._ear.drain(), *items):
                self.guard(self._hear, item)
            self.guard(self._look)
        return self._monotonic() + TURN_S

    def _hear(self, item: object) -> None:
        standings = self._standings
        match item:
            case SharesBooked():
                self._take_shares(item.shares)
                if item.commit_s is not None:
                    self._times[COMMIT].add((item.commit_s,))
                if item.waited_s is not None:
                    self._times[ANSWER].add((item.waited_s,))
            case RefusedShares():
                standings.take_refused(item)
            case MachineCame():
                standings.come(item._replace(protocol=KINDS.get(item.protocol, item.protocol)))
            case MachineGone():
                standings.go(item)
            case HandshakeOver() | PeerDropped():
                standings.traffic.hear(item)
            case Took(kind, seconds):
                self._times[kind].add(seconds)
            case BlockRow():
                self._hear_block(item)
            case BlockOutcome():
                self._blocks.decide(item.hash, item.outcome)
            case _:
                raise TypeError(f"no item for the thread stats: {item!r}")

    def _hear_block(self, row: BlockRow) -> None:
        """One that is found now ends the round; one that a replay tells again does not."""
        if row.hash in self._blocks:
            return
        is_now = row.time >= self._round_since or abs(self._unix() - row.time) < JUST_NOW_S     # the clock was set back
        effort = None
        if is_now:
            self._standings.settle()
            effort = self._standings.pool.round_difficulty / row.difficulty if row.difficulty else None
            self._standings.begin_round()
            self._round_since = row.time
            self._ending[row.hash] = self._monotonic()
        self._blocks.add(row.hash, row.height, row.user, row.time, row.difficulty, effort=effort)

    def _take_shares(self, shares: Sequence[ShareAccepted]) -> None:
        """Count them. The share that is a block is booked a moment after the block, and ends the round that it is of:
        else the best share of each round would be the block of the one before.
        """
        if self._ending:
            begin = 0
            for end, share in enumerate(shares, 1):
                if self._ending.pop(share.share_hash, None) is not None:
                    self._standings.take_shares(shares[begin:end])
                    self._standings.begin_round()
                    begin = end
            shares = shares[begin:]
        self._standings.take_shares(shares)

    def _look(self) -> None:
        now, at = self._monotonic(), self._unix()
        while self._ending and now - next(iter(self._ending.values())) > SHARE_OF_BLOCK_S:
            del self._ending[next(iter(self._ending))]      # a block counts though its share is refused
        run_s = now - self._begun
        if abs(at - run_s - self._started) > CLOCK_SET_S:
            self._started = at - run_s
        self._moment = moment = Moment(self._begun_unix + run_s, self._began, self._moment, at)
        standings = self._standings
        lists = standings.turn(moment)
        workers, users, workers_by_name, users_by_name = lists.out()
        looked = self._sources.look(now, at)
        pool = standings.pool
        difficulty = looked.work.network_difficulty
        self._snapshot = StatsSnapshot(
            number=self._snapshot.number + 1, at=at, started=self._started, program=self._sources.program,
            version=__version__, network=self._sources.network, pool=pool.tally(moment),
            shares_per_second=standings.shares_per_second, users=users, workers=workers, machines=standings.machines,
            idle=lists.idle, gone=lists.gone,
            connections=_counts(standings.protocols), refused=_counts(standings.refused),
            traffic=standings.traffic.stats(looked.dropped),
            round=RoundStats(since=self._round_since, difficulty=pool.round_difficulty,
                             effort=pool.round_difficulty / difficulty if difficulty else 0.0),
            blocks=self._blocks.shown(looked.work.height), blocks_found=self._blocks.count, work=looked.work,
            nodes=looked.nodes, ledger=looked.ledger, payout=looked.payout,
            tip_to_notify=self._times[NOTIFY].histogram(), share_to_answer=self._times[ANSWER].histogram(),
            commit=self._times[COMMIT].histogram(), users_by_name=users_by_name, workers_by_name=workers_by_name)


def _counts(counter: Any) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((key, count) for key, count in counter.items() if count))

