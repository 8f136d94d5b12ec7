"""Roll-ups: what the shares came to, slot by slot, however the clock was set and however the daemon ended."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from hashlib import sha256
from itertools import pairwise

import pytest

from tests.ledger.books import START, share
from warppool.errors import LedgerError
from warppool.ledger.beginning import Beginning
from warppool.ledger.opensums import OpenSums
from warppool.ledger.payoutitems import Booking, Hold
from warppool.ledger.schema import MIGRATIONS, migrate
from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitereader import SqliteReader
from warppool.ledger.sqliteslots import ROWS_A_STEP
from warppool.payout.weight import FRACTION_BITS, weight_of

AT = int(START) // DAY * DAY + 36_000            # ten o'clock


class Clock:
    def __init__(self, now: float = AT) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class OurBooks:
    """Books with a clock, and the sums that they should have."""

    def __init__(self, path, *, keep_days=0, now=AT) -> None:
        self.path, self.clock = path, Clock(now)
        self.books = SqliteBooks(path, self.clock, keep_days)
        self.books.open()
        self.number = 0
        self.weight = self.count = 0

    def book(self, *users, difficulty=1.5, at=None):
        self.clock.now = self.clock.now if at is None else at
        shares = []
        for user in users:
            self.number += 1
            self.count += 1
            self.weight += weight_of(difficulty)
            shares.append(share(self.number, user=user, time=self.clock.now, difficulty=difficulty))
        self.books.write(shares, {}, [])

    def tend(self, at=None):
        """Until nothing is left to do."""
        self.clock.now = self.clock.now if at is None else at
        while self.books.tend():
            pass

    def again(self):
        """As after a kill: nothing that was at hand is left."""
        keep = self.books._chores._retention._keep_s // DAY
        self.books._connection.close()
        self.books = SqliteBooks(self.path, self.clock, keep)
        self.books.open()

    def rows(self, query, *values):
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query, values).fetchall()

    def rollups(self, resolution=TEN_MINUTES):
        return self.rows("""SELECT slot, name, accepted, whole FROM rollups JOIN workers ON id = worker
            WHERE resolution = ? ORDER BY slot, worker""", resolution)


def all_sums(path):
    """Count and weight of all that was ever booked, by the coarsest rows and what is above the mark."""
    with closing(sqlite3.connect(path)) as connection:
        at = dict(connection.execute("SELECT name, value FROM marks"))
        rows = connection.execute("""SELECT accepted, whole, fraction FROM rollups
            WHERE resolution = 86400 AND slot < :day OR resolution = 3600 AND slot >= :day * 24 AND slot < :hour
                OR resolution = 600 AND slot >= :hour * 6 AND slot != :closing""",
            {"day": at.get("day", 0), "hour": at.get("hour", 0),
             "closing": at["closing_slot"] if at.get("closing_end", 0) > at["rolled_id"] else -1}).fetchall()
        rest = connection.execute("SELECT difficulty FROM shares WHERE id >= ? OR id BETWEEN ? AND ? - 1", (
            at["rolled_id"], at["backlog_id"], at["live_id"])).fetchall()
    count = sum(row[0] for row in rows) + len(rest)
    weight = sum((row[1] << FRACTION_BITS) + row[2] for row in rows) + sum(weight_of(one) for (one,) in rest)
    return count, weight


@pytest.fixture
def our(tmp_path):
    our = OurBooks(tmp_path / "shares.db")
    yield our
    our.books.close()


def test_a_slot_is_written_once_by_the_commit_that_finds_it_over(our):
    our.book("alice.1", "alice.1", "bob", difficulty=2.25)
    our.book("alice.1", at=AT + 599)
    assert our.rollups() == []
    our.book("bob", at=AT + 600)
    assert our.rollups() == [(AT // 600, "alice.1", 3, 6), (AT // 600, "bob", 1, 2)]
    assert our.rows("SELECT first_id, last_id, accepted, whole FROM slots") == [(1, 4, 4, 8)]
    assert our.rows("SELECT value FROM marks WHERE name = 'rolled_id'") == [(5,)]
    before = our.rows("SELECT * FROM rollups")
    our.book("alice.1", at=AT + 1200)
    assert our.rows("SELECT * FROM rollups")[:2] == before
    assert all_sums(our.path) == (our.count, our.weight)


def test_best_is_the_difficulty_that_the_best_hash_met(our):
    our.book(*["alice"] * 50)
    our.tend(AT + 600)
    best = max((0xFFFF << 208) / int.from_bytes(sha256(b"%d" % number).digest(), "little") for number in range(1, 51))
    assert our.rows("SELECT best FROM rollups UNION ALL SELECT best FROM slots") == [(best,), (best,)]


def test_while_the_clock_shows_an_earlier_slot_the_open_one_stays_open(our):
    our.book("alice")
    our.book("alice", at=AT - 50_000)
    our.tend(AT - 50_000)
    our.again()
    our.book("alice", at=AT - 40_000)
    our.book("alice", at=AT + 700)
    assert our.rollups() == [(AT // 600, "alice", 3, 4)]


def test_the_open_slot_is_known_after_a_kill_whatever_the_clock_shows(our):
    our.book("alice")
    our.book("alice", at=AT + 1800)             # the slot that is open now
    our.again()
    our.book("alice", at=AT + 650)
    our.book("alice", at=AT + 2400)
    assert [row[0] for row in our.rollups()] == [AT // 600, AT // 600 + 3]
    assert our.rollups()[1][2] == 2


def test_a_transaction_that_fell_counts_nothing(our):
    our.book("alice")
    our.clock.now = AT + 600
    with pytest.raises(sqlite3.ProgrammingError):
        our.books.write([share(9, user="bob")._replace(job_id=object())], {}, [])
    assert our.rollups() == []
    our.books.open()
    our.book("alice", at=AT + 601)
    assert our.rollups() == [(AT // 600, "alice", 1, 1)]
    assert all_sums(our.path) == (2, 2 * weight_of(1.5))


def test_what_is_taken_out_again_is_not_counted(our):
    our.book("alice", "alice", "bob")
    assert our.books.resolve(1, [share(number) for number in (1, 2, 3)], 2)
    our.tend(AT + 600)
    assert our.rollups() == [(AT // 600, "bob", 1, 1)]


def test_hours_and_days_are_new_rows_and_finer_ones_go(our):
    dice = random.Random(12)
    for slot in range(0, 100 * 144, 37):
        our.book(*dice.choices(["alice.1", "alice.2", "bob"], k=3), difficulty=dice.choice([0.1, 7.3, 65536.0]),
                 at=AT + slot * 600)
        if dice.random() < 0.2:
            our.again()
        our.tend()
        if slot % 740 == 0:
            assert all_sums(our.path) == (our.count, our.weight)
    assert all_sums(our.path) == (our.count, our.weight)
    oldest = dict(our.rows("SELECT resolution, min(slot) * resolution FROM rollups GROUP BY resolution"))
    now = our.clock.now // DAY * DAY
    assert oldest[DAY] == AT // DAY * DAY
    assert now - 90 * DAY <= oldest[HOUR] < now - 89 * DAY
    assert now - 7 * DAY <= oldest[TEN_MINUTES] < now - 6 * DAY


def test_sums_of_many_workers_are_made_in_steps_and_once(our):
    names = [f"rig{number}" for number in range(1_203)]
    for slot in range(3):
        our.book(*names, at=AT + slot * 600)
    our.clock.now = AT + 7200
    while our.rows("SELECT count(*) FROM rollups WHERE resolution = 3600") == [(0,)]:       # the slot's own rows first
        assert our.books.tend()
    assert 0 < our.rows("SELECT count(*) FROM rollups WHERE resolution = 3600")[0][0] < 1_203
    assert our.rows("SELECT count(*) FROM slots WHERE resolution = 3600") == [(0,)]
    assert all_sums(our.path) == (our.count, our.weight)
    our.again()
    our.tend()
    assert our.rows("SELECT count(*), sum(accepted) FROM rollups WHERE resolution = 3600") == [(1_203, 3 * 1_203)]
    assert all_sums(our.path) == (our.count, our.weight)


def test_a_slot_of_many_workers_closes_between_the_commits(our):
    names = [f"rig{number}" for number in range(2 * ROWS_A_STEP + 7)]
    our.book(*names, *names[:9], difficulty=0.7)
    our.book("late", at=AT + 600)
    assert our.rollups() == [], "a commit waits for no rows of many workers"
    seen = []
    for step in range(3):
        assert all_sums(our.path) == (our.count, our.weight)
        with SqliteReader(our.path) as reader:
            assert sum(each.weight for each in reader.worker_sums(0)) == our.weight
            assert [each.accepted for each in reader.history(TEN_MINUTES, AT // 600, AT // 600 + 1)] == [
                len(names) + 9, 1 + step]
            assert [each.slot for each in reader.history(TEN_MINUTES, 0, AT, "rig3")] == [AT // 600]
        assert our.books.tend()
        seen.append(len(our.rollups()))
        our.book("late")
        if step == 1:
            our.again()
            assert our.books.tend() and our.books.tend(), "the shares are read again"
    assert seen == [ROWS_A_STEP, 2 * ROWS_A_STEP, len(names)]
    assert our.rows("SELECT first_id, last_id, accepted FROM slots") == [(1, len(names) + 9, len(names) + 9)]
    our.tend(AT + 1_200)
    assert all_sums(our.path) == (our.count, our.weight)
    assert our.rollups()[-1][:3] == (AT // 600 + 1, "late", 4)


def test_a_slot_that_had_no_time_to_close_is_closed_by_the_next_one(our):
    names = [f"rig{number}" for number in range(ROWS_A_STEP + 3)]
    our.book(*names)
    our.book(*names, at=AT + 600)
    assert our.books.tend()
    our.again()
    our.book("late", at=AT + 1_200)
    assert our.rows("SELECT slot, accepted FROM slots") == [(AT // 600, len(names))]
    assert all_sums(our.path) == (our.count, our.weight)
    our.tend()
    assert all_sums(our.path) == (our.count, our.weight)
    assert our.rows("SELECT count(*) FROM slots") == [(2,)]


def test_after_a_start_the_open_slot_is_read_in_steps(our, monkeypatch):
    monkeypatch.setattr("warppool.ledger.sqliteslots.SHARES_A_STEP", 10)
    our.book(*["alice", "bob"] * 20)
    our.again()
    our.book("alice", at=AT + 600)
    assert our.rollups() == [], "no commit reads more than a step"
    our.book("alice")
    our.tend()
    assert our.rollups() == [(AT // 600, "alice", 20, 30), (AT // 600, "bob", 20, 30)]
    our.tend(AT + 1_200)
    assert all_sums(our.path) == (our.count, our.weight)


def test_refusals_are_rolled_up_two_minutes_late_and_none_goes_back(our):
    def refuse(minute, count=1):
        our.books.write([], {("alice", "stale", minute): count}, [])

    our.book("alice")
    refuse(AT)
    refuse(AT + 540, 2)
    our.tend(AT + 719)
    assert our.rows("SELECT * FROM refusal_rollups") == []
    our.tend(AT + 720)
    assert our.rows("SELECT resolution, slot, reason, count FROM refusal_rollups") == [(600, AT // 600, "stale", 3)]
    refuse(AT + 60, 5)                          # late: it counts for the first minute that is not rolled up
    assert our.rows("SELECT minute_unix, count FROM refusals ORDER BY 1") == [(AT, 1), (AT + 540, 2), (AT + 600, 5)]
    our.tend(AT + 2 * DAY)
    sums = our.rows("SELECT resolution, sum(count) FROM refusal_rollups GROUP BY 1")
    assert sums == [(600, 8), (3600, 8), (86400, 8)]


def test_old_shares_go_and_their_sums_and_ids_stay(our, tmp_path):
    our = OurBooks(tmp_path / "kept.db", keep_days=2)
    for hour in range(24 * 6):
        our.book(*["alice"] * 50, at=AT + hour * HOUR)
        our.tend()
    oldest = our.rows("SELECT min(time_ms) / 1000.0 FROM shares")[0][0]
    assert our.clock.now - 2 * DAY - 700 <= oldest <= our.clock.now - 2 * DAY + HOUR
    assert our.rows("SELECT count(*) FROM minutes")[0][0] < 60
    assert all_sums(our.path) == (our.count, our.weight)
    next_id = our.books.next_id
    our.tend(our.clock.now + 30 * DAY)
    assert our.rows("SELECT count(*) FROM shares") == [(0,)]
    our.again()
    assert our.books.next_id == next_id
    our.book("alice")
    assert our.rows("SELECT max(id) FROM shares") == [(next_id,)]
    assert all_sums(our.path) == (our.count, our.weight)


def test_the_file_stops_growing(tmp_path):
    our = OurBooks(tmp_path / "kept.db", keep_days=2)
    sizes = []
    for hour in range(24 * 12):
        our.book(*["alice", "bob"] * 60, at=AT + hour * HOUR)
        our.tend()
        if hour % 24 == 23:
            sizes.append(our.rows("SELECT page_count FROM pragma_page_count")[0][0])
    assert (sizes[-1] - sizes[3]) / 8 < sizes[0] / 20, "a day's roll-ups are little beside its shares"


def test_a_hold_keeps_shares_however_old(tmp_path):
    our = OurBooks(tmp_path / "kept.db", keep_days=1)
    our.books.begin(Beginning("pplns", 0, b"s" * 8, AT))
    our.book(*["alice"] * 20)
    our.books.write([], {}, [Booking((Hold("window", 8),))])
    our.tend(AT + 30 * DAY)
    assert our.rows("SELECT min(id) FROM shares") == [(8,)]
    our.books.write([], {}, [Booking((Hold("window", None),))])
    our.tend(AT + 31 * DAY)
    assert our.rows("SELECT count(*) FROM shares") == [(0,)]


def test_a_bite_is_small(tmp_path):
    our = OurBooks(tmp_path / "kept.db", keep_days=1)
    our.book(*["alice"] * 5_000)
    our.clock.now = AT + 3 * DAY
    counts = set()
    while our.books.tend():
        counts.add(our.rows("SELECT count(*) FROM shares")[0][0])
    assert counts == {5_000, 4_000, 3_000, 2_000, 1_000, 0}


def test_a_minute_of_the_future_keeps_nothing(tmp_path):
    our = OurBooks(tmp_path / "kept.db", keep_days=1)
    our.books.write([share(1, time=AT + 10_000 * DAY)], {}, [])
    our.book("alice")
    our.tend(AT + 5 * DAY)
    assert our.rows("SELECT count(*) FROM shares") == [(0,)]


@pytest.fixture
def old_path(tmp_path):
    """Books of schema version 2: shares of 200 days up to AT - 100, five a day, two of them with a wrong clock."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, MIGRATIONS[:2])
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO workers VALUES (1, 'alice.1', 'alice'), (2, 'bob', 'bob')")
        for number in range(1, 1_001):
            unix = AT - 100 - (1_000 - number) * DAY // 5
            wrong = {300: 0, 700: AT + 10**8}.get(number, unix)
            connection.execute("INSERT INTO shares VALUES (?, ?, ?, 'sv1', 3, 0.3, 17, 5, ?, NULL)",
                               (number, wrong * 1000, 1 + number % 2, share(number).share_hash))
            connection.execute("INSERT OR IGNORE INTO minutes VALUES (?, ?)", (wrong // 60, number))
        connection.execute("INSERT INTO refusals VALUES (?, 1, 'stale', 7)", (AT - 150 * DAY,))
        connection.execute("COMMIT")
    return path


def test_older_shares_are_rolled_up_after_the_start(old_path):
    our = OurBooks(old_path)
    our.count, our.weight = 1_000, 1_000 * weight_of(0.3)
    assert our.rows("SELECT count(*) FROM rollups") == [(0,)], "a start waits for nothing"
    assert all_sums(our.path) == (our.count, our.weight)
    our.book("carol", at=AT)
    our.tend()
    assert all_sums(our.path) == (our.count, our.weight)
    assert our.rows("SELECT sum(count) FROM refusal_rollups WHERE resolution = 86400") == [(7,)]
    our.tend(AT + 8 * DAY)
    assert all_sums(our.path) == (our.count, our.weight)
    edges = our.rows("SELECT first_id, last_id FROM slots WHERE resolution = 86400 ORDER BY slot")
    assert edges[0][0] == 1 and all(low[1] + 1 == high[0] for low, high in pairwise(edges))


def test_a_backlog_that_is_cut_short_goes_on(old_path, monkeypatch):
    monkeypatch.setattr("warppool.ledger.sqlitebacklog.SLICE_SHARES", 90)
    our = OurBooks(old_path)
    our.count, our.weight = 1_000, 1_000 * weight_of(0.3)
    our.book("carol", at=AT)
    for _ in range(30):
        our.books.tend()
        our.again()
        our.books.tend()
        our.books.tend()
        assert all_sums(our.path) == (our.count, our.weight)
    our.tend()
    marks = our.rows("SELECT min(value), max(value) FROM marks WHERE name IN ('live_id', 'backlog_id')")
    assert marks == [(1001, 1001)]
    assert all_sums(our.path) == (our.count, our.weight)


def test_an_old_slot_of_many_workers_is_written_in_steps(old_path, monkeypatch):
    with closing(sqlite3.connect(old_path)) as connection, connection:
        connection.executemany("INSERT INTO workers VALUES (?, ?, 'farm')", ((n, f"farm.{n}") for n in range(3, 1_001)))
        connection.execute("UPDATE shares SET worker = id, time_ms = ? WHERE id > 400", ((AT - 150 * DAY) * 1000,))
    monkeypatch.setattr("warppool.ledger.sqlitebacklog.ROWS_A_STEP", 100)
    our = OurBooks(old_path)
    our.count, our.weight = 1_000, 1_000 * weight_of(0.3)
    counts = [0]
    while our.books.tend():
        counts.append(our.rows("SELECT count(*) FROM rollups WHERE resolution = 86400")[0][0])
        if len(counts) % 3 == 0:
            our.again()
    assert max(high - low for low, high in pairwise(counts)) <= 2 * 81, "days of before, with two workers each"
    assert all_sums(our.path) == (our.count, our.weight)


def test_retention_waits_for_the_backlog(old_path, monkeypatch):
    monkeypatch.setattr("warppool.ledger.sqlitebacklog.SLICE_SHARES", 90)
    our = OurBooks(old_path, keep_days=30)
    our.count, our.weight = 1_000, 1_000 * weight_of(0.3)
    our.tend()
    assert all_sums(our.path) == (our.count, our.weight)
    assert 140 <= our.rows("SELECT count(*) FROM shares")[0][0] <= 160


def test_a_later_version_says_who_may_use_its_books(tmp_path):
    OurBooks(tmp_path / "later.db").books.close()
    with closing(sqlite3.connect(tmp_path / "later.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        OurBooks(tmp_path / "later.db").books.close()
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
        connection.execute("UPDATE meta SET min_reader = ?", (len(MIGRATIONS) + 1,))
    with pytest.raises(LedgerError, match="install the warppool that wrote them"):
        OurBooks(tmp_path / "later.db")


def test_sums_are_those_of_single_shares_wherever_a_worker_has_his_place(monkeypatch):
    monkeypatch.setattr("warppool.ledger.opensums.ARRAY_MAX", 1_500)
    dice = random.Random(12)
    sums, expected = OpenSums(), {}
    for _ in range(40):
        rows = [(dice.choice([1, 2, 1_023, 1_024, 1_499, 1_500, 10**12]),
                 dice.choice([0.0, 0.1, 7.25, 1.0, 65_536.0, 2.0**41, 2.0**100, 1e300]),
                 dice.randbytes(24) + dice.choice([bytes(8), b"\xff" * 8, dice.randbytes(8)]))
                for _ in range(dice.randrange(9))]
        sums.add(rows)
        for worker, difficulty, share_hash in rows:
            met = (0xFFFF << 208) / int.from_bytes(share_hash, "little")
            count, weight, best = expected.get(worker, (0, 0, 0.0))
            expected[worker] = count + 1, weight + weight_of(difficulty), max(best, met)
    assert sums.by_worker() == sorted(expected.items())
    assert sums.by_worker(1_023, 3) == sorted(expected.items())[3:6]
    assert sums.total() == tuple(
        combine(column) for combine, column in zip((sum, sum, max), zip(*expected.values(), strict=True), strict=True))
    assert sums.has_more_than(6) and not sums.has_more_than(7)


def test_a_worker_at_the_end_of_the_arrays_has_one_place(monkeypatch):
    monkeypatch.setattr("warppool.ledger.opensums.ARRAY_MAX", 1_500)
    sums = OpenSums()
    for workers in ([1], [1_499], [1_600], [1_600, 10**12], [1_600]):
        sums.add([(worker, 2.0, b"\1" * 32) for worker in workers])
    assert [(worker, work.accepted) for worker, work in sums.by_worker()] == [
        (1, 1), (1_499, 1), (1_600, 3), (10**12, 1)]


def test_no_share_has_a_difficulty_without_a_weight():
    sums = OpenSums()
    sums.add([(1, float("nan"), b"\1" * 32), (1, 2.0, b"\2" * 32)])
    assert [(work.accepted, work.weight) for _, work in sums.by_worker()] == [(2, weight_of(2.0))]
