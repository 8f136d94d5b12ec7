"""Rolls up the shares of books that are older than roll-ups: in slices, while new shares are booked.

The slot of such a share is that of its time, which for old books stands for the commit: it never goes back, and stays
before the first slot that was live. A day that is old enough is rolled up coarsely at once.
"""

from __future__ import annotations

import sqlite3
from itertools import groupby
from typing import Final

from warppool.ledger.opensums import OpenSums
from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES
from warppool.ledger.sqlitemarks import marks, set_marks
from warppool.ledger.sqliteslots import ROWS_A_STEP, write_rows, write_slot

SLICE_SHARES: Final = 2_000             # some 5 ms

_SLICE: Final = "SELECT time_ms / 1000, worker, difficulty, hash, id FROM shares WHERE id BETWEEN ? AND ? ORDER BY id"
_NEXT: Final = "SELECT min(id) FROM shares WHERE id >= ? AND id < ?"

OldSlot = tuple[int, int]
"""Resolution and slot."""


class OldShares:
    """One step is one slice, in the transaction that is open. What is at hand is lost with `clear`, and read again."""

    def __init__(self) -> None:
        self._next_id: int | None = None
        self._slot: OldSlot | None = None
        self._sums = OpenSums()
        self._time = 0
        self._written = 0                   # rows of the slot are in the books up to this worker
        self._is_over = False

    def clear(self) -> None:
        """Begin anew at the mark."""
        self.__init__()                     # type: ignore[misc]    # the same object is begun anew

    def step(self, connection: sqlite3.Connection) -> bool:
        """Whether there was something to do."""
        if self._is_over:
            return False
        at = marks(connection)
        if "live_slot" not in at:
            return False
        if self._next_id is None:
            self._next_id, self._time = at["backlog_id"], at.get("backlog_time", 0)
            self._written = at.get("backlog_worker", 0)
        first = connection.execute(_NEXT, (self._next_id, at["live_id"])).fetchone()[0]
        if first is None:
            return self._finish(connection, at)
        last = min(first + SLICE_SHARES, at["live_id"]) - 1
        latest = at["live_slot"] * TEN_MINUTES - 1
        for slot, shares in groupby(connection.execute(_SLICE, (first, last)),
                                    lambda row: self._slot_of(row[0], latest, at)):
            rows = [next(shares)]
            if slot != self._slot:
                self._next_id = rows[0][4]
                if not self._close(connection, self._next_id):
                    return True
                self._slot = slot
            rows += shares                          # noqa: B031  # what is left of it
            self._sums.add((worker, difficulty, share_hash) for _, worker, difficulty, share_hash, _ in rows)
        self._next_id = last + 1
        return True

    def _slot_of(self, unix_time: int, latest: int, at: dict[str, int]) -> OldSlot:
        self._time = max(self._time, min(unix_time, latest))
        day = self._time // DAY
        resolution = DAY if day < at["day"] else HOUR if day * 24 < at["hour"] else TEN_MINUTES
        return resolution, self._time // resolution

    def _close(self, connection: sqlite3.Connection, next_id: int) -> bool:
        """The open slot has the shares below `next_id`: write its next rows; whether these were the last ones."""
        if self._slot is not None:
            resolution, slot = self._slot
            rows = self._sums.by_worker(self._written, ROWS_A_STEP)
            if len(rows) == ROWS_A_STEP:
                self._written = rows[-1][0]
                write_rows(connection, resolution, slot, rows)
                set_marks(connection, backlog_worker=self._written)
                return False
            first_id = marks(connection)["backlog_id"]
            write_slot(connection, resolution, slot, (first_id, next_id - 1), rows, self._sums.total())
            set_marks(connection, backlog_time=(slot + 1) * resolution, backlog_worker=0)
            self._sums, self._slot, self._written = OpenSums(), None, 0
        set_marks(connection, backlog_id=next_id)
        return True

    def _finish(self, connection: sqlite3.Connection, at: dict[str, int]) -> bool:
        self._is_over = at["backlog_id"] == at["live_id"]
        if not self._is_over:
            self._close(connection, at["live_id"])
        return not self._is_over
