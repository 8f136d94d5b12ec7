"""The start ids of this data directory: which starts of the daemon made coinbases, to know their blocks again.

A file of lines, one for each start: the id as 8 hex digits, and the Unix time for people.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from warppool.files import open_own
from warppool.mining.job import START_ID_SIZE

FILE_NAME = "starts"
MAX_KEPT = 10_000           # starts; more than systemd makes in the time of 144 blocks
_MAX_FILE = 1 << 20         # bytes


class StartIds:
    """The file in `data_dir`; used by the main thread at a start."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME

    def read(self) -> frozenset[bytes]:
        """The ids of earlier starts; none if the file cannot be read. Lines that are none are skipped."""
        return frozenset(map(_id_of, self._lines()))

    def add(self, start_id: bytes, unix: float) -> None:
        """Write this start down and wait for the disk; OSError. The oldest go where there are too many."""
        line = f"{start_id.hex()} {int(unix)}\n".encode("ascii")
        kept = self._lines()
        if len(kept) >= MAX_KEPT:
            self._replace(b"".join(each + b"\n" for each in kept[-MAX_KEPT // 2:]) + line)
        else:                                                   # a crash may have torn the last line
            self._append(b"\n" + line if self._is_torn() else line)

    def _lines(self) -> list[bytes]:
        content = b""
        with suppress(OSError), self._path.open("rb") as file:
            content = file.read(_MAX_FILE)
        return [line for line in content.split(b"\n") if len(_id_of(line)) == START_ID_SIZE]

    def _is_torn(self) -> bool:
        with suppress(OSError), self._path.open("rb") as file:
            return not (b"\n" + file.read()).endswith(b"\n")
        return False

    def _append(self, content: bytes) -> None:
        is_new = not self._path.exists()
        _write(self._path, os.O_WRONLY | os.O_APPEND, content)
        if is_new:
            self._sync_folder()

    def _replace(self, content: bytes) -> None:
        new = self._path.with_name(FILE_NAME + ".new")
        _write(new, os.O_WRONLY | os.O_TRUNC, content)
        os.replace(new, self._path)
        self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(path: Path, flags: int, content: bytes) -> None:
    descriptor = open_own(path, flags)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view):]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _id_of(line: bytes) -> bytes:
    """The id in a line; b"" for a line that has none."""
    with suppress(ValueError):
        return bytes.fromhex(line.partition(b" ")[0].decode("ascii"))
    return b""
