"""Books that are a restored copy: balances wait until the operator confirms them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.payout.makers import account
from tests.rewards.settlingpool import NBITS, PoolBooks, events, solo_block
from warppool.claimfiles import CONFIRM, ClaimRequest, ask, take_answer
from warppool.ledger.payoutitems import Booked
from warppool.ledger.sqlitereader import SqliteReader
from warppool.node.chainitems import SeenBlock
from warppool.rewards.claimtaker import ClaimTaker
from warppool.rewards.steps import ReplaceJobs, TipCleared, ToBooks


@pytest.fixture
def pool(tmp_path):
    pool = PoolBooks(tmp_path / "shares.db")
    with closing(sqlite3.connect(pool.path)) as connection, connection:
        connection.execute("UPDATE meta SET is_unconfirmed = 1")
    pool.start()
    pool.do(pool.settling.journal_told(pool.now))
    pool.grow(3)
    yield pool
    pool.close()


def test_nothing_is_paid_by_a_restored_copy_before_it_is_confirmed(pool, tmp_path):
    assert not pool.settling.may_pay(pool.tip)
    reply = pool.settling.claim("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", pool.now)
    assert not reply.is_done and "--confirm-restore" in reply.sentence
    folder = tmp_path / "requests"
    folder.mkdir()
    taker, name = ClaimTaker(folder, pool.settling), ask(folder, ClaimRequest(CONFIRM))
    steps = taker.look(pool.now)
    assert not pool.settling.may_pay(pool.tip), "it is not booked yet"
    done = pool.do(steps)
    assert TipCleared(pool.tip) in done and pool.settling.may_pay(pool.tip)
    taker.booked(_booked(pool))
    assert take_answer(folder, name).is_done
    pool.start()
    pool.do(pool.settling.journal_told(pool.now))
    pool.grow(1)
    assert pool.settling.may_pay(pool.tip)
    assert "no restored copy" in pool.settling.confirm(pool.now).sentence
    with SqliteReader(pool.path) as reader:
        assert not reader.needs_confirmation()


def _booked(pool):
    return next(Booked(step.item) for step in pool.done if isinstance(step, ToBooks))


@pytest.mark.parametrize("is_strange", [False, True])
def test_a_block_of_the_chain_that_no_sudden_end_explains_stops_balances(tmp_path, is_strange):
    pool = PoolBooks(tmp_path / "shares.db")
    pool.do(pool.settling.journal_told(pool.now))
    pool.grow(3)
    assert pool.settling.may_pay(pool.tip)
    block = solo_block(account(1), pool.tip, 4, 1)
    pool.seen[block.block_hash] = SeenBlock(block.block_hash, pool.chain[-1], pool.chain[-2], 4, int(block.time), NBITS,
                                            block.coinbase_tx)
    pool.strange = {int(block.time)} if is_strange else set()
    done = pool.extend(block.block_hash)
    assert ("ledger.restored" in events(done), "payout.unconfirmed" in events(done)) == (is_strange, is_strange)
    assert pool.settling.may_pay(pool.tip) != is_strange
    if is_strange:
        assert any(isinstance(step, ReplaceJobs) for step in done), "no job pays balances any more"
    pool.start()
    pool.do(pool.settling.journal_told(pool.now))
    pool.grow(1)
    assert pool.settling.may_pay(pool.tip) != is_strange, "the books remember it"
    pool.do(pool.settling.confirm(pool.now).steps)
    assert pool.settling.may_pay(pool.tip)
    pool.close()
