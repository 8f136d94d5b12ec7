"""Own blocks as people see them, and the round that goes on since the last of them."""

from __future__ import annotations

from typing import Final

from warppool.bitcoin.hashes import to_display
from warppool.stats.snapshot import BlockStats

SHOWN: Final = 100
"""The newest blocks, so many, are shown."""

MATURE: Final = 100
"""Blocks on top of one whose coinbase can be spent: consensus."""

_FOUND: Final = "found"
_ACCEPTED: Final = "accepted"


class OwnBlocks:
    """Owned by one thread. `count` is of all time."""

    def __init__(self) -> None:
        self.count = 0
        self._blocks: dict[bytes, BlockStats] = {}      # the oldest first

    def __contains__(self, block_hash: bytes) -> bool:
        return block_hash in self._blocks

    def add(self, block_hash: bytes, height: int, worker: str, time: float, difficulty: float, *,
            state: str = "", effort: float | None = None) -> bool:
        """A block, whose hash is in header order; whether it is news."""
        if block_hash in self._blocks:
            return False
        self.count += 1
        self._blocks[block_hash] = BlockStats(to_display(block_hash), height, worker, time, difficulty,
                                              state or _FOUND, effort=effort)
        while len(self._blocks) > SHOWN:
            del self._blocks[next(iter(self._blocks))]
        return True

    def decide(self, block_hash: bytes, outcome: str) -> None:
        """What became of it, in the words of the books; of an unknown one nothing is kept."""
        if block_hash in self._blocks:
            self._blocks[block_hash] = self._blocks[block_hash]._replace(state=outcome)

    def shown(self, height: int) -> tuple[BlockStats, ...]:
        """The newest first, while the block at `height` is mined."""
        return tuple(seen_at(block, height) for block in reversed(self._blocks.values()))


def seen_at(block: BlockStats, height: int) -> BlockStats:
    """A block while the one at `height` is mined: an accepted block is settled once its coinbase is mature."""
    if block.state != _ACCEPTED:
        return block
    confirmations = max(0, height - block.height)
    return block._replace(confirmations=confirmations, state="settled" if confirmations > MATURE else _ACCEPTED)
