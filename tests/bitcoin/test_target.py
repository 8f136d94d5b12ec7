import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warppool.bitcoin.target import (
    DIFF1,
    MAX_TARGET,
    difficulty_from_target,
    nbits_from_target,
    target_from_difficulty,
    target_from_hash_rate,
    target_from_nbits,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text())
targets = st.integers(0, 256).flatmap(lambda bits: st.integers(0, 2**bits - 1))


# ---- compact targets; the rows are those of the node's own unit test of the compact form

@pytest.mark.parametrize(
    ("nbits", "target", "again"),
    [
        (0x00000000, 0, 0x00000000),
        (0x00123456, 0, 0x00000000),
        (0x01003456, 0, 0x00000000),
        (0x02000056, 0, 0x00000000),
        (0x03000000, 0, 0x00000000),
        (0x04000000, 0, 0x00000000),
        (0x01123456, 0x12, 0x01120000),
        (0x02123456, 0x1234, 0x02123400),
        (0x03123456, 0x123456, 0x03123456),
        (0x04123456, 0x12345600, 0x04123456),
        (0x05009234, 0x92340000, 0x05009234),
        (0x20123456, 0x123456 << 232, 0x20123456),
        (0x1D00FFFF, DIFF1, 0x1D00FFFF),
        (0x207FFFFF, 0x7FFFFF << 232, 0x207FFFFF),
        (0x2100FFFF, 0xFFFF << 240, 0x2100FFFF),
        (0x220000FF, 0xFF << 248, 0x2100FF00),
        (0x0400FFFF, 0xFFFF00, 0x0400FFFF),
        (0x05000080, 0x800000, 0x04008000),
    ],
)
def test_compact_targets_expand_and_normalise(nbits, target, again):
    assert target_from_nbits(nbits) == target
    assert nbits_from_target(target) == again


@pytest.mark.parametrize("nbits", [0x01FEDCBA, 0x04923456, 0x01800000, 0x00800000, 0x1D80FFFF, 0x20FFFFFF])
def test_a_negative_compact_target_is_refused(nbits):
    with pytest.raises(ValueError, match="negative"):
        target_from_nbits(nbits)


@pytest.mark.parametrize("nbits", [0x21010000, 0x22000100, 0x23000001, 0xFF123456, 0x217FFFFF])
def test_a_compact_target_above_256_bits_is_refused(nbits):
    with pytest.raises(ValueError, match="above 256 bits"):
        target_from_nbits(nbits)


@pytest.mark.parametrize("nbits", [-1, 2**32])
def test_nbits_is_a_u32(nbits):
    with pytest.raises(ValueError, match="U32"):
        target_from_nbits(nbits)


@pytest.mark.parametrize("target", [-1, 2**256])
def test_a_target_has_256_bits(target):
    with pytest.raises(ValueError, match="256 bits"):
        nbits_from_target(target)


@given(targets)
@example(MAX_TARGET)
@example(0x80)
@example(0x8000)
@example(0x800000)
def test_the_compact_form_keeps_the_highest_bits_and_is_stable(target):
    nbits = nbits_from_target(target)
    kept = target_from_nbits(nbits)
    assert kept <= target < kept + max(1, target >> 15) + 1
    assert nbits_from_target(kept) == nbits


# ---- difficulty

@pytest.mark.parametrize(("difficulty", "target"), VECTORS["difficulty_target"].items())
def test_difficulty_vectors_hold(difficulty, target):
    assert target_from_difficulty(difficulty) == int(target, 16)
    assert target_from_difficulty(Decimal(difficulty)) == int(target, 16)
    assert target_from_difficulty(Fraction(difficulty)) == int(target, 16)


def test_decimals_stay_exact():
    assert target_from_difficulty("0.1") == DIFF1 * 10
    assert target_from_difficulty(Fraction(1, 3)) == DIFF1 * 3
    assert target_from_difficulty("1e-3") == DIFF1 * 1000
    assert target_from_difficulty(3) == DIFF1 // 3
    assert target_from_difficulty(Decimal("1." + "0" * 60 + "1")) == DIFF1 * 10**61 // (10**61 + 1)   # beyond a context


@pytest.mark.parametrize("difficulty", ["1e70", "1e999999", 10**400, Decimal("9e100"), DIFF1, DIFF1 + 1, DIFF1 * 2])
def test_the_hardest_target_is_1(difficulty):
    assert target_from_difficulty(difficulty) == 1


