"""The window: as much of the newest work as is wanted, to the last unit of weight."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.payout.makers import NBITS, ONE, make_rules
from warppool.payout.weight import network_weight
from warppool.payout.window import WindowEnd, WindowFacts, WorkPart, take, weight_wanted


def single(share_id: int, weight: int, name: str = "a") -> WorkPart:
    return WorkPart(share_id, share_id, {name: weight})


def no_opening(part: WorkPart) -> list[WorkPart]:
    raise AssertionError(f"{part} was opened")


# --- how much -------------------------------------------------------------------------------------------------------

def test_eight_network_difficulties_are_wanted():
    assert weight_wanted(make_rules(), 0x17034219, 0) == 8 * network_weight(0x17034219)


def test_a_window_with_decimals_is_exact():
    assert weight_wanted(make_rules(window="0.1"), NBITS, 0) == ONE // 10
    assert weight_wanted(make_rules(window="7.3"), 0x17034219, 0) == network_weight(0x17034219) * 73 // 10


@pytest.mark.parametrize(("settled", "difficulties"), [(0, 1), (1, 2), (6, 7), (7, 8), (8, 8), (10_000, 8)])
def test_a_young_pools_window_is_one_difficulty_more_than_its_settled_blocks(settled, difficulties):
    assert weight_wanted(make_rules(window_rampup=True), NBITS, settled) == difficulties * ONE
    assert weight_wanted(make_rules(window_rampup=False), NBITS, settled) == 8 * ONE


def test_a_window_below_one_stays_below_one():
    assert weight_wanted(make_rules(window="0.5", window_rampup=True), NBITS, 0) == ONE // 2


def test_blocks_are_not_less_than_none():
    with pytest.raises(ValueError):
        weight_wanted(make_rules(), NBITS, -1)


# --- which work -------------------------------------------------------------------------------------------------------

def test_the_share_that_crosses_is_cut_to_fit():
    taken = take([single(9, 4, "b"), single(8, 4), single(7, 4), single(6, 4)], 10, no_opening, WindowEnd.BEGINNING)
    assert taken.weights == {"b": 4, "a": 6}
    assert (taken.first_id, taken.last_id, taken.cut_weight, taken.ended_by) == (7, 9, 2, WindowEnd.WEIGHT)


def test_a_share_that_fits_exactly_is_the_first_one_and_whole():
    taken = take([single(9, 4), single(7, 6)], 10, no_opening, WindowEnd.DAYS)
    assert (taken.weight, taken.first_id, taken.cut_weight, taken.ended_by) == (10, 7, 6, WindowEnd.WEIGHT)


@pytest.mark.parametrize("end", [WindowEnd.DAYS, WindowEnd.EPOCH, WindowEnd.BEGINNING])
def test_where_work_runs_out_no_share_is_cut(end):
    taken = take([WorkPart(5, 9, {"a": 3, "b": 0}), single(4, 2)], 10, no_opening, end)
    assert (dict(taken.weights), taken.first_id, taken.last_id, taken.cut_weight, taken.ended_by) == (
        {"a": 5}, 4, 9, 0, end)


def test_one_share_may_be_more_than_the_whole_window():
    """Whoever finds a share of a huge difficulty gets a whole window, and not more than that."""
    taken = take([single(3, 10**30), single(2, 5, "b")], 10, no_opening, WindowEnd.BEGINNING)
    assert taken.weights == {"a": 10} and taken.first_id == taken.last_id == 3


def test_no_work_at_all_is_an_empty_window():
    taken = take([], 10, no_opening, WindowEnd.BEGINNING)
    assert (taken.weights, taken.first_id, taken.last_id, taken.weight) == ({}, 0, 0, 0)


def test_work_that_weighs_nothing_makes_no_account():
    taken = take([single(2, 0, "b"), single(1, 0)], 10, no_opening, WindowEnd.BEGINNING)
    assert taken.weights == {} and (taken.first_id, taken.last_id) == (1, 2)


@pytest.mark.parametrize("parts", [[single(1, 1), single(2, 1)], [single(1, 1), single(1, 1)],
                                   [WorkPart(5, 9, {"a": 1}), single(5, 1)], [WorkPart(3, 2, {"a": 1})]])
def test_parts_out_of_order_are_refused(parts):
    """A share that is told twice counts once, or the whole window is refused."""
    with pytest.raises(ValueError):
        take(parts, 100, no_opening, WindowEnd.BEGINNING)


def test_only_a_part_that_reaches_the_bound_is_opened():
    opened = []

    def open_part(part: WorkPart) -> list[WorkPart]:
        opened.append(part)
        return [single(5, 2, "b"), single(4, 2)]

    parts = [WorkPart(6, 9, {"a": 8}), WorkPart(4, 5, {"a": 2, "b": 2}), WorkPart(1, 3, {"a": 50})]
    taken = take(parts, 11, open_part, WindowEnd.BEGINNING)
    assert opened == [parts[1]]
    assert (taken.weights, taken.first_id, taken.cut_weight) == ({"a": 9, "b": 2}, 4, 1)


SHARES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), max_size=40)


@given(SHARES, st.integers(1, 150), st.lists(st.integers(1, 6), max_size=12))
def test_however_work_is_summed_the_window_is_that_of_its_single_shares(shares, wanted, cuts):
    """The books keep hours, the pool keeps minutes: each gives the window that share by share would have given."""
    singles = [single(number, weight, name) for number, (name, weight) in enumerate(shares, 1)]
    parts, rest = [], list(singles)
    for size in [*cuts, *([1] * len(singles))]:
        some, rest = rest[:size], rest[size:]
        if some:
            sums: Counter[str] = Counter()
            for part in some:
                sums.update(part.weights)
            parts.append(WorkPart(some[0].first_id, some[-1].last_id, dict(sums)))
    whole = take(singles[::-1], wanted, no_opening, WindowEnd.DAYS)
    summed = take(parts[::-1], wanted,
                  lambda part: [each for each in singles[::-1] if part.first_id <= each.first_id <= part.last_id],
                  WindowEnd.DAYS)
    assert summed == whole
    assert whole.weight == min(wanted, sum(weight for _, weight in shares))


# --- what a snapshot says of it ---------------------------------------------------------------------------------------

@pytest.mark.parametrize(("first", "last", "cut", "wanted", "end"), [
    (1, 2, 3, 3, WindowEnd.WEIGHT), (1, 1, 1, 3, WindowEnd.WEIGHT), (0, 0, 0, 3, WindowEnd.BEGINNING),
    (1, 2, 0, 3, WindowEnd.DAYS), (5, 9, 0, 3, WindowEnd.EPOCH),
])
def test_windows_that_can_be(first, last, cut, wanted, end):
    WindowFacts(first, last, cut, wanted, end, 0, NBITS)


@pytest.mark.parametrize(("first", "last", "cut", "wanted", "end"), [
    (2, 1, 1, 3, WindowEnd.WEIGHT), (1, 2, 4, 3, WindowEnd.WEIGHT), (1, 2, 0, 3, WindowEnd.WEIGHT),
    (0, 0, 1, 3, WindowEnd.WEIGHT), (1, 2, 1, 3, WindowEnd.DAYS), (0, 2, 0, 3, WindowEnd.DAYS),
    (-1, 2, 0, 3, WindowEnd.DAYS), (1, 2, 0, 0, WindowEnd.DAYS), (1, 2, -1, 3, WindowEnd.WEIGHT),
])
def test_windows_that_cannot_be(first, last, cut, wanted, end):
    with pytest.raises(ValueError):
        WindowFacts(first, last, cut, wanted, end, 0, NBITS)
