"""What workers did in a slot of time, summed as their shares are booked.

A slot is a Unix time divided by a resolution. A share belongs to the slot that is open at its commit. So a slot is a
run of share ids, and no clock that is set back or forth moves a share from one slot to another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from warppool.bitcoin.target import DIFF1
from warppool.payout.weight import halves, weight_of

TEN_MINUTES: Final = 600
HOUR: Final = 3_600
DAY: Final = 86_400
RESOLUTIONS: Final = (TEN_MINUTES, HOUR, DAY)       # seconds of a slot
WEIGHTS_MAX: Final = 4_096

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


class OpenSums:
    """The sums of a slot that is not over, by the ids of workers."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._sums: dict[int, int] = {}                 # weights
        self._bests: dict[int, bytes] = {}              # hashes in display order, whose lowest is the best
        self._weights: dict[float, int] = {}            # by difficulty, of which channels have few

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, shares: Iterable[ShareWork]) -> None:
        """Count shares."""
        counts, sums, bests, weights = self._counts, self._sums, self._bests, self._weights
        for worker, difficulty, share_hash in shares:
            weight = weights.get(difficulty) or self._weight(difficulty)
            met = share_hash[::-1]
            if worker in counts:
                counts[worker] += 1
                sums[worker] += weight
                if met < bests[worker]:
                    bests[worker] = met
            else:
                counts[worker], sums[worker], bests[worker] = 1, weight, met

    def by_worker(self) -> list[tuple[int, WorkSum]]:
        """The sums so far, by rising ids."""
        return [(worker, WorkSum(count, self._sums[worker], _difficulty_met(self._bests[worker])))
                for worker, count in sorted(self._counts.items())]

    def _weight(self, difficulty: float) -> int:
        if len(self._weights) >= WEIGHTS_MAX:
            self._weights.clear()
        try:
            weight = weight_of(difficulty)
        except ValueError:                  # no channel has such a difficulty, and what is committed may not fail here
            weight = 0
        self._weights[difficulty] = weight
        return weight


def total_of(sums: Iterable[WorkSum]) -> WorkSum:
    """All of them together."""
    total = NO_WORK
    for each in sums:
        total = total.plus(each)
    return total


def columns_of(work: WorkSum) -> tuple[int, int, int, float]:
    """Accepted, whole, fraction and best, as the tables have them."""
    return (work.accepted, *halves(work.weight), work.best)


def _difficulty_met(display_hash: bytes) -> float:
    """The difficulty whose target is this hash."""
    return DIFF1 / max(1, int.from_bytes(display_hash, "big"))
