"""What the reactor has for the workers, and when it hands that on.

Each time a worker wakes up it pays for caches that others have filled meanwhile, several times what a share costs. So
under load the reactor gathers for GATHER_S what comes and hands it on together; what waits in its mailbox ends that
early, since the reactor is awake then and the worker has just done its part. On a quiet pool everything is handed on at
once: the reactor gathers only where it has handed on twice within BUSY_S.
"""

from __future__ import annotations

import math
import queue
from collections.abc import Sequence
from typing import Any

from warppool.net.inbox import FromReactor, Part

GATHER_S = 0.002
"""The least time between two things that are handed on, on a busy pool. The selector rounds what it waits for up to the
next millisecond, so a share waits 3 ms at most."""

BUSY_S = 0.01
"""A pool is busy that has handed on twice within this."""


class Bags:
    """One bag for each worker behind `inboxes`, in their order; used by the reactor's thread alone."""

    def __init__(self, inboxes: Sequence[queue.Queue[Any]]) -> None:
        self.due = math.inf                     # monotonic seconds: when what is gathered must be handed on
        self._bags: list[tuple[queue.Queue[Any], list[Part]]] = [(inbox, []) for inbox in inboxes]
        self._handed_at = self._handed_before = -math.inf

    def __len__(self) -> int:
        return len(self._bags)

    def __getitem__(self, worker: int) -> list[Part]:
        """What worker number `worker` gets next; parts are appended to it."""
        return self._bags[worker][1]

    def hand_on(self, now: float, *, at_once: bool) -> None:
        """Give the workers what is there, or let it wait until `due`."""
        full = [(inbox, bag) for inbox, bag in self._bags if bag]
        if not full:
            return
        due = min(self._handed_at + GATHER_S, self._handed_before + BUSY_S)
        if now < due and not at_once:
            self.due = due
            return
        self._handed_before, self._handed_at, self.due = self._handed_at, now, math.inf
        for inbox, bag in full:
            inbox.put(FromReactor(tuple(bag)))
            bag.clear()
