"""What the books have of the past, by real books."""

from __future__ import annotations

import time
from functools import partial

import pytest

from tests.service.test_numbers import Rig
from tests.stats.test_standings import START, share
from warppool.ledger.items import BlockRow
from warppool.ledger.opening import open_ledger, open_reader
from warppool.service.pastnumbers import read_past

URL = "sqlite:///shares.db"


def test_new_books_have_no_past(tmp_path):
    open_ledger(URL, tmp_path).close()
    read = read_past(partial(open_reader, URL, tmp_path), START)
    assert (read.blocks, read.past.ever, read.past.began) == ([], {}, START)


def test_the_best_share_since_a_block_is_not_the_block(tmp_path):
    books = open_ledger(URL, tmp_path)
    found = share("bob.a", 4.0, best=120.0)
    row = BlockRow(found.share_hash, 101, "bob.a", time.time() - 1.0, 100.0)
    books.write([found, share("bob.b", 1.0, best=9.0), share("eve", 2.0, best=30.0)], {}, [row])
    books.close()
    rig = Rig(time.time())
    rig.thread.take_past(read_past(partial(open_reader, URL, tmp_path), rig.unix))
    snapshot = rig.tell()
    assert (snapshot.pool.best, snapshot.pool.best_ever) == (pytest.approx(30.0), pytest.approx(120.0))
    assert snapshot.users_by_name["bob"].tally.best == pytest.approx(9.0)
    assert snapshot.workers_by_name["bob.a"].tally.best == 0.0


def test_best_share_totals_blocks_and_rates_outlive_a_restart(tmp_path):
    books = open_ledger(URL, tmp_path)
    row = BlockRow(b"\xab" * 32, 101, "bob.a", START - 86_400 * 30, 100.0)
    books.write([share("bob.a", 4.0, START, best=77.0), share("eve", 2.0, START)], {}, [row])
    books.close()
    now = time.time()                       # slots are of the commit
    read = read_past(partial(open_reader, URL, tmp_path), now)
    rig = Rig(now)
    rig.thread.take_past(read)
    snapshot = rig.tell()
    bob = snapshot.users_by_name["bob"].tally
    assert (bob.total_accepted, bob.total_difficulty) == (1, 4.0) and bob.best_ever == pytest.approx(77.0, rel=0.01)
    assert snapshot.pool.total_difficulty == 6.0 and snapshot.pool.rates.d7 > 0
    assert snapshot.round.difficulty == 6.0 and snapshot.blocks_found == 1
    assert snapshot.blocks[0].worker == "bob.a"
