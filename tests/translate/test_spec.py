"""Upstreams of the published profile: a pool as SRI's behind V1 machines, alone and in one list with pools of ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.translate.sripool import BATCH, GROUP, SriPool
from tests.translate.test_jobs import lines, methods
from tests.translate.world import EASY, SPEC, Pool, World
from warppool.bitcoin.target import target_from_difficulty
from warppool.sv2.messages.common import (
    ChannelEndpointChanged,
    Reconnect,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from warppool.sv2.messages.extensions import RequestExtensions
from warppool.sv2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    SetExtranoncePrefix,
    SetGroupChannel,
    SetTarget,
    SubmitSharesExtended,
    UpdateChannel,
)
from warppool.translate.liveness import SETUP_S
from warppool.translate.members import GROUP_AT_ONCE
from warppool.translate.session import TOO_MANY
from warppool.translate.wish import MAX_HASH_RATE_HPS

MODES = pytest.mark.parametrize("mode", ["connection", "channels"])
SLOW = f"d={float(EASY)}"               # a machine that says how little it hashes


def scene(mode="connection", kinds=(SriPool,), **times):
    world = World(mode, kinds=kinds, **times)
    return world, world.machine().start(password=SLOW), world.pools[0]


def pace(world, machine, shares, every_s, name="alice.rig1"):
    for _ in range(shares):
        machine.mine(1, name)
        world.wait(every_s)


def sent(pool, kind):
    return [message for message in pool.seen if isinstance(message, kind)]


def tell(pool, *messages):
    """Say the same on each of its connections."""
    for conn_id, server in list(pool.servers.items()):
        pool.deliver(conn_id, server.sealed(server.connection.say(*messages), pool.world.now))
    pool.world.run()


# -- what SRI's pool does ----------------------------------------------------------------------------------------------

@MODES
def test_a_machine_rolls_8_bytes_where_the_pool_gives_16_and_hears_of_every_tenth_share(mode):
    world, machine, pool = scene(mode)
    assert lines(machine)[0]["result"][1:] == ["01000001" + "00" * 8, 8]
    pace(world, machine, BATCH, 5)
    assert machine.longest_wait == pytest.approx(2.0)           # the first ten are waited for: nobody knows it yet
    assert {share.extranonce[:8] for share in sent(pool, SubmitSharesExtended)} == {bytes(8)}
    assert {len(share.extranonce) for share in sent(pool, SubmitSharesExtended)} == {16}
    assert world.counters.counts() == (10, 10, (), 0, 0, 0, 9, 0)
    machine.longest_wait = 0.0
    for _ in range(25):
        pace(world, machine, 1, 5)
        pool.new_job(new_tip=world.now.monotonic % 3 == 0)
        world.run()
    assert machine.longest_wait == 0.0 and machine.refusals() == []
    assert pool.accepted["alice.rig1"] == 35 and pool.refused == {}
    assert world.counters.counts()[:2] == (35, 30) and world.counters.unconfirmed == 5
    assert len(world.booked) == 30


@pytest.mark.parametrize(("size", "rolled"), [(4, 4), (5, 4), (7, 4), (8, 8), (12, 8), (16, 8), (28, 8)])
def test_whatever_a_pool_lets_roll_machines_get_sizes_that_all_of_them_know(size, rolled):
    world = World(kinds=[SriPool])
    pool = world.pools[0]
    pool.extranonce_size = size
    machine = world.machine().start(password=SLOW)
    assert lines(machine)[0]["result"][1:] == ["01000001" + "00" * (size - rolled), rolled]
    machine.mine(BATCH)
    pool.new_job(new_tip=True)
    world.run()
    machine.mine(BATCH)
    assert pool.refused == {} and world.counters.accepted == 2 * BATCH == sum(pool.accepted.values())


def test_one_job_and_one_tip_on_the_group_reach_every_machine():
    world = World("channels", kinds=[SriPool])
    machines = [world.machine().start(f"m{number}", SLOW) for number in range(20)]
    pool = world.pools[0]
    assert len(pool.servers) == 1
    for number in range(4):
        pool.new_job(new_tip=number % 2 == 0)
        world.run()
        for name, machine in enumerate(machines):
            machine.mine(1, f"m{name}")
        world.wait(1)
    assert pool.refused == {} and sum(pool.accepted.values()) == 80 and world.counters.received == 80
    assert all(len(machine.answers()) == 4 or world.counters.pending for machine in machines)
    world.wait(3)
    assert all(len(machine.answers()) == 4 and machine.refusals() == [] for machine in machines)
    assert len({machine.work.extranonce1 for machine in machines}) == 20


def test_a_block_is_acknowledged_at_once_with_all_before_it():
    world = World(kinds=[SriPool], nbits=0x207FFFFF)
    pool = world.pools[0]
    machine = world.machine().start()
    machine.mine(3)
    assert len(pool.found) == 3 and world.counters.accepted == 3 and len(machine.answers()) == 3
    assert "block.sent" in world.names()


def test_shares_bear_the_names_of_their_workers_where_the_pool_knows_the_extension():
    world, machine, pool = scene()
    machine.client.authorize("alice.rig2", "x")
    machine.say()
    machine.mine(1)
    machine.mine(2, "alice.rig2")
    assert pool.workers == {"": 1, "rig2": 2}
    pool.extensions = set()
    other = world.machine().start("bob.a", SLOW)
    other.client.authorize("bob.b", "x")
    other.say()
    other.mine(1, "bob.b")
    assert pool.workers == {"": 2, "rig2": 2}


# -- what it is told ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("password", "rate", "max_target"), [
    ("x", 1e12, 2**256 - 1),                            # as a Bitaxe says it
    ("th=100", 1e14, 2**256 - 1),
    ("d=1024", 1024 * 2**32 / 10, target_from_difficulty(1024)),
    ("th=1000000000000000000", MAX_HASH_RATE_HPS, 2**256 - 1),
    ("d=1e300", MAX_HASH_RATE_HPS, None),
])
def test_a_pool_that_reckons_by_hash_rates_is_never_told_0(password, rate, max_target):
    """Of 0, SRI's pool would make a target that every hash meets."""
    world = World(kinds=[SriPool])
    world.machine().start(password=password)
    (asked,) = sent(world.pools[0], OpenExtendedMiningChannel)
    assert asked.nominal_hash_rate == pytest.approx(rate, rel=1e-3) and asked.min_extranonce_size == 4
    assert max_target is None or int.from_bytes(asked.max_target, "little") == max_target


