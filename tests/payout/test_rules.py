"""Rules are values with one text, and refuse what no configuration holds."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.payout.makers import POOL, make_rules, script
from warppool.bitcoin.address import AddressError
from warppool.payout.rules import PayoutRules


def test_rules_and_their_text_are_one():
    rules = make_rules(fee_bp=125, window="8.0", window_rampup=True, min_paid_ratio="0.90")
    assert rules.texts() == {
        "network": "regtest", "payout_address": POOL, "fee_bp": "125", "window": "8", "window_days": "90",
        "window_rampup": "true", "min_payout_sat": "100000", "min_paid_ratio": "0.9",
    }
    assert PayoutRules.of_texts(rules.texts()) == rules
    assert rules.payout_script == script(POOL)


@pytest.mark.parametrize(("window", "text"), [
    ("8", "8"), ("8.000", "8"), ("0.1", "0.1"), ("1E+2", "100"), ("10", "10"), ("1000", "1000"), ("7.125", "7.125"),
    ("0." + "1" * 90, "0." + "1" * 90),
])
def test_a_number_has_one_text_however_it_was_written(window, text):
    assert make_rules(window=window).texts()["window"] == text


@pytest.mark.parametrize("change", [
    {"fee_bp": -1}, {"fee_bp": 10_001}, {"window": Decimal(0)}, {"window": Decimal(-1)}, {"window": Decimal(1001)},
    {"window": Decimal("1e-1100")}, {"window_days": 0}, {"window_days": 4000}, {"min_payout_sat": 545},
    {"min_payout_sat": 2_100_000_000_000_001}, {"min_paid_ratio": Decimal("1.01")}, {"min_paid_ratio": Decimal(-1)},
])
def test_rules_that_no_configuration_holds(change):
    with pytest.raises(ValueError):
        replace(make_rules(), **change)


def test_an_address_of_another_network_is_refused():
    with pytest.raises(AddressError):
        make_rules(payout_address="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")


@pytest.mark.parametrize(("key", "text"), [
    ("window", "8.0"), ("window", "08"), ("window", "+8"), ("window", "8e0"), ("window", " 8"), ("window", "NaN"),
    ("window", "Infinity"), ("window", "\u0668"), ("window", "8" * 90), ("fee_bp", "1.5"), ("fee_bp", "-0"),
    ("window_rampup", "True"), ("window_rampup", ""), ("network", "mars"), ("payout_address", ""), ("fee_bp", 100),
    ("min_paid_ratio", "1.5"), ("window_days", "1e1"), ("payout_address", POOL.upper()[:-1]),
])
def test_texts_that_are_no_rules(key, text):
    with pytest.raises(ValueError):
        PayoutRules.of_texts({**make_rules().texts(), key: text})


def test_no_rule_may_be_missing_and_none_is_more():
    texts = make_rules().texts()
    for bad in ({**texts, "custody": "false"}, {key: texts[key] for key in list(texts)[1:]}, {}, None, []):
        with pytest.raises(ValueError):
            PayoutRules.of_texts(bad)
