"""From a machine's first call to its first work, whatever the order of its calls and the state of the upstream."""

from __future__ import annotations

import json

import pytest

from tests.translate.profiles import dialect, profile  # noqa: F401
from tests.translate.world import MASK, START, World
from warppool.bitcoin.target import target_from_difficulty
from warppool.sv1.client import Authorized, CallRefused, Configured, Subscribed, WorkReady
from warppool.translate.setupcalls import UNNAMED_S

MODES = pytest.mark.parametrize("mode", ["connection", "channels"])


def lines(machine):
    """What the machine was sent, as (method or id, params or result)."""
    said = [json.loads(line) for line in machine.raw.splitlines()]
    return [(line["method"], line["params"]) if "method" in line else (line["id"], line["result"]) for line in said]


@MODES
def test_a_pipelined_session_gets_its_answers_in_order_and_mines(mode):
    world = World(mode)
    machine = world.machine().start("alice.rig1")
    (first, subscription), (second, difficulty), (third, is_in), (fourth, params) = lines(machine)
    assert (first, second, third, fourth) == (1, "mining.set_difficulty", 2, "mining.notify")
    assert subscription[1:] == ["00000000", 8] and difficulty == [1e-09] and is_in is True
    assert len(params) == 9 and params[8] is True
    (asked,) = world.pools[0].opens()
    assert (asked.user_identity, asked.min_extranonce_size) == ("alice.rig1", 4)
    assert asked.nominal_hash_rate == pytest.approx(dialect().assumed_hash_rate_hps)
    assert asked.max_target == b"\xff" * 32
    machine.mine(20)
    assert world.pools[0].accepted == {"alice.rig1": 20}
    assert [answer.is_accepted for answer in machine.answers()] == [True] * 20
    assert [share.user for share in world.booked] == ["alice.rig1"] * 20
    assert world.counters.counts() == (20, 20, (), 0, 0, 0, 0, 0)


