"""The blocks that one node is to have: which comes next, what is done with it, and which verdict follows from answers.

Nothing here waits or calls: thread `submit-N` (node/rpcsubmit.py) asks for the `next` step, does it, and tells what the
node said. Times are monotonic seconds.

A block is handed in as soon as the node can use it. Blocks whose parent does not wait here as well come first; of these
the highest, for it is the one that other pools race against. Blocks of a replay come after the new ones, in ascending
height. A block that the node lacks the parent of is not sent again before the node has the parent. Every block is
handed in once, whatever stands at its height; after that a block gives way to another one of ours with the same parent
that stands on the node's chain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from warppool.node.items import SubmitBlock, Verdict
from warppool.node.pace import Backoff

WATCH_S = 30.0              # from one look at a block to the next, until six stand on it
BURIED_UNDER = 6            # blocks; nodes write their state late, but not that late
SUBMITS_PER_LOOK = 10       # a look-up that is due waits for so many submits at most
LONGEST_PAUSE_S = 2.0       # a block waits for no politeness: every second away is a second for somebody else's
LONGEST_RESUBMIT_S = 30.0   # between two times that the whole block goes to a node that has answered to it already
MAX_PUT_OFF_S = 7200.0      # how long a node may lack the parent or find the time too new: the future time limit

# What `submitblock` says (BIP22), as far as it is no refusal.
_LACKS_PARENT = frozenset({"prev-blk-not-found"})
_NOT_YET = _LACKS_PARENT | {"inconclusive-not-best-prevblk", "time-too-new"}    # the latter: its clock is behind
_HAS_IT = frozenset({"duplicate"})
_ON_THE_SIDE = frozenset({"inconclusive", "duplicate-inconclusive"})
_KEPT = _ON_THE_SIDE | {""}                 # answers of a node that stored the block


class Step(Enum):
    """What is to be done with a block."""

    SUBMIT = "submit"
    LOOK_UP = "look up"
    ASK_PARENT = "ask for the parent"


class BlockStatus(NamedTuple):
    """What the node's chain shows of a block; None where the node does not let us see it."""

    is_known: bool | None           # the node has it
    is_active: bool | None          # on its best chain
    above: int | None               # blocks on the best chain above its height


class Said(NamedTuple):
    """A verdict that is new."""

    block_hash: bytes
    verdict: Verdict
    reason: str


@dataclass(slots=True)
class Case:
    """A block that is not yet buried at the node."""

    block: SubmitBlock
    number: int                             # of its coming
    due_at: float
    needed_for: int | None                  # the greatest height of the new blocks that need it: itself, or above it
    is_believed: bool                       # the node told so before a restart of ours, and has said nothing since
    is_handed: bool = False                 # the node had it in hands once: it answered, or the whole block was sent
    is_taken: bool = False                  # the node has it, as far as we know
    is_in_doubt: bool = False               # it was sent, and no answer came
    lacks_parent: bool = False              # the node said so
    has_seen_lack: bool = False             # and a look-up showed it
    beaten_by: bytes | None = None          # a block of ours with the same parent that is on the node's chain
    put_off_at: float | None = None         # when the node first said "not yet"
    word: str = ""                          # what the node last said to a submit
    told: Verdict | None = None
    has_complained: bool = False            # kept for the thread, which says trouble once for each block
    soon: Backoff = field(default_factory=lambda: Backoff(longest_s=LONGEST_PAUSE_S))
    later: Backoff = field(default_factory=lambda: Backoff(longest_s=LONGEST_RESUBMIT_S))

    @property
    def step(self) -> Step:
        """What comes next for this block."""
        if self.is_taken or self.is_in_doubt:
            return Step.LOOK_UP
        return Step.ASK_PARENT if self.lacks_parent else Step.SUBMIT


