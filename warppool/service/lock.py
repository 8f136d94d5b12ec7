"""One daemon for one data directory.

The lock is the kernel's and belongs to the open file, so a daemon that is killed leaves nothing behind that would have
to be cleared away.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from warppool.errors import NotNow
from warppool.files import make_folder, open_own
from warppool.service.mounts import require_mount, unusable

LOCK_NAME = "warppool.lock"


class DataDirLock:
    """Holds `data_dir` for this process until `release`; the errors name the `key` that names the directory.

    NotNow if another process has it, or if its file system is not mounted; ConfigError if it cannot be used. Makes the
    directory where it is missing. The file holds the pid of the owner, for people.
    """

    def __init__(self, data_dir: Path, key: str = "pool.data_dir") -> None:
        path = data_dir / LOCK_NAME
        try:
            require_mount(data_dir, key)
            make_folder(data_dir)
            self._file = open_own(path, os.O_RDWR)
        except OSError as exc:
            raise unusable(exc, data_dir, key) from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as exc:
            os.close(self._file)
            if not isinstance(exc, BlockingIOError):
                raise unusable(exc, data_dir, key) from exc
            owner = holder(data_dir)
            named = f" ({owner})" if owner else ""
            raise NotNow(f"{key}: {data_dir} is in use by another warppool{named}: stop it, or give this one a "
                         "data_dir of its own") from exc

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
