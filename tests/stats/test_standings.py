"""Workers, users and the pool: what their numbers are, and that they add up whatever happens."""

from __future__ import annotations

import random

import pytest

from warppool.bitcoin.target import DIFF1
from warppool.events import ShareAccepted
from warppool.stats import standings
from warppool.stats.items import MachineCame, MachineGone, RefusedShares
from warppool.stats.standings import SORT_TURNS, SWEEP_TURNS, Standings
from warppool.stats.windows import HASHES_PER_DIFFICULTY, Moment

START = 1_764_267_000.0


def share(user: str, difficulty: float = 1.0, at: float = START, best: float = 2.0, conn: int = 1) -> ShareAccepted:
    return ShareAccepted(conn, 0, at, "sv1", 1, user, difficulty, 1, 100, int(DIFF1 / best).to_bytes(32, "little"))


class World:
    """Standings and their clock."""

    def __init__(self) -> None:
        self.now = START
        self.moment = Moment(START, START - 1e6)
        self.standings = Standings(self.moment)

    def turn(self, seconds: float = 1.0, turns: int = 1):
        for _ in range(turns):
            self.now += seconds
            self.moment = Moment(self.now, START - 1e6, self.moment)
            lists = self.standings.turn(self.moment)
        return lists.out()

    def come(self, name: str, conn: int, channel: int = 1, protocol: str = "v1", agent: str = "cgminer") -> None:
        self.standings.come(MachineCame(conn, channel, name, agent, protocol, self.now))

    def go(self, conn: int, channel: int | None = None) -> None:
        self.standings.go(MachineGone(conn, channel, self.now))


@pytest.fixture
def world():
    return World()


def test_a_share_counts_for_its_worker_its_user_and_the_pool(world):
    world.standings.take_shares([share("bob.a", 3.0, best=9.0), share("bob.b", 1.0, best=4.0), share("eve", 2.0)])
    workers, users, workers_by_name, users_by_name = world.turn()
    assert {each.name: each.tally.round_difficulty for each in workers} == {"bob.a": 3.0, "bob.b": 1.0, "eve": 2.0}
    bob = users_by_name["bob"]
    assert (bob.tally.accepted, bob.tally.difficulty, bob.tally.total_difficulty) == (2, 4.0, 4.0)
    assert bob.tally.best == pytest.approx(9.0) == bob.tally.best_ever
    assert [each.name for each in bob.workers] == ["bob.a", "bob.b"] and workers_by_name["eve"].user == "eve"
    pool = world.standings.pool.tally(world.moment)
    assert (pool.accepted, pool.difficulty) == (3, 6.0)
    assert pool.rates.m1 == pytest.approx(6 * HASHES_PER_DIFFICULTY / world.moment.spans[0])
    assert sum(each.tally.rates.m1 for each in users) == pytest.approx(pool.rates.m1)


def test_who_has_no_news_is_the_same_object_until_its_turn_comes(world):
    world.standings.take_shares([share("bob"), share("eve")])
    world.turn(turns=2)
    before = world.standings.lists.out()[3]["eve"]
    seen = []
    for _ in range(SWEEP_TURNS):
        world.standings.take_shares([share("bob", at=world.now)])
        seen.append(world.turn()[3]["eve"])
    assert seen[0] is before or seen[1] is seen[0]
    assert seen[-1] is not before, "its rate has fallen"


def test_the_rate_of_a_silent_machine_falls_to_nothing_and_its_work_of_the_week_stays(world):
    world.standings.take_shares([share("bob", 100.0)])
    world.turn()
    bob = world.turn(turns=60 + 5 + SWEEP_TURNS)[3]["bob"]
    assert bob.tally.rates.m1 == 0.0 < bob.tally.rates.m5


def test_machines_come_and_go_and_are_counted_by_what_they_speak(world):
    world.come("bob.a", 1)
    world.come("bob.a", 2, 1, "v2", "sv2")
    world.come("bob.b", 2, 2, "v2", "sv2")
    workers = world.turn()[2]
    assert (workers["bob.a"].machines, workers["bob.a"].protocol, workers["bob.a"].agent) == (2, "v2", "sv2")
    assert workers["bob.a"].since == START and not workers["bob.a"].is_idle
    assert dict(world.standings.protocols) == {"v1": 1, "v2": 2} and world.standings.machines == 3
    world.go(2)
    world.go(2)
    world.go(3)
    world.come("bob.a", 1)                  # once more under the number that it has
    workers = world.turn()[2]
    assert (workers["bob.a"].machines, workers["bob.b"].machines) == (1, 0)
    assert workers["bob.b"].gone_at == world.now - 1 and world.standings.machines == 1
    assert world.turn(70.0, SWEEP_TURNS + 1)[2]["bob.a"].is_idle


