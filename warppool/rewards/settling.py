"""Settlement as thread `payout` drives it: own blocks and what a node says of them go in, steps come out.

Only the node whose tip is mined is believed, and only of that tip: its answer counts if it had the tip as its best
block before and after. It is asked at each new tip, after each own block, and every ten minutes. What follows goes to
the books by one queue, so that a booking is on the disk before any snapshot that was made after it.
"""

from __future__ import annotations

import logging
import math
import queue
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from warppool.bitcoin.target import difficulty_from_target, target_from_nbits
from warppool.bitcoin.transaction import outputs_of
from warppool.errors import LedgerError, WarppoolError
from warppool.events import Now
from warppool.ledger.items import BlockOutcome, BlockRow
from warppool.ledger.payoutitems import Booked, ConfirmRestore, PayoutBlock, RestoredCopy, Unbooked
from warppool.node.chainitems import AskChain, ChainAnswer, OwnBlock, SeenBlock
from warppool.node.items import Verdict
from warppool.node.missing import DEPTH, FINDER
from warppool.node.steps import LogLine
from warppool.payout.clearing import Clearing
from warppool.payout.moves import PayoutState
from warppool.payout.settlement import Standing
from warppool.rewards import settlinglines
from warppool.rewards.bookings import Bookings
from warppool.rewards.claiming import Claiming
from warppool.rewards.ownblocks import SHARED, BlockJudge, Judgement, KeptSnapshots, pays_several
from warppool.rewards.past import Past
from warppool.rewards.steps import AskNode, ClaimReply, ReplaceJobs, SettlingStep, TipCleared, ToBooks

ASK_EVERY_S: Final = 600.0
ASK_AGAIN_S: Final = 2.0            # after an answer that was none: the node is busy, or its tip has just moved
ANSWER_PATIENCE_S: Final = 600.0    # for an answer: a first look along the chain takes a slow node its time
SAY_UNSEEN_AFTER_S: Final = 60.0    # of answers that are none, and between two lines that say so
CONFIRM: Final = ConfirmRestore()
UNCONFIRMED: Final = ("these books are a restored copy and may lack what was paid since: see that no newer books are "
                      "left, then run warppool payouts --confirm-restore")
DETAIL: Final = "found on the chain"
DEEPEST: Final = 4_032
"""Blocks that are looked at where the pool was away for long, four weeks: a longer look would last longer than tips."""


@dataclass(frozen=True, slots=True)
class SettlingUse:
    """What settlement is made for.

    `is_shared`: rewards are shared, so balances are paid, and the chain is looked along for blocks that nobody told us
    of. `start_ids` are those of all starts of the pool. Answers of nodes go to `reply_to`. `has_block` says whether the
    books have a block at all, as of a mode that moves no money, and `explains` whether a sudden end can be why they
    lack one of this Unix time (LedgerError).
    """

    network: str
    payout_script: bytes
    is_shared: bool
    start_ids: Collection[bytes]
    reply_to: queue.Queue[Any]
    has_block: Callable[[bytes], bool]
    explains: Callable[[float], bool]


