"""What the books need beside what is booked: slots that close, coarser sums, and that what is old goes.

One step at a time, each in a transaction of its own and so small that a commit may wait for it.
"""

from __future__ import annotations

import sqlite3

from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES
from warppool.ledger.sqlitebacklog import OldShares
from warppool.ledger.sqlitecoarse import Coarse
from warppool.ledger.sqliteretention import Retention
from warppool.ledger.sqliteslots import OpenSlot


class Chores:
    """The steps in their order. `keep_days` is `ledger.keep_days`: 0 keeps all."""

    def __init__(self, keep_days: int) -> None:
        self._backlog = OldShares()
        self._coarse = Coarse()
        self._retention = Retention(keep_days)

    def keep(self, days: int) -> None:
        """From now on shares are kept so long."""
        self._retention = Retention(days)

    def clear(self) -> None:
        """A transaction fell, or the books were opened anew."""
        self._backlog.clear()
        self._coarse.clear()
        self._retention.clear()

    def step(self, connection: sqlite3.Connection, slot: OpenSlot, next_id: int, now: float) -> bool:
        """Do one thing, inside the transaction that is open; whether there may be another one to do at once."""
        coarse = self._coarse
        return (slot.step(connection, next_id) or slot.rest(connection, next_id, now) or self._backlog.step(connection)
                or coarse.roll_refusals(connection, now)
                or coarse.sum_up(connection, HOUR) or coarse.sum_up(connection, DAY)
                or coarse.sum_refusals(connection, HOUR) or coarse.sum_refusals(connection, DAY)
                or coarse.prune(connection, TEN_MINUTES) or coarse.prune(connection, HOUR)
                or self._retention.bite(connection, next_id, now))
