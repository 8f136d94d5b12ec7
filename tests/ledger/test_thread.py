import logging
import queue
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from tests.ledger.books import Simulation, book, booked, ids, opened, share, simulate, taken
from warppool.errors import LedgerError
from warppool.ledger import sqlite as sqlite_module
from warppool.ledger import thread as thread_module
from warppool.ledger.items import BlockOutcome, BlockRow, LedgerSettings, Refusals, Shares
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitereader import SqliteReader
from warppool.ledger.thread import GATHER_S, GATHERED_ENOUGH, UNHURRIED_S, LedgerThread
from warppool.loop import Reconfigure, ask_all
from warppool.net.inbox import GivenUp, NotRecorded, Recorded
from warppool.threads import STOP, spawn


@pytest.fixture
def answers():
    return queue.Queue()


class Away(SqliteBooks):
    """Books that cannot be written between two moments of a simulation, nor opened."""

    def __init__(self, path, simulation_now, since, until):
        super().__init__(path)
        self.tries = 0
        self.is_away = lambda: since <= simulation_now() < until

    def _refuse(self):
        if self.is_away():
            self.tries += 1
            self._drop()
            raise LedgerError("the disk is on holiday")

    def open(self):
        self._refuse()
        super().open()

    def write(self, *batch):
        self._refuse()
        return super().write(*batch)


def simulate_trouble(path, arrivals, ends_at, since, until, durability="commit"):
    simulation = Simulation(arrivals, ends_at)
    books = Away(path, simulation.monotonic, since, until)
    LedgerThread(books, simulation, durability, simulation.monotonic, simulation.sleep).run()
    return books


def events(caplog):
    return [record.getMessage().split()[0].removeprefix("event=") for record in caplog.records]


def test_what_comes_together_is_one_commit_and_one_answer_to_each_queue(path, answers):
    others = queue.Queue()
    arrivals = [
        (1.0, Shares((share(1), share(2)), answers)), (1.0, Shares((share(3),), others)),
        (1.0 + GATHER_S / 2, Shares((share(4),), answers)), (1.0 + GATHER_S / 2, Shares((share(5),), None)),
    ]
    ledger = simulate(opened(path), arrivals, 2.0)
    assert taken(answers) == [Recorded(ids(share(1), share(2), share(4)))]
    assert taken(others) == [Recorded(ids(share(3)))]
    assert (ledger.commits, ledger.rows) == (1, 5)
    assert booked(path) == [share(number).share_hash for number in (1, 2, 3, 4, 5)]


def test_nothing_waits_longer_than_the_gathering(path, answers):
    arrivals = [(1.0, Shares((share(1),), answers)), (1.0 + 2 * GATHER_S, Shares((share(2),), answers))]
    arrivals.append((1.0 + 1.5 * GATHER_S, lambda: answers.put("meanwhile")))
    ledger = simulate(opened(path), arrivals, 2.0)
    assert taken(answers) == [Recorded(ids(share(1))), "meanwhile", Recorded(ids(share(2)))]
    assert ledger.commits == 2


def test_what_nobody_waits_for_is_gathered_longer_and_booked_all_the_same(path):
    arrivals = [(1.0, Shares((share(1),), None)), (1.0 + 10 * GATHER_S, Shares((share(2),), None)),
                (1.0 + 1.5 * UNHURRIED_S, Shares((share(3),), None))]
    ledger = simulate(opened(path), arrivals, 2.0)
    assert booked(path) == [share(number).share_hash for number in (1, 2, 3)]
    assert ledger.commits == 2


def test_counts_alone_hold_up_no_share_that_comes_after_them(path, answers):
    arrivals = [(1.0, Refusals((("bob", "stale-share", 60, 1),))), (1.0 + 2 * GATHER_S, Shares((share(1),), answers)),
                (1.0 + 4 * GATHER_S, lambda: answers.put("meanwhile"))]
    simulate(opened(path), arrivals, 2.0)
    assert taken(answers) == [Recorded(ids(share(1))), "meanwhile"]


