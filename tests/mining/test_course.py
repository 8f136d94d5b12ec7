"""The course of a channel, and what both protocols make of it: the same keys, counters, targets and credits."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.mining.makers import HARD_NBITS, NTIME, make_channel, make_counters, make_factory, make_template, make_tip
from warppool.bitcoin.target import MAX_TARGET, target_from_difficulty, target_from_nbits
from warppool.events import Happened, Now
from warppool.mining.channeljob import credit
from warppool.mining.counter import ASSIGNED_AGAIN
from warppool.mining.course import CONFIGURATION, NETWORK, Course, NewJob, NewTarget
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.share import Reject, Weight
from warppool.mining.throttle import FLOOD
from warppool.mining.validator import ShareValidator, Submission
from warppool.sv1.jobs import ENCODING, ChangeEncoder, encoder
from warppool.sv1.words import difficulty_text
from warppool.sv2.frame import FrameReader
from warppool.sv2.jobs import EncodedJob, encode_changes
from warppool.sv2.messages.mining import NewExtendedMiningJob, SetNewPrevHash, SetTarget
from warppool.sv2.profile import WARP, Subprotocol

POLICY = DifficultyPolicy(Fraction(64), Fraction(1, 1000), Fraction(0), Fraction(12), Fraction(600))
START = Now(1000.0, float(NTIME + 100))
LADDER = [target_from_difficulty(difficulty) for difficulty in (1, 16, 64, 1024, 65536)]
NBITS = (HARD_NBITS, 0x1C00FFFF)        # of which the second is as easy as a difficulty of 256


def make_course(policy=POLICY, target=LADDER[2]):
    """A course with one channel that is measured, and has no job yet."""
    course, channel = Course(7, policy, make_counters()), make_channel(target=target)
    course.begin(channel, START)
    course.measure(channel, target, START)
    channel.set_target(course.granted(channel))
    return course, channel


def make_jobs():
    return make_factory({ENCODING: encoder(8), WARP.name: lambda job: EncodedJob(WARP, job)})


class Told:
    """One protocol's machine: what it was told, by key, as (key, counter, target, whether it drops what it has)."""

    protocol = ""

    def __init__(self):
        self.course, self.channel = make_course()
        self.validator = ShareValidator(7, self.protocol)
        self.target = self.channel.target
        self.jobs = []
        self.lines = []
        self.unrecorded = []

    def hear(self, changes):
        self.lines += [change for change in changes if isinstance(change, Happened)]
        self.read(changes)


class ToldByV1(Told):
    protocol = "sv1"

    def __init__(self):
        super().__init__()
        self.encoder = ChangeEncoder()

    def read(self, changes):
        for change in changes:
            for line in self.encoder.encode([change]):
                if isinstance(line, bytes):
                    self.read_line(json.loads(line, parse_float=str), change.job.target)

    def read_line(self, message, target):
        if message["method"] == "mining.set_difficulty":
            assert str(message["params"][0]) == difficulty_text(target)
            self.target = target
        else:
            key, _, head, *_, is_clean = message["params"]
            self.jobs.append((int(key, 16), int(head[-8:], 16), self.target, is_clean))


class ToldByV2(Told):
    protocol = "sv2"

    def read(self, changes):
        steps = []
        encode_changes(WARP, changes, steps)
        frames = b"".join(step if isinstance(step, bytes) else WARP.encode(step) for step in steps
                          if not isinstance(step, Happened))
        for frame in FrameReader(1 << 20).feed(frames):
            message = WARP.decode(Subprotocol.MINING, frame)
            if isinstance(message, SetTarget):
                self.target = int.from_bytes(message.maximum_target, "little")
            elif isinstance(message, NewExtendedMiningJob):
                counter = int.from_bytes(message.coinbase_tx_prefix[-4:], "big")
                self.jobs.append((message.job_id, counter, self.target, message.min_ntime is None))
            else:
                assert isinstance(message, SetNewPrevHash) and message.job_id == self.jobs[-1][0]


def submit(told, key, share_hash, value, now):
    """(whether it is found, why it is refused, what it is credited with)."""
    mine = told.channel.find(key)
    if mine is None:
        return False, None, None
    told.validator.submit(Submission(told.channel, mine, "alice", bytes(8), mine.job.version, 0, mine.ntime, mine.ntime,
                                     bytes(80)))
    weight = Weight(share_hash, value, False)
    (share,) = told.validator.judged([weight], now)
    if share.accepted is None:
        return True, share.reject, None
    assert share.accepted.difficulty == credit(weight, mine)
    told.unrecorded.append(share.accepted.share_id)
    return True, None, share.accepted._replace(protocol="")


