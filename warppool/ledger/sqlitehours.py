"""The rows of `window_hours`: carried while shares are booked, read up from the shares after a start."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from warppool.ledger.hours import Credit, HourSum, OpenHour
from warppool.ledger.manyrows import ManyRows, insert_into
from warppool.ledger.sqliteshares import CREDITS

_INSERT: Final = insert_into("window_hours", ("server", "first_id", "last_id", "account", "whole", "fraction", "count"))
_SEEN: Final = ManyRows(
    "UPDATE accounts SET last_id = seen.column2, last_hour = seen.column3 FROM (", 3,
    ") AS seen WHERE accounts.id = seen.column1")
_AFTER_CLOSED: Final = """
    SELECT max(coalesce((SELECT max(first_id) FROM payout_epochs), 1),
        coalesce((SELECT last_id + 1 FROM window_hours ORDER BY first_id DESC LIMIT 1), 1))"""


class WindowHours:
    """Sums the shares of the present pplns epoch; what is at hand is forgotten with a transaction that falls."""

    def __init__(self, server_id: int) -> None:
        self._server_id = server_id
        self._open: OpenHour | None = None

    def clear(self) -> None:
        """Forget the open hour: the next share has it read up from the books."""
        self._open = None

    def add(self, connection: sqlite3.Connection, first_id: int, shares: Iterable[Credit]) -> None:
        """Count shares that were inserted under `first_id` and the ids that follow; write the hours that they end."""
        self._write(connection, self._opened(connection, first_id - 1).add(shares))

    def end(self, connection: sqlite3.Connection, last_id: int) -> None:
        """The epoch is over with `last_id`: write its last hour."""
        self._write(connection, self._opened(connection, last_id).close(last_id))

    def take_back(self, connection: sqlite3.Connection, first_id: int) -> None:
        """Shares from `first_id` on were deleted: the hours that they were in are summed anew."""
        connection.execute("DELETE FROM window_hours WHERE last_id >= ?", (first_id,))
        self._open = None

    def _opened(self, connection: sqlite3.Connection, last_id: int) -> OpenHour:
        """The hour that is open after `last_id`, summed from the shares if it is not at hand."""
        if self._open is None:
            (first_id,) = connection.execute(_AFTER_CLOSED).fetchone()
            self._open = OpenHour(first_id)
            self._write(connection, self._open.add(connection.execute(CREDITS, (first_id, last_id))))
        return self._open

    def _write(self, connection: sqlite3.Connection, closed: Iterable[HourSum]) -> None:
        rows: list[object] = []
        seen: dict[int, tuple[int, int]] = {}           # the newest by account: an hour may be the second of a commit
        for hour, first_id, last_id, account, whole, fraction, count, newest_id in closed:
            rows += (self._server_id, first_id, last_id, account, whole, fraction, count)
            seen[account] = newest_id, hour
        _INSERT.execute(connection, rows)
        _SEEN.execute(connection, [value for account, each in seen.items() for value in (account, *each)])