def test_a_large_batch_is_not_kept_waiting(path, answers):
    many = tuple(share(number) for number in range(GATHERED_ENOUGH))
    arrivals = [(1.0, Shares(many, answers)), (1.0 + GATHER_S / 2, Shares((share(-1),), answers))]
    simulate(opened(path), arrivals, 2.0)
    assert taken(answers) == [Recorded(ids(*many)), Recorded(ids(share(-1)))]


def test_the_answer_comes_after_the_commit(path):
    class Listening(queue.Queue):
        def put(self, item, *rest):
            super().put((item, booked(path)), *rest)

    answers = Listening()
    simulate(opened(path), [(1.0, Shares((share(1),), answers))], 2.0)
    assert taken(answers) == [(Recorded(ids(share(1))), [share(1).share_hash])]


def test_durability_none_answers_at_once_and_books_in_groups_all_the_same(path):
    class Listening(queue.Queue):
        def put(self, item, *rest):
            super().put((item, booked(path)), *rest)

    answers = Listening()
    arrivals = [(1.0, Shares((share(1),), answers)), (1.0 + GATHER_S / 2, Shares((share(2),), answers)),
                (1.0 + 2 * GATHER_S, lambda: answers.put("meanwhile"))]
    ledger = simulate(opened(path), arrivals, 2.0, durability="none")
    both = [share(1).share_hash, share(2).share_hash]
    assert taken(answers) == [(Recorded(ids(share(1))), []), (Recorded(ids(share(2))), []), ("meanwhile", both)]
    assert ledger.commits == 1


def test_shares_are_kept_for_other_days_from_a_reload_on(path):
    books = opened(path)
    kept, keep = [], books.keep
    books.keep = lambda days: (kept.append(days), keep(days))
    simulate(books, [(1.0, Reconfigure(LedgerSettings("commit", 30))), (2.0, Shares((share(1),), queue.Queue())),
                     (3.0, Reconfigure(LedgerSettings("commit", 0)))], 5.0)
    assert kept == [30, 0]


def test_another_durability_counts_for_the_shares_that_come_after_it(path):
    class Listening(queue.Queue):
        def put(self, item, *rest):
            super().put((item, len(booked(path))), *rest)

    answers = Listening()
    arrivals = [(1.0, Shares((share(1),), answers)), (1.001, Reconfigure(LedgerSettings("none", 0))),
                (1.002, Shares((share(2),), answers)), (3.0, Reconfigure(LedgerSettings("commit", 0))),
                (3.001, Shares((share(3),), answers))]
    simulate(opened(path), arrivals, 5.0)
    assert taken(answers) == [(Recorded(ids(share(2))), 0), (Recorded(ids(share(1))), 2), (Recorded(ids(share(3))), 3)]


def test_durability_none_answers_once_even_where_the_books_fail(path, answers, caplog):
    simulate_trouble(path, [(1.0, Shares((share(1),), answers))], 60.0, 0.0, 30.0, durability="none")
    assert taken(answers) == [Recorded(ids(share(1)))]
    assert booked_or_none(path) == []
    assert "shares_lost=1" in caplog.text


def booked_or_none(path):
    return booked(path) if path.exists() else []


def test_refusals_and_blocks_are_booked_without_an_answer(path):
    block = BlockRow(b"\x01" * 32, 5, "alice.rig1", 1.0, 2.0)
    arrivals = [
        (0.5, Shares((share(1), share(2, user="bob")), None)),
        (1.0, Refusals((("alice.rig1", "stale-share", 60, 2), ("bob", "stale-share", 60, 1)))),
        (1.0, Refusals((("alice.rig1", "stale-share", 60, 3),))),
        (3.0, block), (4.0, BlockOutcome(block.hash, "accepted", "", 1.5)),
    ]
    ledger = simulate(opened(path), arrivals, 5.0)
    assert (ledger.rows, ledger.commits) == (6, 4)
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name, count FROM refusals JOIN workers ON id = worker ORDER BY 1"
        assert connection.execute(query).fetchall() == [("alice.rig1", 5), ("bob", 1)]
        assert connection.execute("SELECT height, outcome FROM blocks").fetchall() == [(5, "accepted")]


