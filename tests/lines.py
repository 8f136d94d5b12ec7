"""What a program writes, line by line, for tests that wait for a line of it. Nothing of warppool is imported here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import IO, TypeVar

T = TypeVar("T")


class Lines:
    """The lines of one program, over all its starts: `all` grows, and is whole after `close`."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._has_news = threading.Condition()
        self._is_over = True                            # the pipe has ended, and its lines are here
        self._pipe: IO[str] | None = None
        self._reader = threading.Thread()

    def read(self, pipe: IO[str], name: str) -> None:
        """Read the pipe of a start to its end, in a thread of that name."""
        self._pipe, self._is_over = pipe, False
        self._reader = threading.Thread(target=self._read, args=(pipe,), name=name)
        self._reader.start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            if line.endswith("\n"):                     # the last one of a killed process may be torn
                with self._has_news:
                    self.all.append(line.rstrip("\n"))
                    self._has_news.notify_all()
        with self._has_news:
            self._is_over = True
            self._has_news.notify_all()

    def wait_for(self, found: Callable[[], T], patience_s: float) -> T:
        """What `found` gives as soon as it is true; what it gives then, where the pipe or the patience ends before."""
        with self._has_news:
            self._has_news.wait_for(lambda: found() or self._is_over, patience_s)
            return found()

    def close(self) -> None:
        """The program has ended: read to the end of its pipe, and close that."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self._reader.join()
            pipe.close()
