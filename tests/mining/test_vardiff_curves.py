"""Vardiff before forty hash rates over time: each settles, and no share is refused because of a change.

Settled means that the shares a minute under the channel's target are within a factor of 3 of the wanted ones, or as
near as the bounds let them be, and stay there. Each phase of a curve has to get there within 60 s or 5 changes.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import pytest

from tests.mining.machines import Machine, Phase
from tests.mining.makers import EASY_NBITS, HARD_NBITS
from warppool.bitcoin.target import target_from_difficulty
from warppool.mining.difficulty import DifficultyPolicy

POLICY = DifficultyPolicy(start=Fraction(1024), minimum=Fraction(1, 1000), maximum=Fraction(0),
                          shares_per_minute=Fraction(12))
BAND = 3.0
SETTLE_S = 60.0
SETTLE_CHANGES = 5


class Curve(NamedTuple):
    """A machine's hash rate over time, and the one that it declares at the open; 0 for none."""

    name: str
    phases: list[Phase]
    declared: float = 0.0


def steady(rate):
    return [Phase(300, rate)]


def dying(rate):
    return [Phase(300, rate), Phase(150, 0.0), Phase(200, rate)]


CURVES = [
    *(Curve(f"steady-1e{exponent}", steady(10.0**exponent)) for exponent in range(6, 16)),
    *(Curve(f"steady-1e{exponent}-declared", steady(10.0**exponent), 10.0**exponent) for exponent in range(6, 16)),
    Curve("doubling", [Phase(200, 1e12), Phase(300, 2e12), Phase(400, 4e12)]),
    Curve("doubling-declared", [Phase(200, 1e12), Phase(300, 2e12), Phase(400, 4e12)], 1e12),
    Curve("tenfold", [Phase(300, 1e9), Phase(200, 1e10), Phase(200, 1e11)]),
    Curve("halving", [Phase(200, 1e13), Phase(300, 5e12), Phase(400, 2.5e12)]),
    Curve("halving-declared", [Phase(200, 1e13), Phase(300, 5e12), Phase(400, 2.5e12)], 1e13),
    Curve("a-thousandth", [Phase(200, 1e14), Phase(600, 1e11)]),
    *(Curve(f"dying-1e{exponent}", dying(10.0**exponent)) for exponent in (9, 12, 15)),
    *(Curve(f"dying-1e{exponent}-declared", dying(10.0**exponent), 10.0**exponent) for exponent in (9, 12, 15)),
    Curve("stalls-20s", [Phase(400, 1e12, stall_s=20.0)]),
    Curve("stalls-20s-declared", [Phase(400, 1e12, stall_s=20.0)], 1e12),
    Curve("stalls-40s", [Phase(400, 1e14, stall_s=40.0)]),
    Curve("stalls-40s-declared", [Phase(400, 1e14, stall_s=40.0)], 1e14),
    Curve("rented", [Phase(120, 0.0), Phase(300, 1e15), Phase(120, 0.0)]),
    Curve("rented-declared", [Phase(120, 0.0), Phase(300, 1e15), Phase(120, 0.0)], 1e15),
    Curve("declares-a-thousand-times-too-much", [Phase(400, 1e12)], 1e15),
    Curve("declares-a-billion-times-too-little", [Phase(300, 1e15)], 1e6),
]


def run(curve, number, policy=POLICY, nbits=HARD_NBITS):
    machine = Machine(policy, declared=curve.declared, seed=1000 + number, lag_s=(0.0, 0.2, 1.0, 3.0)[number % 4],
                      is_hasty=number % 3 == 0, nbits=nbits, band=BAND)
    return machine, machine.run(curve.phases)


def test_there_are_forty_curves():
    assert len(CURVES) == len({curve.name for curve in CURVES}) == 40


@pytest.mark.parametrize(("number", "curve"), list(enumerate(CURVES)), ids=[curve.name for curve in CURVES])
def test_every_curve_settles_and_no_share_is_refused(number, curve):
    _, outcome = run(curve, number)
    assert outcome.accepted and outcome.rejected == []
    for settling in outcome.settlings:
        if settling.hash_rate:
            assert settling.is_settled, settling
            assert settling.seconds <= SETTLE_S or settling.changes <= SETTLE_CHANGES, settling
    # and what was credited is what the hashes are worth, as far as chance lets it
    assert abs(outcome.credited - outcome.expected) < 5 * math.sqrt(outcome.variance)


@pytest.mark.parametrize("offset", [0.71, 1.0, 1.41])
def test_a_steady_machine_is_left_alone_for_hours(offset):
    _, outcome = run(Curve("hours", [Phase(3 * 3600, offset * 1e12)], 1e12), 1)
    (settling,) = outcome.settlings
    assert (settling.changes, settling.later_changes) == (0, 0)
    assert outcome.wakes < 3 * 3600 / 45            # one look in 50 s


@pytest.mark.parametrize("rate", [0.0, 1e3])
def test_a_machine_below_the_minimum_stays_there_and_is_looked_at_no_more(rate):
    machine, outcome = run(Curve("below", [Phase(3600, rate)]), 2)
    assert machine.channel.target == target_from_difficulty(POLICY.minimum)
    assert outcome.settlings[0].is_settled and outcome.rejected == []
    assert outcome.wakes == 6 and machine.vardiff.wakes_at == math.inf


@pytest.mark.parametrize("declared", [0.0, 1e15])
def test_on_regtest_the_networks_target_holds_whatever_comes(declared):
    machine, outcome = run(Curve("regtest", [Phase(5, 1e6), Phase(60, 0.0), Phase(5, 1e6)], declared), 3,
                           nbits=EASY_NBITS)
    assert machine.channel.target == machine.network
    assert outcome.accepted > 10_000 and outcome.rejected == []
    assert sum(settling.changes + settling.later_changes for settling in outcome.settlings) == 0
    assert outcome.asks < 100                       # a flood that cannot be helped costs little


def test_above_the_operators_maximum():
    policy = DifficultyPolicy(Fraction(1024), Fraction(1, 1000), Fraction(4096), Fraction(12))
    machine, outcome = run(Curve("above", [Phase(60, 1e14)]), 4, policy)
    assert machine.channel.target == target_from_difficulty(4096)
    assert outcome.settlings[0].is_settled and outcome.rejected == []


def test_other_share_rates_are_reached_too():
    for number, wanted in enumerate((1, 60, 600)):
        policy = DifficultyPolicy(Fraction(1024), Fraction(1, 1000), Fraction(0), Fraction(wanted))
        _, outcome = run(Curve("wanted", [Phase(1200, 1e13)]), number, policy)
        assert outcome.settlings[0].is_settled and outcome.rejected == [], wanted
        assert outcome.settlings[0].changes <= SETTLE_CHANGES
