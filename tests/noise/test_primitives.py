"""Vectors of the RFCs; the direct call against the public binding; bad keys; two threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nacl import _sodium

from warppool.errors import BadRecord, HandshakeFailed, LocalProtocolError
from warppool.noise import primitives
from warppool.noise.primitives import (
    MAX_MESSAGE,
    MAX_PLAINTEXT,
    PUBLIC,
    Aead,
    choose,
    dh,
    direct,
    new_buffer,
    public_key,
)
from warppool.noise.symmetricstate import WARP_SUITE, KeyPair

DIRECT = direct(_sodium.ffi, _sodium.lib)
BUFFER = DIRECT.new_buffer()
both = pytest.mark.parametrize("aead", [DIRECT, PUBLIC], ids=["direct", "public"])

KEY, NONCE = bytes(range(32)), bytes(range(12))

P = 2**255 - 19
ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
SMALL_ORDER = [u | high << 255 for high in (0, 1) for u in (0, 1, *ORDER_8, P - 1, P, P + 1)]
"""All u-coordinates of small order below 2**255, each also with the bit that X25519 masks (cr.yp.to/ecdh.html)."""


MANY = [[b"header", b"payload" * 9], [b"", b""], [b"header", bytes(65_497)], [bytes(65_503), b""],
        [bytes(MAX_PLAINTEXT)], [bytes(size) for size in range(60)], []]


@both
@pytest.mark.parametrize("pieces", MANY, ids=lambda pieces: str([len(piece) for piece in pieces])[:20])
@pytest.mark.parametrize("counter", [0, 1, 2**32 - 1, 2**64 - 61])
def test_messages_that_are_sealed_at_once_are_those_of_each_by_itself(
        aead: Aead, pieces: list[bytes], counter: int) -> None:
    buffer = aead.new_buffer()
    nonces = [bytes(4) + number.to_bytes(8, "little") for number in range(counter, counter + len(pieces))]
    sealed = [PUBLIC.seal(KEY, nonce, b"", piece, BUFFER) for nonce, piece in zip(nonces, pieces, strict=True)]
    assert aead.seal_all(KEY, counter, pieces, buffer) == b"".join(sealed)
    at = 0
    for number, (ciphertext, piece) in enumerate(zip(sealed, pieces, strict=True), counter):
        aead.open_into(KEY, number, ciphertext, buffer, at)
        at += len(piece)
    assert bytes(buffer[1][:at]) == b"".join(pieces)


@both
def test_no_message_is_sealed_or_opened_beyond_the_buffer(aead: Aead) -> None:
    buffer = aead.new_buffer()
    for key, pieces in ((KEY, [b"header", bytes(65_498)]), (KEY, [bytes(65_504), b""]), (KEY, [bytes(65_520)]),
                        (KEY[1:], [b""])):
        with pytest.raises(LocalProtocolError):
            aead.seal_all(key, 0, pieces, buffer)
    sealed = aead.seal(KEY, bytes(12), b"", b"text", buffer)
    aead.open_into(KEY, 0, sealed, buffer, MAX_MESSAGE - len(sealed))
    for counter, ciphertext, at in ((0, sealed, MAX_MESSAGE - len(sealed) + 1), (1, sealed, 0), (0, sealed[:-1], 0),
                                    (0, sealed[:15], 0), (0, bytes(MAX_MESSAGE + 1), 0)):
        with pytest.raises(BadRecord):
            aead.open_into(KEY, counter, ciphertext, buffer, at)
    with pytest.raises(LocalProtocolError):
        aead.open_into(KEY[1:], 0, sealed, buffer, 0)


@both
def test_two_messages_are_opened_as_each_by_itself_or_not_at_all(aead: Aead) -> None:
    buffer = aead.new_buffer()
    for first, second in ((b"header", b"payload"), (b"", b""), (b"header", bytes(65_497))):
        sealed = aead.seal_all(KEY, 7, [first, second], buffer)
        size = len(first) + 16
        assert aead.open_two(KEY, 7, size, sealed, buffer) == first + second
        for counter, at, ciphertexts in (
                (6, size, sealed), (7, size + 1, sealed), (7, size, sealed[:-1]), (7, size, sealed + b"x"),
                (7, 15, sealed), (7, size, sealed[:size + 15]), (7, size, b""), (7, size, bytes(MAX_MESSAGE + 1))):
            assert aead.open_two(KEY, counter, at, ciphertexts, buffer) is None
        for at in (0, size - 1, size, len(sealed) - 1):
            changed = bytearray(sealed)
            changed[at] ^= 1
            assert aead.open_two(KEY, 7, size, bytes(changed), buffer) is None


@both
def test_chacha20_poly1305_is_that_of_rfc_8439(aead: Aead) -> None:
    """RFC 8439, section 2.8.2."""
    key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
    ad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: "
        b"If I could offer you only one tip for the future, sunscreen would be it."
    )
    sealed = bytes.fromhex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
        "3ff4def08e4b7a9de576d26586cec64b6116"
        "1ae10b594f09e26a7e902ecbd0600691"
    )
    assert aead.seal(key, nonce, ad, plaintext, BUFFER) == sealed
    assert aead.open_sealed(key, nonce, ad, sealed, BUFFER) == plaintext


def test_x25519_is_that_of_rfc_7748() -> None:
    """RFC 7748, sections 5.2 and 6.1."""
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    u = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert dh(scalar, u).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice_public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert public_key(bob).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert dh(bob, alice_public).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_the_direct_call_serves_this_pynacl() -> None:
    assert primitives.seal is not PUBLIC.seal
    assert primitives.open_sealed is not PUBLIC.open_sealed


@pytest.mark.parametrize("gone", ["encrypt", "decrypt"])
def test_a_pynacl_without_the_private_names_is_served_by_its_public_binding(gone: str) -> None:
    names = [f"crypto_aead_chacha20poly1305_ietf_{verb}" for verb in ("encrypt", "decrypt") if verb != gone]
    lib = SimpleNamespace(**{name: getattr(_sodium.lib, name) for name in names})
    assert choose(SimpleNamespace(ffi=_sodium.ffi, lib=lib)) is PUBLIC
    assert choose(SimpleNamespace(lib=_sodium.lib)) is PUBLIC
    assert choose(None) is PUBLIC
    assert choose(_sodium) is not PUBLIC


def outcome(call: Callable[..., bytes], *args: object) -> object:
    """What a call returns; for a refusal its class and, where the class is ours, its words."""
    try:
        return call(*args, BUFFER)
    except (BadRecord, LocalProtocolError) as exc:
        return type(exc), str(exc)
    except TypeError:
        return TypeError


keys = st.binary(min_size=32, max_size=32) | st.binary(max_size=40)
nonces = st.binary(min_size=12, max_size=12) | st.binary(max_size=16)
long_texts = [bytes(size) for size in (MAX_PLAINTEXT, MAX_PLAINTEXT + 1, MAX_MESSAGE, MAX_MESSAGE + 1)]
texts = st.binary(max_size=300) | st.sampled_from([*long_texts, bytearray(20), memoryview(b"x" * 20)])


@given(keys, nonces, st.binary(max_size=80), texts)
@example(KEY, NONCE, b"", b"")
def test_the_direct_call_seals_and_opens_as_the_public_binding_does(
    key: bytes, nonce: bytes, ad: bytes, text: bytes
) -> None:
    sealed = outcome(PUBLIC.seal, key, nonce, ad, text)
    assert outcome(DIRECT.seal, key, nonce, ad, text) == sealed
    assert outcome(DIRECT.open_sealed, key, nonce, ad, text) == outcome(PUBLIC.open_sealed, key, nonce, ad, text)
    if isinstance(sealed, bytes):
        assert outcome(DIRECT.open_sealed, key, nonce, ad, sealed) == text
        assert outcome(PUBLIC.open_sealed, key, nonce, ad, sealed) == text


@given(st.binary(max_size=60), st.data())
def test_one_flipped_bit_never_passes_the_cipher(text: bytes, data: st.DataObject) -> None:
    sealed = bytearray(DIRECT.seal(KEY, NONCE, b"ad", text, BUFFER))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    refusal = (BadRecord, "failed tag")
    assert outcome(DIRECT.open_sealed, KEY, NONCE, b"ad", bytes(sealed)) == refusal
    assert outcome(PUBLIC.open_sealed, KEY, NONCE, b"ad", bytes(sealed)) == refusal


@both
@pytest.mark.parametrize("size", [*range(16), MAX_MESSAGE + 1])
def test_a_ciphertext_that_no_message_has_is_refused_by_its_length(aead: Aead, size: int) -> None:
    with pytest.raises(BadRecord, match=f"ciphertext of {size} bytes"):
        aead.open_sealed(KEY, NONCE, b"", bytes(size), BUFFER)


@both
def test_the_longest_message_is_65535_bytes(aead: Aead) -> None:
    sealed = aead.seal(KEY, NONCE, b"", bytes(MAX_PLAINTEXT), BUFFER)
    assert len(sealed) == 65_535
    assert aead.open_sealed(KEY, NONCE, b"", sealed, BUFFER) == bytes(MAX_PLAINTEXT)
    with pytest.raises(LocalProtocolError):
        aead.seal(KEY, NONCE, b"", bytes(MAX_PLAINTEXT + 1), BUFFER)


@both
@pytest.mark.parametrize(
    ("key", "nonce"), [(KEY[:31], NONCE), (KEY + b"\0", NONCE), (KEY, NONCE[:11]), (KEY, NONCE + b"\0")]
)
def test_c_never_sees_a_key_or_nonce_of_another_length(aead: Aead, key: bytes, nonce: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        aead.seal(key, nonce, b"", b"text", BUFFER)
    with pytest.raises(LocalProtocolError):
        aead.open_sealed(key, nonce, b"", bytes(32), BUFFER)


@pytest.mark.parametrize("point", SMALL_ORDER, ids=hex)
def test_a_point_of_small_order_is_no_key(point: int) -> None:
    with pytest.raises(HandshakeFailed, match="low order"):
        dh(KEY, point.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_x25519_keys_have_32_bytes(size: int) -> None:
    with pytest.raises(LocalProtocolError):
        public_key(bytes(size))
    with pytest.raises(LocalProtocolError):
        dh(bytes(size), public_key(KEY))
    with pytest.raises(HandshakeFailed, match=f"{size} bytes"):
        dh(KEY, bytes(size))


def test_both_sides_of_the_suite_share_one_secret() -> None:
    one, other = WARP_SUITE.key_pair(KEY), WARP_SUITE.key_pair(bytes(reversed(KEY)))
    assert one == KeyPair(KEY, public_key(KEY))
    assert WARP_SUITE.shared(one, other.public, True) == WARP_SUITE.shared(other, one.public, False)


def test_two_threads_with_a_buffer_each_make_and_read_only_correct_records() -> None:
    """cffi lets go of the GIL in the call: with one buffer between them some thousand of these records are wrong."""
    rounds = 20_000
    wrong: dict[bytes, int] = {}
    start = threading.Barrier(2)

    def work(name: bytes) -> None:
        buffer = new_buffer()
        text, key = name * 25, name * 16
        expected = PUBLIC.seal(key, NONCE, b"", text, buffer)
        start.wait()
        bad = 0
        for _ in range(rounds):
            bad += primitives.seal(key, NONCE, b"", text, buffer) != expected
            try:
                bad += primitives.open_sealed(key, NONCE, b"", expected, buffer) != text
            except BadRecord:
                bad += 1
        wrong[name] = bad

    threads = [threading.Thread(target=work, args=(name,)) for name in (b"ab", b"cd")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == {b"ab": 0, b"cd": 0}
