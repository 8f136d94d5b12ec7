"""How shares get into the SQLite file: many rows a statement, and the minute that leads to an id."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from warppool.events import ShareAccepted
from warppool.ledger.hours import Credit
from warppool.ledger.manyrows import insert_into
from warppool.ledger.sqlitenames import AccountIds, WorkerIds

MINUTE_CACHE_MAX: Final = 1_024

CREDITS: Final = """
    SELECT id, time_ms, account, difficulty FROM shares WHERE id BETWEEN ? AND ? AND account IS NOT NULL ORDER BY id"""
"""The shares from one id to another that count for somebody: a `Credit` each."""

_PLAIN: Final = ("id", "time_ms", "worker", "protocol", "channel", "difficulty", "job", "height", "hash")
_CREDITED: Final = (*_PLAIN, "account")
_COUNTS_AT: Final = tuple(map(_CREDITED.index, ("id", "time_ms", "account", "difficulty")))
_WORK_AT: Final = tuple(map(_PLAIN.index, ("worker", "difficulty", "hash")))
_INSERT_MINUTE: Final = """
    INSERT INTO minutes (minute, first_id) VALUES (?, ?)
    ON CONFLICT (minute) DO UPDATE SET first_id = min(first_id, excluded.first_id)"""
_INSERT_PLAIN: Final = insert_into("shares", _PLAIN)
_INSERT_CREDITED: Final = insert_into("shares", _CREDITED)


class InsertedShares(NamedTuple):
    """The values of rows of `shares`, `width` of them for each."""

    values: list[object]
    width: int

    def credits(self) -> Iterable[Credit]:
        """What counts for accounts, by id; only where there are accounts."""
        return zip(*self._columns(_COUNTS_AT), strict=True)

    def _columns(self, places: Iterable[int]) -> list[list[Any]]:
        return [self.values[at::self.width] for at in places]


def work_columns(values: Sequence[Any], width: int) -> tuple[Sequence[int], Sequence[float], Sequence[bytes]]:
    """Of values as in `InsertedShares`: workers, difficulties and hashes."""
    worker, difficulty, share_hash = _WORK_AT
    return values[worker::width], values[difficulty::width], values[share_hash::width]


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
    ) -> InsertedShares:
        """Insert `shares` under `share_id` and the ids that follow, with their accounts if they `are_credited`."""
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
        if are_credited:
            _INSERT_CREDITED.execute(connection, values)
            return InsertedShares(values, len(_CREDITED))
        _INSERT_PLAIN.execute(connection, values)
        return InsertedShares(values, len(_PLAIN))

    def _note_minute(self, connection: sqlite3.Connection, minute: int, first_id: int) -> None:
        connection.execute(_INSERT_MINUTE, (minute, first_id))
        if len(self._minutes) >= MINUTE_CACHE_MAX:
            self._minutes.clear()
        self._minutes.add(minute)