@MODES
def test_cpuminers_session(mode):
    """It waits for the subscribe reply before it authorizes, and gives every submit the id 4.

    See docs/machines.rst#cpuminer.
    """
    world = World(mode)
    machine = world.machine()
    machine.client.subscribe()                          # so that its client knows what the reply is to
    machine.client.outgoing()
    machine.send(b'{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}\n')
    assert machine.raw == b""
    world.wait(UNNAMED_S - 0.01)
    assert machine.raw == b"" and world.pools[0].opens() == []
    world.wait(0.02)
    assert [kind for kind, _ in lines(machine)] == [1]
    assert [message.user_identity for message in world.pools[0].opens()] == ["farm.0"]
    machine.send(b'{"id": 2, "method": "mining.authorize", "params": ["addr.w", "x"]}\n')
    assert [kind for kind, _ in lines(machine)] == [1, 2, "mining.set_difficulty", "mining.notify"]
    before = len(machine.raw)
    for _ in range(3):
        work, extranonce2, _version, ntime, nonce = machine.find()
        machine.send(json.dumps({"method": "mining.submit", "params": [
            "addr.w", work.job_id, extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}"], "id": 4}).encode() + b"\n")
    assert machine.raw[before:] == b'{"id":4,"result":true,"error":null}\n' * 3
    assert world.pools[0].accepted == {"farm.w": 3}             # upstream its own worker under the user of the channel
    assert [share.user for share in world.booked] == ["addr.w"] * 3        # ... and its whole name in our books


@MODES
def test_blocks_reach_the_pool(mode):
    world = World(mode, nbits=0x207FFFFF)
    machine = world.machine().start(mask=MASK)
    machine.mine(30, version=machine.work.version | 0x2000)
    assert world.pools[0].blocks
    assert "block.sent" in world.names()
    for block in world.pools[0].blocks:
        assert int.from_bytes(block.header[:4], "little") & 0x2000


def test_authorize_before_subscribe():
    world = World()
    machine = world.machine()
    machine.client.authorize("bob")
    machine.say()
    assert machine.of(Authorized) == [Authorized("bob", True)]
    assert machine.work is None
    machine.client.subscribe()
    machine.say()
    assert machine.of(Subscribed) and machine.work is not None


def test_a_machine_that_waits_for_each_answer_with_configure_first():
    world = World()
    machine = world.machine()
    machine.client.configure(0xFFFFFFFF)
    machine.say()
    assert machine.of(Configured)[0].version_mask == MASK
    machine.client.subscribe()
    machine.say()
    assert not machine.of(Subscribed)
    machine.client.authorize("bob")
    machine.say()
    assert machine.of(Subscribed) and machine.of(Authorized) and machine.work.version_mask == MASK


@pytest.mark.parametrize("later", [0.0, 0.1])
def test_the_bound_of_a_password_goes_upstream(later):
    world = World()
    machine = world.machine()
    machine.client.subscribe()
    machine.say()
    world.wait(later)
    machine.client.authorize("bob", "x,d=0.5")
    machine.say()
    (asked,) = world.pools[0].opens()
    assert int.from_bytes(asked.max_target, "little") == target_from_difficulty("0.5")
    assert machine.work.target <= target_from_difficulty("0.5")


def test_a_bound_that_comes_after_the_open_is_sent_after_it():
    world = World()
    machine = world.machine()
    machine.client.subscribe()
    machine.say()
    world.wait(1)
    machine.client.authorize("bob", "d=0.000001")       # harder than what the pool gives
    machine.say()
    assert machine.work.target == target_from_difficulty("0.000001")


def test_the_name_upstream_follows_the_template():
    world = World(template="farm.{name}-x")
    machine = world.machine().start("bob.7")
    assert [message.user_identity for message in world.pools[0].opens()] == ["farm.bob.7-x"]
    machine.mine(1, "bob.7")
    assert world.booked[0].user == "bob.7"


def test_a_name_that_the_template_makes_too_long_is_refused():
    world = World(template="f" * 200 + "{name}")
    machine = world.machine().start("b" * 56)
    assert machine.of(Authorized) == []                 # behind the subscribe, which waits for a name
    world.wait(1)
    assert machine.of(Authorized) == [Authorized("b" * 56, False)]
    machine.client.authorize("b" * 55)
    machine.say()
    assert machine.of(Authorized)[1:] == [Authorized("b" * 55, True)]
    assert machine.work is not None


@MODES
def test_a_name_that_the_upstream_refuses(mode):
    world = World(mode)
    pool = world.pools[0]
    machine = world.machine()
    pool.refuse_opens("unknown-user")
    machine.start("bob")
    assert machine.of(Authorized) == [Authorized("bob", False)]
    assert [(refused.method, refused.code) for refused in machine.of(CallRefused)] == [("mining.subscribe", 24)]
    assert machine.work is None and world.counters.received == 0
    pool.instead.clear()
    machine.client.authorize("carol")
    machine.client.subscribe()
    machine.say()
    assert machine.of(Authorized)[1:] == [Authorized("carol", True)]
    assert machine.work is not None
    assert pool.dials == 1


def test_a_machine_whose_name_is_refused_does_not_mine_under_another():
    world = World()
    world.pools[0].refuse_opens("unknown-user")
    machine = world.machine().start("bob")
    world.pools[0].instead.clear()
    machine.client.subscribe()
    machine.say()
    world.wait(5)
    assert machine.of(Subscribed) == [] and machine.work is None
    world.wait(60)
    assert not machine.is_open


def test_more_workers_on_one_connection():
    world = World()
    machine = world.machine().start("a.1")
    machine.client.authorize("a.2")
    machine.say()
    machine.mine(2, "a.1")
    machine.mine(3, "a.2")
    machine.mine(1, "mallory")
    assert [share.user for share in world.booked] == ["a.1"] * 2 + ["a.2"] * 3
    assert machine.refusals() == [(24, "Unauthorized worker")]
    assert world.pools[0].accepted == {"a.1": 2, "a.2": 3}


def test_a_second_subscribe_brings_the_same_and_the_work_anew():
    world = World()
    machine = world.machine().start()
    before = machine.work
    machine.client.subscribe()
    machine.say()
    assert len(machine.of(Subscribed)) == 2 and machine.of(Subscribed)[0] == machine.of(Subscribed)[1]
    assert machine.work.job_id != before.job_id and machine.work.ntime != before.ntime
    assert machine.of(WorkReady)[-1].is_clean
    machine.mine(3)
    assert world.pools[0].total == 3


def test_small_calls_are_answered_as_by_the_pool():
    world = World()
    machine = world.machine().start()
    before = len(lines(machine))
    machine.send(b'{"id":"a","method":"mining.ping","params":[]}\n{"id":"b","method":"mining.multi_version"}\n'
                 b'{"id":"c","method":"mining.suggest_difficulty","params":[2]}\n'
                 b'{"id":"d","method":"mining.extranonce.subscribe","params":[]}\n'
                 b'{"id":"e","method":"mining.get_transactions","params":["1"]}\n')
    assert lines(machine)[before:] == [("a", "pong"), ("b", None), ("c", True), ("d", True), ("e", None)]


@pytest.mark.parametrize("junk", [b"\xff\xfe\n", b"[]\n", b"x" * 20_000, b'{"id":1,"id":2,"method":"mining.ping"}\n'])
def test_junk_closes_the_machine_and_its_channel(junk):
    world = World()
    machine = world.machine().start()
    machine.send(junk)
    assert not machine.is_open and world.closes[0].is_peers_fault
    assert world.connections == {} and world.pools[0].servers == {}


def test_a_machine_that_says_nothing_is_closed_as_by_the_pool():
    world = World()
    silent, slow = world.machine(), world.machine()
    slow.client.configure(MASK)
    slow.say()
    world.wait(11)
    assert (silent.is_open, slow.is_open) == (False, True)
    world.wait(50)
    assert not slow.is_open
    assert world.connections == {}


def test_a_submit_before_subscribe():
    world = World()
    machine = world.machine()
    machine.send(b'{"id":4,"method":"mining.submit","params":["a","1","00","00000000","00000000"]}\n')
    assert json.loads(machine.raw)["error"] == [25, "Not subscribed", None]
    assert world.counters.rejected == {"invalid-channel-id": 1}


def test_configure_is_answered_while_the_rest_waits_for_an_upstream():
    world = World()
    world.pools[0].manner = "refuses"
    machine = world.machine()
    machine.client.subscribe()
    machine.client.configure(MASK)
    machine.client.authorize("bob")
    machine.say()
    world.wait(5)
    assert [type(event) for event in machine.heard] == [Configured]
    world.wait(54)
    assert machine.is_open
    world.wait(2)
    assert not machine.is_open and world.closes[-1].reason == "no upstream for 60 s"
    assert world.connections == {}


def test_what_waited_is_answered_when_the_upstream_comes():
    world = World()
    world.pools[0].manner = "refuses"
    machine = world.machine().start(mask=MASK)
    world.wait(20)
    world.pools[0].manner = "well"
    world.wait(40)
    assert machine.is_open and machine.work is not None
    assert [kind for kind, _ in lines(machine)] == [1, 2, "mining.set_difficulty", 3, "mining.notify"]
    assert world.now.monotonic == START.monotonic + 60