def test_a_pool_of_ours_is_told_that_nothing_is_known_as_before():
    world = World(kinds=[Pool])
    world.machine().start(password="th=100")
    (asked,) = world.pools[0].opens()
    assert asked.nominal_hash_rate == 0.0


def test_another_wish_goes_up_with_its_hash_rate():
    world, machine, pool = scene()
    machine.client.authorize("alice.rig1", "d=4")
    machine.say()
    (update,) = sent(pool, UpdateChannel)
    assert update.nominal_hash_rate == pytest.approx(4 * 2**32 / 10, rel=1e-3)
    pool.new_job()
    world.run()
    assert machine.work.target <= target_from_difficulty(3)


@MODES
def test_nothing_is_under_way_on_a_connection_that_is_closed_as_soon_as_it_is_set_up(mode):
    """SRI's pool hangs where it must drop a connection before it has read all of it, and has no thread left.

    A machine that cannot take another extranonce is closed when its pool is back, and the connection with it.
    """
    world, machine, pool = scene(mode, backoff_max_s=1.0)
    asked = len(sent(pool, RequestExtensions))
    pool.die()
    pool.manner = "well"
    world.wait(5)
    assert not machine.is_open and pool.dials >= 2
    assert len(sent(pool, SetupConnection)) == 2 and len(sent(pool, RequestExtensions)) == asked
    other = world.machine().start(password=SLOW)
    assert len(sent(pool, RequestExtensions)) == asked + 1 and other.work is not None
    kinds = [type(message) for message in pool.seen]
    assert kinds.index(RequestExtensions) < kinds.index(OpenExtendedMiningChannel)


def test_the_set_up_asks_for_nothing_that_a_pool_may_lack():
    world, _, pool = scene()
    (setup,) = sent(pool, SetupConnection)
    assert (setup.protocol, setup.min_version, setup.max_version, setup.flags) == (0, 2, 2, 0)
    assert (setup.endpoint_host, setup.endpoint_port, setup.vendor) == ("pool-0", 34254, "warppool")


# -- silence -----------------------------------------------------------------------------------------------------------

