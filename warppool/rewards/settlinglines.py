"""What the log says of own blocks as settlement moves them, and of claims."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from warppool.bitcoin.hashes import to_display
from warppool.ledger.payoutitems import PayoutBlock
from warppool.node.steps import LogLine
from warppool.payout.moves import PayoutState, Purse, Step, claim_moved, shortfall
from warppool.rewards.ownblocks import Judgement

COPY_MEANING = "the books are a restored copy and may lack what was paid since it was made, so no balance is paid"
COPY_CURE = "see that no newer books are left, then run: warppool payouts --confirm-restore"
_REPORT = "this is a fault of warppool: please report it with this line"


def of_judgement(judged: Judgement, is_known_to_us: bool) -> list[LogLine]:
    """What is odd about a block. `is_known_to_us`: it was found here, and not only seen on the chain."""
    row, lines = judged.row, []
    if not is_known_to_us:
        lines.append(LogLine(logging.WARNING, "payout.recovered", (
            *_block(row), ("meaning", "the chain has this block of ours, and neither journal nor books knew it: "
                           "a kill between the hand-over and the journal leaves that"))))
    if judged.difference:
        lines.append(LogLine(logging.CRITICAL, "payout.different", (
            *_block(row), ("difference", judged.difference),
            ("consequence", "balances follow what the coinbase pays"), ("cure", _REPORT))))
    if not judged.is_explained:
        lines.append(LogLine(logging.CRITICAL, "payout.unexplained", (
            *_block(row), ("meaning", "no snapshot that is kept explains what this block of ours pays"),
            ("consequence", "nothing is credited, and each balance is taken for paid as far as it goes: compare by "
             "hand"), ("outputs_sat", row.value))))
    return lines


def of_strange_loss(row: PayoutBlock) -> list[LogLine]:
    """The chain has a block of ours that the books cannot have lost: they are a copy of before."""
    return [
        LogLine(logging.WARNING, "ledger.restored", (
            *_block(row), ("meaning", "the chain has this block of ours, which these books lack, and no sudden end "
                           "explains that: they are a restored copy"))),
        LogLine(logging.WARNING, "payout.unconfirmed", (("meaning", COPY_MEANING), ("cure", COPY_CURE))),
    ]


def of_steps(steps: Iterable[Step], heights: Mapping[bytes, int]) -> list[LogLine]:
    """The moves of blocks, whose `heights` are known by their hashes, and of claims."""
    return [line for step in steps for line in _of_step(step, heights)]


def _of_step(step: Step, heights: Mapping[bytes, int]) -> list[LogLine]:
    position, move = step
    if move.after is PayoutState.VOID:
        account, sat = claim_moved(move)
        return [LogLine(logging.WARNING, "claim.voided", (
            ("account", account), ("sat", sat), ("meaning", "a block pays this balance, so it must not be paid by "
                                                 "hand, too")))]
    if move.after in (PayoutState.CLAIMED, PayoutState.PAID):
        account, sat = claim_moved(move)
        event = "claim.made" if move.after is PayoutState.CLAIMED else "claim.paid"
        return [LogLine(logging.INFO, event, (("account", account), ("sat", sat)))]
    where = (("height", heights[move.key]), ("hash", to_display(move.key)))
    if move.after is PayoutState.REVERSED:
        return [LogLine(logging.WARNING, "payout.reversed", (
            *where, ("meaning", "the block is not on the chain that is mined: what it paid counts as unpaid")))]
    if move.after is PayoutState.SETTLED:
        return [LogLine(logging.INFO, "payout.settled", (*where, ("payable_sat", _in(step, Purse.PAYABLE))))]
    event = "payout.booked" if move.before is None else "payout.restored"
    debit = -sum(entry.sat for entry in move.entries if entry.sat < 0)
    lines = [LogLine(logging.INFO, event, (*where, ("owed_sat", _in(step, Purse.MATURING)), ("repaid_sat", debit)))]
    if lost := shortfall(position):
        lines.append(LogLine(logging.CRITICAL, "payout.short", (
            *where, ("sat", lost), ("meaning", "the block pays balances which other blocks have paid: so much is "
                                    "lost to the operator"), ("cure", _REPORT))))
    return lines


def _in(step: Step, purse: Purse) -> int:
    return sum(entry.sat for entry in step[1].entries if entry.purse is purse and entry.sat > 0)


def _block(row: PayoutBlock) -> tuple[tuple[str, object], ...]:
    return ("height", row.height), ("hash", to_display(row.hash))