def test_an_outcome_without_its_block_is_said(path, caplog):
    simulate(opened(path), [(1.0, BlockOutcome(bytes(31) + b"\xab", "accepted", "", 1.0))], 2.0)
    assert "event=ledger.block_unknown hash=ab00" in caplog.text


def test_short_trouble_costs_nothing_and_is_said_once(path, answers, caplog):
    arrivals = [(moment, Shares((share(moment),), answers)) for moment in range(1, 13)]
    books = simulate_trouble(path, arrivals, 20.0, since=2.5, until=9.0)
    answered = taken(answers)
    assert all(type(answer) is Recorded for answer in answered)
    assert [one for answer in answered for one in answer.ids] == list(ids(*map(share, range(1, 13))))
    assert booked(path) == [share(number).share_hash for number in range(1, 13)]
    assert 4 <= books.tries <= 9                    # backs off, up to 2 s
    assert events(caplog) == ["ledger.failed", "ledger.recovered"]
    assert "on holiday" in caplog.text and "shares_lost=0" in caplog.text


def test_shares_wait_ten_seconds_each_and_are_then_given_up_for_good(path, answers, caplog):
    arrivals = [(moment, Shares((share(moment),), answers)) for moment in range(1, 31)]
    for moment in (10.99, 11.01, 15.99, 16.01):
        arrivals.append((moment, lambda moment=moment: answers.put(moment)))
    simulate_trouble(path, arrivals, 60.0, since=0.0, until=20.5)
    answered = taken(answers)
    assert answered[0] == 10.99 and answered[1] == NotRecorded(ids(share(1))) and answered[2] == 11.01
    at = answered.index(15.99)
    assert answered[at + 1:at + 3] == [NotRecorded(ids(share(6))), 16.01]
    lost = [one for answer in answered if type(answer) is NotRecorded for one in answer.ids]
    kept = [one for answer in answered if type(answer) is Recorded for one in answer.ids]
    assert lost + kept == list(ids(*map(share, range(1, 31))))
    assert 10 <= len(lost) <= 13                    # those of the first 10.5 s, and of up to 2 s until the next try
    assert booked(path) == [share(number).share_hash for number in range(len(lost) + 1, 31)]
    assert events(caplog) == ["ledger.failed", "ledger.gave_up", "ledger.recovered"]
    assert f"shares_lost={len(lost)}" in caplog.text


def test_refusals_and_blocks_outlast_long_trouble(path, answers):
    block = BlockRow(b"\x01" * 32, 5, "alice.rig1", 1.0, 2.0)
    arrivals = [(1.0, Refusals((("bob", "stale-share", 60, 2),))), (2.0, block), (3.0, Shares((share(1),), answers)),
                (500.0, Refusals((("bob", "stale-share", 60, 3),)))]
    simulate_trouble(path, arrivals, 2_000.0, since=0.0, until=1_000.0)
    assert taken(answers) == [NotRecorded(ids(share(1)))]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count FROM refusals").fetchall() == [(5,)]
        assert connection.execute("SELECT hash FROM blocks").fetchall() == [(block.hash,)]


def test_what_waits_out_the_trouble_is_bounded(path, caplog, monkeypatch):
    monkeypatch.setattr(thread_module, "MAX_REFUSALS_KEPT", 10)
    monkeypatch.setattr(thread_module, "MAX_BLOCKS_KEPT", 5)
    arrivals = [(1.0 + number / 100, Refusals(((f"w{number}", f"reason-{number}", 60, 1),))) for number in range(50)]
    arrivals += [(2.0, BlockRow(bytes([number]) * 32, 5, "w", 1.0, 2.0)) for number in range(50)]
    simulate_trouble(path, arrivals, 100.0, since=0.0, until=50.0)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM refusals").fetchone() == (10,)
        assert connection.execute("SELECT count(*) FROM blocks").fetchone() == (5,)
    assert "rows_lost=85" in caplog.text


