"""What waits to be sent to one place: bounded, at most one of a kind a minute, and tried again a few times.

No thread and no clock stand here; `now` is in monotonic seconds.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import Final

from warppool.notices.kinds import Notice

MOST_WAITING: Final = 50
"""Notices that wait for one place. A place that is away for hours gets the newest of them, and how many are lost."""

KIND_EVERY_S: Final = 60.0
"""At most one notice of a kind in so long: a farm that loses its power is one notice with a count."""

RETRIES_S: Final = (5.0, 30.0, 120.0, 600.0)
"""Seconds after each failed try before the next one; then the notice is given up."""


class Outbox:
    """What one place is to be told. `lost` counts notices that no room was left for, or that were given up."""

    def __init__(self) -> None:
        self.lost = 0
        self._waiting: deque[Notice] = deque()
        self._held: dict[str, Notice] = {}          # by kind: what came within a minute of the last of its kind
        self._again_at: dict[str, float] = {}       # by kind: when the next of its kind may go out
        self._tries = 0                             # of the first that waits
        self._try_at = -math.inf

    def add(self, notice: Notice, now: float) -> None:
        """Have `notice` sent, or counted with others of its kind."""
        held = self._held.get(notice.kind)
        if held is not None:
            self._held[notice.kind] = replace(notice, count=held.count + notice.count)
        elif now < self._again_at.get(notice.kind, -math.inf):
            self._held[notice.kind] = notice
        else:
            self._put(notice, now)

    def take(self, now: float) -> Notice | None:
        """What is to be sent now, if anything; it stays the first until `sent` or `failed`."""
        for kind in [kind for kind in self._held if now >= self._again_at[kind]]:
            self._put(self._held.pop(kind), now)
        return self._waiting[0] if self._waiting and now >= self._try_at else None

    def sent(self) -> None:
        """The first has arrived."""
        self._waiting.popleft()
        self._tries, self._try_at = 0, -math.inf

    def failed(self, now: float, *, is_final: bool) -> bool:
        """The first has not arrived; a final failure would only come again. Returns whether it is tried again."""
        if is_final or self._tries >= len(RETRIES_S):
            self.sent()
            self.lost += 1
            return False
        self._try_at = now + RETRIES_S[self._tries]
        self._tries += 1
        return True

    def wakes_at(self) -> float:
        """When `take` will next have something; infinite while nothing waits."""
        held = min((self._again_at[kind] for kind in self._held), default=math.inf)
        return min(held, self._try_at if self._waiting else math.inf)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._held)

    def _put(self, notice: Notice, now: float) -> None:
        self._again_at[notice.kind] = now + KIND_EVERY_S
        if len(self._waiting) >= MOST_WAITING:
            del self._waiting[1 if self._tries else 0]      # the first may be on its way just now
            self.lost += 1
        self._waiting.append(notice)
