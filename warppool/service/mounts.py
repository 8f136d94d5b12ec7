"""What a data directory says that cannot be used: is its file system not mounted yet, or is it a mistake of the file?

Nothing may be made below a mount point whose file system is missing: new, empty books would stand there, and the old
ones would be hidden and forgotten.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from warppool.errors import ConfigError, NotNow, WarppoolError

FSTAB = Path("/etc/fstab")
MOUNTED = Path("/proc/self/mountinfo")

_GONE = frozenset((errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT))
"""What a disk or a server says that went away."""

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


def require_mount(folder: Path, key: str) -> None:
    """NotNow if /etc/fstab has a file system at `folder` or above it that is not mounted now."""
    wanted, mounted = _points(FSTAB, 1), _points(MOUNTED, 4)
    for point in mounted and wanted:
        if Path(point) in (folder, *folder.parents) and point not in mounted:
            raise NotNow(f"{key}: {folder} lies in {point}, and no file system is mounted there, as /etc/fstab says "
                         f"one should be: `mount {point}`, or name another {_last(key)}")


def _points(table: Path, column: int) -> list[str]:
    """The mount points in a table of fstab(5) or proc_pid_mountinfo(5); none if it cannot be read."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines if not line.lstrip().startswith("#")]
    return [row[column].replace(r"\040", " ") for row in rows if len(row) > column]       # a space is written so


def unusable(error: OSError, folder: Path, key: str) -> WarppoolError:
    """Why `folder` cannot be made or used, and the cure: NotNow for what may go by itself, else ConfigError."""
    where = error.filename or folder
    if error.errno in _GONE:
        return NotNow(f"{key}: {where} cannot be used: {error.strerror}: look at its disk or file server")
    if error.errno in _FULL:
        return NotNow(f"{key}: {where} cannot be used: {error.strerror}: make room on that disk")
    nearest = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))
    if nearest != folder and error.errno in (errno.EACCES, errno.EROFS) and _is_empty(nearest):
        return NotNow(f"{key}: {folder} cannot be made: {nearest} is empty and may not be written by this user: mount "
                      f"its file system, chown it, or name another {_last(key)}")
    return ConfigError(f"{key}: {where} cannot be used: {error.strerror}: {_cure(error, nearest, key)}")


def _cure(error: OSError, nearest: Path, key: str) -> str:
    match error.errno:
        case errno.EACCES:
            return f"chown {nearest} to the user that runs this, or name another {_last(key)}"
        case errno.EROFS:
            return f"name another {_last(key)}, or say ReadWritePaths={nearest} in the unit"
        case _:
            return f"name another {_last(key)}"


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False
