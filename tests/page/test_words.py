from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.page.reading import plain
from warppool.page import words

LONG = "more than a billion years"


@pytest.mark.parametrize(("value", "text"), [
    (0, "0 H/s"), (-1, "0 H/s"), (math.nan, "0 H/s"), (math.inf, "0 H/s"), (0.5, "0.5 H/s"), (999.4, "999 H/s"),
    (999.7, "1 kH/s"), (12_340, "12.3 kH/s"), (999_700_000, "1 GH/s"), (1.234e12, "1.23 TH/s"), (9.8e17, "980 PH/s"),
    (7e20, "700 EH/s"), (0.001_234, "0.00123 H/s"), (4.656e-10, "4.66e-10 H/s"), (0.9949, "0.995 H/s"),
    (0.996, "1 H/s"), (1.004, "1 H/s"),
])
def test_a_rate_has_three_digits_and_a_prefix(value, text):
    assert plain(words.rate(value)) == text


@given(st.floats(0, 1e26))
def test_no_number_is_ever_a_thousand_of_its_unit(value):
    digits = words.scaled(value).split()[0]
    assert float(digits) < 1000 and ("e" not in digits or value < 0.001) and (digits != "0" or value == 0)


@pytest.mark.parametrize(("seconds", "text"), [
    (-5, "0 s"), (12.4, "12 s"), (99, "99 s"), (100, "2 min"), (5_940, "99 min"), (6_000, "1 h 40 min"), (7_200, "2 h"),
    (86_400, "24 h"), (172_800, "2 days"), (6e7, "694 days"), (1e8, "3 years"), (5e10, "1,600 years"),
    (1e30, LONG), (math.inf, LONG), (math.nan, LONG),
])
def test_a_span_is_in_the_unit_that_matters(seconds, text):
    assert plain(words.span(seconds)) == text


@pytest.mark.parametrize(("part", "whole", "text"), [
    (0, 0, "0 %"), (0, 5, "0 %"), (1, 3, "33.3 %"), (1, 1_000_000, "< 0.01 %"), (5, 5, "100 %"), (34, 10, "340 %"),
    (1, 1000, "0.1 %"), (123_123, 123_456, "99.7 %"),
])
def test_percent(part, whole, text):
    assert plain(words.percent(part, whole)) == text


@pytest.mark.parametrize(("sat", "text"), [
    (312_500_000, "3.125 BTC"), (0, "0 BTC"), (1, "0.00000001 BTC"), (-150_000_000, "-1.5 BTC"), (10**8, "1 BTC")])
def test_amounts_lose_no_digit(sat, text):
    assert plain(words.coins(sat)) == text


def test_times():
    assert words.utc(0) == "1970-01-01 00:00 UTC" and words.machine_time(1e20) == "9999-12-31T23:59:59Z"
    assert plain(words.ago(40, 100)) == "60 s ago" and plain(words.ago(200, 100)) == "0 s ago"


def test_a_number_and_its_unit_stay_in_one_line():
    for text in (words.rate(1e12), words.scaled(5e9), words.percent(1, 3), words.percent(1, 1e9), words.coins(5),
                 words.span(30), words.span(7200), words.span(1e7), words.span(1e9)):
        assert "\u00a0" in text and " " not in text
    assert words.span(6000) == "1\u00a0h 40\u00a0min" and words.scaled(5) == "5"
