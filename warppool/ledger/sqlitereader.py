"""Reading the books while a daemon writes them, and when none does.

Rows are read in slices of ids, each in a short transaction of its own: one long one, held open by a pager that nobody
scrolls, would let the WAL of the running daemon grow without end.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from warppool.errors import LedgerError
from warppool.ledger.database import BookedShare, Totals
from warppool.ledger.schema import MIGRATIONS, known_version
from warppool.ledger.slots import DAY
from warppool.ledger.sqlite import explain
from warppool.ledger.sqlitebackup import copy_books
from warppool.ledger.sqlitemarks import marks
from warppool.ledger.sqlitenames import decode, encode
from warppool.ledger.sqlitepayoutreader import SqlitePayoutReader
from warppool.ledger.sqliterollupreader import SqliteRollupReader
from warppool.ledger.sqliteuser import ranges_of
from warppool.payout.weight import FRACTION_BITS

BUSY_TIMEOUT_S: Final = 5.0         # a daemon that starts after a crash holds the file while it recovers
SLICE_IDS: Final = 2_000            # ids a slice, some 1 MiB of rows

_SLICE: Final = """
    SELECT s.time_ms, s.protocol, s.channel, w.name, w.user, s.difficulty, s.job, s.height, s.hash, s.id,
        coalesce(a.address, '')
    FROM shares s CROSS JOIN workers w ON w.id = s.worker LEFT JOIN accounts a ON a.id = s.account
    WHERE s.id BETWEEN :first AND :last AND s.time_ms >= :since_ms"""
_OF_WORKERS: Final = " AND s.worker IN (SELECT value FROM json_each(:workers))"
_WORKERS: Final = "SELECT id FROM workers WHERE name = CAST(? AS TEXT) OR user = CAST(? AS TEXT)"
_LAST_DAY: Final = 1 << 32
_BACKLOG: Final = "SELECT count(*), total(difficulty) FROM shares WHERE id >= ? AND id < ?"
_NEXT_ID: Final = "SELECT min(id) FROM shares WHERE id > ? AND id <= ?"


class SqliteReader(SqlitePayoutReader, SqliteRollupReader):
    """A read-only connection to the books at `path`; LedgerError when they cannot be read, from any method."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path.resolve()
        if not self.path.exists():
            raise LedgerError(f"{self.path}: no such file: the daemon makes it when it starts, see ledger.url")
        if self.path.is_dir():
            raise LedgerError(f"{self.path}: this is a directory: name a file in ledger.url")
        if self.path.stat().st_size == 0:
            raise LedgerError(f"{self.path}: the file is empty (0 bytes): put back a copy of the books")
        self._connection = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def back_up(self, target: Path) -> None:
        """Copy the books into the new file `target`, as they are at one moment; LedgerError names `target`."""
        copy_books(self._connection, target)

    def shares(self, since_ms: int | None = None, user: str | None = None) -> Iterator[BookedShare]:
        """The shares booked so far in the order of their commits, from `since_ms` (Unix) on, of one worker or user.

        `user` is a whole worker name or what stands before the first dot of one. Takes constant memory.
        """
        query = _SLICE if user is None else _SLICE + _OF_WORKERS
        values: dict[str, object] = {"since_ms": -(1 << 62) if since_ms is None else since_ms}
        first, last = self._range(since_ms)
        if first is None:
            return
        with self._translated():
            ranges = [(first, last)]
            if user is not None:
                workers = [worker for (worker,) in self._connection.execute(_WORKERS, (encode(user), encode(user)))]
                values["workers"] = json.dumps(workers)
                ranges = ranges_of(self._connection, encode(user), first, last)
        for low, high in ranges:
            yield from self._slices(query, values, low, high)

    def _slices(self, query: str, values: dict[str, object], low: int, high: int) -> Iterator[BookedShare]:
        """The shares from `low` to `high`."""
        first: int | None = low
        while first is not None and first <= high:
            values |= {"first": first, "last": min(first + SLICE_IDS - 1, high)}
            with self._translated():
                rows = self._connection.execute(f"{query} ORDER BY s.id", values).fetchall()
                (first,) = self._connection.execute(_NEXT_ID, (values["last"], high)).fetchone()
            yield from map(BookedShare._make, rows)

    def totals(self) -> Totals:
        """Count and sum the books, those shares too that are not kept any more."""
        sums = self.history(DAY, 0, _LAST_DAY)
        with self._translated():
            at = marks(self._connection)
            old = self._connection.execute(_BACKLOG, (at["backlog_id"], at["live_id"])).fetchone()
            (blocks,) = self._connection.execute("SELECT count(*) FROM blocks").fetchone()
        difficulty = sum(each.weight for each in sums) / (1 << FRACTION_BITS)
        return Totals(sum(each.accepted for each in sums) + old[0], difficulty + old[1], blocks)

    def has_block(self, block_hash: bytes) -> bool:
        """Whether the books have the block with this hash (32 bytes, header order)."""
        with self._translated():
            return self._connection.execute("SELECT 1 FROM blocks WHERE hash = ?", (block_hash,)).fetchone() is not None

    def _range(self, since_ms: int | None) -> tuple[int | None, int]:
        """The first id that may be wanted (None if there is none), and the last there is now."""
        with self._translated():
            (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM shares").fetchone()
            if since_ms is None:
                (first,) = self._connection.execute("SELECT min(id) FROM shares").fetchone()
            else:
                query = "SELECT min(first_id) FROM minutes WHERE minute >= ?"
                (first,) = self._connection.execute(query, (since_ms // 60_000,)).fetchone()
        return first, last

    def _connect(self) -> sqlite3.Connection:
        """Open read-only; without the right to write beside the file, a stopped daemon's books are read as they lie."""
        uri = f"{self.path.as_uri()}?mode=ro"
        try:
            return self._checked(uri)
        except sqlite3.OperationalError as exc:
            has_wal = Path(f"{self.path}-wal").exists()
            if has_wal or exc.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise LedgerError(f"{self.path}: {explain(exc)}") from exc
        with self._translated():
            return self._checked(f"{uri}&immutable=1")

    def _checked(self, uri: str) -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.text_factory = decode
        try:
            with self._translated(sqlite3.OperationalError):
                version = known_version(connection)
            if version < len(MIGRATIONS):
                state = "holds no books yet" if version == 0 else f"holds books of the old schema version {version}"
                raise LedgerError(f"{self.path}: {state}: start the daemon once")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _translated(self, *untranslated: type[Exception]) -> Iterator[None]:
        try:
            yield
        except untranslated:
            raise
        except LedgerError as exc:
            raise LedgerError(f"{self.path}: {exc}") from exc
        except sqlite3.Error as exc:
            raise LedgerError(f"{self.path}: {explain(exc)}") from exc
