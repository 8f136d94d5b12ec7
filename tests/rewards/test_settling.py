"""Settlement over real books: own blocks, what the mined chain says of them, and when balances may be paid."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.payout.makers import COIN, ONE, POOL, account, make_rules, make_snapshot, script
from tests.rewards.settlingpool import (
    NODE,
    VALUE,
    PoolBooks,
    block_of,
    cleared,
    coinbase_of,
    events,
    of_kind,
    paid_by,
    replaced,
    settled,
    solo_block,
)
from warppool.ledger.items import BlockOutcome, BlockRow
from warppool.ledger.payoutitems import Booking, ClaimRow, TipRow, Unbooked
from warppool.ledger.sqlitereader import SqliteReader
from warppool.mining.payee import Terms
from warppool.node.chainitems import ChainAnswer, OwnBlock, SeenBlock
from warppool.node.missing import FINDER
from warppool.node.steps import LogLine
from warppool.payout.snapshot import Snapshot
from warppool.rewards.settling import DEEPEST
from warppool.rewards.steps import AskNode, ToBooks

ANNA, BERT, CARL = account(1), account(2, 1), account(3, 2)
SMALL = 31 + 31 + 20            # room for one output besides payout_address's
QUARTER = VALUE * 99 // 100 // 4
OWED = 990_000


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[PoolBooks]:
    with pool_of(tmp_path, "pplns") as pool:
        pool.do(pool.settling.journal_told(pool.now))
        pool.grow(10)
        yield pool


@contextmanager
def pool_of(folder: Path, mode: str) -> Iterator[PoolBooks]:
    pool = PoolBooks(folder / "shares.db", mode)
    yield pool
    pool.close()


def snapshot_on(pool: PoolBooks, balances: bool = True) -> Snapshot:
    """Anna did three parts of the work, Bert one; with the balances of now."""
    return pool.keep(make_snapshot({ANNA: 3 * ONE, BERT: ONE}, dict(pool.settling.payable) if balances else {},
                                   rules=make_rules(fee_bp=100), tip=pool.tip))


def with_balance(pool: PoolBooks) -> OwnBlock:
    """Bert has a balance that the fee of a block can pay: a coinbase had no room for him, and is settled."""
    block = paid_by(snapshot_on(pool), pool.tip, len(pool.chain), 1, room=SMALL, value=4_000_000)
    pool.find(block)
    pool.extend(block.block_hash)
    pool.grow(99)
    assert pool.purses(BERT) == (OWED, 0)
    return block


def test_a_credit_matures_with_the_chain_and_is_paid_by_a_block_on_a_cleared_tip(pool):
    block = paid_by(snapshot_on(pool), pool.tip, 11, 1, room=SMALL, value=4_000_000)
    found = pool.find(block)
    assert replaced(found) and events(found) == ["payout.booked"]
    assert pool.purses(BERT) == (0, OWED)
    pool.extend(block.block_hash)
    assert settled(pool.grow(98)) == []
    assert (pool.purses(BERT), pool.settling.settled) == ((0, OWED), 0)
    last = pool.grow(1)
    assert settled(last) == [block.block_hash] and "payout.settled" in events(last)
    assert (pool.purses(BERT), pool.settling.settled) == ((OWED, 0), 1)
    assert pool.settling.may_pay(pool.tip)
    pool.find(paid_by(snapshot_on(pool), pool.tip, len(pool.chain), 2, True))
    assert pool.purses(BERT) == (0, 0)


def test_the_books_are_taken_up_by_the_next_start(pool):
    settled_block = with_balance(pool)
    later = paid_by(snapshot_on(pool), pool.tip, len(pool.chain), 2, room=SMALL)
    assert pool.settling.first_share is None
    pool.find(later)
    assert pool.settling.first_share == pool.kept[later.terms.snapshot_id].window.first_id > 0
    pool.start()
    assert pool.settling.first_share == pool.kept[later.terms.snapshot_id].window.first_id
    assert (pool.settling.settled, set(pool.settling.watched)) == (1, {later.block_hash})
    assert pool.purses(BERT) == (OWED, QUARTER)
    assert pool.find(settled_block) == pool.find(later) == []          # the journal says them again
    pool.extend(later.block_hash)
    pool.grow(99)
    assert pool.purses(BERT) == (OWED + QUARTER, 0)


def test_a_block_that_loses_its_place_is_reversed_and_booked_again(pool):
    with_balance(pool)
    height = len(pool.chain)
    block = paid_by(snapshot_on(pool), pool.tip, height, 2, True)
    pool.find(block)
    pool.extend(block.block_hash)
    branch = pool.chain[:]
    assert pool.purses(BERT) == (0, 0)
    steps = pool.fork(height - 1, 2)
    assert events(steps).count("payout.reversed") == 1 and pool.purses(BERT) == (OWED, 0)
    assert pool.state_of(block) == ("reversed", 1)
    pool.chain[height:] = branch[height:]
    steps = pool.grow(2)
    assert "payout.restored" in events(steps) and pool.purses(BERT) == (0, 0)
    assert pool.state_of(block) == ("found", 2)


def test_two_blocks_on_one_snapshot_pay_a_balance_once(pool):
    """Two machines find a block on one tip: both coinbases pay Bert's balance, and one of them is kept."""
    with_balance(pool)
    height, snapshot = len(pool.chain), snapshot_on(pool)
    first, second = (paid_by(snapshot, pool.tip, height, number, True) for number in (2, 3))
    pool.find(first)
    pool.find(second)
    assert (pool.state_of(first), pool.state_of(second)) == (("found", 0), ("reversed", 1))
    assert pool.purses(BERT) == (0, 0)
    pool.extend(second.block_hash)
    assert (pool.state_of(first), pool.state_of(second)) == (("reversed", 1), ("found", 2))
    assert pool.purses(BERT) == (0, 0)
    assert not any(step.level == logging.CRITICAL for step in of_kind(pool.done, LogLine))


