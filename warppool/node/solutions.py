"""The blocks of ours that one template provider is to have: when each goes out, and what its tips show of it. Pure.

SubmitSolution has no answer. What a provider's chain has is seen by its tips alone: a tip that is our block shows that
the chain has the block, another one on the same parent that it has not. A block goes out at once, once on each new
connection, and each minute while the provider's tip has not moved past it; once it is seen on the chain, no more.

Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from warppool.mining.template import Template, Tip
from warppool.node.items import Verdict
from warppool.node.kepttransactions import TransactionsKey, key_of
from warppool.node.nodeblocks import BURIED_UNDER, Said

AGAIN_S = 60.0
"""From one time that a block goes to a provider to the next, while the provider's tip is still below the block."""

_PARENT = slice(4, 36)              # of a header


@dataclass(frozen=True, slots=True)
class OfferSolution:
    """A block for the thread of a template provider.

    `template_id` is the provider's own, None for a block on somebody else's template: the provider cannot build that
    block, but its tips show what becomes of the block. Where `is_watched`, nobody else tells that. `key` is what the
    template commits to; None where nobody knows any more.
    """

    block_hash: bytes               # 32 bytes, header order
    height: int
    header: bytes
    coinbase_tx: bytes
    template_id: int | None
    is_watched: bool
    key: TransactionsKey | None = None


class Progress(NamedTuple):
    """What a tip of the provider's shows: news of blocks, and blocks that it went past unseen."""

    said: list[Said]
    unseen: list[OfferSolution]


@dataclass(slots=True)
class _Case:
    """One block on its way."""

    solution: OfferSolution
    due_at: float
    sent: int = 0
    told: Verdict | None = None
    is_passed: bool = False             # six blocks deep, and never seen
    is_from_before: bool = False        # its template was given on an earlier connection


class Solutions:
    """Owned by the provider's thread."""

    def __init__(self) -> None:
        self._cases: dict[bytes, _Case] = {}
        self._height: int | None = None             # of the block that the provider wants now

    def __len__(self) -> int:
        return len(self._cases)

    def add(self, solution: OfferSolution, now: float) -> None:
        """A block to hand in; of one that is here, only whether it is watched may have changed."""
        case = self._cases.get(solution.block_hash)
        if case is None:
            self._cases[solution.block_hash] = _Case(solution, now)
        else:
            case.solution = solution

    def drop(self, block_hash: bytes) -> None:
        """Nobody waits for this block any more."""
        self._cases.pop(block_hash, None)

    def reconnected(self, now: float) -> None:
        """A new connection: each block that the chain is not seen to have goes out once more."""
        for case in self._cases.values():
            case.is_from_before = True
            if case.told is not Verdict.ACCEPTED:
                case.due_at = now

    def given(self, template: Template, now: float) -> None:
        """A restarted provider knows no id of before. By the new id of the same template it can build the block."""
        key, tip = key_of(template), template.tip
        for case in self._cases.values():
            offered = case.solution
            if case.is_from_before and offered.key == key and offered.header[_PARENT] == tip.prev_hash:
                case.solution = replace(offered, template_id=offered.template_id and template.template_id)
                case.is_from_before, case.due_at = False, now

    def due(self, now: float) -> list[tuple[OfferSolution, int]]:
        """What is to be sent now, and how often it was sent before. Each is taken for sent."""
        due = []
        for block_hash, case in list(self._cases.items()):
            if case.solution.template_id is None or case.due_at > now:
                continue
            due.append((case.solution, case.sent))
            case.sent += 1
            case.due_at = now + AGAIN_S if self._is_below(case) else float("inf")
            if not case.solution.is_watched and not self._is_below(case):
                del self._cases[block_hash]         # others look after it
        return due

    def until_due(self, now: float) -> float:
        """Seconds until `due` has something; infinite for never."""
        at = [case.due_at for case in self._cases.values() if case.solution.template_id is not None]
        return max(0.0, min(at, default=float("inf")) - now)

    def tip_moved(self, tip: Tip) -> Progress:
        """The provider's chain ends with `tip.prev_hash`, below blocks of `tip.height`."""
        self._height = tip.height
        said: list[Said] = []
        unseen = []
        for block_hash, case in list(self._cases.items()):
            above = tip.height - 1 - case.solution.height
            if not case.solution.is_watched:
                if above >= BURIED_UNDER or tip.prev_hash == block_hash:
                    del self._cases[block_hash]
                continue
            if above == 0:
                self._compare(case, tip.prev_hash, said)
            if above < BURIED_UNDER:
                continue
            if case.told is not None:
                said.append(Said(block_hash, Verdict.BURIED, ""))
                del self._cases[block_hash]
            elif not case.is_passed:
                case.is_passed = True
                unseen.append(case.solution)
        return Progress(said, unseen)

    def _compare(self, case: _Case, top: bytes, said: list[Said]) -> None:
        """A block of its height is the tip: this one, or another."""
        block_hash = case.solution.block_hash
        verdict = Verdict.ACCEPTED if top == block_hash else Verdict.SIDE
        case.due_at = float("inf") if verdict is Verdict.ACCEPTED else case.due_at
        if case.told is not verdict:
            case.told = verdict
            said.append(Said(block_hash, verdict, ""))

    def _is_below(self, case: _Case) -> bool:
        return self._height is None or self._height <= case.solution.height
