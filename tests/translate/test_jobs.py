"""Jobs on their way down: what a machine is told, in which order, byte by byte."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from tests.translate.profiles import profile  # noqa: F401
from tests.translate.world import EASY, MASK, World
from warppool.bitcoin.target import difficulty_from_target, target_from_difficulty, target_from_nbits
from warppool.mining.share import weigh
from warppool.sv2.messages.mining import (
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    SetExtranoncePrefix,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesSuccess,
)

PREV_HASH = bytes(range(32))            # no two bytes alike, so that every misplaced one shows


def lines(machine, since=0):
    return [json.loads(line) for line in machine.raw[since:].splitlines()]


def methods(machine, since=0):
    return [(line.get("method"), line.get("params")) for line in lines(machine, since)]


def scene(**options):
    world = World()
    machine = world.machine().start(**options)
    return world, machine, world.pools[0], len(machine.raw)


def job(job_id, *, min_ntime=None, rolls=True, version=0x20000000, channel_id=1):
    return NewExtendedMiningJob(
        channel_id=channel_id, job_id=job_id, min_ntime=min_ntime, version=version, version_rolling_allowed=rolls,
        merkle_path=(b"\x33" * 32, b"\x44" * 32), coinbase_tx_prefix=b"\x55" * 60, coinbase_tx_suffix=b"\x66" * 60)


def prev_hash(job_id, min_ntime=0x65000001):
    return SetNewPrevHash(channel_id=1, job_id=job_id, prev_hash=PREV_HASH, min_ntime=min_ntime, nbits=0x17034219)


def prev_hash_of_v1(text):
    """Another reader of V1's prevhash: eight 32-bit words, each printed as a big-endian number of the header's
    little-endian bytes.
    """
    words = [int(text[at:at + 8], 16) for at in range(0, 64, 8)]
    return b"".join(bytes((word & 255, word >> 8 & 255, word >> 16 & 255, word >> 24)) for word in words)


def test_nine_parameters():
    world, machine, pool, since = scene()
    pool.say(job(100), prev_hash(100))
    ((method, params),) = methods(machine, since)
    assert method == "mining.notify"
    assert prev_hash_of_v1(params[1]) == PREV_HASH
    assert params == [
        "2", "03020100070605040b0a09080f0e0d0c13121110171615141b1a19181f1e1d1c", "55" * 60, "66" * 60,
        ["33" * 32, "44" * 32], "20000000", "17034219", "65000001", True]


def test_a_future_job_waits_for_its_prev_hash():
    world, machine, pool, since = scene()
    pool.say(job(100), job(101), job(102))
    assert methods(machine, since) == []
    pool.say(prev_hash(101))
    assert [params[8] for _, params in methods(machine, since)] == [True]
    pool.say(job(103, min_ntime=0x65000009))
    assert [params[7:] for _, params in methods(machine, since)] == [["65000001", True], ["65000009", False]]


def test_a_prev_hash_of_an_unknown_job_ends_the_connection():
    world, machine, pool, since = scene()
    pool.say(prev_hash(100))
    assert pool.dials == 1 and world.uplinks() == 0
    world.wait(2)
    assert pool.dials == 2


def test_a_target_between_job_and_prev_hash_counts_from_that_job():
    world, machine, pool, since = scene()
    target = target_from_difficulty(8)
    pool.say(job(100), SetTarget(1, target.to_bytes(32, "little")))
    assert methods(machine, since) == []
    pool.say(prev_hash(100))
    assert [method for method, _ in methods(machine, since)] == ["mining.set_difficulty", "mining.notify"]
    assert methods(machine, since)[0] == ("mining.set_difficulty", [8])
    assert machine.work.target == target


def test_a_target_alone_sends_nothing_and_the_active_job_keeps_its_own():
    world, machine, pool, since = scene()
    pool.say(SetTarget(1, target_from_difficulty(8).to_bytes(32, "little")))
    assert methods(machine, since) == []
    machine.mine(3)
    assert pool.total == 3                                  # judged under the target that the job went out with
    pool.say(job(100, min_ntime=0x65000001))
    assert [method for method, _ in methods(machine, since)[-2:]] == ["mining.set_difficulty", "mining.notify"]


@pytest.mark.parametrize(("upstream", "told"), [
    ("1.5", 1), ("1.999", 1), ("1", 1), ("1000.7", 1000), ("0.75", 0.75), ("4294967296.5", 4294967296)])
def test_from_1_up_machines_are_told_of_whole_difficulties(upstream, told):
    world, machine, pool, since = scene()
    pool.say(SetTarget(1, target_from_difficulty(upstream).to_bytes(32, "little")), job(100), prev_hash(100))
    assert methods(machine, since)[0] == ("mining.set_difficulty", [told])
    given = world.connections[machine.conn_id]._session._jobs.newest
    assert given.work.target == target_from_difficulty(upstream)        # what is sent is judged by this one


def test_a_target_harder_than_the_networks_is_not_told():
    """A machine would pass over blocks."""
    world, machine, pool, since = scene()
    network = difficulty_from_target(target_from_nbits(0x17034219))
    pool.say(SetTarget(1, target_from_difficulty(network * 16).to_bytes(32, "little")), job(100), prev_hash(100))
    assert methods(machine, since)[0] == ("mining.set_difficulty", [math.floor(network)])


def test_a_target_that_changes_nothing_sends_nothing():
    world, machine, pool, since = scene()
    pool.say(SetTarget(1, target_from_difficulty(EASY).to_bytes(32, "little")), job(100), prev_hash(100))
    assert [method for method, _ in methods(machine, since)] == ["mining.notify"]


def test_a_share_above_the_target_of_its_own_job_is_filtered_where_the_machine_may_believe_in_an_easier_one():
    world, machine, pool, since = scene()
    hard = machine.work
    easy = target_from_difficulty(EASY / 2)
    pool.say(SetTarget(1, easy.to_bytes(32, "little")), job(100, min_ntime=0x65000001))
    machine.nonce = 0
    while True:
        found = machine.find(work=hard, is_good=False)
        if weigh(hard.header(*found[1:]), 0).value <= easy:
            break
    machine.client.submit("alice.rig1", *found)
    machine.say()
    assert [answer.is_accepted for answer in machine.answers()] == [True]
    assert world.counters.counts() == (1, 0, (), 1, 0, 0, 0, 0)
    assert not any(isinstance(message, SubmitSharesExtended) for message in pool.seen) and world.booked == []
    machine.client.submit("alice.rig1", *found)
    machine.say()
    assert machine.refusals() == [(22, "Duplicate share")]
    pool.say(job(101), prev_hash(101))                      # a new tip, and nobody believes in the old target any more
    pool.say(SetTarget(1, target_from_difficulty(EASY).to_bytes(32, "little")), job(102), prev_hash(102))
    pool.say(job(103), prev_hash(103))
    machine.client.submit("alice.rig1", *machine.find(is_good=False))
    machine.say()
    assert machine.refusals()[1:] == [(23, "Difficulty too low")] and world.counters.filtered == 1


def test_a_block_above_the_target_of_its_job_goes_upstream_and_is_credited_0():
    """It is never filtered: the network takes it, whatever target the pool wants."""
    world, machine, pool, since = scene()
    pool.say(SetTarget(1, target_from_difficulty(1000).to_bytes(32, "little")), job(100),
             replace(prev_hash(100), nbits=0x207FFFFF))
    pool.instead[SubmitSharesExtended] = lambda m: [SubmitSharesSuccess(m.channel_id, m.sequence_number, 1, 0)]
    machine.mine()
    assert "block.sent" in world.names() and world.counters.counts() == (1, 1, (), 0, 0, 0, 0, 0)
    assert [answer.is_accepted for answer in machine.answers()] == [True]
    assert [share.difficulty for share in world.booked] == [0.0]


def test_silence_brings_the_job_again_under_a_new_key_and_time():
    world, machine, pool, since = scene()
    first = machine.work
    world.wait(29)
    assert methods(machine, since) == []
    world.wait(1)
    ((_, params),) = methods(machine, since)
    assert params[0] != first.job_id and int(params[7], 16) == first.ntime + 30 and params[8] is False
    machine.mine(2, work=first)
    machine.mine(2)
    assert pool.total == 4
    world.wait(30)
    times = [int(params[7], 16) for _, params in methods(machine, since) if params]
    assert times == [first.ntime + 30, first.ntime + 60]
    pool.new_job()
    world.run()
    before = len(machine.raw)
    world.wait(29)
    assert methods(machine, before) == []


def test_key_and_share_of_every_keep_alive_are_known_to_the_pool():
    world, machine, pool, _ = scene()
    for _ in range(20):
        world.wait(30)
        machine.mine(1)
    assert pool.total == 20 and pool.refused == {}


# -- version rolling ---------------------------------------------------------------------------------------------------

def test_a_job_without_rolling_takes_the_mask_back_ahead_of_its_notify():
    world, machine, pool, since = scene(mask=MASK)
    assert machine.work.version_mask == MASK
    pool.say(job(100, rolls=False), prev_hash(100))
    assert [method for method, _ in methods(machine, since)] == ["mining.set_version_mask", "mining.notify"]
    assert methods(machine, since)[0][1] == ["00000000"] and machine.work.version_mask == 0
    pool.say(job(101, rolls=False), prev_hash(101))
    pool.say(job(102, min_ntime=0x65000009))
    assert [method for method, _ in methods(machine, since)[2:]] == [
        "mining.notify", "mining.set_version_mask", "mining.notify"]
    assert machine.work.version_mask == MASK


def test_the_first_job_may_change_the_mask():
    world = World()
    pool = world.pools[0]
    pool.job = replace(pool.job, version_mask=0)
    machine = world.machine()
    machine.client.configure(0x00FFE000)
    machine.say()
    assert machine.client.version_mask == 0x00FFE000        # nobody knows better yet
    since = len(machine.raw)
    machine.client.subscribe()
    machine.client.authorize("bob")
    machine.say()
    assert [method for method, _ in methods(machine, since)] == [
        None, "mining.set_difficulty", None, "mining.set_version_mask", "mining.notify"]
    assert machine.work.version_mask == 0


def test_a_machine_that_never_asked_hears_nothing_of_masks():
    world, machine, pool, since = scene()
    pool.say(job(100, rolls=False), prev_hash(100))
    assert [method for method, _ in methods(machine, since)] == ["mining.notify"]


def test_asking_once_more_under_a_job_without_rolling():
    world, machine, pool, _ = scene(mask=MASK)
    pool.say(job(100, rolls=False), prev_hash(100))
    since = len(machine.raw)
    machine.client.configure(MASK)
    machine.say()
    answer, correction = lines(machine, since)
    assert answer["result"]["version-rolling.mask"] == f"{MASK:08x}"
    assert correction["method"] == "mining.set_version_mask" and machine.client.version_mask == 0


def test_a_share_of_a_job_that_allowed_rolling_after_one_that_does_not():
    world, machine, pool, _ = scene(mask=MASK)
    old = machine.work
    pool.say(job(100, rolls=False, min_ntime=0x65000001))
    machine.nonce = 0
    machine.mine(2, work=old, version=old.version | 0x4000)
    assert pool.total == 2


# -- extranonce2 -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("prefix", "granted", "told"), [(4, 4, 4), (4, 5, 4), (4, 7, 4), (4, 8, 8), (4, 9, 8),
                                                         (4, 16, 8), (0, 32, 8), (28, 4, 4)])
@pytest.mark.parametrize("takes_extranonce", [False, True])
def test_machines_roll_4_or_8_bytes_whatever_the_upstream_grants(prefix, granted, told, takes_extranonce):
    world = World()
    pool = world.pools[0]
    pool.instead[OpenExtendedMiningChannel] = lambda m: [
        OpenExtendedMiningChannelSuccess(m.request_id, 1, b"\xff" * 32, granted, b"\xaa" * prefix, 0),
        job(1), prev_hash(1)]
    pool.instead[SubmitSharesExtended] = lambda m: [SubmitSharesSuccess(m.channel_id, m.sequence_number, 1, 0)]
    machine = world.machine().start(takes_extranonce=takes_extranonce)
    work = machine.work
    assert (work.extranonce1, work.extranonce2_size) == (b"\xaa" * prefix + bytes(granted - told), told)
    extranonce2 = bytes(range(1, told + 1))
    machine.client.submit("alice.rig1", work, extranonce2, work.version, work.ntime, 7)
    machine.say()
    (share,) = [message for message in pool.seen if isinstance(message, SubmitSharesExtended)]
    assert share.extranonce == bytes(granted - told) + extranonce2
    header = work.header(extranonce2, work.version, work.ntime, 7)
    (booked,) = world.booked
    assert booked.share_hash == weigh(header, 0).share_hash
    if takes_extranonce and prefix:
        pool.say(SetExtranoncePrefix(1, b"\xbb" * prefix), job(2), prev_hash(2))
        assert machine.work.extranonce1 == b"\xbb" * prefix + bytes(granted - told) and machine.is_open


# -- extranonce --------------------------------------------------------------------------------------------------------

def test_a_new_prefix_goes_to_a_subscriber_with_the_job_that_has_it():
    world, machine, pool, since = scene(takes_extranonce=True)
    pool.say(SetExtranoncePrefix(1, b"\xaa\xbb\xcc\xdd"))
    assert methods(machine, since) == []
    pool.say(job(100), prev_hash(100))
    change, (method, params) = methods(machine, since)
    assert change == ("mining.set_extranonce", ["aabbccdd", 8])
    assert method == "mining.notify" and params[8] is True
    assert machine.work.extranonce1 == b"\xaa\xbb\xcc\xdd" and machine.is_open


def test_a_new_prefix_closes_the_others_when_they_have_their_answers():
    world, machine, pool, since = scene()
    pool.withholds = True
    machine.mine(2)
    pool.say(SetExtranoncePrefix(1, b"\xaa\xbb\xcc\xdd"))
    assert machine.is_open
    pool.say(job(100), prev_hash(100))
    assert machine.is_open and methods(machine, since) == []
    pool.answer()
    world.run()
    assert not machine.is_open and len(machine.answers()) == 2
    assert world.closes[0].reason == "the upstream has changed its extranonce"
    assert world.counters.counts() == (2, 2, (), 0, 0, 0, 0, 0)
    assert world.connections == {}


def test_the_planned_closing_waits_for_answers_no_longer_than_for_verdicts():
    world, machine, pool, since = scene()
    pool.withholds = True
    machine.mine(2)
    pool.say(SetExtranoncePrefix(1, b"\xaa\xbb\xcc\xdd"), job(100), prev_hash(100))
    world.wait(1.9)
    assert machine.is_open
    world.wait(0.2)
    assert not machine.is_open and len(machine.answers()) == 2
    assert world.counters.unconfirmed == 2


def test_shares_of_jobs_with_the_old_prefix_count_after_the_change():
    world, machine, pool, since = scene(takes_extranonce=True)
    old = machine.work
    pool.say(SetExtranoncePrefix(1, b"\xaa\xbb\xcc\xdd"), job(100, min_ntime=0x65000001))
    machine.nonce = 0
    machine.mine(2, work=old)
    assert pool.total == 2


@pytest.mark.parametrize("broken", [
    [SetTarget(1, bytes(32)), job(100), prev_hash(100)],
    [SetExtranoncePrefix(1, bytes(25)), job(100), prev_hash(100)],
    [job(100), SetNewPrevHash(1, 100, PREV_HASH, 0x65000001, 0xFF800000)],
], ids=["a target of 0", "no room for an extranonce2", "unreadable nbits"])
def test_work_that_nobody_could_mine_ends_the_connection(broken):
    world, machine, pool, since = scene()
    pool.say(*broken)
    assert methods(machine, since) == []
    assert "upstream.lost" in world.names() and machine.is_open


def test_machines_hold_equal_parts_of_their_jobs_once():
    world = World("channels")
    first, second = world.machine().start("a"), world.machine().start("b")
    world.pools[0].new_job(new_tip=True)
    world.run()
    assert first.work.extranonce1 != second.work.extranonce1
    given = [world.connections[machine.conn_id]._session._jobs.newest.work for machine in (first, second)]
    assert given[0].merkle_path is given[1].merkle_path and given[0].coinbase_tx_prefix is given[1].coinbase_tx_prefix
