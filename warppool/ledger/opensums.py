"""What is accepted in a slot that is not over, summed by worker: a few accesses of arrays a share.

Workers of a large pool come in no order, so whatever lies outside the processor's cache costs more than the sum that is
made there. The sums of workers with low ids lie side by side in arrays. Workers beyond these, of books that have had
very many, have a dict.
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final

from warppool.bitcoin.target import DIFF1
from warppool.ledger.slots import NO_WORK, ShareWork, WorkSum, total_of
from warppool.payout.weight import FRACTION_BITS, halves, weight_of

ARRAY_MAX: Final = 1 << 18              # workers with a place in the arrays, which take 32 bytes each
GROW: Final = 1_024
WHOLES_MAX: Final = 4_096
_WHOLE_MAX: Final = 1 << 40             # no sum of a slot comes near 2^64 by such difficulties
_WORST: Final = b"\xff" * 32


class OpenSums:
    """The sums of a slot that is not over, by the ids of workers."""

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._wholes = array("Q")                       # of difficulties that are whole numbers
        self._tops = array("Q")                         # the highest bits of the best hash
        self._bests: list[bytes] = []                   # the best hash in header order
        self._odd: dict[int, int] = defaultdict(int)    # weights of all other difficulties
        self._others: dict[int, WorkSum] = {}           # of workers without a place in the arrays
        self._whole_of: dict[float, int] = {}           # by difficulty, of which channels have few

    def add(self, shares: Iterable[ShareWork]) -> None:
        """Count shares."""
        if rows := list(shares):
            self.add_columns(*zip(*rows, strict=True))

    def add_columns(self, workers: Sequence[int], difficulties: Sequence[float], hashes: Sequence[bytes]) -> None:
        """Count shares: the ids of their workers, what was credited, the hashes in header order."""
        if max(workers, default=0) >= len(self._counts) and not self._grow(max(workers)):
            self._add_others(zip(workers, difficulties, hashes, strict=True))
            return
        counts, wholes, tops, bests = self._counts, self._wholes, self._tops, self._bests
        for worker, whole, top, share_hash in zip(workers, self._wholes_of(workers, difficulties), _tops_of(hashes),
                                                  hashes, strict=True):
            counts[worker] += 1
            wholes[worker] += whole
            if top <= tops[worker] and (top < tops[worker] or share_hash[::-1] < bests[worker][::-1]):
                tops[worker], bests[worker] = top, share_hash

    def has_more_than(self, workers: int) -> bool:
        """Whether more workers than this have a share."""
        return len(self._counts) - self._counts.count(0) + len(self._others) > workers

    def by_worker(self, after: int = 0, most: int | None = None) -> list[tuple[int, WorkSum]]:
        """The sums so far by rising ids: of all workers, or of the first `most` whose ids are above `after`."""
        found: list[tuple[int, WorkSum]] = []
        others = sorted(worker for worker in self._others if worker > after)
        for worker in chain(range(after + 1, len(self._counts)), others):
            if len(found) == most:
                break
            if (work := self.of(worker)).accepted:
                found.append((worker, work))
        return found

    def of(self, worker: int) -> WorkSum:
        """The sums of one worker."""
        if worker >= len(self._counts):
            return self._others.get(worker, NO_WORK)
        if not (count := self._counts[worker]):
            return NO_WORK
        weight = (self._wholes[worker] << FRACTION_BITS) + self._odd.get(worker, 0)
        return WorkSum(count, weight, _difficulty_met(self._bests[worker]))

    def total(self) -> WorkSum:
        """All workers together."""
        count = sum(self._counts)
        weight = (sum(self._wholes) << FRACTION_BITS) + sum(self._odd.values())
        best = min((best[::-1] for best in self._bests), default=_WORST)[::-1]
        return total_of([WorkSum(count, weight, _difficulty_met(best) if count else 0.0), *self._others.values()])

    def _grow(self, worker: int) -> bool:
        """Make a place for this worker; whether there can be one."""
        if worker >= ARRAY_MAX:
            return False
        more = min(max(GROW, worker + 1 - len(self._counts)), ARRAY_MAX - len(self._counts))
        self._counts += [0] * more
        self._wholes.frombytes(bytes(8 * more))
        self._tops.frombytes(b"\xff" * (8 * more))
        self._bests += [_WORST] * more
        return True

    def _add_others(self, shares: Iterable[ShareWork]) -> None:
        """Count shares of which some are of workers without a place in the arrays."""
        placed = []
        for worker, difficulty, share_hash in shares:
            if worker < ARRAY_MAX:
                placed.append((worker, difficulty, share_hash))
            else:
                work = WorkSum(1, _weight(difficulty), _difficulty_met(share_hash))
                self._others[worker] = self._others.get(worker, NO_WORK).plus(work)
        self.add(placed)

    def _wholes_of(self, workers: Sequence[int], difficulties: Sequence[float]) -> Sequence[int]:
        """Those difficulties that are whole numbers, and 0 for the others, whose weights are counted here."""
        with suppress(KeyError):
            return list(map(self._whole_of.__getitem__, difficulties))
        return [self._whole_of.get(difficulty) or self._whole(worker, difficulty)
                for worker, difficulty in zip(workers, difficulties, strict=True)]

    def _whole(self, worker: int, difficulty: float) -> int:
        """The difficulty, if it is a whole number; else 0, and what it weighs is counted here."""
        weight = _weight(difficulty)
        whole, fraction = halves(weight)
        if fraction or not 0 < whole < _WHOLE_MAX:
            self._odd[worker] += weight
            return 0
        if len(self._whole_of) >= WHOLES_MAX:
            self._whole_of.clear()
        self._whole_of[difficulty] = whole
        return whole


def _tops_of(hashes: Iterable[bytes]) -> array[int]:
    """The 64 highest bits of each of these hashes in header order."""
    tops = array("Q", b"".join(hashes))[3::4]
    if sys.byteorder == "big":
        tops.byteswap()
    return tops


def _weight(difficulty: float) -> int:
    """What a share weighs; 0 for a difficulty that no channel has, since what is committed may not fail here."""
    try:
        return weight_of(difficulty)
    except ValueError:
        return 0


def _difficulty_met(share_hash: bytes) -> float:
    """The difficulty whose target is this hash."""
    return DIFF1 / max(1, int.from_bytes(share_hash, "little"))
