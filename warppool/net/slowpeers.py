"""Peers that do not read: how many bytes wait for them, and which of them are dropped.

A burst alone, however large, is no reason. A peer goes that has taken nothing for STALLED_S, and when too many bytes
wait for all peers together, those go first that hold the most.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator

from warppool.net.deadlines import Deadlines
from warppool.net.peers import Peer
from warppool.net.repeats import Repeats
from warppool.say import say

log = logging.getLogger("warppool.net.reactor")

STALLED_S = 20.0
"""How long a peer may take nothing of what waits for it: work that is so late is worth nothing."""

UNSENT_BUDGET = 256 * 1024 * 1024
"""Bytes that may wait for all peers together; when they are more, some connections are dropped."""


class SlowPeers:
    """Those for whom bytes wait; used by the reactor's thread alone. Times are monotonic seconds."""

    def __init__(self, budget: int = UNSENT_BUDGET, drops: Counter[str] | None = None) -> None:
        self.unsent = 0                         # bytes that wait, of all
        self.peers: dict[int, Peer] = {}
        self.due = math.inf
        """When `look` is wanted; `inf` for never."""
        self._budget = budget
        self._stalls = Deadlines()              # when to look whether they have taken any
        self._drops: Counter[str] = Counter() if drops is None else drops      # by reason
        self._dropped = Repeats(log, "miner.slow")

    @property
    def is_over_budget(self) -> bool:
        """Too many bytes wait for all together."""
        return self.unsent > self._budget

    def add(self, peer: Peer, rest: bytes, now: float) -> None:
        """`rest` waits for a peer for whom nothing did."""
        peer.unsent = bytearray(rest)
        self.unsent += len(rest)
        self.peers[peer.conn_id] = peer
        peer.moved_at = now
        if not peer.is_timed:
            peer.is_timed = True
            self._stalls.enter(now + STALLED_S, peer.conn_id)
            self._note_due()

    def settle(self, peer: Peer, count: int) -> None:
        """So many of the bytes that waited for a peer do not wait any more."""
        self.unsent -= count
        unsent = peer.unsent
        if unsent is not None and len(unsent) == count:
            peer.unsent = None
            del self.peers[peer.conn_id]

    def look(self, live: dict[int, Peer], now: float) -> list[tuple[Peer, str]]:
        """Those of the `live` that have taken nothing for STALLED_S, each with words for the log.

        Says what was only counted so far.
        """
        stalled = []
        for _, conn_id in self._stalls.take(now):
            peer = live.get(conn_id)
            if peer is None:
                continue
            if peer.unsent is None:
                peer.is_timed = False
            elif now - peer.moved_at >= STALLED_S:
                stalled.append((peer, f"took nothing for {STALLED_S:.0f} s"))
            else:
                self._stalls.enter(peer.moved_at + STALLED_S, conn_id)
        self._dropped.flush(now)
        self._note_due()
        return stalled

    def excess(self) -> Iterator[tuple[Peer, str]]:
        """Whom to drop until the rest is within the budget: first those most over their room, then the longest still.

        The caller drops each, which takes it off `peers`, before it takes the next.
        """
        while self.peers and self.is_over_budget:
            yield max(self.peers.values(), key=_burden), "too many bytes wait for all peers together"

    def say_dropped(self, peer: Peer, reason: str, now: float) -> None:
        """The line of one that is dropped; of many machines there is one line."""
        unsent = len(peer.unsent or b"")
        if peer.is_dialled:
            say(log, logging.WARNING, "upstream.slow", conn=peer.conn_id, peer=peer.ip, unsent=unsent, reason=reason)
        else:
            self._drops["slow"] += 1
            self._dropped.add(now, conn=peer.conn_id, peer=peer.ip, unsent=unsent, reason=reason)
            self._note_due()

    def _note_due(self) -> None:
        self.due = min(self._stalls.first, self._dropped.due)


def _burden(peer: Peer) -> tuple[int, float]:
    """Who is dropped first: the larger, the sooner."""
    return max(0, len(peer.unsent or b"") - peer.room), -peer.moved_at
