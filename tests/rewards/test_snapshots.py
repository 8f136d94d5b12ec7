"""When snapshots are made, and when jobs pay by them."""

import logging
from contextlib import closing

import pytest

from tests.payout.makers import account, make_rules
from tests.rewards.snapshotrig import Rig
from warppool.errors import LedgerError
from warppool.ledger.payoutitems import DropSnapshots, Hold, KeepSnapshot, TipRow
from warppool.ledger.sqlitereader import SqliteReader
from warppool.payout.weight import weight_of
from warppool.rewards import snapshots as module
from warppool.rewards import window
from warppool.rewards.headers import HeadersSeen, HeadersWanted
from warppool.rewards.inuse import KEPT_S
from warppool.rewards.snapshots import EVERY_S, REPLACE_WITHIN_S, RETRY_S, TIDY_EVERY_S
from warppool.rewards.tips import TIPS

ALICE, BOB, CAROL = (account(number) for number in (1, 2, 3))


@pytest.fixture
def rig(path):
    with closing(Rig(path)) as rig:
        yield rig


def rows(rig, kind):
    return [row for booking in rig.bookings for row in booking.rows if isinstance(row, kind)]


def test_a_snapshot_is_in_the_books_before_any_job_pays_by_it(rig):
    rig.work(ALICE, BOB)
    rig.mine(1)
    assert rig.told == []
    (kept,) = rows(rig, KeepSnapshot)
    assert (kept.parent, [row.height for row in rows(rig, TipRow)], rows(rig, Hold)) == (
        rig.tip.prev_hash, [101], [Hold("window", 1), Hold("blocks", None)])
    rig.book()
    (ready,) = rig.told
    assert (ready.snapshot.id, ready.snapshot.blob) == (kept.snapshot_id, kept.body)
    assert rig.reading().snapshot(kept.snapshot_id) == kept.body
    assert dict(ready.snapshot.weights) == {ALICE: weight_of(0.5), BOB: weight_of(0.5)}
    assert (ready.is_paying, ready.replaces) == (False, b"")


def test_the_shares_of_blocks_that_are_not_settled_are_kept_until_they_are(rig):
    rig.work(ALICE)
    for number, first_share in ((1, 7), (2, None)):
        rig.owed.first_share = first_share
        rig.mine(number, 100 + number)
        rig.book()
        assert rig.reading().holds().get("blocks") == first_share


def test_another_one_is_made_at_a_new_tip_and_else_once_a_minute(rig):
    rig.work(ALICE)
    rig.mine(1)
    rig.book()
    rig.work(BOB)
    rig.look(EVERY_S - 1)
    assert not rig.bookings
    rig.look(1)
    assert len(rig.bookings) == 1
    rig.book()
    rig.mine(2, 102)
    rig.book()
    assert [ready.snapshot.tip_height for ready in rig.told] == [100, 100, 101]


def test_who_brought_no_share_for_thirty_days_is_gone_with_a_balance_or_without(rig):
    rig.work(ALICE, CAROL)
    rig.look(31 * 86_400)
    rig.work(BOB)
    rig.owed.payable = {ALICE: 5_000}
    rig.mine(1)
    rig.book()
    (ready,) = rig.told
    assert dict(ready.snapshot.gone) == {ALICE: 1, CAROL: 2}
    assert dict(ready.snapshot.balances) == {ALICE: 5_000}


def test_many_accounts_make_snapshots_of_one_tip_rarer(rig, monkeypatch):
    monkeypatch.setattr(module, "ACCOUNTS_A_MINUTE", 1)
    rig.work(ALICE, BOB, CAROL)
    rig.mine(1)
    rig.book()
    rig.work(ALICE)
    rig.look(3 * EVERY_S - 1)
    assert not rig.bookings
    rig.look(1)
    assert len(rig.bookings) == 1


def test_balances_are_paid_from_the_moment_at_which_the_tip_is_cleared_by_the_snapshot_that_is_there(rig):
    rig.owed.payable = {CAROL: 5_000}
    rig.work(ALICE)
    rig.mine(1)
    rig.book()
    rig.work(BOB)
    rig.owed.cleared = rig.tip.prev_hash
    rig.snapshots.cleared(rig.now)
    rig.look()
    assert not rig.bookings
    first, cleared = rig.told
    assert (first.is_paying, cleared.is_paying) == (False, True)
    assert first.snapshot == cleared.snapshot and dict(cleared.snapshot.balances) == {CAROL: 5_000}