def test_who_never_had_a_share_is_forgotten_when_it_goes(world):
    for conn in range(100):
        world.come(f"thief{conn}", conn)
        world.go(conn)
    world.standings.take_refused(RefusedShares(tuple((f"other{n}", "stale-share", 0, 1) for n in range(100))))
    workers, users, *_ = world.turn(turns=SORT_TURNS + 1)
    assert workers == users == () and world.standings.refused == {"stale-share": 100}


def test_who_makes_up_names_fills_no_memory_and_the_pool_counts_all(world, monkeypatch):
    monkeypatch.setattr(standings, "MAX_WORKERS", 10)
    world.standings.take_shares([share(f"user{number}") for number in range(1000)])
    for conn in range(1000):
        world.come(f"other{conn}", conn)
    workers, *_ = world.turn()
    assert len(workers) == 10 and world.standings.pool.tally(world.moment).accepted == 1000
    assert world.standings.machines == 1000
    for conn in range(1000):
        world.go(conn)
    assert world.standings.machines == 0


def test_refusals_are_counted_by_reason(world):
    world.come("bob.a", 1)
    world.standings.take_refused(RefusedShares((("bob.a", "stale-share", 0, 2), ("", "invalid-channel-id", 0, 5))))
    _, _, workers, users = world.turn()
    assert workers["bob.a"].refused == (("stale-share", 2),) and users["bob"].tally.refused == 2
    assert world.standings.refused == {"stale-share": 2, "invalid-channel-id": 5}
    assert world.standings.pool.refused == 7


def test_a_block_begins_work_and_bests_of_the_round_anew_and_nothing_else(world):
    world.standings.take_shares([share("bob", 5.0, best=7.0), share("eve", 1.0)])
    world.turn()
    world.standings.begin_round()
    world.standings.take_shares([share("bob", 2.0, best=3.0)])
    users = world.turn(turns=SWEEP_TURNS + 1)[3]
    bob, eve = users["bob"].tally, users["eve"].tally
    assert (bob.round_difficulty, bob.difficulty) == (2.0, 7.0)
    assert (round(bob.best), round(bob.best_ever)) == (3, 7)
    assert (eve.round_difficulty, eve.best, eve.difficulty) == (0.0, 0.0, 1.0)


def test_who_did_more_comes_first(world):
    world.standings.take_shares([share("a.x", 1.0), share("b.x", 5.0), share("b.y", 6.0), share("c.x", 3.0)])
    world.turn()
    workers, users, *_ = world.turn(turns=SORT_TURNS)
    assert [each.name for each in users] == ["b", "c", "a"]
    assert [each.name for each in workers] == ["b.y", "b.x", "c.x", "a.x"]
    assert [each.name for each in users[0].workers] == ["b.y", "b.x"]


def test_whatever_happens_users_and_workers_add_up_to_the_pool(world):
    chance = random.Random(12)
    credited = 0.0
    for _ in range(300):
        for _ in range(chance.randrange(6)):
            name, difficulty = f"u{chance.randrange(5)}.{chance.randrange(4)}", float(chance.randrange(1, 9))
            credited += difficulty
            world.standings.take_shares([share(name, difficulty, world.now)])
            conn = chance.randrange(8)
            chance.choice([lambda conn=conn, name=name: world.come(name, conn), lambda conn=conn: world.go(conn)])()
        if chance.random() < 0.05:
            world.standings.begin_round()
        workers, users, workers_by_name, users_by_name = world.turn(chance.choice([0.5, 1.0, 300.0]))
        assert sum(each.tally.difficulty for each in users) == pytest.approx(credited)
        assert sum(each.tally.difficulty for each in workers) == pytest.approx(credited)
        assert sum(each.machines for each in workers) == world.standings.machines
        assert list(workers_by_name.values()) == list(workers) or set(workers_by_name) == {w.name for w in workers}
        assert {each.name for user in users for each in user.workers} == set(workers_by_name)
        assert all(users_by_name[each.user] for each in workers)
        assert world.standings.lists.idle == sum(each.is_idle for each in workers)
        assert world.standings.lists.gone == sum(not each.machines for each in workers)