def test_a_second_block_on_the_last_snapshot_pays_no_balance(pool):
    """The first job of every tip has the weights of the last snapshot, and all balances as 0."""
    with_balance(pool)
    height, snapshot = len(pool.chain), snapshot_on(pool)
    pool.find(first := paid_by(snapshot, pool.tip, height, 2, True))
    pool.find(paid_by(snapshot, first.block_hash, height + 1, 3, False))
    assert pool.purses(BERT) == (0, 0)


# --- when balances are paid -------------------------------------------------------------------------------------------


def test_a_tip_is_cleared_by_the_answer_and_by_the_journal(tmp_path):
    with pool_of(tmp_path, "pplns") as pool:
        assert cleared(pool.grow(3)) == [] and not pool.settling.may_pay(pool.tip)
        assert cleared(pool.do(pool.settling.journal_told(pool.now))) == [pool.tip]
        assert pool.settling.may_pay(pool.tip) and not pool.settling.may_pay(pool.chain[-2])
        assert cleared(pool.grow(1)) == [pool.tip]


def test_an_own_block_closes_its_tip_until_the_node_is_asked_again(pool):
    pool.find(block := paid_by(snapshot_on(pool), pool.tip, 11, 1))
    assert not pool.settling.may_pay(pool.tip)
    assert pool.wait(0.0) == []
    assert cleared(pool.wait(2.0)) == [pool.tip]                # the node has not got it: its debits stay
    assert pool.state_of(block) == ("found", 0)


def test_an_answer_for_another_tip_or_of_another_node_counts_for_nothing(pool):
    pool.find(block := paid_by(snapshot_on(pool), pool.tip, 11, 1, room=SMALL))
    pool.chain.append(block.block_hash)
    for _ in range(150):
        pool.chain.append(bytes(28) + len(pool.chain).to_bytes(4, "big"))
    [question] = of_kind(pool.do(pool.settling.mine(NODE, pool.tip, len(pool.chain) - 1, pool.now), answers=False),
                         AskNode)
    answer = pool.answer_to(question)
    assert answer.standings[0].confirmations == 151
    assert pool.do(pool.settling.answered(replace(answer, node=NODE + 1), pool.now)) == []
    assert pool.do(pool.settling.answered(replace(answer, tip=pool.chain[-2]), pool.now)) == []
    pool.do(pool.settling.mine(NODE + 1, b"\x05" * 32, 12, pool.now), answers=False)     # another node is mined now
    assert pool.do(pool.settling.answered(answer, pool.now)) == []
    assert pool.purses(BERT) == (0, QUARTER)


