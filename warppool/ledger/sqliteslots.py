"""The rows of `rollups` and `slots`: the slot that is open, and how it closes.

Shares are counted here after their commit, so a transaction that falls has changed nothing. A commit that finds the
slot over writes the rows of all before it, and moves the mark.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from warppool.ledger.manyrows import insert_into
from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES, OpenSums, ShareWork, WorkSum, columns_of, total_of
from warppool.ledger.sqlitemarks import marks, set_marks

KEPT_DAYS: Final = {TEN_MINUTES: 7, HOUR: 90}       # of the finer roll-ups

_ROLLUPS: Final = insert_into("rollups", ("resolution", "slot", "worker", "accepted", "whole", "fraction", "best"))
_SLOT: Final = """
    INSERT INTO slots (resolution, slot, first_id, last_id, accepted, whole, fraction, best)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
WORK_OF: Final = "SELECT worker, difficulty, hash FROM shares WHERE id BETWEEN ? AND ?"


class OpenSlot:
    """Carries the sums of the open slot. `clear` forgets them, and they are read up from the shares again."""

    def __init__(self) -> None:
        self._sums = OpenSums()
        self._slot: int | None = None
        self._first_id = 0                  # of the open slot
        self._next_id = 0                   # shares below are in the sums
        self._turned: tuple[int, int] | None = None         # slot and first id, if the transaction is committed

    def clear(self) -> None:
        """Forget the sums."""
        self._sums, self._next_id = OpenSums(), self._first_id

    def fall(self) -> None:
        """The transaction fell, or nobody knows."""
        self._turned = None

    def open(self, connection: sqlite3.Connection, next_id: int, *, is_same_file: bool) -> None:
        """A connection was made: see whether the sums at hand are still those of the books."""
        found = marks(connection)
        slot, first_id = found.get("open_slot"), found["rolled_id"]
        if not is_same_file or (slot, first_id) != (self._slot, self._first_id) or self._next_id > next_id:
            self._slot, self._first_id = slot, first_id
            self.clear()

    def turn(self, connection: sqlite3.Connection, next_id: int, unix_time: float) -> bool:
        """If the slot is over, write its rows inside the transaction that is open; whether it is.

        The shares from `next_id` on, which are not inserted yet, are of the next slot.
        """
        slot = int(unix_time // TEN_MINUTES)
        if self._slot is None:
            _go_live(connection, slot)
        elif slot <= self._slot:
            return False
        elif next_id > self._first_id:
            self._read_up(connection, next_id)
            write_slot(connection, TEN_MINUTES, self._slot, (self._first_id, next_id - 1), self._sums.by_worker())
        set_marks(connection, open_slot=slot, rolled_id=next_id)
        self._turned = slot, next_id
        return True

    def rest(self, connection: sqlite3.Connection, next_id: int, unix_time: float) -> bool:
        """As `turn`, while nothing is booked: a slot without a share goes on, until its hour is over."""
        if self._slot is None or next_id > self._first_id or unix_time // HOUR > self._slot * TEN_MINUTES // HOUR:
            return self.turn(connection, next_id, unix_time)
        return False

    def committed(self, first_id: int, shares: Iterable[ShareWork], count: int) -> None:
        """The transaction is in the books, with so many `shares` from `first_id` on."""
        if self._turned is not None:
            (self._slot, self._first_id), self._turned = self._turned, None
            self.clear()
        if self._next_id == first_id:       # else all are read up when they are wanted
            self._sums.add(shares)
            self._next_id = first_id + count

    def _read_up(self, connection: sqlite3.Connection, next_id: int) -> None:
        """Count the shares below `next_id` that are in the books and not in the sums."""
        if self._next_id < next_id:
            self._sums.add(connection.execute(WORK_OF, (self._next_id, next_id - 1)))
            self._next_id = next_id


def write_slot(connection: sqlite3.Connection, resolution: int, slot: int, ids: tuple[int, int],
               sums: Sequence[tuple[int, WorkSum]]) -> None:
    """The rows of a slot that is over; none if it has no share."""
    if sums:
        _ROLLUPS.execute(connection, [
            value for worker, work in sums for value in (resolution, slot, worker, *columns_of(work))])
        connection.execute(_SLOT, (resolution, slot, *ids, *columns_of(total_of(work for _, work in sums))))


def _go_live(connection: sqlite3.Connection, slot: int) -> None:
    """The books have their first slot: what is older is rolled up by whole days, coarsely where it is old."""
    day = slot * TEN_MINUTES // DAY
    fine, middle = day - KEPT_DAYS[TEN_MINUTES], day - KEPT_DAYS[HOUR]
    set_marks(connection, live_slot=slot, hour=fine * 24, day=middle, pruned_600=fine * 144, pruned_3600=middle * 24,
              refused_hour=0, refused_day=0)
