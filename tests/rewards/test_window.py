"""The window in memory, over real books, against the reference arithmetic of `payout.window.take`."""

import random
from contextlib import closing

import pytest

from tests.ledger.books import START, share
from tests.ledger.test_payoutbooks import begun
from warppool.ledger.payoutitems import SharesBooked
from warppool.ledger.sqlitereader import SqliteReader
from warppool.payout.weight import weight_of
from warppool.payout.window import WindowEnd, WorkPart, take
from warppool.rewards import window as module
from warppool.rewards.lastseen import LastSeen
from warppool.rewards.window import Window

MINUTE = int(START) // 60
EVERYTHING = 1 << 200
NEVER = 0


class Pool:
    """Books that are written, and a window that hears of it, or not."""

    def __init__(self, path, mode="pplns", start=1):
        self.books = begun(path, mode, start=start)
        self.reader = SqliteReader(path)
        self.seen = LastSeen()
        self.window = Window(self.seen)

    def close(self):
        self.reader.close()
        self.books.close()

    def mine(self, *shares, is_heard=True):
        """Shares as (account, difficulty, minute) are booked."""
        first_id = self.books.next_id
        booked = tuple(share(first_id + n, time=START + 60 * minute, difficulty=difficulty)._replace(account=account)
                       for n, (account, difficulty, minute) in enumerate(shares))
        self.books.write(booked, {}, [])
        if is_heard:
            self.window.add(SharesBooked(first_id, booked))

    def fit(self, wanted, oldest=NEVER):
        span = self.window.fit(self.reader, wanted, oldest)
        return dict(self.window.weights(span)), span.first_id, span.last_id, span.cut_weight, span.ended_by

    def rebuilt(self, wanted, oldest=NEVER):
        """The same of a window that is read anew."""
        window = Window(LastSeen())
        window.rebuild(self.reader, wanted, oldest, self.reader.last_id())
        span = window.fit(self.reader, wanted, oldest)
        return dict(window.weights(span)), span.first_id, span.last_id, span.cut_weight, span.ended_by

    def reference(self, wanted, oldest=NEVER):
        """What the shares say, one by one."""
        epoch = self.reader.epochs()[-1].first_id
        parts, otherwise = [], WindowEnd.BEGINNING if epoch == 1 else WindowEnd.EPOCH
        since = self.reader.first_id_since(oldest)
        floor = self.reader.last_id() + 1 if since is None else since
        if floor > epoch:
            otherwise = WindowEnd.DAYS
        for each in self.reader.credits(max(epoch, floor), self.reader.last_id()):
            parts.append(WorkPart(each.share_id, each.share_id, {each.account: weight_of(each.difficulty)}))
        taken = take(reversed(parts), wanted, None, otherwise)
        return dict(taken.weights), taken.first_id, taken.last_id, taken.cut_weight, taken.ended_by


@pytest.fixture
def pool(path):
    with closing(Pool(path)) as pool:
        yield pool


@pytest.mark.parametrize("seed", range(12))
def test_the_window_is_that_of_the_shares_however_it_came_about(pool, seed, monkeypatch):
    monkeypatch.setattr(module, "SLICE_IDS", 3)
    chance, minute = random.Random(seed), 0
    pool.window.rebuild(pool.reader, 1, NEVER, pool.reader.last_id())
    wanted = weight_of(40.0)
    for _ in range(60):
        minute += chance.choice((0, 0, 1, 7, 50, 130))
        pool.mine(*((chance.choice("abcd"), chance.choice((0.0, 0.25, 1.0, 3.7, 11.0)), minute - chance.randrange(2))
                    for _ in range(chance.randrange(1, 6))))
        if not chance.randrange(6):
            wanted = weight_of(chance.choice((0.1, 5.0, 40.0, 300.0)))
        oldest = MINUTE + minute - 300
        expected = pool.reference(wanted, oldest)
        assert pool.fit(wanted, oldest) == expected
        assert pool.rebuilt(wanted, oldest) == expected


def test_an_empty_ledger_has_an_empty_window(pool):
    pool.window.rebuild(pool.reader, 1, NEVER, pool.reader.last_id())
    assert pool.fit(5) == ({}, 0, 0, 0, WindowEnd.BEGINNING)


def test_a_window_that_may_grow_takes_what_it_had_let_go(pool):
    pool.window.rebuild(pool.reader, EVERYTHING, NEVER, pool.reader.last_id())
    pool.mine(*(("a", 1.0, minute) for minute in range(0, 600, 10)))
    assert pool.fit(weight_of(10.0))[1] == 51
    assert pool.fit(weight_of(25.5))[1:] == (35, 60, weight_of(0.5), WindowEnd.WEIGHT)
    assert pool.fit(EVERYTHING)[1:] == (1, 60, 0, WindowEnd.BEGINNING)