def test_a_share_that_no_table_takes_is_refused_at_once_and_the_rest_goes_on(path, answers, caplog):
    poison = share(1)._replace(height=1 << 70)
    arrivals = [(1.0, Shares((poison,), answers)), (2.0, Shares((share(2),), answers))]
    simulate(opened(path), arrivals, 3.0)
    assert taken(answers) == [NotRecorded(ids(poison)), Recorded(ids(share(2)))]
    assert booked(path) == [share(2).share_hash]
    assert "event=ledger.refused" in caplog.text and "OverflowError" in caplog.text


def test_different_reasons_are_each_said_once(path, answers, caplog):
    class Moody(SqliteBooks):
        tries = 0

        def open(self):
            self.tries += 1
            raise LedgerError("full" if self.tries % 2 else "locked")

    simulate(Moody(path), [(1.0, Shares((share(1),), answers))], 30.0)
    assert events(caplog) == ["ledger.failed", "ledger.failed", "ledger.gave_up", "ledger.lost"]


def test_another_thing_in_the_queue_is_said_and_harmless(path, answers, caplog):
    simulate(opened(path), [(1.0, "what?"), (1.0, Shares((share(1),), answers))], 2.0)
    assert taken(answers) == [Recorded(ids(share(1)))]
    assert "event=ledger.misaddressed item=str" in caplog.text


def test_stop_books_what_came_before_it_and_closes(path, answers):
    books = opened(path)
    simulate(books, [(1.0, Shares((share(1),), answers)), (1.0, Refusals((("bob", "stale-share", 60, 2),)))], 1.0)
    assert taken(answers) == [Recorded(ids(share(1)))]
    assert not books.is_open and not path.with_name("shares.db-wal").exists()


def test_stop_in_trouble_tries_for_a_second_and_answers_everything(path, answers, caplog):
    arrivals = [(1.0, Shares((share(1),), answers)), (1.5, BlockRow(b"\x01" * 32, 5, "w", 1.0, 2.0))]
    books = simulate_trouble(path, arrivals, 2.0, since=0.0, until=100.0)
    assert taken(answers) == [NotRecorded(ids(share(1)))]
    assert books.tries > 5
    assert "event=ledger.lost shares_lost=1 rows_lost=1" in caplog.text
    simulate_trouble(path, [(1.0, Shares((share(2),), answers))], 2.0, since=0.0, until=2.5)
    assert taken(answers) == [Recorded(ids(share(2)))]


@pytest.mark.parametrize("away_until", [0.0, 100.0])
def test_the_beat_goes_on_while_nothing_comes_and_while_nothing_works(path, answers, away_until):
    beats = []
    simulation = Simulation([(10.0, Shares((share(1),), answers))], 100.0)
    books = Away(path, simulation.monotonic, 0.0, away_until)
    ledger = LedgerThread(books, simulation, "commit", simulation.monotonic, simulation.sleep)
    simulation.also([(float(second), lambda: beats.append(simulation.now - ledger.beat)) for second in range(100)])
    ledger.run()
    assert len(beats) == 100 and max(beats) <= 5.0


def test_a_commit_is_told_at_debug(path, caplog):
    with caplog.at_level(logging.DEBUG, "warppool.ledger"):
        simulate(opened(path), [(1.0, Shares((share(1), share(2)), None))], 2.0)
    assert "event=ledger.committed shares=2 rows=2 commits=1" in caplog.text
    assert "event=ledger.closed rows=2 commits=1" in caplog.text


# A commit that hangs

class Hanging(SqliteBooks):
    """The commit of share 1 takes `seconds`, and `meanwhile` happens at each second of it, on another thread or not."""

    seconds, meanwhile, now = 0, None, None

    def write(self, shares, refusals, blocks):
        is_slow = any(one.share_id == 1 for one in shares)
        unknown = super().write(shares, refusals, blocks)
        for _ in range(self.seconds if is_slow else 0):
            self.now.sleep(1.0)
            self.meanwhile()
        return unknown


def hanging(path, arrivals, seconds):
    """A ledger whose first commit hangs so long, and its clock."""
    simulation = Simulation(arrivals, 60.0)
    books = Hanging(path)
    ledger = LedgerThread(books, simulation, "commit", simulation.monotonic, simulation.sleep)
    books.seconds, books.meanwhile, books.now = seconds, ledger.relieve, simulation
    return ledger, simulation.monotonic


