import sqlite3
from pathlib import Path

import pytest

from tests.ledger.books import book, share
from warppool.errors import ConfigError, LedgerError
from warppool.ledger import sqlite as sqlite_module
from warppool.ledger.opening import open_ledger, open_reader
from warppool.ledger.url import database_path


def test_relative_urls_lie_in_the_data_directory_and_absolute_ones_where_they_say():
    data_dir = Path("/var/lib/warppool")
    assert database_path("sqlite:///shares.db", data_dir) == data_dir / "shares.db"
    assert database_path("sqlite:///books/a b.db", data_dir) == data_dir / "books/a b.db"
    assert database_path("sqlite:////srv/shares.db", data_dir) == Path("/srv/shares.db")


@pytest.mark.parametrize(
    "url", ["", "shares.db", "sqlite:", "sqlite://shares.db", "sqlite:///", "sqlite:////", "sqlite:///x/", "mysql://h/d",
            "sqlite:///a\0b"]
)
def test_other_urls_are_the_operators_to_mend(url):
    with pytest.raises(ConfigError, match=r"ledger\.url is .*: it may be sqlite:///shares\.db"):
        database_path(url, Path("/d"))


def test_postgres_is_for_a_later_version_and_its_password_stays_unsaid():
    with pytest.raises(ConfigError, match="cannot use yet") as caught:
        open_ledger("postgresql://pool:hunter2@host/books", Path("/d"))
    assert "hunter2" not in str(caught.value)


def test_open_ledger_makes_the_file_and_open_reader_does_not(tmp_path):
    with pytest.raises(LedgerError, match="no such file"):
        open_reader("sqlite:///shares.db", tmp_path)
    books = open_ledger("sqlite:///shares.db", tmp_path)
    assert books.write([share(1)], {}, []) == []
    with open_reader("sqlite:///shares.db", tmp_path) as reader:
        assert [row.hash for row in reader.shares()] == [share(1).share_hash]
    books.close()


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(LedgerError, match=r"nowhere/shares\.db: cannot be opened: see that its directory is there"):
        open_ledger("sqlite:///nowhere/shares.db", tmp_path)


def filled(tmp_path: Path) -> Path:
    path = tmp_path / "shares.db"
    book(path, *(share(number, user=f"w{number}") for number in range(600)))
    assert path.stat().st_size > 10 * 4096
    return path


def damage(path: Path, at: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * size)


@pytest.mark.parametrize(("at", "words"), [(0, "no SQLite database"), (4096 + 8, "damaged"), (8 * 4096, "damaged")])
def test_a_damaged_database_stops_the_start_and_says_what_to_do(tmp_path, at, words):
    path = filled(tmp_path)
    damage(path, at, 4096)
    with pytest.raises(LedgerError, match=words) as caught:
        open_ledger("sqlite:///shares.db", tmp_path)
    assert str(caught.value).startswith(str(path)) and "away" in str(caught.value)


def test_a_truncated_database_stops_the_start(tmp_path):
    path = filled(tmp_path)
    with path.open("r+b") as file:
        file.truncate(5 * 4096)
    with pytest.raises(LedgerError, match="damaged"):
        open_ledger("sqlite:///shares.db", tmp_path)


def test_large_books_are_looked_at_from_both_ends_alone(tmp_path, monkeypatch):
    path = filled(tmp_path)
    in_the_middle = path.read_bytes().index(share(300).share_hash) // 4096 * 4096
    damage(path, in_the_middle, 8)
    with pytest.raises(LedgerError, match="damaged"):
        open_ledger("sqlite:///shares.db", tmp_path)
    monkeypatch.setattr(sqlite_module, "QUICK_CHECK_MAX_BYTES", 0)
    open_ledger("sqlite:///shares.db", tmp_path).close()
    damage(path, 0, 4096)
    with pytest.raises(LedgerError, match="no SQLite database"):
        open_ledger("sqlite:///shares.db", tmp_path)


def test_a_locked_database_stops_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT_S", 0.01)
    path = filled(tmp_path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match="another program holds the database locked"):
        open_ledger("sqlite:///shares.db", tmp_path)
    other.close()
