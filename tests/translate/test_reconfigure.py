"""Another configuration while machines mine: upstreams come, go and change places, and nobody is closed for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.translate.profiles import profile  # noqa: F401
from tests.translate.world import World
from warppool.sv1.client import WorkReady
from warppool.translate.context import Times

MODES = pytest.mark.parametrize("mode", ["connection", "channels"])


def scene(mode="connection", pools=2, *, takes_extranonce=True, **options):
    world = World(mode, pools, **options)
    return world, world.machine().start(takes_extranonce=takes_extranonce), world.pools


def use(world, *numbers, **changes):
    """The operator names these pools, in this order."""
    configs = world.named
    world.reconfigure(replace(world.failover.context, upstreams=tuple(configs[number] for number in numbers),
                              **changes))


@MODES
def test_machines_leave_an_upstream_that_is_named_no_more(mode):
    world, machine, (first, second) = scene(mode)
    first.withholds = True
    machine.mine(2)
    use(world, 1)
    assert len(second.servers) == 1 and machine.is_open
    first.answer()
    world.run()
    assert first.servers == {} and world.counters.counts() == (2, 2, (), 0, 0, 0, 0, 0)
    machine.mine(3)
    assert second.total == 3 and world.closes[-1].conn_id != machine.conn_id


@MODES
def test_a_machine_that_knows_no_set_extranonce_stays_until_it_goes_by_itself(mode):
    world, bound, (first, second) = scene(mode, takes_extranonce=False, silence_s=1e6, idle_timeout_s=1e6)
    use(world, 1)
    world.wait(600)
    bound.mine(2)
    assert first.total == 2 and bound.is_open
    world.machine().start("bob").mine(1, "bob")
    assert second.total == 1
    bound.close()
    assert first.servers == {}


@MODES
def test_a_machine_that_waits_for_its_channel_goes_elsewhere(mode):
    world = World(mode, 2)
    first, second = world.pools
    first.manner = "silent"
    machine = world.machine().start()
    use(world, 1)
    assert machine.work is not None and len(second.servers) == 1
    world.wait(20)
    assert first.servers == {} and machine.is_open


@MODES
def test_an_upstream_that_is_added_is_there_when_it_is_needed(mode):
    world, machine, (first, second) = scene(mode)
    use(world, 0)
    use(world, 0, 1)
    machine.mine(1)
    first.die()
    world.wait(1)
    machine.mine(2)
    assert (first.total, second.total, machine.is_open) == (1, 2, True)


@MODES
def test_machines_that_have_no_upstream_are_called_to_one_that_is_added(mode):
    world = World(mode, 2, grace_s=1000.0)
    use(world, 0)
    world.pools[0].manner = "refuses"
    machine = world.machine().start()
    world.wait(100)
    use(world, 0, 1)
    assert machine.work is not None and len(world.pools[1].servers) == 1


@MODES
def test_a_better_one_that_is_added_is_used_once_it_has_been_well_for_long(mode):
    world, machine, (first, second) = scene(mode, return_after_s=100.0)
    use(world, 1, 0)
    world.wait(90)
    assert len(first.servers) == 1 and second.opens() == []
    world.wait(60)
    machine.mine(1)
    assert second.total == 1 and first.servers == {} and machine.is_open


def test_the_first_is_used_though_it_was_a_fallback():
    world, machine, (first, second) = scene(fallback=(0,), return_after_s=50.0)
    assert len(second.servers) == 1
    world.named[0] = replace(world.named[0], fallback_only=False)
    use(world, 0, 1)
    world.wait(100)
    assert len(first.servers) == 1 and second.servers == {} and machine.is_open


def test_another_key_is_another_upstream():
    world, machine, (first, _) = scene()
    before = world.failover.all[0]
    world.named[0] = replace(world.named[0], pin=bytes(31) + b"\x09")
    use(world, 0)
    assert world.failover.all[0] is not before and machine.is_open
    machine.mine(1)
    assert first.total == 1                                     # on the connection that proved the old key
    assert "upstream.refused" in world.names()


def test_times_count_from_now_on():
    world, machine, (first, _) = scene(grace_s=1000.0)
    use(world, 0, times=replace(Times(), grace_s=20.0))
    first.die()
    world.wait(19)
    assert machine.is_open
    world.wait(2)
    assert not machine.is_open and world.closes[-1].reason == "no upstream for 20 s"


def test_a_machine_keeps_its_name_upstream():
    world, machine, (first, second) = scene()
    use(world, 1, user_identity_template="new.{name}")
    world.machine().start("bob")
    assert [message.user_identity for message in second.opens()] == ["alice.rig1", "new.bob"]
    assert machine.is_open


@MODES
def test_the_same_again_changes_nothing(mode):
    world, machine, (first, second) = scene(mode)
    bound = world.machine().start("bob")
    heard = len(machine.heard)
    for _ in range(20):
        use(world, 0, 1)
    world.wait(1)
    assert len(machine.heard) == heard and second.dials == 0 and first.dials == (2 if mode == "connection" else 1)
    machine.mine(1)
    bound.mine(1, "bob")
    assert first.total == 2


@MODES
def test_a_hundred_reloads_under_load_lose_no_share_and_close_nobody(mode):
    """The worker of these tests asserts after each step that no share is lost from its counter."""
    world = World(mode, 3, return_after_s=2.0, backoff_max_s=1.0)
    machines = {f"m{number}": world.machine().start(f"m{number}", takes_extranonce=True) for number in range(4)}
    bound = world.machine().start("bound")
    orders = [(0, 1, 2), (2,), (1, 0), (2, 1, 0), (0,), (1, 2)]
    for reload in range(100):
        use(world, *orders[reload % len(orders)])
        for name, machine in machines.items():
            assert machine.is_open
            machine.mine(1, name)
        world.wait(0.5 if reload % 3 else 0.0)
        bound.mine(1, "bound") if bound.is_open else None
    world.wait(10)
    counts = world.counters.counts()
    assert counts.pending == 0 and counts.rejected == () and counts.accepted == counts.received >= 400
    assert counts.accepted == sum(pool.total for pool in world.pools)
    assert all(machine.of(WorkReady) for machine in machines.values())
    for machine in (*machines.values(), bound):
        if machine.is_open:
            machine.close()
    world.wait(5)
    assert world.connections == {} and all(not pool.servers for pool in world.pools)
    assert (world.failover._uplinks, world.failover._trials, world.failover._shared) == ({}, {}, {})
