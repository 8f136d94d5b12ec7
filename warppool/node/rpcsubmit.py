"""Blocks to one node over JSON-RPC: thread `submit-N` hands each in until the node has it, then watches its fate.

A block is worth more than anything else here, so whatever is not a clear answer is tried again, and every clear answer
is checked against the chain itself: nodes differ in what `submitblock` says (BIP22 leaves much open), but a block
stands at its height or it does not. Each block has its own times, so none waits for another.
"""

from __future__ import annotations

import logging
import queue
from dataclasses import dataclass, field
from typing import Any

from warppool.bitcoin.hashes import to_display
from warppool.errors import NodeError
from warppool.node.items import Outcome, SubmitBlock, Verdict
from warppool.node.jsonrpc import Credentials, JsonRpc, NodeAddress, RpcRefusal
from warppool.node.pace import Backoff, Clock, SystemClock
from warppool.say import say
from warppool.threads import STOP

log = logging.getLogger("warppool")

SUBMIT_TIMEOUT_S = 30.0     # a block of 4 MB on a small machine takes seconds to check
LOOKUP_TIMEOUT_S = 10.0
WATCH_S = 30.0              # from one look at a block to the next, until six stand on it
BURIED_UNDER = 6            # blocks; nodes write their state late, but not that late
LONGEST_PAUSE_S = 2.0       # a block waits for no politeness: every second away is a second for somebody else's
MAX_PUT_OFF_S = 7200.0      # how long a node may lack the parent or find the time too new: the future time limit

_DECODE_FAILED = -22        # RPC errors: the node cannot read the block
_NOT_FOUND = -5             # it does not know the hash

# Words for "not yet": the parent is still on its way to this node, or its clock is behind.
_NOT_YET = frozenset({"prev-blk-not-found", "inconclusive-not-best-prevblk", "time-too-new"})
_HAS_IT = frozenset({"duplicate"})
_OFF_THE_CHAIN = "not in the main chain"    # btcd gives no header of a block beside its chain
_KNOWN_TO_BTCD = "already have block"       # and the hash
_ON_THE_SIDE = frozenset({"inconclusive", "duplicate-inconclusive"})


@dataclass(slots=True)
class _Case:
    """A block that is not yet buried, and when it is looked at next."""

    block: SubmitBlock
    due_at: float                               # monotonic seconds
    put_off_at: float | None = None             # when the node first said "not yet"
    is_taken: bool = False                      # the node has it, as far as we know
    word: str = ""                              # what the node last said of it
    told: Verdict | None = None
    has_complained: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(longest_s=LONGEST_PAUSE_S))