def test_a_tip_that_is_cleared_while_its_snapshot_is_on_its_way_needs_no_other(rig):
    rig.work(ALICE)
    rig.mine(1)
    rig.owed.cleared = rig.tip.prev_hash
    rig.snapshots.cleared(rig.now)
    rig.book()
    assert [ready.is_paying for ready in rig.told] == [True] and not rig.bookings


def test_a_tip_at_which_something_was_settled_has_a_snapshot_of_after_that(rig):
    rig.work(ALICE)
    rig.mine(1)
    rig.book()
    rig.owed.cleared, rig.owed.payable = rig.tip.prev_hash, {CAROL: 5_000}
    rig.snapshots.cleared(rig.now)
    rig.look()
    rig.book()
    before, after = rig.told
    assert (before.is_paying, after.is_paying, dict(after.snapshot.balances)) == (False, True, {CAROL: 5_000})


@pytest.mark.parametrize("left", [{}, {CAROL: 4_999}])
def test_a_snapshot_whose_balances_were_taken_meanwhile_pays_none(rig, left):
    rig.owed.payable = {CAROL: 5_000}
    rig.work(ALICE)
    rig.mine(1)
    rig.owed.cleared, rig.owed.payable = rig.tip.prev_hash, left
    rig.book()
    assert [ready.is_paying for ready in rig.told] == [False]


def test_an_own_block_replaces_the_jobs_by_a_snapshot_of_after_it(rig):
    rig.owed.payable = {CAROL: 5_000}
    rig.work(ALICE)
    rig.mine(1)
    rig.book()
    rig.work(BOB)
    rig.look(EVERY_S)                               # one is on its way that knows nothing of the block
    rig.owed.payable = {}
    rig.snapshots.replace(rig.now)
    rig.look()
    rig.book()
    before, after = rig.told
    assert dict(before.snapshot.balances) == {CAROL: 5_000} and before.replaces == b""
    assert after.snapshot.balances == () and after.replaces == rig.tip.prev_hash


def test_jobs_are_replaced_by_the_last_snapshot_while_the_books_take_no_new_one(rig):
    rig.owed.payable = {CAROL: 5_000}
    rig.work(ALICE)
    rig.mine(1)
    rig.owed.cleared = rig.tip.prev_hash
    rig.book()
    (paying,) = rig.told
    rig.work(BOB)
    rig.snapshots.replace(rig.now)
    rig.look()
    assert rig.told == []
    rig.look(REPLACE_WITHIN_S)
    (ready,) = rig.told
    assert (ready.snapshot, ready.is_paying, ready.replaces) == (paying.snapshot, False, rig.tip.prev_hash)
    rig.look(100.0)
    assert rig.told == [] and len(rig.bookings) == 1        # one is on its way, however long that takes


def test_jobs_of_another_tip_are_not_replaced_for_a_block_on_the_one_before(rig):
    rig.work(ALICE)
    rig.mine(1)
    rig.book()
    before = rig.tip.prev_hash
    rig.snapshots.replace(rig.now)
    rig.mine(2, 102)
    rig.book()
    assert [ready.replaces for ready in rig.told] == [b"", before]


def test_what_the_ledger_lost_is_made_anew(rig):
    rig.work(ALICE)
    rig.mine(1)
    rig.book(is_taken=False)
    assert rig.told == []
    rig.look(RETRY_S)
    rig.book()
    assert len(rig.told) == 1


def test_a_start_begins_with_the_newest_snapshot_of_the_books(path):
    with closing(Rig(path)) as rig:
        rig.work(ALICE)
        rig.mine(1)
        rig.book()
        (ready,) = rig.told
    with closing(Rig(path, start=2)) as rig:
        assert [(told.snapshot, told.is_paying) for told in rig.told] == [(ready.snapshot, False)]


def test_a_start_does_not_begin_with_a_snapshot_of_another_epoch(path):
    with closing(Rig(path)) as rig:
        rig.work(ALICE)
        rig.mine(1)
        rig.book()
    with closing(Rig(path, start=2, mode="solo")) as rig:
        rig.work(BOB)
    with closing(Rig(path, start=3)) as rig:
        assert rig.told == []
        rig.mine(2, 102)
        rig.book()
        (ready,) = rig.told
        assert ready.snapshot.total_weight == 0


