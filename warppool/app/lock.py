"""One daemon for one data directory.

The lock is the kernel's and belongs to the open file, so a daemon that is killed leaves nothing behind that would have
to be cleared away.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from warppool.errors import ConfigError

LOCK_NAME = "warppool.lock"


class DataDirLock:
    """Holds `data_dir` for this process until `release`; ConfigError, under the `key` that names it, if another has it.

    Makes the directory, 0700, where it is missing. The file holds the pid of the owner, for people.
    """

    def __init__(self, data_dir: Path, key: str = "pool.data_dir") -> None:
        path = data_dir / LOCK_NAME
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ConfigError(f"{key}: {exc.filename or data_dir} cannot be used: {exc.strerror}") from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as exc:
            os.close(self._file)
            raise ConfigError(f"{key}: {data_dir} {_words(data_dir, exc)}") from exc

    def release(self) -> None:
        """Give the directory back; the file stays, since removing it would let two daemons lock two files."""
        os.close(self._file)


def holder(data_dir: Path) -> str | None:
    """Who holds the directory, as `pid 17`, or None; makes nothing and leaves nothing, so anyone may ask."""
    try:
        file = os.open(data_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(file, 20, 0).decode("ascii", "replace").strip()
        return f"pid {pid}" if pid.isdigit() else "another process"
    except OSError:
        return None
    finally:
        os.close(file)
    return None


def _words(data_dir: Path, exc: OSError) -> str:
    if not isinstance(exc, BlockingIOError):
        return f"cannot be locked: {exc.strerror}"
    owner = holder(data_dir)
    named = f" ({owner})" if owner else ""
    return f"is in use by another warppool{named}: stop it, or give this one a data_dir of its own"
