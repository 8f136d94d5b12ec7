"""Upstreams that acknowledge in batches, late, or never: what machines hear, and when such an upstream has failed."""

from __future__ import annotations

import pytest

from tests.translate.profiles import profile  # noqa: F401
from tests.translate.world import World
from warppool.sv2.messages.mining import SubmitSharesError, SubmitSharesExtended, SubmitSharesSuccess
from warppool.translate.promptness import Promptness
from warppool.translate.sent import MUTE_S, MUTE_SHARES, MUTE_SHARES_S

MODES = pytest.mark.parametrize("mode", ["connection", "channels"])


def scene(mode="connection", pools=1, **times):
    world = World(mode, pools, **times)
    return world, world.machine().start(), world.pools[0]


def is_batching(world, rank=0):
    return world.failover.all[rank].promptness.is_batching


def pace(world, machine, shares, every_s, name="alice.rig1"):
    """Mine one after the other; how long each answer took."""
    for _ in range(shares):
        machine.mine(1, name)
        world.wait(every_s)


# -- the rule itself ---------------------------------------------------------------------------------------------------

def test_three_late_answers_in_a_row_and_not_two():
    prompt = Promptness()
    assert [prompt.answered(waited, 1, 2.0) for waited in (2.1, 2.1, 1.9, 2.1, 2.1)] == [False] * 5
    assert prompt.answered(2.1, 1, 2.0) and prompt.is_batching


def test_a_batch_whose_first_share_had_waited_too_long_shows_it_at_once():
    prompt = Promptness()
    assert not prompt.answered(2.0, 10, 2.0)
    assert prompt.answered(2.1, 2, 2.0) and prompt.is_batching


def test_a_hundred_answers_in_time_unlearn_it():
    prompt = Promptness()
    prompt.answered(5.0, 9, 2.0)
    assert not any(prompt.answered(0.1, 1, 2.0) for _ in range(99))
    prompt.answered(5.0, 1, 2.0)
    assert not any(prompt.answered(0.1, 1, 2.0) for _ in range(99)) and prompt.is_batching
    assert prompt.answered(0.1, 1, 2.0) and not prompt.is_batching


# -- machines ----------------------------------------------------------------------------------------------------------

@MODES
def test_a_pool_that_acknowledges_every_tenth_share(mode):
    """Six shares a minute: the first batch is waited for, and then every share is answered at once."""
    world, machine, pool = scene(mode)
    pool.batch = 10
    pace(world, machine, 10, 10)
    assert is_batching(world) and machine.longest_wait == pytest.approx(2.0)
    assert world.counters.counts() == (10, 10, (), 0, 0, 0, 9, 0)
    machine.longest_wait = 0.0
    pace(world, machine, 5, 10)
    assert machine.longest_wait == 0.0 and len(machine.answers()) == 15
    assert world.counters.counts() == (15, 10, (), 0, 0, 5, 9, 0)
    pace(world, machine, 5, 10)
    assert world.counters.counts() == (20, 20, (), 0, 0, 0, 19, 0)
    assert len(world.booked) == 20 and machine.refusals() == []
    pace(world, machine, 300, 10)
    assert machine.longest_wait == 0.0 and world.counters.counts()[:2] == (320, 320)
    assert pool.dials == 1 and "upstream.lost" not in world.names()


@MODES
def test_all_machines_of_the_upstream_profit_and_none_of_another(mode):
    world = World(mode, 2)
    machine, other = world.machine().start("a"), world.machine().start("b")
    world.pools[0].batch = 5
    pace(world, machine, 5, 3, "a")
    assert is_batching(world) and not is_batching(world, 1)
    other.mine(1, "b")
    assert other.longest_wait == 0.0 and len(other.answers()) == 1


def test_shares_that_wait_when_it_is_noticed_are_answered_with_the_next():
    world, machine, pool = scene()
    pool.instead[SubmitSharesExtended] = lambda m: []
    world.failover.all[0].promptness.answered(9.0, 2, 2.0)
    world.failover.all[0].promptness.is_batching = False
    machine.mine(3)
    assert machine.answers() == []
    world.failover.all[0].promptness.is_batching = True
    machine.mine(1)
    assert [answer.is_accepted for answer in machine.answers()] == [True] * 4
    assert world.counters.counts() == (4, 0, (), 0, 0, 4, 0, 0)
    channel_id = pool.seen[-1].channel_id
    pool.say(SubmitSharesError(channel_id, 1, "stale-share"), SubmitSharesSuccess(channel_id, 3, 3, 0))
    assert world.counters.counts() == (4, 3, (("stale-share", 1),), 0, 0, 0, 4, 0)