def test_a_node_is_asked_every_ten_minutes_and_soon_after_an_answer_that_was_none(pool):
    assert pool.wait(599.0) == []
    assert of_kind(pool.wait(1.0), AskNode)
    pool.grow(1)
    trouble = ChainAnswer(NODE, pool.tip, trouble="its tip is another one by now")
    assert pool.do(pool.settling.answered(trouble, pool.now)) == []
    assert of_kind(pool.wait(2.0), AskNode)


def test_a_node_that_gives_no_answers_is_said_once_a_minute(pool):
    trouble, said = ChainAnswer(NODE, pool.tip, trouble="the node forbids getblock"), []
    for _ in range(65):
        said += events(pool.do(pool.settling.answered(trouble, pool.now)))
        pool.do(pool.settling.tick(pool.now), answers=False)
        pool.now = pool.now._replace(monotonic=pool.now.monotonic + 2.0)
    assert said == ["payout.unseen", "payout.unseen"]


def test_books_that_refuse_a_booking_end_all_payments_of_balances(pool):
    assert pool.settling.may_pay(pool.tip)
    steps = pool.settling.own_block(paid_by(snapshot_on(pool), pool.tip, 11, 1), pool.now)
    [booking] = [step.item for step in of_kind(steps, ToBooks)]
    assert isinstance(booking, Booking)
    assert events(pool.settling.booked(Unbooked(booking, "the disk is gone"))) == ["payout.unbooked"]
    assert cleared(pool.wait(2.0)) == [] and cleared(pool.grow(1)) == []


def test_a_block_waits_while_the_books_cannot_be_read(pool):
    snapshot = snapshot_on(pool)
    pool.trouble = "locked"
    block = paid_by(snapshot, pool.tip, 11, 1, room=SMALL)
    assert replaced(pool.find(block)) and not pool.settling.may_pay(pool.tip)
    assert not replaced(pool.wait(2.0))                 # machines drop their work once
    assert pool.purses(BERT) == (0, 0) and not pool.settling.may_pay(pool.tip)
    pool.trouble = ""
    pool.wait(2.0)
    assert pool.purses(BERT) == (0, QUARTER)
    pool.wait(2.0)
    assert pool.settling.may_pay(pool.tip)


# --- coinbases that are odd -------------------------------------------------------------------------------------------


def test_the_coinbase_wins_and_the_difference_is_critical(pool):
    snapshot = snapshot_on(pool)
    block = paid_by(snapshot, pool.tip, 11, 1)
    other = coinbase_of(((VALUE, block.terms.payout_script),), 11, 1)
    steps = pool.find(replace(block, coinbase_tx=other))
    assert "payout.different" in events(steps)
    assert pool.purses(ANNA) == (0, 3 * QUARTER) and pool.purses(BERT) == (0, QUARTER)


def test_a_block_whose_snapshot_is_lost_takes_balances_for_paid(pool):
    with_balance(pool)
    height, snapshot = len(pool.chain), snapshot_on(pool)
    pool.kept.clear()
    steps = pool.find(paid_by(snapshot, pool.tip, height, 2, True))
    assert "payout.unexplained" in events(steps) and pool.purses(BERT) == (0, 0)


def test_a_block_that_cannot_be_read_ends_all_payments_of_balances(pool):
    block = paid_by(snapshot_on(pool), pool.tip, 11, 1)
    assert events(pool.find(replace(block, coinbase_tx=b"\x00" * 60))) == ["payout.unbooked"]
    assert not pool.settling.may_pay(pool.tip)


# --- blocks that only the chain knows ---------------------------------------------------------------------------------


def lose(pool: PoolBooks, block: OwnBlock) -> None:
    """The chain has the block, and nobody has told of it."""
    pool.seen[block.block_hash] = SeenBlock(block.block_hash, pool.chain[-1], pool.chain[-2], block.height,
                                            int(block.time), 0x207FFFFF, block.coinbase_tx)


