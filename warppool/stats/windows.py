"""Work by windows of time: how much was credited within the last minute, hour, week.

Each window has CELLS closed cells and an open one. What is older than the window goes with its whole cell. So a window
is never shorter than it says, and at most one cell longer, and its rate is divided by what it really spans.

A cell is made of whole cells of the next shorter window. So work is added to the open cell of the shortest one alone;
what a cell holds goes to the next window when the cell closes.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from operator import add, mul
from typing import Final, NamedTuple

from warppool.stats.snapshot import WINDOWS, Rates

CELLS: Final = 12
"""Cells that a window holds beside the open one."""

CELL_S: Final = tuple(float(seconds // CELLS) for _, seconds in WINDOWS)
"""Seconds of a cell, by window; each is a multiple of the one before."""

HASHES_PER_DIFFICULTY: Final = 2**48 / 0xFFFF
"""Expected hashes for a share of difficulty 1 (bdiff)."""

_COUNT: Final = len(WINDOWS)
_ZEROS: Final = tuple(array("d", bytes(8 * cells)) for cells in range(CELLS + 1))
_NO_CELLS: Final = array("d", bytes(8 * CELLS * _COUNT))


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

    __slots__ = ("_cells", "_closed", "_indices", "_open")

    def __init__(self, moment: Moment) -> None:
        self._indices = moment.indices
        self._cells = _NO_CELLS[:]              # the closed ones, a ring of each window
        self._closed = [0.0] * _COUNT           # their sums
        self._open = [0.0] * _COUNT             # of the open cells, what is not in the open one of the window before

    @property
    def sums(self) -> list[float]:
        """Credited difficulty by window."""
        return [*map(add, self._closed, accumulate(self._open))]

    @property
    def longest(self) -> float:
        """The same of the longest window."""
        return self._closed[-1] + sum(self._open)

    def turn_to(self, moment: Moment) -> None:
        """Close cells that are over, and let go of what is older than the windows."""
        indices, before = moment.indices, self._indices
        if indices is before:
            return
        opened, closed, cells = self._open, self._closed, self._cells
        work = 0.0                              # what the cell held that closes
        for window, (new, old) in enumerate(zip(indices, before, strict=True)):
            work += opened[window]
            if new == old:
                opened[window] = work
                break
            opened[window] = 0.0
            if work or closed[window]:
                base = window * CELLS
                if new - old == 1:
                    cells[base + old % CELLS] = work
                else:
                    _close(cells, base, old, new, work)
                closed[window] = sum(cells[base:base + CELLS])
        self._indices = indices

    def add(self, difficulty: float) -> None:
        """Work that was credited now; `turn_to` comes first."""
        self._open[0] += difficulty

    def fill(self, spread: Spread, difficulty: float) -> None:
        """Work of the past."""
        cells = self._cells
        for place, part in spread.cells:
            cells[place] += difficulty * part
        for window, (closed, opened) in enumerate(zip(spread.closed, spread.opened, strict=True)):
            self._closed[window] += difficulty * closed
            self._open[window] += difficulty * opened

    def rates(self, moment: Moment) -> Rates:
        """Hashes a second."""
        return tuple.__new__(Rates, map(mul, map(add, self._closed, accumulate(self._open)), moment.factors))


def _close(cells: array[float], base: int, old: int, new: int, work: float) -> None:
    """In the ring at `base`: cell `old` held `work`, those between it and `new` nothing, and `new` is open."""
    first, count = old % CELLS, new - old
    if count > CELLS:
        cells[base:base + CELLS] = _ZEROS[CELLS]
        return
    if count > 1:
        end = first + count
        cells[base + first:base + min(end, CELLS)] = _ZEROS[min(end, CELLS) - first]
        if end > CELLS:                         # around the end of the ring
            cells[base:base + end - CELLS] = _ZEROS[end - CELLS]
    cells[base + first] = work


class Spread(NamedTuple):
    """Where work of the past belongs, in parts of it: closed cells by their place in the rings, the closed ones of each
    window together, and what each window's open cell has that is not in the open one of the window before.
    """

    cells: tuple[tuple[int, float], ...]
    closed: tuple[float, ...]
    opened: tuple[float, ...]


def spread_of(start: float, end: float, moment: Moment) -> Spread:
    """Where work belongs of which is known only that it was credited between `start` and `end`: spread evenly."""
    cells, closed, opened = [], [], []
    length = max(end - start, 1e-9)
    below = 0.0
    for window, (index, cell_s) in enumerate(zip(moment.indices, CELL_S, strict=True)):
        parts = [max(0.0, min(end, (number + 1) * cell_s) - max(start, number * cell_s)) / length
                 for number in range(index - CELLS, index + 1)]
        opened.append(max(0.0, parts[-1] - below))
        below = parts.pop()
        closed.append(sum(parts))
        cells += [(window * CELLS + number % CELLS, part)
                  for number, part in zip(range(index - CELLS, index), parts, strict=True) if part]
    return Spread(tuple(cells), tuple(closed), tuple(opened))
