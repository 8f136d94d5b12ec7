"""Own blocks on the chain of one node: the answers to `AskChain`, by JSON-RPC, a few calls at a time.

Thread `submit-N` owns it, and takes the next step only while no block waits to be handed in.
"""

from __future__ import annotations

from collections.abc import Iterator

from warppool.bitcoin.hashes import from_display, to_display
from warppool.bitcoin.transaction import parse_transaction
from warppool.errors import NodeError
from warppool.mining.mark import bears_start_id
from warppool.node.chainitems import TIP_MOVED, AskChain, ChainAnswer, SeenBlock
from warppool.node.chainview import CallNode, ChainView
from warppool.node.onchain import BlockReader
from warppool.payout.settlement import Standing


class ChainAsker:
    """Asks node number `node` by `call`, and by `view` of the same node."""

    def __init__(self, node: int, call: CallNode, view: ChainView) -> None:
        self._node = node
        self._call = call
        self._view = view
        self._reader = BlockReader()
        self._walked: dict[str, tuple[str, SeenBlock | None]] = {}      # by display hash, until an answer is whole
        self._asked: AskChain | None = None
        self._steps: Iterator[None] = iter(())

    @property
    def is_busy(self) -> bool:
        """Whether a question waits for its answer."""
        return self._asked is not None

    def ask(self, question: AskChain) -> None:
        """Answer this question from now on, and none before."""
        self._asked = question
        self._steps = self._answer(question)

    def step(self) -> None:
        """Ask the node a little; the answer goes out when it is whole, or when the node has trouble."""
        question = self._asked
        if question is None:
            return
        try:
            next(self._steps)
        except StopIteration:
            self._asked = None
        except NodeError as exc:
            self._asked = None
            question.reply_to.put(ChainAnswer(self._node, question.tip, trouble=str(exc)))

    def _answer(self, question: AskChain) -> Iterator[None]:
        tip, height = self._view.best()
        if tip != question.tip:
            raise NodeError(TIP_MOVED)
        yield
        standings: list[Standing] = []
        for block_hash, at in question.blocks:
            standings.append(Standing(block_hash, self._view.confirmations_of(block_hash, at, height)))
            yield
        looked: list[bytes] = []
        ours: list[SeenBlock] = []
        display = to_display(tip)
        while display and len(looked) < question.depth and (block_hash := from_display(display)) not in question.looked:
            if display not in self._walked:             # by a question whose tip moved before a long look was over
                self._walked[display] = self._look_at(display, question)
                yield
            parent, seen = self._walked[display]
            ours += [] if seen is None else [seen]
            looked.append(block_hash)
            display = parent
        if self._view.best()[0] != tip:
            raise NodeError(TIP_MOVED)
        self._walked.clear()
        question.reply_to.put(ChainAnswer(self._node, tip, height, tuple(standings), tuple(reversed(looked)),
                                          tuple(reversed(ours))))

    def _look_at(self, display: str, question: AskChain) -> tuple[str, SeenBlock | None]:
        """The parent of the block with this display hash, and the block itself if it is ours."""
        block = self._reader.block(self._call, display)
        if not block.parent:                                            # the first block of a chain is nobody's
            return "", None
        coinbase = self._reader.coinbase(self._call, block, display)
        if not bears_start_id(coinbase, question.start_ids):
            return block.parent, None
        grandparent = self._reader.block(self._call, block.parent).parent
        return block.parent, SeenBlock(
            from_display(display), from_display(block.parent), from_display(grandparent) if grandparent else bytes(32),
            block.height, block.time, block.nbits, _exactly_one(coinbase))


def _exactly_one(raw: bytes) -> bytes:
    """The first transaction of `raw`; NodeError if there is none."""
    try:
        return raw[:parse_transaction(raw).end]
    except ValueError as exc:
        raise NodeError(f"a coinbase that is no transaction ({exc})") from exc
