"""A block of a node's chain with its coinbase, by JSON-RPC."""

from __future__ import annotations

from typing import Any, NamedTuple

from warppool.bitcoin.coinbase import MAX_HEIGHT
from warppool.bitcoin.compactsize import decode_compact_size
from warppool.bitcoin.hashes import from_display
from warppool.bitcoin.header import HEADER_SIZE
from warppool.bitcoin.target import difficulty_from_target, target_from_nbits
from warppool.errors import NodeError
from warppool.node.chainview import CallNode
from warppool.node.jsonrpc import WARMING_UP, CallForbidden, RpcRefusal

_U32_MAX = 0xFFFF_FFFF


class OnChain(NamedTuple):
    """A block as `getblock` with verbosity 1 shows it."""

    block_hash: bytes           # 32 bytes, header order
    height: int
    time: int                   # Unix seconds, of its header
    nbits: int
    coinbase_txid: str
    parent: str                 # display hash; empty for the first block of the chain

    @property
    def difficulty(self) -> float:
        """The network's, at this block."""
        return float(difficulty_from_target(target_from_nbits(self.nbits)))


class BlockReader:
    """Reads blocks of one node; each method takes the way to call it. Owned by one thread."""

    def __init__(self) -> None:
        self._takes_whole_blocks = False            # the node gives no single transactions

    def block(self, call: CallNode, display: str) -> OnChain:
        """The block with this display hash; NodeError, also for numbers and hashes that no block can have."""
        answer = call("getblock", display, 1)
        try:
            block = OnChain(from_display(answer["hash"]), int(answer["height"]), int(answer["time"]),
                            int(answer["bits"], 16), str(answer["tx"][0]), str(answer.get("previousblockhash", "")))
            difficulty_from_target(target_from_nbits(block.nbits))
            if block.parent:
                from_display(block.parent)
            if not (0 <= block.height <= MAX_HEIGHT and 0 <= block.time <= _U32_MAX):
                raise ValueError(f"height {block.height}, time {block.time}")
        except (KeyError, IndexError, ValueError, OverflowError, TypeError, AttributeError) as exc:
            raise NodeError(f"getblock: its answer cannot be read ({exc!r})") from exc
        return block

    def coinbase(self, call: CallNode, block: OnChain, display: str) -> bytes:
        """The raw coinbase transaction, and perhaps more bytes behind it; NodeError.

        With the block named, a node needs no index of transactions for it. btcd takes no third parameter, and others
        may refuse the call to us: then the whole block has to do.
        """
        if not self._takes_whole_blocks:
            try:
                return _bytes_of(call("getrawtransaction", block.coinbase_txid, False, display))
            except NodeError as exc:
                if not is_refused(exc):
                    raise
                self._takes_whole_blocks = True
        raw = _bytes_of(call("getblock", display, 0))
        try:
            _, start = decode_compact_size(raw, HEADER_SIZE)
        except ValueError as exc:
            raise NodeError("getblock: its answer is no block") from exc
        return raw[start:]


def is_refused(exc: Exception) -> bool:
    """True if the node will not answer this call, now or later."""
    return isinstance(exc, CallForbidden) or (isinstance(exc, RpcRefusal) and exc.code != WARMING_UP)


def _bytes_of(answer: Any) -> bytes:
    try:
        return bytes.fromhex(answer)
    except (ValueError, TypeError) as exc:
        raise NodeError(f"an answer that is not hex ({exc!r})") from exc
