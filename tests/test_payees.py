"""Channels with payees of their own, in V1's lines and V2's frames: each coinbase pays its own channel and no other."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mining.makers import (
    EASY_NBITS,
    HARD_NBITS,
    PAYOUT,
    POLICY,
    make_counters,
    make_factory,
    make_template,
    make_tip,
)
from tests.mining.payees import KINDS, numbered, payee_of
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.transaction import outputs_of, parse_transaction
from warppool.errors import LocalProtocolError
from warppool.events import Now
from warppool.mining.assignment import Keys
from warppool.mining.channel import Channel
from warppool.mining.course import Course
from warppool.mining.group import GROUP_IDS, PAYEE_IDS, GroupJob
from warppool.mining.paced import PacedCourse
from warppool.mining.payee import POOL
from warppool.mining.payrule import ToFinder, ToPool
from warppool.mining.share import weigh
from warppool.mining.validator import ShareValidator, Submission
from warppool.sv1.client import Work
from warppool.sv1.jobs import ENCODING, EncodedNotify, encoder
from warppool.sv2.frame import FrameReader
from warppool.sv2.jobs import EncodedJob, encode_changes
from warppool.sv2.messages.mining import NewExtendedMiningJob, NewMiningJob, SetNewPrevHash
from warppool.sv2.profile import SPEC, WARP, Subprotocol

SOLO = ToFinder(PAYOUT, 100)
START = Now(1000.0, 1_700_000_000.0)
ENCODERS = MappingProxyType({ENCODING: encoder(8), WARP.name: lambda job: EncodedJob(WARP, job),
                             SPEC.name: lambda job: EncodedJob(SPEC, job)})


def make_job(payer=SOLO, tip=1, nbits=HARD_NBITS, factory=None):
    return (factory or make_factory(ENCODERS, payer)).make(make_template(make_tip(tip, nbits)), START.unix)


def channel_of(payee, number=1, size=8, keys=None):
    channel = Channel(number, f"worker{number}", number.to_bytes(4, "big"), size, 1 << 240, 2**256 - 1,
                      keys or Keys(), payee)
    channel.is_open = True
    return channel


def own_of(coinbase):
    """(sat, script) of the outputs before the commitment."""
    return outputs_of(coinbase)[:-1]


def messages_of(profile, frames):
    return [profile.decode(Subprotocol.MINING, frame) for frame in FrameReader(1 << 20).feed(frames)]


# --- the bytes of both protocols --------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [8, 4])
def test_a_v1_machine_builds_the_coinbase_that_the_pool_judges_and_it_pays_the_machine(kind, size):
    """Of the prepared size, and of another one, which is made when it is asked for."""
    job, payee = make_job(), payee_of(kind)
    channel, counters = channel_of(payee, size=size), make_counters()
    for mine, _ in (channel.offer(job, counters), channel.offer_alone(job, counters)):
        encoded = job.encodings[ENCODING] if size == 8 else EncodedNotify(job, 8)
        for is_clean in (True, False):
            params = json.loads(encoded.line(mine.assignment, payee, is_clean=is_clean))["params"]
            assert params[8] is is_clean and params[7] == f"{job.ntime:08x}"
            work = Work.of(params, channel.extranonce_prefix, size, 1, 0)
            assert work.header(bytes(size), 5, 6, 7) == mine.header(bytes(size), 5, 6, 7)
            coinbase = bytes.fromhex(params[2]) + channel.extranonce_prefix + bytes(size) + bytes.fromhex(params[3])
            assert coinbase == mine.coinbase(bytes(size))
            assert own_of(coinbase) == ((309_375_000, payee.script), (3_125_000, PAYOUT))


@pytest.mark.parametrize("profile", [WARP, SPEC], ids=lambda profile: profile.name)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [8, 0, 28])
@pytest.mark.parametrize("is_future", [True, False])
def test_a_v2_machine_builds_the_coinbase_that_the_pool_judges_and_it_pays_the_machine(profile, kind, size, is_future):
    job, payee = make_job(), payee_of(kind)
    channel = channel_of(payee, size=size)
    for mine, _ in (channel.offer(job, make_counters()), channel.offer_alone(job, make_counters())):
        frames = job.encodings[profile.name].frames(channel.channel_id, mine, size, is_future)
        told, *tip = messages_of(profile, frames)
        assert [type(each) for each in tip] == [SetNewPrevHash] * is_future
        coinbase = mine.coinbase(bytes(size))
        assert own_of(coinbase) == ((309_375_000, payee.script), (3_125_000, PAYOUT))
        if size:
            assert isinstance(told, NewExtendedMiningJob) and told.channel_id == channel.channel_id
            assert told.job_id == mine.assignment.key
            assert coinbase == b"".join((told.coinbase_tx_prefix, channel.extranonce_prefix, bytes(size),
                                         told.coinbase_tx_suffix))
        else:
            assert isinstance(told, NewMiningJob)
            assert told.merkle_root == fold_merkle_path(double_sha256(coinbase), job.merkle_path)


def test_in_mode_pool_a_payee_changes_no_byte():
    pool, counters = make_job(ToPool(PAYOUT)), make_counters()
    mine, _ = channel_of(POOL).offer(pool, counters)
    notify = pool.encodings[ENCODING]
    assert notify.line(mine.assignment, payee_of("p2tr"), is_clean=True) == notify.line(mine.assignment, is_clean=True)
    halves = pool.coinbase_halves(12)
    assert pool.coinbase_halves(12, payee_of("p2tr")) is halves is pool.shared_halves(12)


def test_a_job_of_solo_goes_to_no_channel_whose_payee_has_no_script():
    mine, _ = channel_of(POOL).offer(make_job(), make_counters())
    with pytest.raises(LocalProtocolError, match="no script"):
        mine.header(bytes(8), 1, 2, 3)
    with pytest.raises(LocalProtocolError, match="no script"):
        mine.job.encodings[ENCODING].line(mine.assignment, is_clean=True)


# --- channels of one connection ---------------------------------------------------------------------------------------

def test_two_channels_of_one_connection_are_paid_apart_over_three_tips():
    factory, course, keys = make_factory(ENCODERS, SOLO), Course(7, POLICY, make_counters()), Keys()
    channels = [channel_of(numbered(number), number, keys=keys) for number in (1, 2)]
    for tip in (1, 2, 3):
        changes, _ = course.offer(make_job(tip=tip, factory=factory), channels, START)
        steps = []
        encode_changes(WARP, changes, steps)
        told = [message for frames in steps if isinstance(frames, bytes) for message in messages_of(WARP, frames)
                if isinstance(message, NewExtendedMiningJob)]
        for channel, message in zip(channels, told, strict=True):
            coinbase = b"".join((message.coinbase_tx_prefix, channel.extranonce_prefix, bytes(8),
                                 message.coinbase_tx_suffix))
            assert own_of(coinbase)[0] == (309_375_000, channel.payee.script)
            assert coinbase == channel.find(message.job_id).coinbase(bytes(8))
        for channel in channels:        # what it had before is as it was: nobody is paid anew by a later tip
            for mine in (*channel.jobs.values(), *channel.old_jobs.values()):
                assert own_of(mine.coinbase(bytes(8)))[0][1] == channel.payee.script


def test_a_channel_without_a_payee_has_no_job():
    course, channel = Course(7, POLICY, make_counters()), channel_of(None)
    assert course.offer(make_job(), [channel], START)[0] == []
    assert course.assign(channel) == [] == course.assign_again(channel) == course.join(channel, START)
    assert not channel.jobs
    with pytest.raises(LocalProtocolError, match="no payee"):
        channel.offer(make_job(), make_counters())


class Grouped:
    """A connection of the published profile whose channels are in groups."""

    def __init__(self, course=None):
        self.course, self.keys = course or PacedCourse(7, POLICY, make_counters(), SPEC.pace), Keys()
        self.course.takes_groups = course is None
        self.opened = 0
        self.factory = make_factory(ENCODERS, SOLO)
        self.course.offer(make_job(factory=self.factory), [], START)
        self.channels = []

    def open(self, payee, size=8):
        self.opened += 1
        channel = channel_of(payee, self.opened, size, self.keys)
        self.channels.append(channel)
        self.course.begin(channel, START)
        self.course.join(channel, START)
        return channel

    def tip(self, number):
        """What each group is told of a new tip: (its number, its coinbases' second half)."""
        changes, _ = self.course.offer(make_job(tip=number, factory=self.factory), self.channels, START)
        steps = []
        encode_changes(SPEC, changes, steps)
        return [change for change in changes if isinstance(change, GroupJob)], {
            message.channel_id: message for frames in steps if isinstance(frames, bytes)
            for message in messages_of(SPEC, frames) if isinstance(message, NewExtendedMiningJob)}


def test_groups_are_by_size_and_payee_and_each_member_is_paid_by_its_group_s_job():
    peer = Grouped()
    first, second = payee_of("p2tr"), payee_of("p2pkh")
    wanted = ((first, 8), (second, 8), (first, 8), (first, 0), (second, 0))
    channels = [peer.open(payee, size) for payee, size in wanted]
    assert [channel.group_id - GROUP_IDS for channel in channels] == [
        8, 8 + PAYEE_IDS, 8, 0, 2 * PAYEE_IDS]
    changes, told = peer.tip(2)
    assert len(changes) == 4
    for channel in channels:
        message = told[channel.group_id]
        mine = channel.find(message.job_id)
        coinbase = b"".join((message.coinbase_tx_prefix, channel.extranonce_prefix, bytes(channel.extranonce_size),
                             message.coinbase_tx_suffix))
        assert coinbase == mine.coinbase(bytes(channel.extranonce_size))
        assert own_of(coinbase)[0][1] == channel.payee.script
        assert parse_transaction(coinbase).end == len(coinbase)


def test_the_key_of_another_payee_s_group_is_no_key_of_a_channel():
    """Else a member could name, after hashing, the job that pays whom it likes."""
    peer = Grouped()
    channels = [peer.open(numbered(number)) for number in (1, 2)]
    _, told = peer.tip(2)
    keys = [told[channel.group_id].job_id for channel in channels]
    assert channels[0].find(keys[1]) is None is channels[1].find(keys[0])


def test_no_number_of_a_group_is_ever_another_payee_s_and_a_number_of_none_finds_none():
    peer = Grouped()
    channels = [peer.open(numbered(number)) for number in range(20)]
    numbers = [channel.group_id for channel in channels]
    assert len(set(numbers)) == 20 and all(map(peer.course.has_group, numbers))
    peer.course.end(channels[3])
    assert not peer.course.has_group(numbers[3]) and peer.course.has_group(numbers[4])
    later = [peer.open(numbered(number)).group_id for number in (99, 3)]
    assert not {*later} & {*numbers} and len({*later}) == 2
    peer.course.end(channels[0])
    assert peer.open(numbered(0)).group_id == numbers[0], "the first payee has the lowest numbers, as in mode pool"
    assert not peer.course.has_group(GROUP_IDS + 9)


def test_a_channel_without_a_payee_joins_no_group_and_gets_no_job_of_one():
    peer = Grouped()
    silent, paid = peer.open(None), peer.open(numbered(1))
    changes, told = peer.tip(2)
    assert len(changes) == 1 and set(told) == {paid.group_id}
    assert silent.membership is None and not silent.jobs


# --- blocks -----------------------------------------------------------------------------------------------------------

def test_a_block_says_whom_its_coinbase_pays_and_the_coinbase_does():
    job, payee = make_job(nbits=EASY_NBITS), payee_of("p2wsh")
    channel = channel_of(payee)
    mine, _ = channel.offer(job, make_counters())
    validator = ShareValidator(7, "sv2")
    for nonce in range(100):
        header = mine.header(bytes(8), job.version, job.ntime, nonce)
        if not weigh(header, job.tip.target).is_block:
            continue
        validator.submit(Submission(channel, mine, "worker", bytes(8), job.version, 0, job.ntime, job.ntime, header))
        (share,) = validator.judged([weigh(header, job.tip.target)], START)
        assert share.block.payee is payee and share.block.terms == job.rule.terms(payee)
        outputs = outputs_of(share.block.coinbase_tx)
        assert outputs[:-1] == tuple(job.rule.expected(job.rule.key(payee)))
        return
    raise AssertionError("no block in a hundred hashes, of which half are")


def test_of_five_thousand_payees_each_has_its_own_coinbase_and_the_job_keeps_none_of_them():
    job = make_job()
    tails = {job.tail(job.rule.key(numbered(number))) for number in range(5_000)}
    assert len(tails) == 5_000 and not job.tails


# --- whatever a proxy does --------------------------------------------------------------------------------------------

OPS = st.lists(st.tuples(st.sampled_from(["open", "close", "tip", "job", "again"]), st.integers(0, 5)),
               min_size=25, max_size=40)


@pytest.mark.parametrize("is_grouped", [False, True])
@settings(max_examples=40, deadline=None)
@given(ops=OPS)
def test_no_key_ever_pays_anybody_but_the_payee_of_the_channel_that_names_it(is_grouped, ops):
    """Six payees open and close channels of one connection, over tips that come and go; each key is tried by each."""
    peer = Grouped() if is_grouped else Grouped(Course(7, POLICY, make_counters()))
    tip = 1
    for op, number in ops:
        if op == "open" and len(peer.channels) < 12:
            peer.open(numbered(number), 8 if number % 2 else 0)
        elif op == "close" and number < len(peer.channels):
            peer.course.end(peer.channels.pop(number))
        elif op in ("tip", "job"):
            tip = number % 3 + 1 if op == "tip" else tip
            peer.course.offer(make_job(tip=tip, factory=peer.factory), peer.channels, START)
        elif op == "again" and number < len(peer.channels):
            peer.course.assign_again(peer.channels[number])
    headers = set()
    for channel in peer.channels:
        for key in range(1, peer.keys.next):
            mine = channel.find(key)
            if mine is None:
                continue
            assert own_of(mine.coinbase(bytes(channel.extranonce_size)))[0][1] == channel.payee.script
            headers.add((channel.channel_id, key, mine.header(bytes(channel.extranonce_size), 1, 2, 3)))
    assert len({header for *_, header in headers}) == len(headers), "no two keys have one header"