@pytest.mark.parametrize("is_of_the_tip_before", [False, True])
def test_a_lost_block_is_booked_by_the_snapshot_that_explains_it(pool, is_of_the_tip_before):
    with_balance(pool)
    snapshot = snapshot_on(pool)
    if is_of_the_tip_before:
        pool.grow(1)
    block = paid_by(snapshot, pool.tip, len(pool.chain), 2, not is_of_the_tip_before,
                    room=SMALL if is_of_the_tip_before else 2_000)
    lose(pool, block)
    steps = pool.extend(block.block_hash)
    assert "payout.recovered" in events(steps) and "payout.unexplained" not in events(steps)
    assert cleared(steps) == [pool.tip]
    assert pool.purses(BERT) == ((OWED, QUARTER) if is_of_the_tip_before else (0, 0))
    assert pool.state_of(block) == ("found", 0)
    rows = [step.item for step in of_kind(steps, ToBooks) if isinstance(step.item, BlockRow | BlockOutcome)]
    assert [row.hash for row in rows] == [block.block_hash] * 2 and rows[0].user == FINDER
    assert pool.grow(1) and pool.find(block) == []


def test_a_lost_block_of_a_time_in_which_the_books_took_no_snapshot_is_explained_by_the_last_one(pool):
    snapshot = snapshot_on(pool)
    pool.grow(9)
    block = paid_by(snapshot, pool.tip, len(pool.chain), 2, room=SMALL)
    lose(pool, block)
    assert "payout.unexplained" not in events(pool.extend(block.block_hash))
    assert pool.purses(BERT) == (0, QUARTER)


@pytest.mark.parametrize("away", [500, 5000])
def test_a_lost_block_is_found_though_the_pool_was_away_for_longer_than_a_day(pool, away):
    """A balance that it paid would be paid once more, on a tip that was not looked along far enough."""
    with_balance(pool)
    block = paid_by(snapshot_on(pool), pool.tip, len(pool.chain), 2, True)
    assert pool.write(Booking((TipRow(block.height, pool.tip, 0x207FFFFF),))) is None
    lose(pool, block)
    pool.start()
    pool.do(pool.settling.journal_told(pool.now))
    pool.chain.append(block.block_hash)
    steps = pool.grow(away)
    assert ("payout.recovered" in events(steps)) is (away < DEEPEST)
    assert pool.purses(BERT) == ((0, 0) if away < DEEPEST else (OWED, 0))
    assert cleared(steps) == [pool.tip]


def test_a_lost_block_that_nothing_explains_debits_what_there_is_and_credits_nothing(pool):
    with_balance(pool)
    snapshot = snapshot_on(pool)
    block = paid_by(snapshot, pool.tip, len(pool.chain), 2, True)
    pool.kept.clear()
    lose(pool, block)
    steps = pool.extend(block.block_hash)
    assert "payout.unexplained" in events(steps)
    assert (pool.purses(ANNA), pool.purses(BERT)) == ((0, 0), (0, 0))
    assert pool.settling.may_pay(pool.tip)


def test_a_lost_block_that_nothing_explains_may_have_paid_what_is_claimed(pool):
    with_balance(pool)
    block = paid_by(snapshot_on(pool), pool.tip, len(pool.chain), 2, True)
    pool.kept.clear()
    pool.do(pool.settling.claim(BERT, pool.now).steps)
    lose(pool, block)
    assert "claim.voided" in events(pool.extend(block.block_hash)) and pool.purses(BERT) == (0, 0)


def test_a_lost_block_that_paid_one_account_moves_no_balance(pool):
    with_balance(pool)
    pool.kept.clear()
    empty = pool.keep(make_snapshot({}, dict(pool.settling.payable), rules=make_rules(fee_bp=100), tip=pool.tip))
    block = solo_block(BERT, pool.tip, len(pool.chain), 2, snapshot_id=empty.id)
    lose(pool, block)
    steps = pool.extend(block.block_hash)
    assert "payout.unexplained" not in events(steps) and pool.purses(BERT) == (OWED, 0)
    with SqliteReader(pool.path) as reader:
        row = reader.payout_block(block.block_hash).block
    assert (row.mode, row.account, row.snapshot_id) == ("solo", BERT, b"")      # as one that was found here


