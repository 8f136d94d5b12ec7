"""What the reader says of work by slots equals a sum over all shares, whatever is closed, coarse, pruned or open."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.ledger.books import share
from tests.ledger.test_rollups import AT, OurBooks, old_path
from warppool.ledger.items import BlockOutcome, BlockRow
from warppool.ledger.rolluprows import BookedBlock, RefusalSum, Segment, SlotRefusals, segments_for, segments_of
from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES
from warppool.ledger.sqlitereader import SqliteReader
from warppool.payout.weight import weight_of

__all__ = ["old_path"]
WORKERS = ["alice.1", "alice.2", "bob", "carol.x"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Books of 100 days, and what was booked when."""
    our, dice = OurBooks(tmp_path_factory.mktemp("told") / "shares.db"), random.Random(7)
    shares = []
    for _ in range(900):
        moment = our.clock.now + dice.choice([10, 300, 4_000, 20_000])
        worker, difficulty = dice.choice(WORKERS), dice.choice([0.1, 3.7, 1024.0])
        our.book(worker, difficulty=difficulty, at=moment)
        shares.append((moment, worker, difficulty))
        our.tend()
    yield our, shares
    our.books.close()


def start_of(slot_s, since):
    return since // slot_s * slot_s


def test_sums_since_a_time_are_those_of_the_shares(told):
    our, shares = told
    at = dict(our.rows("SELECT * FROM marks"))
    with SqliteReader(our.path) as reader:
        for age in (0, 500, 3_000, 30_000, DAY, 6 * DAY, 8 * DAY, 30 * DAY, 95 * DAY, 2_000 * DAY):
            since = start_of(TEN_MINUTES, our.clock.now - age)
            if since < at["pruned_600"] * TEN_MINUTES:
                since = start_of(HOUR, since)
            if since < at["pruned_3600"] * HOUR:
                since = start_of(DAY, since)
            counts, weights = Counter(), Counter()
            for moment, worker, difficulty in shares:
                if moment >= since:
                    counts[worker] += 1
                    weights[worker] += weight_of(difficulty)
            found = reader.worker_sums(our.clock.now - age)
            assert {each.worker: each.accepted for each in found} == counts
            assert {each.worker: each.weight for each in found} == weights
        assert reader.totals().shares == len(shares)