def test_its_verdicts_are_waited_for_again_once_it_answers_in_time():
    world, machine, pool = scene()
    pool.batch = 4
    pace(world, machine, 4, 3)
    assert is_batching(world)
    pool.batch = 1
    pace(world, machine, 99, 0.1)
    assert is_batching(world)
    pace(world, machine, 1, 0.1)
    assert not is_batching(world)
    pool.withholds = True
    machine.mine(1)
    assert len(machine.answers()) == 104
    assert [name for name in world.names() if name in ("upstream.batches", "upstream.prompt")] == [
        "upstream.batches", "upstream.prompt"]


def test_a_refusal_after_our_own_word_is_counted_and_said_once_a_minute():
    world, machine, pool = scene()
    pool.instead[SubmitSharesExtended] = lambda m: []
    world.failover.all[0].promptness.is_batching = True
    machine.mine(50)
    channel_id = pool.seen[-1].channel_id
    pool.say(*[SubmitSharesError(channel_id, number, "stale-share") for number in range(50)])
    assert world.counters.rejected == {"stale-share": 50} and machine.refusals() == []
    said = [event for event in world.said if event.name == "verdict.received"]
    assert [event.level for event in said] == ["info"] + ["debug"] * 49


# -- upstreams that have failed ----------------------------------------------------------------------------------------

@MODES
def test_a_pool_that_never_acknowledges_has_failed_after_100_shares_and_60_s(mode):
    world, machine, pool = scene(mode, 2)
    pool.instead[SubmitSharesExtended] = lambda m: []
    pace(world, machine, 99, 0.7)
    assert pool.dials == 1 and "upstream.lost" not in world.names() and world.now.monotonic > 1000 + MUTE_SHARES_S
    machine.mine(1)
    assert machine.is_open                                          # a batch of a hundred would be answered now
    world.wait(2.1)
    assert "upstream.lost" in world.names()
    lost = next(event for event in world.said if event.name == "upstream.lost")
    assert dict(lost.fields)["reason"] == f"no word on the last {MUTE_SHARES} shares of a channel"
    assert machine.longest_wait == pytest.approx(2.0)
    assert world.counters.counts() == (100, 0, (), 0, 0, 100, 0, 0)
    again = machine if machine.is_open else world.machine().start()
    world.wait(1)
    again.mine(1)
    assert world.pools[1].total == 1                                # the other one has the work now


def test_a_hundred_shares_in_a_moment_are_waited_for():
    world, machine, pool = scene()
    pool.instead[SubmitSharesExtended] = lambda m: []
    pace(world, machine, 300, 0.1)
    assert "upstream.lost" not in world.names()
    world.wait(31)
    assert "upstream.lost" in world.names()


def test_a_single_share_is_waited_for_ten_minutes():
    world, machine, pool = scene(idle_timeout_s=10_000)
    pool.instead[SubmitSharesExtended] = lambda m: []
    machine.mine(1)
    for _ in range(19):
        world.wait(30)
        pool.new_job()
        world.run()
    assert "upstream.lost" not in world.names()
    world.wait(MUTE_S - 19 * 30 + 1)
    assert "upstream.lost" in world.names()


def test_any_word_on_a_share_begins_anew_and_words_on_none_do_not():
    world, machine, pool = scene()
    pool.instead[SubmitSharesExtended] = lambda m: []
    pace(world, machine, 99, 1)
    channel_id = pool.seen[-1].channel_id
    pool.say(SubmitSharesError(channel_id, 3, "stale-share"))
    pace(world, machine, 98, 1)
    assert "upstream.lost" not in world.names()
    pool.say(SubmitSharesError(channel_id, 3, "stale-share"), SubmitSharesError(channel_id, 9999, "x"),
             SubmitSharesSuccess(77, 5, 5, 0))
    pace(world, machine, 2, 1)
    world.wait(2)
    assert "upstream.lost" in world.names()


def test_a_pool_with_batches_of_a_hundred_does_not_fail():
    world, machine, pool = scene()
    pool.batch = 100
    pace(world, machine, 350, 1)
    assert "upstream.lost" not in world.names() and pool.dials == 1
    assert world.counters.counts()[:2] == (350, 300)


def test_a_machine_leaves_a_mute_pool_though_others_are_served_there():
    world = World("connection", 2)
    machine, other = world.machine().start("a", takes_extranonce=True), world.machine().start("b")
    pool = world.pools[0]
    mute = next(iter(pool.servers))
    deliver = pool.deliver
    pool.deliver = lambda conn_id, events: deliver(conn_id, events) if conn_id != mute else None
    for _ in range(110):
        machine.mine(1, "a")
        other.mine(1, "b")
        world.wait(0.7)
    world.wait(5)
    machine.mine(1, "a")
    assert world.pools[1].accepted["a"] >= 1 and world.pools[1].accepted.keys() == {"a"} and machine.is_open
    assert len(other.answers()) == 110 and other.longest_wait == 0.0
