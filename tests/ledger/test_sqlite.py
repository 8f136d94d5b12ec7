import os
import sqlite3
from contextlib import closing

import pytest

from tests.ledger.books import START, book, booked, opened, share
from warppool.errors import LedgerError
from warppool.ledger import sqlite as sqlite_module
from warppool.ledger import sqlitenames
from warppool.ledger.database import CommitInDoubt
from warppool.ledger.items import BlockOutcome, BlockRow
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitenames import encode
from warppool.ledger.sqlitereader import SqliteReader


@pytest.fixture
def books(path):
    with closing(opened(path)) as books:
        yield books


def rows(path, query):
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 255, 256, 257, 1023])
def test_a_batch_of_any_size_is_booked_in_its_order(path, books, count):
    shares = [share(number) for number in range(count)]
    books.write(shares, {}, [])
    books.write([share(-1)], {}, [])
    assert booked(path) == [one.share_hash for one in [*shares, share(-1)]]


def test_every_field_of_a_share_comes_back(path, books):
    books.write([share(3)], {}, [])
    with SqliteReader(path) as reader:
        (row,) = reader.shares()
    assert row == (1_795_341_600_123, "sv2", 1, "alice.rig1", "alice", 1e-9, 17, 5, share(3).share_hash, 1, "")


def test_commits_are_synced_and_the_wal_is_folded_in_at_the_close(path):
    books = opened(path)
    assert books._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert books._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    books.write([share(1)], {}, [])
    assert path.with_name("shares.db-wal").stat().st_size > 0
    books.close()
    assert not path.with_name("shares.db-wal").exists()
    assert booked(path) == [share(1).share_hash]


NAMES = ["", ".", "alice", "alice.rig1", "älice.rig", "a.b.c", "\udcff\udc80.x", "\ud800", "\ud83d\ude00", "x" * 255]


def test_workers_are_rows_of_their_own_whatever_their_names(path):
    with closing(opened(path)) as books:
        books.write([share(number, user=name) for number, name in enumerate(NAMES)], {}, [])
    with closing(opened(path)) as books:                # the same ids without the cache
        books.write([share(number, user=name) for number, name in enumerate(NAMES)], {}, [])
    expected = [(encode(name), encode(name).partition(b".")[0]) for name in NAMES]
    assert rows(path, "SELECT name, user FROM workers ORDER BY id") == expected
    with SqliteReader(path) as reader:
        assert [encode(row.worker) for row in reader.shares()] == [name for name, _ in expected * 2]


def test_the_cache_of_workers_is_bounded_and_its_emptying_changes_nothing(path, books, monkeypatch):
    monkeypatch.setattr(sqlitenames, "CACHE_MAX", 3)
    for _ in range(2):
        books.write([share(number, user=f"w{number}") for number in range(10)], {}, [])
        assert len(books._share_rows.workers.ids) <= 3
    assert rows(path, "SELECT count(*), count(DISTINCT worker) FROM shares") == [(20, 10)]


def test_refusals_add_up_per_worker_reason_and_minute(path, books):
    books.write([share(1, user="a.1"), share(2, user="\udcff")], {}, [])
    books.write([], {("a.1", "stale-share", 600): 2, ("\udcff", "duplicate-share", 600): 1}, [])
    books.write([], {("a.1", "stale-share", 600): 3, ("a.1", "stale-share", 660): 1}, [])
    query = "SELECT minute_unix, name, reason, count FROM refusals JOIN workers ON id = worker ORDER BY 1, 2"
    assert rows(path, query) == [
        (600, b"a.1", b"stale-share", 5), (600, b"\xff", b"duplicate-share", 1), (660, b"a.1", b"stale-share", 1),
    ]


def test_refusals_of_those_without_a_share_are_booked_under_one_name(path, books):
    """Whoever makes names up makes no rows."""
    books.write([], {(f"made.up{number}", "stale-share", 600): 1 for number in range(1000)}, [])
    books.write([share(1, user="new")], {("new", "stale-share", 600): 2, ("other", "stale-share", 600): 5}, [])
    query = "SELECT name, reason, count FROM refusals JOIN workers ON id = worker ORDER BY 1"
    assert rows(path, query) == [(b"", b"stale-share", 1005), (b"new", b"stale-share", 2)]
    assert rows(path, "SELECT name FROM workers ORDER BY 1") == [(b"",), (b"new",)]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_all_its_files_are_ours_and_our_groups_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with closing(opened(tmp_path / "shares.db")) as books:
            books.write([share(1)], {}, [])
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("shares.db", "shares.db-wal", "shares.db-shm"), 0o640)


