"""The estimate alone, value by value. The simulation of whole machines stands in test_vardiff_curves.py."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from tests.mining.makers import make_channel, make_counters, make_factory, make_template, make_tip
from warppool.bitcoin.target import MAX_TARGET, target_from_difficulty
from warppool.events import Now
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.share import Weight
from warppool.mining.validator import ShareValidator, Submission
from warppool.mining.vardiff import FIRST_SHARE_S, Vardiff

POLICY = DifficultyPolicy(start=Fraction(1024), minimum=Fraction(1, 1000), maximum=Fraction(0),
                          shares_per_minute=Fraction(12))
NETWORK = 1 << 180
GOAL = target_from_difficulty(1024)
EASIEST = target_from_difficulty(Fraction(1, 1000))


def make_vardiff(goal=GOAL, policy=POLICY, max_target=MAX_TARGET, network=NETWORK, **given):
    vardiff = Vardiff(policy, goal, 0.0, **given)
    vardiff.granted(max_target, network)
    return vardiff


def feed(vardiff, count, value=1):
    """How often `wanted` was to be asked while so many shares came at once."""
    return sum(vardiff.shared(value) for _ in range(count))


def ask(vardiff, now, max_target=MAX_TARGET, network=NETWORK):
    return vardiff.wanted(max_target, network, now)


# --- down -------------------------------------------------------------------------------------------------------------

def test_before_the_first_share_it_gets_sixteen_times_easier_every_ten_seconds_and_sleeps_at_the_minimum():
    vardiff, targets = make_vardiff(), []
    while vardiff.wakes_at < math.inf:
        assert ask(vardiff, vardiff.wakes_at - 0.01) is None
        change = ask(vardiff, vardiff.wakes_at)
        if change is not None:
            targets.append(change)
    assert [target for target, _ in targets] == [GOAL << 4, GOAL << 8, GOAL << 12, GOAL << 16, EASIEST]
    assert {reason for _, reason in targets} == {"no share for 10 s"}
    assert vardiff.target == EASIEST


def test_a_declared_hash_rate_is_believed_until_silence_is_no_chance():
    vardiff = make_vardiff(is_declared=True)
    assert vardiff.wakes_at == 50.0                         # ten shares are owed by then
    assert ask(vardiff, 49.9) is None
    assert ask(vardiff, 50.0) == (GOAL << 4, "no share for 50 s")
    assert vardiff.wakes_at == 50.0 + FIRST_SHARE_S         # what it declared was not so


def test_after_the_first_share_silence_must_last():
    vardiff = make_vardiff()
    feed(vardiff, 1)
    assert ask(vardiff, 10.0) is None and vardiff.wakes_at == 60.0
    feed(vardiff, 1)
    assert ask(vardiff, 60.0) is None and vardiff.wakes_at == 110.0
    assert ask(vardiff, 110.0) == (GOAL << 4, "no share for 50 s")
    assert vardiff.wakes_at == 160.0


def test_too_few_shares_make_it_easier_by_what_is_missing():
    vardiff = make_vardiff(is_declared=True)
    feed(vardiff, 1)
    assert ask(vardiff, 50.0) is None                       # 1 of 10 may be chance
    feed(vardiff, 1)
    assert ask(vardiff, 100.0) == (GOAL << 3, "2 shares in 100 s")      # 2 of 20 may not; 20 / (2 + 1) is 8 or so


# --- up ---------------------------------------------------------------------------------------------------------------

def test_it_asks_to_be_looked_at_once_and_then_after_more_shares():
    vardiff = make_vardiff()
    assert [vardiff.shared(1) for _ in range(20)] == [False] * 7 + [True] + [False] * 12
    assert ask(vardiff, 100.0) is None
    assert [vardiff.shared(1) for _ in range(8)] == [False] * 7 + [True]


def test_a_flood_is_answered_at_its_eighth_share():
    vardiff = make_vardiff()
    assert feed(vardiff, 8) == 1
    assert ask(vardiff, 1.0) == (GOAL >> 5, "8 shares in 1.0 s")        # 7 a second instead of 0.2
    assert vardiff.target == GOAL >> 5


def test_many_shares_of_one_instant_take_one_step_that_is_bounded():
    vardiff = make_vardiff()
    feed(vardiff, 1024)
    assert ask(vardiff, 0.0) == (GOAL >> 14, "1024 shares in 0.2 s")    # 4,092 a second, as far as one can know


def test_shares_above_the_current_target_count_for_nothing():
    vardiff = make_vardiff()
    feed(vardiff, 8)
    target, _ = ask(vardiff, 1.0)
    assert feed(vardiff, 1000, value=target + 1) == 0                   # in flight since before the change
    assert feed(vardiff, 8, value=target) == 1


def test_as_many_shares_as_wanted_change_nothing():
    vardiff = make_vardiff(is_declared=True)
    for second in range(5, 3600, 5):
        if vardiff.shared(1) or second >= vardiff.wakes_at:
            assert ask(vardiff, float(second)) is None
    assert vardiff.target == GOAL


def test_what_is_long_past_is_forgotten():
    vardiff = make_vardiff(is_declared=True)
    for second in range(5, 36_000, 5):
        if vardiff.shared(1) or second >= vardiff.wakes_at:
            ask(vardiff, float(second))
    seconds = 0
    while vardiff.target == GOAL:                                       # five times as many from now on
        seconds += 1
        if vardiff.shared(1) or 36_000.0 + seconds >= vardiff.wakes_at:
            ask(vardiff, 36_000.0 + seconds)
    assert seconds < 90


def test_a_burst_after_a_stall_is_no_flood():
    vardiff = make_vardiff(is_declared=True)
    for second in range(5, 605, 5):
        if vardiff.shared(1) or second >= vardiff.wakes_at:
            assert ask(vardiff, float(second)) is None
    assert vardiff.wakes_at == 650.0
    for _ in range(8):                                                  # what 40 s of a dead line held back
        if vardiff.shared(1):
            assert ask(vardiff, 640.0) is None


# --- bounds -----------------------------------------------------------------------------------------------------------

def test_a_flood_at_the_networks_difficulty_is_looked_at_ever_more_rarely():
    network = GOAL
    vardiff = make_vardiff(network=network)
    asked = 0
    for number in range(100_000):
        if vardiff.shared(1):
            asked += 1
            assert ask(vardiff, number / 1000, network=network) is None
    assert asked < 50
    assert vardiff.target == GOAL and vardiff.goal < GOAL >> 8          # but it knows what it would want


def test_what_was_wanted_all_the_time_is_granted_when_the_network_lets_it():
    vardiff = make_vardiff(network=GOAL)
    feed(vardiff, 8)
    assert ask(vardiff, 1.0, network=GOAL) is None
    assert vardiff.granted(MAX_TARGET, NETWORK) == vardiff.target == GOAL >> 5


@pytest.mark.parametrize(("bounds", "given", "granted"), [
    ({"max_target": GOAL << 1}, {}, GOAL << 1),
    ({}, {"easiest": GOAL << 2}, GOAL << 2),
    ({"network": GOAL << 9}, {"easiest": GOAL << 2}, GOAL << 9),        # the network is easier than the machine's floor
])
def test_no_easier_than_the_bounds(bounds, given, granted):
    vardiff = make_vardiff(**bounds, **given)
    ask(vardiff, 10.0, **bounds)
    assert vardiff.target == granted


def test_a_sleeper_wakes_when_it_may_get_easier():
    vardiff = make_vardiff(max_target=GOAL)
    assert ask(vardiff, 10.0, max_target=GOAL) is None and vardiff.wakes_at == math.inf
    assert vardiff.granted(GOAL << 2, NETWORK) == GOAL << 2
    assert vardiff.wakes_at < math.inf


def test_an_operators_maximum_holds():
    vardiff = make_vardiff(policy=DifficultyPolicy(Fraction(1024), Fraction(1, 1000), Fraction(4096), Fraction(12)))
    feed(vardiff, 1000)
    assert ask(vardiff, 1.0) == (target_from_difficulty(4096), "1000 shares in 1.0 s")


def test_the_hardest_and_the_easiest_target_there_are():
    policy = DifficultyPolicy(Fraction(1), Fraction(1, 10**10), Fraction(0), Fraction(12))
    hard = make_vardiff(goal=3, policy=policy, network=1)
    feed(hard, 1000)
    assert ask(hard, 1.0, network=1)[0] == 1
    easy = make_vardiff(goal=MAX_TARGET >> 1, policy=policy, network=1)
    assert ask(easy, 10.0, network=1)[0] == easy.goal == MAX_TARGET


def test_a_restart_forgets_all():
    vardiff = make_vardiff()
    feed(vardiff, 7)
    vardiff.restart(GOAL >> 3, 1000.0)
    assert vardiff.granted(MAX_TARGET, NETWORK) == GOAL >> 3
    assert vardiff.wakes_at == 1000.0 + FIRST_SHARE_S
    assert feed(vardiff, 7) == 0
    assert ask(vardiff, 1010.0) is None
    vardiff.restart(GOAL, 2000.0, is_declared=True)
    assert vardiff.wakes_at == 2050.0


# --- in the validator -------------------------------------------------------------------------------------------------

def test_the_validator_counts_accepted_shares_and_names_the_channels_to_be_asked():
    now = Now(50.0, 1_700_000_100.0)
    channel, fixed = make_channel(target=GOAL), make_channel(target=GOAL)
    channel.vardiff = make_vardiff()
    factory, tip = make_factory(), make_tip()
    counters = make_counters()
    job, other = (each.offer(factory.make(make_template(tip), now.unix), counters)[0] for each in (channel, fixed))
    validator = ShareValidator(7, "sv1")

    def judge(its, its_job, weights):
        for _ in weights:
            validator.submit(Submission(its, its_job, "alice", bytes(8), job.job.version, 0, job.job.ntime,
                                        job.job.ntime, bytes(80)))
        validator.judged(weights, now)
        due, validator.due = validator.due, None
        return due

    weights = [Weight(bytes([n]) * 32, n, False) for n in range(8)]
    assert judge(fixed, other, weights) is None                         # no Vardiff: fixed
    assert judge(channel, job, [Weight(b"x" * 32, GOAL + 1, False)] * 9) is None        # refused ones do not count
    assert judge(channel, job, weights[:7]) is None
    assert judge(channel, job, weights[7:]) == [channel]
    assert validator.due is None