def test_a_start_does_not_pay_an_address_that_is_no_longer_the_operators(path):
    with closing(Rig(path)) as rig:
        rig.work(ALICE)
        rig.mine(1)
        rig.book()
    with closing(Rig(path, start=2, rules=make_rules(payout_address=BOB))) as rig:
        assert rig.told == []
        rig.mine(2, 102)
        rig.book()
        (ready,) = rig.told
        assert ready.snapshot.rules.payout_address == BOB and dict(ready.snapshot.weights).keys() == {ALICE}


def test_books_that_cannot_be_read_leave_the_jobs_as_they_are_until_they_can(rig, monkeypatch):
    rig.work(ALICE)
    with monkeypatch.context() as patched:
        def refuse(self, *args):
            raise LedgerError("no disk")

        patched.setattr(SqliteReader, "credits", refuse)
        with pytest.raises(LedgerError):
            rig.mine(1)
        rig.look(1.0)
    assert not rig.bookings
    rig.look(RETRY_S)
    rig.book()
    assert len(rig.told) == 1


def test_trouble_with_the_books_amid_a_snapshot_spoils_no_sum(rig, monkeypatch):
    monkeypatch.setattr(window, "SLICE_IDS", 1)
    rig.work(ALICE, BOB, CAROL, difficulty=2.0)
    rig.mine(1)
    rig.book()
    rig.told.clear()
    whole = SqliteReader.credits

    def break_off(self, *args):
        yield from list(whole(self, *args))[:1]
        raise LedgerError("no disk")

    rig.work(ALICE, ALICE, difficulty=2.0)              # the window of weight 8 begins with Bob's share
    with monkeypatch.context() as patched:
        patched.setattr(SqliteReader, "credits", break_off)
        for _ in range(3):
            with pytest.raises(LedgerError):
                rig.look(EVERY_S)
            rig.work(CAROL, difficulty=0.25)
    rig.look(EVERY_S)
    rig.book()
    (ready,) = rig.told[-1:]
    weights = {ALICE: weight_of(4.0), BOB: weight_of(1.25), CAROL: weight_of(2.75)}
    assert dict(ready.snapshot.weights) == weights
    assert (ready.snapshot.window.first_id, ready.snapshot.window.cut_weight) == (2, weight_of(1.25))


def test_snapshots_go_two_hours_after_their_last_job(rig):
    rig.work(ALICE)
    rig.mine(1)
    rig.book()
    (first,) = rig.told
    rig.work(BOB)
    rig.look(EVERY_S)
    rig.book()
    rig.mine(1)
    rig.look(KEPT_S + TIDY_EVERY_S)
    (drop,) = rows(rig, DropSnapshots)
    assert drop.ids == (first.snapshot.id,)
    rig.book()
    assert rig.reading().snapshot(first.snapshot.id) is None


def test_the_window_waits_for_headers_that_are_missing(path):
    with closing(Rig(path, has_headers=True)) as rig:
        rig.work(ALICE, ALICE, ALICE)
        rig.mine(1, height=3_000)
        assert not rig.bookings
        wanted = rig.headers.get_nowait()
        assert isinstance(wanted, HeadersWanted) and list(wanted.heights) == list(range(2_999, 3_000 - TIPS, -1))
        harder = 0x1C7FFF80                         # of difficulty 2
        rig.snapshots.seen(HeadersSeen(tuple(TipRow(height, bytes(32), harder) for height in wanted.heights)), rig.now)
        rig.look()
        assert {row.height for row in rows(rig, TipRow)} == {*wanted.heights, 3_000}
        rig.book()
        (ready,) = rig.told
        assert ready.snapshot.window.highest_nbits == harder
    with closing(Rig(path, has_headers=True, start=2)) as rig:
        rig.mine(1, height=3_001)
        assert rig.headers.empty() and rig.bookings         # the books knew all of them


@pytest.mark.parametrize("is_refused", [False, True])
def test_headers_that_are_not_told_are_asked_for_again_and_those_that_are_refused_are_done_without(
        path, is_refused, caplog):
    with closing(Rig(path, has_headers=True)) as rig:
        rig.mine(1, height=3_000)
        rig.headers.get_nowait()
        with caplog.at_level(logging.WARNING):
            rig.snapshots.seen(HeadersSeen((), "the node says no", is_refused), rig.now)
        assert "event=headers.unseen" in caplog.text
        rig.look()
        assert bool(rig.bookings) is is_refused
        rig.look(RETRY_S)
        assert rig.headers.empty() is is_refused
