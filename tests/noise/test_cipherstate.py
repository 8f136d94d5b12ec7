"""Nonces count messages, and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.errors import BadRecord, LocalProtocolError
from warppool.noise.cipherstate import RESERVED_NONCE, CipherState
from warppool.noise.primitives import PUBLIC, new_buffer

KEY = bytes(range(32))
BUFFER = new_buffer()


@pytest.mark.parametrize("n", [0, 1, 255, 256, 2**32 - 1, 2**32, RESERVED_NONCE - 1])
def test_the_nonce_is_four_zero_bytes_and_the_counter_little_endian(n: int) -> None:
    nonce = bytes(4) + n.to_bytes(8, "little")
    cipher = CipherState(KEY, n)
    assert cipher.encrypt_with_ad(b"ad", b"text", BUFFER) == PUBLIC.seal(KEY, nonce, b"ad", b"text", BUFFER)
    assert cipher.n == n + 1


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_what_one_end_seals_the_other_opens_in_order(texts: list[bytes]) -> None:
    ours, theirs = CipherState(KEY), CipherState(KEY)
    sealed = [ours.encrypt_with_ad(b"", text, BUFFER) for text in texts]
    assert [theirs.decrypt_with_ad(b"", ciphertext, BUFFER) for ciphertext in sealed] == texts
    assert ours.n == theirs.n == len(texts)


def test_the_same_text_never_looks_the_same_twice() -> None:
    cipher = CipherState(KEY)
    assert cipher.encrypt_with_ad(b"", b"text", BUFFER) != cipher.encrypt_with_ad(b"", b"text", BUFFER)


def test_a_message_out_of_order_or_under_another_ad_is_refused_and_does_not_count() -> None:
    ours, theirs = CipherState(KEY), CipherState(KEY)
    first, second = (ours.encrypt_with_ad(b"ad", text, BUFFER) for text in (b"first", b"second"))
    for ad, ciphertext in ((b"ad", second), (b"", first), (b"ad", first[:-1]), (b"ad", first[:15]), (b"ad", b"")):
        with pytest.raises(BadRecord):
            theirs.decrypt_with_ad(ad, ciphertext, BUFFER)
        assert theirs.n == 0
    assert theirs.decrypt_with_ad(b"ad", first, BUFFER) == b"first"
    with pytest.raises(BadRecord):
        theirs.decrypt_with_ad(b"ad", first, BUFFER)        # replayed
    assert theirs.n == 1


def test_the_last_nonce_is_never_used() -> None:
    """2**64 - 1 is reserved (Noise paper, section 5.1): neither sealed with nor accepted, however good the tag."""
    ours, theirs = CipherState(KEY, RESERVED_NONCE - 1), CipherState(KEY, RESERVED_NONCE - 1)
    assert theirs.decrypt_with_ad(b"", ours.encrypt_with_ad(b"", b"last", BUFFER), BUFFER) == b"last"
    with pytest.raises(LocalProtocolError, match="no nonce is left"):
        ours.encrypt_with_ad(b"", b"one more", BUFFER)
    one_more = PUBLIC.seal(KEY, bytes(4) + b"\xff" * 8, b"", b"one more", BUFFER)
    with pytest.raises(BadRecord, match="after the last nonce"):
        theirs.decrypt_with_ad(b"", one_more, BUFFER)
    assert ours.n == theirs.n == 2**64 - 1
