from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mining.makers import PAYOUT, SHUFFLE, make_template, make_tip
from warppool.bitcoin.coinbase import restore_witness
from warppool.mining.job import MAX_TAG_SIZE, JobFactory
from warppool.mining.mark import Mark, bears_start_id, find_mark
from warppool.mining.payrule import ToPool

START_ID = b"\xaa\xbb\xcc\xdd"
STARTS = {b"1234", START_ID}


def coinbase(tag=b"/warppool/", height=840_000, prefix=b"\x07\x00\x00\x01", size=12, behind_height=b""):
    factory = JobFactory(payer=ToPool(PAYOUT), tag=tag, start_id=START_ID, shuffle=SHUFFLE, encoders={})
    template = make_template(make_tip(height=height))
    template = replace(template, coinbase_prefix=template.coinbase_prefix + behind_height)
    head, tail = factory.make(template, now=0.0).coinbase_halves(size)
    return head + prefix + bytes(size - len(prefix)) + tail


@pytest.mark.parametrize("restore", [bytes, restore_witness])
@pytest.mark.parametrize("size", [4, 12, 32])
@pytest.mark.parametrize("height", [1, 16, 17, 128, 840_000, 2**31 - 1])
@pytest.mark.parametrize("tag", [b"", b"x", b"/warppool/", b"t" * MAX_TAG_SIZE])
def test_every_coinbase_of_ours_is_known_again(tag, height, size, restore):
    assert find_mark(restore(coinbase(tag, height, size=size)), tag, STARTS) == Mark(START_ID, 7)


def test_bytes_of_the_template_behind_the_height_do_not_hide_it():
    for more in range(5):
        assert find_mark(coinbase(behind_height=bytes(more)), b"/warppool/", STARTS) == Mark(START_ID, 7)


def test_the_server_is_the_top_byte_of_the_prefix():
    marks = [find_mark(coinbase(prefix=bytes((server, 1, 2, 3))), b"/warppool/", STARTS) for server in range(256)]
    assert [mark.server_id for mark in marks] == list(range(256))


@pytest.mark.parametrize(("tag", "starts"), [
    (b"/warppool", STARTS), (b"/otherpool", STARTS), (b"", STARTS), (b"/warppool/", {b"1234"}), (b"/warppool/", set())])
def test_another_tag_or_an_unknown_start_is_not_ours(tag, starts):
    assert find_mark(coinbase(), tag, starts) is None


def test_a_start_id_that_stands_elsewhere_is_none():
    """Somebody may put our bytes into his tag or his extranonce; only our place counts."""
    foreign = coinbase().replace(START_ID, b"zzzz")
    assert find_mark(foreign.replace(bytes(8), START_ID * 2), b"/warppool/", STARTS) is None
    spent = coinbase().replace(bytes(32), b"\x01" * 32, 1)
    assert find_mark(spent, b"/warppool/", STARTS) is None


@given(st.binary(max_size=300))
def test_garbage_is_never_ours(data):
    assert find_mark(data, b"", {b"1234"}) is None


@given(cut=st.integers(0, 300), flip=st.integers(0, 41))
def test_a_coinbase_that_is_cut_or_torn_is_never_an_error(cut, flip):
    whole = coinbase()
    torn = bytearray(whole)
    torn[flip] ^= 0xFF
    for data in (whole[:cut], bytes(torn), restore_witness(whole)[:cut]):
        find_mark(data, b"/warppool/", STARTS)


@pytest.mark.parametrize("restore", [bytes, restore_witness])
@pytest.mark.parametrize("size", [4, 12, 32])
@pytest.mark.parametrize("tag", [b"", b"/warppool/", b"t" * MAX_TAG_SIZE])
def test_a_start_id_is_seen_under_every_tag_and_in_its_place_alone(tag, size, restore):
    ours = coinbase(tag, size=size)
    assert bears_start_id(restore(ours), STARTS)
    assert not bears_start_id(restore(ours), {b"1234"})
    theirs = ours.replace(START_ID, b"zzzz").replace(b"\x07\x00\x00\x01", START_ID)        # in the extranonce
    assert not bears_start_id(restore(theirs), STARTS)


@given(st.binary(max_size=300))
def test_garbage_bears_no_start_id(data):
    assert not bears_start_id(data, {b"1234"})
