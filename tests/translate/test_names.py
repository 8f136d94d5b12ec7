"""Whose shares they are upstream, where the channel was opened under another name: the worker TLV."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.translate.profiles import profile  # noqa: F401
from tests.translate.test_setup import UNNAMED_S
from tests.translate.world import World
from warppool.mining.identity import read_identity
from warppool.sv2.messages.extensions import RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess
from warppool.sv2.profile import WARP

MODES = pytest.mark.parametrize("mode", ["connection", "channels"])


def waiting(world, name="alice.rig1"):
    """A machine that says its name only when its subscribe is answered."""
    machine = world.machine()
    machine.client.subscribe()
    machine.say()
    world.wait(UNNAMED_S + 0.01)
    machine.client.authorize(name)
    machine.say()
    assert machine.work is not None
    return machine


@MODES
def test_machines_that_wait_have_their_own_names_in_the_pools_books(mode):
    world = World(mode)
    pool = world.pools[0]
    machines = {name: waiting(world, name) for name in ("alice.rig1", "farm.rig2", "rig3", "farm.0", "x.0")}
    for name, machine in machines.items():
        machine.mine(2, name)
    assert pool.accepted == {"farm.rig1": 2, "farm.rig2": 2, "farm.rig3": 2, "farm.0": 4}
    assert {share.user for share in world.booked} == set(machines)
    assert world.counters.unnamed == 0


def test_a_machine_whose_channel_bears_its_name_needs_no_tlv():
    world = World()
    machine = world.machine().start("alice.rig1")
    machine.mine(3)
    channel = world.connections[machine.conn_id]._session._route.current
    assert channel.tlvs_of("alice.rig1", "alice.rig1") == b"" and world.pools[0].accepted == {"alice.rig1": 3}


def test_the_template_of_names_counts_here_too():
    world = World(template="acct.{name}")
    machine = waiting(world, "rig9")
    machine.mine(1, "rig9")
    assert world.pools[0].accepted == {"farm.rig9": 1}


@pytest.mark.parametrize("name", ["a." + "x" * 33, "a." + "ä" * 17, "x" * 40])
def test_a_worker_that_no_tlv_can_hold_is_counted_and_mines_under_the_channels_name(name):
    world = World()
    machine = waiting(world, name)
    machine.mine(3, name)
    assert world.pools[0].accepted == {"farm.0": 3} and machine.refusals() == []
    assert world.counters.counts() == (3, 3, (), 0, 0, 0, 0, 3)
    assert {share.user for share in world.booked} == {name}


@pytest.mark.parametrize("answer", [
    None, RequestExtensionsError(0, (2,), ()), RequestExtensionsSuccess(0, ()), RequestExtensionsSuccess(0, (5,)),
    RequestExtensionsSuccess(8, (2,))], ids=["silence", "refusal", "nothing", "another", "another request"])
def test_a_pool_without_the_extension_is_sent_no_tlv(answer, monkeypatch):
    world = World()
    pool = world.pools[0]
    pool.instead[RequestExtensions] = lambda m: [] if answer is None else [answer]
    areas = []
    read = type(WARP).read
    monkeypatch.setattr(type(WARP), "read", lambda self, subprotocol, frame: areas.append(
        found := read(self, subprotocol, frame)) or found)
    machine = waiting(world)
    machine.mine(2)
    assert pool.accepted == {"farm.0": 2} and {area for _, area in areas} == {b""}


def test_a_pool_that_hangs_up_on_the_question_is_not_asked_again_for_a_while():
    world = World(backoff_max_s=1.0)
    pool = world.pools[0]
    asked = []

    def hang_up(message):
        asked.append(world.now.monotonic)
        world.queue.append(lambda: [pool.hang_up(conn_id) for conn_id in list(pool.servers)])
        return []

    pool.instead[RequestExtensions] = hang_up
    machine = world.machine().start()
    world.wait(3)
    machine.mine(2)
    assert len(asked) == 1 and pool.accepted == {"alice.rig1": 2}


NAMES = st.text(min_size=1, max_size=40).filter(lambda text: read_identity(text) is not None)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(NAMES)
@example("mallory")
@example("victim.rig")
@example(".victim")
@example("..")
@example("a.b.c.d")
@example("é" * 17)
@example("a." + "\u202e" * 5)
def test_no_name_of_a_machine_changes_the_user_upstream(name):
    world = World()
    machine = world.machine()
    machine.client.subscribe()
    machine.say()
    world.wait(UNNAMED_S + 0.01)
    machine.client.authorize(name)
    machine.say()
    if machine.work is None:                    # not let in, or still waiting
        return
    machine.mine(1, name)
    assert {user.partition(".")[0] for user in world.pools[0].accepted} <= {"farm"}
    assert {share.user for share in world.booked} <= {read_identity(name)}
