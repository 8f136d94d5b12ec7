"""What a worker counts: its statistics, and the refused shares for the books."""

from __future__ import annotations

import math
from collections import Counter

from warppool.bitcoin.target import MAX_TARGET, difficulty_from_target
from warppool.events import Now, ShareAccepted, ShareRefused
from warppool.net.reports import WorkerReport

HAND_OVER_S = 1.0
"""Refusals go to the books together, at most so often."""

ADD_UP_AT = 256
"""So many accepted shares at most wait to be counted."""

HAND_OVER_KEYS = 1000
"""... or as soon as there are so many different ones, since whoever makes names up shall not fill the memory."""


class Counts:
    """Owned by one worker; refusals are gathered by user, reason and minute until they are taken."""

    def __init__(self) -> None:
        self.refusals_due = math.inf
        """Monotonic seconds at which `take_refusals` is wanted; `inf` when there are none."""
        self.news: list[ShareAccepted] = []
        """Accepted shares that are yet to be counted. The worker adds its shares itself: each waits for that, while it
        is counted together with many others, or once somebody wants to know."""
        self.accepted_of: Counter[int] = Counter()
        """Accepted shares by connection, of those that were added up; and refused ones. Who goes is taken out."""
        self.refused_of: Counter[int] = Counter()
        self._accepted = 0
        self._difficulty = 0.0
        self._blocks = 0
        self._lowest_hash = MAX_TARGET + 1
        self._refused: Counter[str] = Counter()
        self._refusals: Counter[tuple[str, str, int]] = Counter()

    def add_up(self) -> None:
        """Count the accepted shares in `news`, which are in it no longer."""
        shares, self.news = self.news, []
        self.accepted_of.update([share.conn_id for share in shares])
        lowest = self._lowest_hash
        for share in shares:
            self._accepted += 1
            self._difficulty += share.difficulty
            value = int.from_bytes(share.share_hash, "little")
            if value < lowest:
                lowest = value
        self._lowest_hash = lowest

    def find_block(self) -> None:
        """A block was found; its share, if it counts, is accepted besides."""
        self._blocks += 1

    def refuse(self, share: ShareRefused, now: Now) -> None:
        """This one does not count."""
        self._refused[share.reason] += 1
        self.refused_of[share.conn_id] += 1
        self._refusals[share.user, share.reason, int(now.unix) // 60 * 60] += 1
        if len(self._refusals) >= HAND_OVER_KEYS:
            self.refusals_due = now.monotonic
        elif self.refusals_due == math.inf:
            self.refusals_due = now.monotonic + HAND_OVER_S

    def take_refusals(self) -> tuple[tuple[str, str, int, int], ...]:
        """What was refused since the last time: (user, reason, Unix time of the minute, count)."""
        taken = tuple((*key, count) for key, count in self._refusals.items())
        self._refusals.clear()
        self.refusals_due = math.inf
        return taken

    def report(self, vitals: tuple[str, float, int], worker: int, *, connections: int, upstreams: int = 0,
               machines: int = 0, sessions: object = None) -> WorkerReport:
        """All of it since the start; `vitals` are those of the worker's loop."""
        self.add_up()
        best = 0.0
        if self._lowest_hash <= MAX_TARGET:
            best = float(difficulty_from_target(max(1, self._lowest_hash)))
        return WorkerReport(
            *vitals, worker=worker, connections=connections, accepted=self._accepted, difficulty=self._difficulty,
            refused=tuple(sorted(self._refused.items())), blocks=self._blocks, best_difficulty=best,
            upstreams=upstreams, machines=machines, sessions=sessions)
