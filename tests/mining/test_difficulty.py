from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.target import DIFF1, MAX_TARGET, target_from_difficulty
from warppool.mining.difficulty import DifficultyPolicy

POLICY = DifficultyPolicy(start=Fraction(1024), minimum=Fraction(1, 1000), maximum=Fraction(0),
                          shares_per_minute=Fraction(12))
HARD = 1 << 180


def test_without_a_declared_hash_rate_it_starts_where_the_operator_says():
    assert POLICY.granted(POLICY.wanted_at_open(0.0), MAX_TARGET, HARD) == target_from_difficulty(1024)


def test_a_declared_hash_rate_gives_the_wanted_shares_a_minute():
    target = POLICY.granted(POLICY.wanted_at_open(1e12), MAX_TARGET, HARD)
    shares_per_minute = 1e12 * 60 * target / 2**256
    assert shares_per_minute == pytest.approx(12, rel=1e-3)         # near enough: the difficulty is whole


@pytest.mark.parametrize(("wanted", "maximum", "network", "floor", "granted"), [
    (500, 0, 10, MAX_TARGET, 500),
    (500, 0, 900, MAX_TARGET, 900),         # the network's difficulty is the hardest there is
    (500, 0, 10, 300, 300),                 # the channel's max_target wins
    (500, 0, 900, 300, 300),                # over the network too
])
def test_bounds(wanted, maximum, network, floor, granted):
    assert POLICY.granted(wanted, floor, network) == granted


def test_the_operators_minimum_and_maximum_hold_below_the_network():
    policy = DifficultyPolicy(Fraction(1), Fraction(1), Fraction(4), Fraction(12))
    assert policy.granted(MAX_TARGET, MAX_TARGET, HARD) == target_from_difficulty(1)
    assert policy.granted(1, MAX_TARGET, HARD) == target_from_difficulty(4)
    easy_network = 1 << 255
    assert policy.granted(1, MAX_TARGET, easy_network) == easy_network      # it wins over the minimum


def test_an_absurd_hash_rate_still_gives_a_target():
    assert POLICY.granted(POLICY.wanted_at_open(3.4e38), MAX_TARGET, 1) >= 1
    assert POLICY.granted(POLICY.wanted_at_open(1e-38), MAX_TARGET, 1) == target_from_difficulty(Fraction(1, 1000))


# --- whole difficulties -----------------------------------------------------------------------------------------------

def target(difficulty):
    return target_from_difficulty(Fraction(difficulty))


@pytest.mark.parametrize(("wanted", "bounds", "network", "floor", "granted"), [
    ("1.5", ("0.001", 0), 10**6, 0, 1),             # the next one below
    ("1023.999", ("0.001", 0), 10**6, 0, 1023),
    ("0.75", ("0.001", 0), 10**6, 0, "0.75"),       # up to 1 there is no need
    ("0.001", ("0.001", 0), "2.5", "1.5", 2),       # never above max_target
    ("100", ("0.001", 0), "2.5", "3.5", 4),         # ... which wins over the network
    ("100", ("0.001", 0), "2.5", 0, 2),             # never harder than the network
    ("0.001", ("1.5", 0), 10**6, 0, 2),             # nor easier than the operator's least
    ("0.001", ("1.5", 0), "1.7", 0, 1),             # unless the network's is below the next one
    ("100", ("1", "4.5"), 10**6, 0, 4),             # nor harder than his most
    ("0.001", ("1.2", "1.8"), 10**6, 0, 1),         # where no whole one is between the two, the easier
])
def test_difficulties_above_1_are_whole(wanted, bounds, network, floor, granted):
    least, most = map(Fraction, bounds)
    policy = DifficultyPolicy(Fraction(1), least, most, Fraction(12))
    max_target = target(floor) if floor else MAX_TARGET
    assert policy.granted(target(wanted), max_target, target(network)) == target(granted)


@given(st.integers(1, MAX_TARGET), st.integers(1, MAX_TARGET), st.integers(1, MAX_TARGET),
       st.fractions(Fraction(1, 1000), 10**6), st.fractions(0, 10**9))
def test_whatever_is_asked_the_grant_is_whole_and_within_max_target(wanted, max_target, network, least, most):
    policy = DifficultyPolicy(Fraction(1024), least, most, Fraction(12))
    found = policy.granted(wanted, max_target, network)
    assert 1 <= found <= max_target
    assert found >= DIFF1 or found == DIFF1 // (DIFF1 // found)
    assert policy.granted(found, max_target, network) == found          # asked again it stays
    if max_target == MAX_TARGET:
        assert found >= min(network, DIFF1)


@given(st.integers(1, 2**32 - 1))
def test_whole_difficulties_are_granted_as_they_are(difficulty):
    assert POLICY.granted(target(difficulty), MAX_TARGET, HARD) == DIFF1 // difficulty


def test_a_policy_follows_another_and_says_so_once():
    policy = DifficultyPolicy(Fraction(1024), Fraction(1, 1000), Fraction(0), Fraction(12), Fraction(600))
    other = DifficultyPolicy(Fraction(1), Fraction(2), Fraction(4), Fraction(6), Fraction(0))
    before = policy.wanted_at_open(0.0), policy.shares_per_second, policy.granted(1, MAX_TARGET, 1)
    policy.follow(other)
    assert policy == other and policy.version == 1
    after = policy.wanted_at_open(0.0), policy.shares_per_second, policy.granted(1, MAX_TARGET, 1)
    assert after == (other.wanted_at_open(0.0), other.shares_per_second, other.granted(1, MAX_TARGET, 1)) != before
    assert policy.granted(MAX_TARGET, MAX_TARGET, 1) == target_from_difficulty(2)
    assert policy.throttle(0.0) is None
    policy.follow(DifficultyPolicy(Fraction(1), Fraction(2), Fraction(4), Fraction(6), Fraction(0)))
    assert policy.version == 1, "the same numbers are no change"
