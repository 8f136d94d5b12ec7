"""Old shares go, in small bites; what they came to stays in the roll-ups, and their ids are given to no other share."""

from __future__ import annotations

import math
import sqlite3
from typing import Final

from warppool.ledger.slots import DAY
from warppool.ledger.sqlitemarks import mark, marks

BITE_SHARES: Final = 1_000              # some 2 ms
BITE_ROWS: Final = 200                  # of other tables
LOOK_EVERY_S: Final = 600               # looking for what is old reads `minutes`, some 10 ms
_ENDLESS: Final = (1 << 63) - 1

_NEWER: Final = "SELECT min(first_id) FROM minutes WHERE minute >= ? AND minute <= ?"
_HELD: Final = "SELECT min(first_id) FROM holds"
_OLDEST: Final = "SELECT min(id) FROM shares WHERE id < ?"
_KEEP_IDS: Final = "UPDATE meta SET next_share_id = ? WHERE next_share_id < ?"
_SHARES: Final = "DELETE FROM shares WHERE id >= ? AND id < ?"
_MINUTES: Final = f"""
    DELETE FROM minutes WHERE minute IN (
        SELECT minute FROM minutes WHERE minute < ? AND first_id < ? ORDER BY minute LIMIT {BITE_ROWS})"""
_REFUSALS: Final = f"""
    DELETE FROM refusals WHERE (minute_unix, worker, reason) IN (
        SELECT minute_unix, worker, reason FROM refusals WHERE minute_unix < ? LIMIT {BITE_ROWS})"""
_HOURS: Final = f"""
    DELETE FROM window_hours WHERE (first_id, account) IN (
        SELECT first_id, account FROM window_hours WHERE first_id < ? AND last_id < ?
            AND first_id < (SELECT max(first_id) FROM window_hours) ORDER BY first_id LIMIT {BITE_ROWS})"""
_TIME_OF_FIRST: Final = "SELECT time_ms / 60000 FROM shares WHERE id >= ? ORDER BY id LIMIT 1"


class Retention:
    """Deletes what is older than `keep_days`, 0 for nothing: shares only below the lowest hold, and once rolled up."""

    def __init__(self, keep_days: int) -> None:
        self._keep_s = keep_days * DAY
        self._end: int | None = None        # shares below it are old
        self._minute = 0                    # Unix minutes before it are old
        self._looks_at = -math.inf          # Unix time

    def clear(self) -> None:
        """Look anew."""
        self._end, self._looks_at = None, -math.inf

    def bite(self, connection: sqlite3.Connection, next_id: int, now: float) -> bool:
        """Delete a little, inside the transaction that is open; whether anything went."""
        if not self._keep_s:
            return False
        if self._end is None:
            if self._looks_at - LOOK_EVERY_S <= now < self._looks_at:
                return False
            self._looks_at = now + LOOK_EVERY_S
            self._minute = (int(now) - self._keep_s) // 60
            self._end = _first_new(connection, self._minute, int(now) // 60)
        if self._delete(connection, next_id, min(self._end, _first_held(connection))):
            return True
        self._end = None
        return False

    def _delete(self, connection: sqlite3.Connection, next_id: int, end: int) -> bool:
        first = connection.execute(_OLDEST, (end,)).fetchone()[0]
        if first is not None:
            connection.execute(_KEEP_IDS, (next_id, next_id))
            connection.execute(_SHARES, (first, min(first + BITE_SHARES, end)))
            return True
        row = connection.execute(_TIME_OF_FIRST, (end,)).fetchone()
        minute = self._minute if row is None else min(self._minute, row[0])
        refused = min(mark(connection, "refused_from") or 0, self._minute * 60)
        return (connection.execute(_MINUTES, (minute, end)).rowcount > 0
                or connection.execute(_HOURS, (end, end)).rowcount > 0
                or connection.execute(_REFUSALS, (refused,)).rowcount > 0)


def _first_new(connection: sqlite3.Connection, oldest: int, newest: int) -> int:
    """The lowest id of a share in these minutes. A minute in the future, of a clock that was wrong, keeps nothing."""
    found = connection.execute(_NEWER, (oldest, newest)).fetchone()[0]
    return _ENDLESS if found is None else int(found)


def _first_held(connection: sqlite3.Connection) -> int:
    """The lowest id that stays, whatever its age: of a hold, or of what is not rolled up."""
    at = marks(connection)
    held = connection.execute(_HELD).fetchone()[0]
    rolled = at["rolled_id"] if at["backlog_id"] == at["live_id"] else at["backlog_id"]
    return rolled if held is None else min(int(held), rolled)