@pytest.mark.parametrize("slice_ids", [1, 5_000])
def test_a_clock_that_was_ahead_and_is_set_back_keeps_no_share_for_longer_than_others(pool, monkeypatch, slice_ids):
    """Shares 3 and 4 say that they are of years to come. They go with share 5, and not in years."""
    monkeypatch.setattr(module, "SLICE_IDS", slice_ids)
    years, day = 5_000_000, 1_440
    pool.window.rebuild(pool.reader, EVERYTHING, NEVER, 0)
    pool.mine(("a", 1.0, 0), ("a", 1.0, day), ("b", 1.0, years), ("b", 1.0, years + 1), ("c", 1.0, 2 * day))
    pool.mine(("d", 1.0, 5 * day))
    for days, first_id in ((0, 1), (1, 2), (2, 3), (3, 6), (6, 0)):
        oldest, now = MINUTE + days * day, MINUTE + (days + 5) * day
        anew = Window(LastSeen())
        anew.rebuild(pool.reader, EVERYTHING, oldest, pool.reader.last_id(), now)
        for window in (pool.window, anew):
            assert window.fit(pool.reader, EVERYTHING, oldest, now)[:2] == (first_id, 6 if first_id else 0)


def test_shares_count_while_the_clock_is_ahead_of_the_nodes(pool):
    pool.window.rebuild(pool.reader, EVERYTHING, NEVER, 0)
    pool.mine(("a", 1.0, 900), ("b", 1.0, 901))
    anew = Window(LastSeen())
    anew.rebuild(pool.reader, EVERYTHING, MINUTE - 100, 2, MINUTE)
    for window in (pool.window, anew):
        assert window.fit(pool.reader, EVERYTHING, MINUTE - 100, MINUTE)[:2] == (1, 2)


def test_a_window_reaches_back_over_its_own_epoch_alone(path):
    with closing(Pool(path)) as first:
        first.mine(("a", 1.0, 0))
    with closing(Pool(path, "solo", start=2)) as between:
        between.mine(("b", 1.0, 1))
    with closing(Pool(path, start=3)) as pool:
        pool.mine(("c", 1.0, 2))
        assert pool.rebuilt(EVERYTHING) == ({"c": weight_of(1.0)}, 3, 3, 0, WindowEnd.EPOCH)


def test_shares_that_were_read_at_the_start_do_not_count_twice_when_they_are_heard_of(pool):
    pool.mine(("a", 1.0, 0), ("b", 2.0, 0), is_heard=False)
    pool.window.rebuild(pool.reader, EVERYTHING, NEVER, pool.reader.last_id())
    again = tuple(share(n, time=START, difficulty=1.0)._replace(account=account) for n, account in enumerate("abc", 1))
    pool.window.add(SharesBooked(1, again))
    assert dict(pool.window.weights(pool.window.fit(pool.reader, EVERYTHING, NEVER))) == {
        "a": weight_of(1.0), "b": weight_of(2.0), "c": weight_of(1.0)}


def test_shares_of_a_commit_in_doubt_are_not_read_before_it_is_known_that_they_stay(pool):
    """Those whose machines were told that they are not recorded are taken out of the books again."""
    pool.mine(("a", 1.0, 0))
    last_id = pool.reader.last_id()
    pool.mine(("b", 1.0, 0), ("b", 1.0, 0), ("c", 1.0, 70), is_heard=False)         # the hour closes, too
    pool.window.rebuild(pool.reader, EVERYTHING, NEVER, last_id)
    assert pool.fit(EVERYTHING)[0] == {"a": weight_of(1.0)}
    pool.window.add(SharesBooked(3, (share(3, time=START, difficulty=1.0)._replace(account="b"),)))
    assert pool.fit(EVERYTHING)[0] == {"a": weight_of(1.0), "b": weight_of(1.0)}


def test_who_brought_no_share_of_late_is_known_with_the_last_one(path):
    with closing(Pool(path)) as pool:
        pool.mine(("gone", 1.0, 0), ("here", 1.0, 0), ("gone", 1.0, 3))
        pool.mine(("here", 1.0, 200), ("here", 1.0, 300), ("late", 1.0, 301))
    with closing(Pool(path, start=2)) as pool:
        pool.seen.load(pool.reader)
        pool.window.rebuild(pool.reader, EVERYTHING, NEVER, pool.reader.last_id())
        pool.mine(("late", 1.0, 400))
        accounts = ["gone", "here", "late", "never"]
        assert pool.seen.gone(accounts, MINUTE + 100) == {"gone": 3, "never": 0}
        assert pool.seen.gone(accounts, MINUTE + 301) == {"gone": 3, "here": 5, "never": 0}
        assert pool.seen.gone(accounts, 0) == {"never": 0}
