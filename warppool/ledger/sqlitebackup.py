"""A copy of the books while they are written: `warppool backup`.

It is made in one step. SQLite's backup in several steps begins anew at each commit, and would never end on a busy pool.
The copy says that it is one, so that its first writer begins a segment of its own (`sqlitebegin.py`).
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from warppool.errors import LedgerError
from warppool.files import FILE_MODE, sync_folder

_NO_LINKS: Final = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


def copy_books(connection: sqlite3.Connection, target: Path) -> None:
    """Copy what `connection` reads into the file `target`, which is there whole or not at all; LedgerError.

    A file that is there already stays.
    """
    if target.exists():
        raise LedgerError(f"{target} is there already: name a new file")
    new = target.with_name(f"{target.name}.{os.getpid()}.new")          # nobody else's, whoever makes a backup besides
    try:
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        with suppress(PermissionError):                     # a drive with FAT knows no modes
            new.chmod(FILE_MODE)
        with closing(sqlite3.connect(new, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous = FULL")
            connection.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode = DELETE")        # one file, without a WAL beside it
            copy.execute("UPDATE meta SET is_copy = 1")
        _give_name(new, target)
        sync_folder(target.parent)
    except FileExistsError as exc:
        raise LedgerError(f"{target} is there already: name a new file") from exc
    except OSError as exc:
        raise LedgerError(f"{target} cannot be written: {exc.strerror}: name a file in a folder that is there, that "
                          "this user may write to and that has room") from exc
    except sqlite3.Error as exc:
        raise LedgerError(f"{target} cannot be written: {exc}") from exc
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                Path(f"{new}{suffix}").unlink(missing_ok=True)


def _give_name(new: Path, target: Path) -> None:
    """Let `new` be called `target`; FileExistsError. Drives with FAT and many file servers know no hard links."""
    try:
        os.link(new, target)
    except FileExistsError:
        raise
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from exc
        os.rename(new, target)
