"""Headers of the chain, asked of the nodes: the difficulty of tips that were mined while we were away.

Thread `headers` is there for pplns on real nodes. It has connections of its own, so that no block that is handed in
waits behind two thousand questions.
"""

from __future__ import annotations

import logging
import math
import queue
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from warppool.addresses import NodeAddress
from warppool.bitcoin.hashes import from_display, to_display
from warppool.bitcoin.target import target_from_nbits
from warppool.errors import NodeError
from warppool.ledger.payoutitems import TipRow
from warppool.loop import Loop, patient
from warppool.node.jsonrpc import METHOD_NOT_FOUND, CallForbidden, Credentials, JsonRpc, RpcRefusal
from warppool.say import say

log = logging.getLogger("warppool")

CALL_TIMEOUT_S: Final = 30.0

NodesToAsk = Mapping[int, tuple[NodeAddress, Credentials]]
"""By the node's number: where it is, and how we log in."""


@dataclass(frozen=True, slots=True)
class HeadersWanted:
    """The heights of blocks whose headers are wanted, the newest first; `reply_to` gets one HeadersSeen.

    Node number `node` is asked first, where it is one that can be asked: it is mined, so it answers.
    """

    node: int
    heights: Sequence[int]
    reply_to: queue.Queue[Any]


@dataclass(frozen=True, slots=True)
class HeadersSeen:
    """What a node told: a row for each height that was wanted, or fewer where `trouble` says why.

    `is_refused`: the nodes do not let us ask, so that asking again is of no use.
    """

    tips: tuple[TipRow, ...]
    trouble: str = ""
    is_refused: bool = False


class HeaderReader(Loop[HeadersWanted]):
    """Asks the node that is mined, or the first of the others that answers; `nodes` are known by their numbers."""

    def __init__(self, nodes: NodesToAsk) -> None:
        super().__init__("headers")
        self.limits = patient(CALL_TIMEOUT_S)
        self._nodes = {number: JsonRpc(*node) for number, node in nodes.items()}
        self._is_cut_short = False

    def turn(self, items: list[HeadersWanted]) -> float:
        """Answer each."""
        for item in items:
            self.guard(self._answer_to, item)
        return math.inf

    def reconfigure(self, nodes: NodesToAsk) -> None:
        """Ask these from now on."""
        self.finish()
        self._nodes = {number: JsonRpc(*node) for number, node in nodes.items()}

    def finish(self) -> None:
        """Leave the nodes alone."""
        for rpc in self._nodes.values():
            rpc.hang_up()

    def stop(self) -> None:
        """Any thread: end now, whatever is asked."""
        self._is_cut_short = True
        super().stop()
        for rpc in self._nodes.values():
            rpc.close()

    def _answer_to(self, item: HeadersWanted) -> None:
        tips: list[TipRow] = []
        trouble, is_refused = "no node is there to be asked", False
        for number in sorted(self._nodes, key=lambda each: each != item.node):      # stable: the others as in the file
            rpc = self._nodes[number]
            try:
                for tip in _tips_at(rpc, item.heights[len(tips):]):
                    self.beat = self._monotonic()
                    tips.append(tip)
            except NodeError as exc:
                trouble = str(exc)
                is_refused = isinstance(exc, CallForbidden) or (
                    isinstance(exc, RpcRefusal) and exc.code == METHOD_NOT_FOUND)
            else:
                trouble, is_refused = "", False
                break
        if not self._is_cut_short:
            say(log, logging.DEBUG, "headers.read", wanted=len(item.heights), read=len(tips), reason=trouble)
        item.reply_to.put(HeadersSeen(tuple(tips), trouble, is_refused))


def _tips_at(rpc: JsonRpc, heights: Sequence[int]) -> Iterator[TipRow]:
    """What was mined when the blocks at `heights` were found; NodeError. A header names the block below it."""
    below: TipRow | None = None
    for height in heights:
        if below is not None and below.height == height + 1:
            display = to_display(below.hash)
        else:
            display = rpc.call("getblockhash", height, timeout_s=CALL_TIMEOUT_S)
        below = _tip_of(height, rpc.call("getblockheader", display, True, timeout_s=CALL_TIMEOUT_S))
        yield below


def _tip_of(height: int, header: Any) -> TipRow:
    """What was mined when the block with this header was found, at `height`; NodeError."""
    try:
        nbits = int(header["bits"], 16)
        target_from_nbits(nbits)
        return TipRow(height, from_display(header["previousblockhash"]), nbits)
    except (KeyError, ValueError, TypeError) as exc:
        raise NodeError(f"getblockheader: its answer cannot be read ({exc!r})") from exc
