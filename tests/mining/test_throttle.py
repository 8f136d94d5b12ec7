import math
from fractions import Fraction
from random import Random

import pytest

from tests.mining.makers import make_channel, make_counters, make_factory, make_template
from warppool.bitcoin.target import DIFF1, MAX_TARGET, target_from_difficulty
from warppool.events import Now
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.share import Reject, Weight
from warppool.mining.throttle import GRACE_S, REVIEW_S, Throttle

PER_MINUTE = 600
EASY = 1 << 250


def run(throttle, rate, seconds, target=EASY, wish=EASY, start=0.0, step_s=0.1, dice=None):
    """A machine that would find `rate` shares a second at EASY: (shares that count, the target at the end)."""
    dice, now, shares = dice or Random(1), start, 0
    for _ in range(round(seconds / step_s)):
        now += step_s
        expected = rate * target / EASY * step_s
        count = int(expected) + (dice.random() < expected % 1)
        shares += count
        is_due = [throttle.shared(DIFF1 / target) for _ in range(count)]
        if any(is_due) or now >= throttle.wakes_at:
            throttle.review(target, now)
            target = min(wish, throttle.ceiling)
    return shares, target


@pytest.mark.parametrize("rate", [4000.0, 300.0, 40.0])
def test_a_flood_is_brought_down_to_the_bound_and_stays_there(rate):
    throttle = Throttle(PER_MINUTE, 0.0)
    _, target = run(throttle, rate, 120)
    shares, after = run(throttle, rate, 600, target, start=120.0)
    assert shares <= 10 * PER_MINUTE and after < EASY


def test_who_stays_below_the_bound_is_never_touched():
    throttle = Throttle(PER_MINUTE, 0.0)
    assert run(throttle, 8.0, 3 * 3600)[1] == EASY
    assert throttle.ceiling == MAX_TARGET and throttle.wakes_at == math.inf


def test_a_burst_that_was_held_back_costs_minutes_and_not_hours():
    throttle = Throttle(PER_MINUTE, 0.0)
    assert [throttle.shared(DIFF1 / EASY) for _ in range(PER_MINUTE + 200)].count(True) == 1
    assert throttle.review(EASY, 1.0) and throttle.ceiling == EASY >> 4
    _, target = run(throttle, 1.0, 3 * REVIEW_S, EASY >> 4, start=1.0)
    assert target == EASY


@pytest.mark.parametrize("own", [EASY >> 2, EASY >> 30])
def test_a_flood_under_an_easier_target_than_the_channels_is_measured_by_that_one(own):
    throttle = Throttle(PER_MINUTE, 0.0)
    for _ in range(PER_MINUTE):
        throttle.shared(DIFF1 / EASY)
    assert throttle.review(own, 1.0) and throttle.ceiling == EASY >> 4
    for _ in range(PER_MINUTE):                         # in the time of grace: no reason to fall again, or to rise
        throttle.shared(DIFF1 / EASY)
    assert not throttle.review(own, 2.0) and throttle.ceiling == EASY >> 4


def test_a_flood_on_an_old_key_raises_no_ceiling_that_later_ones_have_lowered():
    throttle = Throttle(PER_MINUTE, 0.0)
    for now, target in ((1.0, EASY), (2.0, EASY >> 4), (3.0, EASY)):
        for _ in range(PER_MINUTE):
            throttle.shared(DIFF1 / target)
        throttle.review(min(EASY, throttle.ceiling), now)
    assert throttle.ceiling == EASY >> 8


def test_a_flood_that_is_credited_nothing_is_a_flood():
    """Shares on a hard key, after the channel got easier: hardly one meets its key's own target."""
    throttle = Throttle(PER_MINUTE, 0.0)
    for _ in range(PER_MINUTE):
        throttle.shared(0.0)
    assert throttle.review(EASY, 1.0) and throttle.ceiling == EASY >> 4


