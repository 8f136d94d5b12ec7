"""Writes the log on a thread of its own, so that a stderr which nobody drains stops no thread that serves.

A full pipe blocks whoever writes to it: a terminal that was stopped by Ctrl-S, a supervisor that hangs, a `| less` left
open. Lines wait here then, up to a bound; beyond it new ones are dropped and counted. At the end of the program they
are written for as long as CLOSE_S allows.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

MAX_WAITING = 4 * 1024 * 1024
"""Bytes of lines that wait: some 20,000 lines."""

RESERVE = 1024 * 1024
"""Bytes kept free for lines that cost work: ERROR and above."""

CLOSE_S = 1.0
"""How long the end of the program waits for what is left: it is promised within 5 s of SIGTERM."""


class LogWriter:
    """A stream for `JournalHandler`: `write` never waits. `fd` is written by the thread `log` alone.

    The thread is a daemon thread, since a write into a full pipe may never return; it uses the descriptor itself, since
    Python's own stderr has a lock that would then be held at the end of the process.
    """

    def __init__(self, fd: int, dropped: Callable[[int], str]) -> None:
        self._fd = fd
        self._dropped = dropped                 # makes the line that tells how many were dropped
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._taken = 0                         # bytes since the start
        self._lost = 0
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """The descriptor behind it."""
        return self._fd

    def write(self, text: str, is_urgent: bool = False) -> None:
        """Have `text` written, or dropped and counted where too much waits already; any thread may call."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._waiting + len(data) > MAX_WAITING - (0 if is_urgent else RESERVE):
                self._lost += 1
                return
            self._lines.append(data)
            self._waiting += len(data)
            self._taken += len(data)
            self._changed.notify_all()

    @property
    def progress(self) -> tuple[int, int]:
        """Bytes since the start that were taken, and that were written; any thread may ask."""
        with self._changed:
            return self._taken, self._taken - self._waiting

    def flush(self) -> None:
        """Nobody waits for the other end."""

    def catch_up(self, timeout_s: float = CLOSE_S) -> None:
        """Wait until all lines so far are written, for as long as `timeout_s` allows: what others write to the same
        stream comes behind them then.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what is left, for as long as `timeout_s` allows, and end the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (lines := self._next()) is not None:
            data, lost = lines
            try:
                self._write_all(data + (self._dropped(lost).encode() if lost else b""))
            except OSError:
                time.sleep(0.1)                 # the other end is gone: nothing can be said, and nothing stops for it
            with self._changed:
                self._waiting -= len(data)      # only now, so that what is being written counts, too
                self._changed.notify_all()

    def _next(self) -> tuple[bytes, int] | None:
        """All that waits, in one piece, and how many lines were dropped behind it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._is_closing)
            if not self._lines:
                return None
            data = b"".join(self._lines)
            self._lines.clear()
            lost, self._lost = self._lost, 0
        return data, lost

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view[:65536]):]
            except BlockingIOError:             # somebody has made it non-blocking
                select.select([], [self._fd], [], 1.0)
