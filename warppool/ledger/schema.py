"""The tables of the books, by version.

`MIGRATIONS[n]` leads from version n to n + 1, and version 0 is an empty file. A published migration is never edited: a
change of the tables is a new entry. The version stands in `PRAGMA user_version`, the mark of our files in
`PRAGMA application_id`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from warppool.errors import LedgerError

APPLICATION_ID: Final = 0x77617270          # "warp"

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # Names are UTF-8 with whatever other bytes a miner sent (`surrogateescape`). `user` is the name up to its first
        # dot.
        """CREATE TABLE workers (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            user TEXT NOT NULL)""",
        # One row a share and no index: the ids rise in the order of the commits, and `minutes` leads from a time to
        # an id for a thousandth of an index's price. Times are Unix milliseconds, hashes 32 bytes in header order.
        """CREATE TABLE shares (
            id INTEGER PRIMARY KEY,
            time_ms INTEGER NOT NULL,
            worker INTEGER NOT NULL REFERENCES workers (id),
            protocol TEXT NOT NULL,
            channel INTEGER NOT NULL,
            difficulty REAL NOT NULL,
            job INTEGER NOT NULL,
            height INTEGER NOT NULL,
            hash BLOB NOT NULL)""",
        # Unix minutes. No share of this minute has an id below `first_id`, however the clock was set.
        """CREATE TABLE minutes (
            minute INTEGER PRIMARY KEY,
            first_id INTEGER NOT NULL)""",
        # Of workers that have a share or a block here; all others' stand under the worker whose name is empty.
        """CREATE TABLE refusals (
            minute_unix INTEGER NOT NULL,
            worker INTEGER NOT NULL REFERENCES workers (id),
            reason TEXT NOT NULL,
            count INTEGER NOT NULL,
            PRIMARY KEY (minute_unix, worker, reason)) WITHOUT ROWID""",
        """CREATE TABLE blocks (
            hash BLOB PRIMARY KEY,
            height INTEGER NOT NULL,
            worker INTEGER NOT NULL REFERENCES workers (id),
            time_ms INTEGER NOT NULL,
            difficulty REAL NOT NULL,
            outcome TEXT,
            detail TEXT,
            outcome_time_ms INTEGER)""",
    ),
)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the books in this file; 0 if it is empty. LedgerError if the file is another program's."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application_id == APPLICATION_ID:
        return int(version)
    if application_id or version or tables:
        raise LedgerError("this database is not warppool's: give ledger.url a file of its own")
    return 0


def require_known(version: int, newest: int = len(MIGRATIONS)) -> None:
    """LedgerError if a later warppool wrote these books."""
    if version > newest:
        raise LedgerError(
            f"the books are of schema version {version} and this warppool knows versions up to {newest}: "
            "install the warppool that wrote them, or a later one"
        )


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> int:
    """Bring the tables up to the newest version, each step whole or not at all; how many steps were taken.

    `connection` is in autocommit mode. LedgerError as in `version_of` and `require_known`, with nothing changed.
    """
    before = version_of(connection)
    require_known(before, len(migrations))
    for version in range(before, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migrations[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
    return len(migrations) - before
