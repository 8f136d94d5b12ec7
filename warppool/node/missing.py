"""Blocks of ours that the books lack: found on the chain after a start, by the marks in their coinbases.

A crash, a disk that lost its last writes or a ledger put back from a copy may cost the books a block of the chain.
Thread `missing` looks once at each start, behind everything else, through the last blocks of the best chain. Ours has
our tag, the id of a start in this data directory and our server's number where our jobs put them (mining/mark.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from warppool.addresses import NodeAddress
from warppool.errors import NodeError, WarppoolError
from warppool.mining.mark import find_mark
from warppool.node.books import Books
from warppool.node.items import Verdict
from warppool.node.jsonrpc import Credentials, JsonRpc
from warppool.node.onchain import BlockReader, OnChain, is_refused
from warppool.node.pace import Backoff, Clock, SystemClock
from warppool.say import say

log = logging.getLogger("warppool")

DEPTH = 144                     # blocks that are looked at, about a day
BEGIN_AFTER_S = 10.0            # after the first job: what the journal held is in the books by then
REST_S = 0.05                   # between two blocks: nobody waits for this, and the node has better to do
CALL_TIMEOUT_S = 30.0           # a block as JSON may take a small machine seconds
LONGEST_PAUSE_S = 60.0
FINDER = "(unknown)"            # who found it is not in a coinbase
DETAIL = "found on the chain at a start"


@dataclass(frozen=True, slots=True)
class Ours:
    """What a coinbase of ours bears; `start_ids` are those of earlier starts alone."""

    tag: bytes
    start_ids: Collection[bytes]
    server_id: int

    def has_made(self, coinbase: bytes) -> bool:
        """True if the coinbase is from one of our jobs before this start."""
        mark = find_mark(coinbase, self.tag, self.start_ids)
        return mark is not None and mark.server_id == self.server_id


class MissingBlocks:
    """`run` is the body of thread `missing`; it ends by itself when the search is over.

    `may_begin` says that everything else is under way; `is_booked` tells of a hash whether the books have that block
    (WarppoolError: they cannot be read now).
    """

    def __init__(self, nodes: Sequence[tuple[NodeAddress, Credentials]], ours: Ours, books: Books, *,
                 may_begin: Callable[[], bool], is_booked: Callable[[bytes], bool], clock: Clock | None = None) -> None:
        self._nodes = [JsonRpc(*node) for node in nodes]
        self._ours = ours
        self._books = books
        self._may_begin = may_begin
        self._is_booked = is_booked
        self._clock = clock or SystemClock()

    def run(self) -> None:
        """Search once; what a node refuses or a lack of nodes costs is tried again, later each time."""
        try:
            if self._ours.start_ids and self._nodes and self._await_begin():
                self._search_until_done()
        finally:
            for rpc in self._nodes:
                rpc.hang_up()

    def stop(self) -> None:
        """Any thread: end `run` now; the next start looks again."""
        self._clock.stop()
        for rpc in self._nodes:
            rpc.close()

    def _await_begin(self) -> bool:
        while not self._may_begin():
            if self._clock.wait(1.0):
                return False
        return not self._clock.wait(BEGIN_AFTER_S)

    def _search_until_done(self) -> None:
        backoff = Backoff(longest_s=LONGEST_PAUSE_S)
        while True:
            try:
                self._search()
                return
            except WarppoolError as exc:
                if is_refused(exc):
                    say(log, logging.WARNING, "missing.unseen", reason=str(exc), consequence="blocks of ours that the "
                        "books may lack are not looked for until the next start",
                        cure="let our user call getblock and getrawtransaction")
                    return
                say(log, logging.DEBUG, "missing.delayed", reason=str(exc))
            except Exception:       # unforeseen: this is no reason to end the daemon
                log.exception("event=missing.failed")
                return
            if self._clock.wait(backoff.next()):
                return

    def _search(self) -> None:
        """Walk down from the best tip; NodeError ends the walk, and the next one begins anew."""
        rpc, block_hash = self._best()
        call, reader = partial(rpc.call, timeout_s=CALL_TIMEOUT_S), BlockReader()
        looked, found = 0, 0
        while looked < DEPTH and block_hash:
            block = reader.block(call, block_hash)
            if not block.parent:
                break                                           # the first block of the chain is nobody's
            if (self._ours.has_made(reader.coinbase(call, block, block_hash))
                    and not self._is_booked(block.block_hash)):
                self._book(block, block_hash)
                found += 1
            looked, block_hash = looked + 1, block.parent
            if self._clock.wait(REST_S):
                return
        say(log, logging.DEBUG, "missing.searched", blocks=looked, found=found)

    def _best(self) -> tuple[JsonRpc, str]:
        """The node whose chain has most work, of those that answer, and its tip."""
        tips: list[tuple[int, int, int, str]] = []
        error: NodeError | None = None
        for number, rpc in enumerate(self._nodes):
            try:
                info = rpc.call("getblockchaininfo", timeout_s=CALL_TIMEOUT_S)
                work = int(info.get("chainwork", "0"), 16)
                tips.append((work, int(info["blocks"]), -number, str(info["bestblockhash"])))
            except NodeError as exc:
                error = exc
            except (KeyError, ValueError, TypeError, AttributeError) as exc:
                error = NodeError(f"getblockchaininfo: no tip in its answer ({exc!r})")
        if not tips:
            raise NodeError(f"no node answers: {error}")
        _, _, number, tip = max(tips)
        return self._nodes[-number], tip

    def _book(self, block: OnChain, display: str) -> None:
        say(log, logging.WARNING, "block.recovered", height=block.height, hash=display,
            meaning="the chain has this block of ours and the books lacked it; who found it is not known")
        self._books.block(block.block_hash, block.height, FINDER, block.time, block.difficulty)
        self._books.block_outcome(block.block_hash, Verdict.ACCEPTED.value, DETAIL, block.time)