def test_a_lost_block_that_nothing_explains_takes_what_comes_back_from_the_branch_that_it_beats(pool):
    with_balance(pool)
    height, snapshot = len(pool.chain), snapshot_on(pool)
    first, second = (paid_by(snapshot, pool.tip, height, number, True) for number in (2, 3))
    pool.find(first)
    pool.extend(first.block_hash)
    del pool.chain[height:]
    pool.kept.clear()
    lose(pool, second)
    steps = pool.extend(second.block_hash)
    assert {"payout.reversed", "payout.unexplained"} <= set(events(steps))
    assert pool.purses(BERT) == (0, 0)


def test_a_lost_block_that_the_books_have_of_a_start_in_another_mode_moves_its_balances(pool):
    with_balance(pool)
    block = paid_by(snapshot_on(pool), pool.tip, len(pool.chain), 2, True)
    lose(pool, block)
    pool.others.add(block.block_hash)
    pool.extend(block.block_hash)
    assert pool.purses(BERT) == (0, 0)


def test_a_block_of_a_mode_that_moves_no_money_is_left_alone(pool):
    block = solo_block(ANNA, pool.tip, len(pool.chain), 2)
    lose(pool, block)
    pool.others.add(block.block_hash)
    steps = pool.extend(block.block_hash)
    assert events(steps) == [] and cleared(steps) == [pool.tip]


@pytest.mark.parametrize(("is_in_books", "away"), [(True, 0), (True, 9), (False, 9)])
def test_a_block_that_pays_the_operator_alone_is_nobodys_credit(pool, is_in_books, away):
    """It is of a start in mode pool, and each snapshot would explain it by a coinbase without room for anybody."""
    snapshot = snapshot_on(pool)
    pool.grow(away)
    terms = Terms(POOL, b"", 0, VALUE, 0, script(POOL), False)
    block = block_of(terms, ((VALUE, script(POOL)),), pool.tip, len(pool.chain), 2)
    lose(pool, block)
    if is_in_books:
        pool.others.add(block.block_hash)
    steps = pool.extend(block.block_hash)
    assert dict(snapshot.weights) and (pool.purses(ANNA), pool.purses(BERT)) == ((0, 0), (0, 0))
    assert cleared(steps) == [pool.tip]


def test_balances_are_not_paid_while_a_lost_block_cannot_be_looked_up(pool):
    block = paid_by(snapshot_on(pool), pool.tip, len(pool.chain), 2)
    lose(pool, block)
    pool.trouble = "locked"
    pool.extend(block.block_hash)
    assert not pool.settling.may_pay(pool.tip)
    pool.trouble = ""
    assert cleared(pool.wait(2.0)) == [pool.tip]


# --- solo -------------------------------------------------------------------------------------------------------------


def test_in_solo_blocks_have_states_and_move_no_balance(tmp_path):
    with pool_of(tmp_path, "solo") as pool:
        pool.do(pool.settling.journal_told(pool.now))
        pool.grow(3)
        block = solo_block(ANNA, pool.tip, 4, 1)
        steps = pool.find(block)
        assert not replaced(steps) and events(steps) == ["payout.booked"] and pool.state_of(block) == ("found", 0)
        pool.extend(block.block_hash)
        assert settled(pool.grow(99)) == [block.block_hash]
        assert (pool.settling.settled, pool.settling.may_pay(pool.tip)) == (0, False)


def test_a_solo_coinbase_that_pays_somebody_else_is_critical(tmp_path):
    with pool_of(tmp_path, "solo") as pool:
        block = solo_block(ANNA, pool.tip, 1, 1)
        assert "payout.different" in events(pool.find(replace(block, terms=replace(block.terms, account=BERT))))


def test_a_block_of_mode_pool_moves_nothing(pool):
    block = paid_by(snapshot_on(pool), pool.tip, 11, 1)
    assert pool.find(replace(block, terms=None)) == []
    assert block_of(Terms("", b"", 0, COIN, 0, b"\x51", False), ((COIN, b"\x51"),), pool.tip, 1, 1).terms


# --- claims -----------------------------------------------------------------------------------------------------------


TXID = "ab" * 32


def test_after_a_start_balances_are_known_with_the_journal_and_a_tip(pool):
    """A block that the journal holds may have paid what is claimed."""
    pool.grow(1)
    pool.start()
    assert not pool.settling.knows_balances
    pool.grow(1)
    assert not pool.settling.knows_balances
    pool.do(pool.settling.journal_told(pool.now))
    assert pool.settling.knows_balances


