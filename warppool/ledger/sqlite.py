"""The books in one SQLite file: WAL mode, and every commit on the disk before it returns (`synchronous=FULL`).

Belongs to one thread at a time. Whatever fails closes the connection, which rolls back what was not committed, and the
next `open` starts from what the file holds.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from warppool.errors import LedgerBusy, LedgerError, UnusableLedger
from warppool.events import ShareAccepted
from warppool.files import open_own, sync_folder
from warppool.ledger.beginning import BOOKKEEPING, Beginning
from warppool.ledger.database import CommitInDoubt, Unwritten
from warppool.ledger.items import BlockRow, Row, moves_money
from warppool.ledger.markfile import MarkFile
from warppool.ledger.payoutitems import Booking
from warppool.ledger.schema import TABLES, known_version, migrate
from warppool.ledger.sqlitebegin import begin, has_strange_ids, note_copy, segment_of
from warppool.ledger.sqlitechores import Chores
from warppool.ledger.sqlitehours import WindowHours
from warppool.ledger.sqlitemarks import mark
from warppool.ledger.sqlitenames import encode
from warppool.ledger.sqlitepayout import PayoutRows
from warppool.ledger.sqliteshares import InsertedShares, ShareRows
from warppool.ledger.sqliteslots import OpenSlot

BUSY_TIMEOUT_S: Final = 0.25                # another program's lock; longer ones are waited for by trying again
QUICK_CHECK_MAX_BYTES: Final = 256 << 20    # about a second's work; larger books are only looked at from both ends
NOBODY: Final = ""                          # a name that no machine can have
WAL_KEPT_BYTES: Final = 16 << 20            # a WAL that a slow reader let grow is cut back to this

_ADD_REFUSALS: Final = """
    INSERT INTO refusals (minute_unix, worker, reason, count) VALUES (?, ?, CAST(? AS TEXT), ?)
    ON CONFLICT (minute_unix, worker, reason) DO UPDATE SET count = count + excluded.count"""
_INSERT_BLOCK: Final = """
    INSERT INTO blocks (hash, height, worker, time_ms, difficulty) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (hash) DO NOTHING"""
_SET_OUTCOME: Final = """
    UPDATE blocks SET outcome = CAST(? AS TEXT), detail = CAST(? AS TEXT), outcome_time_ms = ? WHERE hash = ?"""

_NEXT_ID: Final = "SELECT max(next_share_id, (SELECT coalesce(max(id), 0) + 1 FROM shares)) FROM meta"
_SET_NEXT_ID: Final = "UPDATE meta SET next_share_id = ?"


class SqliteBooks:
    """One connection to the file at `path`, made by `open` and gone after any LedgerError."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, keep_days: int = 0,
                 mark: MarkFile | None = None) -> None:
        self.path = path.resolve()          # SQLite puts the WAL beside the file that a link leads to
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[tuple[int, int], ...] = ()
        self._next_id = 1
        self._are_credited = False          # shares have an account
        self._hours: WindowHours | None = None
        self._share_rows = ShareRows()
        self._payout_rows = PayoutRows(self._share_rows.accounts)
        self._clock = clock
        self._slot = OpenSlot()
        self._chores = Chores(keep_days)
        self._mark = mark

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
            known_version(connection)
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise LedgerError("this file system cannot hold a WAL: give ledger.url a file on a local disk")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
            migrate(connection)
            (next_id,) = connection.execute(_NEXT_ID).fetchone()
            if 1 < next_id < self._next_id:         # somebody has put a copy in the place of what was written until now
                note_copy(connection, next_id, self._next_id)
            self._next_id = next_id
            before, self._identity = self._identity, self._files()
            self._slot.open(connection, self._next_id, is_same_file=before[:1] == self._identity[:1])

    def begin(self, beginning: Beginning) -> bytes:
        """A start of the pool, before its first job. From now on shares are booked as its mode asks.

        Returns the id of the block journal that belongs to the books. LedgerError if these books cannot be those of
        this pool.
        """
        connection = self._connected()
        with self._translated():
            connection.execute("BEGIN IMMEDIATE")
            journal_id = begin(connection, beginning, self._next_id,
                               self._mark.read() if self._mark is not None else None)
            connection.execute("COMMIT")
            if self._mark is not None:
                self._mark.journal_id = segment_of(connection)
        mode = BOOKKEEPING[beginning.mode]
        self._are_credited = mode.are_credited
        self._hours = WindowHours(beginning.server_id) if mode.has_window else None
        return journal_id

    def _require_file(self) -> None:
        """Make new books where there is no file.

        New books are made whole under another name first, so that a crash leaves either none or all of them.
        """
        self._require_filled()
        if self.path.exists():
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

    def look(self, *, is_folder_made: bool) -> int | None:
        """The schema version of the file, as it lies; None if there is none. LedgerError if `open` would refuse it.

        `is_folder_made`: a start makes the folder. Nothing is made here, not even what SQLite keeps beside a file.
        """
        with self._translated():
            if not self.path.exists():
                if not is_folder_made and not self.path.parent.is_dir():
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path.parent))
                return None
            self._require_filled()
            with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
                return known_version(connection)

    def _require_filled(self) -> None:
        """An empty file is no new one: ours never are, so it has lost its books."""
        if self.path.is_dir():
            raise UnusableLedger("this is a directory: name a file in ledger.url")
        if self.path.exists() and self.path.stat().st_size == 0:
            raise UnusableLedger("the file is empty (0 bytes), and warppool never leaves one so: put back a copy "
                                 "of the books, or remove the file to begin new ones")

    def verify(self) -> None:
        """Read the open books through, or only their ends where that would take long; LedgerError if damaged."""
        connection = self._connected()
        with self._translated():
            if self.path.stat().st_size <= QUICK_CHECK_MAX_BYTES:
                (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if finding != "ok":
                    raise LedgerError(f"{_DAMAGED} ({finding})")
            for table in TABLES:
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()
            if has_strange_ids(connection):
                raise LedgerError(f"{_DAMAGED} (it has shares of ids that it has not given out yet)")

    def write(
        self, shares: Sequence[ShareAccepted], refusals: Mapping[tuple[str, str, int], int], rows: Sequence[Row]
    ) -> list[Unwritten]:
        """Book it all in one transaction; what cannot be written comes back, as `Database.write` says.

        `refusals` maps (user, reason, minute_unix) to a count; those of a user without a share or a block in the books
        go under NOBODY, since a stranger may make up any number of names. LedgerError: nothing was written, and
        the connection is gone. CommitInDoubt, one of them: nobody knows yet.
        """
        connection = self._connected()
        first_id = self._next_id
        with self._translated():
            if self._files() != self._identity:
                self.close()                # empties the WAL, which would spoil a file that was put in our one's place
                raise LedgerError("the file was moved, deleted or replaced under the running daemon")
            connection.execute("BEGIN IMMEDIATE")
            inserted = self._write_shares(connection, first_id, shares) if shares else None
            workers = self._share_rows.workers
            first_minute = mark(connection, "refused_from") or 0 if refusals else 0
            for (user, reason, minute), count in refusals.items():
                worker = workers.known(connection, user) or workers.id_of(connection, NOBODY)
                connection.execute(_ADD_REFUSALS, (max(minute, first_minute), worker, encode(reason), count))
            unwritten = [each for row in rows if (each := self._write_row(connection, row)) is not None]
            try:
                connection.execute("COMMIT")
            except (sqlite3.Error, MemoryError) as exc:
                raise CommitInDoubt(explain(exc), first_id) from exc
        self._next_id = first_id + len(shares)
        self._slot.committed(first_id, inserted, len(shares))
        if self._mark is not None and any(map(moves_money, rows)):
            self._mark.hurry()
        return unwritten

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
                self._erase(connection, first_id, first_id + erase - 1)
        return True

    def keep(self, days: int) -> None:
        """Delete shares that are older from now on, bit by bit (`tend`); 0 keeps all."""
        self._chores.keep(days)

    def tend(self) -> bool:
        """Do one of the small things that the books need beside what is booked; whether there may be more to do.

        LedgerError: it is not done, and the connection is gone.
        """
        connection = self._connected()
        with self._translated():
            connection.execute("BEGIN IMMEDIATE")
            has_more = self._chores.step(connection, self._slot, self._next_id, self._clock())
            connection.execute("COMMIT")
        self._slot.committed(self._next_id, None, 0)
        if self._mark is not None:
            self._mark.write(self._next_id, self._clock())
        return has_more

    def close(self) -> None:
        """Move the WAL into the file and end the connection; never raises."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if self._mark is not None:
                self._mark.write(self._next_id, self._clock(), is_closing=True)
        self._drop()

    def _write_shares(self, connection: sqlite3.Connection, first_id: int, shares: Sequence[ShareAccepted]
                      ) -> InsertedShares:
        self._slot.turn(connection, first_id, self._clock())
        inserted = self._share_rows.insert(connection, first_id, shares, are_credited=self._are_credited)
        if self._hours is not None:
            self._hours.add(connection, first_id, inserted.credits())
        if self._are_credited:
            connection.execute(_SET_NEXT_ID, (first_id + len(shares),))
        return inserted

    def _erase(self, connection: sqlite3.Connection, first_id: int, last_id: int) -> None:
        """Take shares out again; their ids are not given to others."""
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM shares WHERE id BETWEEN ? AND ?", (first_id, last_id))
        if self._hours is not None:
            self._hours.take_back(connection, first_id)
        connection.execute("COMMIT")
        self._slot.clear()

    def _write_row(self, connection: sqlite3.Connection, row: Row) -> Unwritten | None:
        """None, or what is not written: an outcome whose block is unknown, a booking that the books do not allow."""
        if isinstance(row, Booking):
            return self._payout_rows.write(connection, row)
        time_ms = round(row.time * 1000)
        if isinstance(row, BlockRow):
            worker = self._share_rows.workers.id_of(connection, row.user)
            connection.execute(_INSERT_BLOCK, (row.hash, row.height, worker, time_ms, row.difficulty))
            return None
        values = (encode(row.outcome), encode(row.detail), time_ms, row.hash)
        return None if connection.execute(_SET_OUTCOME, values).rowcount else row

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
        self._share_rows.clear()
        self._slot.fall()
        self._chores.clear()
        if self._hours is not None:
            self._hours.clear()
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
            raise type(exc)(f"{self.path}: {exc}") from exc
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError):          # a value that no table takes: our bug
            self._drop()
            raise
        except (sqlite3.Error, OSError) as exc:
            self._drop()
            raise _kind_of(exc)(f"{self.path}: {explain(exc)}") from exc
        except BaseException:
            self._drop()
            raise


_DAMAGED: Final = (
    "the database is damaged: stop the daemon and put back a copy, or move the file away with its -wal and -shm "
    "to start new books"
)
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_UNUSABLE: Final = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN)
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


def _code_of(exc: Exception) -> int:
    """SQLite's primary code; extended ones add upper bits. For what the system says, the one that is like it."""
    if isinstance(exc, OSError):
        return _LIKE_SQLITE.get(exc.errno or 0, 0)
    return int(getattr(exc, "sqlite_errorcode", 0)) & 0xFF


def _kind_of(exc: Exception) -> type[LedgerError]:
    """Whose fault it is."""
    code = _code_of(exc)
    return LedgerBusy if code in _BUSY else UnusableLedger if code in _UNUSABLE else LedgerError


def explain(exc: Exception) -> str:
    """What an error means and what to do about it, with SQLite's or the system's own words after it."""
    code = _code_of(exc)
    meaning = _MEANINGS.get(code, "the books cannot be written or read")
    name = getattr(exc, "sqlite_errorname", type(exc).__name__)
    return f"{meaning} ({name}: {exc})"
