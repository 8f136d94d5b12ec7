"""The ledger as what deals with blocks sees it."""

from __future__ import annotations

import queue
from typing import Any, Protocol

from warppool.events import ShareAccepted


class Books(Protocol):
    """Each call puts one item on the ledger's queue and returns at once; any thread may call."""

    def shares(self, shares: tuple[ShareAccepted, ...], reply_to: queue.Queue[Any] | None) -> None:
        """Accepted shares to record; `reply_to` hears `Recorded` or `NotRecorded`."""

    def block(self, block_hash: bytes, height: int, user: str, time: float, difficulty: float) -> None:
        """A found block; a replay may say it again."""

    def block_outcome(self, block_hash: bytes, outcome: str, detail: str, time: float) -> None:
        """What became of a block that `block` named; the last one said stands."""