def test_an_empty_file_is_no_new_ledger(path):
    path.touch()
    with pytest.raises(LedgerError, match=r"shares\.db: the file is empty \(0 bytes\).* put back a copy"):
        opened(path)
    assert path.stat().st_size == 0
    with pytest.raises(LedgerError, match=r"empty \(0 bytes\)"):
        SqliteReader(path)


def test_an_empty_file_under_the_daemon_is_noticed_and_not_begun_anew(path, books):
    books.write([share(1)], {}, [])
    path.unlink()
    path.touch()
    with pytest.raises(LedgerError, match="moved, deleted or replaced"):
        books.write([share(2)], {}, [])
    with pytest.raises(LedgerError, match=r"empty \(0 bytes\)"):
        books.open()


def test_new_books_are_whole_or_not_there(path, monkeypatch):
    """Wherever a crash comes while they are made: no empty file, and the next start begins anew."""
    def crash(*_):
        raise RuntimeError("killed")

    for name in ("migrate", "sync_folder"):
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_module, name, crash)
            with pytest.raises(RuntimeError):
                opened(path)
        assert not path.exists() or path.stat().st_size > 0
    with closing(opened(path)) as books:
        books.write([share(1)], {}, [])
    assert booked(path) == [share(1).share_hash]
    assert not [*path.parent.glob("*.new*")]


def test_the_wal_of_books_that_are_gone_is_not_taken_for_the_new_ones(path):
    with closing(opened(path)) as books:
        books.write([share(1)], {}, [])
        wal = path.with_name("shares.db-wal").read_bytes()
    path.unlink()
    path.with_name("shares.db-wal").write_bytes(wal)
    with closing(opened(path)) as books:
        books.write([share(2)], {}, [])
    assert booked(path) == [share(2).share_hash]


def test_a_directory_is_no_ledger(path):
    path.mkdir()
    with pytest.raises(LedgerError, match=r"this is a directory: name a file in ledger\.url"):
        opened(path)


def test_a_block_is_booked_once_and_its_last_outcome_stands(path, books):
    block = BlockRow(b"\x01" * 32, 840_000, "alice.rig1", START, 1e14)
    stranger = BlockOutcome(b"\x02" * 32, "accepted", "", START)
    assert books.write([], {}, [block, BlockOutcome(block.hash, "refused", "bad-\ud800", START + 1)]) == []
    accepted = BlockOutcome(block.hash, "accepted", "duplicate", START + 2)
    assert books.write([], {}, [block, accepted, stranger]) == [stranger]
    columns = "hash, height, name, time_ms, difficulty, outcome, detail, outcome_time_ms"
    query = f"SELECT {columns} FROM blocks JOIN workers ON id = worker"
    assert rows(path, query) == [
        (b"\x01" * 32, 840_000, b"alice.rig1", 1_795_341_600_123, 1e14, b"accepted", b"duplicate", 1_795_341_602_123)
    ]


def test_what_fails_leaves_nothing_behind_and_says_why(path):
    class Full(SqliteBooks):
        """A disk with room for three more pages."""
        def open(self):
            super().open()
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            self._connection.execute(f"PRAGMA max_page_count = {pages + 3}")

    with closing(Full(path)) as books:
        books.open()
        with pytest.raises(LedgerError, match=r"shares\.db: the disk is full: make room \(SQLITE_FULL"):
            books.write([share(number, user=f"worker {number}") for number in range(500)], {}, [])
        assert not books.is_open
        books.open()
        books.write([share(1, user="worker 1")], {}, [])        # no id of the fallen transaction is used
    assert rows(path, "SELECT name FROM workers") == [(b"worker 1",)]
    assert booked(path) == [share(1).share_hash]


