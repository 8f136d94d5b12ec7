"""Own blocks, what is asked of a node about them, and what it answers; all frozen, since it crosses threads.

The questions go to the thread that hands this node its blocks, and wait there until no block waits.
"""

from __future__ import annotations

import queue
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from warppool.mining.payee import Terms
from warppool.payout.settlement import Standing

TIP_MOVED: Final = "its tip is another one by now"
"""The trouble of a node that has another best block than the one that it was asked about."""


@dataclass(frozen=True, slots=True)
class AskChain:
    """Where do `blocks` (hash, height) stand at `tip`, and which own blocks lie at or below it?

    The look along the chain goes from `tip` down to the first of `looked`, over `depth` blocks at most. A block is ours
    if its coinbase bears one of `start_ids`. Hashes are 32 bytes in header order. A later question to the same node
    takes the place of one that waits. The answer is one `ChainAnswer` to `reply_to`.
    """

    tip: bytes
    blocks: tuple[tuple[bytes, int], ...]
    looked: Collection[bytes]
    depth: int
    start_ids: Collection[bytes]
    reply_to: queue.Queue[Any]


@dataclass(frozen=True, slots=True)
class OwnBlock:
    """A block of ours is found, or the journal held it at a start (`is_replay`): what it pays is to be followed.

    It is said before any node is handed the block. `header` has 80 bytes, `coinbase_tx` is the whole transaction, with
    or without its witness. `terms` are None for a block of mode `pool`. `finder` is the account of the channel that
    found it, "" for none. `time` is in Unix seconds.
    """

    block_hash: bytes
    height: int
    header: bytes
    coinbase_tx: bytes
    terms: Terms | None
    finder: str
    time: float
    is_replay: bool = False


@dataclass(frozen=True, slots=True)
class JournalTold:
    """After a start: all that the block journal held was said by `OwnBlock`."""


class SeenBlock(NamedTuple):
    """A block of ours on a node's chain; `coinbase` is the whole transaction, with or without its witness."""

    block_hash: bytes
    parent: bytes
    grandparent: bytes          # zeros where the parent is the first block of the chain
    height: int
    time: int                   # Unix seconds, of its header
    nbits: int
    coinbase: bytes


@dataclass(frozen=True, slots=True)
class ChainAnswer:
    """What node number `node` says of its chain up to `tip`, at `height`.

    With `trouble` (a sentence) it says nothing else. The node had `tip` as its best block before the first and after
    the last of the answers. `looked` are the blocks that were looked at, ours among them, in ascending height.
    """

    node: int
    tip: bytes
    height: int = -1
    standings: tuple[Standing, ...] = ()
    looked: tuple[bytes, ...] = ()
    ours: tuple[SeenBlock, ...] = ()
    trouble: str = ""
