"""Where log lines go and what they look like: to stderr, for the journal or for a person.

Under journald a line starts with its priority (`<4>`) and leaves the time to the journal; elsewhere it starts with an
RFC 3339 time and its level. A warning that repeats is said once and then counted.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from warppool.service.logwriter import LogWriter

REPEAT_AFTER_S = 60.0
"""The same warning is said at most once in this time; what came meanwhile is a count."""

MAX_HELD = 256
"""Different warnings remembered at once; beyond it the oldest is settled early, so that memory has a bound."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
_PER_CONNECTION = ("conn=", "peer=")
_NEVER_HELD = ("event=node.", "event=template.", "event=config.left")
"""The first two say how a node is, and an INFO takes them back: a loss held back as a repeat would leave "back" for the
last word on a node that is gone. Their source waits longer and longer between them. The third answers a reload, which
somebody has asked for and reads."""


def set_up(level: str, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Send everything of `level` and above to `stream`, stderr if none is given; replaces an earlier set-up."""
    target = sys.stderr if stream is None else stream
    handler = JournalHandler(target, is_journal=is_journal(target, environ))
    if stream is None:
        handler.write_behind()
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, JournalHandler):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
    set_level(level)
    logging.raiseExceptions = False     # a log that cannot be written must not stop a pool


def set_level(level: str) -> None:
    """Log everything of `level` and above from now on."""
    logging.getLogger().setLevel(level.upper())


def catch_up() -> None:
    """Wait a moment until the log's lines are written, so that what is printed next stands behind them."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, JournalHandler):
            handler.catch_up()


def progress() -> tuple[int, int]:
    """How much the log was given by now and how much of it is written, in bytes; any thread may ask."""
    writers = [handler.writer for handler in logging.getLogger().handlers if isinstance(handler, JournalHandler)]
    return next((writer.progress for writer in writers if writer is not None), (0, 0))


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is the journal itself: systemd names its device and inode in JOURNAL_STREAM."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalHandler(logging.StreamHandler[TextIO]):
    """Writes records as lines that cannot be forged: no control character and no second event on one of them."""

    def __init__(self, stream: TextIO, is_journal: bool, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._is_journal = is_journal
        self._clock = clock
        self.writer: LogWriter | None = None        # what writes on a thread of its own; None for whoever logs
        self._held: dict[str, tuple[float, int, logging.LogRecord]] = {}    # words -> since, count, the last one

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record` unless it is a warning that was just said; the handler's lock is held."""
        try:
            now = self._clock()
            self._settle(now)
            if _may_repeat(record) and self._is_repeated(record, now):
                return
            self._put(self.format(record) + "\n", record.levelno >= logging.ERROR)
        except Exception:   # noqa: BLE001 - as logging's own handlers do: a log line never stops its caller
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """The record's text; lines after the first, of a traceback, are marked so that none passes for an event."""
        first, *rest = super().format(record).splitlines() or [""]
        head = self._head(record)
        return "\n".join(head + _printable(line) for line in (first, *(f"  | {line}" for line in rest)))

    def close(self) -> None:
        """Say the counts that are still held."""
        self.acquire()
        try:
            self._settle(float("inf"))
        finally:
            self.release()
            super().close()
            if self.writer is not None:
                self.writer.close()

    def write_behind(self) -> None:
        """From now on a thread of its own writes, so that no caller waits for whoever reads the stream."""
        try:
            fd = self.stream.fileno()
        except (OSError, ValueError, AttributeError):
            return                              # no stream of the system, so nobody's reading can stop it
        self.writer = LogWriter(fd, self._dropped)

    def catch_up(self) -> None:
        """Wait a moment for the thread that writes, where there is one."""
        if self.writer is not None:
            self.writer.catch_up()

    def _put(self, text: str, is_urgent: bool = False) -> None:
        if self.writer is not None:
            self.writer.write(text, is_urgent)
        else:
            self.stream.write(text)
            self.flush()

    def _dropped(self, count: int) -> str:
        record = logging.makeLogRecord({
            "levelno": logging.ERROR, "levelname": "ERROR",
            "msg": f"event=log.dropped count={count} meaning=\"whoever reads stderr did not keep up\""})
        return self.format(record) + "\n"

    def _head(self, record: logging.LogRecord) -> str:
        if self._is_journal:
            return f"<{next((priority for level, priority in _PRIORITIES if record.levelno >= level), 7)}>"
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.msecs):03d}Z {record.levelname:<8} "

    def _is_repeated(self, record: logging.LogRecord, now: float) -> bool:
        words = " ".join(word for word in record.getMessage().split() if not word.startswith(_PER_CONNECTION))
        if words in self._held:
            since, count, _ = self._held[words]
            self._held[words] = (since, count + 1, record)
            return True
        if len(self._held) >= MAX_HELD:
            self._say_count(next(iter(self._held)))
        self._held[words] = (now, 0, record)
        return False

    def _settle(self, now: float) -> None:
        """Forget the warnings whose time is over, saying how often each came again."""
        while self._held:
            words = next(iter(self._held))
            if now - self._held[words][0] < REPEAT_AFTER_S:
                return
            self._say_count(words)

    def _say_count(self, words: str) -> None:
        _, count, record = self._held.pop(words)
        if count:
            self._put(f"{self.format(record)} repeated={count}\n")


def _may_repeat(record: logging.LogRecord) -> bool:
    return (record.levelno == logging.WARNING and not record.exc_info
            and not record.getMessage().startswith(_NEVER_HELD))


def _printable(line: str) -> str:
    return line if line.isprintable() else "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in line)