def test_a_lock_is_named(path, books, monkeypatch):
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT_S", 0.01)
    books.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerError, match="another program holds the database locked"):
            books.write([share(1)], {}, [])
    books.open()
    books.write([share(2)], {}, [])
    assert booked(path) == [share(2).share_hash]


@pytest.mark.parametrize("suffixes", [("",), ("", "-wal", "-shm"), ("-wal",)])
def test_files_deleted_under_the_daemon_are_noticed_before_anything_is_lost(path, books, suffixes):
    books.write([share(1)], {}, [])
    for suffix in suffixes:
        path.with_name(f"shares.db{suffix}").unlink()
    with pytest.raises(LedgerError, match="moved, deleted or replaced"):
        books.write([share(2)], {}, [])
    books.open()
    books.write([share(2)], {}, [])
    assert booked(path)[-1] == share(2).share_hash


def test_a_file_replaced_under_the_daemon_is_noticed(path, books, tmp_path):
    book(tmp_path / "copy.db", share(7))
    books.write([share(1)], {}, [])
    (tmp_path / "copy.db").rename(path)
    with pytest.raises(LedgerError, match="moved, deleted or replaced"):
        books.write([share(2)], {}, [])
    books.open()
    books.write([share(2)], {}, [])
    assert booked(path) == [share(7).share_hash, share(2).share_hash]


def test_a_link_leads_to_the_file_and_its_wal(path, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with closing(opened(link)) as books:
        books.write([share(1)], {}, [])
        books.write([share(2)], {}, [])
    assert booked(path) == booked(link) == [share(1).share_hash, share(2).share_hash]


def test_an_outsider_who_takes_the_next_id_costs_a_retry_and_no_share(path, books):
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("INSERT INTO workers VALUES (9, 'x', 'x')")
        other.execute("INSERT INTO shares VALUES (1, 0, 9, 'sv1', 0, 1, 1, 1, x'00', NULL)")
    with pytest.raises(LedgerError):
        books.write([share(1)], {}, [])
    books.open()
    books.write([share(1)], {}, [])
    assert booked(path) == [b"\0", share(1).share_hash]


def test_a_value_that_no_table_takes_is_a_bug_of_ours_and_rolls_back(path, books):
    with pytest.raises(OverflowError):
        books.write([share(1), share(2)._replace(height=1 << 64)], {}, [])
    assert not books.is_open
    assert booked(path) == []


class Doubtful(SqliteBooks):
    """COMMIT fails, after it was done or before, as a failed fsync may."""

    is_done = True

    def write(self, shares, refusals, blocks):
        first_id = self._next_id
        if self.is_done:
            super().write(shares, refusals, blocks)
        self._drop()
        raise CommitInDoubt("the disk failed", first_id)


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("erase", [0, 1, 3])
def test_a_commit_in_doubt_is_settled_by_looking(path, is_done, erase):
    book(path, share(0))
    shares = [share(1), share(2), share(3)]
    with closing(Doubtful(path)) as books:
        books.is_done = is_done
        books.open()
        with pytest.raises(CommitInDoubt) as caught:
            books.write(shares, {}, [])
        books.open()
        assert books.resolve(caught.value.first_id, shares, erase) is is_done
    kept = shares[erase:] if is_done else []
    assert booked(path) == [one.share_hash for one in [share(0), *kept]]


def test_a_refused_commit_is_a_commit_in_doubt(path, books):
    """A foreign key that SQLite looks at as late as COMMIT stands in for a disk that fails as late."""
    books._connection.execute("PRAGMA foreign_keys = ON")
    books._connection.execute("PRAGMA defer_foreign_keys = ON")
    books._share_rows.workers.ids["ghost"] = 999
    with pytest.raises(CommitInDoubt, match=r"shares\.db: .*FOREIGN KEY") as caught:
        books.write([share(1, user="ghost")], {}, [])
    assert caught.value.first_id == 1
    books.open()
    assert not books.resolve(1, [share(1)], 0)
    assert booked(path) == []


@pytest.mark.parametrize("text", ["plain", "ü", "\udcff", chr(0xD800), "\udfff\udc80", "\U0001f600"], ids=ascii)
def test_any_text_has_bytes(text):
    assert encode(text).decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape") == encode(text)
