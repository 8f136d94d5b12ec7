"""The rows of `rollups` and `slots`: the slot that is open, and how it closes.

Shares are counted here after their commit, so a transaction that falls has changed nothing. A commit that finds the
slot over opens the next one. If few workers have a share it writes the rows of the slot before, too. Else these are
written some at a time between the commits (`step`), each by a transaction that moves the mark.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from warppool.ledger.manyrows import insert_into
from warppool.ledger.opensums import OpenSums
from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES, WorkSum, columns_of
from warppool.ledger.sqlitemarks import marks, set_marks
from warppool.ledger.sqliteshares import InsertedShares, work_columns

KEPT_DAYS: Final = {TEN_MINUTES: 7, HOUR: 90}       # of the finer roll-ups
ROWS_A_STEP: Final = 250                            # some 1 ms, as much as the commit that they may hold up
SHARES_A_STEP: Final = 500
GATHERED: Final = 256

_ROLLUPS: Final = insert_into("rollups", ("resolution", "slot", "worker", "accepted", "whole", "fraction", "best"))
_SLOT: Final = """
    INSERT INTO slots (resolution, slot, first_id, last_id, accepted, whole, fraction, best)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
WORK_OF: Final = "SELECT worker, difficulty, hash FROM shares WHERE id BETWEEN ? AND ?"


class SlotOfIds(NamedTuple):
    """A slot and its first share; `end` is the first share of the next slot, 0 while it is open."""

    slot: int
    first: int
    end: int = 0


class SlotSums:
    """The sums of the shares of a slot that are below `next_id`. Its rows are written up to the worker `written`."""

    def __init__(self, ids: SlotOfIds) -> None:
        self.ids = ids
        self.next_id = ids.first
        self.written = 0
        self._sums = OpenSums()
        self._gathered: list[object] = []       # values of shares that are not counted yet
        self._width = 1

    @property
    def sums(self) -> OpenSums:
        """With all that was added."""
        if self._gathered:
            values, self._gathered = self._gathered, []
            self._sums.add_columns(*work_columns(values, self._width))
        return self._sums

    def of(self, ids: SlotOfIds) -> SlotSums:
        """The same sums, as those of a slot that is over."""
        over = SlotSums(ids)
        over.next_id, over._sums = self.next_id, self.sums
        return over

    def add(self, inserted: InsertedShares, count: int) -> None:
        """The shares that follow, as they were inserted."""
        if inserted.width != self._width:
            self._sums, self._width = self.sums, inserted.width
        self._gathered += inserted.values
        self.next_id += count
        if len(self._gathered) >= GATHERED * self._width:
            self._sums = self.sums

    def read(self, connection: sqlite3.Connection, end: int, *, at_once: bool = False) -> bool:
        """Count shares below `end` that are in the books and not in the sums, some or all; whether all are counted."""
        if self.next_id < end:
            upto = end if at_once else min(end, self.next_id + SHARES_A_STEP)
            self.sums.add(connection.execute(WORK_OF, (self.next_id, upto - 1)))
            self.next_id = upto
        return self.next_id == end


