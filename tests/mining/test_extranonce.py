import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mining.makers import make_tip
from warppool.mining.extranonce import PrefixPool


def test_workers_and_servers_never_meet():
    taken = [PrefixPool(server, worker, 3).take for server in (0, 7, 255) for worker in range(3)]
    prefixes = [take() for take in taken for _ in range(50)]
    assert len(set(prefixes)) == len(prefixes)
    assert {prefix[0] for prefix in prefixes} == {0, 7, 255}


def test_prefix_is_a_big_endian_counter_in_steps_of_the_workers():
    pool = PrefixPool(server_id=1, worker=1, workers=2)
    assert [pool.take().hex() for _ in range(3)] == ["01000001", "01000003", "01000005"]


def test_a_prefix_rests_until_its_last_job_is_stale():
    pool = PrefixPool(0, 0, 1)
    pool.moved(make_tip(1))
    first = pool.take()
    pool.release(first)
    pool.moved(make_tip(1))
    assert pool.take() != first
    pool.moved(make_tip(2))
    assert pool.take() == first


def test_the_space_ends_and_says_so():
    pool = PrefixPool(0, (1 << 24) - 1, 1 << 24)
    assert pool.take() == b"\x00\xff\xff\xff"
    assert pool.take() is None
    pool.release(b"\x00\xff\xff\xff")
    pool.moved(make_tip(1))
    assert pool.take() == b"\x00\xff\xff\xff"


@pytest.mark.parametrize("arguments", [(256, 0, 1), (-1, 0, 1), (0, 1, 1), (0, -1, 1)])
def test_numbers_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError):
        PrefixPool(*arguments)


@given(st.lists(st.one_of(st.just("take"), st.just("move"), st.integers(0, 30))))
def test_no_two_live_channels_share_a_prefix(steps):
    pool, live, number = PrefixPool(0, 0, 2), [], 1
    for step in steps:
        if step == "take":
            prefix = pool.take()
            assert prefix not in live
            live.append(prefix)
        elif step == "move":
            number += 1
            pool.moved(make_tip(number % 256))
        elif step < len(live):
            pool.release(live.pop(step))


def test_what_rests_takes_a_few_bytes_each_whoever_opens_and_closes_channels_as_fast_as_he_can():
    pool, count = PrefixPool(0, 0, 1), 100_000
    pool.moved(make_tip(1))
    tracemalloc.start()
    try:
        for _ in range(count):
            pool.release(pool.take())
        rests, _ = tracemalloc.get_traced_memory()
        pool.moved(make_tip(2))
        again = {pool.take() for _ in range(count)}
        assert len(again) == count and int.from_bytes(max(again), "big") == count - 1, "all are used again"
        assert rests < 6 * count
    finally:
        tracemalloc.stop()
