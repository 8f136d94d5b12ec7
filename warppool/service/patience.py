"""How a start waits for what may go by itself: a port that an old connection holds, an address, a lock, a mount.

Such trouble is no mistake of the file, so it is no reason for the exit status after which systemd never tries again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from warppool.errors import NotNow
from warppool.say import say

log = logging.getLogger("warppool")

PATIENCE_S = 30.0
"""The longest that a start waits, in all. systemd gives the translator 60 s."""

AGAIN_S = 0.5
"""From one try to the next."""

T = TypeVar("T")


class Stopped(Exception):
    """The end is asked for while a start still waits."""


class Patience:
    """Tries again while NotNow is raised; the time is for all that one start waits for.

    `wait(seconds)` lets time pass and says whether the end is asked for; `tell` hears, for systemd, what is waited for.
    """

    def __init__(self, wait: Callable[[float], bool], tell: Callable[[str], object], patience_s: float = PATIENCE_S,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._wait = wait
        self._tell = tell
        self._patience_s = patience_s
        self._clock = clock
        self._until = clock() + patience_s
        self._said: set[str] = set()

    def until_done(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns; NotNow, the last one, when the patience is over, Stopped at the request to end."""
        while True:
            try:
                return attempt()
            except NotNow as exc:
                if self._clock() >= self._until:
                    raise
                self._say(str(exc))
            if self._wait(AGAIN_S):
                raise Stopped

    def _say(self, reason: str) -> None:
        if reason in self._said:
            return
        self._said.add(reason)
        say(log, logging.WARNING, "start.waiting", reason=reason,
            meaning=f"it may go by itself: tried again for up to {self._patience_s:.0f} s")
        self._tell(f"waiting: {reason}")


def impatient() -> Patience:
    """One that waits for nothing: for tests, and for what listens on free ports."""
    return Patience(lambda seconds: False, lambda words: None, patience_s=0.0)
