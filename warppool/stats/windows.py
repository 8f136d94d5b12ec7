"""Work by windows of time: how much was credited within the last minute, hour, week.

Each window has RING cells, of which one is open. What is older than the window goes with its whole cell. So a window is
never shorter than it says, and at most one cell longer, and its rate is divided by what it really spans.
"""

from __future__ import annotations

from array import array
from typing import Final

from warppool.stats.snapshot import WINDOWS, Rates

CELLS: Final = 12
"""Cells that a window holds beside the open one."""

RING: Final = CELLS + 1

CELL_S: Final = tuple(seconds / CELLS for _, seconds in WINDOWS)
"""Seconds of a cell, by window."""

HASHES_PER_DIFFICULTY: Final = 2**48 / 0xFFFF
"""Expected hashes for a share of difficulty 1 (bdiff)."""

_COUNT: Final = len(WINDOWS)
_NO_CELLS: Final = array("d", bytes(8 * RING * _COUNT))


class Moment:
    """A time by which windows are read; made anew each time. `now` and `began` are Unix seconds that never go back;
    nothing was counted before `began`. `at` is what the wall's clock says, by which machines and shares are timed.

    `indices` are the open cells, and the same object as in `before` where these are the same.
    """

    __slots__ = ("at", "factors", "indices", "now", "spans")

    def __init__(self, now: float, began: float, before: Moment | None = None, at: float | None = None) -> None:
        indices = tuple(int(now // cell) for cell in CELL_S)
        self.now = now
        self.at = now if at is None else at
        self.indices: tuple[int, ...] = before.indices if before is not None and before.indices == indices else indices
        self.spans = tuple(max(1.0, min(now - began, now - (index - CELLS) * cell))
                           for index, cell in zip(indices, CELL_S, strict=True))
        self.factors = tuple(HASHES_PER_DIFFICULTY / span for span in self.spans)


class WorkWindows:
    """The work of one account in all windows."""

    __slots__ = ("_cells", "_indices", "sums")

    def __init__(self, moment: Moment) -> None:
        self._cells = _NO_CELLS[:]
        self._indices = moment.indices
        self.sums = [0.0] * _COUNT
        """Credited difficulty by window."""

    def turn_to(self, moment: Moment) -> bool:
        """Let go of what is older than the windows; whether that was asked for these cells for the first time."""
        indices, before = moment.indices, self._indices
        if indices is before:
            return False
        cells = self._cells
        for window in range(_COUNT):
            new, old = indices[window], before[window]
            if new != old:
                base = window * RING
                for index in range(max(old, new - RING) + 1, new + 1):
                    cells[base + index % RING] = 0.0
                if self.sums[window]:
                    self.sums[window] = sum(cells[base:base + RING])
        self._indices = indices
        return True

    def add(self, difficulty: float) -> None:
        """Work that was credited now; `turn_to` comes first."""
        cells, sums, indices = self._cells, self.sums, self._indices
        for window in range(_COUNT):
            cells[window * RING + indices[window] % RING] += difficulty
            sums[window] += difficulty

    def fill(self, places: list[tuple[int, int, float]], difficulty: float) -> None:
        """Work of the past: into each of `places` (window, cell, part of it)."""
        for window, cell, part in places:
            self._cells[window * RING + cell] += difficulty * part
            self.sums[window] += difficulty * part

    def rates(self, moment: Moment) -> Rates:
        """Hashes a second."""
        a, b, c, d, e, f, g = self.sums
        r, s, t, u, v, w, x = moment.factors
        return Rates(a * r, b * s, c * t, d * u, e * v, f * w, g * x)


def places_of(start: float, end: float, moment: Moment) -> list[tuple[int, int, float]]:
    """Where work belongs of which is known only that it was credited between `start` and `end`: spread evenly."""
    places = []
    length = max(end - start, 1e-9)
    for window, (index, cell_s) in enumerate(zip(moment.indices, CELL_S, strict=True)):
        for number in range(index - CELLS, index + 1):
            overlap = min(end, (number + 1) * cell_s) - max(start, number * cell_s)
            if overlap > 0:
                places.append((window, number % RING, overlap / length))
    return places
