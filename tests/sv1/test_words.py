"""What machines say of difficulty, and how we say it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.target import DIFF1, MAX_TARGET, difficulty_from_target, target_from_difficulty
from warppool.sv1.messages import Number
from warppool.sv1.words import NO_PREFERENCE as NONE
from warppool.sv1.words import Preference as P
from warppool.sv1.words import difficulty_text, hex_number, wanted_target

T1024, T2 = target_from_difficulty(1024), target_from_difficulty(2)


@pytest.mark.parametrize(("password", "preference"), [
    ("x", NONE), ("", NONE), ("d=1024", P(T1024, T1024)), ("fd=1024", P(T1024, T1024, is_fixed=True)),
    ("x,d=1024", P(T1024, T1024)), ("a=b;d=1024;x", P(T1024, T1024)), ("x d=1024", P(T1024, T1024)),
    ("d=2,fd=1024", P(T1024, T1024, is_fixed=True)), ("fd=2 d=1024", P(T1024, T1024)),
    ("d=0", NONE), ("d=-1", NONE), ("d=", NONE), ("d", NONE), ("d=nan", NONE), ("d=inf", NONE),
    ("md=5", NONE), ("D=1024", P(T1024, T1024)), ("diff=1024", P(T1024, T1024)),
    ("Diff=1024", P(T1024, T1024)), ("FD=1024", P(T1024, T1024, is_fixed=True)), ("difficulty=5", NONE),
    ("d=1023.5", P(T1024, T1024)), ("th=100", P(hash_rate=1e14)), ("TH=0.5", P(hash_rate=5e11)),
    ("th=0", NONE), ("th=-5", NONE), ("th=x", NONE), ("th=1e400", NONE), ("th=", NONE),
    ("th=100,d=1024", P(T1024, T1024)), ("fd=1024,th=100", P(None, T1024, hash_rate=1e14)),
    ("d=1024,d=zz", P(T1024, T1024)), ("d=1024.0", P(T1024, T1024)),
    ("d=2=3", NONE), ("d=" + "1" * 70, NONE)])
def test_passwords(password, preference):
    assert NONE.with_password(password) == preference


def test_a_password_leaves_what_it_does_not_speak_of():
    asked = P(minimum=T2)
    assert asked.with_password("d=1024") == P(T1024, T1024, T2)
    assert asked.with_password("x") is asked
    assert P(T2, T2, T1024).easiest == T1024


def test_a_new_wish_over_an_older_one():
    older = P(T2, T2, T1024, is_fixed=True)
    assert NONE.over(older) == older
    assert P(minimum=T2).over(older) == P(T2, T2, T2, is_fixed=True)
    assert P(T1024, T1024).over(older) == P(T1024, T1024, T1024)
    assert P(hash_rate=1e14).over(older) == P(None, MAX_TARGET, T1024, hash_rate=1e14)


@pytest.mark.parametrize(("value", "target"), [
    (1, DIFF1), (Number("1e-4"), DIFF1 * 10_000), ("2", T2), (0, None), (-1, None), ("x", None), (None, None),
    ([], None), (True, None), (10**80, 1), (Number("1e-80"), MAX_TARGET), (Number("1.5"), T2), (Number("1e999999"), 1)])
def test_wanted_targets(value, target):
    assert wanted_target(value) == target


@pytest.mark.parametrize(("value", "found"), [
    ("ff", 255), ("FF", 255), ("0" * 62 + "ff", 255), ("", None), ("0", None), ("0xff", None), (" ff", None),
    (255, None), ("f" * 65, None), ("-1", None), ("1_0", None), ("٣", None)])
def test_hex_numbers(value, found):
    assert hex_number(value, 64) == found


@pytest.mark.parametrize(("difficulty", "text"), [
    ("1", "1"), ("1024", "1024"), ("1000", "1000"), ("0.001", "0.001"), ("0.5", "0.5"), ("1e-5", "1e-05"),
    ("123456789", "123456789"), ("0.0001", "0.0001"), ("65536.5", "65536.5")])
def test_difficulties_as_people_write_them(difficulty, text):
    assert difficulty_text(target_from_difficulty(difficulty)) == text


@given(st.integers(1, MAX_TARGET) | st.integers(0, 255).map(lambda bits: 1 << bits))
def test_no_more_is_ever_announced_than_is_wanted(target):
    exact = difficulty_from_target(target)
    said = Fraction(difficulty_text(target))
    assert said <= exact
    assert said > exact * (1 - Fraction(1, 10**15))
