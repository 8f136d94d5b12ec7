"""A pool that wants to keep us busy, to fill our memory and the journal, or to drive the machines away."""

from __future__ import annotations

import pytest

from tests.translate.test_jobs import job, lines, prev_hash
from tests.translate.world import World
from warppool.bitcoin.target import target_from_difficulty
from warppool.events import Now
from warppool.sv2.messages.common import Reconnect, SetupConnection
from warppool.sv2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenMiningChannelError,
    SetExtranoncePrefix,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesSuccess,
    UpdateChannel,
)
from warppool.sv2.work import MAX_COINBASE_SIZE
from warppool.translate import sent as sent_module
from warppool.translate.channel import TIPS_AT_ONCE
from warppool.translate.jobs import JOBS_AT_ONCE, MAX_KEPT_SIZE
from warppool.translate.pace import Pace
from warppool.translate.sent import MUTE_SHARES
from warppool.translate.upstreamlog import UpstreamLog

MODES = pytest.mark.parametrize("mode", ["connection", "channels"])


def notifies(machine, since=0):
    return [line["params"] for line in lines(machine, since) if line.get("method") == "mining.notify"]


def big_job(number, size, levels=2, min_ntime=0x65000001):
    return NewExtendedMiningJob(
        channel_id=1, job_id=number, min_ntime=min_ntime, version=0x20000000, version_rolling_allowed=True,
        merkle_path=(b"\x33" * 32,) * levels, coinbase_tx_prefix=number.to_bytes(60, "big"),
        coinbase_tx_suffix=bytes(size - 72))


def tick(world, seconds):
    """Time passes, and nothing else happens in it."""
    world.now = Now(world.now.monotonic + seconds, world.now.unix + seconds)


# -- pace and silence --------------------------------------------------------------------------------------------------

def test_pace():
    pace = Pace(3, 1.0)
    assert [pace.take(10.0) for _ in range(5)] == [True, True, True, False, False]
    assert pace.next_at(10.0) == 11.0 and not pace.take(10.5)
    assert pace.next_at(11.5) == 11.5                       # who takes what is not there waits anew
    assert [pace.take(100.0) for _ in range(4)] == [True, True, True, False]
    among = Pace(2, 1.0)
    assert sum(among.take(5.0, 10) for _ in range(50)) == 11


def test_the_log_says_a_thing_once_a_minute_with_the_count():
    log = UpstreamLog()
    said = [log.say(1, "warning", "it.happened", (("n", n),), Now(1000.0 + n, 0.0)) for n in range(130)]
    loud = [dict(event.fields) for event in said if event.level == "warning"]
    assert loud == [{"n": 0}, {"n": 60, "count": 60}, {"n": 120, "count": 60}]
    assert log.say(1, "info", "other.happened", (), Now(1130.0, 0.0)).level == "info"


# -- jobs --------------------------------------------------------------------------------------------------------------

@MODES
def test_a_thousand_jobs_a_second_are_passed_on_with_the_newest_alone(mode):
    world = World(mode)
    machine = world.machine().start()
    pool = world.pools[0]
    world.wait(60)
    since = len(machine.raw)
    for number in range(3000):
        pool.say(job(1000 + number, min_ntime=0x65000001 + number))
        world.wait(0.001)
    passed_on = notifies(machine, since)
    assert JOBS_AT_ONCE <= len(passed_on) <= JOBS_AT_ONCE + 3
    world.wait(1.1)
    assert int(notifies(machine, since)[-1][7], 16) == 0x65000001 + 2999        # the newest wins
    world.wait(20)
    assert len(notifies(machine, since)) == len(passed_on) + 1
    machine.mine(1)
    share = [message for message in pool.seen if isinstance(message, SubmitSharesExtended)][-1]
    assert share.job_id == 1000 + 2999


def test_a_new_tip_never_waits():
    world = World()
    machine = world.machine().start()
    pool = world.pools[0]
    for number in range(50):
        pool.say(job(100 + number, min_ntime=0x65000001))
    held = len(notifies(machine))
    pool.say(job(200), prev_hash(200))
    assert len(notifies(machine)) == held + 1 and notifies(machine)[-1][8] is True
    pool.say(job(201, min_ntime=0x65000009))
    world.wait(10)
    assert [params[8] for params in notifies(machine)[held:]] == [True, False]      # and nothing of the old tip follows


