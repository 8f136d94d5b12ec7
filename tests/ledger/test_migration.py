"""Books of earlier releases: brought up to date with every row, and written on."""

import sqlite3
from contextlib import closing

import pytest

from tests.ledger.books import START, opened, share
from warppool.ledger.beginning import Beginning
from warppool.ledger.payoutrows import Epoch, Meta
from warppool.ledger.schema import MIGRATIONS, migrate, version_of
from warppool.ledger.sqlitereader import SqliteReader

MINUTE = int(START) // 60


@pytest.fixture
def path(tmp_path):
    """Books as release 1 left them: shares 1, 2 and 4 (3 was given up), a block, a refusal."""
    path = tmp_path / "shares.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, MIGRATIONS[:1])
        connection.execute("INSERT INTO workers VALUES (1, 'alice.rig1', 'alice')")
        for number in (1, 2, 4):
            connection.execute("INSERT INTO shares VALUES (?, ?, 1, 'sv1', 3, 0.1, 17, 5, ?)",
                               (number, round(START * 1000), share(number).share_hash))
        connection.execute("INSERT INTO minutes VALUES (?, 1)", (MINUTE,))
        connection.execute("INSERT INTO refusals VALUES (?, 1, 'stale-share', 7)", (MINUTE * 60,))
        connection.execute("INSERT INTO blocks VALUES (x'01', 840000, 1, 5, 1e14, 'accepted', '', 6)")
    return path


OLD_TABLES = ("workers", "minutes", "refusals", "blocks")


def contents(path, tables=OLD_TABLES):
    with closing(sqlite3.connect(path)) as connection:
        old_shares = connection.execute(
            "SELECT id, time_ms, worker, protocol, channel, difficulty, job, height, hash FROM shares").fetchall()
        return [old_shares] + [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


def test_every_row_stays_as_it_was(path):
    before = contents(path)
    opened(path).close()
    assert contents(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert version_of(connection) == len(MIGRATIONS)
        assert connection.execute("SELECT count(account) FROM shares").fetchone() == (0,)


def test_old_shares_are_nobodys_and_their_ids_go_on(path):
    with closing(opened(path)) as books:
        books.verify()
        assert books.next_id == 5
        books.begin(Beginning("pplns", 3, b"s" * 8, START))
        books.write([share(9)._replace(account="bc1qalice")], {}, [])
    with SqliteReader(path) as reader:
        assert [(row.share_id, row.account) for row in reader.shares()] == [(1, ""), (2, ""), (4, ""), (5, "bc1qalice")]
        assert reader.meta() == Meta(6, 3, b"")
        assert reader.epochs() == [Epoch(5, "pplns")], "what is older is of mode pool, and belongs to no window"
        assert [row.share_id for row in reader.credits(1, 9)] == [5]
        assert list(reader.hours()) == []


def test_old_books_in_mode_pool_get_no_account_and_no_epoch(path):
    with closing(opened(path)) as books:
        books.begin(Beginning("pool", 0, b"s" * 8, START))
        books.write([share(9)], {}, [])
    with SqliteReader(path) as reader:
        assert reader.epochs() == []
        assert [row.account for row in reader.shares()] == [""] * 4
        assert reader.last_id() == 5


def test_books_without_a_share_begin_with_the_first_id(tmp_path):
    with closing(sqlite3.connect(tmp_path / "shares.db", isolation_level=None)) as connection:
        migrate(connection, MIGRATIONS[:1])
    with closing(opened(tmp_path / "shares.db")) as books:
        assert books.next_id == 1
