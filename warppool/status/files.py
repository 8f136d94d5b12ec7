"""Thread `status-files`: the status files in ckpool's form, for programs that read a folder.

`pool/pool.status` and `users/<user>` are rewritten each minute, each by a rename, so that who reads one reads a whole
one. The users of one minute are written in small bites, since rendering them all at once would keep the interpreter
from those who serve machines. A user who is shown no more has no file any more.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from warppool.files import FILE_MODE, FOLDER_MODE
from warppool.loop import Loop, Report, unawaited
from warppool.say import say

log = logging.getLogger("warppool")

EVERY_S: Final = 60.0
BITE: Final = 40                            # files ...
BITE_S: Final = 0.01                        # ... or this time, since one user may have a thousand workers
BITE_EVERY_S: Final = 0.1
WRITE_TIMEOUT_S: Final = 60.0
"""How long a disk or a file server may take for one bite before the thread is called slow."""

PUBLIC_FILE_MODE: Final = 0o644
PUBLIC_FOLDER_MODE: Final = 0o755

POOL: Final = "pool"
USERS: Final = "users"
POOL_FILE: Final = "pool.status"

_NEW: Final = ".new"                        # no user's file is called so
_BEGIN: Final = b'{\n "hashrate1m": "'
"""How each user's file begins. What begins otherwise is not ours, and stays."""

_OF_ONE_FILE: Final = frozenset((errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR))


class Modes(NamedTuple):
    """What is made here gets these modes, whatever the umask."""

    file: int
    folder: int


OWN: Final = Modes(FILE_MODE, FOLDER_MODE)
PUBLIC: Final = Modes(PUBLIC_FILE_MODE, PUBLIC_FOLDER_MODE)
"""Of a folder that the operator names: he names it so that others read it."""


class UserFile(NamedTuple):
    """A file to write: its name in `users`, and what makes its content."""

    name: str
    content: Callable[[], bytes]


class FilesOfMinute(NamedTuple):
    """The files of one minute: the content of pool.status, and the files of the users."""

    pool: bytes
    users: Iterator[UserFile]


@dataclass(frozen=True, slots=True)
class StatusFilesReport(Report):
    """`written` files since the start."""

    written: int


