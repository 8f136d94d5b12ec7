"""What the tests of the shell share: log lines to wait for, and the promise that nothing is left behind."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator

import pytest

from tests.patience import PATIENCE_S


class LogLines(logging.Handler):
    """Every line that is logged, from any thread."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._lines: list[str] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self._lines.append(f"{record.levelname} {self.format(record)}")
            self._changed.notify_all()

    def wait_for(self, part: str) -> str:
        """The first line that holds `part`."""
        with self._changed:
            is_there = self._changed.wait_for(lambda: self.having(part), PATIENCE_S)
            assert is_there, f"no line with {part!r}: {self._lines}"
            return self.having(part)[0]

    def having(self, part: str) -> list[str]:
        """The lines so far that hold `part`."""
        return [line for line in self._lines if part in line]


@pytest.fixture
def log_lines() -> Iterator[LogLines]:
    """The log of this test, down to debug."""
    log, handler = logging.getLogger("warppool"), LogLines()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler
    log.setLevel(level)
    log.removeHandler(handler)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No test of the shell leaves a thread or an open file descriptor behind."""
    threads, files = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    yield
    assert set(threading.enumerate()) <= threads
    new = set(os.listdir("/proc/self/fd")) - files              # one of them is that of the listing itself
    assert [name for name in new if os.path.exists(f"/proc/self/fd/{name}")] == []
