"""Balances that the operator pays by hand: what becomes of a request to claim one, or to book its payment."""

from __future__ import annotations

import os
from typing import Final

from warppool.bitcoin.address import AddressError, canonical, script_of
from warppool.events import Now
from warppool.payout.moves import Purse, moves_of
from warppool.payout.settlement import Settlement
from warppool.rewards.bookings import Bookings
from warppool.rewards.steps import ClaimReply, ReplaceJobs

CLAIM_ID_SIZE: Final = 16

BROKEN: Final = ("the books have refused an earlier booking (payout.unbooked), so balances are not what they say: "
                 "restart the pool, then ask again")


class Claiming:
    """Owned by thread `payout`. A request that is made twice is booked once."""

    def __init__(self, settlement: Settlement, bookings: Bookings, network: str) -> None:
        self._settlement = settlement
        self._bookings = bookings
        self._network = network

    def claim(self, address: str, tip_height: int, now: Now) -> ClaimReply:
        """Take what is payable to `address` out of all later snapshots, so that it can be paid by hand.

        `tip_height` is that of the tip that is mined, below 0 while none is.
        """
        try:
            account = self._account(address)
        except AddressError as exc:
            return ClaimReply((), False, str(exc))
        if self._bookings.is_broken:
            return ClaimReply((), False, BROKEN)
        claims, balances = self._settlement.claims, self._settlement.balances
        if (waiting := claims.open.get(account)) is not None:
            return ClaimReply((), True, f"{waiting.sat} sat of {account} are claimed already")
        if not (sat := balances.of(account, Purse.PAYABLE)):
            return ClaimReply((), False, f"nothing is payable to {account}")
        if tip_height < 0:
            return ClaimReply((), False, "no node has told of its chain yet: try again")
        taken = claims.make(os.urandom(CLAIM_ID_SIZE), account, sat, tip_height)
        balances.apply(moves_of([taken]))
        steps = self._bookings.book((), [taken], {}, tip_height, now.unix)
        return ClaimReply((*steps, ReplaceJobs()), True,
                          f"{sat} sat of {account} are claimed: no later block pays them. Send them when two more "
                          "blocks are there and the claim still stands", self._bookings.token)

    def pay(self, address: str, sat: int, txid: str, tip_height: int, now: Now) -> ClaimReply:
        """`sat` of the claim of `address` was paid by the transaction `txid`."""
        try:
            account = self._account(address)
        except AddressError as exc:
            return ClaimReply((), False, str(exc))
        if self._bookings.is_broken:
            return ClaimReply((), False, BROKEN)
        claims = self._settlement.claims
        if claims.has_paid(account, txid):
            return ClaimReply((), True, f"the payment to {account} by {txid} is booked already")
        if why := claims.why_not(account, sat, tip_height, self._settlement.is_debited(account)):
            return ClaimReply((), False, why)
        paid = claims.pay(account, sat, txid)
        self._settlement.balances.apply(moves_of([paid]))
        steps = self._bookings.book((), [paid], {}, tip_height, now.unix, txid)
        return ClaimReply(tuple(steps), True, f"{sat} sat of {account} are booked as paid", self._bookings.token)

    def _account(self, address: str) -> str:
        script_of(address, self._network)
        return canonical(address)
