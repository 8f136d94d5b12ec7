"""Variable difficulty in a session and its connection: SetTarget, the log, and when they want a tick."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest

from tests.mining.makers import EASY_NBITS, HARD_NBITS
from tests.sv2.pairs import MAX_TARGET, START, Pair, dialect, make_context, make_jobs
from tests.sv2.profiles import profile  # noqa: F401
from tests.sv2.test_server import Miner, messages, only, open_standard, ready_session, update
from warppool.bitcoin.target import DIFF1, target_from_difficulty, target_from_hash_rate, target_from_nbits
from warppool.events import Happened, Now, Send, ShareAccepted, ShareRefused
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.share import Weight
from warppool.sv2.client import SetUp, TargetChanged, WorkReady
from warppool.sv2.messages.mining import CloseChannel, NewExtendedMiningJob, SetTarget, SubmitSharesStandard

ONE = target_from_difficulty(1)
MINIMUM = target_from_difficulty(Fraction(1, 1000))


def later(seconds):
    return Now(START.monotonic + seconds, START.unix + seconds)


def rested(seconds):
    """When a session wants its next tick whose last job went out then and whose difficulties are at rest."""
    return math.inf if dialect().pace is None else later(seconds + dialect().pace.most_s).monotonic


def target_of(message):
    assert isinstance(message, SetTarget)
    return int.from_bytes(message.maximum_target, "little")


def changed(steps):
    """The target that was set, and after it the job again: an active one keeps the target that it had."""
    target, job = messages(steps)
    assert job.channel_id == target.channel_id and job.min_ntime is not None
    return target_of(target)


def changes(steps):
    return [dict(step.fields) for step in steps if isinstance(step, Happened) and step.name == "difficulty.changed"]


def flood(miner, count, value=5, channel=2, first=0, at=START):
    for _ in range(count):
        miner.submit(channel=channel)
    return miner.judged(*(Weight(n.to_bytes(32, "big"), value, False) for n in range(first, first + count)), now=at)


# --- the session ------------------------------------------------------------------------------------------------------

def test_a_flood_brings_a_harder_target_and_its_reason():
    miner = Miner(1, nbits=HARD_NBITS)
    steps = flood(miner, 8, at=later(1))
    assert changed(steps) == ONE >> 5
    (change,) = changes(steps)
    assert change == {"channel": 2, "from": pytest.approx(1.0), "to": pytest.approx(32.0),
                      "reason": "8 shares in 1.0 s"}
    assert all(step.level == "debug" for step in steps if isinstance(step, Happened))


def test_shares_on_jobs_that_are_out_still_count_after_the_change_and_later_ones_have_to_meet_it():
    miner = Miner(1, 1, nbits=HARD_NBITS)
    flood(miner, 8, at=later(1))
    steps = flood(miner, 100, value=ONE, first=100, at=later(2))
    assert sum(isinstance(step, ShareAccepted) for step in steps) == len(steps) == 100
    fresh = miner.jobs[1]
    miner.session.offer(fresh, later(40))
    miner.submit(job=fresh)
    assert only(miner.judged(Weight(b"l" * 32, ONE, False))).error_code == "difficulty-too-low"


def test_a_batch_over_many_channels_changes_those_that_are_due():
    miner = Miner(1, nbits=HARD_NBITS)
    for _ in range(8):
        miner.submit(channel=1), miner.submit(channel=2)
    miner.submit(channel=1)
    weights = [Weight(bytes([n]) * 32, 5, False) for n in range(17)]
    assert changes(miner.judged(*weights[:14])) == []
    assert [change["channel"] for change in changes(miner.judged(*weights[14:]))] == [1, 2]


def test_a_channel_that_closed_meanwhile_hears_of_no_target():
    miner = Miner(1, nbits=HARD_NBITS)
    for _ in range(8):
        miner.submit()
    miner.session.receive(CloseChannel(2, ""), START)
    steps = miner.judged(*(Weight(bytes([n]) * 32, 5, False) for n in range(8)))
    assert messages(steps) == changes(steps) == []
    assert miner.session.tick(later(10)) != []                      # the other one goes on
    miner.session.receive(CloseChannel(1, ""), START)
    assert miner.session.tick(later(1000)) == [] and miner.session.wakes_at == math.inf


def test_silence_brings_easier_targets_until_the_minimum_and_then_no_more_ticks():
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    session = ready_session(job=job)
    assert session.wakes_at == math.inf
    session.receive(open_standard(), START)
    targets = []
    for step in range(1, 4):
        assert session.wakes_at == START.monotonic + 10 * step
        assert session.tick(later(10 * step - 0.1)) == []
        targets.append(changed(session.tick(later(10 * step))))
    assert targets == [ONE << 4, ONE << 8, MINIMUM]
    assert session.tick(later(40)) == []
    assert session.wakes_at == rested(30)


def test_the_earliest_channel_wakes_the_session_but_no_more_than_once_a_second():
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    session = ready_session(job=job)
    for n in range(10):
        session.receive(open_standard(n, rate=1e12 if n == 0 else 0.0), later(n / 10))
    assert session.wakes_at == later(10.1).monotonic                # the first one declared its rate
    assert len(changes(session.tick(later(10.1)))) == 1
    assert session.wakes_at == later(11.1).monotonic
    assert len(changes(session.tick(later(11.1)))) == 8
    assert session.wakes_at == pytest.approx(later(20.1).monotonic)


def whole(target):
    """The target of the next whole difficulty below."""
    return DIFF1 // (DIFF1 // target)


def test_a_declared_rate_that_is_not_so_is_left_behind():
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    session = ready_session(job=job)
    session.receive(open_standard(rate=1e15), START)
    assert session.wakes_at == later(50).monotonic
    declared = whole(target_from_hash_rate(1e15, Fraction(12)))
    assert changed(session.tick(later(50))) == (eased := whole(declared << 4))
    assert changed(session.tick(later(60))) == whole(eased << 4)


def test_an_update_with_a_hash_rate_starts_the_estimate_anew():
    miner = Miner(1, nbits=HARD_NBITS)
    flood(miner, 7)
    steps = miner.session.receive(update(2, rate=1e12), later(5))
    assert changed(steps) == whole(target_from_hash_rate(1e12, Fraction(12)))
    assert changes(steps)[0]["reason"] == "update of the channel"
    assert changes(flood(miner, 7, first=50, at=later(6))) == []
    miner.session.tick(later(10))                                   # channel 1, which declared nothing
    assert changes(miner.session.tick(later(54.9))) != []
    assert [change["channel"] for change in changes(miner.session.tick(later(105)))] == [1, 2]


def test_the_update_s_max_target_holds():
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    session = ready_session(job=job)
    session.receive(open_standard(), START)
    session.receive(update(1, max_target=ONE << 1), START)
    assert changed(session.tick(later(10))) == ONE << 1
    assert session.tick(later(20)) == [] and session.wakes_at == rested(10)
    assert changed(session.receive(update(1, max_target=ONE << 3), later(30))) == ONE << 3
    assert session.wakes_at < math.inf                              # and now it may get easier again


def test_the_networks_target_goes_with_the_tip_and_what_was_wanted_comes_back():
    (hard,) = make_jobs(1, nbits=HARD_NBITS)
    (easy,) = make_jobs(2, nbits=EASY_NBITS)
    (again,) = make_jobs(3, nbits=HARD_NBITS)
    session = ready_session(job=hard)
    session.receive(open_standard(), START)
    steps = session.offer(easy, START)
    assert target_of(messages(steps)[0]) == target_from_nbits(EASY_NBITS)       # before the job that it is for
    assert changes(steps)[0]["reason"] == "network difficulty"
    assert target_of(messages(session.offer(again, START))[0]) == ONE


def test_on_an_easy_network_nothing_gets_harder_whatever_comes():
    miner = Miner(1)
    assert changes(flood(miner, 500)) == []


def test_a_fixed_minimum_never_ticks():
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    policy = DifficultyPolicy(Fraction(1), Fraction(1), Fraction(0), Fraction(12))
    session = ready_session(job=job, context=make_context(policy))
    for n in range(1000):
        session.receive(open_standard(n), START)
    assert session.tick(later(10)) == []
    assert session.wakes_at == rested(0)


# --- the connection ---------------------------------------------------------------------------------------------------

def mining_pair():
    pair = Pair()
    assert pair.talk() == [SetUp(0)]
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    pair.offer(job)
    pair.miner.send(pair.miner.session.open_standard("alice", 0.0, MAX_TARGET))
    *_, ready = pair.talk()
    pair.events.clear()
    return pair, ready.work


def test_a_connection_wants_its_tick_when_its_first_channel_does():
    pair = Pair()
    pair.talk()
    assert pair.server.wakes_at == later(600).monotonic
    pair, _ = mining_pair()
    assert pair.server.wakes_at == later(10).monotonic
    assert pair.server.tick(later(9.9)) == []
    for step in range(1, 4):
        events = pair.server.tick(later(10 * step))
        assert [type(event) for event in events] == [Happened, Send]
    assert pair.server.tick(later(40)) == []
    while pair.server.wakes_at < later(600).monotonic:              # nothing but its own deadline is left, and jobs
        assert pair.server.wakes_at == pytest.approx(rested(pair.now.monotonic - START.monotonic + 30))
        pair.now = later(pair.server.wakes_at - START.monotonic - 30)
        assert [type(event) for event in pair.server.tick(later(pair.server.wakes_at - START.monotonic))] == [Send]
    if dialect().pace is not None:
        return
    assert pair.server.wakes_at == later(600).monotonic
    assert pair.server.tick(later(600)) == []
    assert pair.server.wakes_at == later(1200).monotonic


def test_the_miner_hears_of_its_new_target():
    pair, work = mining_pair()
    pair.deliver(pair.server.tick(later(10)))
    changed_to, again = pair.heard[-2:]
    assert changed_to == TargetChanged(work.channel_id, ONE << 4)
    assert (again.work.target, again.is_new_tip) == (ONE << 4, False)
    assert again.work.job_id == work.job_id + 1 and again.work.merkle_root != work.merkle_root


def test_a_closed_connection_changes_nothing_any_more():
    pair, work = mining_pair()
    pair.miner.send(*(pair.miner.session.submit(work, b"", work.version, work.min_ntime, n) for n in range(8)))
    pair.talk()
    pair.server.closed(START)
    events = pair.server.judged([Weight(bytes([n]) * 32, 5, False) for n in range(8)], START)
    assert [type(event) for event in events] == [ShareAccepted] * 8
    assert pair.server.wakes_at == math.inf


@pytest.mark.parametrize("is_hasty", [False, True])
def test_no_share_of_a_flood_in_flight_is_refused(is_hasty):
    """The machine brings shares two seconds late; the hasty kind follows SetTarget on the job that it has."""
    pair, work = mining_pair()
    target, number, in_flight = ONE, 0, []
    for tick in range(100):
        for _ in range(20):
            value = (number * 7919 % 1000) * (target // 1000)       # any under the target that it mines under
            in_flight.append((number, value, work))
            number += 1
        pair.now = later(tick / 10)
        heard = pair.talk()
        if tick >= 20:
            arrived, in_flight = in_flight[:20], in_flight[20:]
            pair.miner.send(*(pair.miner.session.submit(its, b"", its.version, its.min_ntime, number % 2**32)
                              for number, _, its in arrived))
            pair.talk()
            before = len(pair.heard)
            pair.deliver(pair.server.judged(
                [Weight(number.to_bytes(32, "big"), value, False) for number, value, _ in arrived], pair.now))
            heard = pair.heard[before:]
            pair.record()
        for event in heard:
            if isinstance(event, TargetChanged) and is_hasty:
                target = event.target
            elif isinstance(event, WorkReady) and not is_hasty:
                work, target = event.work, event.work.target
    assert not [event for event in pair.events if isinstance(event, ShareRefused)]
    assert sum(isinstance(event, ShareAccepted) for event in pair.events) == 20 * 80
    assert target < ONE >> 7


def test_the_acknowledged_sum_has_what_is_credited_and_nothing_for_what_meets_an_easier_target_alone():
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    session = ready_session(job=job)
    rate = 1000 * 2**32 * 12 / 60
    opened, first, _ = messages(session.receive(open_standard(rate=rate), START))
    hard = int.from_bytes(opened.target, "little")
    assert messages(session.receive(update(channel_id=1, rate=rate / 100), START))
    values = [hard, hard + 1, hard * 2, hard]
    for number, _ in enumerate(values):
        session.receive(SubmitSharesStandard(1, number, first.job_id, number, job.ntime, job.version), START)
    steps = session.judged([Weight(bytes([number]) * 32, value, False) for number, value in enumerate(values)], START)
    ids = [step.share_id for step in steps if isinstance(step, ShareAccepted)]
    success = only(session.recorded(ids))
    assert (success.new_submits_accepted_count, success.new_shares_sum) == (4, 2 * 999)


def test_a_job_given_again_makes_other_headers_and_is_judged_by_its_own_target():
    miner = Miner(1, nbits=HARD_NBITS)
    _, again = messages(flood(miner, 8, channel=1, at=later(1)))
    first, = miner.submit(channel=1, nonce=7)
    second, = miner.submit(channel=1, nonce=7, job_id=again.job_id, ntime=again.min_ntime)
    assert first.header != second.header
    easy = Weight(b"e" * 32, ONE, False)
    accepted, error, _ = miner.judged(easy, easy)
    assert accepted.difficulty == pytest.approx(1.0) and accepted.job_id == miner.jobs[0].job_id
    assert error.error_code == "difficulty-too-low"
    miner.submit(channel=1, job_id=again.job_id, ntime=again.min_ntime)
    (credited,) = miner.judged(Weight(b"h" * 32, ONE >> 5, False))
    assert credited.difficulty == pytest.approx(32.0) and credited.job_id == miner.jobs[0].job_id


def test_an_extended_job_given_again_differs_in_its_id_and_its_counter_alone():
    miner = Miner(1, 1, nbits=HARD_NBITS)
    fresh = miner.jobs[1]
    *_, given = (m for m in messages(miner.session.offer(fresh, later(40))) if isinstance(m, NewExtendedMiningJob))
    _, again = messages(miner.session.receive(update(2, rate=1e15), later(50)))
    head, other = given.coinbase_tx_prefix, again.coinbase_tx_prefix
    assert (given.channel_id, again.channel_id) == (miner.session._channels[2].channel.group_id or 2, 2)
    assert replace(again, job_id=given.job_id, coinbase_tx_prefix=head) == replace(given, channel_id=2)
    assert (again.job_id, other[:-4]) == (given.job_id + 1, head[:-4])
    assert head[-4:] == fresh.counter.to_bytes(4, "big") and other[-4] & 0x80 and not head[-4] & 0x80


def test_keys_count_up_over_all_channels_of_a_connection():
    miner = Miner(1, 1, nbits=HARD_NBITS)
    given = [messages(miner.session.receive(update(2, rate=rate), START))[1] for rate in (1e12, 1e13, 1e14)]
    assert [job.job_id for job in given] == [3, 4, 5]               # each of the two channels has had one
    assert [m.job_id for m in messages(miner.session.offer(miner.jobs[1], later(40)))] == [6, 7]
    assert len({job.coinbase_tx_prefix for job in given}) == 3


def test_a_job_given_again_holds_its_shares_to_the_header_time_it_came_with():
    """What was announced as min_ntime is what shares are refused by (docs/sv2-wire.rst#share-checks)."""
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    session = ready_session(job=job)
    session.receive(open_standard(), START)
    _, again = messages(session.receive(update(rate=1e15), later(20)))
    assert again.min_ntime == job.ntime         # no clock of ours takes part: the job's time is the node's
    for ntime, code in ((again.min_ntime - 1, "invalid-share"), (again.min_ntime, None)):
        session.receive(SubmitSharesStandard(1, ntime, again.job_id, 0, ntime, again.version), later(20))
        answer, *_ = session.judged([Weight(b"a" * 32, 5, False)], later(20))
        assert getattr(answer, "error_code", None) == code
