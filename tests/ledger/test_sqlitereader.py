import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.ledger.books import START, book, booked, opened, share
from warppool.errors import LedgerError
from warppool.ledger import sqlitereader as reader_module
from warppool.ledger.items import BlockRow
from warppool.ledger.sqlitereader import SqliteReader


def numbers(rows, count=10_000):
    known = {share(number).share_hash: number for number in range(count)}
    return [known[row.hash] for row in rows]


def test_reads_while_the_daemon_writes_and_sees_each_commit(path):
    with closing(opened(path)) as books:
        books.write([share(0)], {}, [])
        with SqliteReader(path) as reader:
            for number in range(1, 4):
                books.write([share(number)], {}, [])
                assert numbers(reader.shares()) == list(range(number + 1))


def test_a_reader_in_the_middle_neither_stops_the_writer_nor_the_wal_from_being_folded_in(path, monkeypatch):
    monkeypatch.setattr(reader_module, "SLICE_IDS", 2)
    with closing(opened(path)) as books, SqliteReader(path) as reader:
        books.write([share(number) for number in range(5)], {}, [])
        rows = reader.shares()
        next(rows)
        books.write([share(5)], {}, [])
        busy, *_ = books._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not busy
        assert numbers(rows) == [1, 2, 3, 4]        # what was there when it began


def test_slices_do_not_show(path, monkeypatch):
    book(path, *(share(number, user=f"u{number % 3}") for number in range(50)))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM shares WHERE id BETWEEN 11 AND 29 OR id <= 3")
    left = [number for number in range(50) if not 10 <= number <= 28 and number > 2]
    for size in (1, 2, 7, 1_000):
        monkeypatch.setattr(reader_module, "SLICE_IDS", size)
        with SqliteReader(path) as reader:
            assert numbers(reader.shares()) == left
            assert numbers(reader.shares(user="u1")) == [number for number in left if number % 3 == 1]


def test_since_is_inclusive_and_survives_a_clock_that_was_set_back(path):
    seconds = [0, 59, 60, 61, 3_600, 3_601, -7_200, -7_199, 30, 120, 3_602]
    with closing(opened(path)) as books:
        for number, second in enumerate(seconds):
            books.write([share(number, time=START + second)], {}, [])
    start_ms = 1_795_341_600_123
    with SqliteReader(path) as reader:
        for second in (-8_000, -7_200, -1, 0, 30, 60, 61, 3_599, 3_602, 3_603, 90_000):
            for more in (-1, 0, 1):
                wanted = [number for number, at in enumerate(seconds) if at * 1_000 >= second * 1_000 + more]
                assert numbers(reader.shares(start_ms + second * 1_000 + more)) == wanted


def test_since_finds_the_shares_of_a_minute_in_which_the_daemon_was_started_again(path):
    for number in range(4):
        book(path, share(number, time=START + number))
    with SqliteReader(path) as reader:
        assert numbers(reader.shares(1_795_341_600_123 + 1_000)) == [1, 2, 3]


def test_since_begins_near_its_time_and_not_at_the_first_share(path):
    with closing(opened(path)) as books:
        for number in range(100):
            books.write([share(number, time=START + 60 * number)], {}, [])
    with SqliteReader(path) as reader:
        assert reader._range(1_795_341_600_123 + 60_000 * 90) == (91, 100)
        assert reader._range(1_795_341_600_123 + 60_000 * 100) == (None, 100)


def test_user_is_a_whole_name_or_what_stands_before_the_first_dot(path):
    names = ["alice", "alice.rig1", "alice.rig1.b", "alice2.rig1", "bob.alice", "ALICE.rig", "\udcff.rig", "\udcff", ""]
    book(path, *(share(number, user=name) for number, name in enumerate(names)))
    with SqliteReader(path) as reader:
        def of(user):
            return numbers(reader.shares(user=user))
        assert of("alice") == [0, 1, 2]
        assert of("alice.rig1") == [1]
        assert of("bob") == [4]
        assert of("\udcff") == [6, 7]
        assert of("") == [8]
        assert of("nobody") == of("%") == of("alice.") == []
        assert [row.worker for row in reader.shares(user="\udcff")] == ["\udcff.rig", "\udcff"]


def test_totals(path):
    with closing(opened(path)) as books, SqliteReader(path) as reader:
        assert reader.totals() == (0, 0.0, 0)
        block = BlockRow(b"\1" * 32, 5, "w", 1.0, 2.0)
        books.write([share(1, difficulty=0.5), share(2, difficulty=1024.0)], {}, [block])
        assert reader.totals() == (2, 1024.5, 1)


def test_the_reader_changes_nothing(path):
    book(path, share(1))
    with SqliteReader(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM shares")


def test_a_killed_daemon_leaves_a_wal_which_is_read_and_later_written_on(path):
    writer = f"""
import os, pathlib, signal
from tests.ledger.books import opened, share
opened(pathlib.Path({str(path)!r})).write([share(1), share(2)], {{}}, [])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", writer]).returncode == -signal.SIGKILL
    assert path.with_name("shares.db-wal").stat().st_size > 0
    assert numbers_in(path) == [1, 2]
    path.with_name("shares.db-shm").unlink(missing_ok=True)         # as after a restart of the machine
    assert numbers_in(path) == [1, 2]
    book(path, share(3))
    assert numbers_in(path) == [1, 2, 3]


def numbers_in(path):
    with SqliteReader(path) as reader:
        return numbers(reader.shares())


def test_a_stopped_daemons_books_are_read_without_the_right_to_write_beside_them():
    reading = """
import os, pathlib, sys
import urllib.parse             # pathlib imports it late, from a library that the other user may not be let into
from tests.ledger.books import booked
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
print(len(booked(pathlib.Path(sys.argv[1]))))
"""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "shares.db"
        book(path, share(1), share(2))
        path.chmod(0o444)
        os.chmod(directory, 0o555)
        done = subprocess.run([sys.executable, "-c", reading, str(path)], capture_output=True, text=True)
        os.chmod(directory, 0o755)
        left = sorted(os.listdir(directory))
    assert (done.stdout, done.stderr) == ("2\n", "")
    assert left == ["shares.db"]


def test_books_of_a_later_warppool_and_empty_ones_are_refused_in_words(path):
    with closing(sqlite3.connect(path)) as empty:
        empty.execute("PRAGMA journal_mode = WAL")
        with pytest.raises(LedgerError, match=r"shares\.db: holds no books yet: start the daemon once"):
            SqliteReader(path)
    book(path, share(1))
    with closing(sqlite3.connect(path)) as later:
        later.execute("UPDATE meta SET min_reader = 1000")
        later.commit()
        later.execute("PRAGMA user_version = 1000")
    with pytest.raises(LedgerError, match=r"shares\.db: the books are of schema version 1000"):
        SqliteReader(path)


def test_no_file_garbage_and_damage_are_refused_in_words(path):
    with pytest.raises(LedgerError, match=r"shares\.db: no such file"):
        SqliteReader(path)
    path.write_bytes(b"\xa5" * 9_000)
    with pytest.raises(LedgerError, match=r"shares\.db: this is no SQLite database"):
        SqliteReader(path)
    path.unlink()
    book(path, *(share(number) for number in range(500)))
    in_the_middle = path.read_bytes().index(share(250).share_hash) // 4096 * 4096
    with path.open("r+b") as file:
        file.seek(in_the_middle)
        file.write(b"\xa5" * 100)
    with pytest.raises(LedgerError, match="the database is damaged"):
        booked(path)
