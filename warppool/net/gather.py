"""What the reactor has for the workers, and how long it gathers before it looks again.

Each time a thread wakes up it pays for caches that others have filled meanwhile, several times what a share costs. So
under load the reactor, once it has handed something on, looks at no socket until GATHER_S later; by then several shares
are there, which it reads in one look and hands on together. What waits in its mailbox ends that early: the reactor is
awake then, and the worker has just done its part. On a quiet pool there is no such rest: the reactor takes one only
where it has handed on twice within BUSY_S.
"""

from __future__ import annotations

import math
import queue
from collections.abc import Sequence
from typing import Any

from warppool.net.inbox import FromReactor, Part

GATHER_S = 0.002
"""The least time from one thing that is handed on to the next look, on a busy pool. A system call that waits rounds
this up to the next millisecond, so a share waits 3 ms at most."""

BUSY_S = 0.01
"""A pool is busy that has handed on twice within this."""


class Bags:
    """One bag for each worker behind `inboxes`, in their order; used by the reactor's thread alone."""

    def __init__(self, inboxes: Sequence[queue.Queue[Any]]) -> None:
        self.rest_until = -math.inf             # monotonic seconds: no look at sockets before
        self._bags: list[tuple[queue.Queue[Any], list[Part]]] = [(inbox, []) for inbox in inboxes]
        self._handed_at = -math.inf

    def __len__(self) -> int:
        return len(self._bags)

    def __getitem__(self, worker: int) -> list[Part]:
        """What worker number `worker` gets next; parts are appended to it."""
        return self._bags[worker][1]

    def hand_on(self, now: float) -> None:
        """Give the workers what is there."""
        has_some = False
        for inbox, bag in self._bags:
            if bag:
                inbox.put(FromReactor(tuple(bag)))
                bag.clear()
                has_some = True
        if has_some:
            if now < self._handed_at + BUSY_S:
                self.rest_until = now + GATHER_S
            self._handed_at = now