def test_a_share_of_the_second_of_a_block_counts_in_the_round_before_for_all(world):
    world.standings.take_shares([share("bob", 5.0, best=7.0)])
    world.standings.begin_round()
    world.standings.take_shares([share("bob", 2.0, best=3.0)])
    workers, users, *_ = world.turn()
    for tally in (workers[0].tally, users[0].tally, world.standings.pool.tally(world.moment)):
        assert (tally.round_difficulty, tally.difficulty, round(tally.best), round(tally.best_ever)) == (2.0, 7.0, 3, 7)


def test_whoever_does_nothing_is_the_same_object_for_ever(world):
    world.come("bob", 1)
    before = world.turn(turns=2 * SWEEP_TURNS)[:2]
    world.standings.take_shares([share("eve")])
    workers, users, *_ = world.turn(turns=2 * SWEEP_TURNS)
    assert before[0][0] in workers and any(each is before[1][0] for each in users)


def test_of_very_many_with_news_each_has_its_turn_and_the_pool_is_exact_at_once(world, monkeypatch):
    world.standings.take_shares([share(f"u{number}.x") for number in range(100)])
    world.turn()
    monkeypatch.setattr(standings, "MOST_A_TURN", 10)
    world.standings.take_shares([share(f"u{number}.x", 2.0, best=50.0) for number in range(100)] * 2)
    workers, *_ = world.turn()
    assert world.standings.pool.tally(world.moment).difficulty == 500.0
    assert sum(each.tally.accepted == 3 for each in workers) == 10
    workers, users, *_ = world.turn(turns=9)
    assert {each.tally.difficulty for each in workers} == {each.tally.difficulty for each in users} == {5.0}
    assert world.standings.pool.tally(world.moment).best == pytest.approx(50.0)


def test_who_comes_and_goes_all_the_time_keeps_nobody_waiting(world, monkeypatch):
    world.turn()
    monkeypatch.setattr(standings, "MOST_A_TURN", 4)
    for number in range(40):
        world.come(f"thief{number}", number)
    for second in range(60):
        for number in range(40):
            world.come(f"thief{number}", number)
        world.standings.take_shares([share("bob", at=world.now)])
        *_, users = world.turn()
        assert users["bob"].tally.accepted == second + 1
    for second in range(60):                # ... nor do shares keep those waiting who come and go
        world.standings.take_shares([share(f"rich{number}", at=world.now) for number in range(40)])
        if second == 20:
            world.go(7)
        _, _, workers, _ = world.turn()
    assert workers["thief7"].machines == 0


def test_who_has_shares_waiting_is_not_forgotten(world, monkeypatch):
    world.come("bob", 1)
    world.go(1)
    world.turn()
    monkeypatch.setattr(standings, "MOST_A_TURN", 0)
    world.standings.take_shares([share("bob")])
    world.turn(turns=SWEEP_TURNS + 1)
    monkeypatch.setattr(standings, "MOST_A_TURN", 10)
    assert world.turn()[3]["bob"].tally.accepted == 1


def test_whoever_only_comes_leaves_room_for_those_who_have_shares(world, monkeypatch):
    monkeypatch.setattr(standings, "MAX_WORKERS", 10)
    for conn in range(100):
        world.come(f"thief{conn}", conn)
    world.standings.take_shares([share("bob")])
    workers, *_ = world.turn()
    assert len(workers) == 6 and world.standings.machines == 100 and workers[0].name == "bob"


def test_a_worker_of_long_ago_is_forgotten_though_another_of_its_user_mines_on(world):
    world.standings.take_shares([share("bob.old"), share("bob.new")])
    world.turn()
    world.turn(9 * 86_400.0)
    for _ in range(2 * SWEEP_TURNS):
        world.standings.take_shares([share("bob.new", at=world.now)])
        _, _, workers, users = world.turn()
    assert set(workers) == {"bob.new"} and [each.name for each in users["bob"].workers] == ["bob.new"]


def test_machines_of_a_user_go_along_with_one_that_has_its_turn(world):
    """So that a user is not worked out anew for each of them."""
    world.standings.take_shares([share(f"u{number}.{rig}") for number in range(100) for rig in "ab"])
    world.turn()
    world.turn(turns=standings.ALONG_TURNS)
    world.standings.take_shares([share("u1.a", at=world.now)])
    _, _, workers, users = world.turn()
    assert workers["u1.b"].tally.rates.m1 < workers["u2.b"].tally.rates.m1, "it has fallen since"
    assert users["u1"].workers == (workers["u1.a"], workers["u1.b"])
