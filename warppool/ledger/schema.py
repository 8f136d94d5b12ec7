"""The tables of the books, by version.

`MIGRATIONS[n]` leads from version n to n + 1, and version 0 is an empty file. A published migration is never edited: a
change of the tables is a new entry. The version stands in `PRAGMA user_version`, the mark of our files in
`PRAGMA application_id`. `meta.min_reader` is the oldest version whose warppool may still use the books: within a major
version of warppool, migrations only add.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from warppool.errors import UnusableLedger

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
    (
        # Who is paid: an output script, written as its canonical address. `last_id` is its newest share in a closed
        # hour of `window_hours`, `last_hour` the Unix hour of that one; NULL where there is none.
        """CREATE TABLE accounts (
            id INTEGER PRIMARY KEY,
            address TEXT NOT NULL UNIQUE,
            last_id INTEGER,
            last_hour INTEGER)""",
        # NULL: the share is nobody's, as in mode pool.
        "ALTER TABLE shares ADD COLUMN account INTEGER REFERENCES accounts (id)",
        # One row. A share that is not in the books any more had an id below `next_share_id`. `server_id` is NULL, and
        # `journal_id` empty, until a pool has begun with these books.
        """CREATE TABLE meta (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            next_share_id INTEGER NOT NULL,
            server_id INTEGER,
            journal_id BLOB NOT NULL)""",
        "INSERT INTO meta SELECT 1, coalesce(max(id), 0) + 1, NULL, x'' FROM shares",
        # In mode pool a commit does not write `meta`, which would cost a page: whoever deletes a share does.
        """CREATE TRIGGER shares_deleted AFTER DELETE ON shares
            WHEN OLD.id >= (SELECT next_share_id FROM meta)
            BEGIN UPDATE meta SET next_share_id = OLD.id + 1; END""",
        """CREATE TABLE starts (
            start_id BLOB PRIMARY KEY,
            server_id INTEGER NOT NULL,
            time_ms INTEGER NOT NULL) WITHOUT ROWID""",
        # The mode of the shares from `first_id` on. What lies before the first row is of mode pool.
        """CREATE TABLE payout_epochs (
            first_id INTEGER PRIMARY KEY,
            mode TEXT NOT NULL)""",
        # Written once, as an hour closes. A weight is `whole` + `fraction` / 2^48, since SQLite has no integers past
        # 2^63. All rows of one hour have the same ids, and no two hours share one.
        """CREATE TABLE window_hours (
            server INTEGER NOT NULL,
            first_id INTEGER NOT NULL,
            last_id INTEGER NOT NULL,
            account INTEGER NOT NULL REFERENCES accounts (id),
            whole INTEGER NOT NULL CHECK (typeof(whole) = 'integer' AND whole >= 0),
            fraction INTEGER NOT NULL CHECK (fraction BETWEEN 0 AND 281474976710655),
            count INTEGER NOT NULL,
            PRIMARY KEY (first_id, account)) WITHOUT ROWID""",
        """CREATE TABLE tips (
            height INTEGER NOT NULL,
            hash BLOB NOT NULL,
            nbits INTEGER NOT NULL,
            PRIMARY KEY (height, hash)) WITHOUT ROWID""",
        # Retention deletes no share from the lowest `first_id` on.
        """CREATE TABLE holds (
            name TEXT PRIMARY KEY,
            first_id INTEGER NOT NULL) WITHOUT ROWID""",
        # `id` is the first 16 bytes of the SHA-256 of `body`, `parent` the hash of the tip that it names.
        """CREATE TABLE snapshots (
            id BLOB PRIMARY KEY,
            parent BLOB NOT NULL,
            time_ms INTEGER NOT NULL,
            body BLOB NOT NULL)""",
        "CREATE INDEX snapshots_parent ON snapshots (parent)",
        # Our blocks as far as they move money. `account` has an output of its own (NULL where a snapshot says who is
        # paid), `finder` is the account of the channel that found it, `room` bytes were left for outputs, `coinbase`
        # is the stripped transaction. Nothing but `state` and `turn` is ever changed.
        """CREATE TABLE payout_blocks (
            hash BLOB PRIMARY KEY,
            parent BLOB NOT NULL,
            height INTEGER NOT NULL,
            time_ms INTEGER NOT NULL,
            mode TEXT NOT NULL,
            finder INTEGER REFERENCES accounts (id),
            account INTEGER REFERENCES accounts (id),
            snapshot BLOB REFERENCES snapshots (id),
            room INTEGER NOT NULL,
            value INTEGER NOT NULL,
            fee INTEGER NOT NULL,
            pays_balances INTEGER NOT NULL,
            coinbase BLOB NOT NULL,
            nbits INTEGER NOT NULL,
            state TEXT NOT NULL,
            turn INTEGER NOT NULL)""",
        "CREATE INDEX payout_blocks_snapshot ON payout_blocks (snapshot)",
        # Never edited. `turn` rises with each reversal and each return of the block.
        """CREATE TABLE entries (
            block BLOB NOT NULL REFERENCES payout_blocks (hash),
            turn INTEGER NOT NULL,
            account INTEGER NOT NULL REFERENCES accounts (id),
            kind TEXT NOT NULL,
            sat INTEGER NOT NULL,
            PRIMARY KEY (block, turn, account, kind)) WITHOUT ROWID""",
        # What became of each balance that was claimed for a payment by hand, a row an event. Never edited.
        """CREATE TABLE claims (
            number INTEGER PRIMARY KEY,
            claim BLOB NOT NULL,
            account INTEGER NOT NULL REFERENCES accounts (id),
            kind TEXT NOT NULL,
            sat INTEGER NOT NULL,
            height INTEGER NOT NULL,
            time_ms INTEGER NOT NULL,
            txid TEXT NOT NULL,
            UNIQUE (claim, kind))""",
    ),
    (
        # Where the sums stand (sqlitemarks.py has the names), a row each.
        """CREATE TABLE marks (
            name TEXT PRIMARY KEY,
            value INTEGER NOT NULL) WITHOUT ROWID""",
        """INSERT INTO marks
            SELECT 'rolled_id', max(next_share_id, (SELECT coalesce(max(id), 0) + 1 FROM shares)) FROM meta""",
        "INSERT INTO marks SELECT 'live_id', value FROM marks WHERE name = 'rolled_id'",
        """INSERT INTO marks
            SELECT 'backlog_id', coalesce((SELECT min(id) FROM shares), value) FROM marks WHERE name = 'live_id'""",
        # A row for each worker that has a share in the slot, which is the Unix time divided by the resolution (600,
        # 3600 or 86400 s). Written once, as the slot closes. What was credited is `whole` + `fraction` / 2^48; `best`
        # is the difficulty that the best hash met.
        """CREATE TABLE rollups (
            resolution INTEGER NOT NULL,
            slot INTEGER NOT NULL,
            worker INTEGER NOT NULL REFERENCES workers (id),
            accepted INTEGER NOT NULL,
            whole INTEGER NOT NULL,
            fraction INTEGER NOT NULL CHECK (fraction BETWEEN 0 AND 281474976710655),
            best REAL NOT NULL,
            PRIMARY KEY (resolution, slot, worker)) WITHOUT ROWID""",
        # The closed slots: the ids of their shares, and what all workers have together.
        """CREATE TABLE slots (
            resolution INTEGER NOT NULL,
            slot INTEGER NOT NULL,
            first_id INTEGER NOT NULL,
            last_id INTEGER NOT NULL,
            accepted INTEGER NOT NULL,
            whole INTEGER NOT NULL,
            fraction INTEGER NOT NULL CHECK (fraction BETWEEN 0 AND 281474976710655),
            best REAL NOT NULL,
            PRIMARY KEY (resolution, slot)) WITHOUT ROWID""",
        """CREATE TABLE refusal_rollups (
            resolution INTEGER NOT NULL,
            slot INTEGER NOT NULL,
            worker INTEGER NOT NULL REFERENCES workers (id),
            reason TEXT NOT NULL,
            count INTEGER NOT NULL,
            PRIMARY KEY (resolution, slot, worker, reason)) WITHOUT ROWID""",
        # The block journal that the shares from `first_id` on belong to. Copies of the books give the same ids to other
        # shares, so a copy that is written on begins a journal id of its own.
        """CREATE TABLE journals (
            first_id INTEGER PRIMARY KEY,
            journal_id BLOB NOT NULL)""",
        "INSERT INTO journals SELECT 1, journal_id FROM meta WHERE journal_id != x''",
        # The oldest schema version whose warppool may still use these books.
        "ALTER TABLE meta ADD COLUMN min_reader INTEGER NOT NULL DEFAULT 3",
        # A copy that nobody has written on yet (`warppool backup`).
        "ALTER TABLE meta ADD COLUMN is_copy INTEGER NOT NULL DEFAULT 0",
        # A restored copy: balances are not paid until an operator has confirmed it.
        "ALTER TABLE meta ADD COLUMN is_unconfirmed INTEGER NOT NULL DEFAULT 0",
    ),
)

TABLES: Final = (
    "workers", "shares", "minutes", "refusals", "blocks", "accounts", "meta", "starts", "payout_epochs", "window_hours",
    "tips", "holds", "snapshots", "payout_blocks", "entries", "claims", "marks", "rollups", "slots", "refusal_rollups",
    "journals",
)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the books in this file; 0 if it is empty. LedgerError if the file is another program's."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application_id == APPLICATION_ID:
        return int(version)
    if application_id or version or tables:
        raise UnusableLedger("this database is not warppool's: give ledger.url a file of its own")
    return 0


def oldest_reader(connection: sqlite3.Connection, version: int) -> int:
    """The oldest schema version whose warppool may use books of `version`, as their writer says."""
    try:
        (oldest,) = connection.execute("SELECT min_reader FROM meta").fetchone()
    except sqlite3.OperationalError:        # of before there was one
        return version
    return int(oldest)


def require_known(version: int, newest: int = len(MIGRATIONS), oldest: int | None = None) -> None:
    """LedgerError if a later warppool wrote these books, and they are not for one that knows versions up to `newest`.

    `oldest` is what `oldest_reader` says of them.
    """
    if version > newest and (oldest is None or oldest > newest):
        raise UnusableLedger(
            f"the books are of schema version {version} and this warppool knows versions up to {newest}: "
            "install the warppool that wrote them, or a later one"
        )


def known_version(connection: sqlite3.Connection, newest: int = len(MIGRATIONS)) -> int:
    """The version of the books in this file, which may be a later one that is open to us; LedgerError for others."""
    version = version_of(connection)
    require_known(version, newest, oldest_reader(connection, version) if version > newest else version)
    return version


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> int:
    """Bring the tables up to the newest version, each step whole or not at all; how many steps were taken.

    `connection` is in autocommit mode. LedgerError as in `known_version`, with nothing changed.
    """
    before = known_version(connection, len(migrations))
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
    return max(0, len(migrations) - before)
