"""What the books know of who is paid: share ids, epochs, hours, snapshots, blocks and their entries, claims."""

import sqlite3
from contextlib import closing

import pytest

from tests.ledger.books import START, opened, share
from warppool.errors import LedgerError
from warppool.ledger.beginning import Beginning
from warppool.ledger.payoutitems import (
    Booking,
    ClaimRow,
    DropSnapshots,
    Hold,
    KeepSnapshot,
    PayoutBlock,
    TipRow,
    Unbooked,
)
from warppool.ledger.payoutrows import (
    BlockPosition,
    CreditRow,
    EntryRow,
    Epoch,
    HourRow,
    LastShare,
    Meta,
    PaidBlock,
    Start,
)
from warppool.ledger.sqlitereader import SqliteReader
from warppool.payout.moves import BookEntry, Move, PayoutState, Purse

FOUND, REVERSED, SETTLED = PayoutState.FOUND, PayoutState.REVERSED, PayoutState.SETTLED
ALICE, BOB = "bc1qalice", "bc1qbob"
HOUR = int(START) // 3600


def begun(path, mode="pplns", server_id=0, start=1, journal_id=b""):
    books = opened(path)
    books.begin(Beginning(mode, server_id, start.to_bytes(8, "big"), START + start, journal_id, bool(journal_id)))
    return books


def credited(number, account=ALICE, hour=0, difficulty=1.5):
    return share(number, time=START + 3600 * hour, difficulty=difficulty)._replace(account=account)


def block(number, **changes):
    values = {"hash": bytes([number]) * 32, "parent": bytes(32), "height": 100 + number, "time": START, "mode": "pplns",
              "finder": ALICE, "account": "", "snapshot_id": b"", "room": 600, "value": 5_000_000_000,
              "fee": 50_000_000, "pays_balances": False, "coinbase": b"coinbase", "nbits": 0x1D00FFFF}
    return PayoutBlock(**values | changes)


def move(number, before, after, turn, *entries):
    return Move(bytes([number]) * 32, before, after, turn, entries)


def said(books, *rows):
    """What a booking of `rows` comes back with: None, or the reason for which nothing of it is written."""
    unwritten = books.write([], {}, [Booking(rows)])
    return unwritten[0].reason if unwritten else None


# Share ids

@pytest.mark.parametrize("mode", ["pool", "solo", "pplns"])
@pytest.mark.parametrize("kept", [0, 1, 2])
def test_an_id_is_never_used_twice_though_its_share_is_deleted(path, mode, kept):
    with closing(begun(path, mode)) as books:
        books.write([share(1), share(2), share(3)], {}, [])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM shares WHERE id > ?", (kept,))
    with closing(begun(path, mode)) as books:
        books.verify()
        books.write([share(4)], {}, [])
        assert books.next_id == 5
    with SqliteReader(path) as reader:
        assert [row.share_id for row in reader.shares()] == [*range(1, kept + 1), 4]
    with closing(begun(path, mode)) as books:
        assert books.next_id == 5


@pytest.mark.parametrize("erase", [1, 2, 3])
def test_an_id_that_was_given_up_is_not_used_again(path, erase):
    shares = [credited(number) for number in (1, 2, 3)]
    with closing(begun(path)) as books:
        books.write(shares, {}, [])
        assert books.resolve(1, shares, erase)
        books._drop()
        books.open()
        assert books.next_id == 4


def test_books_that_lost_their_place_are_said_at_the_start(path):
    with closing(begun(path)) as books:
        books.write([credited(1), credited(2)], {}, [])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE meta SET next_share_id = 2")
    with closing(opened(path)) as books, pytest.raises(LedgerError, match="ids that it has not given out"):
        books.verify()


# Starts and epochs

def test_a_start_is_written_down_with_its_server(path):
    begun(path, server_id=7, start=1).close()
    begun(path, server_id=7, start=2, journal_id=b"j" * 16).close()
    with SqliteReader(path) as reader:
        assert reader.starts() == [Start(bytes(7) + bytes([number]), 7, round((START + number) * 1000))
                                   for number in (1, 2)]
        assert reader.meta() == Meta(1, 7, b"j" * 16)


