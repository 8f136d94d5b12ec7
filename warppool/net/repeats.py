"""A warning that would repeat is said once, and then with a count."""

from __future__ import annotations

import logging
import math

from warppool.say import say

REPEAT_S = 60.0
"""The least time between two lines of one warning; the summary in the journal comes as often."""


class Repeats:
    """One kind of warning: the first is said at once, later ones are counted and said together.

    `now` is in monotonic seconds. One thread owns it.
    """

    def __init__(self, log: logging.Logger, event: str) -> None:
        self._log = log
        self._event = event
        self._count = 0
        self._fields: dict[str, object] = {}
        self._silent_until = -math.inf
        self.due = math.inf
        """When `flush` has something to say; `inf` for nothing."""

    def add(self, now: float, **fields: object) -> None:
        """It happened; of several that are said together, the last one's `fields` are shown."""
        self._count += 1
        self._fields = fields
        self.due = self._silent_until
        self.flush(now)

    def flush(self, now: float) -> None:
        """Say what was counted, unless the last line is too fresh."""
        if now >= self.due:
            say(self._log, logging.WARNING, self._event, count=self._count, **self._fields)
            self._count = 0
            self.due = math.inf
            self._silent_until = now + REPEAT_S
