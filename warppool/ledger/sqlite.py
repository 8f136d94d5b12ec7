"""The books in one SQLite file: WAL mode, and every commit on the disk before it returns (`synchronous=FULL`).

Belongs to one thread at a time. Whatever fails closes the connection, which rolls back what was not committed, and the
next `open` starts from what the file holds.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from warppool.errors import LedgerBusy, LedgerError
from warppool.events import ShareAccepted
from warppool.files import open_own, sync_folder
from warppool.ledger.database import CommitInDoubt
from warppool.ledger.items import BlockOutcome, BlockRow
from warppool.ledger.schema import migrate, require_known, version_of

BUSY_TIMEOUT_S: Final = 0.25                # another program's lock; longer ones are waited for by trying again
QUICK_CHECK_MAX_BYTES: Final = 256 << 20    # about a second's work; larger books are only looked at from both ends
WORKER_CACHE_MAX: Final = 65_536            # names known by id, some 10 MiB
MINUTE_CACHE_MAX: Final = 1_024
NOBODY: Final = ""                          # a name that no machine can have
WAL_KEPT_BYTES: Final = 16 << 20            # a WAL that a slow reader let grow is cut back to this

_COLUMNS: Final = 9
# A step of a statement lets go of the GIL, and taking it back from a busy worker costs up to 5 ms. So rows go in by
# powers of two: with one busy thread beside it, a commit of 100 shares took 6 ms so, and 145 ms by `executemany`.
_MAX_ROWS: Final = 256
_INSERT_SHARES: Final = {
    rows: "INSERT INTO shares (id, time_ms, worker, protocol, channel, difficulty, job, height, hash) VALUES "
    + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?)"] * rows)
    for rows in (1 << power for power in range(_MAX_ROWS.bit_length()))
}
_INSERT_MINUTE: Final = """
    INSERT INTO minutes (minute, first_id) VALUES (?, ?)
    ON CONFLICT (minute) DO UPDATE SET first_id = min(first_id, excluded.first_id)"""
_ADD_REFUSALS: Final = """
    INSERT INTO refusals (minute_unix, worker, reason, count) VALUES (?, ?, CAST(? AS TEXT), ?)
    ON CONFLICT (minute_unix, worker, reason) DO UPDATE SET count = count + excluded.count"""
_INSERT_BLOCK: Final = """
    INSERT INTO blocks (hash, height, worker, time_ms, difficulty) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (hash) DO NOTHING"""
_SET_OUTCOME: Final = """
    UPDATE blocks SET outcome = CAST(? AS TEXT), detail = CAST(? AS TEXT), outcome_time_ms = ? WHERE hash = ?"""


class SqliteBooks:
    """One connection to the file at `path`, made by `open` and gone after any LedgerError."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()          # SQLite puts the WAL beside the file that a link leads to
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[tuple[int, int], ...] = ()
        self._next_id = 1
        self._workers: dict[str, int] = {}
        self._minutes: set[int] = set()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection; a file deleted under it shows at the next `write`."""
        return self._connection is not None

    @property
    def next_id(self) -> int:
        """The id that the next `write` gives its first share."""
        return self._next_id

    def open(self) -> None:
        """Connect, creating the file and bringing its tables up to date as needed; LedgerError if that is refused."""
        self._drop()
        with self._translated():
            self._require_file()
            self._connection = connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            require_known(version_of(connection))
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise LedgerError("this file system cannot hold a WAL: give ledger.url a file on a local disk")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
            migrate(connection)
            (last_id,) = connection.execute("SELECT coalesce(max(id), 0) FROM shares").fetchone()
            self._next_id = last_id + 1
            self._identity = self._files()

    def _require_file(self) -> None:
        """Make new books where there is no file. An empty file is no new one: ours never are, so it has lost its books.

        New books are made whole under another name first, so that a crash leaves either none or all of them.
        """
        if self.path.is_dir():
            raise LedgerError("this is a directory: name a file in ledger.url")
        if self.path.exists():
            if self.path.stat().st_size == 0:
                raise LedgerError("the file is empty (0 bytes), and warppool never leaves one so: put back a copy of "
                                  "the books, or remove the file to begin new ones")
            return
        made = self.path.with_name(f"{self.path.name}.new")
        for suffix in ("", "-journal"):
            Path(f"{made}{suffix}").unlink(missing_ok=True)
        os.close(open_own(made, os.O_RDWR))
        with closing(sqlite3.connect(made, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection)
        for suffix in ("-wal", "-shm"):             # of books whose file is gone: SQLite would take them for the new's
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        os.replace(made, self.path)
        sync_folder(self.path.parent)

    def verify(self) -> None:
        """Read the open books through, or only their ends where that would take long; LedgerError if damaged."""
        connection = self._connected()
        with self._translated():
            if self.path.stat().st_size <= QUICK_CHECK_MAX_BYTES:
                (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if finding != "ok":
                    raise LedgerError(f"{_DAMAGED} ({finding})")
            for table in ("workers", "shares", "minutes", "refusals", "blocks"):
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()

    def write(
        self,
        shares: Sequence[ShareAccepted],
        refusals: Mapping[tuple[str, str, int], int],
        blocks: Sequence[BlockRow | BlockOutcome],
    ) -> list[BlockOutcome]:
        """Book it all in one transaction; the outcomes whose block is unknown come back.

        `refusals` maps (user, reason, minute_unix) to a count; those of a user without a share or a block in the books
        go under NOBODY, since a stranger may make up as many names as he likes. LedgerError: nothing was written, and
        the connection is gone. CommitInDoubt, one of them: nobody knows yet.
        """
        connection = self._connected()
        first_id = self._next_id
        with self._translated():
            if self._files() != self._identity:
                self.close()                # empties the WAL, which would spoil a file that was put in our one's place
                raise LedgerError("the file was moved, deleted or replaced under the running daemon")
            connection.execute("BEGIN IMMEDIATE")
            self._insert_shares(connection, shares)
            for (user, reason, minute), count in refusals.items():
                worker = self._known_worker(connection, user) or self._worker_id(connection, NOBODY)
                connection.execute(_ADD_REFUSALS, (minute, worker, encode(reason), count))
            unknown = self._write_blocks(connection, blocks)
            try:
                connection.execute("COMMIT")
            except (sqlite3.Error, MemoryError) as exc:
                raise CommitInDoubt(explain(exc), first_id) from exc
        self._next_id = first_id + len(shares)
        return unknown

    def resolve(self, first_id: int, shares: Sequence[ShareAccepted], erase: int) -> bool:
        """Whether a commit in doubt is in the reopened books; if so, its first `erase` shares are taken out again.

        `shares` are those of the failed `write`, at least one. Settling again after a LedgerError is safe.
        """
        connection = self._connected()
        last_id = first_id + len(shares) - 1
        with self._translated():
            found = connection.execute("SELECT hash FROM shares WHERE id = ?", (last_id,)).fetchone()
            if found is None or found[0] != shares[-1].share_hash:
                return False
            if erase:
                connection.execute("DELETE FROM shares WHERE id BETWEEN ? AND ?", (first_id, first_id + erase - 1))
        return True

    def close(self) -> None:
        """Move the WAL into the file and end the connection; never raises."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._drop()

    def _insert_shares(self, connection: sqlite3.Connection, shares: Sequence[ShareAccepted]) -> None:
        workers, minutes, share_id = self._workers, self._minutes, self._next_id
        values: list[object] = []
        for _, _, time, protocol, channel_id, user, difficulty, job_id, height, share_hash in shares:
            worker = workers.get(user) or self._worker_id(connection, user)
            time_ms = round(time * 1000)
            minute = time_ms // 60_000
            if minute not in minutes:
                self._note_minute(connection, minute, share_id)
            values += (share_id, time_ms, worker, protocol, channel_id, difficulty, job_id, height, share_hash)
            share_id += 1
        done, total = 0, len(shares)
        while done < total:
            rows = min(_MAX_ROWS, 1 << (total - done).bit_length() - 1)
            connection.execute(_INSERT_SHARES[rows], values[done * _COLUMNS:(done + rows) * _COLUMNS])
            done += rows

    def _write_blocks(
        self, connection: sqlite3.Connection, blocks: Sequence[BlockRow | BlockOutcome]
    ) -> list[BlockOutcome]:
        unknown = []
        for block in blocks:
            time_ms = round(block.time * 1000)
            if isinstance(block, BlockRow):
                worker = self._worker_id(connection, block.user)
                connection.execute(_INSERT_BLOCK, (block.hash, block.height, worker, time_ms, block.difficulty))
            else:
                values = (encode(block.outcome), encode(block.detail), time_ms, block.hash)
                if not connection.execute(_SET_OUTCOME, values).rowcount:
                    unknown.append(block)
        return unknown

    def _worker_id(self, connection: sqlite3.Connection, name: str) -> int:
        """The id of that worker, a new one if its name is new."""
        if (known := self._known_worker(connection, name)) is not None:
            return known
        raw = encode(name)
        cursor = connection.execute(
            "INSERT INTO workers (name, user) VALUES (CAST(? AS TEXT), CAST(? AS TEXT))", (raw, raw.partition(b".")[0]))
        assert cursor.lastrowid is not None
        return self._remember(name, cursor.lastrowid)

    def _known_worker(self, connection: sqlite3.Connection, name: str) -> int | None:
        """The id of that worker, None if it has no share and no block in the books."""
        if (known := self._workers.get(name)) is not None:
            return known
        row = connection.execute("SELECT id FROM workers WHERE name = CAST(? AS TEXT)", (encode(name),)).fetchone()
        return None if row is None else self._remember(name, int(row[0]))

    def _remember(self, name: str, worker: int) -> int:
        if len(self._workers) >= WORKER_CACHE_MAX:
            self._workers.clear()
        self._workers[name] = worker
        return worker

    def _note_minute(self, connection: sqlite3.Connection, minute: int, first_id: int) -> None:
        connection.execute(_INSERT_MINUTE, (minute, first_id))
        if len(self._minutes) >= MINUTE_CACHE_MAX:
            self._minutes.clear()
        self._minutes.add(minute)

    def _files(self) -> tuple[tuple[int, int], ...]:
        """Which two files the path names now: what is written to a deleted one is on no disk."""
        try:
            stats = [os.stat(f"{self.path}{suffix}") for suffix in ("", "-wal")]
        except FileNotFoundError:
            return ()
        return tuple((stat.st_dev, stat.st_ino) for stat in stats)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LedgerError(f"{self.path}: not open")
        return self._connection

    def _drop(self) -> None:
        """End the connection: the ids and minutes of a transaction that fell are forgotten with it."""
        connection, self._connection = self._connection, None
        self._workers.clear()
        self._minutes.clear()
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Whatever is raised here drops the connection; what SQLite and the system say becomes a LedgerError."""
        try:
            yield
        except CommitInDoubt as exc:
            self._drop()
            raise CommitInDoubt(f"{self.path}: {exc}", exc.first_id) from exc
        except LedgerError as exc:
            self._drop()
            raise LedgerError(f"{self.path}: {exc}") from exc
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError):          # a value that no table takes: our bug
            self._drop()
            raise
        except (sqlite3.Error, OSError) as exc:
            self._drop()
            kind = LedgerBusy if getattr(exc, "sqlite_errorcode", 0) & 0xFF in _BUSY else LedgerError
            raise kind(f"{self.path}: {explain(exc)}") from exc
        except BaseException:
            self._drop()
            raise


def encode(text: str) -> bytes:
    """The bytes that stand for `text` in the books; any string has some, lone surrogates and all."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:              # U+D800 to U+DC7F, as JSON may spell them: no byte was escaped so
        return text.encode("utf-8", "surrogatepass")


