"""What becomes of a share: judged here, sent, answered by the upstream, or by us when that takes too long."""

from __future__ import annotations

import pytest

from tests.translate.profiles import profile  # noqa: F401
from tests.translate.world import MASK, World
from warppool.mining.connection import MAX_UNANSWERED
from warppool.mining.share import weigh
from warppool.sv2.messages.mining import SubmitSharesError, SubmitSharesExtended, SubmitSharesSuccess
from warppool.translate import sent as sent_module
from warppool.translate.shares import fitted

MODES = pytest.mark.parametrize("mode", ["connection", "channels"])


def sent(pool):
    return [message for message in pool.seen if isinstance(message, SubmitSharesExtended)]


def scene(mode="connection", **options):
    """A machine at work, and its pool."""
    world = World(mode)
    return world, world.machine().start(**options), world.pools[0]


def submit(machine, *params, request_id=9):
    fields = ",".join(f'"{param}"' for param in params)
    machine.client._asked.clear()
    before = len(machine.raw)
    machine.send(b'{"id":%d,"method":"mining.submit","params":[%b]}\n' % (request_id, fields.encode()))
    return machine.raw[before:]


# -- judged here -------------------------------------------------------------------------------------------------------

def test_low_difficulty_duplicates_and_malformed_shares_never_burden_the_upstream():
    world, machine, pool = scene()
    machine.mine(1, is_good=False)
    found = machine.find()
    machine.client.submit("alice.rig1", *found)
    machine.client.submit("alice.rig1", *found)
    machine.say()
    submit(machine, "alice.rig1", "1", "00", "xx", "00000000")
    submit(machine, "alice.rig1", "1", "00", "00000000")
    assert machine.refusals()[:2] == [(23, "Difficulty too low"), (22, "Duplicate share")]
    assert len(sent(pool)) == 1 and pool.refused == {}
    assert world.counters.rejected == {"difficulty-too-low": 1, "duplicate-share": 1, "malformed-submit": 2}
    assert world.refused == world.counters.rejected
    assert world.counters.counts()[:2] == (5, 1)


def test_an_unknown_job():
    world, machine, pool = scene()
    answer = submit(machine, "alice.rig1", "ffff", "00" * 8, "00000000", "00000000")
    assert b'[21,"Job not found",null]' in answer and sent(pool) == []
    assert world.counters.rejected == {"invalid-job-id": 1}


def test_a_stale_share():
    world, machine, pool = scene()
    old = machine.work
    pool.new_job(new_tip=True)
    world.run()
    machine.nonce = 0
    machine.mine(1, work=old)
    assert machine.refusals() == [(21, "Stale")] and sent(pool) == []
    pool.new_job(new_tip=True)
    world.run()
    machine.mine(1, work=old)
    assert machine.refusals() == [(21, "Stale"), (21, "Job not found")]
    assert world.counters.rejected == {"stale-share": 1, "invalid-job-id": 1}


def test_an_older_job_of_the_same_tip_still_counts():
    world, machine, pool = scene()
    old = machine.work
    pool.new_job()
    world.run()
    assert machine.work.job_id != old.job_id
    machine.mine(1, work=old)
    assert pool.total == 1


def test_a_header_time_before_the_jobs():
    world, machine, pool = scene()
    work = machine.work
    nonce = 0
    while int.from_bytes(weigh(work.header(bytes(8), work.version, work.ntime - 1, nonce), 0).share_hash,
                         "little") > work.target:
        nonce += 1
    answer = submit(machine, "alice.rig1", work.job_id, "00" * 8, f"{work.ntime - 1:08x}", f"{nonce:08x}")
    assert b'[20,"Ntime out of range",null]' in answer and sent(pool) == []
    assert world.counters.rejected == {"invalid-share": 1}


@pytest.mark.parametrize("number", range(20))
def test_a_stale_share_that_is_a_block_goes_upstream(number):
    world = World(nbits=0x207FFFFF)
    machine = world.machine().start()
    old = machine.work
    world.pools[0].new_job(new_tip=True)
    world.run()
    header = old.header(bytes(8), old.version, old.ntime, number)
    is_block = weigh(header, 0x7FFFFF << 232).is_block
    submit(machine, "alice.rig1", old.job_id, "00" * 8, f"{old.ntime:08x}", f"{number:08x}")
    assert len(sent(world.pools[0])) == len(world.pools[0].blocks) == is_block
    assert world.counters.rejected == {"stale-share": 1}


