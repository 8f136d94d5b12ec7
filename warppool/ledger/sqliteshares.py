"""How shares get into the SQLite file: many rows a statement, and the minute that leads to an id."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from warppool.events import ShareAccepted
from warppool.ledger.hours import Credit
from warppool.ledger.sqlitenames import AccountIds, WorkerIds

MINUTE_CACHE_MAX: Final = 1_024

# A step of a statement lets go of the GIL, and taking it back from a busy worker costs up to 5 ms. So few statements
# take many rows: with one busy thread beside it, a commit of 100 shares took 6 ms so, and 145 ms by `executemany`.
_ROWS: Final = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
_PLAIN: Final = ("id", "time_ms", "worker", "protocol", "channel", "difficulty", "job", "height", "hash")
_CREDITED: Final = (*_PLAIN, "account")
_COUNTS_AT: Final = tuple(map(_CREDITED.index, ("id", "time_ms", "account", "difficulty")))
_INSERT_MINUTE: Final = """
    INSERT INTO minutes (minute, first_id) VALUES (?, ?)
    ON CONFLICT (minute) DO UPDATE SET first_id = min(first_id, excluded.first_id)"""


def _statements(columns: Sequence[str]) -> dict[int, str]:
    """One statement for each number of rows."""
    row = f"({', '.join('?' * len(columns))})"
    return {rows: f"INSERT INTO shares ({', '.join(columns)}) VALUES {', '.join([row] * rows)}" for rows in _ROWS}


_INSERT_PLAIN: Final = _statements(_PLAIN)
_INSERT_CREDITED: Final = _statements(_CREDITED)


class ShareRows:
    """Inserts shares; what is at hand of workers, accounts and minutes is forgotten with a transaction that falls."""

    def __init__(self) -> None:
        self.workers = WorkerIds()
        self.accounts = AccountIds()
        self._minutes: set[int] = set()

    def clear(self) -> None:
        """Forget what is at hand."""
        self.workers.clear()
        self.accounts.clear()
        self._minutes.clear()

    def insert(
        self, connection: sqlite3.Connection, share_id: int, shares: Sequence[ShareAccepted], *, are_credited: bool
    ) -> Iterable[Credit]:
        """Insert `shares` under `share_id` and the ids that follow, with their accounts if they `are_credited`.

        Returns what counts of them, by id; nothing if they are not credited.
        """
        workers, accounts, minutes = self.workers.ids, self.accounts.ids, self._minutes
        values: list[object] = []
        for _, _, time, protocol, channel_id, user, difficulty, job_id, height, share_hash, address in shares:
            worker = workers.get(user) or self.workers.id_of(connection, user)
            time_ms = round(time * 1000)
            minute = time_ms // 60_000
            if minute not in minutes:
                self._note_minute(connection, minute, share_id)
            values += (share_id, time_ms, worker, protocol, channel_id, difficulty, job_id, height, share_hash)
            if are_credited:
                values.append(accounts.get(address) or self.accounts.optional(connection, address))
            share_id += 1
        if not are_credited:
            _execute(connection, _INSERT_PLAIN, len(_PLAIN), values)
            return ()
        _execute(connection, _INSERT_CREDITED, len(_CREDITED), values)
        columns: list[list[Any]] = [values[at::len(_CREDITED)] for at in _COUNTS_AT]
        return zip(*columns, strict=True)

    def _note_minute(self, connection: sqlite3.Connection, minute: int, first_id: int) -> None:
        connection.execute(_INSERT_MINUTE, (minute, first_id))
        if len(self._minutes) >= MINUTE_CACHE_MAX:
            self._minutes.clear()
        self._minutes.add(minute)


def _execute(connection: sqlite3.Connection, statements: dict[int, str], columns: int, values: list[object]) -> None:
    """Insert the rows of `values`, which stand in one list."""
    done, total = 0, len(values) // columns
    for rows in _ROWS:
        while done + rows <= total:
            connection.execute(statements[rows], values[done * columns:(done + rows) * columns])
            done += rows