class RpcSubmitter:
    """Hands blocks to one node. `run` is the body of its thread; `inbox` takes `SubmitBlock` and STOP.

    STOP on the inbox lets every block before it have one try; `stop` ends a call that runs as well. Outcomes go out
    when they are new: `BURIED` comes last, after `ACCEPTED` or `SIDE`, and nothing comes after it or after `REFUSED`.
    """

    def __init__(
        self,
        node: int,
        address: NodeAddress,
        credentials: Credentials,
        outcomes: queue.Queue[Any],
        *,
        clock: Clock | None = None,
        submit_timeout_s: float = SUBMIT_TIMEOUT_S,
        lookup_timeout_s: float = LOOKUP_TIMEOUT_S,
    ) -> None:
        self.name = f"node-{node}"
        self.inbox: queue.Queue[Any] = queue.Queue()
        self._node = node
        self._outcomes = outcomes
        self._clock = clock or SystemClock()
        self._submit_timeout_s = submit_timeout_s
        self._lookup_timeout_s = lookup_timeout_s
        self._rpc = JsonRpc(address, credentials)
        self._cases: dict[bytes, _Case] = {}
        self._is_stopping = False

    def run(self) -> None:
        """Serve until STOP; nothing that the node does ends it."""
        try:
            while (item := self._clock.take(self.inbox, self._until_due())) is not STOP:
                if isinstance(item, SubmitBlock):
                    case = self._cases.setdefault(item.block_hash, _Case(item, self._clock.monotonic()))
                    self._step(case)            # at once: a new block waits for no other
                else:
                    self._step_the_next()
        finally:
            self._rpc.hang_up()

    def stop(self) -> None:
        """Any thread: end `run` now. What is not handed in stays in the journal."""
        self._is_stopping = True
        self.inbox.put(STOP)
        self._rpc.close()

    def _until_due(self) -> float | None:
        if not self._cases:
            return None
        return max(0.0, min(case.due_at for case in self._cases.values()) - self._clock.monotonic())

    def _step_the_next(self) -> None:
        """One step with one block, so that new ones are heard of in between."""
        case = min(self._cases.values(), key=lambda case: case.due_at, default=None)
        if case is not None and case.due_at <= self._clock.monotonic():
            self._step(case)

    def _step(self, case: _Case) -> None:
        """Hand the block in or look at it; the node's answer sets what is next and when."""
        try:
            if not case.is_taken:
                self._submit(case)
            if case.is_taken:
                self._look_up(case)
        except NodeError as exc:
            self._complain(case, str(exc))
            self._later(case)
        except Exception:                       # unforeseen: this block is tried again, the others go on
            log.exception("event=block.failed node=%s hash=%s", self.name, to_display(case.block.block_hash))
            self._later(case)

    def _submit(self, case: _Case) -> None:
        try:
            answer = self._rpc.call("submitblock", case.block.raw_block.hex(), timeout_s=self._submit_timeout_s)
        except RpcRefusal as exc:
            if exc.code != _DECODE_FAILED:
                raise
            self._finish(case, Verdict.REFUSED, str(exc))
            return
        case.word = _plain_word(answer)
        if case.word in _NOT_YET and not self._has_waited_enough(case):
            self._complain(case, case.word)
            self._later(case)
        elif case.word and case.word not in _HAS_IT | _ON_THE_SIDE:
            self._finish(case, Verdict.REFUSED, case.word)
        else:
            case.is_taken = True

    def _look_up(self, case: _Case) -> None:
        """Ask the chain what became of the block: on it, beside it, or unknown after all."""
        try:
            header = self._rpc.call(
                "getblockheader", to_display(case.block.block_hash), True, timeout_s=self._lookup_timeout_s
            )
        except RpcRefusal as exc:
            if _OFF_THE_CHAIN in str(exc):
                header = {"confirmations": -1}
            elif exc.code == _NOT_FOUND or "not found" in str(exc):         # bcoin has one number for everything
                self._not_found(case)
                return
            else:
                raise
        confirmations = header.get("confirmations") if isinstance(header, dict) else None
        if not isinstance(confirmations, int):
            raise NodeError("getblockheader: no confirmations in its answer")
        if confirmations > 0 and self._is_active(case.block):
            self._tell(case, Verdict.ACCEPTED, "")
        else:
            self._tell(case, Verdict.SIDE, case.word if case.word in _ON_THE_SIDE else "")
        blocks_above = self._height() - case.block.height
        case.backoff.reset()
        case.due_at = self._clock.monotonic() + WATCH_S
        if blocks_above >= BURIED_UNDER:
            self._finish(case, Verdict.BURIED, "")

    def _is_active(self, block: SubmitBlock) -> bool:
        """Confirmations alone do not tell: bcoin counts them for blocks beside the chain too."""
        active = self._rpc.call("getblockhash", block.height, timeout_s=self._lookup_timeout_s)
        return bool(active == to_display(block.block_hash))

    def _height(self) -> int:
        height = self._rpc.call("getblockcount", timeout_s=self._lookup_timeout_s)
        if not isinstance(height, int):
            raise NodeError("getblockcount: its answer is no number")
        return height

    def _not_found(self, case: _Case) -> None:
        """The node took the block and does not know it: it lost it in a crash, keeps it aside, or holds it invalid."""
        case.is_taken = False
        if case.word in _ON_THE_SIDE:
            self._tell(case, Verdict.SIDE, case.word)
        if case.word in _HAS_IT and self._has_waited_enough(case):
            self._finish(case, Verdict.REFUSED, "duplicate, yet not found: the node holds it invalid")
        else:
            self._complain(case, f"the node does not know it after {case.word or 'taking it'}")
            self._later(case)

    def _has_waited_enough(self, case: _Case) -> bool:
        """True once the node has said "not yet" for so long that it never will; it counts from its first such word."""
        now = self._clock.monotonic()
        if case.put_off_at is None:
            case.put_off_at = now
        return now - case.put_off_at >= MAX_PUT_OFF_S

    def _later(self, case: _Case) -> None:
        case.due_at = self._clock.monotonic() + case.backoff.next()

    def _complain(self, case: _Case, reason: str) -> None:
        """A warning for the first trouble with a block; the rest is for those who look closely.

        A node that goes away while a block of its chain is being watched is the template source's news, not ours.
        """
        if self._is_stopping:
            return
        is_old_news = case.has_complained or (case.is_taken and case.told is not None)
        level = logging.DEBUG if is_old_news else logging.WARNING
        case.has_complained = case.has_complained or not is_old_news
        say(log, level, "block.delayed", node=self.name, hash=to_display(case.block.block_hash), reason=reason)

    def _tell(self, case: _Case, verdict: Verdict, reason: str) -> None:
        if case.told is not verdict:
            case.told = verdict
            self._outcomes.put(Outcome(case.block.block_hash, self._node, verdict, reason))

    def _finish(self, case: _Case, verdict: Verdict, reason: str) -> None:
        self._tell(case, verdict, reason)
        del self._cases[case.block.block_hash]


def _plain_word(answer: object) -> str:
    """What `submitblock` says, in the words of BIP22: empty for yes, else a reason.

    bcoin and btcd put `rejected: ` before each. bcoin means by `bad-prevblk` what others call `prev-blk-not-found`;
    btcd speaks in sentences.
    """
    if answer is None:
        return ""
    word = str(answer).removeprefix("rejected: ").strip()[:100]
    if answer == "rejected: bad-prevblk":
        return "prev-blk-not-found"
    if word.startswith(_KNOWN_TO_BTCD):
        return "duplicate"
    return word or "rejected"