def record(told, how):
    """The ledger's word on all that waits: how many shares are answered, and how many hashes stay remembered."""
    ids, told.unrecorded = told.unrecorded, []
    answered = getattr(told.validator, how)(ids)
    assert told.validator.in_flight == 0
    return len(answered), [share.reject for share in answered], told.channel.remembered


STEPS = st.one_of(
    st.tuples(st.just("offer"), st.integers(1, 3), st.sampled_from(NBITS)),
    st.tuples(st.just("ask"), st.sampled_from(LADDER), st.booleans()),
    st.tuples(st.just("bound"), st.sampled_from(LADDER), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 11.0, 70.0, 400.0]), st.none()),
    st.tuples(st.just("again"), st.none(), st.none()),
    st.tuples(st.just("record"), st.sampled_from(["recorded", "not_recorded", "given_up"]), st.none()),
    st.tuples(st.just("shares"), st.integers(1, 700), st.sampled_from([*LADDER, LADDER[0] * 4])))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
@example([("offer", 1, NBITS[-1]), ("shares", 600, LADDER[0] * 4)]).via("two changes in one review")
def test_both_protocols_tell_the_same_of_any_history(steps):
    both, factory, now, number = (ToldByV1(), ToldByV2()), make_jobs(), START, 0
    for step, one, other in steps:
        job = factory.make(make_template(make_tip(one, other)), now.unix) if step == "offer" else None
        if step == "wait":
            now = Now(now.monotonic + one, now.unix + one)
        for told in both:
            course, channel = told.course, told.channel
            if step == "offer":
                course.job = job
                told.hear(course.assign(channel))
            elif step == "ask":
                course.measure(channel, one, now, is_declared=other)
                told.hear(course.regrant(channel, "asked"))
            elif step == "bound":
                channel.max_target = one
                told.hear(course.regrant(channel, "bound"))
            elif step == "again":
                told.hear(course.assign_again(channel))
            elif step == "wait":
                told.hear(course.review(channel, now))
        if step == "record":
            assert record(both[0], one) == record(both[1], one)
        if step == "shares":
            keys = [key for key, *_ in both[0].jobs[-4:]]
            for _ in range(one if keys else 0):
                number += 1
                key, share_hash = keys[number % len(keys)], number.to_bytes(32, "big")
                first, second = (submit(told, key, share_hash, other, now) for told in both)
                assert first == second
            for told in both:
                for channel in told.validator.due or ():
                    told.hear(told.course.review(channel, now))
                told.validator.due = None
        first, second = both
        # A V1 machine's first job is clean, whatever its tip. V2 has no word for a clean job on the tip that it knows.
        assert [job[:3] for job in first.jobs] == [job[:3] for job in second.jobs]
        assert all(v1 or not v2 for (*_, v1), (*_, v2) in zip(first.jobs, second.jobs, strict=True))
        assert first.lines == second.lines and first.channel.target == second.channel.target
    for key, counter, target, _ in both[0].jobs[-2:]:
        mine = both[0].channel.find(key)
        assert mine is None or (mine.assignment.counter, mine.target) == (counter, target)


def test_a_change_of_the_target_brings_the_job_again_under_a_key_and_counter_of_its_own():
    course, channel = make_course()
    course.job = make_jobs().make(make_template(), START.unix)
    (first,) = course.assign(channel)
    course.measure(channel, LADDER[3], START)
    target, line, again = course.regrant(channel, "asked")
    assert target == NewTarget(channel, LADDER[3]) and line.fields[-1] == ("reason", "asked")
    assert not again.is_new_tip and not again.is_clean and again.job.job is first.job.job
    assert again.job.assignment.key == first.job.assignment.key + 1
    assert again.job.assignment.counter & ASSIGNED_AGAIN and not first.job.assignment.counter & ASSIGNED_AGAIN
    assert (first.job.target, again.job.target) == (LADDER[2], LADDER[3])
    assert course.regrant(channel, "asked") == []


def test_a_tip_with_other_nbits_changes_the_target_before_its_job():
    course, channel = make_course(target=LADDER[3])
    factory = make_jobs()
    course.job = factory.make(make_template(make_tip(1)), START.unix)
    course.assign(channel)
    course.job = factory.make(make_template(make_tip(2, NBITS[1])), START.unix)
    target, line, job = course.assign(channel)
    assert target.target == target_from_nbits(NBITS[1]) and dict(line.fields)["reason"] == NETWORK
    assert isinstance(job, NewJob) and job.is_new_tip and job.job.target == target.target


def test_a_closed_channel_and_one_without_a_job_get_nothing():
    course, channel = make_course()
    assert course.assign(channel) == course.assign_again(channel) == []
    assert course.review(channel, Now(1e6, START.unix)) == [], "silence without a job says nothing"
    course.job = make_jobs().make(make_template(), START.unix)
    channel.is_open = False
    assert course.assign(channel) == course.assign_again(channel) == course.review(channel, Now(1e6, 1e9)) == []
    course.measure(channel, LADDER[4], START)
    assert [type(change) for change in course.regrant(channel, "asked")] == [NewTarget, Happened], "and no job"