def test_an_epoch_is_a_row_where_the_mode_differs(path):
    for mode in ("pool", "pplns", "pplns", "solo", "pool", "pplns"):
        with closing(begun(path, mode)) as books:
            books.write([credited(1)], {}, [])
    with SqliteReader(path) as reader:
        assert reader.epochs() == [Epoch(2, "pplns"), Epoch(4, "solo"), Epoch(5, "pool"), Epoch(6, "pplns")]


def test_an_epoch_without_a_share_leaves_no_row(path):
    with closing(begun(path, "pplns")) as books:
        books.write([credited(1)], {}, [])
    for mode in ("solo", "pool", "pplns"):
        begun(path, mode).close()
    with SqliteReader(path) as reader:
        assert reader.epochs() == [Epoch(1, "pplns")]


@pytest.mark.parametrize("changed", [{"server_id": 4}, {"journal_id": b"k" * 16}])
def test_books_with_money_of_another_pool_are_refused(path, changed):
    with closing(begun(path, server_id=3, journal_id=b"j" * 16)) as books:
        assert said(books, block(1)) is None
    with pytest.raises(LedgerError, match="miners are owed"):
        begun(path, **{"server_id": 3, "journal_id": b"j" * 16} | changed)
    begun(path, server_id=3, journal_id=b"j" * 16).close()
    begun(path, "pool", **{"server_id": 3} | changed).close()


# Accounts and hours

def test_shares_carry_their_account_in_every_mode_but_pool(path):
    for mode, accounts in (("pool", ["", ""]), ("solo", [ALICE, BOB]), ("pplns", [ALICE, BOB])):
        with closing(begun(path, mode)) as books:
            books.write([credited(1), credited(2, BOB)], {}, [])
        with SqliteReader(path) as reader:
            assert [row.account for row in reader.shares()][-2:] == accounts


def test_an_hour_is_written_when_the_next_one_begins(path):
    with closing(begun(path, server_id=7)) as books:
        books.write([credited(1), credited(2, BOB, difficulty=0.1), credited(3)], {}, [])
        with SqliteReader(path) as reader:
            assert list(reader.hours()) == [] and reader.closed_id() == 0
        books.write([credited(4), credited(5, hour=1), credited(6, hour=3)], {}, [])
    tenth = int(0.1 * (1 << 48))
    with SqliteReader(path) as reader:
        rows = [HourRow(7, 1, 4, ALICE, 4, 1 << 47, 3), HourRow(7, 1, 4, BOB, 0, tenth, 1),
                HourRow(7, 5, 5, ALICE, 1, 1 << 47, 1)]
        assert list(reader.hours()) == rows
        assert list(reader.hours(newest_first=True)) == [rows[2], *rows[:2]]
        assert list(reader.hours(4)) == rows and list(reader.hours(5)) == rows[2:]
        assert list(reader.hours(1, 4)) == rows[:2]
        assert reader.closed_id() == 5
        assert list(reader.credits(5, 6)) == [CreditRow(5, round((START + 3600) * 1000), ALICE, 1.5),
                                              CreditRow(6, round((START + 3 * 3600) * 1000), ALICE, 1.5)]
        assert reader.last_shares() == [LastShare(ALICE, 5, HOUR + 1), LastShare(BOB, 2, HOUR)]


def hours_of(path):
    with SqliteReader(path) as reader:
        return list(reader.hours())


