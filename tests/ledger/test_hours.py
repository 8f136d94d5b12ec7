"""Weights by hour and account: which shares an hour has, and that no unit of weight is lost."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.ledger.hours import HOUR_MS, OpenHour

NOON = 498_708          # an hour
UNIT = 1 << 48


def closed_by(hours, start=1):
    """The runs of ids that shares of these hours make, the last one too."""
    opened = OpenHour(start)
    closed = []
    for share_id, hour in enumerate(hours, start):
        closed += opened.add([(share_id, hour * HOUR_MS, 7, 1.0)])
    closed += opened.close(start + len(hours) - 1)
    return [(each.first_id, each.last_id, each.hour) for each in closed]


@pytest.mark.parametrize(("hours", "runs"), [
    ([NOON] * 3, [(1, 3, NOON)]),
    ([NOON, NOON + 1, NOON + 1], [(1, 1, NOON), (2, 3, NOON + 1)]),
    ([NOON, NOON + 1, NOON, NOON + 1], [(1, 1, NOON), (2, 4, NOON + 1)]),          # a worker's clock was read earlier
    ([NOON, NOON - 1, NOON - 2], [(1, 2, NOON), (3, 3, NOON - 2)]),                # the clock was put back
    ([NOON, NOON - 5, NOON - 5], [(1, 1, NOON), (2, 3, NOON - 5)]),
    ([NOON, NOON + 9], [(1, 1, NOON), (2, 2, NOON + 9)]),                          # hours without a share have no row
    ([], []),
])
def test_where_an_hour_ends(hours, runs):
    assert closed_by(hours) == runs
    opened, shares = OpenHour(1), [(number, hour * HOUR_MS, 7, 1.0) for number, hour in enumerate(hours, 1)]
    at_once = [*opened.add(shares), *opened.close(len(hours))]
    assert [(each.first_id, each.last_id, each.hour) for each in at_once] == runs


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1e15), st.integers(0, 3)), max_size=60))
def test_the_sums_are_exact_and_the_runs_join(shares):
    opened, hour, closed = OpenHour(5), NOON, []
    for share_id, (step, difficulty, account) in enumerate(shares, 5):
        hour += step
        closed += opened.add([(share_id, hour * HOUR_MS, account, difficulty)])
    closed += opened.close(4 + len(shares))
    for account in range(4):
        weight = sum(Fraction(each.whole * UNIT + each.fraction, UNIT) for each in closed if each.account == account)
        assert weight == sum(Fraction(int(Fraction(difficulty) * UNIT), UNIT)
                             for _, difficulty, own in shares if own == account)
    assert sum(each.shares for each in closed) == len(shares)
    ranges = sorted({(each.first_id, each.last_id) for each in closed})
    assert [first for first, _ in ranges[1:]] == [last + 1 for _, last in ranges[:-1]]
    newest = {each.account: each.newest_id for each in closed}
    assert newest == {account: share_id for share_id, (_, _, account) in enumerate(shares, 5)}