@MODES
def test_a_pool_that_has_nothing_to_say_for_hours_is_kept_and_the_machine_gets_its_job_again(mode):
    world, machine, pool = scene(mode, idle_timeout_s=1e6, silence_s=180.0)
    world.wait(3 * 3600)
    assert len(sent(pool, OpenExtendedMiningChannel)) == 1 == len(pool.servers)
    assert 50 <= pool.dials <= 1 + 3 * 3600 / 180               # whether it takes a connection, now and then
    assert machine.is_open and "upstream.lost" not in world.names()
    given = [params for method, params in methods(machine) if method == "mining.notify"]
    assert 300 <= len(given) <= 400                             # firmware hangs up after a minute without one
    machine.mine(BATCH)
    assert pool.accepted["alice.rig1"] == BATCH and pool.refused == {}


@MODES
def test_a_pool_that_opens_channels_and_gives_no_work_has_failed(mode):
    world = World(mode, kinds=[SriPool, SriPool])
    first, second = world.pools
    first.mutes_work = True
    machine = world.machine().start(password=SLOW, takes_extranonce=True)
    for _ in range(20):
        world.wait(10)
        tell(first, SetTarget(2, b"\xff" * 31 + b"\0"))         # it talks, and says nothing of use
    assert "upstream.lost" in world.names()
    machine = machine if machine.is_open else world.machine().start(password=SLOW)
    machine.mine(1)
    assert second.accepted["alice.rig1"] == 1
    (lost,) = [event for event in world.said if event.name == "upstream.lost"]
    assert dict(lost.fields)["reason"] == "no work for a channel that it has opened"


@MODES
def test_a_pool_that_hangs_is_found_out_by_another_connection_that_it_does_not_take(mode):
    """As one that is stopped: its ports stay open, and nobody answers."""
    world = World(mode, kinds=[SriPool, SriPool], silence_s=60.0)
    first, second = world.pools
    machines = [world.machine().start(f"m{number}", SLOW, takes_extranonce=True) for number in range(5)]
    dials = first.dials
    first.manner = "silent"
    world.wait(65)
    assert first.dials == dials + 1 and second.dials == 0       # one question, for all of its silent connections
    world.wait(7)
    for number, machine in enumerate(machines):
        assert machine.is_open
        machine.mine(1, f"m{number}")
    assert sum(second.accepted.values()) == 5
    (lost,) = [event for event in world.said if event.name == "upstream.lost" and event.level == "warning"]
    assert dict(lost.fields)["reason"] == "silent for 70 s, and it takes no other connection"


@pytest.mark.parametrize("manner", ["refuses", "hangs", "garbage"])
def test_a_pool_that_is_gone_without_a_word_is_found_out(manner):
    world, machine, pool = scene(kinds=[SriPool, SriPool], silence_s=60.0)
    pool.manner = manner
    world.wait(61)
    if manner == "hangs":
        world.time_out_dials()
    world.wait(5)
    again = machine if machine.is_open else world.machine().start(password=SLOW)
    again.mine(1)
    assert world.pools[1].accepted["alice.rig1"] == 1


def test_one_question_in_a_silence_is_enough_for_all_connections():
    world = World("connection", kinds=[SriPool], idle_timeout_s=1e6, silence_s=60.0)
    for number in range(20):
        world.machine().start(f"m{number}", SLOW)
        world.wait(1)
    pool = world.pools[0]
    dials = pool.dials
    world.wait(600)
    assert dials + 9 <= pool.dials <= dials + 11 and len(pool.servers) == 20


def test_a_pool_that_speaks_while_it_is_asked_is_kept():
    world, machine, pool = scene(silence_s=60.0)
    pool.manner = "silent"
    world.wait(65)
    pool.manner = "well"
    pool.new_job(new_tip=True)
    world.run()
    world.wait(5)                                               # the question is over, and has no answer
    assert machine.is_open and "upstream.lost" not in world.names()
    machine.mine(1)
    assert pool.accepted["alice.rig1"] == 1


def test_a_pool_is_asked_again_where_nobody_told_what_it_answered():
    """As where a machine was being connected in that moment, and not a probe."""
    world, _, pool = scene(kinds=[SriPool, SriPool], silence_s=60.0)
    trials = world.failover._trials
    trials[world.failover.all[0]] = None
    pool.manner = "silent"
    world.wait(65)
    trials.clear()
    assert pool.dials == 1
    world.wait(60 + SETUP_S)
    assert pool.dials == 2 and "upstream.lost" in world.names()