def test_a_block_of_a_stranger_goes_upstream_once():
    world = World(nbits=0x207FFFFF)
    machine = world.machine().start()
    machine.nonce = 0
    work, extranonce2, _version, ntime, nonce = machine.find()
    params = ("mallory", work.job_id, extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}")
    assert b"true" in submit(machine, *params)
    assert b"[22," in submit(machine, *params)
    assert len(world.pools[0].blocks) == 1


@pytest.mark.parametrize(("given", "size", "expected"), [
    (b"\1\2", 4, b"\0\0\1\2"), (b"", 4, bytes(4)), (b"\1\2\3\4", 4, b"\1\2\3\4"), (b"\0\0\1\2\3\4", 4, b"\1\2\3\4"),
    (b"\1\0\0\0\0", 4, None), (b"\0\1\0\0\0\0", 4, None), (bytes(32), 4, bytes(4)),
])
def test_fitting_an_extranonce2(given, size, expected):
    assert fitted(given, size) == expected


@pytest.mark.parametrize(("text", "is_fitting"), [
    ("{:x}", True), ("00{:016x}", True), ("0000{:016x}", True), ("01{:016x}", False)])
def test_firmware_that_prints_fewer_or_more_digits_than_it_hashed(text, is_fitting):
    world, machine, pool = scene()
    work = machine.work
    value = 0xABCDEF01
    extranonce2 = value.to_bytes(8, "big")
    nonce = next(n for n in range(1000) if int.from_bytes(weigh(
        work.header(extranonce2, work.version, work.ntime, n), 0).share_hash, "little") <= work.target)
    answer = submit(machine, "alice.rig1", work.job_id, text.format(value), f"{work.ntime:08x}", f"{nonce:08x}")
    if is_fitting:
        assert b"true" in answer and pool.total == 1
    else:
        assert b'[20,"Invalid nonce2 length",null]' in answer and sent(pool) == []
        assert world.counters.rejected == {"bad-extranonce-size": 1}


# -- version rolling ---------------------------------------------------------------------------------------------------

def test_rolled_bits_replace_those_of_the_job():
    world, machine, pool = scene(mask=0xFFFFFFFF)
    version = machine.work.version | 0x12344000
    machine.mine(5, version=machine.work.version & ~MASK | version & MASK)
    assert pool.total == 5
    assert {message.version for message in sent(pool)} == {machine.work.version | 0x12344000 & MASK}


def test_bits_outside_the_mask_are_refused():
    world, machine, pool = scene(mask=0x00FFE000)
    work, extranonce2, _version, ntime, nonce = machine.find()
    params = ("alice.rig1", work.job_id, extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}")
    assert machine.client.version_mask == 0x00FFE000
    assert b'[20,"Invalid version mask",null]' in submit(machine, *params, "01000000")
    assert sent(pool) == []
    assert b"true" in submit(machine, *params)              # no sixth parameter: the job's version
    assert world.counters.rejected == {"invalid-non-rollable-version-bit": 1}


def test_bits_without_a_mask_are_refused():
    world, machine, pool = scene()
    work, extranonce2, _version, ntime, nonce = machine.find()
    params = ("alice.rig1", work.job_id, extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}")
    assert b'[20,"Invalid version mask",null]' in submit(machine, *params, "00000000")
    assert world.counters.rejected == {"version-rolling-not-allowed": 1} and sent(pool) == []


# -- answered by the upstream ------------------------------------------------------------------------------------------

@MODES
def test_the_answer_is_the_upstreams(mode):
    world, machine, pool = scene(mode)
    pool.withholds = True
    machine.mine(5)
    assert machine.answers() == [] and world.counters.pending == 5
    pool.answer()
    world.run()
    assert [answer.is_accepted for answer in machine.answers()] == [True] * 5
    assert world.counters.counts() == (5, 5, (), 0, 0, 0, 0, 0)