def test_a_job_that_waits_goes_with_its_tip_and_its_upstream():
    world = World(backoff_max_s=1.0)
    machine = world.machine().start(takes_extranonce=True)
    pool = world.pools[0]
    for number in range(20):
        pool.say(job(100 + number, min_ntime=0x65000001))
    since = len(machine.raw)
    pool.die()
    world.wait(0.5)
    assert notifies(machine, since) == []
    pool.manner = "well"
    world.wait(5)
    assert machine.work is not None and notifies(machine, since)[0][2] != "55" * 60


def test_a_machine_that_subscribes_again_gets_the_newest_at_once():
    world = World()
    machine = world.machine().start()
    for number in range(20):
        world.pools[0].say(job(100 + number, min_ntime=0x65000001 + number))
    since = len(machine.raw)
    machine.client.subscribe()
    machine.say()
    assert [int(params[7], 16) for params in notifies(machine, since)] == [0x65000001 + 19]


@MODES
def test_tips_faster_than_any_chain_makes_them_are_no_pools(mode):
    world = World(mode, 2)
    machine = world.machine().start(takes_extranonce=True)
    pool = world.pools[0]
    for number in range(1000):
        if not pool.servers:
            break
        pool.say(job(100 + number), prev_hash(100 + number))
        world.wait(0.001)
    assert len(notifies(machine)) <= TIPS_AT_ONCE + 5
    world.wait(2)
    machine.mine(1)
    assert world.pools[1].total == 1
    world.wait(50)
    assert pool.dials == 1                                  # it is down for a minute, however well it answers


def test_a_regtest_chain_of_five_blocks_a_second_is_one():
    world = World()
    machine = world.machine().start()
    for number in range(500):
        world.pools[0].say(job(100 + number), prev_hash(100 + number))
        tick(world, 0.2)
    world.run()
    assert machine.is_open and len(notifies(machine)) == 501


# -- sizes -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("size", "levels", "is_passed_on"), [
    (MAX_COINBASE_SIZE, 2, True), (MAX_COINBASE_SIZE + 1, 2, False), (60_000, 2, False), (300, 32, True),
    (300, 33, False), (300, 255, False)])
@pytest.mark.parametrize("min_ntime", [None, 0x65000001])
def test_what_is_too_large_for_machines_is_not_passed_on(size, levels, is_passed_on, min_ntime):
    world = World("connection", 2)
    machine = world.machine().start(takes_extranonce=True)
    since = len(machine.raw)
    world.pools[0].say(big_job(100, size, levels, min_ntime), *([prev_hash(100)] if min_ntime is None else []))
    if is_passed_on:
        assert len(notifies(machine, since)) == 1 and machine.is_open
    else:
        assert "upstream.lost" in world.names()
        world.wait(1)
        machine.mine(1)
        assert world.pools[1].total == 1
        assert max(map(len, machine.raw.splitlines())) < 4096


def test_jobs_kept_for_a_machine_are_bounded_by_their_size():
    world = World()
    machine = world.machine().start()
    for number in range(200):
        world.pools[0].say(big_job(1000 + number, 16_000))
        world.wait(1)
    jobs = world.connections[machine.conn_id]._session._jobs
    kept = sum(given.size for given in jobs.of_tip.values())
    assert 1 <= len(jobs.of_tip) <= 9 and kept == jobs._kept_size <= MAX_KEPT_SIZE
    assert jobs.of_tip[int(machine.work.job_id, 16)] is jobs.newest
    world.pools[0].say(job(5000), prev_hash(5000))
    assert len(jobs.of_tip) == 1 and jobs._kept_size == jobs.newest.size


def test_shares_that_are_remembered_are_bounded_though_the_tip_never_moves(monkeypatch):
    monkeypatch.setattr(sent_module, "MAX_SEEN", 20)
    world = World()
    machine = world.machine().start()
    first = machine.find()
    machine.client.submit("alice.rig1", *first)
    machine.mine(30)
    session = world.connections[machine.conn_id]._session
    assert len(session._route.current.sent.seen) == 20
    machine.client.submit("alice.rig1", *first)             # forgotten here, and the pool is the judge
    machine.say()
    assert machine.refusals() == [(22, "Duplicate share")] and world.pools[0].refused == {"duplicate-share": 1}


# -- extranonces -------------------------------------------------------------------------------------------------------

def changes(world, pool, number):
    pool.say(SetExtranoncePrefix(1, number.to_bytes(4, "big")), job(100 + number), prev_hash(100 + number))