def test_a_pool_that_takes_shares_and_never_says_a_word_has_failed():
    world, machine, pool = scene(kinds=[SriPool, Pool], idle_timeout_s=1e6)
    pool.instead[SubmitSharesExtended] = lambda m: []
    pace(world, machine, 110, 0.7)
    assert "upstream.lost" in world.names()


class Frugal(SriPool):
    """Bears so few shares of a channel on one tip that a test can see it hang up."""

    profile = replace(SPEC, max_shares_per_tip=40)
    max_seen = 42

    def judge(self, channel, m):
        code = super().judge(channel, m)
        if len(channel.seen) > self.max_seen:
            for conn_id in list(self.servers):
                self.hang_up(conn_id)
        return code


def test_one_greedy_machine_does_not_cost_the_others_their_connection():
    """SRI's pool ends the whole connection over one channel with a flood on one tip: 4,096 shares, or more."""
    world = World("channels", kinds=[Frugal])
    pool = world.pools[0]
    honest, greedy = world.machine().start("a", SLOW), world.machine().start("b", SLOW)
    for _ in range(300):
        if not greedy.is_open:
            greedy = world.machine().start("b", SLOW)
        greedy.mine(1, "b")
        if greedy.sent % 20 == 0:
            honest.mine(1, "a")
    assert pool.dials == 1 and honest.is_open and honest.refusals() == []
    assert len(world.machines) >= 300 // 42 and pool.accepted["b"] == 300 and pool.refused == {}
    pool.new_job(new_tip=True)
    world.run()
    assert greedy.is_open
    greedy.mine(39, "b")
    assert greedy.is_open
    reasons = {event.reason for event in world.closes if event.conn_id in world.machines}
    assert reasons == {TOO_MANY}


def test_a_burst_over_the_bound_is_answered_before_the_machine_goes():
    world = World(kinds=[Frugal])
    machine = world.machine().start(password=SLOW)
    world.pools[0].max_seen = 10**6
    machine.mine(60)
    world.wait(3)
    assert not machine.is_open and len(machine.answers()) == 60 == world.pools[0].accepted["alice.rig1"]


def test_a_pool_of_ours_bounds_a_flood_itself():
    world = World(kinds=[Pool])
    machine = world.machine().start()
    machine.mine(500)
    assert machine.is_open and world.pools[0].total == 500


# -- one list of both --------------------------------------------------------------------------------------------------

@MODES
@pytest.mark.parametrize("kinds", [(SriPool, Pool), (Pool, SriPool)])
def test_failover_goes_between_the_profiles_and_back(mode, kinds):
    world = World(mode, kinds=kinds, return_after_s=60.0, backoff_max_s=2.0)
    first, second = world.pools
    machine = world.machine().start(password=SLOW, takes_extranonce=True)
    machine.mine(BATCH)
    assert sum(first.accepted.values()) == BATCH
    first.die()
    world.wait(1)
    machine.mine(BATCH)
    assert sum(second.accepted.values()) == BATCH
    first.manner = "well"
    world.wait(90)
    first.new_job(new_tip=True)
    world.run()
    machine.mine(BATCH)
    assert sum(first.accepted.values()) == 2 * BATCH and machine.is_open and machine.refusals() == []
    assert world.counters.counts()[:2] == (3 * BATCH, 3 * BATCH)
    assert [name for name in world.names() if name.startswith("upstream.")].count("upstream.returned") == 1


@pytest.mark.parametrize("code", ["unsupported-feature-flags", "unsupported-protocol", "protocol-version-mismatch", ""])
def test_a_pool_that_refuses_the_set_up_is_passed_over(code):
    world = World(kinds=[SriPool, Pool])
    world.pools[0].instead[SetupConnection] = lambda m: [SetupConnectionError(0, code)]
    world.machine().start(password=SLOW).mine(1)
    assert world.pools[1].total == 1 and "upstream.failed" in world.names()


# -- what a pool may change --------------------------------------------------------------------------------------------

@MODES
def test_a_group_that_is_closed_costs_its_machines_no_more_than_another_channel(mode):
    world = World(mode, kinds=[SriPool, Pool])
    machines = [world.machine().start(f"m{number}", SLOW, takes_extranonce=True) for number in range(3)]
    tell(world.pools[0], CloseChannel(GROUP, "maintenance"))
    world.wait(5)
    for number, machine in enumerate(machines):
        assert machine.is_open
        machine.mine(1, f"m{number}")
    assert sum(sum(pool.accepted.values()) for pool in world.pools) == 3