def test_a_commit_that_is_slow_and_succeeds_in_time_is_as_any_other(path, answers):
    hanging(path, [(1.0, Shares((share(1),), answers)), (3.0, Shares((share(2),), answers))], seconds=9)[0].run()
    assert taken(answers) == [Recorded(ids(share(1))), Recorded(ids(share(2)))]
    assert booked(path) == [share(1).share_hash, share(2).share_hash]


def test_shares_of_a_commit_that_hangs_are_refused_in_time_and_taken_out_of_the_books(path, answers, caplog):
    """They stay in the seen-set meanwhile (GivenUp), and may come again once they are out of the books for good."""
    times = []
    answers.put = lambda answer: times.append((round(now()), answer))
    arrivals = [(moment, Shares((share(number),), answers)) for number, moment in enumerate((1, 3, 15), 1)]
    ledger, now = hanging(path, arrivals, seconds=20)
    ledger.run()
    assert times == [
        (11, GivenUp(ids(share(1)))), (13, NotRecorded(ids(share(2)))), (21, NotRecorded(ids(share(1)))),
        (21, Recorded(ids(share(3))))]
    assert booked(path) == [share(3).share_hash]
    assert events(caplog) == ["ledger.gave_up", "ledger.recovered"]


def test_shares_that_waited_in_the_queue_while_a_commit_hung_are_not_committed_late(path, answers):
    """Where nobody relieves the thread, the time in the queue counts: what is over is dropped before a commit."""
    simulation = Simulation([(1.0, Shares((share(1),), answers)), (3.0, Shares((share(2),), answers, since=3.0)),
                             (15.0, Shares((share(3),), answers, since=15.0))], 60.0)
    books = Hanging(path)
    books.seconds, books.meanwhile, books.now = 20, lambda: None, simulation
    LedgerThread(books, simulation, "commit", simulation.monotonic, simulation.sleep).run()
    assert taken(answers) == [Recorded(ids(share(1))), NotRecorded(ids(share(2))), Recorded(ids(share(3)))]
    assert booked(path) == [share(1).share_hash, share(3).share_hash]


def test_shares_that_are_given_up_while_others_are_taken_out_are_taken_out_too(path, answers):
    """One commit has both; the patience for the second ends while the disk is slow to take out the first."""
    class Slow(Hanging):
        def resolve(self, first_id, shares, erase):
            is_booked = super().resolve(first_id, shares, erase)
            for _ in range(4):
                self.now.sleep(1.0)
                self.meanwhile()
            return is_booked

    simulation = Simulation([(1.0, Shares((share(1),), answers, since=-3.0)),
                             (1.0, Shares((share(2),), answers, since=1.0))], 60.0)
    books = Slow(path)
    ledger = LedgerThread(books, simulation, "commit", simulation.monotonic, simulation.sleep)
    books.seconds, books.meanwhile, books.now = 8, ledger.relieve, simulation
    ledger.run()
    assert taken(answers) == [GivenUp(ids(share(1))), GivenUp(ids(share(2))), NotRecorded(ids(share(1), share(2)))]
    assert booked(path) == []


def test_only_a_thread_that_stands_at_the_disk_is_relieved(path, answers):
    simulation = Simulation([], 1.0)
    simulation.also([(0.0, Shares((share(1),), answers))])
    ledger = LedgerThread(opened(path), simulation, "commit", simulation.monotonic, simulation.sleep)
    ledger.relieve()
    assert simulation.qsize() == 1, "it takes nothing"
    ledger.run()
    assert taken(answers) == [Recorded(ids(share(1)))]


