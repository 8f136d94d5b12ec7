"""Standard input and output as they may be: closed, on a full disk, or in a locale that knows ASCII alone."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Final

_OF_OUTPUT: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.ENXIO))


class _Closed(io.StringIO):
    """Stands for a stdout that was closed before we began: what is written to it is an error, as on a full disk."""

    def __init__(self) -> None:
        super().__init__()
        self._is_wanted = False

    def write(self, text: str) -> int:
        self._is_wanted = True
        raise OSError(errno.EBADF, "it is closed")

    def flush(self) -> None:
        if self._is_wanted:         # argparse swallows the error of `write`
            raise OSError(errno.EBADF, "it is closed")


def prepare() -> None:
    """Make the three standard files usable, whatever the caller left of them.

    What is closed is opened on /dev/null, or the next socket would get its number. What the locale's encoding cannot
    say is escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)          # the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")    # noqa: SIM115 - for as long as we run
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon_stdout() -> None:
    """It cannot be written: Python flushes it once more at its end, so give that somewhere to go."""
    if isinstance(sys.stdout, _Closed):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")    # noqa: SIM115 - for as long as we run
        return
    with suppress(OSError, ValueError):             # io.UnsupportedOperation is both
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def words_of(error: OSError) -> str:
    """One line about an error of the system that nobody has translated."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    if error.errno in _OF_OUTPUT:
        cure = "make room there, or send it elsewhere" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (
            "send it to a file or a terminal that can be written")
        return f"stdout cannot be written: {reason}: {cure}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{reason}: raise LimitNOFILE= of the unit, or ulimit -n"
    return reason
