"""After a restart numbers go on where they were: rates, bests, totals and the round."""

from __future__ import annotations

import pytest

from tests.stats.test_standings import START, World, share
from warppool.stats.past import PastShares, Sums, pieces_of
from warppool.stats.standings import SORT_TURNS, Standings
from warppool.stats.windows import Moment

HOUR = {"bob.a": Sums(60, 60.0, 5.0)}
DAY = {"bob.a": Sums(160, 160.0, 9.0), "bob.b": Sums(10, 10.0, 2.0)}
EVER = DAY | {"bob.old": Sums(1000, 1000.0, 700.0), "eve": Sums(7, 7.0, 1e6)}
PAST = PastShares(0.0, EVER, HOUR, pieces_of([(START - 3600, HOUR), (START - 86_400, DAY)], START))


def test_pieces_are_what_was_done_between_two_times():
    first, second = PAST.pieces
    assert (first.start, first.end, first.workers["bob.a"].difficulty) == (START - 3600, START, 60.0)
    assert (second.end, second.workers["bob.a"].accepted, second.workers["bob.b"].accepted) == (START - 3600, 100, 10)


@pytest.fixture
def world():
    it = World()
    it.moment = Moment(START, 0.0)
    it.standings = Standings(it.moment)
    it.standings.take_past(PAST)
    return it


def test_rates_bests_and_totals_are_there_with_the_first_snapshot(world):
    _, _, workers, users = world.turn()
    bob = users["bob"].tally
    assert (bob.total_accepted, bob.total_difficulty, bob.best_ever) == (1170, 1170.0, 700.0)
    assert (bob.accepted, bob.difficulty, bob.round_difficulty, bob.best) == (0, 0.0, 60.0, 5.0)
    assert users["bob"].workers == (workers["bob.a"], workers["bob.b"]) and set(workers) == {"bob.a", "bob.b"}
    assert workers["bob.a"].tally.rates.m1 == pytest.approx(60 / 3600 * 2**48 / 0xFFFF, rel=0.1)
    pool = world.standings.pool
    assert pool.windows.sums[-1] == pytest.approx(170.0) and pool.ever.accepted == 1177
    assert world.standings.shares_per_second[3] == pytest.approx(60 / 3600, rel=0.1)


def test_whoever_comes_back_after_long_has_its_best_and_totals_again(world):
    world.come("eve", 1)
    eve = world.turn()[3]["eve"].tally
    assert (eve.total_accepted, eve.best_ever) == (7, 1e6)
    world.standings.take_shares([share("eve", 2.0)])
    world.turn()
    world.go(1)
    world.turn(9 * 86_400.0, SORT_TURNS + 2)
    assert "eve" not in world.turn()[3]
    world.come("eve", 2)
    eve = world.turn()[3]["eve"].tally
    assert (eve.total_accepted, eve.total_difficulty, eve.best_ever) == (8, 9.0, 1e6)
