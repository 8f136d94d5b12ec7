"""`check` says of the ledger what `run` says, and leaves nothing behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.ledger.books import book, share
from warppool.commands.ledgercheck import ledger_findings
from warppool.errors import ConfigError, LedgerError
from warppool.ledger.opening import open_ledger

URL = "sqlite:///shares.db"


def foreign(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")


def too_new(path):
    book(path, share(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE meta SET min_reader = 1000")
        connection.execute("PRAGMA user_version = 1000")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: path.write_bytes(b"not a database" * 100), "no SQLite database"),
    (lambda path: path.write_bytes(b""), "empty (0 bytes)"), (lambda path: path.mkdir(), "is a directory"),
    (foreign, "not warppool's"), (too_new, "install the warppool that wrote them")])
def test_what_run_refuses_is_said_in_its_words(tmp_path, make, words):
    make(tmp_path / "shares.db")
    before = sorted(tmp_path.iterdir())
    (finding,) = ledger_findings(URL, tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(LedgerError) as caught:
        open_ledger(URL, tmp_path)
    assert finding.grade == "error" and finding.sentence == str(caught.value) and words in finding.sentence
    assert isinstance(caught.value, ConfigError), "so the command ends with status 2"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    (finding,) = ledger_findings("sqlite:///none/shares.db", tmp_path)
    assert finding.grade == "error" and "see that its directory is there" in finding.sentence


def test_good_books_and_none_are_good(tmp_path):
    assert list(ledger_findings(URL, tmp_path / "later")) == []
    book(tmp_path / "shares.db", share(1))
    before = sorted(tmp_path.iterdir())
    assert [finding.grade for finding in ledger_findings(URL, tmp_path)] == ["ok"]
    assert sorted(tmp_path.iterdir()) == before
