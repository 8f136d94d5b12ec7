"""A line of the log that is said once for each user.

Strangers may call themselves by any number of names: they cost a bounded memory and a bounded number of lines.
"""

from __future__ import annotations

import threading

MAX_REMEMBERED = 4096
"""Users of whom something was said, the longest unseen forgotten first."""

BURST = 20
"""Lines that may come together, as when a pool of such users starts."""

REFILL_S = 10.0
"""One more line each so many seconds; a user that is passed over has its line when it comes the next time."""


class OncePerUser:
    """Asked by every worker for each user that comes, so there is a lock around what it remembers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, None] = {}            # a set that keeps its order
        self._left = float(BURST)
        self._filled_at = 0.0

    def is_news(self, user: str, now: float) -> bool:
        """Whether the line is to be said of `user`, at monotonic `now`: true once."""
        with self._lock:
            if user in self._said:
                del self._said[user]
                self._said[user] = None             # seen again
                return False
            self._left = min(float(BURST), self._left + max(0.0, now - self._filled_at) / REFILL_S)
            self._filled_at = max(self._filled_at, now)
            if self._left < 1:
                return False
            self._left -= 1
            if len(self._said) >= MAX_REMEMBERED:
                del self._said[next(iter(self._said))]
            self._said[user] = None
            return True
