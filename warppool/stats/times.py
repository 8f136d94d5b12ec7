"""How long things took, counted by bounds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from warppool.stats.snapshot import BOUNDS, Histogram


class Durations:
    """Owned by one thread; values are in seconds, and one below zero counts as zero."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._total = 0.0

    def add(self, seconds: Iterable[float]) -> None:
        """Count these."""
        for value in seconds:
            self._counts[bisect_left(BOUNDS, value)] += 1
            self._total += max(0.0, value)

    def histogram(self) -> Histogram:
        """As they are now."""
        return Histogram(BOUNDS, tuple(self._counts), self._total)
