"""Thread `payout`: it knows who has worked and what everybody is owed, and makes the snapshots that jobs pay by.

It hears of shares after their commit, of every job after it went out, of own blocks before any node has them, and of
what the node that is mined says of these. A snapshot goes to the thread `jobs` once it is in the books: so whatever
stops (the ledger, this thread, the whole daemon), jobs pay by a snapshot that everybody can read later. While there is
no newer one they go on with the last, whose balances they do not pay on another tip.

In mode `solo` nothing is shared: the thread follows own blocks alone.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from warppool.errors import LedgerError
from warppool.events import Now
from warppool.ledger.payoutitems import Booked, SharesBooked, Unbooked
from warppool.loop import Loop, Report, patient
from warppool.node.chainitems import ChainAnswer, JournalTold, OwnBlock
from warppool.node.snapshotitems import Mining
from warppool.node.steps import LogLine
from warppool.payout.snapshot import Snapshot
from warppool.rewards.claimtaker import ClaimTaker
from warppool.rewards.headers import HeadersSeen
from warppool.rewards.reading import BooksReading
from warppool.rewards.settling import Settling
from warppool.rewards.snapshots import RETRY_S, Snapshots
from warppool.rewards.steps import AskNode, BlocksSettled, ReplaceJobs, SettlingStep, SettlingToken, TipCleared, ToBooks
from warppool.say import say

log = logging.getLogger("warppool.payout")

READING_S: Final = 60.0
"""To read the window of a large pool at a start, from a slow disk."""

VIEW_EVERY_S: Final = 1.0

PayoutItem = (Mining | OwnBlock | JournalTold | ChainAnswer | SharesBooked | Booked | Unbooked | HeadersSeen)
"""From jobs, the submitter, the nodes, the ledger and `headers`."""

Askers = Mapping[int, queue.Queue[Any]]
"""By the number of each node that can be asked about its chain: the inbox of the thread that hands it blocks."""


class PayoutView(NamedTuple):
    """What people read of who is paid. `weight_percent` is how much of the wanted weight the window has."""

    is_shared: bool
    is_read: bool                       # the window is; until then jobs pay by the snapshot of an earlier start
    accounts: int                       # with weight
    weight_percent: int
    payable_sat: int
    is_paying: bool                     # balances, on the tip that is mined
    unsettled: int                      # own blocks
    newest: Snapshot | None = None      # by which jobs pay


@dataclass(frozen=True, slots=True)
class PayoutReport(Report):
    """What the thread knows."""

    view: PayoutView


class Parties(NamedTuple):
    """To whom the thread speaks: the ledger's inbox, the nodes, and who writes down what is settled."""

    ledger: queue.Queue[Any]
    askers: Askers
    settled: Callable[[tuple[bytes, ...]], None]


