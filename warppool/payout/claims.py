"""Balances that are paid by hand: first claimed, so that no later block pays them, and then told as paid.

A job that is out when a balance is claimed may still find a block, which pays that balance. So a payment is taken two
tips later, and not while a block that might count pays out a balance of that account. A block that pays out what
stands in a claim makes the claim void; one that pays what has become payable since does not. Whoever sends the money
waits for as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from warppool.payout.moves import Position, Step, claim, claim_of, pay, void

TIPS_TO_WAIT: Final = 2
"""From a claim to its payment. The last job that could pay the balance stood on the tip at the claim."""


class OpenClaim(NamedTuple):
    """A claim that waits for its payment; `height` is that of the tip that was mined when it was made."""

    position: Position
    height: int

    @property
    def sat(self) -> int:
        """How much stands in it."""
        return claim_of(self.position)[1]


class Claims:
    """The claims of all accounts, one of each at most. `paid` are the payments that are booked: (account, txid)."""

    def __init__(self, claims: Iterable[OpenClaim] = (), paid: Iterable[tuple[str, str]] = ()) -> None:
        self._open = {claim_of(each.position)[0]: each for each in claims}
        self._paid = set(paid)

    @property
    def open(self) -> Mapping[str, OpenClaim]:
        """The claims that wait, by account."""
        return self._open

    def make(self, claim_id: bytes, account: str, sat: int, height: int) -> Step:
        """Claim `sat` of the account, which has no claim yet and so much payable; `claim_id` has 16 bytes."""
        step = claim(claim_id, account, sat)
        self._open[account] = OpenClaim(step[0], height)
        return step

    def void(self, account: str) -> Step | None:
        """The account's claim is void; None where it has none."""
        found = self._open.pop(account, None)
        return None if found is None else void(found.position)

    def has_paid(self, account: str, txid: str) -> bool:
        """Whether this payment is booked."""
        return (account, txid) in self._paid

    def why_not(self, account: str, sat: int, height: int, is_debited: bool) -> str:
        """Why a payment cannot be booked now, as a sentence; "" if it can.

        `height` is that of the tip that is mined. `is_debited` says that a watched block pays out a balance of the
        account.
        """
        found = self._open.get(account)
        if found is None:
            return (f"{account} has no claim: claim its balance first, or a block that was found meanwhile has paid it "
                    "and made the claim void")
        if not 0 < sat <= found.sat:
            return f"the claim of {account} has {found.sat} sat, so it cannot have been paid {sat} sat"
        if height < found.height + TIPS_TO_WAIT:
            return (f"the claim was made at height {found.height}: a job of then may still find a block that pays it, "
                    f"so a payment is booked from height {found.height + TIPS_TO_WAIT} on")
        if is_debited:
            return (f"a block that is not settled pays out a balance of {account}: a payment is booked when all such "
                    "blocks are settled, or buried by a better branch")
        return ""

    def pay(self, account: str, sat: int, txid: str) -> Step:
        """Book a payment that nothing speaks against (`why_not`)."""
        step = pay(self._open.pop(account).position, sat)
        self._paid.add((account, txid))
        return step
