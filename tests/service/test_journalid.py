"""Books and block journal have one name, so that books with money are never paired with another pool's journal."""

from contextlib import ExitStack, closing

import pytest

from tests.ledger.books import START
from tests.ledger.test_payoutbooks import block
from warppool.errors import ConfigError, LedgerError
from warppool.ledger.beginning import Beginning
from warppool.ledger.opening import open_ledger, open_reader
from warppool.ledger.payoutitems import Booking
from warppool.service.journalid import FILE_NAME, read_journal_id
from warppool.service.ledger import Ledger
from warppool.service.patience import impatient

URL = "sqlite:///shares.db"


def start(data_dir, mode="pplns"):
    """A start that makes the books and ends at once; the id that the books have then."""
    data_dir.mkdir(exist_ok=True)
    with ExitStack() as resources:
        Ledger(data_dir, "pool.data_dir", URL, "commit", impatient(), resources,
               beginning=Beginning(mode, 0, b"s" * 8, START))
    with open_reader(URL, data_dir) as reader:
        return reader.meta().journal_id


def owe(data_dir):
    with closing(open_ledger(URL, data_dir)) as books:
        assert books.write([], {}, [Booking((block(1),))]) == []


def test_mode_pool_has_no_such_file(tmp_path):
    assert start(tmp_path, "pool") == b""
    assert not (tmp_path / FILE_NAME).exists()


def test_the_id_is_made_once_and_stays(tmp_path):
    first = start(tmp_path)
    assert len(first) == 16 and read_journal_id(tmp_path) == first
    assert {start(tmp_path, mode) for mode in ("pplns", "solo", "pool")} == {first}


def test_a_missing_file_is_made_from_the_books(tmp_path):
    first = start(tmp_path)
    owe(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    assert start(tmp_path) == read_journal_id(tmp_path) == first


@pytest.mark.parametrize("has_money", [True, False])
def test_books_of_another_journal_are_refused_where_they_know_what_miners_are_owed(tmp_path, has_money):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    start(ours)
    start(theirs)
    if has_money:
        owe(theirs)
    for file in ours.glob("shares.db*"):
        file.unlink()
    (theirs / "shares.db").rename(ours / "shares.db")
    if has_money:
        with pytest.raises(LedgerError, match="blocks of another block journal"):
            start(ours)
    else:
        assert start(ours) == read_journal_id(ours)


@pytest.mark.parametrize(("mode", "count"), [("pplns", 1), ("solo", 1), ("pool", 0)])
def test_new_books_where_others_have_been_are_said_once(tmp_path, caplog, mode, count):
    start(tmp_path)
    start(tmp_path, mode)
    assert "ledger.without_past" not in caplog.text
    for file in tmp_path.glob("shares.db*"):
        file.unlink()
    for _ in range(2):
        start(tmp_path, mode)
    assert caplog.text.count("event=ledger.without_past") == count


@pytest.mark.parametrize("content", [b"", b"xyz\n", b"00" * 15, b"\xff"])
def test_a_damaged_file_is_named(tmp_path, content):
    start(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ConfigError, match="journal-id is damaged: remove it"):
        start(tmp_path)
