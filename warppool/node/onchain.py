"""A block of a node's chain with its coinbase, by JSON-RPC."""

from __future__ import annotations

from typing import Any, NamedTuple

from warppool.bitcoin.compactsize import decode_compact_size
from warppool.bitcoin.hashes import from_display
from warppool.bitcoin.header import HEADER_SIZE
from warppool.bitcoin.target import difficulty_from_target, target_from_nbits
from warppool.errors import NodeError
from warppool.node.chainview import CallNode
from warppool.node.jsonrpc import WARMING_UP, CallForbidden, RpcRefusal


class OnChain(NamedTuple):
    """A block as `getblock` with verbosity 1 shows it."""

    block_hash: bytes           # 32 bytes, header order
    height: int
    time: float                 # Unix, of its header
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
        """The block with this display hash; NodeError, also for an answer that is none."""
        answer = call("getblock", display, 1)
        try:
            nbits = int(answer["bits"], 16)
            target_from_nbits(nbits)
            return OnChain(from_display(answer["hash"]), int(answer["height"]), float(answer["time"]), nbits,
                           str(answer["tx"][0]), str(answer.get("previousblockhash", "")))
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as exc:
            raise NodeError(f"getblock: its answer cannot be read ({exc!r})") from exc

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