def test_a_real_thread_that_hangs_is_relieved_by_another(path, answers):
    class Stuck(SqliteBooks):
        gate = threading.Event()
        stands = threading.Event()

        def write(self, shares, refusals, blocks):
            unknown = super().write(shares, refusals, blocks)
            if any(one.share_id == 1 for one in shares):
                self.stands.set()
                assert self.gate.wait(30)
            return unknown

    books, inbox, died, clock = Stuck(path), queue.Queue(), [], [0.0]
    ledger = LedgerThread(books, inbox, "commit", monotonic=lambda: clock[0], sleep=lambda seconds: None)
    thread = spawn("ledger", ledger.run, died.append)
    inbox.put(Shares((share(1),), answers))
    assert books.stands.wait(30)
    clock[0] = 10.5
    ledger.relieve()
    assert answers.get(timeout=30) == GivenUp(ids(share(1)))
    ledger.ask(reply := queue.SimpleQueue())
    ledger.relieve()                                                # who asks hears of the trouble amid the commit
    report = reply.get(timeout=30)
    assert (report.name, report.beat, report.commits, report.is_troubled, report.shares_lost) == (
        "ledger", 0.0, 0, True, 1)
    books.gate.set()
    assert answers.get(timeout=30) == NotRecorded(ids(share(1)))
    inbox.put(Shares((share(1),), answers))                         # sent again, as it may be now
    assert answers.get(timeout=30) == Recorded(ids(share(1)))
    inbox.put(STOP)
    thread.join()
    assert not died and booked(path) == [share(1).share_hash]


def test_a_thread_that_comes_back_from_the_disk_waits_for_whoever_relieves_it(path, answers, monkeypatch):
    """Both would else answer the same shares: one that they are recorded, the other that they are given up."""
    class Stuck(SqliteBooks):
        stands, gate, done = threading.Event(), threading.Event(), threading.Event()

        def write(self, shares, refusals, blocks):
            unknown = super().write(shares, refusals, blocks)
            self.stands.set()
            assert self.gate.wait(30)
            self.done.set()
            return unknown

    books, inbox, died = Stuck(path), queue.Queue(), []
    ledger = LedgerThread(books, inbox, "commit", sleep=lambda seconds: None)
    give_up, seen = ledger._give_up, []

    def slowly(now):
        if threading.current_thread() is not thread:
            books.gate.set()
            assert books.done.wait(30)
            time.sleep(0.1)                         # the other thread could go on now
            seen.append(answers.empty())
        give_up(now)

    monkeypatch.setattr(ledger, "_give_up", slowly)
    thread = spawn("ledger", ledger.run, died.append)
    inbox.put(Shares((share(1),), answers))
    assert books.stands.wait(30)
    ledger.relieve()
    inbox.put(STOP)
    thread.join()
    assert answers.get(timeout=30) == Recorded(ids(share(1))) and seen == [True]
    assert not died and booked(path) == [share(1).share_hash]


# Real trouble of every kind that SQLite knows

class Limited(SqliteBooks):
    """A disk that is full after `pages`."""
    pages = 1 << 30

    def open(self):
        super().open()
        self._connection.execute(f"PRAGMA max_page_count = {self.pages}")


def test_a_full_disk(path, answers, caplog):
    books = Limited(path)
    books.pages = 12
    hundreds = [tuple(share(100 * second + one) for one in range(100)) for second in range(1, 20)]
    arrivals = [(second, Shares(shares, answers)) for second, shares in enumerate(hundreds, 1)]
    arrivals.append((18.5, lambda: setattr(books, "pages", 1 << 30)))
    simulate(books, arrivals, 40.0)
    check_answers_and_books_agree(path, taken(answers), 1_900)
    assert events(caplog) == ["ledger.failed", "ledger.gave_up", "ledger.recovered"]
    assert "the disk is full: make room" in caplog.text


def check_answers_and_books_agree(path, answered, total):
    recorded = [one for answer in answered if type(answer) is Recorded for one in answer.ids]
    refused = [one for answer in answered if type(answer) is NotRecorded for one in answer.ids]
    assert recorded and refused
    assert len({*recorded, *refused}) == len(recorded) + len(refused) == total
    assert booked(path) == [share(number).share_hash for _, number in recorded]


def test_a_database_that_another_program_locks(path, answers, caplog, monkeypatch):
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT_S", 0.001)
    books = opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    arrivals = [(second, Shares((share(second),), answers)) for second in range(1, 20)]
    arrivals += [(1.5, lambda: other.execute("BEGIN EXCLUSIVE")), (14.5, other.close)]
    simulate(books, arrivals, 40.0)
    check_answers_and_books_agree(path, taken(answers), 19)
    assert events(caplog) == ["ledger.failed", "ledger.gave_up", "ledger.recovered"]
    assert "locked" in caplog.text


