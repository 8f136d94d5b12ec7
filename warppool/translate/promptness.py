"""Whether an upstream acknowledges shares in batches, learned from how long its answers take.

Such an upstream is well, and its word on a share comes minutes later. Machines that waited for it would see every
answer late by our whole patience; so they hear our own verdict at once, and the upstream's is counted when it comes.
"""

from __future__ import annotations

LATE_IN_A_ROW = 3
"""Late answers one after the other that show it; fewer may be a moment's trouble."""

IN_TIME_IN_A_ROW = 100
"""Answers in time, one after the other, after which the upstream's own word is waited for again."""


class Promptness:
    """What one worker knows of one upstream."""

    __slots__ = ("_in_time", "_late", "is_batching", "is_prompt")

    def __init__(self) -> None:
        self.is_batching = False
        self.is_prompt = True                   # no answer was late of late, so one in time is no news
        self._late = 0                          # answers in a row
        self._in_time = 0

    def answered(self, waited_s: float, shares: int, patience_s: float) -> bool:
        """An answer came to `shares`, of which the first had waited for `waited_s`; True if that changes anything.

        An answer to several shares of which the first had to wait too long is a batch, and shows it at once.
        """
        was_batching = self.is_batching
        if waited_s <= patience_s:
            self._late = 0
            self._in_time += 1
            if self._in_time >= IN_TIME_IN_A_ROW:
                self.is_batching = False
        else:
            self._in_time = 0
            self._late += 1
            if shares > 1 or self._late >= LATE_IN_A_ROW:
                self.is_batching = True
        self.is_prompt = not self.is_batching and not self._late
        return self.is_batching != was_batching