def test_where_the_machine_itself_got_harder_the_throttle_lets_go():
    throttle = Throttle(PER_MINUTE, 0.0)
    for _ in range(PER_MINUTE):
        throttle.shared(DIFF1 / EASY)
    assert throttle.review(EASY, 1.0)
    assert throttle.wakes_at == 1.0 + REVIEW_S
    assert throttle.review(EASY >> 10, 1.0 + REVIEW_S) and throttle.ceiling == MAX_TARGET
    assert throttle.wakes_at == math.inf


def test_the_ceiling_wins_over_the_operators_maximum_and_never_over_the_network():
    policy = DifficultyPolicy(Fraction(1), Fraction(1, 1000), Fraction(16), Fraction(12))
    wish, ceiling = target_from_difficulty(Fraction(1, 1000)), target_from_difficulty(64)
    assert policy.granted(wish, MAX_TARGET, 1, ceiling) == ceiling
    network = target_from_difficulty(32)
    assert policy.granted(wish, MAX_TARGET, network, ceiling) == network


def test_older_keys_take_what_is_under_the_new_target_alone_after_the_grace():
    channel, factory, counters = make_channel(target=1000), make_factory(), make_counters()
    job = factory.make(make_template(), now=1_700_000_100.0)
    old = channel.offer(job, counters)[0]
    channel.set_target(100)
    channel.flood(100, now=50.0)
    new = channel.offer_alone(job, counters)[0]

    def ask(mine, number, value, at):
        return channel.judge(Weight(number.to_bytes(32, "big"), value, False), mine, min_ntime=job.ntime,
                             ntime=job.ntime, version=job.version, mask=0, now=Now(at, job.ntime))

    assert ask(old, 1, 1000, 50.0 + GRACE_S - 0.1) is None
    assert ask(old, 2, 101, 50.0 + GRACE_S) is Reject.DIFFICULTY_TOO_LOW
    assert ask(old, 3, 100, 50.0 + GRACE_S) is None
    assert ask(new, 4, 100, 1e9) is None and ask(new, 5, 101, 1e9) is Reject.DIFFICULTY_TOO_LOW
    channel.set_target(1000)                            # easier again: keys from before the flood stay where they are
    newest = channel.offer_alone(job, counters)[0]
    assert ask(newest, 6, 1000, 1e9) is None and ask(new, 7, 1000, 1e9) is None
    assert ask(old, 8, 1000, 1e9) is Reject.DIFFICULTY_TOO_LOW


def test_floods_that_follow_each_other_put_off_no_grace():
    """Else a machine would be made harder every few seconds, and keep its easiest key for ever."""
    channel, counters = make_channel(target=10**6), make_counters()
    job = make_factory().make(make_template(), now=1_700_000_100.0)
    old = channel.offer(job, counters)[0]
    for second in range(100):
        channel.set_target(10**6 - 1000 - second)
        channel.flood(channel.target, now=float(second))
        channel.offer_alone(job, counters)
    verdict = channel.judge(Weight(b"a" * 32, 10**6, False), old, min_ntime=job.ntime, ntime=job.ntime,
                            version=job.version, mask=0, now=Now(99.0, job.ntime))
    assert verdict is Reject.DIFFICULTY_TOO_LOW and len(channel._falls) <= GRACE_S + 1


def test_the_same_bound_again_forgives_no_flood():
    """A session that is resumed, or a reload, says the bound again; the flood before it is still reviewed."""
    throttle = Throttle(PER_MINUTE, 0.0)
    assert [throttle.shared(1.0) for _ in range(PER_MINUTE + 5)].count(True) == 1
    throttle.bound(PER_MINUTE)
    assert throttle.review(EASY, 1.0) and throttle.ceiling < EASY


def test_another_bound_counts_on_what_has_come():
    throttle = Throttle(PER_MINUTE, 0.0)
    for _ in range(PER_MINUTE // 2):
        throttle.shared(1.0)
    throttle.bound(PER_MINUTE // 2 + 10)
    assert [throttle.shared(1.0) for _ in range(10)] == [False] * 9 + [True]