def test_a_database_that_turns_out_damaged_and_is_put_back(path, answers, caplog, tmp_path):
    book(path, share(0))
    good = path.read_bytes()
    path.write_bytes(b"\xa5" * len(good))
    arrivals = [(second, Shares((share(second),), answers)) for second in range(1, 20)]
    arrivals.append((14.5, lambda: path.write_bytes(good)))
    simulate(SqliteBooks(path), arrivals, 40.0)
    recorded = [one for answer in taken(answers) if type(answer) is Recorded for one in answer.ids]
    assert booked(path) == [share(number).share_hash for _, number in ((0, 0), *recorded)]
    assert 3 < len(recorded) < 19
    assert events(caplog) == ["ledger.failed", "ledger.gave_up", "ledger.recovered"]


def test_a_file_moved_away_is_begun_anew_without_losing_a_share(path, answers, caplog, tmp_path):
    arrivals = [(second, Shares((share(second),), answers)) for second in range(1, 5)]
    arrivals.append((2.5, lambda: path.rename(tmp_path / "old.db")))
    simulate(opened(path), arrivals, 10.0)
    assert taken(answers) == [Recorded(ids(share(second))) for second in range(1, 5)]
    assert booked(tmp_path / "old.db") == [share(1).share_hash, share(2).share_hash]
    assert booked(path) == [share(3).share_hash, share(4).share_hash]
    assert events(caplog) == ["ledger.failed", "ledger.recovered"]


def test_a_directory_that_goes_and_comes_back(path, answers, tmp_path):
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    arrivals = [(second, Shares((share(second),), answers)) for second in range(1, 8)]
    arrivals += [(2.5, lambda: home.rename(away)), (4.5, lambda: away.rename(home))]
    simulate(opened(home / "shares.db"), arrivals, 20.0)
    assert sum(len(answer.ids) for answer in taken(answers) if type(answer) is Recorded) == 7
    assert booked(home / "shares.db") == [share(second).share_hash for second in range(1, 8)]


# On a thread of its own

def test_readers_and_many_writers_at_once(path):
    books, inbox, died = opened(path), queue.Queue(), []
    ledger = LedgerThread(books, inbox, "commit")
    thread = spawn("ledger", ledger.run, died.append)
    replies = [queue.Queue() for _ in range(3)]

    def post(worker):
        for number in range(worker * 1_000, worker * 1_000 + 300):
            inbox.put(Shares((share(number),), replies[worker]))

    writers = [threading.Thread(target=post, args=(worker,)) for worker in range(3)]
    for writer in writers:
        writer.start()
    known = [set(), set(), set()]
    with SqliteReader(path) as reader:
        while any(len(ids) < 300 for ids in known):
            worker = min(range(3), key=lambda one: len(known[one]))
            known[worker] |= {number for _, number in replies[worker].get(timeout=30).ids}
            in_books = {row.hash for row in reader.shares()}
            assert {share(number).share_hash for ids in known for number in ids} <= in_books
    for writer in writers:
        writer.join()
    inbox.put(STOP)
    thread.join()
    assert not died and ledger.rows == 900 and ledger.commits < 900
    assert not any(taken(answers) for answers in replies)
    assert thread not in threading.enumerate()


def test_it_reports_what_it_wrote(path):
    ledger = simulate(opened(path), [(1.0, Shares((share(1), share(2)), None))], 2.0)
    report, = ask_all([ledger], 1.0)
    assert (report.rows, report.commits, report.waiting_shares, report.is_troubled) == (2, 1, 0, False)


def test_an_item_that_cannot_be_taken_costs_the_shares_beside_it_nothing(path, answers, caplog):
    simulate(opened(path), [(1.0, Shares((share(1),), answers)), (1.0, Refusals(None)),
                            (1.0, Shares((share(2),), answers))], 2.0)
    assert taken(answers) == [Recorded(ids(share(1), share(2)))]
    assert "event=thread.failed thread=ledger step=_take" in caplog.text
