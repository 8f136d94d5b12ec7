"""What workers did in a slot of time, summed as their shares are booked.

A slot is a Unix time divided by a resolution. A share belongs to the slot that is open at its commit. So a slot is a
run of share ids, and no clock that is set back or forth moves a share from one slot to another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from warppool.payout.weight import halves

TEN_MINUTES: Final = 600
HOUR: Final = 3_600
DAY: Final = 86_400
RESOLUTIONS: Final = (TEN_MINUTES, HOUR, DAY)       # seconds of a slot

ShareWork = tuple[int, float, bytes]
"""The id of a share's worker, the difficulty that was credited, the hash in header order."""


class WorkSum(NamedTuple):
    """What was accepted of one worker, or of many: a count, a weight (2^-48 of a difficulty), and the difficulty that
    the best hash met.
    """

    accepted: int
    weight: int
    best: float

    def plus(self, other: WorkSum) -> WorkSum:
        """Both together."""
        return WorkSum(self.accepted + other.accepted, self.weight + other.weight, max(self.best, other.best))


NO_WORK: Final = WorkSum(0, 0, 0.0)


def total_of(sums: Iterable[WorkSum]) -> WorkSum:
    """All of them together."""
    total = NO_WORK
    for each in sums:
        total = total.plus(each)
    return total


def columns_of(work: WorkSum) -> tuple[int, int, int, float]:
    """Accepted, whole, fraction and best, as the tables have them."""
    return (work.accepted, *halves(work.weight), work.best)