class PayoutThread(Loop[PayoutItem]):
    """`snapshots` is None where nothing is shared. `reading` gives the books for reading.

    `view` is for any thread to read; it is of this second.
    """

    limits = patient(READING_S)

    def __init__(self, inbox: queue.Queue[Any], settling: Settling, snapshots: Snapshots | None, claims: ClaimTaker,
                 reading: BooksReading, parties: Parties, *, monotonic: Callable[[], float] = time.monotonic,
                 unix: Callable[[], float] = time.time) -> None:
        super().__init__("payout", inbox, monotonic)
        self._settling = settling
        self._snapshots = snapshots
        self._claims = claims
        self._reading = reading
        self._parties = parties
        self._unix = unix
        self._said = ""                     # the trouble with the books that was said last
        self._tip = b""                     # that is mined
        self.view = self._view()
        self._view_at = -math.inf

    def turn(self, items: list[PayoutItem]) -> float:
        """Hear all, then do what is due."""
        for item in items:
            self.guard(self._hear, item)
        now = self._now()
        self.guard(self._look, now)
        return max(self._due(), now.monotonic + 0.001)

    def reconfigure(self, askers: Askers) -> None:
        """The nodes are others."""
        self._parties = self._parties._replace(askers=askers)

    def report(self) -> PayoutReport:
        """What is known of who is paid."""
        return PayoutReport(*self.vitals(), view=self._view())

    def finish(self) -> None:
        """Leave the books."""
        self._reading.drop()

    def _view(self) -> PayoutView:
        shared, settling = self._snapshots, self._settling
        newest = None if shared is None else shared.use.newest
        return PayoutView(
            is_shared=shared is not None, is_read=shared is None or shared.is_read,
            accounts=0 if newest is None else len(newest.weights),
            weight_percent=0 if newest is None else 100 * newest.total_weight // newest.window.wanted,
            payable_sat=sum(settling.payable.values()), is_paying=settling.may_pay(self._tip),
            unsettled=len(settling.watched), newest=newest)

    def _now(self) -> Now:
        return Now(self._monotonic(), self._unix())

    def _due(self) -> float:
        due_at = min(self._claims.wakes_at, self._settling.wakes_at)
        return due_at if self._snapshots is None else min(due_at, self._snapshots.wakes_at)

    def _look(self, now: Now) -> None:
        if now.monotonic - self._view_at >= VIEW_EVERY_S:
            self._view_at, self.view = now.monotonic, self._view()
        self._do(self._settling.tick(now))
        self._do(self._claims.look(now))
        if self._snapshots is not None:
            try:
                self._snapshots.look(now.monotonic)
            except LedgerError as exc:
                self._complain(exc)

    def _hear(self, item: PayoutItem) -> None:
        now = self._now()
        match item:
            case SharesBooked():
                if self._snapshots is not None:
                    self._snapshots.add(item)
            case Mining():
                self._mining(item, now)
            case OwnBlock():
                self._do(self._settling.own_block(item, now))
            case JournalTold():
                self._do(self._settling.journal_told(now))
            case ChainAnswer():
                self._do(self._settling.answered(item, now))
            case Booked() | Unbooked():
                self._booked(item, now)
            case HeadersSeen():
                if self._snapshots is not None:
                    self._snapshots.seen(item, now.monotonic)

    def _mining(self, mining: Mining, now: Now) -> None:
        """A job went out, or waits. If the node that is mined cannot be asked, the first one that can is asked instead;
        its answer counts only if it has the same tip.
        """
        if self._snapshots is not None:
            self._snapshots.mining(mining, now.monotonic)
        self._tip = mining.tip.prev_hash
        askers = self._parties.askers
        node = mining.node if mining.node in askers else min(askers, default=mining.node)
        self._do(self._settling.mine(node, self._tip, mining.tip.height - 1, now))

    def _booked(self, answer: Booked | Unbooked, now: Now) -> None:
        if isinstance(answer.booking.token, SettlingToken):
            self._do(self._settling.booked(answer))
            self._claims.booked(answer)
        elif self._snapshots is not None:
            self._snapshots.booked(answer, now.monotonic)

    def _do(self, steps: Iterable[SettlingStep]) -> None:
        """Take the steps in their order."""
        now = self._monotonic()
        for step in steps:
            match step:
                case ToBooks(item):
                    self._parties.ledger.put(item)
                case AskNode(node, question):
                    if (asker := self._parties.askers.get(node)) is not None:
                        asker.put(question)
                case ReplaceJobs():
                    if self._snapshots is not None:
                        self._snapshots.replace(now)
                case TipCleared():
                    if self._snapshots is not None:
                        self._snapshots.cleared(now)
                case BlocksSettled(hashes):
                    self._parties.settled(hashes)
                case LogLine(level, event, fields):
                    say(log, level, event, **dict(fields))

    def _complain(self, exc: LedgerError) -> None:
        """The books cannot be read: jobs go on with the last snapshot. Said once for each reason."""
        self._reading.drop()
        if str(exc) != self._said:
            self._said = str(exc)
            say(log, logging.WARNING, "window.unread", reason=str(exc), consequence="jobs pay by the last snapshot, "
                f"and no balances on a new tip; tried again every {RETRY_S:.0f} s")
