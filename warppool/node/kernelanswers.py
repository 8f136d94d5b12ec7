"""Own blocks on the embedded chain: the answer to `AskChain`, read from the kernel on the thread that owns it."""

from __future__ import annotations

from warppool.bitcoin.header import Header
from warppool.errors import NodeError
from warppool.mining.mark import bears_start_id
from warppool.node.chainitems import TIP_MOVED, AskChain, ChainAnswer, SeenBlock
from warppool.node.kernel import Kernel
from warppool.payout.settlement import Standing


def answer_of(kernel: Kernel, question: AskChain, node: int) -> ChainAnswer:
    """The whole answer at once: nothing moves the chain meanwhile."""
    if kernel.tip_hash() != question.tip:
        return ChainAnswer(node, question.tip, trouble=TIP_MOVED)
    try:
        return _answer(kernel, question, node)
    except NodeError as exc:
        return ChainAnswer(node, question.tip, trouble=str(exc))


def _answer(kernel: Kernel, question: AskChain, node: int) -> ChainAnswer:
    height, _ = kernel.header_of(question.tip)
    looked: list[bytes] = []
    ours: list[SeenBlock] = []
    block_hash = question.tip
    while len(looked) < question.depth and block_hash not in question.looked:
        at, raw = kernel.header_of(block_hash)
        header = Header.unpack(raw)
        looked.append(block_hash)
        if at == 0:                                             # the first block of a chain is nobody's
            break
        coinbase = kernel.coinbase_of(block_hash)
        if bears_start_id(coinbase, question.start_ids):
            _, parent = kernel.header_of(header.prev_hash)
            ours.append(SeenBlock(block_hash, header.prev_hash, Header.unpack(parent).prev_hash, at, header.ntime,
                                  header.nbits, coinbase))
        block_hash = header.prev_hash
    return ChainAnswer(node, question.tip, height, tuple(_standing(kernel, block, at, height)
                                                         for block, at in question.blocks),
                       tuple(reversed(looked)), tuple(reversed(ours)))


def _standing(kernel: Kernel, block_hash: bytes, at: int, height: int) -> Standing:
    if kernel.is_active(block_hash):
        return Standing(block_hash, height - at + 1)
    return Standing(block_hash, 0 if at <= height or kernel.knows(block_hash) else None)
