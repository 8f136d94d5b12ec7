"""The pace at which jobs and targets come in a profile that has one; what groups are is in test_groups.py."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sv2.pairs import MAX_TARGET, START, make_context
from tests.sv2.profiles import in_spec  # noqa: F401
from tests.sv2.test_groups import EXTENDED, LEAST, MOST, ONE, SETTLING, Peer, jobs_of, kinds, later
from warppool.mining.counter import ASSIGNED_AGAIN
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.group import GROUP_IDS
from warppool.mining.share import Weight
from warppool.sv2.messages.mining import (
    CloseChannel,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
)
from warppool.sv2.server import REQUIRES_STANDARD_JOBS


def busy(peer, channel_id, job_id, count, at, value=ONE):
    """So many shares at once, each just as hard as a difficulty of 1: what is heard of them."""
    weights = []
    for number in range(count):
        peer.submit(channel_id, job_id, number)
        peer.shares += 1
        weights.append(Weight(peer.shares.to_bytes(32, "big"), value, False))
    return peer.hear(peer.session.judged(weights, later(at)))


def settled(size=8, flags=0):
    """A machine that has mined for longer than it takes to settle, as fast as its pool wants it, and its newest job."""
    peer = Peer(flags)
    peer.open(size, max_target=ONE)
    at, job = 0.0, None
    while at <= SETTLING:
        at += LEAST
        (job,) = jobs_of(peer.offer(1, at))
        assert busy(peer, 1, job.job_id, 6, at, value=ONE) == []
    return peer, at, job


def test_the_newest_job_comes_at_most_once_in_30_s_on_one_tip():
    peer = Peer()
    peer.open(max_target=ONE)
    times = [0.0]
    for second in range(1, 200):
        times += [second] * len(jobs_of(peer.offer(1, second) + peer.tick(second)))
    assert times == [LEAST * number for number in range(7)]


@pytest.mark.parametrize("flags", [0, REQUIRES_STANDARD_JOBS])
def test_a_job_comes_at_least_once_in_60_s_though_no_newer_one_is_there(flags):
    peer = Peer(flags)
    peer.open(0, max_target=ONE)
    times, counters = [0.0], set()
    for second in range(1, 400):
        for job in jobs_of(peer.tick(second)):
            times.append(second)
            counters.add(job.merkle_root if flags else job.coinbase_tx_prefix[-4:])
    gaps = [after - before for before, after in pairwise(times)]
    assert len(times) == 7 and max(gaps) <= 60 and min(gaps) >= LEAST
    assert len(counters) == 6, "each is another search space"


def test_a_tip_comes_at_once_however_soon():
    peer = Peer()
    peer.open()
    for tip in (2, 3, 2, 4):
        assert kinds(peer.offer(tip, at=1)) == [("NewExtendedMiningJob", EXTENDED), ("SetNewPrevHash", EXTENDED)]
    assert jobs_of(peer.offer(4, at=2)) == []


def test_a_job_that_was_held_back_has_a_counter_that_nobody_has_seen_and_is_the_newest():
    peer = Peer()
    peer.open(max_target=ONE)
    held = []
    for at in (1, 5, 29):
        assert peer.offer(1, at) == []
        held.append(peer.latest)
    assert peer.tick(10) == [] and peer.session.wakes_at == later(LEAST).monotonic
    (job,) = jobs_of(peer.tick(LEAST))
    counter = int.from_bytes(job.coinbase_tx_prefix[-4:], "big")
    assert counter & ASSIGNED_AGAIN and counter not in {each.counter for each in held}
    assert job.merkle_path == held[-1].merkle_path and job.min_ntime == held[-1].ntime
    assert jobs_of(peer.tick(LEAST + 20)) == [], "it was the newest"


def test_a_change_of_the_target_waits_for_the_next_job_and_stands_right_before_it():
    peer, at, job = settled()
    assert busy(peer, 1, job.job_id, 90, at + 5, value=5) == [], "not in the midst of a job"
    assert peer.tick(at + 15) == []
    target, job = peer.offer(1, at + LEAST)
    assert kinds([target, job]) == [("SetTarget", 1), ("NewExtendedMiningJob", EXTENDED)]
    harder = int.from_bytes(target.maximum_target, "little")
    assert harder < ONE
    peer.submit(1, job.job_id)
    assert peer.judge(harder + 1, at + 31) == "difficulty-too-low"
    peer.submit(1, job.job_id)
    assert peer.judge(harder, at + 31) == pytest.approx(float(ONE // harder), rel=0.01)


def test_silence_too_eases_the_target_with_the_next_job():
    peer, at, _ = settled()
    peer.update(1, at, max_target=MAX_TARGET)
    heard = [(second, kinds(peer.tick(at + second))) for second in range(1, 200)]
    heard = [(second, said) for second, said in heard if said]
    assert all(said[-1] == ("NewExtendedMiningJob", EXTENDED) for _, said in heard)
    assert any(said[0] == ("SetTarget", 1) for _, said in heard)
    assert min(after - before for (before, _), (after, _) in pairwise(heard)) >= LEAST


def test_a_tip_brings_the_change_that_waits():
    peer, at, job = settled()
    busy(peer, 1, job.job_id, 90, at + 5, value=5)
    assert kinds(peer.offer(2, at + 6)) == [
        ("SetTarget", 1), ("NewExtendedMiningJob", EXTENDED), ("SetNewPrevHash", EXTENDED)]


def test_while_a_channel_settles_another_target_comes_at_once_with_a_job_of_the_channel():
    peer = Peer()
    *_, job, _ = peer.open()
    assert kinds(busy(peer, 1, job.job_id, 8, 1, value=5)) == [("SetTarget", 1), ("NewExtendedMiningJob", 1)]
    assert kinds(peer.tick(12)) == []
    assert kinds(peer.tick(90)) == [("SetTarget", 1), ("NewExtendedMiningJob", EXTENDED)], "it goes with what is due"


def test_what_a_machine_asks_for_comes_at_once():
    peer, at, _ = settled()
    assert kinds(peer.update(1, at + 1, rate=1e15)) == [("SetTarget", 1), ("NewExtendedMiningJob", 1)]
    assert jobs_of(peer.offer(1, at + LEAST)) == [], "it has had a job a moment ago"
    assert kinds(jobs_of(peer.tick(at + 1 + LEAST))) == [("NewExtendedMiningJob", EXTENDED)]


def test_of_two_channels_the_one_that_asks_keeps_no_job_from_the_other():
    peer = Peer()
    peer.open(max_target=ONE), peer.open(max_target=ONE)
    peer.update(1, 20, rate=1e15)
    assert kinds(jobs_of(peer.offer(1, LEAST))) == [("NewExtendedMiningJob", EXTENDED)]


BOUNDED = DifficultyPolicy(Fraction(1), Fraction(1), Fraction(1), Fraction(12), Fraction(60))
"""No difficulty but 1, and at most 60 shares a minute."""


def test_a_flood_does_not_wait():
    peer = Peer(context=make_context(BOUNDED))
    peer.open()
    for at in range(30, 180, 30):
        (job,) = jobs_of(peer.offer(1, at))
    assert busy(peer, 1, job.job_id, 60, 151) == [], "no more than a minute may bring"
    heard = busy(peer, 1, job.job_id, 60, 151.5)
    assert kinds(heard) == [("SetTarget", 1), ("NewExtendedMiningJob", 1)]
    easier = int.from_bytes(heard[0].maximum_target, "little")
    peer.submit(1, job.job_id, 1000)
    assert peer.judge(easier + 1, 152, b"a" * 32) == pytest.approx(1.0), "a key of the group from before has 30 s"
    peer.submit(1, job.job_id, 1001)
    assert peer.judge(easier + 1, 190, b"b" * 32) == "difficulty-too-low"


def test_a_ceiling_that_rises_again_waits_for_the_next_job():
    peer = Peer(context=make_context(BOUNDED))
    *_, job, _ = peer.open()
    assert kinds(busy(peer, 1, job.job_id, 60, 1)) == [("SetTarget", 1), ("NewExtendedMiningJob", 1)]
    assert kinds(peer.tick(31)) == []
    heard = [kinds(peer.tick(at)) for at in range(121, 600)]
    raised = [said for said in heard if ("SetTarget", 1) in said]
    assert raised and all(said == [("SetTarget", 1), ("NewExtendedMiningJob", EXTENDED)] for said in raised)


def test_a_job_that_comes_twice_has_the_counter_of_all_once():
    peer = Peer()
    peer.open(max_target=ONE)
    job = peer.job()
    (first,) = peer.hear(peer.session.offer(job, later(LEAST)))
    (again,) = peer.hear(peer.session.offer(job, later(3 * LEAST)))
    counters = [int.from_bytes(each.coinbase_tx_prefix[-4:], "big") for each in (first, again)]
    assert counters[0] == job.counter and counters[1] & ASSIGNED_AGAIN


@pytest.mark.parametrize(("size", "flags"), [(8, 0), (0, 0), (0, REQUIRES_STANDARD_JOBS)])
def test_other_bounds_of_the_operator_come_with_the_next_job(size, flags):
    policy = DifficultyPolicy(Fraction(1), Fraction(1, 100), Fraction(0), Fraction(12))
    peer = Peer(flags, make_context(policy))
    peer.open(size, rate=1e9)                       # no review is due before its next job
    policy.follow(DifficultyPolicy(Fraction(64), Fraction(64), Fraction(0), Fraction(12)))
    assert peer.offer(1, 5) == []
    target, job = peer.tick(LEAST)
    assert isinstance(target, SetTarget) and int.from_bytes(target.maximum_target, "little") <= ONE // 64
    peer.submit(1, job.job_id, size=size)
    assert peer.judge(ONE // 64 + 1, LEAST) == "difficulty-too-low"


def test_a_job_that_is_held_back_wakes_the_session_in_time():
    peer = Peer(context=make_context(DifficultyPolicy(Fraction(1), Fraction(1), Fraction(0), Fraction(1, 10))))
    peer.open(rate=1e12)
    assert peer.session.wakes_at == later(MOST).monotonic
    assert peer.offer(1, 5) == [] and peer.session.wakes_at == later(LEAST).monotonic


def test_a_session_without_channels_sleeps():
    peer = Peer()
    peer.open()
    assert peer.session.wakes_at < math.inf
    peer.session.receive(CloseChannel(1, ""), later(2))
    peer.offer(1, 40)
    assert peer.tick(100) == [] and peer.session.wakes_at == math.inf


def test_a_session_wakes_for_its_jobs_where_no_review_is_due():
    peer = Peer(context=make_context(DifficultyPolicy(Fraction(1), Fraction(1), Fraction(0), Fraction(1, 10))))
    peer.open(rate=1e12)
    assert peer.session.wakes_at == later(MOST).monotonic
    assert kinds(peer.tick(MOST)) == [("NewExtendedMiningJob", EXTENDED)]
    assert peer.session.wakes_at == later(2 * MOST).monotonic
    peer.offer(2, MOST + 1)
    assert peer.session.wakes_at == later(2 * MOST).monotonic, "one that is too early does no harm"
    assert peer.tick(2 * MOST) == [] and peer.session.wakes_at == later(2 * MOST + 1).monotonic


# --- any history ------------------------------------------------------------------------------------------------------


HAPPENINGS = st.one_of(
    st.tuples(st.just("open"), st.sampled_from([0, 8, 8, 12])), st.tuples(st.just("close"), st.integers(0, 5)),
    st.tuples(st.just("update"), st.integers(0, 5)), st.tuples(st.just("shares"), st.integers(0, 5)),
    st.tuples(st.just("job"), st.just(0)), st.tuples(st.just("tip"), st.integers(1, 3)),
    st.tuples(st.just("wait"), st.sampled_from([1, 7, 29, 31, 60])))


class Ear:
    """What the machines of a session hear, second by second, and whether that is as it should be."""

    def __init__(self, flags, most_open, job_every) -> None:
        self.peer = Peer(flags)
        self.flags, self.most_open, self.job_every = flags, most_open, job_every
        self.now, self.last_id, self.tip = 0, 0, 1
        self.groups = {}                        # by the ids of open channels: those of their groups
        self.heard_at = {}                      # by the same: when their last job came
        self.newest = {}                        # by the same: that job's id

    def hear(self, heard, *, is_asked=False):
        """`is_asked` says that a job for one channel alone may come."""
        expects = []                            # ids whose job has to follow their target
        jobs = jobs_of(heard)
        for message in heard:
            if isinstance(message, (OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess)):
                self.groups[message.channel_id] = message.group_channel_id
                assert (message.group_channel_id == 0) == bool(self.flags)
            elif isinstance(message, SetTarget):
                expects.append(message.channel_id)
            elif message in jobs:
                assert message.job_id == self.last_id + 1, "ids rise by one"
                self.last_id = message.job_id
                ids = [each for each, group in self.groups.items() if message.channel_id in (each, group)]
                assert ids and (is_asked or self.flags or message.channel_id >= GROUP_IDS)
                for each in ids:
                    self.heard_at[each] = self.now
                    self.newest[each] = message.job_id
                expects = [each for each in expects if each not in ids]
            elif isinstance(message, SetNewPrevHash):
                assert message.job_id in self.newest.values() and message.job_id == self.last_id
            else:
                assert isinstance(message, (CloseChannel, SubmitSharesError)), "never SetGroupChannel"
        assert expects == [], "a target counts for the job behind it"

    def pass_time(self, seconds):
        for _ in range(seconds):
            self.now += 1
            if self.now % self.job_every == 0:
                self.hear(self.peer.offer(self.tip, self.now))
            before = dict(self.heard_at)
            is_settling = any(self.now - began < SETTLING for began in self.began().values())
            heard = self.peer.tick(self.now)
            self.hear(heard, is_asked=is_settling)
            if len(self.groups) == 1 and not is_settling and jobs_of(heard):
                assert self.now - next(iter(before.values())) >= LEAST
            assert all(self.now - at <= 60 for each, at in self.heard_at.items() if each in self.groups)

    def began(self):
        return {number: each.channel.began_at - START.monotonic
                for number, each in self.peer.session._channels.items()}

    def happen(self, what, which):
        ids, peer = list(self.groups), self.peer
        if what == "open" and len(ids) < self.most_open:
            self.hear(peer.open(0 if self.flags else which, self.now), is_asked=True)
        elif what == "wait":
            self.pass_time(which)
        elif what in ("job", "tip"):
            self.tip = which or self.tip
            heard = peer.offer(self.tip, self.now)
            self.hear(heard)
            assert not which or len({message.channel_id for message in jobs_of(heard)}) in (
                0, len(set(self.groups.values())), len(ids) * bool(self.flags)), "one a group"
        elif ids:
            each = ids[which % len(ids)]
            if what == "close":
                self.peer.session.receive(CloseChannel(each, ""), later(self.now))
                del self.groups[each], self.heard_at[each], self.newest[each]
            elif what == "update":
                self.hear(peer.update(each, self.now, rate=(1e12, 1e15, 0.0)[which % 3]), is_asked=True)
            else:
                size = peer.session._channels[each].channel.extranonce_size
                for number in range(9):
                    assert peer.submit(each, self.newest[each], number, size=size) is not None
                    peer.shares += 1
                    self.hear(peer.hear(peer.session.judged(
                        [Weight(peer.shares.to_bytes(32, "big"), 5, False)], later(self.now))), is_asked=True)


@settings(max_examples=40, deadline=None)
@given(flags=st.sampled_from([0, 0, REQUIRES_STANDARD_JOBS]), most_open=st.sampled_from([1, 5]),
       job_every=st.sampled_from([9, 30, 1000]), happenings=st.lists(HAPPENINGS, max_size=25))
def test_whatever_happens_jobs_keep_their_pace_and_their_order(flags, most_open, job_every, happenings):
    ear = Ear(flags, most_open, job_every)
    for what, which in happenings:
        ear.happen(what, which)
    ear.pass_time(130)