@pytest.mark.parametrize("name", [None, "alice", "alice.2", "bob", "nobody"])
def test_history_is_that_of_the_shares(told, name):
    our, shares = told
    at = dict(our.rows("SELECT * FROM marks"))
    for resolution, oldest in ((TEN_MINUTES, at["pruned_600"]), (HOUR, at["pruned_3600"]), (DAY, 0)):
        slots = Counter()
        for moment, worker, difficulty in shares:
            if name is None or worker == name or worker.split(".")[0] == name:
                slots[int(moment) // resolution] += weight_of(difficulty)
        last = int(our.clock.now) // resolution
        with SqliteReader(our.path) as reader:
            for first in (max(oldest, last - 200), last - 3, last):
                found = reader.history(resolution, first, last, name)
                assert [(each.slot, each.weight) for each in found] == sorted(
                    (slot, weight) for slot, weight in slots.items() if slot >= first)
            earlier = reader.history(resolution, max(oldest, last - 100), last - 20, name)
            assert {each.slot for each in earlier} == {
                slot for slot in slots if max(oldest, last - 100) <= slot <= last - 20}


def test_a_reader_that_stays_open_hears_of_new_shares_and_of_closed_slots(tmp_path):
    our = OurBooks(tmp_path / "shares.db")
    our.book("alice", "alice")
    with SqliteReader(our.path) as reader:
        for count in range(3, 40):
            our.book("alice", at=AT + count * 100)
            assert reader.worker_sums(0)[0].accepted == count == reader.totals().shares
        slots = reader.history(TEN_MINUTES, 0, 1 << 40)
        assert [each.accepted for each in slots] == [5, 6, 6, 6, 6, 6, 4]


def test_what_was_done_before_a_long_pause_is_not_of_now(tmp_path):
    """The slot in which the daemon ended is open still, when the next one reads the books."""
    our = OurBooks(tmp_path / "shares.db")
    our.book("alice", "alice")
    with SqliteReader(our.path) as reader:
        for since, accepted in ((0, [2]), (AT, [2]), (AT + 1200, []), (0, [2]), (AT + 600, []), (AT - 600, [2])):
            assert [each.accepted for each in reader.worker_sums(since)] == accepted
        our.book("bob", at=AT + 1300)
        assert [each.worker for each in reader.worker_sums(AT + 1200)] == ["bob"]
        assert [each.worker for each in reader.worker_sums(AT)] == ["alice", "bob"]
    our.books.close()


def test_shares_of_a_user_are_those_that_a_look_at_all_of_them_finds(told):
    our, _ = told
    with SqliteReader(our.path) as reader:
        every = list(reader.shares())
        for name in ("alice", "alice.2", "bob", "nobody", ""):
            for since in (None, round(our.clock.now - 95 * DAY) * 1000, round(our.clock.now - DAY) * 1000):
                assert list(reader.shares(since, name)) == [
                    row for row in every if name in (row.worker, row.user) and row.time_ms >= (since or 0)]


def test_shares_of_a_user_are_found_while_old_books_are_rolled_up(old_path, monkeypatch):
    monkeypatch.setattr("warppool.ledger.sqlitebacklog.SLICE_SHARES", 90)
    our = OurBooks(old_path)
    our.book("alice.1", "bob", at=AT)
    has_more = True
    while has_more:
        has_more = our.books.tend()
        with SqliteReader(old_path) as reader:
            assert len(list(reader.shares(user="alice"))) == 501
            assert reader.totals().shares == 1_002
            assert reader.totals().difficulty == pytest.approx(303.0)


def test_one_users_shares_do_not_read_the_others(tmp_path):
    our = OurBooks(tmp_path / "shares.db")
    our.book("alice")
    for slot in range(1, 50):
        our.book(*["bob"] * 100, at=AT + slot * 600)
    our.book("alice", at=AT + 50 * 600)
    with SqliteReader(our.path) as reader:
        reader._slices = _noting(reader)
        assert len(list(reader.shares(user="alice"))) == 2
        assert sum(high - low + 1 for low, high in reader._slices.ranges) == 2


def _noting(reader):
    original = reader._slices

    def slices(query, values, low, high):
        slices.ranges.append((low, high))
        return original(query, values, low, high)

    slices.ranges = []
    return slices


def test_refusals_are_told_by_worker_and_slot_closed_or_not(tmp_path):
    our = OurBooks(tmp_path / "shares.db")
    our.book("alice.1")
    for minute in range(0, 300, 20):
        our.clock.now = AT + minute * 60
        our.books.write([], {("alice.1", "stale", AT + minute * 60): 1, ("eve", "low", AT + minute * 60): 2}, [])
        our.tend()
    with SqliteReader(our.path) as reader:
        assert reader.refusal_sums(0) == [RefusalSum("alice.1", "stale", 15), RefusalSum("", "low", 30)]
        assert reader.refusal_sums(AT + 4 * HOUR)[0] == RefusalSum("alice.1", "stale", 3)
        hours = reader.refusal_history(HOUR, AT // HOUR, AT // HOUR + 9, "alice")
        assert hours == [SlotRefusals(AT // HOUR + hour, "stale", 3) for hour in range(5)]
        assert sum(each.shares for each in reader.refusal_history(TEN_MINUTES, AT // 600, AT // 600 + 99)) == 45
        assert sum(each.shares for each in reader.refusal_history(DAY, 0, AT // DAY + 1)) == 45


def test_workers_and_blocks(tmp_path):
    our = OurBooks(tmp_path / "shares.db")
    our.book("alice.1", "bob")
    our.books.write([share(9)], {("eve", "low", AT): 1}, [
        BlockRow(b"\1" * 32, 5, "bob", AT, 7.5), BlockRow(b"\2" * 32, 6, "carol", AT + 1, 8.5),
        BlockOutcome(b"\1" * 32, "accepted", "", AT + 2)])
    with SqliteReader(our.path) as reader:
        assert reader.workers() == ["alice.1", "bob", "alice.rig1", "carol"]
        assert reader.workers("alice") == ["alice.1", "alice.rig1"]
        assert reader.blocks() == [BookedBlock(b"\2" * 32, 6, "carol", AT + 1, 8.5, "", ""),
                                   BookedBlock(b"\1" * 32, 5, "bob", AT, 7.5, "accepted", "")]
        assert len(reader.blocks(1)) == 1


def test_seven_days_are_read_from_few_slots():
    marks = {"hour": 240, "day": 10, "pruned_600": 3 * 144, "pruned_3600": 0}
    segments = segments_of(4.4 * DAY, marks)
    assert segments == [Segment(TEN_MINUTES, 1440, None), Segment(TEN_MINUTES, 633, 636), Segment(HOUR, 106, 120),
                        Segment(DAY, 5, 10)]
    assert segments_of(0, {}) == [Segment(TEN_MINUTES, 0, None)]
    assert segments_for(HOUR, 200, 250, marks) == [Segment(HOUR, 200, 240), Segment(TEN_MINUTES, 1440, 1506)]


@pytest.mark.parametrize("day", [41, 40])
@pytest.mark.parametrize("hour", range(1_000, 1_009))
def test_each_slot_since_a_time_is_read_once_whatever_is_summed(hour, day):
    now = hour * 6 + 7                          # the hour after `hour` has begun, and is not summed
    at = {"hour": hour, "day": day, "pruned_600": 0, "pruned_3600": 0}
    for first in range(now - 200, now):
        slots = [slot for resolution, begin, end in segments_of(first * TEN_MINUTES, at)
                 for slot in range(begin * resolution // TEN_MINUTES,
                                   now if end is None else end * resolution // TEN_MINUTES)]
        assert sorted(slots) == list(range(first, now))
