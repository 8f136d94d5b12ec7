"""`data_dir/ledger.mark`: how far the books have come, so that a restored copy of them is known as one.

One line: the id of the books' newest segment (`journals`) in hex, and the id of the next share. It is written hourly,
soon after a block or a payment was booked, and as the books close. It is never ahead of the books, so books that are
behind it have lost what came since.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from warppool.files import replace_file

FILE_NAME: Final = "ledger.mark"
EVERY_S: Final = 3_600.0
_LINE: Final = re.compile(rb"([0-9a-f]{32}) ([1-9][0-9]{0,18})\n")


class Marked(NamedTuple):
    """What the file says; `journal_id` has 16 bytes."""

    journal_id: bytes
    next_share_id: int


class MarkFile:
    """The file at `path`. Nothing is written before `journal_id` is known."""

    def __init__(self, path: Path) -> None:
        self.journal_id = b""
        self._path = path
        self._written_at = -math.inf        # Unix time

    def read(self) -> Marked | None:
        """What was marked last; None if nothing can be read there."""
        with suppress(OSError):
            if match := _LINE.fullmatch(self._path.read_bytes()):
                return Marked(bytes.fromhex(match[1].decode("ascii")), int(match[2]))
        return None

    def hurry(self) -> None:
        """What must not be lost unseen is in the books: the next `write` marks how far they are."""
        self._written_at = -math.inf

    def write(self, next_share_id: int, now: float, *, is_closing: bool = False) -> None:
        """Mark that the books have come so far, if that is due. What the disk refuses is written an hour later."""
        if self.journal_id and (is_closing or not 0 <= now - self._written_at < EVERY_S):
            self._written_at = now
            with suppress(OSError):
                replace_file(self._path, b"%s %d\n" % (self.journal_id.hex().encode("ascii"), next_share_id))