class Settling:
    """Owned by thread `payout`.

    `wakes_at` (monotonic seconds) is when `tick` has something to do. `settled` blocks of shared rewards are settled.
    """

    def __init__(self, past: Past, use: SettlingUse, snapshots: KeptSnapshots) -> None:
        self.wakes_at = math.inf
        self.settled = past.settled
        self._settlement = past.settlement
        self._use = use
        self._judge = BlockJudge(use.network, use.payout_script, snapshots)
        self._bookings = Bookings()
        self._claiming = Claiming(past.settlement, self._bookings, use.network)
        self._known = set(past.known)                   # own blocks: the books have them, or will have them
        self._shared = dict(past.shared)                # of these, of shared rewards: the oldest share that is paid
        self._waiting: dict[bytes, OwnBlock] = {}       # until the books can be read
        self._clearing = Clearing(math.inf if past.seen_height is None else past.seen_height - DEPTH,
                                  is_confirmed=not past.is_unconfirmed)
        self._was_clear = False
        self._node: int | None = None                   # whose tip is mined
        self._tip_height = -1
        self._trouble = _Silence()

    # --- what there is to read ----------------------------------------------------------------------------------------

    @property
    def payable(self) -> Mapping[str, int]:
        """The balances that a snapshot has, by account."""
        return self._settlement.balances.payable

    @property
    def watched(self) -> Collection[bytes]:
        """The own blocks that are not settled."""
        return self._settlement.watched.keys()

    @property
    def first_share(self) -> int | None:
        """The oldest share for which a block pays that is not settled: what it is paid by is to be shown then."""
        return min((first for each in self.watched if (first := self._shared.get(each))), default=None)

    @property
    def knows_balances(self) -> bool:
        """Whether it is known what is mined, and what blocks of the journal have left of balances."""
        return self._tip_height >= 0 and self._clearing.has_journal and not self._waiting

    def may_pay(self, tip: bytes) -> bool:
        """Whether jobs on `tip` may pay balances (payout/clearing.py)."""
        return (self._use.is_shared and not self._bookings.is_broken and not self._waiting
                and self._clearing.is_clear(tip, self._settlement.watched))

    # --- what happens -------------------------------------------------------------------------------------------------

    def own_block(self, block: OwnBlock, now: Now) -> list[SettlingStep]:
        """A block of ours was found, or the journal held it. A block of mode `pool` moves no money.

        While the books cannot be read, a block waits, and no balance is paid.
        """
        if block.block_hash in self._known:
            return []
        if block.terms is None:
            self._known.add(block.block_hash)
            return []
        steps: list[SettlingStep] = [ReplaceJobs()] if self._use.is_shared and not block.is_replay else []
        try:
            judged = self._judge.found(block, block.terms, self._settlement.balances.unpaid,
                                       self._use.is_shared and not block.is_replay)
        except LedgerError:
            self._waiting[block.block_hash] = replace(block, is_replay=True)        # jobs are replaced once
            self.wakes_at = min(self.wakes_at, now.monotonic + ASK_AGAIN_S)
            return steps
        except (ValueError, WarppoolError) as exc:
            return [self._bookings.fail(f"a block of ours cannot be read: {exc}"), *steps]
        return self._take(judged, True, now) + steps

    def journal_told(self, now: Now) -> list[SettlingStep]:
        """All that the journal held at the start was told."""
        self._clearing.has_journal = True
        return self._look_if_clear()

    def mine(self, node: int, tip: bytes, height: int, now: Now) -> list[SettlingStep]:
        """Node number `node` is mined, on its `tip`, a block of this height."""
        if (node, tip) == (self._node, self._clearing.tip):
            return []
        self._node, self._tip_height = node, height
        self._clearing.move(tip)
        self._was_clear = False
        return self._ask(now)

    def tick(self, now: Now) -> list[SettlingStep]:
        """Time has passed: ask again where that is due."""
        if now.monotonic < self.wakes_at:
            return []
        waiting, self._waiting = self._waiting, {}
        steps = [step for block in waiting.values() for step in self.own_block(block, now)]
        return steps + self._ask(now)

    def answered(self, answer: ChainAnswer, now: Now) -> list[SettlingStep]:
        """What a node says; only that counts which the node that is mined says of the tip that is mined."""
        if (answer.node, answer.tip) != (self._node, self._clearing.tip):
            return []
        if answer.trouble:
            return self._unanswered(answer.trouble, now)
        steps = self._moved(answer.height, answer.standings, now)       # first: a balance that comes back ...
        try:
            for block in answer.ours:                                   # ... may be paid by a block that is new to us
                steps += self._seen(block, now)
        except LedgerError as exc:
            return steps + self._unanswered(str(exc), now)
        except (ValueError, WarppoolError) as exc:
            return [*steps, self._bookings.fail(f"a block of ours on the chain cannot be read: {exc}")]
        self._trouble.end()
        seen = [Standing(each.block_hash, answer.height - each.height + 1) for each in answer.ours]
        steps += self._moved(answer.height, seen, now)
        standings = {each.block_hash for each in (*answer.standings, *seen)}
        self._clearing.ask(standings)
        self._clearing.look(answer.looked)
        self._clearing.height = answer.height
        self._wake_in(ASK_EVERY_S, now)
        if not self._settlement.watched.keys() <= standings:
            self.wakes_at = now.monotonic                   # found since the question
        return steps + self._look_if_clear()

    def booked(self, answer: Booked | Unbooked) -> list[SettlingStep]:
        """The ledger's answer to a booking of ours."""
        steps = self._bookings.answered(answer)
        if isinstance(answer, Booked) and CONFIRM in answer.booking.rows:
            self._clearing.is_confirmed = True
            steps += self._look_if_clear()
        return steps

    def claim(self, address: str, now: Now) -> ClaimReply:
        """The operator claims a balance; what follows is answered as `Claiming` says."""
        if not self._clearing.is_confirmed:
            return ClaimReply((), False, UNCONFIRMED)
        return self._claiming.claim(address, self._tip_height, now)

    def pay(self, address: str, sat: int, txid: str, now: Now) -> ClaimReply:
        """The operator has paid what he claimed."""
        return self._claiming.pay(address, sat, txid, self._tip_height, now)

    def confirm(self, now: Now) -> ClaimReply:
        """The operator knows that the books are a restored copy."""
        if self._clearing.is_confirmed:
            return ClaimReply((), True, "these books are no restored copy, or were confirmed before")
        steps = self._bookings.book((CONFIRM,), (), {}, self._tip_height, now.unix)
        return ClaimReply(tuple(steps), True, "the restored copy is confirmed: balances are paid by it from now on",
                          self._bookings.token)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _moved(self, height: int, standings: Sequence[Standing], now: Now) -> list[SettlingStep]:
        """Have the moves booked that follow from what the node says of watched blocks."""
        heights = {block_hash: block.height for block_hash, block in self._settlement.watched.items()}
        moved = self._settlement.hear(height, standings)
        self.settled += sum(move.after is PayoutState.SETTLED and move.key in self._shared for _, move in moved)
        return self._bookings.book((), moved, heights, height, now.unix)

    def _seen(self, block: SeenBlock, now: Now) -> list[SettlingStep]:
        """The chain has a block with our mark. Nothing, if it is known, or of a mode that moves no money.

        That the books have it is not enough: a start in another mode books what the chain has, and no balance with it.
        """
        if block.block_hash in self._known:
            return []
        judged = self._judge.seen(block, self._settlement.balances.unpaid)
        is_shared = judged.is_explained and judged.row.mode == SHARED and pays_several(outputs_of(block.coinbase))
        is_booked = self._use.has_block(block.block_hash)
        if is_booked and not is_shared:
            self._known.add(block.block_hash)
            return []
        is_strange = not is_booked and not self._use.explains(block.time)
        difficulty = float(difficulty_from_target(target_from_nbits(block.nbits)))
        return [*(self._doubt(judged.row, now) if is_strange else ()), *self._take(judged, False, now),
                ToBooks(BlockRow(block.block_hash, block.height, FINDER, float(block.time), difficulty)),
                ToBooks(BlockOutcome(block.block_hash, Verdict.ACCEPTED.value, DETAIL, float(block.time)))]

    def _doubt(self, row: PayoutBlock, now: Now) -> list[SettlingStep]:
        """The books lack a block as only a copy of them does: no balance is paid before they are confirmed."""
        if not self._clearing.is_confirmed:
            return []
        self._clearing.is_confirmed = False
        return [*self._bookings.book((RestoredCopy(),), (), {}, self._tip_height, now.unix),
                *settlinglines.of_strange_loss(row), ReplaceJobs()]

    def _take(self, judged: Judgement, is_known_to_us: bool, now: Now) -> list[SettlingStep]:
        """Book an own block, and ask the node about it soon."""
        row = judged.row
        self._known.add(row.hash)
        if row.mode == SHARED:
            self._shared[row.hash] = judged.first_share
        moved = self._settlement.find(row.hash, row.parent, row.height, judged.effects)
        self.wakes_at = min(self.wakes_at, now.monotonic + ASK_AGAIN_S)
        self._was_clear = False
        return [*self._bookings.book((row,), moved, {row.hash: row.height}, self._tip_height, now.unix),
                *settlinglines.of_judgement(judged, is_known_to_us)]

    def _ask(self, now: Now) -> list[SettlingStep]:
        """Ask the node that is mined about all own blocks, and for those that nobody told us of."""
        tip, node, watched = self._clearing.tip, self._node, self._settlement.watched
        if tip is None or node is None or not (watched or self._use.is_shared):
            self._wake_in(math.inf, now)
            return []
        self._wake_in(ANSWER_PATIENCE_S, now)
        blocks = tuple((block_hash, block.height) for block_hash, block in watched.items())
        depth = self._depth() if self._use.is_shared else 0
        return [AskNode(node, AskChain(tip, blocks, frozenset(self._clearing.looked), depth, self._use.start_ids,
                                       self._use.reply_to))]

    def _depth(self) -> int:
        """How many blocks to look at: all since the last cleared tip. A start knows no such tip, but up to which height
        the pool has mined; it may have been away for longer than a day since.
        """
        return int(min(max(DEPTH, self._tip_height - self._clearing.height), DEEPEST))

    def _wake_in(self, seconds: float, now: Now) -> None:
        """The next tick, which comes soon where blocks wait for the books."""
        self.wakes_at = now.monotonic + (ASK_AGAIN_S if self._waiting else seconds)

    def _unanswered(self, trouble: str, now: Now) -> list[SettlingStep]:
        """An answer that is none: ask again soon, and say so if that lasts."""
        self.wakes_at = now.monotonic + ASK_AGAIN_S
        if not self._trouble.is_to_be_said(now.monotonic):
            return []
        return [LogLine(logging.WARNING, "payout.unseen", (
            ("node", f"node-{self._node}"), ("reason", trouble), ("blocks", len(self._settlement.watched)),
            ("consequence", "no block is settled, and no balance is paid"),
            ("cure", "let our user call getblockchaininfo, getblockhash, getblockheader, getblock and "
             "getrawtransaction")))]

    def _look_if_clear(self) -> list[SettlingStep]:
        """Say it once for a tip, and again after each own block, when balances may be paid."""
        tip, was_clear = self._clearing.tip, self._was_clear
        self._was_clear = tip is not None and self.may_pay(tip)
        return [TipCleared(tip)] if self._was_clear and not was_clear and tip is not None else []


class _Silence:
    """Since when no answer has come, and when that was said; monotonic seconds."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._said_at = -math.inf

    def end(self) -> None:
        """An answer came."""
        self._since = None

    def is_to_be_said(self, now: float) -> bool:
        """There was none again: whether a line about it is due."""
        if self._since is None:
            self._since = now
        if now < max(self._since, self._said_at) + SAY_UNSEEN_AFTER_S:
            return False
        self._said_at = now
        return True
