from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mining.makers import SHUFFLE, make_counters
from warppool.mining.counter import ASSIGNED_AGAIN, COUNTERS, CoinbaseCounters, Shuffle

NUMBERS = st.integers(0, COUNTERS - 1)


def unshuffle(shuffle: Shuffle, number: int) -> int:
    """The way back, which only a permutation has."""
    high, low = number >> 15, number & 0x7FFF
    for turn in (6, 4, 2, 0):
        low ^= shuffle._mix(turn + 1, high) & 0x7FFF
        high ^= shuffle._mix(turn, low) & 0xFFFF
    return high << 15 | low


@given(NUMBERS)
def test_no_two_numbers_become_one(number):
    shuffled = SHUFFLE(number)
    assert 0 <= shuffled < COUNTERS
    assert unshuffle(SHUFFLE, shuffled) == number


def test_the_next_counter_cannot_be_foreseen_without_the_secret():
    """Who knows some counters finds the next one by no difference of them, and two starts have nothing in common."""
    taker = make_counters()
    counters = [taker.take() for _ in range(2000)]
    steps = {later - sooner for sooner, later in pairwise(counters)}
    assert len(steps) > 1990
    flips = [bin(sooner ^ later).count("1") for sooner, later in pairwise(counters)]
    assert 15 < sum(flips) / len(flips) < 16                # of 31 bits, half change
    other = CoinbaseCounters(Shuffle(b"another start..."), 0, 1)
    assert len(set(counters) & {other.take() for _ in range(2000)}) < 5


def test_counters_of_its_own_tell_a_machine_nothing_of_jobs_to_come():
    """A machine that asks for work again and again has the numbers of all jobs of the next days."""
    taker = make_counters()
    own = {taker.take() & ~ASSIGNED_AGAIN for _ in range(2000)}
    assert len(own & {SHUFFLE(job_id) for job_id in range(2000)}) < 5


@given(workers=st.integers(1, 32), takes=st.integers(1, 30))
def test_workers_never_take_one_counter(workers, takes):
    taken = [counters.take() for counters in [make_counters(worker, workers) for worker in range(workers)]
             for _ in range(takes)]
    assert len(set(taken)) == workers * takes
    assert all(ASSIGNED_AGAIN <= counter < 2 * ASSIGNED_AGAIN for counter in taken)


def test_counters_begin_anew_only_after_all_of_them():
    counters = make_counters(2, 3)
    first = counters.take()
    counters._next = last = (COUNTERS - 1) // 3 * 3 - 1     # the last one of this worker
    assert counters.take() == ASSIGNED_AGAIN | SHUFFLE.for_one()(last)
    assert counters.take() == first


@pytest.mark.parametrize("wrong", [lambda: Shuffle(b"short"), lambda: make_counters(1, 1)])
def test_what_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError):
        wrong()
