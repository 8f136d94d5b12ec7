"""What crosses threads around a node, all frozen: templates to the job maker, blocks to the nodes, their fate back."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from enum import Enum

from warppool.events import BlockFound
from warppool.loop import Report
from warppool.mining.template import Template


@dataclass(frozen=True, slots=True)
class TemplateReady:
    """Node number `node` (from 0, in the order of the configuration) has something new to mine.

    `chainwork` is the work (expected hashes) of the chain up to the block that `template` builds on; None where the
    node does not tell. `curtime` (Unix seconds) is the node's time at its answer, and `answered_at` (monotonic seconds)
    is when the answer came; None for the embedded chain, whose clock is ours and whose work is always fresh.
    """

    node: int
    template: Template
    chainwork: int | None = None
    curtime: int | None = None
    answered_at: float | None = None
    is_reorg: bool = False      # the node left its last tip for a branch of no more work, and says so itself


@dataclass(frozen=True, slots=True)
class NodeAnswered:
    """Node number `node` answered with the template that it has given before: that one is fresh again."""

    node: int
    curtime: int                # Unix seconds, the node's time at its answer
    answered_at: float          # monotonic seconds


@dataclass(frozen=True, slots=True)
class NodeLost:
    """Node number `node` stopped giving templates; its next `TemplateReady` says that it is back."""

    node: int
    reason: str                 # a sentence for the log


@dataclass(frozen=True, slots=True)
class BestNode:
    """Node number `node` has the best tip of all that answer. From the job maker to the submitter, at each change.

    The submitter lets a block's journal entry go only when that node has the block buried. None: no node answers.
    """

    node: int | None


@dataclass(frozen=True, slots=True)
class SubmitBlock:
    """A whole block for one node; `block_hash` is 32 bytes in header order."""

    block_hash: bytes
    height: int
    raw_block: bytes
    is_replay: bool = False         # it comes out of the journal, at a start
    is_known: bool = False          # the node has told that it has the block, before that start

    @property
    def parent(self) -> bytes:
        """The hash of the block that it stands on, 32 bytes in header order."""
        return self.raw_block[_PARENT]


@dataclass(frozen=True, slots=True)
class DropBlock:
    """To one node's thread: the block has left the journal, so no more tries and no more look-ups."""

    block_hash: bytes


_PARENT = slice(4, 36)              # of a header


@dataclass(frozen=True, slots=True)
class TemplateWanted:
    """To the thread of a template source: somebody knows of a new tip, so ask the node at once."""


@dataclass(frozen=True, slots=True)
class NodeReport(Report):
    """What the thread of a template source says of itself and its node."""

    trouble: str                        # why the node gives no template now; empty while it does
    is_misplaced: bool                  # it is on another network than the pool
    templates: int                      # with something new to mine, since the start
    height: int                         # of the blocks that are mined on its last template; 0 before the first


class Verdict(Enum):
    """What a node says of a block, in the words of the log."""

    ACCEPTED = "accepted"       # on the node's best chain
    SIDE = "side"               # valid as far as the node has looked, not on its best chain
    REFUSED = "refused"         # broken in the node's eyes; it is not asked again
    BURIED = "buried"           # six blocks stand on it, or on the branch that beat it: its journal entry may go


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of `block_hash` (32 bytes, header order) at node number `node`."""

    block_hash: bytes
    node: int
    verdict: Verdict
    reason: str                 # the node's own word, as `high-hash`; empty for a plain acceptance


@dataclass(frozen=True, slots=True)
class HasBlock:
    """Node number `node` has answered that it took `block_hash`; what becomes of the block is told by `Outcome`."""

    block_hash: bytes
    node: int


@dataclass(frozen=True, slots=True)
class NodeHeard:
    """Node number `node` has answered a call about blocks; `height` is that of its best tip, None if it did not say."""

    node: int
    height: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """A block that a worker's session found; `reply_to` hears once its journal entry is on the disk."""

    block: BlockFound
    reply_to: queue.Queue[object] | None