@pytest.mark.parametrize("takes_extranonce", [True, False])
def test_another_prefix_counts_from_the_next_job_on(takes_extranonce):
    world = World(kinds=[SriPool])
    pool = world.pools[0]
    machine = world.machine().start(password=SLOW, takes_extranonce=takes_extranonce)
    (server,) = pool.servers.values()
    channel = server.connection.channels[2]
    tell(pool, SetExtranoncePrefix(2, b"\x01\xff\xff\xff"))
    machine.mine(BATCH)
    assert pool.accepted["alice.rig1"] == BATCH                 # on the job at hand, with the prefix of that
    channel.prefix = b"\x01\xff\xff\xff"
    pool.new_job(new_tip=True)
    world.run()
    if not takes_extranonce:
        assert not machine.is_open
        return
    assert machine.work.extranonce1 == b"\x01\xff\xff\xff" + bytes(8)
    machine.mine(BATCH)
    assert pool.accepted["alice.rig1"] == 2 * BATCH and pool.refused == {}


def test_a_pool_that_asks_to_move_is_followed_under_the_same_key():
    world, machine, pool = scene()
    world.addresses["other", 4444] = pool
    machine.client.subscribe_extranonce()
    machine.say()
    world.wait(11)
    tell(pool, Reconnect("other", 4444))
    world.wait(1)
    assert world.dials[-1][1] == "other" and machine.is_open
    machine.mine(1)
    assert pool.accepted["alice.rig1"] == 1


def test_a_channel_behind_which_another_peer_stands_has_its_extensions_agreed_anew():
    world, machine, pool = scene()
    machine.client.authorize("alice.rig2", "x")
    machine.say()
    pool.instead[RequestExtensions] = lambda m: []
    tell(pool, ChannelEndpointChanged(2))
    assert len(sent(pool, RequestExtensions)) == 2
    machine.mine(1, "alice.rig2")
    assert pool.workers == {"": 1}                              # not agreed, so not said
    tell(pool, *[ChannelEndpointChanged(2)] * 50)
    assert len(sent(pool, RequestExtensions)) == 2              # that question is still open
    del pool.instead[RequestExtensions]


@MODES
def test_a_pool_that_takes_no_other_version_has_it_so(mode):
    world = World(mode, kinds=[SriPool])
    pool = world.pools[0]
    pool.instead[SetupConnection] = lambda m: [SetupConnectionSuccess(2, 1)]
    machine = world.machine().start(password=SLOW, mask=0x1FFFE000)
    assert [params for method, params in methods(machine) if method == "mining.set_version_mask"] == [["00000000"]]
    machine.mine(BATCH)
    assert pool.accepted["alice.rig1"] == BATCH


def test_regrouped_channels_go_on_with_their_new_group():
    world = World("channels", kinds=[SriPool])
    pool = world.pools[0]
    machines = [world.machine().start(f"m{number}", SLOW) for number in range(3)]
    tell(pool, SetGroupChannel(77, (3, 4, 500)))
    since = [len(machine.raw) for machine in machines]
    tell(pool, pool.job_for(77, 9), pool.tip_for(77, 9))
    notified = [len([1 for method, _ in methods(machine, at) if method == "mining.notify"])
                for machine, at in zip(machines, since, strict=True)]
    assert notified == [0, 1, 1]


# -- what a pool must not do -------------------------------------------------------------------------------------------

def nonsense(pool):
    job = pool.job_for
    return {
        "group-is-a-channel": [SetGroupChannel(2, (3,))],
        "unknown-tip-on-the-group": [pool.tip_for(GROUP, 12345)],
        "job-too-large": [NewExtendedMiningJob(GROUP, 9, None, 0x20000000, True, (), bytes(60), bytes(20_000))],
        "path-too-long": [NewExtendedMiningJob(GROUP, 9, None, 0x20000000, True, (bytes(32),) * 33, b"", b"")],
        "prefix-too-long": [SetExtranoncePrefix(2, bytes(32))],
        "one-prefix-of-another-length": [SetExtranoncePrefix(2, bytes(5))],
        "target-of-0": [SetTarget(GROUP, bytes(32)), job(GROUP, 9), pool.tip_for(GROUP, 9)],
    }


