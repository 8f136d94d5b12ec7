"""The bound on accepted shares a minute (`[difficulty] max_shares_per_minute`): no channel fills the books.

Vardiff finds the right target where it may. Where a machine has fixed a tiny difficulty (`fd=`), or where the
operator's `max` holds the difficulty down, shares come as fast as the machine hashes. The throttle counts all accepted
shares, on whatever key: a machine may ask for a harder target and go on under an older, easier one. When a minute's
worth of shares has come in less than a minute, the throttle's `ceiling` falls. The ceiling is the easiest target that
the channel may have, whatever else was asked for; the network's target alone wins over it. When few shares come, the
ceiling rises again.
"""

from __future__ import annotations

import math

from warppool.bitcoin.target import DIFF1, MAX_TARGET

FLOOD = "max_shares_per_minute"
"""The reason of a change by the throttle, for the log."""

REVIEW_S = 60.0
"""The time in which the bound's number of shares may come, and the least one before the ceiling rises."""

MAX_OCTAVES = 4
"""The ceiling falls and rises by at most this many powers of two at a time. Shares that a machine held back over an
outage are no flood, and must not cost the machine hours.
"""

LEAST_SPAN_S = 0.25
"""No time counts as shorter: all shares that one wake-up reads have one time, however long they took to be mined."""

GRACE_S = 30.0
"""How long a machine may bring shares of keys from before a fall, whatever their target."""


class Throttle:
    """The bound on one channel; `per_minute` is how many accepted shares it may bring.

    `wakes_at` (monotonic seconds) is when to ask `review` without a share; `inf` while the ceiling is none.
    """

    __slots__ = ("_credited", "_left", "_per_minute", "_since", "ceiling", "wakes_at")

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_minute = per_minute
        self.ceiling = MAX_TARGET
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._left = self._per_minute
        self._credited = 0.0                            # difficulty, of the shares since then
        self._since = now
        self.wakes_at = math.inf if self.ceiling == MAX_TARGET else now + REVIEW_S

    def bound(self, per_minute: int) -> None:
        """Another bound from now on; the shares that it has counted since the last review count on."""
        if per_minute != self._per_minute:              # else a count that is spent, and not reviewed yet, stays so
            self._left = max(1, self._left + per_minute - self._per_minute)
            self._per_minute = per_minute

    def shared(self, difficulty: float) -> bool:
        """Count an accepted share, which is credited with `difficulty`; True, once, when `review` is to be asked."""
        self._credited += difficulty
        self._left -= 1
        return self._left == 0

    def review(self, target: int, now: float) -> bool:
        """True if the ceiling has changed; `target` is the channel's."""
        before, count = self.ceiling, self._per_minute - self._left
        rate = count / max(now - self._since, LEAST_SPAN_S) * REVIEW_S        # shares a minute
        if self._left <= 0 and rate > self._per_minute:
            easiest = target << self._easier_octaves(target, count)
            self.ceiling = max(1, min(self.ceiling, easiest >> _octaves(2 * rate / self._per_minute)))
            self._begin(now)
        elif now >= self.wakes_at:
            ratio = self._per_minute / max(4 * rate, 1.0)
            if self.ceiling > target:
                self.ceiling = MAX_TARGET               # something else holds the channel harder
            elif ratio >= 2:
                self.ceiling = min(MAX_TARGET, self.ceiling << min(MAX_OCTAVES, int(math.log2(ratio))))
            self._begin(now)
        elif self._left <= 0:
            self._begin(now)
        return self.ceiling != before

    def _easier_octaves(self, target: int, count: int) -> int:
        """By how many powers of two the targets that the shares came under are easier than `target`, on the mean."""
        mean = self._credited / count
        return max(0, int(math.log2(DIFF1 / target / mean))) if mean else 0


def _octaves(ratio: float) -> int:
    return min(MAX_OCTAVES, max(1, math.ceil(math.log2(ratio))))
