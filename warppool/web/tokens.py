"""A token bucket: how many things may be done in a second."""

from __future__ import annotations


class TokenBucket:
    """Holds up to `size` tokens, and gets `per_s` of them each second; full at first. One thread owns it.

    Times are monotonic seconds.
    """

    def __init__(self, per_s: float, size: float, now: float) -> None:
        self.per_s = per_s
        self.size = size
        self._left = size
        self._at = now

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Take `cost` tokens if they are there."""
        self._fill(now)
        if self._left < cost:
            return False
        self._left -= cost
        return True

    def spend(self, now: float, cost: float) -> None:
        """Take `cost` tokens, though they may not be there: then the next ones are lent already."""
        self._fill(now)
        self._left -= cost

    def due(self, now: float) -> float:
        """When there is a whole token; a past time or `now` where there is one."""
        self._fill(now)
        return now + max(0.0, 1.0 - self._left) / self.per_s

    def _fill(self, now: float) -> None:
        self._left = min(self.size, self._left + max(0.0, now - self._at) * self.per_s)
        self._at = now