@pytest.mark.parametrize("case", sorted(nonsense(SriPool(World(), "x", 0))))
def test_a_pool_that_breaks_its_word_is_left(case):
    world = World("channels", kinds=[SriPool, Pool])
    machines = [world.machine().start(f"m{number}", SLOW, takes_extranonce=True) for number in range(2)]
    pool = world.pools[0]
    tell(pool, *nonsense(pool)[case])
    assert "upstream.lost" in world.names()
    world.wait(2)
    for number, machine in enumerate(machines):
        machine.mine(1, f"m{number}")
    assert world.pools[1].total == 2


@pytest.mark.parametrize("payload", [
    b"\x02\0\0\0\xff" + bytes(255),                     # a prefix of 255 bytes
    b"\x02\0\0\0\x21" + bytes(33),
    b"\x02\0\0\0\xff",
])
def test_a_prefix_of_255_bytes_is_no_message(payload):
    world, _, pool = scene(kinds=[SriPool, Pool])
    (conn_id, server), = pool.servers.items()
    frame = b"\0\x80\x19" + len(payload).to_bytes(3, "little") + payload
    world.to_uplink(conn_id, server.transport.seal(frame))
    world.run()
    assert "upstream.lost" in world.names()
    assert any("SetExtranoncePrefix" in str(event.fields) for event in world.said)


def test_an_open_with_a_prefix_that_leaves_no_room_is_refused():
    world = World(kinds=[SriPool, Pool])
    world.pools[0].next_prefix = lambda: bytes(17)
    machine = world.machine().start(password=SLOW)
    machine.mine(1)
    assert world.pools[1].total == 1


@MODES
def test_what_is_said_to_groups_that_nobody_is_in_harms_nobody(mode):
    world, machine, pool = scene(mode)
    for group in (0, 7, 2**31, 2**32 - 1):
        tell(pool, pool.job_for(group, 5), pool.tip_for(group, 5), pool.job_for(group, 6, 0x65000000),
             SetTarget(group, bytes(32)), CloseChannel(group, "x"), SetGroupChannel(group, (88, 99)))
    machine.mine(BATCH)
    assert pool.accepted["alice.rig1"] == BATCH and machine.is_open


def test_a_frame_of_a_mebibyte_is_nothing_that_a_pool_has_to_say():
    world, _, pool = scene(kinds=[SriPool, Pool])
    (conn_id, server), = pool.servers.items()
    world.to_uplink(conn_id, server.transport.seal(b"\0\0\x25" + (1 << 20).to_bytes(3, "little") + bytes(1000)))
    world.run()
    assert "upstream.lost" in world.names()


def test_a_pool_that_talks_to_its_group_all_the_time_is_left():
    """Each of these costs us as much as one for each machine."""
    world = World("channels", kinds=[SriPool, Pool])
    machines = [world.machine().start(f"m{number}", SLOW, takes_extranonce=True) for number in range(5)]
    pool = world.pools[0]
    for number in range(10):
        tell(pool, *[SetTarget(GROUP, (2**200 + number).to_bytes(32, "little"))] * 50)
        world.wait(0.1)
        if not pool.servers:
            break
    assert number * 50 <= GROUP_AT_ONCE + 60 and "upstream.lost" in world.names()
    world.wait(2)
    machines[0].mine(1, "m0")
    assert world.pools[1].total == 1


@pytest.mark.parametrize(("channels", "is_left"), [((2, 3, 4), True), ((2,), False), ((2, 99, 98), False)])
def test_channels_that_go_from_group_to_group_cost_as_much(channels, is_left):
    world = World("channels", kinds=[SriPool, Pool])
    for number in range(3):
        world.machine().start(f"m{number}", SLOW, takes_extranonce=True)
    for number in range(GROUP_AT_ONCE + 1):
        tell(world.pools[0], SetGroupChannel(100 + number, channels), SetGroupChannel(100 + number, channels))
    assert ("upstream.lost" in world.names()) is is_left


def test_groups_that_change_all_the_time_fill_nothing():
    world = World("channels", kinds=[SriPool])
    machines = [world.machine().start(f"m{number}", SLOW) for number in range(3)]
    pool = world.pools[0]
    for number in range(300):
        tell(pool, SetGroupChannel(100 + number, (2, 3, 4)), pool.job_for(100 + number, number))
        world.wait(0.1)
    session = next(connection for conn_id, connection in world.connections.items() if conn_id in world.transports
                   )._session
    assert len(session._groups._by_id) == 1
    assert all(len(channel._future) <= 16 for channel in session._channels.values())
    tell(pool, pool.tip_for(399, 299))
    assert all(machine.is_open for machine in machines)