@pytest.mark.parametrize("takes_extranonce", [False, True])
def test_a_pool_that_changes_the_extranonce_each_second_is_left(takes_extranonce):
    world = World("connection", 2)
    pool = world.pools[0]
    machine = world.machine().start(takes_extranonce=takes_extranonce)
    for number in range(1, 60):
        if not machine.is_open:
            machine = world.machine().start(takes_extranonce=takes_extranonce)
        changes(world, pool, number)
        world.wait(1)
    if not machine.is_open:
        machine = world.machine().start(takes_extranonce=takes_extranonce)
    world.wait(1)
    machine.mine(1)
    assert world.pools[1].total == 1
    assert len(world.machines) < 25 if not takes_extranonce else len(world.machines) == 1


def test_a_pool_that_moves_all_its_machines_once_is_not():
    world = World("channels")
    machines = [world.machine().start(f"m{number}", takes_extranonce=True) for number in range(200)]
    pool = world.pools[0]
    pool.say(*[message for number in range(1, 201) for message in (
        SetExtranoncePrefix(number, (1 << 30 | number).to_bytes(4, "big")), job(5000, channel_id=number),)])
    pool.new_job(new_tip=True)
    world.run()
    assert pool.dials == 1 and all(machine.is_open for machine in machines)
    assert len({machine.work.extranonce1 for machine in machines}) == 200


# -- the journal -------------------------------------------------------------------------------------------------------

def loud(world):
    return [event.name for event in world.said if event.level != "debug"]


def test_no_message_of_a_pool_makes_a_line_each(monkeypatch):
    world = World("channels", backoff_max_s=1.0)
    world.machine().start()
    pool = world.pools[0]
    before = len(loud(world))
    for _ in range(200):
        pool.say(Reconnect("elsewhere", 1), OpenMiningChannelError(9, "x"), CloseChannel(77, "x"))
    assert len(loud(world)) - before <= 3
    pool.refuse_opens()
    machines = [world.machine().start(f"m{number}") for number in range(50)]
    world.wait(20)
    assert loud(world).count("channel.refused") == 1 and machines


def test_blocks_of_a_pool_that_calls_everything_one_are_said_once_a_minute():
    world = World(nbits=0x207FFFFF)
    machine = world.machine().start()
    machine.mine(100)
    assert loud(world).count("block.sent") == 1 and world.names().count("block.sent") > 20
    assert len(world.pools[0].blocks) == world.names().count("block.sent")


def test_of_blocks_of_such_a_pool_the_books_take_a_few():
    world = World(nbits=0x207FFFFF)
    machine = world.machine().start()
    machine.mine(300)
    assert world.names().count("block.sent") > 100
    assert world.names().count("block.counted") == 64
    world.wait(25)
    machine.mine(50)
    assert world.names().count("block.counted") == 66


def test_a_pool_that_closes_every_channel_it_opens():
    world = World("channels", backoff_max_s=2.0)
    world.machine().start(takes_extranonce=True)
    for _ in range(60):
        world.pools[0].say(CloseChannel(1, "x" * 200))
        world.wait(2.1)
    assert loud(world).count("channel.lost") <= 4 and world.names().count("channel.lost") > 50


def test_a_pool_that_closes_a_channel_again_and_again_opens_it_silently():
    world = World("channels", backoff_max_s=1.0)
    world.machine().start(takes_extranonce=True)
    for _ in range(100):
        world.pools[0].say(CloseChannel(1, ""))
        world.wait(1.1)
    assert loud(world).count("miner.opened") == 1 and loud(world).count("miner.reopened") <= 3
    assert world.names().count("miner.reopened") > 50


def test_a_pool_that_asks_to_connect_anew_all_the_time_is_left():
    world = World("connection", 2)
    pool = world.pools[0]
    machine = world.machine().start(takes_extranonce=True)
    for _ in range(60):
        pool.say(Reconnect("", 0))
        world.wait(10.5)
        pool.new_job()
        world.run()
    machine.mine(1)
    assert world.pools[1].total == 1 and pool.dials < 40


def test_refusals_of_shares_that_nobody_sent_wake_no_machine():
    world = World()
    machine = world.machine().start()
    machine.mine(1)
    looks = []
    connection = world.connections[machine.conn_id]
    tick = connection.tick
    type(connection).tick, restore = (lambda self, now: looks.append(1) or tick(now)), type(connection).tick
    try:
        world.pools[0].say(*[SubmitSharesError(1, number, "stale-share") for number in range(500)])
    finally:
        type(connection).tick = restore
    assert looks == [] and world.counters.counts()[:2] == (1, 1)


# -- the edge of time --------------------------------------------------------------------------------------------------

def test_a_job_at_the_end_of_time_stays_within_its_eight_digits():
    world = World()
    machine = world.machine().start()
    world.pools[0].say(job(100), prev_hash(100, 0xFFFFFFFF))
    world.wait(95)
    assert {params[7] for params in notifies(machine)[1:]} == {"ffffffff"} and len(notifies(machine)) == 5