class StatusFiles(Loop[None]):
    """Writes what `pages` gives into `folder`. `pages()` is None while there are no numbers yet."""

    limits = unawaited(WRITE_TIMEOUT_S)

    def __init__(self, folder: Path, modes: Modes, pages: Callable[[], FilesOfMinute | None],
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__("status-files", monotonic=monotonic)
        self._folder = folder
        self._modes = modes
        self._pages = pages
        self._left: Iterator[UserFile] | None = None        # users of this minute who are not written yet
        self._next_at = -math.inf                       # when the next minute begins
        self._sums: dict[str, int] = {}                 # of what each file holds, so that the same is not written again
        self._shown: set[str] = set()                   # the files of this minute
        self._is_old_looked_at = False                  # what an earlier start left
        self._is_failing = False
        self._written = 0

    def report(self) -> StatusFilesReport:
        """How much was written."""
        return StatusFilesReport(*self.vitals(), written=self._written)

    def turn(self, items: list[None]) -> float:
        """Write the next few files."""
        if self.is_stopping:
            return math.inf
        now = self._monotonic()
        try:
            if self._left is None and now >= self._next_at:
                self._begin(now)
            if self._left is not None:
                with _opened(self._folder / USERS) as folder:
                    is_over = self._bite(self._left, folder)
                if is_over:
                    self._finish()
        except OSError as exc:
            self._left, self._shown = None, set()       # the rest waits for the next minute
            self._complain(exc)
        return self._next_at if self._left is None else now + BITE_EVERY_S

    def _begin(self, now: float) -> None:
        pages = self._pages()
        if pages is None:
            self._next_at = now + 1.0
            return
        self._next_at = now + EVERY_S
        for folder in (self._folder, self._folder / POOL, self._folder / USERS):
            self._make_folder(folder)
        with _opened(self._folder / POOL) as opened:
            self._write(opened, POOL_FILE, pages.pool)
        self._left, self._shown = pages.users, set()

    def _bite(self, pages: Iterator[UserFile], folder: int) -> bool:
        """Write some users' files into the open `folder`; whether these were the last ones."""
        ends_at = self._monotonic() + BITE_S
        for number in range(BITE):
            if number and self._monotonic() >= ends_at:
                return False
            page = next(pages, None)
            if page is None:
                return True
            self._shown.add(page.name)
            content = page.content()
            checksum = zlib.crc32(content)
            if self._sums.get(page.name) != checksum:
                self._sums.pop(page.name, None)
                if self._write_user(folder, page.name, content):
                    self._sums[page.name] = checksum
        return False

    def _write_user(self, folder: int, name: str, content: bytes) -> bool:
        try:
            self._write(folder, name, content)
        except OSError as exc:
            if exc.errno not in _OF_ONE_FILE:
                raise
            return False
        return True

    def _finish(self) -> None:
        """All users of this minute are written: the files of others go."""
        users = self._folder / USERS
        for name in self._sums.keys() - self._shown:
            del self._sums[name]
            (users / name).unlink(missing_ok=True)
        if not self._is_old_looked_at:
            self._remove_old(users)
            self._is_old_looked_at = True
        self._left, self._shown = None, set()
        if self._is_failing:
            self._is_failing = False
            say(log, logging.INFO, "status.written", folder=str(self._folder))

    def _remove_old(self, users: Path) -> None:
        """Files that an earlier start wrote, of users who are shown no more. What is not ours stays."""
        for entry in os.scandir(users):
            if entry.name not in self._shown and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "rb") as file:
                    if file.read(len(_BEGIN)) == _BEGIN:
                        os.unlink(entry.path)

    def _make_folder(self, path: Path) -> None:
        """Make `path`, and those above it that are missing. One that is there keeps its mode."""
        if not path.is_dir():
            if not path.parent.is_dir():
                self._make_folder(path.parent)
            path.mkdir()
            path.chmod(self._modes.folder)
            self._sums.clear()                  # somebody took the files away

    def _write(self, folder: int, name: str, content: bytes) -> None:
        """Let the file `name` in the open `folder` hold `content`.

        Nothing waits for the disk: after a crash the next minute writes anew. Ten thousand files are written so in a
        minute, hence system calls alone: objects for paths and files cost twice as much as they do.
        """
        try:
            descriptor = self._open_new(folder)
            try:
                while content:
                    content = content[os.write(descriptor, content):]
            finally:
                os.close(descriptor)
            os.replace(_NEW, name, src_dir_fd=folder, dst_dir_fd=folder)
            self._written += 1
        except OSError:
            with suppress(OSError):
                os.unlink(_NEW, dir_fd=folder)
            raise

    def _open_new(self, folder: int) -> int:
        """A new file. One of that name is what a killed daemon left; others may write here, so no link is followed."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(_NEW, flags, self._modes.file, dir_fd=folder)
        except FileExistsError:
            os.unlink(_NEW, dir_fd=folder)
            descriptor = os.open(_NEW, flags, self._modes.file, dir_fd=folder)
        os.fchmod(descriptor, self._modes.file)
        return descriptor

    def _complain(self, exc: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            say(log, logging.WARNING, "status.unwritten", folder=str(self._folder), reason=exc.strerror or str(exc),
                consequence="programs that read the status files see old numbers", cure=_cure(exc))


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of `folder`, by which files in it are named."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _cure(exc: OSError) -> str:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room on that disk"
    if exc.errno == errno.EROFS:
        return "add the folder to the unit's ReadWritePaths=, or mount it for writing"
    return "let this user write there, or name another folder in status.dir"


def is_writable(folder: Path) -> str:
    """Why files cannot be written into `folder`, in words; "" where they can, or the folder can be made."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        mode = nearest.stat().st_mode
    except OSError as exc:
        return f"{nearest} cannot be used: {exc.strerror}"
    if not stat.S_ISDIR(mode):
        return f"{nearest} is no directory"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest} may not be written by this user"
    return ""
