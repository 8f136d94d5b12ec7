"""Blocks to one node over JSON-RPC: thread `submit-N` hands each in until the node has it, then watches its fate.

A block is worth more than anything else here, so whatever is not a clear answer is tried again, and every clear answer
is checked against the chain itself: nodes differ in what `submitblock` says (BIP22 leaves much open), but a block
stands at its height or it does not. Which block comes next and which verdict follows is decided in `nodeblocks.py`.

Look-ups have a connection of their own. A look-up that does not come back at once is given up when a new block comes.
"""

from __future__ import annotations

import logging
import math
import queue
from dataclasses import dataclass
from typing import Any

from warppool.addresses import NodeAddress
from warppool.bitcoin.hashes import to_display
from warppool.errors import NodeError
from warppool.loop import Loop, Report, patient
from warppool.node.chainasker import ChainAsker
from warppool.node.chainitems import AskChain
from warppool.node.chainview import ChainView
from warppool.node.httpline import NodeHungUp
from warppool.node.items import DropBlock, HasBlock, NodeHeard, Outcome, SubmitBlock
from warppool.node.jsonrpc import WARMING_UP, Credentials, JsonRpc, NodeSilent, RpcRefusal
from warppool.node.nodeblocks import Case, NodeBlocks, Said, Step
from warppool.node.pace import Clock, SystemClock
from warppool.say import say

log = logging.getLogger("warppool")

SUBMIT_TIMEOUT_S = 30.0     # a block of 4 MB on a small machine takes seconds to check
LOOKUP_TIMEOUT_S = 10.0
LOOKUP_PATIENCE_S = 1.0     # so long a new block waits for all calls of a look-up together
HEARD_EVERY_S = 10.0        # between two words to the submitter that the node answers
SAY_MISSING_EVERY_S = 60.0

_LOOK_STEP_S = 0.25         # of waiting for a look-up, between two glances at the inbox
_DECODE_FAILED = -22        # RPC error: the node cannot read the block
_KNOWN_TO_BTCD = "already have block"       # and the hash


@dataclass(frozen=True, slots=True)
class SubmitReport(Report):
    """Of one node: `handed` hand-ins since the start, the repeated ones too, and `blocks` that are watched now."""

    handed: int
    blocks: int
    height: int | None                  # of the node's best tip, as it said last


