"""When which connection wants to be woken: a heap whose outdated entries are found out late, and cheaply."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

_FEW = 64


class Deadlines:
    """Entries of (monotonic seconds, conn_id). Whoever enters remembers which of its entries still stands.

    A connection that puts its deadline off leaves its entry alone and enters the new time when the old one comes, so a
    deadline that moves with every share costs nothing until then.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self.first = math.inf
        """The earliest entry; `inf` if there is none. Every wake-up of a thread asks for it."""

    def enter(self, due: float, conn_id: int) -> None:
        """Wake `conn_id` at `due`."""
        heapq.heappush(self._heap, (due, conn_id))
        self.first = self._heap[0][0]

    def pop(self, now: float) -> tuple[float, int] | None:
        """The earliest entry, which is an entry no longer; None if it has not come."""
        if not self._heap or self.first > now:
            return None
        entry = heapq.heappop(self._heap)
        self.first = self._heap[0][0] if self._heap else math.inf
        return entry

    def take(self, now: float) -> list[tuple[float, int]]:
        """The entries that have come, earliest first; they are entries no longer."""
        taken = []
        while (entry := self.pop(now)) is not None:
            taken.append(entry)
        return taken

    def has_waste(self, live: int) -> bool:
        """Whether most entries are of connections that are gone, as after a storm of reconnects; `live` are there."""
        return len(self._heap) > 2 * live + _FEW

    def renew(self, entries: Iterable[tuple[float, int]]) -> None:
        """Keep only `entries`."""
        self._heap = list(entries)
        heapq.heapify(self._heap)
        self.first = self._heap[0][0] if self._heap else math.inf