@pytest.mark.parametrize(("code", "answer", "reason"), [
    ("stale-share", (21, "Stale"), "stale-share"),
    ("invalid-job-id", (21, "Job not found"), "invalid-job-id"),
    ("duplicate-share", (22, "Duplicate share"), "duplicate-share"),
    ("difficulty-too-low", (23, "Difficulty too low"), "difficulty-too-low"),
    ("unknown-user", (24, "Unauthorized worker"), "unknown-user"),
    ("invalid-user-identity", (24, "Unauthorized worker"), "unknown-user"),
    ("invalid-channel-id", (25, "Not subscribed"), "invalid-channel-id"),
    ("bad-extranonce-size", (20, "Invalid nonce2 length"), "bad-extranonce-size"),
    ("invalid-share", (20, "Invalid share"), "invalid-share"),
    ("not-recorded", (20, "Not recorded"), "not-recorded"),
    ("version-rolling-not-allowed", (20, "Invalid version mask"), "version-rolling-not-allowed"),
    ("made-up-\x1b[31m", (20, "Rejected by the upstream pool"), "other"),
    ("", (20, "Rejected by the upstream pool"), "other"),
])
def test_reject_codes(code, answer, reason):
    world, machine, pool = scene()
    pool.instead[SubmitSharesExtended] = lambda m: [SubmitSharesError(m.channel_id, m.sequence_number, code)]
    machine.mine(1)
    assert machine.refusals() == [answer]
    assert world.counters.rejected == {reason: 1} == world.refused


def test_a_success_acknowledges_all_before_it_that_were_not_refused():
    world, machine, pool = scene()
    pool.instead[SubmitSharesExtended] = lambda m: []
    machine.mine(6)
    channel_id = sent(pool)[0].channel_id
    pool.say(SubmitSharesError(channel_id, 1, "stale-share"))
    assert machine.answers() == []                          # the first one still waits, and answers keep their order
    pool.say(SubmitSharesSuccess(channel_id, 3, 3, 0))
    assert [answer.is_accepted for answer in machine.answers()] == [True, False, True, True]
    pool.say(SubmitSharesSuccess(channel_id, 3, 3, 0), SubmitSharesError(channel_id, 1, "stale-share"),
             SubmitSharesError(channel_id, 77, "stale-share"), SubmitSharesSuccess(channel_id + 1, 9, 9, 0))
    assert len(machine.answers()) == 4 and world.counters.pending == 2
    pool.say(SubmitSharesSuccess(channel_id, 2**32 - 1, 2, 0))
    assert world.counters.counts() == (6, 5, (("stale-share", 1),), 0, 0, 0, 0, 0)


def test_a_share_that_was_not_recorded_may_be_sent_again():
    world, machine, pool = scene()
    found = machine.find()
    pool.instead[SubmitSharesExtended] = lambda m: [SubmitSharesError(m.channel_id, m.sequence_number, "not-recorded")]
    machine.client.submit("alice.rig1", *found)
    machine.say()
    pool.instead.clear()
    machine.client.submit("alice.rig1", *found)
    machine.say()
    assert [answer.is_accepted for answer in machine.answers()] == [False, True]


@MODES
def test_what_waits_too_long_is_answered_and_unconfirmed(mode):
    world, machine, pool = scene(mode)
    pool.withholds = True
    machine.mine(3)
    world.wait(1)
    machine.mine(2)
    world.wait(0.99)
    assert machine.answers() == []
    world.wait(0.02)
    assert [answer.is_accepted for answer in machine.answers()] == [True] * 3
    assert world.counters.counts() == (5, 0, (), 0, 2, 3, 0, 0)
    world.wait(1)
    assert world.counters.counts() == (5, 0, (), 0, 0, 5, 0, 0)
    assert world.booked == []


