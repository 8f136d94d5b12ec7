"""Which own blocks stand on the mined chain, and what that does to balances.

The books follow the chain of the tip that is mined, as its node tells it. A block counts from the moment it is found:
its debits at once, so that no balance is paid out twice. Off that chain it is reversed, for whatever reason, and back
on it booked again. With `SETTLED_AT` confirmations it is settled, which is final.

All moves that one tip causes are one transaction, reversals before returns: a block and its rival may pay the same
balance, and never both at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from warppool.payout.balances import Balances
from warppool.payout.claims import Claims
from warppool.payout.moves import PayoutState, Position, Step, find, moves_of, restore, reverse, settle

SETTLED_AT: Final = 100
"""Confirmations (1 for the block at the tip): from then on its coinbase can be spent."""

WATCHED_UNDER: Final = 200
"""Where the tip is so many blocks higher than a block off the mined chain, nobody looks any more whether that block
comes back.
"""


class Standing(NamedTuple):
    """What the node whose tip is mined says of a block.

    `confirmations` is 1 for the block at the tip, 0 for one that is not on the node's best chain, None for one that the
    node does not know.
    """

    block_hash: bytes
    confirmations: int | None


class Watched(NamedTuple):
    """An own block that is not settled; `block_hash` and `parent` are 32 bytes in header order."""

    block_hash: bytes
    parent: bytes
    height: int
    position: Position


class Settlement:
    """Owned by one thread.

    Each method returns the steps that it took: the moves of them are one transaction for the books.
    """

    def __init__(self, balances: Balances, claims: Claims, watched: Iterable[Watched] = ()) -> None:
        self.balances = balances
        self.claims = claims
        self._watched = {block.block_hash: block for block in watched}

    @property
    def watched(self) -> Mapping[bytes, Watched]:
        """The own blocks to ask for at each tip, by their hashes."""
        return self._watched

    def find(self, block_hash: bytes, parent: bytes, height: int, effects: Iterable[tuple[str, int]]) -> list[Step]:
        """An own block was found. One that is watched already changes nothing.

        Where an account cannot bear its debit, a rival of this block has paid the balance. Only one of the two can be
        on the chain. So this one is reversed at once, until the chain shows it.
        """
        if block_hash in self._watched:
            return []
        found = find(block_hash, effects)
        steps = [*self._void(found[0]), found]
        moves = [move for _, move in steps]
        if not self.balances.can_bear(entry for move in moves for entry in move.entries):
            steps.append(reverse(found[0]))
        self._book(steps)
        self._watched[block_hash] = Watched(block_hash, parent, height, steps[-1][0])
        return steps

    def hear(self, tip_height: int, standings: Iterable[Standing]) -> list[Step]:
        """What the node says of watched blocks, at the tip of this height. What it said before changes nothing.

        A block that the node does not know, above its tip, may still come: it stays as it is.
        """
        known = [(self._watched[each.block_hash], each.confirmations) for each in standings
                 if each.block_hash in self._watched]
        known.sort(key=lambda pair: pair[0].height)
        steps: list[Step] = []
        for block, confirmations in known:
            if not confirmations and not (confirmations is None and block.height > tip_height):
                steps += self._reverse(block, tip_height)
        for block, confirmations in known:
            if confirmations:
                steps += self._return(block)
                if confirmations >= SETTLED_AT:
                    steps += self._settle(self._watched[block.block_hash])
        return steps

    def is_debited(self, account: str) -> bool:
        """Whether some watched block pays out a balance of the account, or did before it was reversed."""
        return any(account in block.position.debited for block in self._watched.values())

    def _reverse(self, block: Watched, tip_height: int) -> list[Step]:
        steps = []
        if block.position.state is PayoutState.FOUND:
            steps.append(self._moved(block, reverse(block.position)))
        if tip_height - block.height >= WATCHED_UNDER:
            del self._watched[block.block_hash]
        return steps

    def _return(self, block: Watched) -> list[Step]:
        if block.position.state is not PayoutState.REVERSED:
            return []
        voided = self._void(block.position)
        self._book(voided)
        return [*voided, self._moved(block, restore(block.position, self.balances.payable))]

    def _settle(self, block: Watched) -> list[Step]:
        step = self._moved(block, settle(block.position))
        del self._watched[block.block_hash]
        return [step]

    def _moved(self, block: Watched, step: Step) -> Step:
        self._book([step])
        self._watched[block.block_hash] = block._replace(position=step[0])
        return step

    def _void(self, position: Position) -> list[Step]:
        """A block pays out what stands in a claim: it was on its way before the claim.

        A block that pays no more than what is payable beside the claim leaves the claim as it is, since the operator
        may have sent the money already.
        """
        payable = self.balances.payable
        return [step for account, sat in position.effects
                if payable.get(account, 0) < -sat and (step := self.claims.void(account)) is not None]

    def _book(self, steps: Iterable[Step]) -> None:
        self.balances.apply(moves_of(steps))
