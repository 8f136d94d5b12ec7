"""How often an upstream may do something: so many times at once, and then once in so many seconds."""

from __future__ import annotations

import math


class Pace:
    """A bucket of `at_once` tokens, one of which comes back every `every_s`. `now` is monotonic seconds."""

    __slots__ = ("_at_once_s", "_every_s", "_spent_until")

    def __init__(self, at_once: int, every_s: float) -> None:
        self._every_s = every_s
        self._at_once_s = at_once * every_s
        self._spent_until = -math.inf               # when the bucket is full again

    def next_at(self, now: float) -> float:
        """When a token is there: at most `now`, or later."""
        return max(self._spent_until, now) + self._every_s - self._at_once_s

    def take(self, now: float, among: int = 1) -> bool:
        """Take a token, or the share in one of `among` who do the same; False where the bucket was empty."""
        has_one = self.next_at(now) <= now
        self._spent_until = min(max(self._spent_until, now) + self._every_s / among, now + self._at_once_s)
        return has_one