@pytest.mark.parametrize("difficulty", ["1e-10", "1e-12", "1e-13", "1e-999999", Fraction(1, 10**400)])
def test_the_easiest_target_is_met_by_every_hash(difficulty):
    assert target_from_difficulty(difficulty) == MAX_TARGET


@given(st.decimals(min_value=Decimal("1e-16"), max_value=Decimal("1e75"), allow_nan=False).filter(lambda d: d > 0))
@example(Decimal("9.999e70"))
@example(Decimal("1e-12"))
def test_the_shortcut_for_huge_exponents_changes_nothing(difficulty):
    exact = Fraction(difficulty)
    assert target_from_difficulty(difficulty) == target_from_difficulty(exact)
    assert target_from_difficulty(exact) == min(MAX_TARGET, max(1, int(DIFF1 / exact)))


@pytest.mark.parametrize("difficulty", [0, -1, "0", "-0", "0e999999", "-1", "nan", "sNaN", "inf", "-Infinity",
                                        Fraction(-1, 2), Decimal("NaN"), Decimal("sNaN"), Decimal(0)])
def test_difficulty_is_finite_and_above_0(difficulty):
    with pytest.raises(ValueError, match="above 0"):
        target_from_difficulty(difficulty)


@pytest.mark.parametrize("difficulty", ["", "one", "0x10", "1/2", "1,5", "1e99999999999999999999", "9" * 50 + "x"])
def test_text_that_is_no_number_is_a_value_error(difficulty):
    with pytest.raises(ValueError, match="is not a number") as refusal:
        target_from_difficulty(difficulty)
    assert len(str(refusal.value)) < 80


@pytest.mark.parametrize("difficulty", [1.0, 0.1, float("nan"), None, b"1"])
def test_a_float_is_refused_since_it_is_not_the_number_that_was_meant(difficulty):
    with pytest.raises(TypeError, match="int, Decimal, Fraction or str"):
        target_from_difficulty(difficulty)


@given(st.integers(1, MAX_TARGET))
def test_difficulty_leads_back_to_its_target(target):
    difficulty = difficulty_from_target(target)
    assert difficulty * target == DIFF1
    assert target_from_difficulty(difficulty) == target


@pytest.mark.parametrize("target", [0, -1, MAX_TARGET + 1])
def test_a_difficulty_needs_a_target(target):
    with pytest.raises(ValueError, match="needs a target"):
        difficulty_from_target(target)


# ---- hash rate

def test_hash_rate_gives_the_formula_of_the_reference_implementation():
    hashes = 5 * 10**12 * 60 // 12          # 5 TH/s, 12 shares a minute
    assert target_from_hash_rate(5e12, 12) == (2**256 - 1 - hashes) // (hashes + 1)
    assert target_from_hash_rate(5e12, Decimal("12.0")) == target_from_hash_rate(5e12, Fraction(12))
    assert target_from_hash_rate(1.0, 60) == (2**256 - 2) // 2
    assert target_from_hash_rate(0.0, 12) == MAX_TARGET
    assert target_from_hash_rate(0.1, 60.0) == MAX_TARGET       # less than one hash a share


@given(st.floats(0, 3.4028235e38), st.fractions(Fraction(1, 100), 6000))
@example(3.4028235e38, Fraction(1, 100))
def test_every_rate_gives_a_target_and_a_faster_one_no_easier(rate, shares_per_minute):
    target = target_from_hash_rate(rate, shares_per_minute)
    assert 1 <= target <= MAX_TARGET
    assert target_from_hash_rate(rate * 2, shares_per_minute) <= target


def test_a_rate_beyond_all_measure_gives_the_hardest_target():
    assert target_from_hash_rate(1e300, 1) == 1


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf"), float("-inf")])
def test_a_hash_rate_is_finite_and_not_negative(rate):
    with pytest.raises(ValueError, match="hash rate"):
        target_from_hash_rate(rate, 12)


@pytest.mark.parametrize("shares_per_minute", [0, -1, float("nan"), float("inf"), Decimal("NaN"), Fraction(0)])
def test_shares_a_minute_are_finite_and_above_0(shares_per_minute):
    with pytest.raises(ValueError, match="shares a minute"):
        target_from_hash_rate(1e12, shares_per_minute)
