"""Copies of the books: made while they are written, and known as copies when they are written on."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
from contextlib import closing

import pytest

from tests.ledger.books import START, booked, share
from warppool.commands.cli import main
from warppool.errors import LedgerError
from warppool.ledger.beginning import Beginning
from warppool.ledger.markfile import FILE_NAME, Marked, MarkFile
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitereader import SqliteReader

ONE, TWO, THREE = (bytes([number]) * 16 for number in (1, 2, 3))


def started(folder, *, known=b"", new=ONE, mode="pplns"):
    """Books of a start; the id that the block journal has then."""
    books = SqliteBooks(folder / "shares.db", mark=MarkFile(folder / FILE_NAME))
    books.open()
    return books, books.begin(Beginning(mode, 0, b"s" * 8, START, known or new, bool(known), new))


def segments(folder):
    with closing(sqlite3.connect(folder / "shares.db")) as connection:
        return connection.execute("SELECT first_id, journal_id FROM journals ORDER BY 1").fetchall()


@pytest.mark.parametrize("mode", ["pool", "solo", "pplns"])
def test_the_first_writer_of_a_backup_begins_a_segment(tmp_path, mode):
    books, known = started(tmp_path, mode=mode)
    books.write([share(1), share(2)], {}, [])
    with SqliteReader(tmp_path / "shares.db") as reader:
        reader.back_up(tmp_path / "copy.db")
    books.write([share(3)], {}, [])
    books.close()
    assert segments(tmp_path) == [(1, ONE)]
    with SqliteReader(tmp_path / "copy.db") as reader:
        assert len(list(reader.shares())) == 2

    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(tmp_path / "copy.db", other / "shares.db")
    books, journal = started(other, known=known if mode != "pool" else b"", new=TWO, mode=mode)
    books.write([share(4)], {}, [])
    books.close()
    assert segments(other) == [(1, ONE), (3, TWO)]
    assert journal == TWO
    books, journal = started(other, known=ONE, new=THREE, mode=mode)       # the file of the id was not written: killed
    books.close()
    assert (journal, segments(other)) == (TWO, [(1, ONE), (3, TWO)])


def test_books_behind_the_mark_are_a_restored_copy(tmp_path, caplog):
    books, _ = started(tmp_path)
    books.write([share(1)], {}, [])
    books.close()
    shutil.copy(tmp_path / "shares.db", tmp_path / "by-hand.db")
    books, _ = started(tmp_path, known=ONE, new=TWO)
    books.write([share(2), share(3)], {}, [])
    books.close()
    assert MarkFile(tmp_path / FILE_NAME).read() == Marked(ONE, 4)
    assert segments(tmp_path) == [(1, ONE)]
    shutil.copy(tmp_path / "by-hand.db", tmp_path / "shares.db")
    with caplog.at_level(logging.WARNING):
        books, journal = started(tmp_path, known=ONE, new=TWO)
    books.close()
    assert "event=ledger.restored" in caplog.text
    assert (journal, segments(tmp_path)) == (TWO, [(1, ONE), (2, TWO)])
    assert MarkFile(tmp_path / FILE_NAME).read() == Marked(TWO, 2)


def test_a_copy_of_before_the_last_restored_one_is_known_too(tmp_path, caplog):
    books, _ = started(tmp_path)
    books.write([share(1), share(2)], {}, [])
    books.close()
    shutil.copy(tmp_path / "shares.db", tmp_path / "by-hand.db")
    MarkFile.write(_of(tmp_path), 9, START)
    started(tmp_path, known=ONE, new=TWO)[0].close()
    assert MarkFile(tmp_path / FILE_NAME).read() == Marked(TWO, 3)
    shutil.copy(tmp_path / "by-hand.db", tmp_path / "shares.db")
    caplog.clear()
    books, journal = started(tmp_path, new=THREE)       # without journal-id, as its message tells the operator
    books.close()
    assert "event=ledger.restored" in caplog.text
    assert (journal, segments(tmp_path)) == (THREE, [(1, ONE), (3, THREE)])


def test_new_books_beside_an_old_mark_are_no_copy(tmp_path, caplog):
    MarkFile.write(_of(tmp_path), 9, START)
    started(tmp_path, new=TWO)[0].close()
    assert "event=ledger.restored" not in caplog.text


def test_a_copy_that_is_put_in_place_under_a_running_daemon_is_known_at_the_next_start(tmp_path, caplog):
    books, _ = started(tmp_path)
    books.write([share(1)], {}, [])
    books._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    shutil.copy(tmp_path / "shares.db", tmp_path / "by-hand.db")
    books.write([share(2), share(3)], {}, [])
    (tmp_path / "by-hand.db").rename(tmp_path / "shares.db")
    with pytest.raises(LedgerError, match="replaced"):
        books.write([share(4)], {}, [])
    books.open()
    assert "event=ledger.restored" in caplog.text
    books.write([share(4), share(5), share(6)], {}, [])     # beyond what was marked: the mark alone would not tell
    books.close()
    caplog.clear()
    books, _ = started(tmp_path, known=ONE, new=TWO)
    books.close()
    assert "event=ledger.restored" in caplog.text and segments(tmp_path) == [(1, ONE), (5, TWO)]


@pytest.mark.parametrize("has_money", [True, False])
def test_a_restored_copy_with_money_waits_for_the_operator(tmp_path, has_money):
    books, _ = started(tmp_path)
    books.write([share(1)._replace(account="bc1qalice")], {}, [])
    if has_money:
        books._hours.end(books._connection, 1)
    books.close()
    MarkFile.write(_of(tmp_path), 3, START)
    started(tmp_path, known=ONE, new=TWO)[0].close()
    with SqliteReader(tmp_path / "shares.db") as reader:
        assert reader.needs_confirmation() == has_money
    started(tmp_path, known=TWO, new=THREE)[0].close()
    with SqliteReader(tmp_path / "shares.db") as reader:
        assert reader.needs_confirmation() == has_money, "a start confirms nothing"


def _of(folder):
    file = MarkFile(folder / FILE_NAME)
    file.journal_id = ONE
    return file


def test_books_that_were_killed_are_no_copy(tmp_path, caplog):
    books, _ = started(tmp_path)
    books.tend()                                # marks the start
    books.write([share(1), share(2)], {}, [])
    books._connection.close()
    books, _ = started(tmp_path, known=ONE, new=TWO)
    books.close()
    assert segments(tmp_path) == [(1, ONE)]
    assert "ledger.restored" not in caplog.text


def test_the_original_is_not_paired_with_the_journal_of_its_copy(tmp_path):
    books, _ = started(tmp_path)
    books.write([share(1)._replace(account="bc1qalice")], {}, [])
    books._hours.end(books._connection, 1)      # the books know what miners are owed
    books.close()
    with pytest.raises(LedgerError, match="of another block journal"):
        started(tmp_path, known=TWO, new=THREE)


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"11" * 16 + b" 0\n", b"11" * 16 + b" 5", "ü".encode()])
def test_a_damaged_mark_says_nothing(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    assert MarkFile(tmp_path / FILE_NAME).read() is None


def test_the_mark_is_written_hourly_and_a_disk_that_refuses_it_holds_up_nothing(tmp_path):
    file = MarkFile(tmp_path / FILE_NAME)
    file.write(5, START)
    assert file.read() is None, "it is not known whose mark it is"
    file.journal_id = ONE
    for after, next_id in ((0, 5), (3_599, 6), (3_600, 7), (-10, 8)):
        file.write(next_id, START + after)
        assert file.read() == Marked(ONE, {6: 5}.get(next_id, next_id))
    file.write(9, START, is_closing=True)
    assert file.read() == Marked(ONE, 9)
    gone = MarkFile(tmp_path / "nowhere" / FILE_NAME)
    gone.journal_id = ONE
    gone.write(1, START)


def test_the_command_copies_and_never_overwrites(tmp_path, capsys):
    books = SqliteBooks(tmp_path / "shares.db")
    books.open()
    books.write([share(1), share(2)], {}, [])
    config = tmp_path / "warppool.toml"
    config.write_text(f"""[pool]