def test_a_balance_is_claimed_and_paid_by_hand(pool):
    with_balance(pool)
    reply = pool.settling.claim(BERT.upper(), pool.now)
    assert reply.is_done and replaced(reply.steps) and reply.token is not None
    pool.do(reply.steps)
    assert pool.purses(BERT) == (0, 0)
    again = pool.settling.claim(BERT, pool.now)
    assert again.is_done and again.token is None and not again.steps
    refused = pool.settling.pay(BERT, OWED, TXID, pool.now)
    assert not refused.is_done and "from height" in refused.sentence
    pool.grow(2)
    pool.start()                                            # claims are taken up from the books
    pool.grow(1)
    assert not pool.settling.pay(BERT, OWED + 1, TXID, pool.now).is_done
    paid = pool.settling.pay(BERT, OWED - 5, TXID, pool.now)
    assert paid.is_done
    pool.do(paid.steps)
    assert pool.purses(BERT) == (5, 0)
    pool.start()
    again = pool.settling.pay(BERT, OWED - 5, TXID, pool.now)
    assert again.is_done and "already" in again.sentence and pool.purses(BERT) == (5, 0)


@pytest.mark.parametrize(("address", "words"), [
    (CARL, "nothing is payable"), ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "regtest"), ("junk", "junk")])
def test_what_cannot_be_claimed_is_said(pool, address, words):
    reply = pool.settling.claim(address, pool.now)
    assert not reply.is_done and words in reply.sentence and not reply.steps


def test_a_block_that_pays_a_claimed_balance_voids_the_claim(pool):
    with_balance(pool)
    height, snapshot = len(pool.chain), snapshot_on(pool)
    pool.do(pool.settling.claim(BERT, pool.now).steps)
    steps = pool.find(paid_by(snapshot, pool.tip, height, 2, True))        # by a job from before the claim
    assert "claim.voided" in events(steps) and pool.purses(BERT) == (0, 0)
    pool.grow(3)
    assert "no claim" in pool.settling.pay(BERT, 1, TXID, pool.now).sentence


def test_nothing_is_claimed_or_paid_once_the_books_have_refused_a_booking(pool):
    """What is known here may be more than they hold: a claim of that would be a debt of the account in the books."""
    with_balance(pool)
    reply = pool.settling.claim(BERT, pool.now)
    [booking] = [step.item for step in of_kind(reply.steps, ToBooks)]
    pool.do(pool.settling.booked(Unbooked(booking, "the disk is gone")))
    pool.grow(2)
    for refused in (pool.settling.claim(BERT, pool.now), pool.settling.pay(BERT, OWED, TXID, pool.now)):
        assert not refused.is_done and "restart" in refused.sentence and not refused.steps
    pool.start()
    assert pool.purses(BERT) == (OWED, 0)


def test_books_with_the_end_of_a_claim_that_they_did_not_take_can_be_read(pool):
    with_balance(pool)
    assert pool.write(Booking((ClaimRow(bytes(16), BERT, "void", 5, 9, 1.0),))) is None
    pool.start()
    assert pool.purses(BERT) == (OWED, 0)


def test_a_payment_waits_for_blocks_that_might_pay_the_balance(pool):
    with_balance(pool)
    block = paid_by(snapshot_on(pool), pool.tip, len(pool.chain), 2, True)
    pool.find(block)
    pool.grow(1)                                            # it lost its place
    pool.do(pool.settling.claim(BERT, pool.now).steps)
    pool.grow(5)
    assert "not settled" in pool.settling.pay(BERT, OWED, TXID, pool.now).sentence
    pool.grow(200)
    assert pool.settling.pay(BERT, OWED, TXID, pool.now).is_done


def test_a_block_from_before_there_was_a_weight_is_one_of_shared_rewards(pool):
    pool.find(block := solo_block(ANNA, pool.tip, 11, 1))
    pool.extend(block.block_hash)
    pool.grow(99)
    assert (pool.settling.settled, pool.purses(ANNA)) == (1, (0, 0))
    pool.start()
    assert pool.settling.settled == 1
