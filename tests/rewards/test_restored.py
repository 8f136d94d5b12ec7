"""Books that are a restored copy: balances wait until the operator confirms them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.rewards.settlingpool import PoolBooks
from warppool.claimfiles import CONFIRM, ClaimRequest, ask, take_answer
from warppool.ledger.payoutitems import Booked
from warppool.ledger.sqlitereader import SqliteReader
from warppool.rewards.claimtaker import ClaimTaker
from warppool.rewards.steps import TipCleared, ToBooks


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
