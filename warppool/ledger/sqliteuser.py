"""Where the shares of one user lie: in the slots in which he has a roll-up, so that no share pays for an index."""

from __future__ import annotations

import sqlite3
from typing import Final

from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES
from warppool.ledger.sqlitemarks import marks

_SLOTS: Final = """
    SELECT first_id, last_id FROM slots s
    WHERE resolution = :resolution AND slot >= :first AND slot < :end AND last_id >= :low AND EXISTS (
        SELECT 1 FROM rollups r WHERE r.resolution = s.resolution AND r.slot = s.slot AND r.worker IN (
            SELECT id FROM workers WHERE name = CAST(:user AS TEXT) OR user = CAST(:user AS TEXT)))"""
_ENDLESS: Final = (1 << 63) - 1


def ranges_of(connection: sqlite3.Connection, user: bytes, low: int, high: int) -> list[tuple[int, int]]:
    """Ranges of ids from `low` to `high` that have all shares of a user or a worker, by id; most of them are his."""
    at = marks(connection)
    ten, hours = at.get("pruned_600", 0), at.get("pruned_3600", 0)
    found = [(at["rolled_id"], high)]
    if at["backlog_id"] < at["live_id"]:
        found.append((at["backlog_id"], at["live_id"] - 1))
    for resolution, first, end in ((DAY, 0, hours // 24), (HOUR, hours, ten // 6), (TEN_MINUTES, ten, _ENDLESS)):
        found += connection.execute(
            _SLOTS, {"resolution": resolution, "first": first, "end": end, "low": low, "user": user})
    joined: list[tuple[int, int]] = []
    for first, last in sorted(found):
        first, last = max(first, low), min(last, high)
        if joined and first == joined[-1][1] + 1:
            joined[-1] = joined[-1][0], last
        elif first <= last:
            joined.append((first, last))
    return joined