def test_an_hour_goes_on_over_a_restart_and_over_a_lost_connection(tmp_path):
    shares = [credited(number, (ALICE, BOB)[number % 2], number // 4, number / 7) for number in range(1, 20)]
    whole, pieces = tmp_path / "whole.db", tmp_path / "pieces.db"
    with closing(begun(whole)) as books:
        books.write(shares, {}, [])
    for at, each in enumerate(shares):
        with closing(begun(pieces)) as books:
            books.write([each], {}, [])
            if at % 3 == 0:
                books._drop()
                books.open()
    assert hours_of(pieces) == hours_of(whole) != []


def test_the_last_hour_of_an_epoch_ends_with_it(path):
    with closing(begun(path)) as books:
        books.write([credited(1), credited(2, BOB)], {}, [])
    with closing(begun(path, "pool")) as books:
        books.write([share(3)], {}, [])
    rows = [HourRow(0, 1, 2, ALICE, 1, 1 << 47, 1), HourRow(0, 1, 2, BOB, 1, 1 << 47, 1)]
    assert hours_of(path) == rows
    with closing(begun(path)) as books:
        books.write([credited(4), credited(5, hour=1)], {}, [])
    assert hours_of(path) == [*rows, HourRow(0, 4, 4, ALICE, 1, 1 << 47, 1)], "share 3 is of another epoch"


@pytest.mark.parametrize("erase", range(1, 6))
def test_a_share_that_was_given_up_weighs_nothing(path, erase):
    """The doubtful commit has closed two hours, and shares of both are taken out again."""
    shares = [credited(2), credited(3, BOB), credited(4, hour=1), credited(5, BOB, hour=1), credited(6, hour=2)]
    with closing(begun(path)) as books:
        books.write([credited(1)], {}, [])
        books.write(shares, {}, [])
        books._drop()
        books.open()
        assert books.resolve(2, shares, erase)
        books.write([credited(7, hour=9)], {}, [])
    with SqliteReader(path) as reader:
        singles = list(reader.credits(1, 9))
        summed = {account: sum(row.shares for row in reader.hours() if row.account == account)
                  for account in (ALICE, BOB)}
        kept = [row.account for row in singles[:-1]]
        assert summed == {account: kept.count(account) for account in (ALICE, BOB)}
        ids = [row.share_id for row in singles]
    assert ids == [1, *range(2 + erase, 7), 7]


def test_hours_of_many_accounts_come_whole_in_slices(path, monkeypatch):
    monkeypatch.setattr("warppool.ledger.sqlitepayoutreader.SLICE_ROWS", 5)
    shares = [credited(number, f"bc1q{number % 7}", number // 14) for number in range(100)]
    with closing(begun(path)) as books:
        books.write(shares, {}, [])
    rows = hours_of(path)
    assert len(rows) == len({(row.first_id, row.account) for row in rows}) == 7 * 7
    assert [row.first_id for row in rows] == sorted(row.first_id for row in rows)
    with SqliteReader(path) as reader:
        assert sorted(reader.hours(newest_first=True)) == sorted(rows)
        assert [row.share_id for row in reader.credits(3, 97)] == list(range(3, 98))


# Snapshots, tips, holds

def test_a_snapshot_is_kept_once_and_goes_unless_a_block_names_it(path):
    kept = KeepSnapshot(b"a" * 16, b"p" * 32, START, b'{"one":1}')
    other = KeepSnapshot(b"b" * 16, b"q" * 32, START, b"{}")
    with closing(begun(path)) as books:
        assert said(books, kept, other) is None
        assert said(books, KeepSnapshot(b"a" * 16, b"x" * 32, START, b"another")) is None
        with SqliteReader(path) as reader:
            assert reader.snapshot(b"a" * 16) == b'{"one":1}'
            assert reader.snapshot(b"z" * 16) is None
            assert reader.newest_snapshot() == (b"b" * 16, b"{}")
            assert reader.snapshot_ids() == [b"b" * 16, b"a" * 16]
            assert reader.snapshot_ids(b"p" * 32) == [b"a" * 16]
        assert said(books, block(1, snapshot_id=b"a" * 16)) is None
        assert said(books, DropSnapshots((b"a" * 16, b"b" * 16, b"none"))) is None
    with SqliteReader(path) as reader:
        assert reader.snapshot_ids() == [b"a" * 16]


@pytest.mark.parametrize(("mode", "kept"), [
    ("pplns", {"window": 14, "blocks": 7}), ("solo", {"blocks": 7}), ("pool", {"blocks": 7})])
def test_a_mode_without_a_window_holds_no_shares_for_one_of_before(path, mode, kept):
    with closing(begun(path)) as books:
        books.write([], {}, [Booking((Hold("window", 14), Hold("blocks", 7)))])
    with closing(begun(path, mode, start=2)), SqliteReader(path) as reader:
        assert reader.holds() == kept


def test_tips_and_holds(path):
    tips = [TipRow(height, bytes([height]) * 32, 0x1d00ffff) for height in range(1, 6)]
    with closing(begun(path)) as books:
        assert said(books, *tips, TipRow(5, b"r" * 32, 0x1c00ffff), tips[0]) is None
        assert said(books, Hold("window", 12), Hold("blocks", 7), Hold("window", 14), Hold("roll-ups", 3)) is None
        assert said(books, Hold("roll-ups", None)) is None
    with SqliteReader(path) as reader:
        assert reader.tips(2) == [tips[4], TipRow(5, b"r" * 32, 0x1c00ffff), tips[3]]
        assert len(reader.tips(2016)) == 6
        assert reader.holds() == {"window": 14, "blocks": 7}


# Blocks, entries, claims

def test_a_block_its_moves_and_their_entries(path):
    debit, credit = BookEntry(ALICE, Purse.PAYABLE, -700), BookEntry(BOB, Purse.MATURING, 900)
    back = [entry._replace(sat=-entry.sat) for entry in (debit, credit)]
    with closing(begun(path)) as books:
        assert said(books, block(1), block(2, account=BOB, pays_balances=True),
                    move(1, None, FOUND, 0, debit, credit)) is None
        assert said(books, move(1, FOUND, REVERSED, 1, *back), move(2, None, FOUND, 0)) is None
        assert said(books, move(1, REVERSED, FOUND, 2, debit, credit)) is None
    with SqliteReader(path) as reader:
        second, first = (PaidBlock(bytes([number]) * 32, 100 + number, START, "pplns", ALICE, 5_000_000_000, 50_000_000,
                                   "found") for number in (2, 1))
        assert [reader.paid_blocks(*page) for page in ((0, 9), (0, 1), (1, 1), (2, 1))] == [
            (2, [second, first]), (2, [second]), (2, [first]), (2, [])]
        assert reader.payout_blocks() == [BlockPosition(block(1), "found", 2),
                                          BlockPosition(block(2, account=BOB, pays_balances=True), "found", 0)]
        assert reader.payout_blocks(["settled"]) == [] and len(reader.payout_blocks(["found", "settled"])) == 2
        assert reader.payout_block(bytes([1]) * 32) == BlockPosition(block(1), "found", 2)
        assert reader.payout_block(bytes(32)) is None
        assert reader.entry_sums() == [(ALICE, "payable", -700), (BOB, "maturing", 900)]
        entries = [EntryRow(b"\1" * 32, turn, account, purse, sat) for turn, sign in ((0, 1), (1, -1), (2, 1))
                   for account, purse, sat in ((ALICE, "payable", -700 * sign), (BOB, "maturing", 900 * sign))]
        assert list(reader.entries()) == list(reader.entries(b"\1" * 32)) == entries


def test_saying_a_state_again_writes_nothing(path):
    credit = BookEntry(BOB, Purse.MATURING, 900)
    with closing(begun(path)) as books:
        for _ in range(3):
            assert said(books, block(1), move(1, None, FOUND, 0, credit)) is None
    with SqliteReader(path) as reader:
        assert reader.entry_sums() == [(BOB, "maturing", 900)]


def test_moves_of_one_block_in_one_booking_may_be_said_again(path):
    """A rival of a block on the same parent is found and reversed at once."""
    credit = BookEntry(BOB, Purse.MATURING, 900)
    moves = [move(1, None, FOUND, 0, credit), move(1, FOUND, REVERSED, 1, credit._replace(sat=-900))]
    with closing(begun(path)) as books:
        for _ in range(2):
            assert said(books, block(1), *moves) is None
        assert said(books, move(1, REVERSED, FOUND, 2, credit)) is None
        assert said(books, block(1), *moves) is None
        assert "is found in turn 2" in said(books, move(1, FOUND, SETTLED, 1))
    with SqliteReader(path) as reader:
        assert len(list(reader.entries())) == 3
        assert reader.payout_block(bytes([1]) * 32).turn == 2


@pytest.mark.parametrize("wrong", [
    move(1, None, SETTLED, 0), move(1, FOUND, SETTLED, 0), move(1, FOUND, SETTLED, 2), move(1, REVERSED, FOUND, 1),
    move(1, FOUND, FOUND, 1), move(2, None, FOUND, 0), move(1, FOUND, PayoutState.PAID, 1), move(1, None, FOUND, 1),
])
def test_a_move_that_the_table_has_not_takes_its_whole_booking_with_it(path, wrong):
    credit = BookEntry("bc1qnew", Purse.MATURING, 900)
    with closing(begun(path)) as books:
        assert said(books, block(1), move(1, None, FOUND, 0)) is None
        reason = said(books, block(3), move(3, None, FOUND, 0, credit), wrong)
        assert reason is not None and reason.startswith(f"block {wrong.key.hex()} is ")
        assert said(books, block(3), move(3, None, FOUND, 0, credit)) is None, "no account of the fallen one is used"
    with SqliteReader(path) as reader:
        assert reader.entry_sums() == [("bc1qnew", "maturing", 900)]


def test_a_settled_block_is_final(path):
    with closing(begun(path)) as books:
        assert said(books, block(1), move(1, None, FOUND, 0), move(1, FOUND, SETTLED, 1)) is None
        for after in (FOUND, REVERSED):
            assert "is settled in turn 1" in said(books, move(1, SETTLED, after, 2))


def test_a_block_of_a_snapshot_that_nobody_kept_is_not_booked(path):
    with closing(begun(path)) as books:
        assert "the books have no snapshot 6161" in said(books, block(1, snapshot_id=b"a" * 16))


def test_a_booking_that_cannot_be_costs_no_share(path, caplog):
    bad = Booking((Hold("window", 1 << 64),))
    with closing(begun(path)) as books:
        (unbooked,) = books.write([credited(1)], {}, [Booking((TipRow(1, b"t", 5),)), bad])
        assert isinstance(unbooked, Unbooked) and unbooked.booking is bad
        assert books.is_open
    with SqliteReader(path) as reader:
        assert len(list(reader.shares())) == len(reader.tips(9)) == 1
    assert "ledger.unbookable" in caplog.text


def test_a_claim_is_a_list_of_what_became_of_it(path):
    claim = ClaimRow(b"c" * 16, ALICE, "claim", 5000, 100, START)
    paid = ClaimRow(b"c" * 16, ALICE, "paid", 5000, 103, START, "ab" * 32)
    with closing(begun(path)) as books:
        for _ in range(2):
            assert said(books, claim) is None
            assert said(books, paid) is None
    with SqliteReader(path) as reader:
        assert reader.claims() == [claim, paid]


def test_an_hour_and_a_block_of_a_thousand_accounts_take_few_statements(path):
    """Each statement may wait for a busy worker, and the shares behind it wait with it."""
    accounts = [f"bc1q{number:04}" for number in range(1_000)]
    statements = []
    with closing(begun(path)) as books:
        books.write([credited(number, account) for number, account in enumerate(accounts)], {}, [])
        books._connection.set_trace_callback(statements.append)
        books.write([credited(0, hour=1)], {}, [])
        entries = [BookEntry(account, Purse.MATURING, 7) for account in accounts]
        assert said(books, block(1), move(1, None, FOUND, 0, *entries)) is None
    assert len(statements) < 40
    with SqliteReader(path) as reader:
        assert len(list(reader.hours())) == len(list(reader.entries())) == len(reader.last_shares()) == 1_000
        assert reader.last_shares()[5] == LastShare("bc1q0005", 6, HOUR)