# -- d= ----------------------------------------------------------------------------------------------------------------

def asked(pool):
    return [int.from_bytes(message.maximum_target, "little") for message in pool.seen
            if isinstance(message, UpdateChannel)]


def test_a_wish_above_the_networks_difficulty_is_capped_as_in_the_pool():
    """A machine that asks for more would pass over blocks: of 16 that it finds, it would tell of one."""
    world = World(nbits=0x207FFFFF)
    pool = world.pools[0]
    network = pool.job.tip.target
    machine = world.machine().start(password="d=1000")
    assert asked(pool) == [network]                         # as soon as the first job says what the network's is
    pool.new_job()
    world.run()
    assert machine.work.target >= network
    machine.mine(10)
    assert len(pool.blocks) == 10 and machine.refusals() == []
    other = world.machine().start("bob", "d=1000")
    assert int.from_bytes(pool.opens()[-1].max_target, "little") == network     # known by now
    assert other.work.target >= network
    other.client.authorize("bob", "d=2000")
    other.say()
    assert asked(pool) == [network]


def test_the_cap_follows_the_network():
    world = World()
    pool = world.pools[0]
    wish = target_from_difficulty(10**9)
    machine = world.machine().start(password="d=1000000000")
    assert int.from_bytes(pool.opens()[0].max_target, "little") == wish and asked(pool) == []
    pool.nbits = 0x1D00FFFF
    pool.new_job(new_tip=True)
    world.run()
    assert asked(pool) == [pool.job.tip.target]
    pool.nbits = 0x17034219
    pool.new_job(new_tip=True)
    world.run()
    assert asked(pool)[1:] == [wish] and machine.is_open


def test_a_wish_that_changes_while_the_channel_is_being_opened_is_not_lost():
    world = World()
    pool = world.pools[0]
    machine = world.machine()
    machine.client.subscribe()
    machine.client.authorize("alice", "d=2")
    machine.client.authorize("alice", "d=16")
    machine.say()
    wishes = [int.from_bytes(pool.opens()[0].max_target, "little"), *asked(pool)]
    assert wishes[-1] == target_from_difficulty(16)


def test_a_machine_that_changes_its_mind_all_the_time_does_not_burden_the_pool():
    world = World()
    pool = world.pools[0]
    machine = world.machine().start()
    for number in range(200):
        machine.client.authorize("alice", f"d={number % 2 + 2}")
        machine.say()
        world.wait(0.01)
    machine.client.authorize("alice", "d=16")
    machine.say()
    assert len(asked(pool)) <= 7
    world.wait(1.1)
    assert asked(pool)[-1] == target_from_difficulty(16)    # the last wish arrives in the end


@MODES
def test_a_verdict_before_the_set_up_is_no_verdict(mode):
    """What nearly every message of a pool is takes a shorter way, and is not to be heard too early by it."""
    world = World(mode, 2)
    first, second = world.pools
    first.instead[SetupConnection] = lambda m: [SubmitSharesSuccess(1, 0, 1, 1)]
    machine = world.machine().start()
    machine.mine(1)
    assert first.dials == 1 and second.total == 1 and world.counters.counts() == (1, 1, (), 0, 0, 0, 0, 0)
    (lost,) = [event for event in world.said if event.name == "upstream.failed"]
    assert dict(lost.fields)["reason"].startswith("UnexpectedMessage")


def test_verdicts_on_nothing_do_not_keep_a_mute_pool_alive():
    """It acknowledges again and again what it has acknowledged, and never the shares that came since."""
    world = World(idle_timeout_s=1e6)
    pool = world.pools[0]
    machine = world.machine().start()
    machine.mine(1)
    pool.withholds = True
    for _ in range(MUTE_SHARES + 1):
        machine.mine(1)
        world.wait(1)
        pool.say(SubmitSharesSuccess(1, 0, 1, 1))
    world.wait(5)
    (lost,) = [event for event in world.said if event.name == "upstream.lost"]
    assert "no word on the last" in dict(lost.fields)["reason"]
    assert world.counters.accepted == 1


@pytest.mark.parametrize("last_sequence", [5, 2**32 - 1])
def test_a_verdict_on_shares_to_come_counts_for_none_of_them(last_sequence):
    world = World()
    pool = world.pools[0]
    machine = world.machine().start()
    pool.say(SubmitSharesSuccess(1, last_sequence, 6, 6))
    pool.withholds = True
    machine.mine(2)
    assert world.counters.counts() == (2, 0, (), 0, 2, 0, 0, 0) and world.booked == []
