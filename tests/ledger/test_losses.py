"""Books that lack a block of ours: what a sudden end leaves, and what only a restored copy can be."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing

import pytest

from tests.ledger.books import START, share
from warppool.ledger.beginning import Beginning
from warppool.ledger.items import BlockRow
from warppool.ledger.markfile import FILE_NAME, Marked, MarkFile
from warppool.ledger.payoutitems import Booking, ClaimRow, Hold
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitelosses import is_explained, strange_losses

HOUR = 3_600
BLOCK = bytes(range(32))


def started(folder, at, found=()):
    """Books of a start; the block journal has found BLOCK at these times."""
    books = SqliteBooks(folder / "shares.db", lambda: at, mark=MarkFile(folder / FILE_NAME))
    books.open()
    books.begin(Beginning("pplns", 0, b"%08d" % (at % 10**8), at, bytes(16), True, b"n" * 16, tuple(found)))
    return books


def pool_with_money(folder):
    """A run from START on, whose newest share is of an hour later."""
    books = started(folder, START)
    books.write([share(number, time=START + number * 600)._replace(account="bc1qalice") for number in range(7)], {}, [])
    books._hours.end(books._connection, 7)
    return books


def is_unconfirmed(folder):
    with closing(sqlite3.connect(folder / "shares.db")) as connection:
        return connection.execute("SELECT is_unconfirmed FROM meta").fetchone() == (1,)


@pytest.mark.parametrize("after_s", [0.1, 2.0, 60.0, -1.0])
def test_a_kill_right_after_a_block_is_no_restored_copy(tmp_path, caplog, after_s):
    pool_with_money(tmp_path)._connection.close()           # killed
    started(tmp_path, START + HOUR + 90, [(BLOCK, START + HOUR + after_s)]).close()
    assert not is_unconfirmed(tmp_path) and "ledger.restored" not in caplog.text


def test_books_of_an_hour_before_a_block_are_a_restored_copy(tmp_path, caplog):
    books = pool_with_money(tmp_path)
    books.close()
    (tmp_path / FILE_NAME).unlink()                         # so that nothing but the block tells
    with caplog.at_level(logging.WARNING):
        started(tmp_path, START + 3 * HOUR, [(BLOCK, START + 2 * HOUR)]).close()
    assert is_unconfirmed(tmp_path) and f"lacks={BLOCK[::-1].hex()}" in caplog.text
    with closing(sqlite3.connect(tmp_path / "shares.db")) as connection:
        assert connection.execute("SELECT max(first_id), journal_id FROM journals").fetchone() == (8, b"n" * 16)


def test_books_that_went_on_for_long_without_a_block_cannot_have_lost_it(tmp_path):
    pool_with_money(tmp_path).close()
    started(tmp_path, START + 2 * HOUR, [(BLOCK, START + HOUR / 2)]).close()
    assert is_unconfirmed(tmp_path)


def test_a_block_that_the_books_have_is_not_lost_however_old(tmp_path):
    books = pool_with_money(tmp_path)
    books.write([], {}, [BlockRow(BLOCK, 7, "alice", START + 900, 1.0)])
    books.close()
    started(tmp_path, START + 2 * HOUR, [(BLOCK, START + 900)]).close()
    assert not is_unconfirmed(tmp_path)


def test_each_run_explains_a_loss_at_its_own_end(tmp_path):
    pool_with_money(tmp_path).close()
    second = started(tmp_path, START + 5 * HOUR)
    second.write([share(9, time=START + 6 * HOUR)], {}, [])
    third = started(tmp_path, START + 8 * HOUR)
    third.write([share(10, time=START + 9 * HOUR)], {}, [])
    with closing(sqlite3.connect(tmp_path / "shares.db")) as connection:
        explained = [hour for hour in range(-1, 12) if is_explained(connection, START + hour * HOUR)]
        assert explained == [-1, 1, 6, 9]
        assert strange_losses(connection, [(BLOCK, START + HOUR + 299), (b"x" * 32, START + HOUR + 301)]) == [b"x" * 32]


def test_new_books_lack_nothing(tmp_path):
    started(tmp_path, START, [(BLOCK, START - 5)]).close()
    started(tmp_path, START + HOUR, [(BLOCK, START - 5)]).close()
    assert not is_unconfirmed(tmp_path)


def test_a_run_without_a_share_explains_a_loss_at_its_beginning(tmp_path):
    started(tmp_path, START)._connection.close()
    with closing(sqlite3.connect(tmp_path / "shares.db")) as connection:
        assert is_explained(connection, START + 100) and not is_explained(connection, START + HOUR)


@pytest.mark.parametrize("row", [
    BlockRow(BLOCK, 7, "alice", START, 1.0),
    Booking((ClaimRow(bytes(16), "bc1qalice", "claim", 5, 7, START),)),
])
def test_money_is_marked_at_once_so_that_a_copy_of_before_is_known(tmp_path, row):
    books = pool_with_money(tmp_path)
    books.tend()                                            # the mark of this hour
    copy = tmp_path / "copy"
    copy.mkdir()
    with closing(sqlite3.connect(tmp_path / "shares.db")) as connection, closing(
            sqlite3.connect(copy / "shares.db")) as target:
        connection.backup(target)
    books.write([share(20)], {}, [Booking((Hold("window", 1),))])
    books.tend()
    assert MarkFile(tmp_path / FILE_NAME).read() == Marked(bytes(16), 8), "no money moved"
    books.write([share(21)], {}, [row])
    books.tend()
    assert MarkFile(tmp_path / FILE_NAME).read() == Marked(bytes(16), 10)
    books._connection.close()                               # killed
    shutil.copy(tmp_path / FILE_NAME, copy / FILE_NAME)
    started(copy, START + HOUR + 60).close()
    assert is_unconfirmed(copy)
