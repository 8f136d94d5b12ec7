"""How the threads of a node wait: a clock that tests can replace, and pauses that grow."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 1.5       # with its jitter: a node that is back is found within 2 s
JITTER = 0.25               # a pause is stretched by up to this part of it, so that many pools do not knock in step


class Clock(Protocol):
    """The time, and the ways to let it pass."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def wait(self, seconds: float) -> bool:
        """Let `seconds` go by; True at once when `stop` is or was called."""

    def inbox(self) -> queue.Queue[Any]:
        """A new inbox, whose owner sleeps on it by this clock."""

    def stop(self) -> None:
        """Any thread: end the `wait` that runs and all later ones."""


class SystemClock:
    """The clock of the daemon."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> bool:
        return self._stopped.wait(seconds)

    def inbox(self) -> queue.Queue[Any]:
        return queue.Queue()

    def stop(self) -> None:
        self._stopped.set()


class Backoff:
    """Pauses between tries, in seconds: each twice the one before, up to a longest; a success starts them anew."""

    def __init__(self, jitter: Callable[[], float] = random.random, longest_s: float = LONGEST_PAUSE_S) -> None:
        self._jitter = jitter
        self._longest_s = longest_s
        self._pause = FIRST_PAUSE_S

    def next(self) -> float:
        """The pause before the next try."""
        pause, self._pause = self._pause, min(2 * self._pause, self._longest_s)
        return pause * (1 + JITTER * self._jitter())

    def reset(self) -> None:
        """It worked."""
        self._pause = FIRST_PAUSE_S
