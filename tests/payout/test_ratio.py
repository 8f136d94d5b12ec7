"""The ratio rule: who gets a larger coinbase than usual."""

from __future__ import annotations

from decimal import Decimal

import pytest

from warppool.payout.ratio import given_class

LEAST = Decimal("0.9")
PAID = ((255, 50), (500, 70), (755, 89), (2250, 90), (6500, 100))


@pytest.mark.parametrize(("usual", "most", "size", "is_below"), [
    (6500, 6500, 6500, False),
    (2250, 6500, 2250, False),          # exactly 0.9
    (755, 6500, 2250, False),           # 0.89: the next larger one
    (255, 6500, 2250, False),
    (255, 755, 755, True),              # what the machine cannot hold is never sent
    (755, 755, 755, True),
    (16_000, 16_000, 6500, False),      # the template has no room for 16,000
    (755, 500, 500, True),
    (255, 255, 255, True),
])
def test_the_class_is_the_smallest_that_pays_enough_and_that_the_machine_holds(usual, most, size, is_below):
    assert given_class(PAID, usual, most, LEAST) == (size, is_below)


def test_where_the_largest_pays_nothing_the_ratio_is_one():
    assert given_class(((255, 0), (755, 0)), 255, 755, LEAST) == (255, False)


def test_no_class_fits():
    assert given_class(((255, 1),), 255, 254, LEAST) is None
    assert given_class((), 255, 755, LEAST) is None


def test_a_class_that_is_not_there_is_replaced_by_the_next_smaller_one_else_the_next_larger():
    assert given_class(((500, 9), (6500, 9)), 755, 16_000, LEAST) == (500, False)
    assert given_class(((500, 9), (6500, 9)), 255, 16_000, LEAST) == (500, False)


def test_a_ratio_of_zero_asks_for_nothing():
    assert given_class(((255, 0), (755, 1)), 255, 755, Decimal(0)) == (255, False)


def test_a_share_of_one_needs_every_satoshi():
    value = 2_100_000_000_000_000
    assert given_class(((255, value - 1), (755, value)), 255, 755, Decimal(1)) == (755, False)
    assert given_class(((255, value - 1), (755, value)), 255, 755, Decimal("0.99")) == (255, False)