class OpenSlot:
    """Carries the sums of the open slot, and of the one before it while its rows are written."""

    def __init__(self) -> None:
        self._open: SlotSums | None = None
        self._closing: SlotSums | None = None
        self._then: Callable[[], None] | None = None        # once the transaction is committed

    def clear(self) -> None:
        """Forget the sums of the open slot, which are read up from the shares again."""
        if self._open is not None:
            self._open = SlotSums(self._open.ids)

    def fall(self) -> None:
        """The transaction fell, or nobody knows."""
        self._then = None

    def open(self, connection: sqlite3.Connection, next_id: int, *, is_same_file: bool) -> None:
        """A connection was made: see whether the sums at hand are still those of the books."""
        at = marks(connection)
        if "open_slot" not in at or not is_same_file:
            self._open = self._closing = None
        if "open_slot" not in at:
            return
        opened = SlotOfIds(at["open_slot"], max(at["rolled_id"], at.get("closing_end", 0)))
        closing = SlotOfIds(at.get("closing_slot", 0), at["rolled_id"], opened.first)
        if self._open is None or self._open.ids != opened or self._open.next_id > next_id:
            self._open = SlotSums(opened)
        if closing.first == closing.end:
            self._closing = None
        elif self._closing is None or self._closing.ids != closing:
            self._closing = SlotSums(closing)
        if self._closing is not None:
            self._closing.written = at["closing_worker"]

    def turn(self, connection: sqlite3.Connection, next_id: int, unix_time: float) -> bool:
        """If the slot is over, open the next one inside the transaction that is open; whether it is.

        The shares from `next_id` on, which are not inserted yet, are of the next slot.
        """
        slot, opened = int(unix_time // TEN_MINUTES), self._open
        if opened is not None and slot <= opened.ids.slot:
            return False
        if self._closing is not None:       # since ten minutes there was no time for it
            self._closing.read(connection, self._closing.ids.end, at_once=True)
            _close_some(connection, self._closing, None)
        is_closed = True
        if opened is None:
            _go_live(connection, slot)
        elif next_id > opened.ids.first:
            over = opened.ids._replace(end=next_id)
            set_marks(connection, closing_slot=over.slot, closing_end=over.end, closing_worker=0)
            is_closed = opened.read(connection, next_id) and not opened.sums.has_more_than(ROWS_A_STEP)
            if is_closed:
                _close_some(connection, opened.of(over), None)
        set_marks(connection, open_slot=slot, **({"rolled_id": next_id} if is_closed else {}))
        self._then = partial(self._turned, SlotOfIds(slot, next_id), is_closed)
        return True

    def rest(self, connection: sqlite3.Connection, next_id: int, unix_time: float) -> bool:
        """As `turn`, while nothing is booked: a slot without a share goes on, until its hour is over."""
        opened = self._open
        if (opened is None or next_id > opened.ids.first
                or unix_time // HOUR > opened.ids.slot * TEN_MINUTES // HOUR):
            return self.turn(connection, next_id, unix_time)
        return False

    def step(self, connection: sqlite3.Connection, next_id: int) -> bool:
        """Read or write a little of what is behind, inside the transaction that is open; whether there was some."""
        opened, closing = self._open, self._closing
        if closing is not None and closing.next_id < closing.ids.end:
            closing.read(connection, closing.ids.end)
        elif closing is not None:
            self._then = partial(self._stepped, _close_some(connection, closing, ROWS_A_STEP))
        elif opened is not None and opened.next_id < next_id:
            opened.read(connection, next_id)
        else:
            return False
        return True

    def committed(self, first_id: int, inserted: InsertedShares | None, count: int) -> None:
        """The transaction is in the books, with so many shares from `first_id` on."""
        if self._then is not None:
            then, self._then = self._then, None
            then()
        opened = self._open
        if inserted is not None and opened is not None and opened.next_id == first_id:
            opened.add(inserted, count)     # else all are read up (`step`)

    def _turned(self, ids: SlotOfIds, is_closed: bool) -> None:
        if not is_closed and self._open is not None:
            self._closing = self._open.of(self._open.ids._replace(end=ids.first))
        else:
            self._closing = None
        self._open = SlotSums(ids)

    def _stepped(self, worker: int | None) -> None:
        if worker is None:
            self._closing = None
        elif self._closing is not None:
            self._closing.written = worker


def _close_some(connection: sqlite3.Connection, closing: SlotSums, most: int | None) -> int | None:
    """Write rows of a slot that is over, of the `most` next workers or of all; up to which worker, None for all."""
    slot, first, end = closing.ids
    rows = closing.sums.by_worker(closing.written, most)
    if most is not None and len(rows) == most:
        write_rows(connection, TEN_MINUTES, slot, rows)
        set_marks(connection, closing_worker=rows[-1][0])
        return rows[-1][0]
    write_slot(connection, TEN_MINUTES, slot, (first, end - 1), rows, closing.sums.total())
    set_marks(connection, rolled_id=end)
    return None


def write_rows(connection: sqlite3.Connection, resolution: int, slot: int, rows: Sequence[tuple[int, WorkSum]]) -> None:
    """The rows of some workers of a slot that is over."""
    _ROLLUPS.execute(connection, [value for worker, work in rows for value in (
        resolution, slot, worker, *columns_of(work))])


def write_slot(connection: sqlite3.Connection, resolution: int, slot: int, ids: tuple[int, int],
               rows: Sequence[tuple[int, WorkSum]], total: WorkSum) -> None:
    """The last rows of a slot that is over, and the row of all; none if it has no share."""
    write_rows(connection, resolution, slot, rows)
    if total.accepted:
        connection.execute(_SLOT, (resolution, slot, *ids, *columns_of(total)))


def _go_live(connection: sqlite3.Connection, slot: int) -> None:
    """The books have their first slot: what is older is rolled up by whole days, coarsely where it is old."""
    day = slot * TEN_MINUTES // DAY
    fine, middle = day - KEPT_DAYS[TEN_MINUTES], day - KEPT_DAYS[HOUR]
    set_marks(connection, live_slot=slot, hour=fine * 24, day=middle, pruned_600=fine * 144, pruned_3600=middle * 24,
              refused_hour=0, refused_day=0)
