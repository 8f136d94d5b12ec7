"""Own blocks as the chain shows them, and what that does to balances."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from warppool.payout.balances import Balances
from warppool.payout.claims import Claims
from warppool.payout.clearing import MOST_LOOKED, Clearing
from warppool.payout.moves import BookEntry, PayoutState, Purse, Step, shortfall
from warppool.payout.settlement import SETTLED_AT, WATCHED_UNDER, Settlement, Standing

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))
PARENT = b"\x09" * 32


def settlement(**payable: int) -> Settlement:
    entries = [BookEntry(account, Purse.PAYABLE, sat) for account, sat in payable.items()]
    return Settlement(Balances(entries), Claims())


def states(steps: Iterable[Step]) -> list[tuple[bytes, PayoutState]]:
    return [(move.key, move.after) for _, move in steps]


def purses(books: Settlement, account: str) -> tuple[int, int]:
    return books.balances.of(account, Purse.PAYABLE), books.balances.of(account, Purse.MATURING)


def found(books: Settlement, block: bytes = A, height: int = 10, **effects: int) -> list[Step]:
    return books.find(block, PARENT, height, effects.items())


def test_a_block_that_is_found_twice_is_booked_once():
    books = settlement(a=10)
    assert states(found(books, a=-4)) == [(A, PayoutState.FOUND)]
    assert found(books, a=-4) == []
    assert purses(books, "a") == (6, 0)


def test_a_verdict_that_is_repeated_books_nothing():
    books = settlement(a=10)
    found(books, a=-4)
    assert books.hear(10, [Standing(A, 1)]) == []
    assert states(books.hear(11, [Standing(A, 0)])) == [(A, PayoutState.REVERSED)]
    assert books.hear(11, [Standing(A, 0)]) == []
    assert states(books.hear(12, [Standing(A, 3)])) == [(A, PayoutState.FOUND)]
    assert books.hear(12, [Standing(A, 3)]) == []


def test_a_block_above_the_tip_that_the_node_does_not_know_may_still_come():
    books = settlement(a=10)
    found(books, height=11, a=-4)
    assert books.hear(10, [Standing(A, None)]) == []
    assert states(books.hear(11, [Standing(A, None)])) == [(A, PayoutState.REVERSED)]


def test_a_block_above_the_tip_that_the_node_knows_is_off_its_chain():
    books = settlement(a=10)
    found(books, height=11, a=-4)
    assert states(books.hear(10, [Standing(A, 0)])) == [(A, PayoutState.REVERSED)]


def test_a_block_is_settled_under_a_hundred_confirmations_and_never_before():
    books = settlement()
    found(books, height=10, a=7)
    assert books.hear(108, [Standing(A, SETTLED_AT - 1)]) == []
    assert purses(books, "a") == (0, 7)
    assert states(books.hear(109, [Standing(A, SETTLED_AT)])) == [(A, PayoutState.SETTLED)]
    assert (purses(books, "a"), dict(books.watched)) == ((7, 0), {})
    assert books.hear(109, [Standing(A, 0)]) == []


def test_a_block_that_comes_back_deep_in_the_chain_is_settled_with_the_same_step():
    books = settlement()
    found(books, height=10, a=7)
    books.hear(50, [Standing(A, 0)])
    assert states(books.hear(150, [Standing(A, 141)])) == [(A, PayoutState.FOUND), (A, PayoutState.SETTLED)]
    assert purses(books, "a") == (7, 0)


def test_a_block_off_the_chain_is_watched_for_two_hundred_blocks():
    books = settlement()
    found(books, height=10, a=7)
    assert states(books.hear(9 + WATCHED_UNDER, [Standing(A, None)])) == [(A, PayoutState.REVERSED)]
    assert A in books.watched
    assert books.hear(10 + WATCHED_UNDER, [Standing(A, 0)]) == []
    assert A not in books.watched


def test_the_rival_of_a_block_that_paid_the_same_balance_waits_for_the_chain():
    """Two blocks on one parent, from one snapshot: both pay the whole balance, and one of them at most is kept."""
    books = settlement(a=10)
    found(books, A, a=-10, b=3)
    assert states(found(books, B, a=-10, c=4)) == [(B, PayoutState.FOUND), (B, PayoutState.REVERSED)]
    assert (purses(books, "a"), purses(books, "b"), purses(books, "c")) == ((0, 0), (0, 3), (0, 0))
    steps = books.hear(11, [Standing(B, 2), Standing(A, 0)])
    assert states(steps) == [(A, PayoutState.REVERSED), (B, PayoutState.FOUND)]      # the reversal is first
    assert (purses(books, "a"), purses(books, "b"), purses(books, "c")) == ((0, 0), (0, 0), (0, 4))
    assert [shortfall(position) for position, _ in steps] == [0, 0]


def test_a_block_on_the_chain_that_paid_what_was_not_there_is_a_loss_and_no_debt():
    books = settlement(a=10)
    found(books, A, a=-10)
    found(books, B, 11, a=-10)
    [(position, move)] = books.hear(11, [Standing(A, 2), Standing(B, 1)])
    assert (move.after, move.entries, shortfall(position)) == (PayoutState.FOUND, (), 10)
    assert purses(books, "a") == (0, 0)


def test_a_block_that_pays_a_claimed_balance_makes_the_claim_void():
    books = settlement(a=10)
    step = books.claims.make(bytes(16), "a", 10, 10)
    books.balances.apply([step[1]])
    assert states(found(books, height=11, a=-10)) == [(bytes(16), PayoutState.VOID), (A, PayoutState.FOUND)]
    assert (purses(books, "a"), dict(books.claims.open)) == ((0, 0), {})
    assert states(books.hear(11, [Standing(A, 0)])) == [(A, PayoutState.REVERSED)]
    assert purses(books, "a") == (10, 0)


def test_a_block_that_pays_what_is_payable_beside_a_claim_leaves_the_claim():
    """The operator may have sent the money of the claim already: were it payable again, it would be paid twice."""
    books = settlement(a=10)
    step = books.claims.make(bytes(16), "a", 10, 10)
    books.balances.apply([step[1]])
    found(books, B, a=4)
    books.hear(109, [Standing(B, 100)])                 # so much has become payable since
    assert states(found(books, height=110, a=-4)) == [(A, PayoutState.FOUND)]
    assert (purses(books, "a"), books.claims.open["a"].sat) == ((0, 0), 10)
    assert states(found(books, C, height=110, a=-4)) == [(bytes(16), PayoutState.VOID), (C, PayoutState.FOUND)]
    assert (purses(books, "a"), dict(books.claims.open)) == ((6, 0), {})


def test_a_block_that_comes_back_makes_a_claim_void_too():
    books = settlement(a=10)
    found(books, a=-10)
    books.hear(11, [Standing(A, 0)])
    step = books.claims.make(bytes(16), "a", 10, 11)
    books.balances.apply([step[1]])
    assert states(books.hear(12, [Standing(A, 3)])) == [(bytes(16), PayoutState.VOID), (A, PayoutState.FOUND)]
    assert purses(books, "a") == (0, 0)


@pytest.mark.parametrize(("account", "sat", "height", "is_debited", "words"), [
    ("a", 10, 12, False, ""),
    ("a", 1, 900, False, ""),
    ("b", 10, 12, False, "has no claim"),
    ("a", 11, 12, False, "cannot have been paid 11 sat"),
    ("a", 0, 12, False, "cannot have been paid 0 sat"),
    ("a", 10, 11, False, "from height 12 on"),
    ("a", 10, 12, True, "not settled pays out a balance"),
])
def test_when_a_payment_by_hand_is_booked(account, sat, height, is_debited, words):
    claims = Claims()
    claims.make(bytes(16), "a", 10, 10)
    why = claims.why_not(account, sat, height, is_debited)
    assert words in why if words else why == ""


def test_a_payment_is_known_again():
    claims = Claims(paid=[("b", "cc" * 32)])
    claims.make(bytes(16), "a", 10, 10)
    _, move = claims.pay("a", 7, "ab" * 32)
    assert move.after is PayoutState.PAID
    assert claims.has_paid("a", "ab" * 32) and claims.has_paid("b", "cc" * 32)
    assert not claims.has_paid("a", "cc" * 32)


def test_blocks_that_are_watched_speak_against_a_payment_reversed_or_not():
    books = settlement(a=10)
    found(books, a=-10, b=4)
    assert (books.is_debited("a"), books.is_debited("b")) == (True, False)
    books.hear(11, [Standing(A, 0)])
    assert books.is_debited("a")
    books.hear(10 + WATCHED_UNDER, [Standing(A, 0)])
    assert not books.is_debited("a")


def clear(clearing: Clearing, *own: bytes) -> bool:
    return clearing.is_clear(PARENT, own)


def test_balances_are_paid_on_a_tip_that_is_cleared_and_on_no_other():
    clearing = Clearing()
    clearing.move(PARENT)
    assert not clear(clearing)
    clearing.look([PARENT])
    assert not clear(clearing)                      # the journal is not booked
    clearing.has_journal = True
    assert clear(clearing)
    assert not clear(clearing, A)                   # an own block was not asked for
    clearing.ask([A, B])
    assert clear(clearing, A)
    assert not clear(clearing, A, C)                # found after the answer
    assert not clearing.is_clear(C, [])             # another tip
    clearing.move(C)
    assert not clearing.is_clear(C, [])
    clearing.move(PARENT)
    assert clear(clearing)
    assert not clear(clearing, A)                   # asked at another tip in between


def test_what_was_looked_at_is_kept_within_bounds():
    clearing = Clearing()
    hashes = [number.to_bytes(32, "big") for number in range(MOST_LOOKED + 1)]
    clearing.look(hashes[:10])
    clearing.look(hashes[10:])
    assert len(clearing.looked) == MOST_LOOKED
    assert hashes[0] not in clearing.looked and hashes[-1] in clearing.looked
