"""Weights are exact, from a share's difficulty as a float and from nbits, and two columns of SQLite hold any sum."""

from __future__ import annotations

import ast
import sqlite3
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.target import MAX_TARGET, difficulty_from_target, nbits_from_target, target_from_nbits
from warppool.mining.difficulty import difficulty_number
from warppool.payout.weight import FRACTION_BITS, halves, joined, network_weight, weight_of, weight_of_text

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize(("difficulty", "weight"), [
    (0.0, 0), (1.0, 1 << 48), (0.5, 1 << 47), (2.0 ** -48, 1), (2.0 ** -49, 0), (1e-300, 0), (1.5 * 2.0 ** -48, 1),
    (65536.0, 1 << 64), (0.1, 28147497671065), (2.0 ** 1000, 1 << 1048), (1, 1 << 48), (-0.0, 0),
])
def test_a_weight_is_the_difficulty_in_units_of_two_to_the_minus_48(difficulty, weight):
    assert weight_of(difficulty) == weight


@given(st.floats(min_value=0, allow_infinity=False))
def test_a_weight_is_rounded_down_from_the_exact_value_of_the_float(difficulty):
    assert weight_of(difficulty) == Fraction(difficulty) * 2**48 // 1


@given(st.floats(min_value=0, allow_infinity=False))
def test_whoever_reads_a_difficulty_back_from_its_repr_gets_the_same_weight(difficulty):
    assert weight_of(float(repr(difficulty))) == weight_of(difficulty)


def test_the_easiest_share_of_all_has_a_weight():
    assert weight_of(difficulty_number(MAX_TARGET)) == 65_535       # 2^-32 of a difficulty, less what DIFF1 cuts off


@pytest.mark.parametrize("difficulty", [-1.0, -1e-300, float("inf"), float("-inf"), float("nan")])
def test_no_share_takes_weight_away_or_has_all_of_it(difficulty):
    with pytest.raises(ValueError):
        weight_of(difficulty)


@pytest.mark.parametrize("nbits", [0x1D00FFFF, 0x207FFFFF, 0x17034219, 0x1B0404CB, 0x03000001])
def test_the_networks_weight_is_in_the_same_units_and_exact(nbits):
    exact = difficulty_from_target(target_from_nbits(nbits)) * 2**48
    assert network_weight(nbits) == exact.numerator // exact.denominator


def test_on_main_a_float_would_have_been_another_number():
    exact = difficulty_from_target(target_from_nbits(0x17034219))
    assert network_weight(0x17034219) != int(float(exact) * 2**48)


@pytest.mark.parametrize("nbits", [0, 0x01000000, 0x1D800001, -1, 1 << 32, 0xFF7FFFFF])
def test_nbits_that_no_block_can_meet_have_no_weight(nbits):
    with pytest.raises(ValueError):
        network_weight(nbits)


@given(st.lists(st.integers(0, 2**110), max_size=20))
def test_halves_can_be_summed_apart(weights):
    assert all(0 <= fraction < 2**48 for _, fraction in map(halves, weights))
    wholes, fractions = [sum(half) for half in zip((0, 0), *map(halves, weights), strict=True)]
    assert joined(wholes, fractions) == sum(weights)


def test_what_a_day_of_the_whole_network_weighs_fits_two_columns_and_not_one():
    """SQLite makes a REAL of a number past 2^63, without a word."""
    weight = 144 * network_weight(0x17034219)
    rows = sqlite3.connect(":memory:").execute("SELECT ?1, typeof(?1), ?2, typeof(?2)", halves(weight)).fetchone()
    assert rows[1] == rows[3] == "integer" and joined(rows[0], rows[2]) == weight
    with pytest.raises(OverflowError):
        sqlite3.connect(":memory:").execute("SELECT ?", (weight,))


def test_a_weight_has_one_text():
    assert [weight_of_text(text) for text in ("0", "7", "1" + "0" * 80)] == [0, 7, 10**80]
    for bad in ("", "00", "07", "-1", "+1", " 1", "1 ", "1.0", "1e3", "\u0661", "1_0", "1" * 200, 7, None):
        with pytest.raises(ValueError):
            weight_of_text(bad)


@pytest.mark.parametrize("path", sorted((CHECKOUT / "warppool" / "payout").glob("*.py")), ids=lambda path: path.stem)
def test_no_float_comes_into_being_in_the_arithmetic_of_payouts(path):
    """No `/`, no number with a point, no call of float() or round()."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(getattr(node, "op", None), ast.Div), node.lineno
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), node.lineno
        assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                    and node.func.id in {"float", "round"}), node.lineno


def test_the_units_are_what_everybody_builds_on():
    assert FRACTION_BITS == 48
    assert nbits_from_target(target_from_nbits(0x1D00FFFF)) == 0x1D00FFFF and network_weight(0x1D00FFFF) == 1 << 48
