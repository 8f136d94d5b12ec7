"""Which snapshots are kept: until two hours after their last job, and as long as a block names them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from warppool.payout.snapshot import Snapshot

KEPT_S: Final = 7_200.0
"""After the last job by a snapshot: a machine that was away may still bring a block of that job."""


class SnapshotUse:
    """What the books hold of snapshots; owned by the thread `payout`. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.newest: Snapshot | None = None
        self._used_at: dict[bytes, float] = {}

    def load(self, newest: Snapshot | None, ids: Iterable[bytes], now: float) -> None:
        """What the books hold at a start. When the last job of each went out is not known: it may have been just now.
        """
        self.newest = newest
        self._used_at = dict.fromkeys(ids, now)

    def add(self, snapshot: Snapshot, now: float) -> None:
        """This one is in the books, and the newest."""
        self.newest = snapshot
        self._used_at[snapshot.id] = now

    def use(self, snapshot_id: bytes, now: float) -> None:
        """A job by this snapshot went out."""
        if snapshot_id:
            self._used_at[snapshot_id] = now

    def outdated(self, now: float) -> Collection[bytes]:
        """Forget the snapshots whose last job is too long ago, but for the newest one, and return their ids."""
        newest = self.newest.id if self.newest is not None else b""
        old = tuple(each for each, used_at in self._used_at.items() if now - used_at >= KEPT_S and each != newest)
        for each in old:
            del self._used_at[each]
        return old