def test_a_fixed_difficulty_stands_where_its_machine_put_it():
    course, channel = make_course()
    course.job = make_jobs().make(make_template(), START.unix)
    course.measure(channel, LADDER[1], START, easiest=LADDER[3], is_fixed=True)
    assert course.granted(channel) == LADDER[3] and channel.vardiff is None
    course.regrant(channel, "asked")
    assert course.review(channel, Now(1e6, START.unix)) == []


@pytest.mark.parametrize("is_fixed", [False, True])
def test_a_flood_makes_the_channel_harder_and_its_machine_drops_what_it_has(is_fixed):
    course, channel = make_course()
    course.job = make_jobs().make(make_template(), START.unix)
    course.measure(channel, LADDER[0], START, is_fixed=is_fixed)
    course.regrant(channel, "asked")
    for _ in range(600):
        channel.throttle.shared(1.0)
    _, line, job, *_ = course.review(channel, Now(START.monotonic + 1.0, START.unix))
    assert dict(line.fields)["reason"] == FLOOD and job.is_clean and job.job.target < LADDER[0]
    mine = channel.find(job.job.assignment.key - 1)
    later = Now(START.monotonic + 40.0, START.unix)
    assert channel.judge(Weight(b"a" * 32, LADDER[0], False), mine, min_ntime=0, ntime=mine.ntime,
                         version=mine.job.version, mask=0, now=later) is Reject.DIFFICULTY_TOO_LOW
    assert channel.target <= MAX_TARGET


# --- another policy ---------------------------------------------------------------------------------------------------

def policy_of(*, start=64, least=Fraction(1, 1000), most=0, shares=12, bound=600):
    return DifficultyPolicy(Fraction(start), Fraction(least), Fraction(most), Fraction(shares), Fraction(bound))


def configured(course, channel, **numbers):
    """The course's policy gets other numbers, and the next job comes: what follows from both."""
    course.policy.follow(policy_of(**numbers))
    course.job = make_jobs().make(make_template(make_tip()), NTIME)
    return course.assign(channel)


@pytest.mark.parametrize("fixed", [False, True])
def test_other_bounds_count_for_a_channel_with_its_next_job(fixed):
    policy = policy_of()
    course, channel = make_course(policy)
    if fixed:
        course.measure(channel, LADDER[2], START, is_fixed=True)
    course.job = make_jobs().make(make_template(make_tip()), NTIME)
    course.assign(channel)
    target, said, job = configured(course, channel, least=1024)
    assert target == NewTarget(channel, LADDER[3]) and dict(said.fields)["reason"] == CONFIGURATION
    assert isinstance(job, NewJob) and job.job.target == LADDER[3]
    assert [type(change) for change in configured(course, channel, least=1024)] == [NewJob], "once"
    assert configured(course, channel, most=16)[0] == NewTarget(channel, LADDER[1])
    assert configured(course, channel)[0] == NewTarget(channel, LADDER[2]), "what it has found is not forgotten"


def test_a_share_on_a_job_from_before_is_worth_what_it_was_given_out_for():
    course, channel = make_course(policy_of())
    (before,) = configured(course, channel)
    after = configured(course, channel, least=65536)[-1]
    assert (before.job.target, after.job.target) == (LADDER[2], LADDER[4])
    assert credit(Weight(b"", LADDER[2], False), before.job) == 64


def test_the_limit_on_shares_counts_for_channels_that_are_there():
    course, channel = make_course(policy_of(bound=0))
    assert channel.throttle is None
    configured(course, channel, bound=60)
    channel.accepted_at = START.monotonic
    assert [channel.throttle.shared(1.0) for _ in range(60)] == [False] * 59 + [True]
    configured(course, channel, bound=6)
    assert channel.throttle.shared(1.0), "more than six have come already: it is asked with the next"
    throttle = channel.throttle
    configured(course, channel, bound=600)
    assert channel.throttle is throttle and not throttle.shared(1.0)
    configured(course, channel, bound=0)
    assert channel.throttle is None and channel.ceiling == MAX_TARGET


def test_the_wanted_shares_a_minute_count_at_once():
    course, channel = make_course(policy_of(shares=12))
    configured(course, channel)
    for _ in range(12):
        channel.vardiff.shared(channel.target)
    course.policy.follow(policy_of(shares=6000))
    later = Now(START.monotonic + 60, START.unix + 60)
    assert any(isinstance(change, NewTarget) and change.target > LADDER[2] for change in course.review(channel, later))
