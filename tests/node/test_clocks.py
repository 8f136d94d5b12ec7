"""Whose clock is believed: the others' word counts, then our own, and one node is always left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.node.clocks import FAR_OFFSET_S, refused_clocks

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.mark.parametrize(("offsets", "refused"), [
    ([], set()),
    ([DAY], set()),                             # the last one is never refused
    ([0, 7200], set()),
    ([0, 7201], {1}),                           # of two, the one farther from our own clock
    ([DAY, 0], {0}),
    ([DAY, 2 * DAY], {1}),                      # our own is a day behind, and still decides
    ([-DAY, DAY], {1}),
    ([0, 0, DAY], {2}),
    ([DAY, DAY, 0], {2}),                       # two that agree win over one that agrees with us
    ([0, DAY, 2 * DAY], set()),                 # no two agree against anyone
    ([0, 7000, 14_000], set()),
    ([0, 0, DAY, DAY], {2, 3}),
    ([DAY, DAY, 0, 0], {0, 1}),
    ([0, 0, DAY, 2 * DAY], {2, 3}),
])
def test_who_is_refused(offsets, refused):
    assert refused_clocks({n: NOW + offset for n, offset in enumerate(offsets)}, NOW) == refused


@given(st.lists(st.integers(-72_000, 72_000), min_size=1, max_size=5),
       st.integers(-72_000, 72_000))
def test_one_is_left_and_nobody_is_refused_for_our_clock_alone(offsets, ours):
    times = {number: NOW + offset for number, offset in enumerate(offsets)}
    refused = refused_clocks(times, NOW + ours)
    assert refused < times.keys()
    if max(offsets) - min(offsets) <= FAR_OFFSET_S:
        assert not refused
    for number in refused:
        assert any(abs(times[number] - time) > FAR_OFFSET_S for time in times.values())
