"""Moves of blocks and claims, and what they do to balances."""

from __future__ import annotations

import pytest

from warppool.errors import LocalProtocolError
from warppool.payout.balances import Balances
from warppool.payout.moves import (
    ALLOWED,
    BookEntry,
    Move,
    PayoutState,
    Position,
    Purse,
    booked_from,
    claim,
    claim_of,
    effects_of,
    find,
    pay,
    restore,
    reverse,
    settle,
    shortfall,
    void,
)

BLOCK, CLAIM = b"\x01" * 32, b"\x02" * 16


def balances_with(**payable: int) -> Balances:
    return Balances(BookEntry(account, Purse.PAYABLE, sat) for account, sat in payable.items())


def purses(balances: Balances, account: str) -> tuple[int, int]:
    return balances.of(account, Purse.PAYABLE), balances.of(account, Purse.MATURING)


def test_an_effect_is_the_fair_share_less_what_was_paid():
    assert effects_of({"a": 5, "b": 7, "c": 1}, {"a": 9, "c": 1, "d": 3}) == (("a", -4), ("b", 7), ("d", -3))


def test_a_debit_counts_at_once_and_a_credit_when_the_block_is_settled():
    balances = balances_with(a=10)
    block, move = find(BLOCK, [("b", 7), ("a", -4)])
    balances.apply([move])
    assert (purses(balances, "a"), purses(balances, "b")) == ((6, 0), (0, 7))
    block, move = settle(block)
    balances.apply([move])
    assert (purses(balances, "a"), purses(balances, "b")) == ((6, 0), (7, 0))
    assert (block.state, block.turn, move.turn) == (PayoutState.SETTLED, 1, 1)


def test_a_reversal_gives_debits_back_and_voids_what_matures():
    balances = balances_with(a=10)
    block, found = find(BLOCK, [("a", -4), ("b", 7)])
    block, reversal = reverse(block)
    balances.apply([found, reversal])
    assert (purses(balances, "a"), purses(balances, "b")) == ((10, 0), (0, 0))
    block, again = restore(block, balances.payable)
    balances.apply([again])
    assert (purses(balances, "a"), purses(balances, "b")) == ((6, 0), (0, 7))
    assert (again.turn, again.entries) == (2, found.entries)


def test_a_block_that_comes_back_takes_no_more_than_there_is():
    block, _ = reverse(find(BLOCK, [("a", -10), ("b", 1)])[0])
    block, move = restore(block, {"a": 4})
    assert move.entries == (BookEntry("a", Purse.PAYABLE, -4), BookEntry("b", Purse.MATURING, 1))
    assert shortfall(block) == 6
    _, back = reverse(block)
    assert back.entries == (BookEntry("a", Purse.PAYABLE, 4), BookEntry("b", Purse.MATURING, -1))


def test_no_balance_is_ever_negative():
    balances = balances_with(a=3)
    with pytest.raises(LocalProtocolError, match="a would have -1 sat payable"):
        balances.apply([find(BLOCK, [("b", 7), ("a", -4)])[1]])
    assert (purses(balances, "a"), purses(balances, "b")) == ((3, 0), (0, 0))


def test_a_transaction_is_weighed_as_a_whole():
    balances = balances_with(a=3)
    block, found = find(BLOCK, [("a", -4)])
    balances.apply([found, reverse(block)[1]])          # a rival: found, and off the chain at once
    assert purses(balances, "a") == (3, 0)


def test_a_claim_takes_the_balance_out_and_what_is_not_paid_comes_back():
    balances = balances_with(a=10)
    claimed, move = claim(CLAIM, "a", 10)
    balances.apply([move])
    assert (purses(balances, "a"), claim_of(claimed), balances.of("a", Purse.CLAIMED)) == ((0, 0), ("a", 10), 10)
    _, paid = pay(claimed, 8)
    balances.apply([paid])
    assert (purses(balances, "a"), balances.of("a", Purse.CLAIMED), balances.of("a", Purse.PAID)) == ((2, 0), 0, 8)


def test_a_claim_that_is_void_gives_all_back():
    balances = balances_with(a=10)
    claimed, move = claim(CLAIM, "a", 10)
    balances.apply([move, void(claimed)[1]])
    assert (purses(balances, "a"), balances.total(Purse.CLAIMED)) == ((10, 0), 0)


@pytest.mark.parametrize("state", PayoutState)
@pytest.mark.parametrize(("step", "after"), [
    (reverse, PayoutState.REVERSED), (lambda block: restore(block, {}), PayoutState.FOUND),
    (settle, PayoutState.SETTLED), (void, PayoutState.VOID)])
def test_only_the_moves_of_the_table_are_made(state, step, after):
    position = Position(BLOCK, state, 3, (("a", -1),), (BookEntry("a", Purse.PAYABLE, -1),))
    if after in ALLOWED.get(state, ()):
        assert step(position)[1][1:4] == (state, after, 4)
    else:
        with pytest.raises(LocalProtocolError, match=f"what is {state.value} cannot become {after.value}"):
            step(position)


def test_what_the_books_hold_is_read_back_from_their_rows():
    steps = [find(BLOCK, [("a", -10), ("b", 7)])]
    steps.append(reverse(steps[-1][0]))
    steps.append(restore(steps[-1][0], {"a": 4}))
    steps.append(settle(steps[-1][0]))
    rows: list[tuple[int, BookEntry]] = []
    for position, move in steps:
        assert isinstance(move, Move)
        rows += [(move.turn, entry) for entry in move.entries]
        assert booked_from(BLOCK, move.after, move.turn, reversed(rows)) == position
    claimed, move = claim(CLAIM, "a", 5)
    assert booked_from(CLAIM, move.after, 0, [(0, entry) for entry in move.entries]) == claimed
