from fractions import Fraction

import pytest

from warppool.bitcoin.target import MAX_TARGET, target_from_difficulty
from warppool.mining.difficulty import DifficultyPolicy

POLICY = DifficultyPolicy(start=Fraction(1024), minimum=Fraction(1, 1000), maximum=Fraction(0),
                          shares_per_minute=Fraction(12))
HARD = 1 << 180


def test_without_a_declared_hash_rate_it_starts_where_the_operator_says():
    assert POLICY.granted(POLICY.wanted_at_open(0.0), MAX_TARGET, HARD) == target_from_difficulty(1024)


def test_a_declared_hash_rate_gives_the_wanted_shares_a_minute():
    target = POLICY.granted(POLICY.wanted_at_open(1e12), MAX_TARGET, HARD)
    shares_per_minute = 1e12 * 60 * target / 2**256
    assert shares_per_minute == pytest.approx(12, rel=1e-6)


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
