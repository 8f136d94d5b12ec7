"""The bookings of own blocks and claims: each one transaction of the books, and what becomes of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from warppool.ledger.payoutitems import Booked, Booking, ConfirmRestore, PayoutBlock, PayoutRow, RestoredCopy, Unbooked
from warppool.node.steps import LogLine
from warppool.payout.moves import PayoutState, Step
from warppool.rewards import settlinglines
from warppool.rewards.past import claim_rows
from warppool.rewards.steps import BlocksSettled, SettlingStep, SettlingToken, ToBooks


class Bookings:
    """Owned by thread `payout`. `is_broken`: the books have refused one, so what is known here is not what they hold.

    `token` is that of the last booking.
    """

    def __init__(self) -> None:
        self.is_broken = False
        self.token = SettlingToken(0)
        self._settled_with: dict[SettlingToken, tuple[bytes, ...]] = {}     # the blocks that a booking settles

    def book(self, blocks: Iterable[PayoutBlock | ConfirmRestore | RestoredCopy], moved: Iterable[Step],
             heights: Mapping[bytes, int], tip_height: int, unix: float, txid: str = "") -> list[SettlingStep]:
        """Have new `blocks` and all these moves booked, and say what happened; nothing where there is neither.

        `heights` are those of the blocks that move, by their hashes; the other moves are of claims. `txid` is that of a
        payment by hand.
        """
        moved = list(moved)
        moves = tuple(move for _, move in moved if move.key in heights)
        rows: tuple[PayoutRow, ...] = (*blocks, *moves, *claim_rows(moved, tip_height, unix, txid))
        if not rows:
            return []
        self.token = SettlingToken(self.token.number + 1)
        if settled := tuple(move.key for move in moves if move.after is PayoutState.SETTLED):
            self._settled_with[self.token] = settled
        return [ToBooks(Booking(rows, self.token)), *settlinglines.of_steps(moved, heights)]

    def answered(self, answer: Booked | Unbooked) -> list[SettlingStep]:
        """The ledger's answer to one of these bookings."""
        token = answer.booking.token
        assert isinstance(token, SettlingToken)
        settled = self._settled_with.pop(token, ())
        if isinstance(answer, Unbooked):
            return [self.fail(answer.reason)]
        return [BlocksSettled(settled)] if settled else []

    def fail(self, reason: str) -> LogLine:
        """Something cannot be booked: from now on no balance is paid."""
        self.is_broken = True
        return LogLine(logging.CRITICAL, "payout.unbooked", (
            ("reason", reason), ("consequence", "no balance is paid until the next start, which reads the books anew"),
            ("cure", "restart, and report this line if it comes again")))