network = "regtest"
payout_address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
data_dir = "{tmp_path}"
[stratum]
listen = ["127.0.0.1:3334"]
[[node]]
source = "regtest"
""")
    copy = tmp_path / "copy.db"
    assert main(["backup", "-c", str(config), str(copy)]) == 0
    assert capsys.readouterr().out == f"{copy} has the books\n"
    assert booked(copy) == [share(1).share_hash, share(2).share_hash]
    assert main(["backup", "-c", str(config), str(copy)]) == 1
    assert "is there already: name a new file" in capsys.readouterr().err
    assert main(["backup", "-c", str(config), str(tmp_path / "no" / "copy.db")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy.db"]
    books.close()


@pytest.mark.parametrize("is_there", [False, True])
def test_a_backup_goes_to_a_drive_without_hard_links_and_spares_what_is_called_alike(tmp_path, monkeypatch, is_there):
    def link(*_):
        if is_there:
            (tmp_path / "copy.db").write_bytes(b"came meanwhile")
        raise PermissionError(errno.EPERM, "Operation not permitted")

    books = SqliteBooks(tmp_path / "shares.db")
    books.open()
    books.write([share(1)], {}, [])
    (tmp_path / "copy.db.new").write_bytes(b"the operator's")
    monkeypatch.setattr(os, "link", link)
    with SqliteReader(tmp_path / "shares.db") as reader:
        if is_there:
            with pytest.raises(LedgerError, match="is there already"):
                reader.back_up(tmp_path / "copy.db")
            assert (tmp_path / "copy.db").read_bytes() == b"came meanwhile"
        else:
            reader.back_up(tmp_path / "copy.db")
            assert booked(tmp_path / "copy.db") == [share(1).share_hash]
    books.close()
    assert (tmp_path / "copy.db.new").read_bytes() == b"the operator's"
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy.db", "copy.db.new"]
