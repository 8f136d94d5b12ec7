"""How the books of a shared reward change: by moves of own blocks and of claims, each with its entries.

A move leads a block, or a claim, from one state to the next. Its entries are written with it in one transaction and
are never edited: what is taken back gets entries of the opposite sign. `ALLOWED` is the table of all moves.

What an account is owed lies in purses. `payable` goes out with a later block, `maturing` is what a block left unpaid
that is not settled yet. A *debit* (a balance that a block paid out) leaves `payable` when the block is found. A
*credit* (what a block left unpaid) is `maturing` until its block is settled. All amounts are int satoshi.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from warppool.errors import LocalProtocolError


class PayoutState(StrEnum):
    """Where an own block stands, and below that, where a claim stands."""

    FOUND = "found"             # its debits count; its credits mature
    REVERSED = "reversed"       # off the mined chain: it counts for nothing
    SETTLED = "settled"         # final: its credits are payable

    CLAIMED = "claimed"         # a balance waits to be paid by hand
    PAID = "paid"               # final
    VOID = "void"               # final: the balance is payable as before


class Purse(StrEnum):
    """Where money of an account lies."""

    PAYABLE = "payable"         # goes out with the next block that has room for it
    MATURING = "maturing"       # payable once its block is settled
    CLAIMED = "claimed"         # stands in a claim: no block pays it
    PAID = "paid"               # was paid by hand


ALLOWED: Final[Mapping[PayoutState | None, frozenset[PayoutState]]] = MappingProxyType({
    None: frozenset({PayoutState.FOUND, PayoutState.CLAIMED}),
    PayoutState.FOUND: frozenset({PayoutState.REVERSED, PayoutState.SETTLED}),
    PayoutState.REVERSED: frozenset({PayoutState.FOUND}),
    PayoutState.CLAIMED: frozenset({PayoutState.PAID, PayoutState.VOID}),
})
"""Where a move may lead from each state; None is what the books do not know yet. A state that is missing is final."""


class BookEntry(NamedTuple):
    """`sat` comes into (or, if negative, leaves) a purse of `account`, a canonical address."""

    account: str
    purse: Purse
    sat: int


class Move(NamedTuple):
    """One step of `key`, a block (32 bytes, header order) or a claim (16 bytes).

    `turn` is 0 for the first one and rises by one.
    """

    key: bytes
    before: PayoutState | None
    after: PayoutState
    turn: int
    entries: tuple[BookEntry, ...]


class Position(NamedTuple):
    """What the books hold of a block or a claim.

    `effects` are what the block does to each account while it stands: below 0 a debit, above 0 a credit. `standing` are
    the entries that count now, added up: they can be less than the effects where an account could not pay them.
    """

    key: bytes
    state: PayoutState
    turn: int
    effects: tuple[tuple[str, int], ...]
    standing: tuple[BookEntry, ...]

    @property
    def debited(self) -> frozenset[str]:
        """The accounts whose balance the block pays out, whether it stands now or not."""
        return frozenset(account for account, sat in self.effects if sat < 0)


Step = tuple[Position, Move]
"""What the books hold after a move, and the move."""


def effects_of(fair: Mapping[str, int], paid: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """What a block does to each account: its fair share less what the coinbase pays to it, where that is not 0.

    `fair` and `paid` are without `payout_address`, which has no balance. Sorted by account.
    """
    net = {account: fair.get(account, 0) - paid.get(account, 0) for account in fair.keys() | paid.keys()}
    return tuple((account, net[account]) for account in sorted(net) if net[account])


def find(key: bytes, effects: Iterable[tuple[str, int]]) -> Step:
    """A block is found: its debits count from now on, and its credits mature."""
    effects = tuple(effects)
    entries = _entries_of(effects)
    return (Position(key, PayoutState.FOUND, 0, effects, entries),
            Move(key, None, PayoutState.FOUND, 0, entries))


def reverse(block: Position) -> Step:
    """The block is off the mined chain: debits come back, and what matures is void."""
    return _moved(block, PayoutState.REVERSED, _opposite(block.standing), ())


def restore(block: Position, payable: Mapping[str, int]) -> Step:
    """The block is on the mined chain again. No account pays more than it has: see `shortfall`."""
    effects = tuple((account, max(sat, -payable.get(account, 0))) for account, sat in block.effects)
    entries = _entries_of(effects)
    return _moved(block, PayoutState.FOUND, entries, entries)


def settle(block: Position) -> Step:
    """The block is buried for good: what matured is payable."""
    matured = [entry for entry in block.standing if entry.purse is Purse.MATURING]
    entries = (*_opposite(matured), *(BookEntry(account, Purse.PAYABLE, sat) for account, _, sat in matured))
    return _moved(block, PayoutState.SETTLED, entries, summed((*block.standing, *entries)))


def claim(key: bytes, account: str, sat: int) -> Step:
    """`sat` of the account's payable balance is to be paid by hand: no later block pays it."""
    entries = (BookEntry(account, Purse.PAYABLE, -sat), BookEntry(account, Purse.CLAIMED, sat))
    return (Position(key, PayoutState.CLAIMED, 0, (), summed(entries)),
            Move(key, None, PayoutState.CLAIMED, 0, entries))


