"""The operator's fee, in whole satoshi."""

from __future__ import annotations

import pytest

from warppool.payout.fee import fee_of


@pytest.mark.parametrize(("value", "basis_points", "fee"), [
    (312_500_000, 0, 0),
    (312_500_000, 1, 31_250),
    (312_500_000, 10_000, 312_500_000),
    (312_500_003, 333, 10_406_250),         # rounded down: what is left over is the miners'
    (54_599, 100, 0),                       # 545 sat, which nobody could spend
    (54_600, 100, 546),
    (0, 10_000, 0),
])
def test_a_fee_is_rounded_down_and_none_where_nobody_could_spend_it(value, basis_points, fee):
    assert fee_of(value, basis_points) == fee