class NodeBlocks:
    """All cases of one node. Owned by one thread; `now` is never smaller than in the call before."""

    def __init__(self) -> None:
        self._cases: dict[bytes, Case] = {}
        self._by_parent: dict[bytes, dict[bytes, Case]] = {}
        self._came = 0
        self._top = -1                              # the greatest height of a new block so far
        self._submits = 0                           # since the last look-up
        self._pause = Backoff(longest_s=LONGEST_PAUSE_S)
        self._paused_until = 0.0                    # the node cannot be reached
        self._look_pause = Backoff(longest_s=LONGEST_PAUSE_S)
        self._no_look_until = 0.0                   # the node answers no look-ups

    def __len__(self) -> int:
        return len(self._cases)

    # What comes and goes.

    def add(self, block: SubmitBlock, now: float) -> None:
        """A block to hand in; one that is here already stays as it is."""
        if block.block_hash in self._cases:
            return
        self._came += 1
        case = Case(block, self._came, now, None if block.is_replay else block.height, block.is_known)
        self._cases[block.block_hash] = case
        self._by_parent.setdefault(block.parent, {})[block.block_hash] = case
        if case.needed_for is not None:
            self._pass_on_need(case)
            if block.height > self._top:
                self._top, self._paused_until = block.height, 0.0       # tried at once, whatever failed before

    def drop(self, block_hash: bytes, now: float) -> None:
        """Nobody waits for this block any more."""
        if (case := self._cases.get(block_hash)) is not None:
            self._remove(case)
            self._let_go(case, now)

    def _pass_on_need(self, case: Case) -> None:
        """What a new block stands on is as urgent as the block itself."""
        need, parent = case.needed_for, self._cases.get(case.block.parent)
        while parent is not None and need is not None and not _is_there(parent) and (parent.needed_for or -1) < need:
            parent.needed_for = need
            parent = self._cases.get(parent.block.parent)

    # What comes next.

    def next(self, now: float) -> Case | None:
        """The block to take a step with now; None if nothing is due."""
        if now < self._paused_until:
            return None
        submits: list[Case] = []
        looks: list[Case] = []
        for case in self._cases.values():
            if case.due_at <= now and case.beaten_by is None:
                (submits if case.step is Step.SUBMIT else looks).append(case)
        looks = [case for case in looks if self._is_worth_a_look(case)] if now >= self._no_look_until else []
        if looks and (not submits or self._submits >= SUBMITS_PER_LOOK):
            self._submits = 0
            return min(looks, key=_look_rank)
        if submits:
            self._submits += 1
        return min(submits, key=self._rank, default=None)

    def untried(self) -> Case | None:
        """The first of the blocks that the node has never had in hands, due or not."""
        return min((case for case in self._cases.values() if not case.is_handed), key=self._rank, default=None)

    def until_due(self, now: float) -> float | None:
        """Seconds until `next` has something; None if only a new block can bring it."""
        at = [case.due_at if case.step is Step.SUBMIT else max(case.due_at, self._no_look_until)
              for case in self._cases.values() if case.beaten_by is None
              and (case.step is Step.SUBMIT or self._is_worth_a_look(case))]
        return max(0.0, min(at) - now, self._paused_until - now) if at else None

    def _rank(self, case: Case) -> tuple[int, int, int]:
        is_ready, height = not self._waits_for_parent(case), case.block.height
        if case.needed_for is not None:
            return (0, -case.needed_for, case.number) if is_ready else (2, height, case.number)
        return (1 if is_ready else 3, height, case.number)

    def _waits_for_parent(self, case: Case) -> bool:
        """True if its parent waits in this queue too, and the node never told that it has the parent."""
        parent = self._cases.get(case.block.parent)
        return parent is not None and not _is_there(parent)

    def _is_worth_a_look(self, case: Case) -> bool:
        """No question for a parent that we are about to hand in ourselves: its being taken wakes the child."""
        return not (case.step is Step.ASK_PARENT and self._waits_for_parent(case))

    # What the node said.

    def answered(self, case: Case, word: str, now: float) -> list[Said]:
        """The node's answer to a submit: a word of BIP22, empty for yes."""
        self._reached()
        case.word, case.is_handed, case.is_in_doubt, case.is_believed = word, True, False, False
        if word in _NOT_YET:
            return self._put_off(case, now)
        if word and word not in _HAS_IT | _ON_THE_SIDE:
            return self._finish(case, Verdict.REFUSED, word, now)
        self._take(case, now)
        rival = next((each for each in self._siblings(case) if each.told is Verdict.ACCEPTED), None)
        return self._beat(case, rival) if rival is not None else []

    def has_kept(self, case: Case) -> bool:
        """True if the last answer to a submit says that the node has stored the block, be it beside its chain."""
        return case.is_handed and case.word in _KEPT

    def looked_up(self, case: Case, status: BlockStatus, now: float) -> list[Said]:
        """What a look-up showed."""
        self._reached()
        self._look_pause.reset()
        if status.is_known is False:
            return self._not_found(case, now)
        if not case.is_taken and not status.is_active:
            # It does not stand on the chain, or the chain is not shown. So it is submitted once more: a node whose disk
            # was full keeps the header alone, and tells of that as of a block beside its chain.
            case.is_in_doubt, case.due_at = False, now + case.later.next()
            return []
        said = self._stands(case, status, now)
        if status.above is not None and status.above >= BURIED_UNDER:
            said += self._finish(case, Verdict.BURIED, "", now)
        return said

    def parent_answered(self, case: Case, is_known: bool | None, now: float) -> list[Said]:
        """Whether the node has the parent by now, which holds for all that wait for it; None if it does not show it."""
        self._reached()
        self._look_pause.reset()
        said: list[Said] = []
        for each in [each for each in self._siblings(case, itself=True) if each.lacks_parent]:
            if is_known is False and self._has_waited_enough(each, now):
                said += self._finish(each, Verdict.REFUSED, _why_given_up(each), now)
            elif is_known is False:
                each.due_at, each.has_seen_lack = now + each.soon.next(), True
            else:       # at once where that is news; a node may also say so of each block, and lack none of the parents
                is_news = is_known is True and each.has_seen_lack
                each.lacks_parent = each.has_seen_lack = False
                each.due_at = now if is_news else now + each.later.next()
        return said

    def unreached(self, case: Case, is_in_doubt: bool, now: float) -> None:
        """A submit failed for the whole node; `is_in_doubt` if the block went out and no answer came."""
        self._paused_until = now + self._pause.next()
        case.is_in_doubt = is_in_doubt
        case.is_handed = case.is_handed or is_in_doubt

    def not_seen(self, case: Case, now: float) -> None:
        """A look-up failed. A block in doubt is submitted next, for a node may answer submits and no look-ups."""
        case.due_at = now + case.soon.next()
        if case.is_in_doubt:
            case.is_in_doubt = False
        else:
            self._no_look_until = now + self._look_pause.next()

    def troubled(self, case: Case, now: float) -> None:
        """The node answered with an error of its own that is no word on the block."""
        self._reached()
        case.due_at = now + case.later.next()

    # What follows.

    def _reached(self) -> None:
        self._pause.reset()
        self._paused_until = 0.0

    def _put_off(self, case: Case, now: float) -> list[Said]:
        if self._has_waited_enough(case, now):
            return self._finish(case, Verdict.REFUSED, case.word, now)
        case.lacks_parent = case.word in _LACKS_PARENT
        if case.lacks_parent:
            self._doubt_parent(case, now)
        case.due_at = now + (case.soon if case.lacks_parent else case.later).next()
        return []

    def _take(self, case: Case, now: float) -> None:
        case.is_taken, case.is_in_doubt, case.lacks_parent, case.due_at = True, False, False, now
        for child in self._by_parent.get(case.block.block_hash, {}).values():
            if child.lacks_parent:
                child.lacks_parent, child.due_at = False, now

    def _not_found(self, case: Case, now: float) -> list[Said]:
        """The node took the block and does not know it: it lost it in a crash, keeps it aside, or holds it invalid."""
        was_in_doubt, case.is_taken, case.is_in_doubt, case.is_believed = case.is_in_doubt, False, False, False
        self._let_go(case, now)
        said: list[Said] = []
        if was_in_doubt:
            case.due_at = now
            return said
        self._doubt_parent(case, now)
        for child in self._by_parent.get(case.block.block_hash, {}).values():
            child.lacks_parent = child.lacks_parent or (child.is_handed and not child.is_taken)
        case.lacks_parent = self._waits_for_parent(case)
        if case.told is not None:
            self._look_at_all(now)
        if case.word in _ON_THE_SIDE:
            said += self._tell(case, Verdict.SIDE, case.word)
        if case.word in _HAS_IT:
            if self._has_waited_enough(case, now):
                return said + self._finish(case, Verdict.REFUSED, _why_given_up(case), now)
            case.lacks_parent = True                    # bcoin says so of a block whose parent it lacks
        case.due_at = now + case.later.next()
        return said

    def _doubt_parent(self, case: Case, now: float) -> None:
        """The node lacks what `case` stands on, perhaps: a node that is killed forgets several blocks at a time.

        So a parent that it has taken is looked at now and not when its watch is due, half a minute later.
        """
        parent = self._cases.get(case.block.parent)
        if parent is not None and parent.is_taken:
            parent.due_at = now

    def _look_at_all(self, now: float) -> None:
        """The node lost a block that it had, as a killed one does: it may have lost others."""
        for each in self._cases.values():
            if each.is_taken:
                each.due_at = now

    def _stands(self, case: Case, status: BlockStatus, now: float) -> list[Said]:
        self._take(case, now)
        case.due_at = now + WATCH_S
        case.soon.reset()
        case.later.reset()
        is_active, reason = status.is_active, case.word if case.word in _ON_THE_SIDE else ""
        if is_active is None:                           # then the answer to the submit has to do
            if case.word in _HAS_IT:
                return []
            is_active = case.word not in _ON_THE_SIDE
        if is_active:
            return [*self._tell(case, Verdict.ACCEPTED, ""), *self._beat_siblings(case)]
        self._let_go(case, now)
        return self._tell(case, Verdict.SIDE, reason)

    def _siblings(self, case: Case, itself: bool = False) -> list[Case]:
        """The blocks on the same parent."""
        return [each for each in self._by_parent.get(case.block.parent, {}).values() if itself or each is not case]

    def _beat_siblings(self, winner: Case) -> list[Said]:
        """End tries and look-ups of the others on this parent that the node had in hands."""
        said: list[Said] = []
        for each in self._siblings(winner):
            if each.is_handed and each.beaten_by is None:
                said += self._beat(each, winner)
        return said

    def _beat(self, case: Case, winner: Case) -> list[Said]:
        case.beaten_by = winner.block.block_hash
        return self._tell(case, Verdict.SIDE, case.word)

    def _let_go(self, case: Case, now: float) -> None:
        """`case` is not on the node's chain (any more): what gave way to it is looked at again."""
        for each in self._siblings(case):
            if each.beaten_by == case.block.block_hash:
                each.beaten_by, each.due_at = None, now

    def _has_waited_enough(self, case: Case, now: float) -> bool:
        """True once the node has said "not yet" for so long that it never will; it counts from its first such word."""
        if case.put_off_at is None:
            case.put_off_at = now
        return now - case.put_off_at >= MAX_PUT_OFF_S

    def _tell(self, case: Case, verdict: Verdict, reason: str) -> list[Said]:
        if case.told is verdict:
            return []
        case.told = verdict
        return [Said(case.block.block_hash, verdict, reason)]

    def _finish(self, case: Case, verdict: Verdict, reason: str, now: float) -> list[Said]:
        """The last word on a block. What gave way to a block that is buried is buried with it."""
        said = self._tell(case, verdict, reason)
        self._remove(case)
        if verdict is not Verdict.BURIED:
            self._let_go(case, now)
            return said
        for each in self._siblings(case):
            if each.beaten_by == case.block.block_hash:
                said += self._finish(each, Verdict.BURIED, "", now)
        return said

    def _remove(self, case: Case) -> None:
        del self._cases[case.block.block_hash]
        siblings = self._by_parent[case.block.parent]
        del siblings[case.block.block_hash]
        if not siblings:
            del self._by_parent[case.block.parent]


def _look_rank(case: Case) -> tuple[bool, bool, float, int]:
    """First verdicts before changes of them, and first of all of what is likely to stand on the chain."""
    return case.told is not None, case.word in _ON_THE_SIDE, case.due_at, case.number


def _is_there(case: Case) -> bool:
    """True if the node has told that it has the block, in this process or before a restart of ours."""
    return case.is_taken or case.is_believed


def _why_given_up(case: Case) -> str:
    return "duplicate, yet not found: the node holds it invalid" if case.word in _HAS_IT else case.word
