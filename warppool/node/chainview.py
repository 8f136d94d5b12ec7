"""What a node's chain shows of a block, by whichever of the node's calls we may use.

A node may refuse single calls to us (rpcwhitelist, a proxy) or lack them. So each question has more than one way, and
`missing` names what would be needed where none is left. A refused call is tried again after a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from warppool.bitcoin.coinbase import MAX_HEIGHT
from warppool.bitcoin.hashes import from_display, to_display
from warppool.errors import NodeError
from warppool.node.items import SubmitBlock
from warppool.node.jsonrpc import METHOD_NOT_FOUND, CallForbidden, RpcRefusal
from warppool.node.nodeblocks import BURIED_UNDER, BlockStatus

TRY_AGAIN_S = 60.0          # after a call was refused to us

_NOT_FOUND = -5             # it does not know the hash
_OFF_THE_CHAIN = "not in the main chain"    # btcd gives no header of a block beside its chain
_NO_HEIGHT = -8             # its chain is not that long


class CallNode(Protocol):
    """One call to the node; NodeError."""

    def __call__(self, method: str, *params: object) -> Any: ...


class ChainView:
    """Looks blocks up at one node by `ask`; `monotonic` is the clock. Owned by one thread."""

    def __init__(self, ask: CallNode, monotonic: Callable[[], float]) -> None:
        self.height: int | None = None              # of the node's best tip, as of the last look; None: not told
        self.missing: tuple[str, ...] = ()          # calls without which the last look stayed without its answer
        self._ask = ask
        self._monotonic = monotonic
        self._refused: dict[str, float] = {}        # by method: when it may be tried again

    def status_of(self, block: SubmitBlock) -> BlockStatus:
        """Where the block stands; NodeError if the node has trouble."""
        confirmations, is_known = self._confirmations(block.block_hash)
        self.height = self._best_height()
        if is_known is False:
            return BlockStatus(False, False, None)
        active = self._hash_at(block.height)
        if active is not None:
            is_active: bool | None = active == to_display(block.block_hash)
            if is_known is None and is_active:
                is_known = True
            elif is_known is None and not active:
                return BlockStatus(False, False, None)             # the chain is shorter than that
        else:
            is_active = None if confirmations is None else confirmations > 0
        above = self._above(block, is_active, confirmations)
        self.missing = self._lacking(is_known, is_active, above)
        return BlockStatus(is_known, is_active, above)

    def best(self) -> tuple[bytes, int]:
        """(hash, height) of the best tip; NodeError."""
        answer = self._call("getblockchaininfo")
        try:
            tip, height = from_display(answer["bestblockhash"]), int(answer["blocks"])
            if not 0 <= height <= MAX_HEIGHT:
                raise ValueError(f"blocks {height}")
            return tip, height
        except (KeyError, ValueError, OverflowError, TypeError) as exc:
            raise NodeError(f"getblockchaininfo: no tip in its answer ({exc!r})") from exc

    def confirmations_of(self, block_hash: bytes, height: int, tip_height: int) -> int | None:
        """How many blocks of the best chain, whose tip has `tip_height`, stand from the block on; 0 for a block beside
        that chain, None for one above it that the node does not know. NodeError, also where the node does not show it.
        """
        if height <= tip_height:
            active = self._hash_at(height)
            if active is None:
                raise NodeError("the node does not let us call getblockhash")
            return tip_height - height + 1 if active == to_display(block_hash) else 0
        _, is_known = self._confirmations(block_hash)
        return 0 if is_known else None

    def has(self, block_hash: bytes, height: int) -> bool | None:
        """Whether the node knows a block that would have `height`; None if it does not let us see that. NodeError."""
        _, is_known = self._confirmations(block_hash)
        if is_known is None and (active := self._hash_at(height)) is not None:
            is_known = True if active == to_display(block_hash) else False if not active else None
        if not is_known:
            self.height = self._best_height()               # which tells how far the node is behind
        self.missing = self._lacking(is_known, True, 0)
        return is_known

    def _confirmations(self, block_hash: bytes) -> tuple[int | None, bool | None]:
        """(confirmations, is_known); (None, None) if no call shows them."""
        for method, verbose in (("getblockheader", True), ("getblock", 1)):
            try:
                found = self._call(method, to_display(block_hash), verbose)
            except _Unavailable:
                continue
            except RpcRefusal as exc:
                if _OFF_THE_CHAIN in str(exc):
                    return -1, True
                if exc.code != _NOT_FOUND and "not found" not in str(exc):      # bcoin has one number for everything
                    raise
                return None, False
            confirmations = found.get("confirmations") if isinstance(found, dict) else None
            if not isinstance(confirmations, int):
                raise NodeError(f"{method}: no confirmations in its answer")
            return confirmations, True
        return None, None

    def _hash_at(self, height: int) -> str | None:
        """The display hash at `height` of the best chain, empty above its tip; None if the call is refused to us.

        Confirmations alone do not tell what is on the best chain: bcoin counts them for blocks beside it, too.
        """
        try:
            return str(self._call("getblockhash", height))
        except _Unavailable:
            return None
        except RpcRefusal as exc:
            if exc.code == _NO_HEIGHT or "range" in str(exc) or "not found" in str(exc):
                return ""
            raise

    def _best_height(self) -> int | None:
        for method in ("getblockcount", "getblockchaininfo"):
            try:
                answer = self._call(method)
            except _Unavailable:
                continue
            height = answer.get("blocks") if isinstance(answer, dict) else answer
            if isinstance(height, int):                     # anything else is as good as no answer
                return height
        return None

    def _above(self, block: SubmitBlock, is_active: bool | None, confirmations: int | None) -> int | None:
        """Blocks above the block's height: the smaller of two numbers, lest one false number ends our care."""
        numbers = []
        if self.height is not None:
            numbers.append(self.height - block.height)
        if is_active and confirmations is not None:
            numbers.append(confirmations - 1)
        if numbers:
            return min(numbers)
        if (there := self._hash_at(block.height + BURIED_UNDER)) is None:
            return None
        return BURIED_UNDER if there else 0

    def _lacking(self, is_known: bool | None, is_active: bool | None, above: int | None) -> tuple[str, ...]:
        lacking = []
        if is_known is None or is_active is None:
            lacking.append("getblockheader")
        if above is None:
            lacking.append("getblockcount")
        return tuple(lacking)

    def _call(self, method: str, *params: object) -> Any:
        """As `ask`; _Unavailable if this call is refused to us whatever its parameters."""
        now = self._monotonic()
        if now < self._refused.get(method, 0.0):
            raise _Unavailable(method)
        try:
            return self._ask(method, *params)
        except NodeError as exc:
            is_missing = isinstance(exc, RpcRefusal) and exc.code == METHOD_NOT_FOUND
            if not is_missing and not isinstance(exc, CallForbidden):
                raise
            self._refused[method] = now + TRY_AGAIN_S
            raise _Unavailable(method) from exc


class _Unavailable(NodeError):
    """The node does not serve this call to us."""
