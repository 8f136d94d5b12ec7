"""Coarser roll-ups are made of finer ones, and these go when they are old; refusals are rolled up, too.

Each step is small, in a transaction of its own. Hours and days are summed for 200 workers a step. A daemon
that dies between two steps finds the same rows to sum again, since those that they are made of are never edited.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES
from warppool.ledger.sqlitemarks import first_open, marks, set_marks
from warppool.ledger.sqliteslots import KEPT_DAYS

WORKERS_A_STEP: Final = 200
ROWS_A_STEP: Final = 2_000
REFUSALS_WAIT_S: Final = 120            # a minute is rolled up when it is so old
_MASK: Final = (1 << 48) - 1
_FINER: Final = {HOUR: TEN_MINUTES, DAY: HOUR}
_NAMES: Final = {HOUR: "hour", DAY: "day"}

_SUMS: Final = f"""sum(accepted), sum(whole) + (sum(fraction) >> 48), sum(fraction) & {_MASK}, max(best)"""
_SUM_WORKERS: Final = f"""
    INSERT OR IGNORE INTO rollups (resolution, slot, worker, accepted, whole, fraction, best)
    SELECT ?, ?, worker, {_SUMS} FROM rollups
    WHERE resolution = ? AND slot IN (SELECT slot FROM slots WHERE resolution = ? AND slot >= ? AND slot < ?)
        AND worker > ? AND worker <= ? GROUP BY worker"""
_SUM_SLOT: Final = f"""
    INSERT OR IGNORE INTO slots (resolution, slot, first_id, last_id, accepted, whole, fraction, best)
    SELECT ?, ?, min(first_id), max(last_id), {_SUMS} FROM slots WHERE resolution = ? AND slot >= ? AND slot < ?"""
_FIRST_SLOT: Final = "SELECT min(slot) FROM slots WHERE resolution = ? AND slot >= ?"
_LAST_WORKER: Final = "SELECT coalesce(max(id), 0) FROM workers"
_FIRST_REFUSAL: Final = "SELECT min(minute_unix) FROM refusals WHERE minute_unix >= ?"
_ROLL_REFUSALS: Final = """
    INSERT INTO refusal_rollups (resolution, slot, worker, reason, count)
    SELECT ?, ?, worker, reason, sum(count) FROM refusals WHERE minute_unix >= ? AND minute_unix < ?
    GROUP BY worker, reason"""
_FIRST_REFUSED: Final = "SELECT min(slot) FROM refusal_rollups WHERE resolution = ? AND slot >= ?"
_SUM_REFUSED: Final = """
    INSERT INTO refusal_rollups (resolution, slot, worker, reason, count)
    SELECT ?, ?, worker, reason, sum(count) FROM refusal_rollups WHERE resolution = ? AND slot >= ? AND slot < ?
    GROUP BY worker, reason"""
_PRUNE: Final = {
    "rollups": f"""DELETE FROM rollups WHERE (resolution, slot, worker) IN (
        SELECT resolution, slot, worker FROM rollups WHERE resolution = ? AND slot < ? LIMIT {ROWS_A_STEP})""",
    "refusal_rollups": f"""DELETE FROM refusal_rollups WHERE (resolution, slot, worker, reason) IN (
        SELECT resolution, slot, worker, reason FROM refusal_rollups
        WHERE resolution = ? AND slot < ? LIMIT {ROWS_A_STEP})""",
    "slots": f"""DELETE FROM slots WHERE (resolution, slot) IN (
        SELECT resolution, slot FROM slots WHERE resolution = ? AND slot < ? LIMIT {ROWS_A_STEP})""",
}


class Coarse:
    """The steps that make coarser rows and delete finer ones; each says whether there was something to do."""

    def __init__(self) -> None:
        self._worker = 0                    # those up to this id are in the sums that are being made

    def clear(self) -> None:
        """Begin the sums under way anew."""
        self._worker = 0

    def sum_up(self, connection: sqlite3.Connection, resolution: int) -> bool:
        """A step for the oldest hour or day that is over and not summed."""
        at, finer, name = marks(connection), _FINER[resolution], _NAMES[resolution]
        a_slot = resolution // finer
        found = connection.execute(_FIRST_SLOT, (finer, at[name] * a_slot)).fetchone()[0]
        over = first_open(at) * TEN_MINUTES // HOUR if resolution == HOUR else at["hour"] // a_slot
        if found is None or found // a_slot >= over:
            if over > at[name]:             # without a share: nothing is to be summed
                set_marks(connection, **{name: over})
            return False
        slot = int(found) // a_slot
        first, end = slot * a_slot, (slot + 1) * a_slot
        upto = self._worker + WORKERS_A_STEP
        connection.execute(_SUM_WORKERS, (resolution, slot, finer, finer, first, end, self._worker, upto))
        self._worker = upto
        if upto >= connection.execute(_LAST_WORKER).fetchone()[0]:
            connection.execute(_SUM_SLOT, (resolution, slot, finer, first, end))
            set_marks(connection, **{name: slot + 1})
            self._worker = 0
        return True

    def roll_refusals(self, connection: sqlite3.Connection, now: float) -> bool:
        """A slot of ten minutes that is over since two minutes; what comes later counts for a later minute."""
        over = int(now - REFUSALS_WAIT_S) // TEN_MINUTES
        done = marks(connection).get("refused_from", 0)
        found = connection.execute(_FIRST_REFUSAL, (done,)).fetchone()[0]
        slot = over if found is None else min(over, int(found) // TEN_MINUTES)
        if found is None or slot == over:
            if over * TEN_MINUTES // HOUR > done // HOUR:
                set_marks(connection, refused_from=over * TEN_MINUTES)
            return False
        first, end = slot * TEN_MINUTES, (slot + 1) * TEN_MINUTES
        connection.execute(_ROLL_REFUSALS, (TEN_MINUTES, slot, first, end))
        set_marks(connection, refused_from=end)
        return True

    def sum_refusals(self, connection: sqlite3.Connection, resolution: int) -> bool:
        """The oldest hour or day of refusals that is over and not summed."""
        at, finer, name = marks(connection), _FINER[resolution], f"refused_{_NAMES[resolution]}"
        a_slot = resolution // finer
        over = at.get("refused_from", 0) // HOUR if resolution == HOUR else at["refused_hour"] // a_slot
        found = connection.execute(_FIRST_REFUSED, (finer, at[name] * a_slot)).fetchone()[0]
        if found is None or found // a_slot >= over:
            if over > at[name]:
                set_marks(connection, **{name: over})
            return False
        slot = int(found) // a_slot
        connection.execute(_SUM_REFUSED, (resolution, slot, finer, slot * a_slot, (slot + 1) * a_slot))
        set_marks(connection, **{name: slot + 1})
        return True

    def prune(self, connection: sqlite3.Connection, resolution: int) -> bool:
        """Delete some rows of a finer resolution that are old and summed."""
        at, name = marks(connection), f"pruned_{resolution}"
        a_day = DAY // resolution
        summed = {TEN_MINUTES: at["hour"] * 6, HOUR: at["day"] * 24}[resolution]
        refused = {TEN_MINUTES: at["refused_hour"] * 6, HOUR: at["refused_day"] * 24}[resolution]
        today = at["open_slot"] * TEN_MINUTES // DAY
        old = (today - KEPT_DAYS[resolution]) * a_day
        if min(old, summed, refused) > at[name]:
            set_marks(connection, **{name: min(old, summed, refused)})         # readers take coarser ones from now on
            return True
        return any(connection.execute(_PRUNE[table], (resolution, at[name])).rowcount > 0 for table in _PRUNE)
