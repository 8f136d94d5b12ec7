"""Upstreams that fail, and the way to the next one and back: every share stays in exactly one counter.

The worker of these tests asserts the counters' balance after each of its steps (`World.check`).
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.translate.profiles import dialect, profile  # noqa: F401
from tests.translate.test_jobs import job, prev_hash
from tests.translate.world import GARBAGE, World
from warppool.errors import HandshakeFailed, WrongServerKey
from warppool.sv1.client import Authorized, Subscribed, WorkReady
from warppool.sv2.messages.common import Reconnect, SetupConnection, SetupConnectionError
from warppool.sv2.messages.mining import CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess
from warppool.translate.failover import RECONNECT_EVERY_S, WRONG_KEY_RETRY_S
from warppool.translate.liveness import SETUP_S
from warppool.translate.upstream import Health

MODES = pytest.mark.parametrize("mode", ["connection", "channels"])


def scene(mode="connection", pools=1, *, takes_extranonce=True, **options):
    world = World(mode, pools, **options)
    return world, world.machine().start(takes_extranonce=takes_extranonce), world.pools


# -- lost --------------------------------------------------------------------------------------------------------------

@MODES
def test_a_killed_upstream_comes_back_and_the_machine_goes_on(mode):
    world, machine, (pool,) = scene(mode)
    pool.withholds = True
    machine.mine(3)
    pool.die()
    assert [answer.is_accepted for answer in machine.answers()] == [True] * 3
    assert world.counters.counts() == (3, 0, (), 0, 0, 3, 0, 0)
    machine.mine(2)
    assert machine.refusals() == [(21, "Stale")] * 2
    assert world.counters.rejected == {"upstream-lost": 2} == world.refused
    world.wait(5)
    assert pool.dials > 2
    pool.manner, pool.withholds = "well", False
    since = len(machine.heard)
    world.wait(10)
    assert machine.is_open and any(isinstance(event, WorkReady) and event.is_clean for event in machine.heard[since:])
    machine.mine(4)
    assert pool.total == 3 + 4
    assert world.counters.counts() == (9, 4, (("upstream-lost", 2),), 0, 0, 3, 0, 0)


@MODES
def test_a_machine_that_knows_no_set_extranonce_is_closed_when_the_upstream_is_back(mode):
    world, machine, (pool,) = scene(mode, takes_extranonce=False)
    pool.die()
    world.wait(5)
    assert machine.is_open
    pool.manner = "well"
    world.wait(10)
    assert not machine.is_open
    assert "an upstream is back, with another extranonce" in [close.reason for close in world.closes]
    assert b"set_extranonce" not in machine.raw
    again = world.machine().start()
    again.mine(2)
    assert pool.total == 2


@MODES
def test_machines_are_kept_for_the_grace_and_then_closed(mode):
    world, machine, (pool,) = scene(mode, grace_s=20.0)
    pool.die()
    world.wait(19.9)
    machine.mine(1)
    assert machine.is_open
    world.wait(0.2)
    assert not machine.is_open and world.closes[-1].reason == "no upstream for 20 s"
    assert world.connections == {} and world.due == {}
    assert machine.of(WorkReady)[-1].work is machine.work       # and no dead work meanwhile


def test_a_hung_upstream_is_dead_after_its_silence():
    world, machine, (pool, other) = scene(pools=2, silence_s=90.0)
    world.wait(60)
    pool.new_job()
    world.run()
    pool.manner = "silent"
    machine.mine(3)
    world.wait(89)
    assert world.counters.unconfirmed == 3 and other.dials == 0
    world.wait(2 if dialect().keeps_alive else 2 + SETUP_S)     # it may be silent: does it take another connection?
    assert other.dials == 1 and machine.is_open
    machine.mine(2)
    assert other.total == 2
    assert world.counters.counts() == (5, 2, (), 0, 0, 3, 0, 0)
    reason = "silent for 90 s" if dialect().keeps_alive else "silent for 100 s, and it takes no other connection"
    assert [event.fields[1] for event in world.said if event.name == "upstream.lost"] == [("reason", reason)]


@MODES
def test_a_silence_that_is_shorter_than_the_set_up_may_take_is_noticed_in_time(mode):
    world, machine, (pool, other) = scene(mode, pools=2, silence_s=3.0)
    machine.mine()
    world.wait(1)
    pool.new_job()
    world.run()
    pool.manner = "silent"
    world.wait(2.9)
    assert other.dials == 0
    world.wait(0.2 if dialect().keeps_alive else 0.2 + SETUP_S)
    assert other.dials == 1 and "upstream.lost" in world.names()


@MODES
def test_an_upstream_without_a_channel_has_nothing_to_say(mode):
    world = World(mode, silence_s=5.0)
    machine = world.machine()
    machine.client.configure(0x1FFFE000)
    machine.say()
    world.wait(30)
    assert "upstream.lost" not in world.names() and world.pools[0].dials == 1
    machine.start()
    assert machine.work is not None


@MODES
def test_an_upstream_that_says_garbage_is_left_at_once(mode):
    world, machine, (pool, other) = scene(mode, pools=2)
    pool.manner = "garbage"
    machine.mine(2)
    assert world.counters.counts() == (2, 0, (), 0, 0, 2, 0, 0)
    assert other.dials == 1 and machine.is_open
    machine.mine(2)
    assert other.total == 2


def test_what_came_before_the_garbage_counts():
    world, machine, (pool,) = scene()
    pool.withholds = True
    machine.mine(3)
    conn_id, server = next(iter(pool.servers.items()))
    data = b"".join(event.data for event in server.recorded(list(range(1, 4)), world.now))
    world.to_uplink(conn_id, data + GARBAGE)
    world.run()
    assert world.counters.accepted == 3 and "upstream.lost" in world.names()


def test_a_channel_that_the_pool_closes():
    world, machine, (pool,) = scene("channels")
    other = world.machine().start("bob", takes_extranonce=True)
    pool.withholds = True
    machine.mine(2)
    pool.say(CloseChannel(1, "bye"))
    assert world.counters.unconfirmed == 2 and len(machine.answers()) == 2
    assert len(pool.servers) == 1
    world.wait(3)
    pool.answer()
    world.run()
    machine.mine(1)
    other.mine(1, "bob")
    assert world.counters.counts() == (4, 2, (), 0, 0, 2, 0, 0)
    assert len(pool.servers) == 1 and pool.dials == 1


# -- not even that far -------------------------------------------------------------------------------------------------

@MODES
@pytest.mark.parametrize("trouble", ["refuses", "hangs", "silent", "garbage", "set-up", "open", "no answer", "key"])
def test_the_next_upstream_serves_where_the_first_does_not(mode, trouble):
    world = World(mode, 2)
    first, second = world.pools
    if trouble == "set-up":
        first.instead[SetupConnection] = lambda m: [SetupConnectionError(0, "protocol-version-mismatch")]
    elif trouble == "open":
        first.refuse_opens()
    elif trouble == "no answer":
        first.instead[OpenExtendedMiningChannel] = lambda m: []
    elif trouble == "key":
        first.secret = bytes(31) + b"\x77"
    else:
        first.manner = trouble
    machine = world.machine().start()
    other = world.machine().start("bob")
    if trouble == "hangs":
        world.time_out_dials()
    world.wait(2 * SETUP_S + 5)
    machine.mine(2)
    other.mine(3, "bob")
    assert second.accepted == {"alice.rig1": 2, "bob": 3}
    assert (machine.is_open, other.is_open) == (True, True)
    assert world.counters.counts() == (5, 5, (), 0, 0, 0, 0, 0)


def test_a_wrong_key_is_a_clear_error_and_that_upstream_is_not_used():
    world = World()
    pool = world.pools[0]
    pool.secret = bytes(31) + b"\x77"
    machine = world.machine().start()
    (said,) = [event for event in world.said if event.level == "error"]
    assert said.name == "upstream.refused"
    fields = dict(said.fields)
    assert "expected 8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f" in fields["reason"]
    assert "is not used" in fields["meaning"] and fields["upstream"] == "pool-0"
    world.wait(61)
    assert pool.dials == 1 and pool.seen == [] and not machine.is_open
    world.wait(WRONG_KEY_RETRY_S * 1.1)
    world.machine().start()
    assert pool.dials == 2
    assert issubclass(WrongServerKey, HandshakeFailed)


def test_a_channel_refused_everywhere_ends_with_the_grace():
    world = World(pools=2)
    for pool in world.pools:
        pool.refuse_opens("max-target-out-of-range")
    machine = world.machine().start()
    world.wait(59)
    assert machine.is_open and machine.of(Authorized) == []
    world.wait(2)
    assert not machine.is_open and world.connections == {}
    assert 4 <= sum(pool.dials for pool in world.pools) <= 20


def test_one_machine_refused_by_an_upstream_that_serves_others_goes_to_the_next():
    world, machine, (first, second) = scene("channels", pools=2)
    first.refuse_opens("too-many-channels")
    other = world.machine().start("bob", takes_extranonce=True)
    world.wait(5)
    other.mine(2, "bob")
    machine.mine(1)
    assert (first.accepted, second.accepted) == ({"alice.rig1": 1}, {"bob": 2})
    world.wait(200)                                             # and is not called back to be refused again
    assert other.is_open and len(first.opens()) == 2
    first.instead.clear()
    world.wait(300)
    other.mine(1, "bob")
    assert first.accepted["bob"] == 1 and world.closes[-1].conn_id != other.conn_id


def test_back_off_doubles_up_to_its_bound_and_is_spread():
    world = World(grace_s=1000.0, backoff_max_s=16.0)
    world.pools[0].manner = "refuses"
    world.machine().start()
    world.wait(200)
    times = [at for at, _ in world.dials]
    waits = [after - before for before, after in pairwise(times)]
    for wait, base in zip(waits, [1, 2, 4, 8] + [16] * len(waits), strict=False):
        assert 0.75 * base <= wait <= 1.26 * base
    assert len({round(wait / 16, 4) for wait in waits[4:]}) > 1


def test_machines_do_not_call_each_other_to_an_upstream_that_fails_after_the_set_up():
    """The worker of these tests asserts that nobody dials without a pause."""
    world = World(grace_s=1000.0)
    pool = world.pools[0]
    pool.instead[OpenExtendedMiningChannel] = lambda m: [SetupConnectionError(0, "no such thing now")]
    machines = [world.machine().start(f"m{number}") for number in range(5)]
    world.wait(100)
    assert pool.dials <= 5 * 10
    pool.instead.clear()
    world.wait(40)
    assert all(machine.work is not None for machine in machines)


def test_each_upstream_has_a_back_off_of_its_own():
    world = World(pools=2, grace_s=1000.0)
    for pool in world.pools:
        pool.manner = "refuses"
    world.machine().start()
    world.wait(20)
    assert world.pools[0].dials == world.pools[1].dials == 5
    assert [name for _, name in world.dials[:2]] == ["pool-0", "pool-1"]


def test_one_machine_tries_for_all():
    world = World()
    world.pools[0].manner = "refuses"
    machines = [world.machine().start(f"m{number}") for number in range(50)]
    world.wait(20)
    assert world.pools[0].dials <= 6
    world.pools[0].manner = "well"
    world.wait(35)
    assert all(machine.is_open and machine.work is not None for machine in machines)
    assert len(world.pools[0].servers) == 50


@pytest.mark.parametrize("takes_extranonce", [True, False])
def test_a_kill_under_many_machines_costs_one_failure(takes_extranonce):
    world = World(pools=2)
    machines = [world.machine().start(f"m{number}", takes_extranonce=takes_extranonce) for number in range(20)]
    world.pools[0].die()
    assert world.failover.all[0].failures == 1
    assert sum(event.level == "warning" for event in world.said) == 1
    world.wait(5)
    assert world.failover.all[0].health is not Health.UP
    assert len(world.pools[1].servers) == (20 if takes_extranonce else 0)
    assert [machine.is_open for machine in machines] == [takes_extranonce] * 20


def test_a_single_lost_connection_is_not_a_lost_upstream():
    world = World(pools=2)
    machines = [world.machine().start(f"m{number}", takes_extranonce=True) for number in range(3)]
    pool = world.pools[0]
    pool.hang_up(next(iter(pool.servers)))
    world.run()
    assert len(pool.servers) == 2 and world.failover.all[0].health is Health.UP
    world.wait(2)
    assert len(pool.servers) == 3 and world.pools[1].dials == 0
    for number, machine in enumerate(machines):
        machine.mine(1, f"m{number}")
    assert pool.total == 3


# -- back to the first -------------------------------------------------------------------------------------------------

@MODES
def test_the_first_upstream_is_used_again_when_it_has_been_well_for_long(mode):
    world, machine, (first, second) = scene(mode, pools=2, return_after_s=100.0)
    bound = world.machine().start("bob")
    first.die()
    world.wait(5)
    machine.mine(1)
    assert second.total == 1 and not bound.is_open
    bound = world.machine().start("bob")
    first.manner = "well"
    world.wait(90)
    assert len(second.servers) >= 1 and first.servers == {}
    second.withholds = True
    machine.mine(2)                                             # answered by the second even while we move
    world.wait(1.9)
    second.answer()
    world.wait(90)
    assert second.servers == {} and first.servers
    machine.mine(2)
    assert first.total == 2
    assert machine.is_open and not bound.is_open
    assert world.counters.counts().rejected == () and world.counters.unconfirmed == 0
    assert world.counters.accepted == 5


def test_a_first_upstream_that_comes_and_goes_is_not_used():
    world, machine, (first, second) = scene(pools=2, return_after_s=100.0)
    first.die()
    for _ in range(5):
        first.manner = "well"
        world.wait(60)
        machine.mine(1)
        first.manner = "refuses"
        world.wait(60)
    assert second.total == 5 and machine.is_open and len(first.opens()) == 1


def test_probes_carry_no_name():
    world, machine, (first, second) = scene(pools=2)
    first.die()
    first.manner = "well"
    first.seen.clear()
    world.wait(100)
    assert first.seen and {type(message) for message in first.seen} == {SetupConnection}
    assert first.servers == {}


def test_a_fallback_comes_after_all_others_and_is_left_for_any():
    world = World(pools=3, fallback=(0,), return_after_s=50.0)
    last, first, second = world.pools
    assert [upstream.config.name for upstream in world.failover.all] == ["pool-1", "pool-2", "pool-0"]
    machine = world.machine().start(takes_extranonce=True)
    assert len(first.servers) == 1
    second.manner = "refuses"
    first.die()
    world.wait(1)
    assert len(last.servers) == 1
    second.manner = "well"
    world.wait(120)
    assert len(second.servers) == 1 and last.servers == {} and machine.is_open


def test_the_better_upstream_fails_as_soon_as_it_is_used_again():
    world, machine, (first, second) = scene(pools=2, return_after_s=50.0)
    first.die()
    first.manner = "well"
    first.refuse_opens()
    for _ in range(30):
        world.wait(10)
        machine.mine(1)
    assert second.total == 30 and machine.is_open and len(second.servers) == 1


@MODES
def test_a_call_that_came_amid_a_switch_is_answered_with_the_channel_that_follows(mode):
    """The better upstream has granted its channel and gives no work; meanwhile the other one dies."""
    world, machine, (first, second) = scene(mode, pools=2, return_after_s=50.0)
    first.die()
    first.manner = "well"
    first.instead[OpenExtendedMiningChannel] = lambda m: [
        OpenExtendedMiningChannelSuccess(m.request_id, 1, bytes(28) + b"\xff" * 4, 8, b"\x99\x99")]
    world.wait(120)
    machine.mine(1)
    assert second.total == 1 and len(first.opens()) == 2
    second.die()
    before = len(machine.of(Subscribed))
    machine.client.subscribe()
    machine.say()
    assert len(machine.of(Subscribed)) == before
    first.say(job(7), prev_hash(7))
    assert [said.extranonce1 for said in machine.of(Subscribed)[before:]] == [b"\x99\x99"]
    assert machine.work.job_id is not None and machine.is_open


@MODES
def test_a_better_upstream_that_grants_a_channel_and_gives_no_work_is_given_up(mode):
    world, machine, (first, second) = scene(mode, pools=2, return_after_s=50.0, silence_s=30.0, idle_timeout_s=1e6)
    first.die()
    first.manner = "well"
    first.instead[OpenExtendedMiningChannel] = lambda m: [
        OpenExtendedMiningChannelSuccess(m.request_id, 1, bytes(28) + b"\xff" * 4, 8, b"\x99\x99")]
    for _ in range(20):
        world.wait(10)
        second.new_job()
        world.run()
        machine.mine(1)
    assert second.total == 20 and machine.is_open
    assert ("reason", "no channel in time") in [field for event in world.said for field in event.fields]


def test_the_time_that_a_machine_takes_for_its_name_is_not_the_upstreams():
    world = World(grace_s=20.0)
    world.pools[0].refuse_opens("too-many-channels")
    machine = world.machine()
    machine.client.configure(0x1FFFE000)
    machine.say()
    world.wait(40)
    machine.start()
    world.wait(15)
    assert machine.is_open
    world.wait(10)
    assert not machine.is_open and world.closes[-1].reason == "no upstream for 20 s"


# -- the pool asks us to move ------------------------------------------------------------------------------------------

@MODES
@pytest.mark.parametrize("is_elsewhere", [True, False])
def test_reconnect_is_obeyed(mode, is_elsewhere):
    world, machine, pools = scene(mode, pools=2)
    there = pools[1] if is_elsewhere else pools[0]
    world.wait(RECONNECT_EVERY_S)
    old = next(iter(pools[0].servers))
    pools[0].say(Reconnect("pool-1" if is_elsewhere else "", 34254 if is_elsewhere else 0))
    assert len(there.servers) == 1 and old not in pools[0].servers
    machine.mine(2)
    assert there.total == 2 and machine.is_open and "reconnect.asked" in world.names()
    if is_elsewhere:
        assert pools[1].opens()[0].user_identity == "alice.rig1"


def test_shares_in_flight_are_answered_over_a_reconnect():
    world, machine, (pool,) = scene()
    world.wait(RECONNECT_EVERY_S)
    pool.withholds = True
    machine.mine(3)
    pool.say(Reconnect("", 0))
    assert len(pool.servers) == 2
    pool.answer()
    world.run()
    assert world.counters.counts() == (3, 3, (), 0, 0, 0, 0, 0) and len(pool.servers) == 1


def test_a_pool_that_asks_all_the_time_is_not_obeyed():
    world, machine, (pool,) = scene()
    for _ in range(50):
        pool.say(Reconnect("", 0))
        world.wait(1)
    assert pool.dials <= 6 and machine.is_open
    assert "reconnect.ignored" in world.names()


def test_a_reconnect_to_nowhere_ends_where_we_were():
    world, machine, (pool,) = scene()
    world.wait(RECONNECT_EVERY_S)
    pool.say(Reconnect("nowhere.example", 1))
    machine.mine(1)
    assert pool.total == 1                                      # the old connection lasts until there is a new one
    world.wait(5)
    assert len(pool.servers) == 1 and world.dials[-1][1] == "pool-0" and machine.is_open


def test_a_machine_without_set_extranonce_is_closed_to_move():
    world, machine, (pool,) = scene(takes_extranonce=False)
    world.wait(RECONNECT_EVERY_S)
    pool.say(Reconnect("", 0))
    assert not machine.is_open and world.closes[0].reason == "the pool asks to connect anew"


# -- nothing is left over ----------------------------------------------------------------------------------------------

@MODES
@pytest.mark.parametrize("moment", range(16))
def test_a_machine_that_leaves_at_any_moment_leaves_nothing(mode, moment):
    world = World(mode)
    machine = world.machine(is_slow=True)
    machine.client.subscribe()
    machine.client.authorize("bob")
    data = machine.client.outgoing()
    world.step(machine.conn_id, "tick")
    world.queue.append(lambda: world.from_machine(machine.conn_id, data))
    for _ in range(moment):
        if world.queue:
            world.queue.popleft()()
    assert machine.conn_id in world.connections
    machine.is_open = False
    world.lose(machine.conn_id)
    world.run()
    world.wait(5)
    assert world.connections == {} and world.pools[0].servers == {}
    upstream = world.failover.all[0]
    assert (world.failover._trials, world.failover._shared, upstream.alive, world.failover._waiting) == ({}, {}, 0, {})


@pytest.mark.slow
@MODES
def test_a_hundred_flips_with_two_upstreams(mode):
    """Done when 3: times shortened by their keys; each share ends in exactly one counter, and nobody ends."""
    world = World(mode, 2, grace_s=8.0, silence_s=20.0, backoff_max_s=1.0, return_after_s=2.0, verdict_timeout_s=0.5)
    names = [f"m{number}" for number in range(6)]
    machines = {name: world.machine().start(name, takes_extranonce=number % 2 == 0)
                for number, name in enumerate(names)}
    mined = 0
    for flip in range(100):
        up, down = world.pools[flip % 2], world.pools[1 - flip % 2]
        up.manner = "well"
        up.withholds = flip % 3 == 0
        for name in names:
            if not machines[name].is_open:
                machines[name] = world.machine().start(name, takes_extranonce=names.index(name) % 2 == 0)
            if machines[name].work is not None:
                machines[name].mine(2, name)
                mined += 2
        if flip % 5 == 0:
            down.answer()
        down.die()
        for name in names:
            if machines[name].is_open and machines[name].work is not None:
                machines[name].mine(1, name)
                mined += 1
        world.wait(1.7)
        up.answer()
        world.run()
    world.wait(3)
    counts = world.counters.counts()
    assert counts.received == mined and counts.pending == 0 and counts.is_balanced
    assert counts.accepted > mined / 4
    assert counts.accepted == len(world.booked) <= sum(pool.total for pool in world.pools)
    assert sum(pool.total for pool in world.pools) <= counts.accepted + counts.unconfirmed
    assert dict(counts.rejected).keys() <= {"upstream-lost", "stale-share", "invalid-job-id", "invalid-channel-id"}