class RpcSubmitter(Loop[SubmitBlock | DropBlock | AskChain]):
    """Hands blocks to one node, and answers what is asked of own blocks on its chain while no block waits.

    STOP on the inbox lets every block before it have one try; `stop` ends a call that runs as well, and all tries.
    Outcomes go out when they are new: `BURIED` comes last, after `ACCEPTED` or `SIDE`, and nothing comes after it or
    after `REFUSED`.
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
        clock = clock or SystemClock()
        super().__init__(f"submit-{node}", clock.inbox(), clock.monotonic)
        self.limits = patient(max(submit_timeout_s, lookup_timeout_s))
        self._node_name = f"node-{node}"
        self._node = node
        self._outcomes = outcomes
        self._submit_timeout_s = submit_timeout_s
        self._lookup_timeout_s = lookup_timeout_s
        self._rpc = JsonRpc(address, credentials)           # for blocks
        self._look_rpc = JsonRpc(address, credentials)
        self._view = ChainView(self._ask, self._monotonic)
        self._asker = ChainAsker(node, self._ask, self._view)
        self._blocks = NodeBlocks()
        self._heard_at = -math.inf                          # when the submitter was last told that the node answers
        self._said_missing_at = -math.inf
        self._looked_s = 0.0                                # for the calls of this look-up the node was waited for
        self._early: list[SubmitBlock | DropBlock | AskChain] = []     # came during a look-up
        self._handed = 0
        self._is_cut_short = False                          # by `stop`: no try for what waits

    def turn(self, items: list[SubmitBlock | DropBlock | AskChain]) -> float:
        """One step with the block that comes first. After STOP each block has one try, and is let go."""
        early, self._early = self._early, []
        for item in early + items:
            self.guard(self._take, item)
        is_closing = self.is_stopping
        case = self._blocks.untried() if is_closing else self._blocks.next(self._monotonic())
        if case is not None and not self._is_cut_short:
            self._step(case)
            if is_closing:
                self._blocks.drop(case.block.block_hash, self._monotonic())
        elif self._asker.is_busy and not is_closing:
            self._looked_s = 0.0
            self._asker.step()
        return self._due()

    def is_done(self) -> bool:
        """After STOP: every block has had its try."""
        return self._is_cut_short or (not self._early and self._blocks.untried() is None)

    def finish(self) -> None:
        """Leave the node alone."""
        self._rpc.hang_up()
        self._look_rpc.hang_up()

    def reconfigure(self, credentials: Credentials) -> None:
        """Log in so from the next call on; the blocks that wait are not touched."""
        self._rpc.log_in_as(credentials)
        self._look_rpc.log_in_as(credentials)

    def report(self) -> SubmitReport:
        """What the node was handed."""
        return SubmitReport(*self.vitals(), handed=self._handed, blocks=len(self._blocks), height=self._view.height)

    def stop(self) -> None:
        """Any thread: end `run` now. What is not handed in stays in the journal."""
        self._is_cut_short = True
        super().stop()
        self._rpc.close()
        self._look_rpc.close()

    def _take(self, item: SubmitBlock | DropBlock | AskChain) -> None:
        if isinstance(item, SubmitBlock):
            self._blocks.add(item, self._monotonic())
        elif isinstance(item, AskChain):
            self._asker.ask(item)
        else:
            self._blocks.drop(item.block_hash, self._monotonic())

    def _due(self) -> float:
        if self._early or self.is_stopping or self._asker.is_busy:
            return -math.inf
        now = self._monotonic()
        wait_s = self._blocks.until_due(now)
        return math.inf if wait_s is None else now + wait_s

    # The steps.

    def _step(self, case: Case) -> None:
        """One step with one block; what the node answers sets what is next and when."""
        try:
            match case.step:
                case Step.SUBMIT:
                    self._submit(case)
                case Step.LOOK_UP:
                    self._look_up(case)
                case Step.ASK_PARENT:
                    self._ask_parent(case)
        except Exception:                       # unforeseen: this block is tried again, the others go on
            log.exception("event=block.failed node=%s hash=%s", self._node_name, to_display(case.block.block_hash))
            self._blocks.troubled(case, self._monotonic())

    def _submit(self, case: Case) -> None:
        try:
            word = self._hand_in(case.block)
        except RpcRefusal as exc:
            if exc.code == WARMING_UP:
                self._blocks.unreached(case, False, self._monotonic())
            else:
                self._blocks.troubled(case, self._monotonic())
            self._complain(case, str(exc))
            return
        except NodeError as exc:
            self._blocks.unreached(case, isinstance(exc, NodeSilent | NodeHungUp), self._monotonic())
            self._complain(case, str(exc))
            return
        said = self._blocks.answered(case, word, self._monotonic())
        if self._blocks.has_kept(case):
            self._outcomes.put(HasBlock(case.block.block_hash, self._node))
        elif not case.is_taken and not said:
            self._complain(case, word)
        self._heard(said)
        if self.is_stopping and case.is_taken:
            self._look_up(case)

    def _hand_in(self, block: SubmitBlock) -> str:
        """The node's word on the block; NodeError."""
        self._handed += 1
        try:
            return _plain_word(self._rpc.call("submitblock", block.raw_block.hex(), timeout_s=self._submit_timeout_s))
        except RpcRefusal as exc:
            if exc.code != _DECODE_FAILED:
                raise
            return str(exc)

    def _look_up(self, case: Case) -> None:
        self._looked_s = 0.0
        try:
            status = self._view.status_of(case.block)
        except NodeError as exc:
            self._blocks.not_seen(case, self._monotonic())
            self._complain(case, str(exc))
            return
        was_in_doubt = case.is_in_doubt
        said = self._blocks.looked_up(case, status, self._monotonic())
        if status.is_known and case.is_taken:
            self._outcomes.put(HasBlock(case.block.block_hash, self._node))
        elif status.is_known is False and not was_in_doubt:
            self._complain(case, f"the node does not know it after {case.word or 'taking it'}", is_new=True)
        self._heard(said)

    def _ask_parent(self, case: Case) -> None:
        self._looked_s = 0.0
        try:
            is_known = self._view.has(case.block.parent, case.block.height - 1)
        except NodeError as exc:
            self._blocks.not_seen(case, self._monotonic())
            self._complain(case, str(exc))
            return
        self._heard(self._blocks.parent_answered(case, is_known, self._monotonic()))

    def _ask(self, method: str, *params: object) -> Any:
        """One call of a look-up; NodeError, also when a new block comes while the node does not answer."""
        self.beat = self._monotonic()
        try:
            return self._ask_once(method, params)
        except NodeHungUp:                      # the node tired of a connection that idled
            return self._ask_once(method, params)

    def _ask_once(self, method: str, params: tuple[object, ...]) -> Any:
        self._look_rpc.ask(method, *params, timeout_s=self._lookup_timeout_s)
        step_s, waited_s = min(_LOOK_STEP_S, self._lookup_timeout_s), 0.0
        while not self._look_rpc.is_answered(step_s):
            waited_s += step_s
            self._looked_s += step_s
            if waited_s >= self._lookup_timeout_s or (self._looked_s >= LOOKUP_PATIENCE_S and self._has_new_block()):
                self._look_rpc.hang_up()
                raise NodeSilent(f"{method}: no answer from {self._look_rpc.address} in time")
        return self._look_rpc.answer(self._lookup_timeout_s)

    def _has_new_block(self) -> bool:
        """In the middle of a look-up: whether there is something better to do. Who only asks is answered meanwhile."""
        self._early += self.drain()
        self.answer()
        return self.is_stopping or any(not isinstance(item, AskChain) for item in self._early)

    # What others hear.

    def _heard(self, said: list[Said]) -> None:
        """The node answered: tell the submitter what is new, and now and then that the node is there."""
        for block_hash, verdict, reason in said:
            self._outcomes.put(Outcome(block_hash, self._node, verdict, reason))
        now = self._monotonic()
        if now - self._heard_at >= HEARD_EVERY_S:
            self._heard_at = now
            self._outcomes.put(NodeHeard(self._node, self._view.height))
        if self._view.missing and now - self._said_missing_at >= SAY_MISSING_EVERY_S:
            self._said_missing_at = now
            say(log, logging.WARNING, "node.unseen", node=self._node_name, missing=",".join(self._view.missing),
                blocks=len(self._blocks), meaning="what becomes of our blocks at this node cannot be seen",
                cure="let our user call these: see the node's rpcwhitelist")

    def _complain(self, case: Case, reason: str, is_new: bool = False) -> None:
        """A warning for the first trouble with a block; the rest is for those who look closely.

        A node that goes away while a block of its chain is being watched is the template source's news, not ours;
        that it lost the block (`is_new`) is.
        """
        if self._is_cut_short:
            return
        is_old_news = case.has_complained or (case.is_taken and case.told is not None and not is_new)
        level = logging.DEBUG if is_old_news else logging.WARNING
        case.has_complained = case.has_complained or not is_old_news
        say(log, level, "block.delayed", node=self._node_name, hash=to_display(case.block.block_hash), reason=reason)


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
