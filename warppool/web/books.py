"""What answers ask of the books: history by slots, read-only, in questions whose size has a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from warppool.ledger.database import Reader
from warppool.payout.weight import FRACTION_BITS
from warppool.stats.windows import HASHES_PER_DIFFICULTY

RESOLUTIONS: Final = (600, 3600, 86_400)
"""Seconds of a slot, as the books have them."""

DAY_SLOTS: Final = 144                  # of ten minutes
MOST_SLOTS: Final = 1008                # a week of ten minutes, six weeks of hours


class HistoryPoint(NamedTuple):
    """What was accepted in the slot that began at `time` (Unix seconds); `hashrate` is in hashes a second."""

    time: int
    hashrate: float
    accepted: int
    difficulty: float
    best: float


class WebBooks:
    """Opens the books for each question, on the thread that asks; the answers that come of it are kept, not these.

    `opened` opens a reader; LedgerError from it, and from each question.
    """

    def __init__(self, opened: Callable[[], Reader]) -> None:
        self._opened = opened

    def history(self, at: float, resolution: int, slots: int, name: str | None = None) -> list[HistoryPoint]:
        """The last `slots` slots that were over at Unix time `at`, oldest first, of the pool, a user or a worker.

        The slot that runs is left out: it would look like a fall. The first point is that of the first slot that has a
        share, and slots without one have a point as well.
        """
        last = int(at) // resolution - 1
        with self._opened() as reader:
            sums = {each.slot: each for each in reader.history(resolution, last - slots + 1, last, name)}
        if not sums:
            return []
        return [_point(resolution, slot, *(sums[slot][1:] if slot in sums else (0, 0, 0.0)))
                for slot in range(min(sums), last + 1)]


def _point(resolution: int, slot: int, accepted: int, weight: int, best: float) -> HistoryPoint:
    difficulty = weight / (1 << FRACTION_BITS)
    return HistoryPoint(slot * resolution, difficulty * HASHES_PER_DIFFICULTY / resolution, accepted, difficulty, best)
