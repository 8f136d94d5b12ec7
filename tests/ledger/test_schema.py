import sqlite3

import pytest

from tests.ledger.books import opened
from warppool.errors import LedgerError
from warppool.ledger.schema import APPLICATION_ID, MIGRATIONS, TABLES, migrate, require_known, version_of

ONE = (("CREATE TABLE things (name TEXT)", "INSERT INTO things VALUES ('old')"),)
TWO = (*ONE, ("ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 7",))
BROKEN = (*ONE, ("ALTER TABLE things ADD COLUMN size INTEGER", "INSERT INTO nowhere VALUES (1)"))


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_an_empty_file_gets_every_table(connection):
    assert version_of(connection) == 0
    assert migrate(connection) == len(MIGRATIONS)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == set(TABLES)
    assert version_of(connection) == len(MIGRATIONS)
    assert migrate(connection) == 0


def test_old_books_are_brought_up_to_date_and_keep_what_they_hold(connection):
    migrate(connection, ONE)
    assert migrate(connection, TWO) == 1
    assert connection.execute("SELECT name, size FROM things").fetchall() == [("old", 7)]
    assert version_of(connection) == 2


def test_a_migration_that_fails_leaves_the_version_before_it_whole(connection):
    migrate(connection, ONE)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, BROKEN)
    assert version_of(connection) == 1
    assert connection.execute("SELECT * FROM things").fetchall() == [("old",)]
    assert migrate(connection, TWO) == 1


def test_books_of_a_later_warppool_are_left_alone(connection):
    migrate(connection, TWO)
    with pytest.raises(LedgerError, match="schema version 2 and this warppool knows versions up to 1"):
        migrate(connection, ONE)
    assert version_of(connection) == 2
    require_known(len(MIGRATIONS))
    with pytest.raises(LedgerError):
        require_known(len(MIGRATIONS) + 1)


@pytest.mark.parametrize(
    "statement", ["PRAGMA application_id = 5", "PRAGMA user_version = 1", "CREATE TABLE songs (title TEXT)"]
)
def test_a_database_of_another_program_is_refused_unchanged(tmp_path, statement):
    path = tmp_path / "music.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(statement)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"music\.db: this database is not warppool's"):
        opened(path)
    other.close()
    assert path.read_bytes() == before


def test_the_file_says_whose_it_is(tmp_path):
    opened(tmp_path / "shares.db").close()
    header = (tmp_path / "shares.db").read_bytes()[:100]
    assert header[68:72] == APPLICATION_ID.to_bytes(4, "big") == b"warp"
