"""Rows that are found by a text, with their ids at hand: workers by name, accounts by address."""

from __future__ import annotations

import sqlite3
from typing import Final

CACHE_MAX: Final = 65_536           # texts known by id, some 10 MiB
_WORKER: Final = "INSERT INTO workers (name, user) VALUES (CAST(? AS TEXT), CAST(? AS TEXT))"


class SqliteNames:
    """The ids of one table's texts. `ids` is what is at hand; the table has the rest.

    What a transaction that fell has put here has to be forgotten with it (`clear`).
    """

    _find = ""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def clear(self) -> None:
        self.ids.clear()

    def known(self, connection: sqlite3.Connection, text: str) -> int | None:
        """The id of `text`, None if it has no row."""
        if (known := self.ids.get(text)) is not None:
            return known
        row = connection.execute(self._find, (encode(text),)).fetchone()
        return None if row is None else self._remember(text, int(row[0]))

    def id_of(self, connection: sqlite3.Connection, text: str) -> int:
        """The id of `text`, a new one if it has no row."""
        if (known := self.known(connection, text)) is not None:
            return known
        return self._remember(text, self._insert(connection, encode(text)))

    def _insert(self, connection: sqlite3.Connection, raw: bytes) -> int:
        raise NotImplementedError

    def _remember(self, text: str, row_id: int) -> int:
        if len(self.ids) >= CACHE_MAX:
            self.ids.clear()
        self.ids[text] = row_id
        return row_id


class WorkerIds(SqliteNames):
    """Workers by their whole name; `user` is the name up to its first dot."""

    _find = "SELECT id FROM workers WHERE name = CAST(? AS TEXT)"

    def _insert(self, connection: sqlite3.Connection, raw: bytes) -> int:
        cursor = connection.execute(_WORKER, (raw, raw.partition(b".")[0]))
        assert cursor.lastrowid is not None
        return cursor.lastrowid


class AccountIds(SqliteNames):
    """Accounts by their canonical address."""

    _find = "SELECT id FROM accounts WHERE address = CAST(? AS TEXT)"

    def _insert(self, connection: sqlite3.Connection, raw: bytes) -> int:
        cursor = connection.execute("INSERT INTO accounts (address) VALUES (CAST(? AS TEXT))", (raw,))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def optional(self, connection: sqlite3.Connection, address: str) -> int | None:
        """The id of an account that may be none: None for ""."""
        return self.id_of(connection, address) if address else None


def encode(text: str) -> bytes:
    """The bytes that stand for `text` in the books; any string has some, lone surrogates and all."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:              # U+D800 to U+DC7F, as JSON may spell them: no byte was escaped so
        return text.encode("utf-8", "surrogatepass")


def decode(raw: bytes) -> str:
    """The text that these bytes stand for, as `encode` made them."""
    return raw.decode("utf-8", "surrogateescape")