def test_late_verdicts_count_and_the_answer_stands():
    world, machine, pool = scene()
    pool.instead[SubmitSharesExtended] = lambda m: []
    machine.mine(4)
    world.wait(3)
    assert len(machine.answers()) == 4
    channel_id = sent(pool)[0].channel_id
    pool.say(SubmitSharesError(channel_id, 1, "stale-share"), SubmitSharesSuccess(channel_id, 2, 2, 0))
    assert world.counters.counts() == (4, 2, (("stale-share", 1),), 0, 0, 1, 3, 0)
    assert len(machine.answers()) == 4 and len(world.booked) == 2
    late = [dict(event.fields) for event in world.said if event.name == "verdict.received"]
    assert [(fields["verdict"], fields["late"]) for fields in late] == [
        ("stale-share", 3.0), ("accepted", 3.0), ("accepted", 3.0)]


def test_late_verdicts_are_awaited_for_so_many_shares_and_no_more(monkeypatch):
    monkeypatch.setattr(sent_module, "MAX_UNCONFIRMED", 5)
    world, machine, pool = scene()
    pool.instead[SubmitSharesExtended] = lambda m: []
    machine.mine(8)
    world.wait(3)
    pool.say(SubmitSharesSuccess(sent(pool)[0].channel_id, 7, 8, 0))
    assert world.counters.counts() == (8, 5, (), 0, 0, 3, 5, 0)


def test_a_machine_that_leaves_gets_its_shares_counted():
    world, machine, pool = scene()
    pool.withholds = True
    machine.mine(3)
    machine.close()
    assert world.counters.pending == 3 and len(world.connections) == 2
    pool.answer()
    world.run()
    assert world.counters.counts() == (3, 3, (), 0, 0, 0, 0, 0)
    world.wait(2)
    assert world.connections == {} and pool.servers == {}


@MODES
def test_a_machine_that_leaves_does_not_wait_for_a_hung_upstream(mode):
    world, machine, pool = scene(mode)
    other = world.machine().start("bob")
    pool.withholds = True
    machine.mine(3)
    machine.close()
    world.wait(2.01)
    assert world.counters.counts() == (3, 0, (), 0, 0, 3, 0, 0)
    assert machine.conn_id not in world.connections and other.is_open
    assert len(world.failover._waiting) == 0
    pool.answer()
    other.mine(2, "bob")
    assert world.counters.counts() == (5, 2, (), 0, 0, 3, 0, 0)


@pytest.mark.parametrize("room_is_made_by", ["the upstream", "our patience"])
def test_shares_beyond_the_bound_wait_unread_until_answers_made_room(room_is_made_by):
    world, machine, pool = scene()
    pool.withholds = True
    data = b""
    while machine.sent < MAX_UNANSWERED + 100:
        machine.client.submit("alice.rig1", *machine.find())
        machine.sent += 1
        data = machine.client.outgoing()
        world.queue.append(lambda data=data: world.from_machine(machine.conn_id, data))
    world.run()
    assert world.counters.received == MAX_UNANSWERED
    assert world.connections[machine.conn_id].backlog > 0
    if room_is_made_by == "our patience":
        world.wait(2.5)                                     # no verdict: ours make room as well
        assert world.counters.received == MAX_UNANSWERED + 100
        assert world.connections[machine.conn_id].backlog == 0
    pool.answer()
    world.run()
    assert world.connections[machine.conn_id].backlog == 0
    assert world.counters.accepted == MAX_UNANSWERED + 100


def test_the_books_know_difficulty_and_height():
    world, machine, _pool = scene()
    machine.mine(1)
    (share,) = world.booked
    assert (share.protocol, share.height, share.channel_id, share.user) == ("sv1", 840_000, 1, "alice.rig1")
    assert share.difficulty == pytest.approx(1e-9)
    assert int.from_bytes(share.share_hash, "little") <= machine.work.target


def test_a_verdict_on_a_share_of_a_machine_that_is_gone_is_counted_and_not_sent():
    """Its peer is gone, and what it sent is still read."""
    world = World()
    pool = world.pools[0]
    machine = world.machine().start()
    pool.withholds = True
    machine.mine(2)
    before = len(machine.raw)
    world.connections[machine.conn_id].abandon()
    pool.answer()
    world.run()
    assert len(machine.raw) == before and world.counters.counts() == (2, 2, (), 0, 0, 0, 0, 0)