_DAMAGED: Final = (
    "the database is damaged: stop the daemon and put back a copy, or move the file away with its -wal and -shm "
    "to start new books"
)
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_MEANINGS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_BUSY: "another program holds the database locked: end it",
    sqlite3.SQLITE_LOCKED: "another program holds the database locked: end it",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: "this is no SQLite database: name another file in ledger.url, or move this one away",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: see that its directory is there and belongs to the daemon's user",
    sqlite3.SQLITE_READONLY: "may not be written: see that the file and its directory belong to the daemon's user",
    sqlite3.SQLITE_PERM: "may not be written: see that the file and its directory belong to the daemon's user",
    sqlite3.SQLITE_IOERR: "the disk or its file system failed: look at the kernel's log",
}
_LIKE_SQLITE: Final = {
    errno.ENOENT: sqlite3.SQLITE_CANTOPEN, errno.ENOTDIR: sqlite3.SQLITE_CANTOPEN, errno.EACCES: sqlite3.SQLITE_PERM,
    errno.EPERM: sqlite3.SQLITE_PERM, errno.EROFS: sqlite3.SQLITE_READONLY, errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL, errno.EIO: sqlite3.SQLITE_IOERR,
}
"""What the system says in SQLite's words, for what we do to the file ourselves."""


def explain(exc: Exception) -> str:
    """What an error means and what to do about it, with SQLite's or the system's own words after it."""
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF           # the primary code; extended ones add upper bits
    if isinstance(exc, OSError):
        code = _LIKE_SQLITE.get(exc.errno or 0, 0)
    meaning = _MEANINGS.get(code, "the books cannot be written or read")
    name = getattr(exc, "sqlite_errorname", type(exc).__name__)
    return f"{meaning} ({name}: {exc})"