def pay(claimed: Position, sat: int) -> Step:
    """`sat` of the claim was paid by hand; what the claim has beyond that is payable as before."""
    account, whole = claim_of(claimed)
    entries = (BookEntry(account, Purse.CLAIMED, -whole), BookEntry(account, Purse.PAID, sat),
               *((BookEntry(account, Purse.PAYABLE, whole - sat),) if sat < whole else ()))
    return _moved(claimed, PayoutState.PAID, entries, summed((*claimed.standing, *entries)))


def void(claimed: Position) -> Step:
    """Nothing was paid: the claim's money is payable as before."""
    return _moved(claimed, PayoutState.VOID, _opposite(claimed.standing), ())


def claim_of(claimed: Position) -> tuple[str, int]:
    """(account, satoshi) of a claim that stands."""
    return next((account, sat) for account, purse, sat in claimed.standing if purse is Purse.CLAIMED)


def claim_moved(move: Move) -> tuple[str, int]:
    """(account, satoshi) of a move of a claim: what is claimed, what was paid, or what a void claim gives back."""
    purse = Purse.PAID if move.after is PayoutState.PAID else Purse.CLAIMED
    return next((account, abs(sat)) for account, moved, sat in move.entries if moved is purse)


def shortfall(block: Position) -> int:
    """Satoshi that the block paid out of balances which were not there: the operator has lost them."""
    if block.state is PayoutState.REVERSED:
        return 0
    debits = sum(entry.sat for entry in block.standing if entry.purse is Purse.PAYABLE and entry.sat < 0)
    return debits - sum(sat for _, sat in block.effects if sat < 0)


def booked_from(key: bytes, state: PayoutState, turn: int, rows: Iterable[tuple[int, BookEntry]]) -> Position:
    """What the books hold of `key`, from its rows (turn, entry) in any order."""
    kept = list(rows)
    first = [entry for at, entry in kept if at == 0]
    effects = () if state in _OF_CLAIMS else tuple(sorted((account, sat) for account, _, sat in first))
    return Position(key, state, turn, effects, summed(entry for _, entry in kept))


def summed(entries: Iterable[BookEntry]) -> tuple[BookEntry, ...]:
    """The entries, one for each purse of an account, without those that come to 0."""
    sums: dict[tuple[str, Purse], int] = defaultdict(int)
    for account, purse, sat in entries:
        sums[account, purse] += sat
    return tuple(BookEntry(account, purse, sat) for (account, purse), sat in sorted(sums.items()) if sat)


_OF_CLAIMS = frozenset({PayoutState.CLAIMED, PayoutState.PAID, PayoutState.VOID})


def _moved(booked: Position, after: PayoutState, entries: Iterable[BookEntry], standing: Iterable[BookEntry]) -> Step:
    if after not in ALLOWED.get(booked.state, ()):
        raise LocalProtocolError(f"what is {booked.state.value} cannot become {after.value}")
    turn = booked.turn + 1
    return (Position(booked.key, after, turn, booked.effects, tuple(standing)),
            Move(booked.key, booked.state, after, turn, tuple(entries)))


def _entries_of(effects: Iterable[tuple[str, int]]) -> tuple[BookEntry, ...]:
    return tuple(BookEntry(account, Purse.PAYABLE if sat < 0 else Purse.MATURING, sat)
                 for account, sat in sorted(effects) if sat)


def _opposite(entries: Iterable[BookEntry]) -> tuple[BookEntry, ...]:
    return tuple(BookEntry(account, purse, -sat) for account, purse, sat in entries)


def moves_of(steps: Iterable[Step]) -> tuple[Move, ...]:
    """The moves of these steps, in their order."""
    return tuple(move for _, move in steps)
