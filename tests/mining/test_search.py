from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.hashes import double_sha256
from warppool.mining.search import search

HEADER = bytes(range(80))


def value_of(nonce: int) -> int:
    return int.from_bytes(double_sha256(HEADER[:76] + nonce.to_bytes(4, "little")), "little")


@given(start=st.integers(0, 2**32 - 300), count=st.integers(0, 300), bits=st.integers(240, 256))
def test_finds_the_first_nonce_under_the_target_or_none(start, count, bits):
    target = 2**bits - 1
    hits = [nonce for nonce in range(start, start + count) if value_of(nonce) <= target]
    assert search(HEADER, target, start, count) == (hits[0] if hits else None)


def test_the_target_itself_is_met():
    assert search(HEADER, value_of(77), 77, 1) == 77
    assert search(HEADER, value_of(77) - 1, 77, 1) is None
