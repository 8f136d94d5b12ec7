"""Work by windows of time: exact, never shorter than they say, never NaN."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warppool.stats.snapshot import WINDOWS
from warppool.stats.windows import CELL_S, CELLS, HASHES_PER_DIFFICULTY, Moment, WorkWindows, spread_of

START = 1_764_267_000.0


def test_a_rate_is_work_over_the_time_that_it_spans():
    moment = Moment(START, START - 1e9)
    windows = WorkWindows(moment)
    for second in range(1, 1201):
        moment = Moment(START + second, START - 1e9, moment)
        windows.turn_to(moment)
        windows.add(2.0)
    rates = windows.rates(moment)
    for rate in rates[:3]:
        assert rate == pytest.approx(2.0 * HASHES_PER_DIFFICULTY, rel=0.03)
    assert rates.h1 == pytest.approx(2400 * HASHES_PER_DIFFICULTY / moment.spans[3])


@given(st.lists(st.tuples(st.floats(0, 4000), st.integers(0, 1000)), max_size=60))
@settings(deadline=None)
def test_each_window_holds_what_came_within_it_and_no_more_than_a_cell_besides(steps):
    now, came = START, deque()
    moment = Moment(now, 0.0)
    windows = WorkWindows(moment)
    for gap, work in steps:
        now += gap
        moment = Moment(now, 0.0, moment)
        windows.turn_to(moment)
        windows.add(float(work))
        came.append((now, work))
        for window, (_, seconds) in enumerate(WINDOWS):
            assert seconds <= moment.spans[window] < seconds + CELL_S[window] + 1e-3
            held = sum(work for at, work in came if at // CELL_S[window] >= moment.indices[window] - CELLS)
            assert windows.sums[window] == pytest.approx(held)
        assert all(math.isfinite(rate) for rate in windows.rates(moment))


def test_a_young_pool_divides_by_its_age_and_nothing_is_divided_by_nothing():
    moment = Moment(START, START)
    windows = WorkWindows(moment)
    windows.add(1.0)
    assert windows.rates(moment).d7 == pytest.approx(HASHES_PER_DIFFICULTY)
    later = Moment(START + 100, START, moment)
    windows.turn_to(later)
    assert windows.rates(later).d7 == pytest.approx(HASHES_PER_DIFFICULTY / 100)
    assert windows.rates(later).m1 == 0.0


def test_work_of_the_past_is_spread_over_the_cells_of_its_time():
    moment = Moment(START, 0.0)
    windows = WorkWindows(moment)
    windows.fill(spread_of(START - 600, START, moment), 600.0)
    windows.fill(spread_of(START - 8 * 86_400, START - 600, moment), 1000.0)
    assert windows.sums[0] == pytest.approx(moment.spans[0])
    assert windows.sums[1] == pytest.approx(moment.spans[1])
    rest = 1000.0 / (8 * 86_400 - 600)
    assert windows.sums[6] == pytest.approx(600 + rest * (moment.spans[6] - 600))
    later = Moment(START + 15 * 86_400, 0.0, moment)
    windows.turn_to(later)
    assert windows.sums == [0.0] * len(WINDOWS)
