"""Our files and folders have the modes 0640 and 0750, whatever the umask: the group may read the books, nobody else.

Only what is made here gets these modes. What was there before belongs to the operator and stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750


def make_folder(path: Path) -> None:
    """Make the folder `path`, and those above it that are missing; OSError. A folder that is there stays as it is."""
    missing = [path]
    while not missing[-1].exists() and missing[-1] != missing[-1].parent:
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        with suppress(FileExistsError):
            folder.mkdir(mode=FOLDER_MODE)
            folder.chmod(FOLDER_MODE)           # mkdir's mode has lost the bits of the umask
    if not path.is_dir():
        raise NotADirectoryError(20, os.strerror(20), str(path))


def open_own(path: Path, flags: int) -> int:
    """Open the file `path` with `flags`, make it where it is missing, and return the descriptor; OSError."""
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    os.fchmod(descriptor, FILE_MODE)
    return descriptor


@contextmanager
def replacing(path: Path, *, is_synced: bool = True) -> Iterator[BinaryIO]:
    """A file to write in, which becomes `path` at the end: on the disk for good if `is_synced`.

    OSError: refused. Then, and after whatever else is raised while the file is written, `path` holds what it held.
    """
    new = path.with_name(path.name + ".new")
    try:
        with os.fdopen(open_own(new, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            yield file
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    if is_synced:
        sync_folder(path.parent)


def replace_file(path: Path, content: bytes, *, is_synced: bool = True) -> None:
    """Let `path` hold `content`, as `replacing` does."""
    with replacing(path, is_synced=is_synced) as file:
        file.write(content)


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names of the files in folder `path`; OSError. A file's own fsync does not do that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
