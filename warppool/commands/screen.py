"""Lines for people: no longer than their terminal, even after they have made it smaller."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

_CLEAR = "\r\033[K"


class Display:
    """Writes to `stream`: lines that stay, and on a terminal one line that changes.

    A stream that cannot be written any more raises nothing here: `error` says why, and nothing more is shown.
    """

    def __init__(self, stream: TextIO, is_terminal: bool) -> None:
        self.is_terminal = is_terminal
        self.error: OSError | None = None
        self._stream = stream

    @property
    def is_gone(self) -> bool:
        """Nobody sees any more what is written."""
        return self.error is not None

    def width(self) -> int:
        """Columns of the terminal as it is now, 80 where nobody knows."""
        with suppress(OSError, ValueError):             # io.UnsupportedOperation is both
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        return 80

    def line(self, words: str) -> None:
        """One line that stays; on a terminal it is folded where it is too long."""
        if not self.is_terminal:
            self._write(f"{words}\n")
            return
        rows = textwrap.wrap(words, max(10, self.width() - 1), subsequent_indent="  ", break_on_hyphens=False) or [""]
        self._write(_CLEAR + "\n".join(rows) + "\n")

    def draw(self, candidates: Sequence[str]) -> None:
        """The line that changes: the first of `candidates` that fits, or as much of the last as does."""
        room = self.width() - 1                         # the last column would make some terminals wrap
        words = next((words for words in candidates if len(words) <= room), candidates[-1][:max(0, room)])
        self._write(_CLEAR + words)

    def _write(self, text: str) -> None:
        if self.is_gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as exc:
            self.error = exc
