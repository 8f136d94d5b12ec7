"""The ledger thread: books what the workers accept, many shares to a commit, and says what is recorded.

A share is answered exactly once: `Recorded` when it is in the books for good, or `NotRecorded` when it is not and never
will be. While the books cannot be written, shares wait their ten seconds and the queue is drained all the same, so that
memory stays bounded; counts of refusals and rows of blocks wait for as long as it takes.

A commit may hang in a disk that is dying, or end in doubt. Shares whose patience ends meanwhile are `GivenUp`: refused,
though the commit may still put them into the books. Once it is known what became of the commit they are taken out of
the books again, and `NotRecorded` follows.

See docs/decisions.rst#decision-recorded.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from warppool.errors import LedgerError
from warppool.ledger.database import CommitInDoubt, Database, Unwritten
from warppool.ledger.items import BlockOutcome, BlockRow, LedgerReport, LedgerSettings, Refusals, Row, Shares
from warppool.ledger.payoutitems import Booked, Booking, Unbooked
from warppool.ledger.waiting import CommitDoubt, LedgerTrouble, WaitingShares, answer_groups, booked_of, ids_of, joined
from warppool.loop import Loop, Takes, patient
from warppool.net.inbox import GivenUp, NotRecorded, Recorded
from warppool.say import say

GATHER_S: Final = 0.005                 # a commit waits so long for more, since it costs 0.3 ms however many it holds
UNHURRIED_S: Final = 0.1                # ... and so long where no answer waits for it, as in the translator
GATHERED_ENOUGH: Final = 256            # shares that are worth a commit at once
PATIENCE_S: Final = 10.0                # how long a share waits for books that cannot be written
RETRY_FIRST_S: Final = 0.1              # after the first failure, then doubled ...
RETRY_MAX_S: Final = 2.0                # ... up to this, so that every share sees several tries
TEND_EVERY_S: Final = 5.0               # how often the books are looked at for what they need beside what is booked
TEND_PAUSE: Final = 9                   # times as long as it took, before more of it
STOP_PATIENCE_S: Final = 1.0            # the daemon has 5 s to end in
MAX_REFUSALS_KEPT: Final = 100_000      # (worker, reason, minute) rows held through trouble, some 20 MiB
MAX_BLOCKS_KEPT: Final = 10_000
MAX_REASONS_SAID: Final = 8             # different ones, each once, before a trouble goes quiet

log = logging.getLogger("warppool.ledger")


class LedgerThread(Loop[Shares | Refusals | Row]):
    """Owns the database from `run` on; answers each `Shares` to its `reply_to`.

    `durability` is `commit` (answer after the commit) or `none` (answer at once). `heard`, if there is one, hears which
    shares are in the books for good, and what became of each `Booking` (payoutitems.py). `monotonic` and `sleep` can be
    given by a test. `rows` and `commits` count what was written.
    """

    limits = patient(PATIENCE_S)

    def __init__(
        self,
        database: Database,
        inbox: queue.Queue[Any],
        durability: str,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        heard: Takes | None = None,
    ) -> None:
        super().__init__("ledger", inbox, monotonic)
        self.rows = 0
        self.commits = 0
        self._database = database
        self._answers_at_once = durability == "none"
        self._sleep = sleep
        self._heard = heard
        self._is_at_disk = False                            # the thread stands in a call of the database
        self._lock = threading.Lock()                       # of `relieve` against the end of such a call
        self._waiting: deque[WaitingShares] = deque()       # by deadline
        self._waiting_shares = 0
        self._refusals: Counter[tuple[str, str, int]] = Counter()
        self._blocks: list[Row] = []                        # bookings among them
        self._under_way: tuple[WaitingShares, ...] = ()     # of a commit that is not over, or in doubt
        self._doubt: CommitDoubt | None = None
        self._trouble: LedgerTrouble | None = None
        self._tend_at = monotonic()

    def reconfigure(self, settings: LedgerSettings) -> None:
        """From now on these count."""
        self._answers_at_once = settings.durability == "none"
        self._database.keep(settings.keep_days)

    def relieve(self) -> None:
        """Another thread: while a commit hangs, take what comes, and give up what has waited too long.

        Called once a second or so. Without a call of the database under way it does nothing. Who asks for a report is
        answered, too: the thread's state stands still.
        """
        with self._lock:
            if self._is_at_disk:
                self._take_all(self.drain())
                self._give_up(self._monotonic())
                self.answer()

    def turn(self, items: list[Shares | Refusals | Row]) -> float:
        """Book what has come."""
        if items:
            self._gather(items)
        self._give_up(self._monotonic())            # first: what is over must not be committed any more
        if self._trouble is None or self._monotonic() >= self._trouble.retry_at:
            if self._has_work():
                self._commit()
                self._give_up(self._monotonic())
            if not self._has_work() and self._monotonic() >= self._tend_at:
                self._tend()
        return self._due()

    def report(self) -> LedgerReport:
        """What was written, and what cannot be written now."""
        trouble = self._trouble
        return LedgerReport(
            *self.vitals(), rows=self.rows, commits=self.commits, waiting_shares=self._waiting_shares,
            is_troubled=trouble is not None, shares_lost=trouble.shares_lost if trouble else 0,
            rows_lost=trouble.rows_lost if trouble else 0)

    def _due(self) -> float:
        if not self._has_work():
            return self._tend_at if self._trouble is None else max(self._tend_at, self._trouble.retry_at)
        if self._trouble is None:
            return -math.inf                        # `relieve` took it from the queue during the last commit
        retry_at = self._trouble.retry_at
        return min(retry_at, self._waiting[0].deadline) if self._waiting else retry_at

    # What comes in

    def _gather(self, items: list[Shares | Refusals | Row]) -> None:
        """Take `items`, then wait a little for those that come with them."""
        self._take_all(items)
        if self._trouble is None and not self.is_stopping and self._waiting_shares < GATHERED_ENOUGH:
            # One wake-up for all of them, where waiting on the queue takes one for each.
            first = items[0]
            is_awaited = not isinstance(first, Shares) or first.reply_to is not None
            self._sleep(GATHER_S if is_awaited else UNHURRIED_S)
            self._take_all(self.drain())

    def _take_all(self, items: Iterable[object]) -> None:
        for item in items:
            try:
                self._take(item)
            except Exception:               # the others are shares, which shall not be lost with it
                self.say_fault("_take")

    def _take(self, item: object) -> None:
        if isinstance(item, Shares):
            reply_to = item.reply_to
            if self._answers_at_once and reply_to is not None:
                reply_to.put(Recorded(ids_of(item.shares)))
                reply_to = None
            since = self._monotonic() if item.since is None else item.since
            self._waiting.append(WaitingShares(item.shares, reply_to, since + PATIENCE_S))
            self._waiting_shares += len(item.shares)
        elif isinstance(item, Refusals):
            for user, reason, minute, count in item.counts:
                self._refusals[user, reason, minute] += count
            self._keep_bounded()
        elif isinstance(item, BlockRow | BlockOutcome | Booking):
            self._blocks.append(item)
            self._keep_bounded()
        else:
            say(log, logging.ERROR, "ledger.misaddressed", item=type(item).__name__)

    def _keep_bounded(self) -> None:
        """Drop what is over the bounds, which only trouble can reach."""
        lost = 0
        while len(self._refusals) > MAX_REFUSALS_KEPT:
            self._refusals.popitem()
            lost += 1
        while len(self._blocks) > MAX_BLOCKS_KEPT:
            self._say_lost([self._blocks.pop()])
            lost += 1
        if self._trouble is not None:
            self._trouble.rows_lost += lost

    # What goes out

    def _has_work(self) -> bool:
        return bool(self._waiting or self._refusals or self._blocks or self._doubt)

    def _commit(self) -> None:
        """Try to book everything that waits, in one transaction."""
        try:
            if not self._database.is_open:
                with self._at_disk():
                    self._database.open()
            self._resolve()
            self._write()
        except LedgerError as exc:
            self._failed(str(exc))
        except Exception:
            # A value that the database cannot take: unbooked, so that it does not hold up the rest for ever.
            log.exception("event=ledger.refused shares=%d", self._waiting_shares)
            self._lose_everything()
        else:
            self._recovered()

    def _tend(self) -> None:
        """One of the small things that the books need, at most a tenth of the time."""
        began = self._monotonic()
        self._tend_at = began + TEND_EVERY_S
        try:
            with self._at_disk():
                if not self._database.is_open:
                    self._database.open()
                has_more = self._database.tend()
        except LedgerError as exc:
            self._failed(str(exc))
        else:
            self._recovered()
            if has_more:
                self._tend_at = (now := self._monotonic()) + TEND_PAUSE * (now - began)

    def _write(self) -> None:
        groups = self._under_way = tuple(self._waiting)
        shares = joined(groups)
        refusals, blocks = self._refusals, self._blocks
        self._refusals, self._blocks = Counter(), []            # `relieve` may put others there meanwhile
        first_id, began = self._database.next_id, self._monotonic()
        try:
            with self._at_disk():
                unwritten = self._database.write(shares, refusals, blocks)
        except CommitInDoubt as exc:
            self._doubt = CommitDoubt(exc.first_id, groups, refusals, blocks)
            raise
        except Exception:
            self._put_back(refusals, blocks)
            self._end_commit(groups, is_booked=False, first_id=first_id)
            raise
        self.commits += 1
        self.rows += len(shares) + len(refusals) + len(blocks)
        say(log, logging.DEBUG, "ledger.committed", shares=len(shares), rows=self.rows, commits=self.commits)
        if len(self._still_waiting(groups)) == len(groups):
            self._end_commit(groups, is_booked=True, first_id=first_id, took_s=self._monotonic() - began)
            self._say_written(blocks, unwritten)
        else:                                                   # the commit took so long that some were given up
            self._doubt = CommitDoubt(first_id, groups, Counter(), [])
            self._say_written(blocks, unwritten)                # before what may fail
            self._resolve()

    def _say_written(self, rows: Sequence[Row], unwritten: Sequence[Unwritten]) -> None:
        """Tell what became of `rows`, which were in a commit that is over."""
        refused = {id(each.booking): each for each in unwritten if isinstance(each, Unbooked)}
        for each in unwritten:
            if isinstance(each, BlockOutcome):
                say(log, logging.WARNING, "ledger.block_unknown", hash=each.hash[::-1], outcome=each.outcome)
        for row in rows:
            if isinstance(row, Booking) and self._heard is not None:
                self._heard.put(refused.get(id(row)) or Booked(row))

    def _resolve(self) -> None:
        """Find out what became of a commit in doubt, and act as if it had been known at once.

        Shares that were answered `NotRecorded` meanwhile are taken out of the books again. Only a daemon that ends
        between that answer and this moment can leave them in, after a disk that failed at the very last write.
        """
        doubt = self._doubt
        if doubt is None:
            return
        shares = joined(doubt.groups)
        is_booked, given_up = False, 0
        while shares:
            erase = len(shares) - sum(len(group.shares) for group in self._still_waiting(doubt.groups))
            if is_booked and erase == given_up:
                break
            given_up = erase                # more of them may be given up while the disk is slow: then once more
            with self._at_disk():
                is_booked = self._database.resolve(doubt.first_id, shares, erase)
            if not is_booked:
                break
        if is_booked:                       # said again, bookings write nothing, and are answered
            self._put_back(Counter(), [row for row in doubt.rows if isinstance(row, Booking)])
        else:
            self._put_back(doubt.refusals, doubt.rows)
        self._doubt = None
        self._end_commit(doubt.groups, is_booked, doubt.first_id)

    def _put_back(self, refusals: Counter[tuple[str, str, int]], blocks: list[Row]) -> None:
        """They are not in the books: try again. Where no share is there to look for, counts may be added twice."""
        self._refusals.update(refusals)
        self._blocks[:0] = blocks

    def _end_commit(self, groups: tuple[WaitingShares, ...], is_booked: bool, first_id: int,
                    took_s: float | None = None) -> None:
        """It is known what became of these groups: answer those that wait, and free those that were given up."""
        waiting = self._still_waiting(groups)
        answer_groups(groups[:len(groups) - len(waiting)], NotRecorded)
        self._under_way = ()
        if is_booked:
            for group in waiting:
                self._waiting.popleft()
                self._waiting_shares -= len(group.shares)
            answer_groups(waiting, Recorded)
            if self._heard is not None and waiting:
                self._heard.put(booked_of(groups, waiting, first_id, took_s, self._monotonic() + PATIENCE_S))

    @contextmanager
    def _at_disk(self) -> Iterator[None]:
        """Around each call of the database, which may hang: `relieve` may step in until it is over."""
        self._is_at_disk = True
        try:
            yield
        finally:
            with self._lock:
                self._is_at_disk = False

    def _still_waiting(self, groups: tuple[WaitingShares, ...]) -> tuple[WaitingShares, ...]:
        """Those of `groups` that were not given up: the front of `_waiting`, since both stand in order of deadline."""
        front = self._waiting[0] if self._waiting else None
        for index, group in enumerate(groups):
            if group is front:
                return groups[index:]
        return ()

    def _give_up(self, now: float) -> None:
        """Refuse the shares whose patience is over, and forget them."""
        groups = []
        while self._waiting and self._waiting[0].deadline <= now:
            groups.append(self._waiting.popleft())
        if groups:
            if self._trouble is None and self._is_at_disk:
                self._trouble = LedgerTrouble(now)
            self._not_recorded(groups)

    def _not_recorded(self, groups: Sequence[WaitingShares]) -> None:
        """Refuse the shares of `groups`, which wait no more. Those of a commit that is not over may still be booked."""
        lost = sum(len(group.shares) for group in groups)
        self._waiting_shares -= lost
        under_way = {id(group) for group in self._under_way}
        answer_groups([group for group in groups if id(group) not in under_way], NotRecorded)
        answer_groups([group for group in groups if id(group) in under_way], GivenUp)
        if self._trouble is not None:
            if not self._trouble.shares_lost:
                meaning = "they are refused as not recorded, and later ones too until the ledger recovers"
                say(log, logging.ERROR, "ledger.gave_up", shares=lost, meaning=meaning)
            self._trouble.shares_lost += lost

    def _lose_everything(self) -> None:
        groups = tuple(self._waiting)
        self._waiting.clear()
        self._not_recorded(groups)
        if self._trouble is not None:
            self._trouble.rows_lost += len(self._refusals) + len(self._blocks)
            if self._doubt is not None:
                self._trouble.rows_lost += len(self._doubt.refusals) + len(self._doubt.rows)
        self._say_lost(self._blocks if self._doubt is None else [*self._doubt.rows, *self._blocks])
        self._refusals, self._blocks = Counter(), []
        self._doubt, self._under_way = None, ()

    def _say_lost(self, rows: Sequence[Row]) -> None:
        """Nobody will try to book `rows` again."""
        for row in rows:
            if isinstance(row, Booking) and self._heard is not None:
                self._heard.put(Unbooked(row, "the books could not be written"))

    # Trouble

    def _failed(self, reason: str) -> None:
        now = self._monotonic()
        trouble = self._trouble = self._trouble or LedgerTrouble(now)
        trouble.retry_at = now + min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(trouble.failures, 10))
        trouble.failures += 1
        if reason not in trouble.said and len(trouble.said) < MAX_REASONS_SAID:
            trouble.said.add(reason)
            meaning = f"shares wait {PATIENCE_S:.0f} s for their record and are then refused; tried again all the while"
            say(log, logging.ERROR, "ledger.failed", reason=reason, meaning=meaning)

    def _recovered(self) -> None:
        if (trouble := self._trouble) is not None:
            self._trouble = None
            say(
                log, logging.WARNING, "ledger.recovered", after_s=self._monotonic() - trouble.since,
                failures=trouble.failures, shares_lost=trouble.shares_lost, rows_lost=trouble.rows_lost,
            )

    def finish(self) -> None:
        """Book what is left, trying for a second; what cannot be booked then is lost and answered so."""
        deadline = self._monotonic() + STOP_PATIENCE_S
        while self._has_work():
            self._give_up(self._monotonic())
            self._commit()
            if self._monotonic() >= deadline:
                break
            if self._has_work():
                self._sleep(RETRY_FIRST_S)
        if self._has_work():
            self._lose_everything()
        if (trouble := self._trouble) is not None:
            say(log, logging.ERROR, "ledger.lost", shares_lost=trouble.shares_lost, rows_lost=trouble.rows_lost)
        self._database.close()
        say(log, logging.INFO, "ledger.closed", rows=self.rows, commits=self.commits)
