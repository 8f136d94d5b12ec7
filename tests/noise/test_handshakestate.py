"""The published vectors of both suites; every wrong byte; every step out of its turn."""

from __future__ import annotations

import hashlib
from functools import partial

import pytest

from tests.noise.ends import (
    BUFFER,
    MINER_EPHEMERAL,
    SERVER_EPHEMERAL,
    SERVER_PUBLIC,
    SERVER_SECRET,
    VECTORS,
    WARP,
)
from tests.noise.test_primitives import SMALL_ORDER
from warppool.errors import HandshakeFailed, LocalProtocolError
from warppool.noise.handshakestate import Initiator, Responder
from warppool.noise.symmetricstate import WARP_SUITE, KeyPair, Suite, SymmetricState

SPEC = VECTORS["noise_spec"]


def initiator() -> Initiator:
    return Initiator(WARP_SUITE, WARP_SUITE.key_pair(MINER_EPHEMERAL), BUFFER)


def responder() -> Responder:
    return Responder(WARP_SUITE, WARP_SUITE.key_pair(SERVER_SECRET), WARP_SUITE.key_pair(SERVER_EPHEMERAL), BUFFER)


def test_the_warp_vector_holds_to_the_byte() -> None:
    miner, pool = initiator(), responder()
    assert WARP_SUITE.name.decode() == WARP["protocol_name"]
    assert miner.write_act_one() == WARP["act1"]
    pool.read_act_one(WARP["act1"])
    act_two, pool_receive, pool_send = pool.write_act_two(b"")
    assert act_two == WARP["act2"]
    payload, miner_receive, miner_send = miner.read_act_two(WARP["act2"])
    assert (payload, miner.rs) == (b"", SERVER_PUBLIC)
    assert miner.symmetric.h == pool.symmetric.h == WARP["h_final"]
    assert miner_send.k == pool_receive.k == WARP["k1_initiator_to_responder"]
    assert miner_receive.k == pool_send.k == WARP["k2_responder_to_initiator"]
    assert miner_send.n == miner_receive.n == pool_send.n == pool_receive.n == 0


def spec(name: str) -> bytes:
    """A value of the published suite's vector."""
    return bytes.fromhex(SPEC[name])


def spec_suite() -> Suite:
    """The published suite with its curve read from the vector: the rest of it is our code."""
    e_initiator, e_responder, s = (
        KeyPair(spec(f"{whose}_secret"), spec(f"{whose}_ellswift"))
        for whose in ("initiator_ephemeral", "responder_ephemeral", "responder_static")
    )
    table = {
        (e_initiator, e_responder.public, True): spec("ecdh_ee"),
        (e_responder, e_initiator.public, False): spec("ecdh_ee"),
        (e_initiator, s.public, True): spec("ecdh_es"),
        (s, e_initiator.public, False): spec("ecdh_es"),
    }
    publics = {pair.secret: pair.public for pair in (e_initiator, e_responder, s)}
    return Suite(
        name=SPEC["protocol_name"].encode(),
        hash=hashlib.sha256,
        dh_len=64,
        act_two_payload_len=74,
        public_key=publics.__getitem__,
        shared=lambda own, peer, is_initiator: table[own, peer, is_initiator],
    )


def test_a_suite_with_longer_keys_another_hash_and_a_payload_fits_in() -> None:
    suite = spec_suite()
    act_one, act_two = spec("act1"), spec("act2")
    assert (suite.act_one_len, suite.act_two_len) == (64, 234) == (len(act_one), len(act_two))
    miner = Initiator(suite, suite.key_pair(spec("initiator_ephemeral_secret")), BUFFER)
    pool = Responder(
        suite,
        suite.key_pair(spec("responder_static_secret")),
        suite.key_pair(spec("responder_ephemeral_secret")),
        BUFFER,
    )
    assert SymmetricState(suite, BUFFER).ck == spec("ck_initial")
    assert miner.symmetric.h == spec("h_initial")
    assert miner.write_act_one() == act_one
    pool.read_act_one(act_one)
    assert miner.symmetric.h == pool.symmetric.h == spec("h_after_act1")
    payload, miner_receive, miner_send = miner.read_act_two(act_two)
    assert len(payload) == 74
    assert payload[10:] == spec("cert_signature_aux_zero")
    assert miner.rs == spec("responder_static_ellswift")
    assert pool.write_act_two(payload)[0] == act_two
    assert miner.symmetric.h == pool.symmetric.h == spec("h_final")
    assert miner_send.k == spec("k1_initiator_to_responder")
    assert miner_receive.k == spec("k2_responder_to_initiator")


@pytest.mark.parametrize(("name", "h"), [
    (b"Noise_NX_25519_ChaChaPoly_BLAKE2s", "9227ce1a77033df3f24cd192c19c0bbea8d5d70a36c4837fdc6ff1418f04b425"),
    (b"Noise_NX_of_32_bytes_exactly____", b"Noise_NX_of_32_bytes_exactly____".hex()),
    (b"Noise_NX_short", b"Noise_NX_short".hex() + "00" * 18),
])
def test_a_name_that_fits_the_hash_is_padded_and_a_longer_one_hashed(name: bytes, h: str) -> None:
    suite = Suite(name, hashlib.blake2s, 32, 0, WARP_SUITE.public_key, WARP_SUITE.shared)
    assert SymmetricState(suite, BUFFER).h.hex() == h


@pytest.mark.parametrize("at", range(96))
def test_any_flipped_bit_of_act_two_is_refused(at: int) -> None:
    for bit in range(8):
        miner = initiator()
        miner.write_act_one()
        act_two = bytearray(WARP["act2"])
        act_two[at] ^= 1 << bit
        with pytest.raises(HandshakeFailed):
            miner.read_act_two(bytes(act_two))


@pytest.mark.parametrize("at", range(32))
def test_any_flipped_bit_of_act_one_fails_at_the_initiator(at: int) -> None:
    """The responder cannot know; what it answers to other bytes than were sent does not open. X25519 masks one bit."""
    for bit in range(8):
        miner, pool = initiator(), responder()
        act_one = bytearray(miner.write_act_one())
        act_one[at] ^= 1 << bit
        pool.read_act_one(bytes(act_one))
        act_two, _, _ = pool.write_act_two(b"")
        with pytest.raises(HandshakeFailed, match="failed tag"):
            miner.read_act_two(act_two)


@pytest.mark.parametrize("point", SMALL_ORDER, ids=hex)
def test_a_small_order_point_in_act_one_is_refused(point: int) -> None:
    pool = responder()
    pool.read_act_one(point.to_bytes(32, "little"))
    with pytest.raises(HandshakeFailed, match="low order"):
        pool.write_act_two(b"")


@pytest.mark.parametrize("point", SMALL_ORDER, ids=hex)
def test_a_small_order_point_as_ephemeral_key_of_act_two_is_refused(point: int) -> None:
    miner = initiator()
    miner.write_act_one()
    with pytest.raises(HandshakeFailed, match="low order"):
        miner.read_act_two(point.to_bytes(32, "little") + WARP["act2"][32:])


@pytest.mark.parametrize("point", SMALL_ORDER, ids=hex)
def test_a_small_order_point_as_static_key_is_refused(point: int) -> None:
    """A server may seal any 32 bytes as its static key; with such a one everybody knows the `es` that follows."""
    miner = initiator()
    e, forged = WARP_SUITE.key_pair(SERVER_EPHEMERAL), KeyPair(SERVER_SECRET, point.to_bytes(32, "little"))
    pool = Responder(WARP_SUITE, forged, e, BUFFER)
    pool.read_act_one(miner.write_act_one())
    act_two, _, _ = pool.write_act_two(b"")
    with pytest.raises(HandshakeFailed, match="low order"):
        miner.read_act_two(act_two)


def test_who_seals_anothers_public_key_cannot_finish() -> None:
    """The real key of the pool without its secret: the last tag proves that the server has both."""
    miner = initiator()
    thief = KeyPair(MINER_EPHEMERAL, SERVER_PUBLIC)
    pool = Responder(WARP_SUITE, thief, WARP_SUITE.key_pair(SERVER_EPHEMERAL), BUFFER)
    pool.read_act_one(miner.write_act_one())
    with pytest.raises(HandshakeFailed, match="failed tag"):
        miner.read_act_two(pool.write_act_two(b"")[0])


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_act_one_has_32_bytes(size: int) -> None:
    with pytest.raises(HandshakeFailed, match=f"act one has {size} bytes instead of 32"):
        responder().read_act_one(bytes(size))


@pytest.mark.parametrize("size", [0, 32, 80, 95, 97, 170])
def test_act_two_has_96_bytes(size: int) -> None:
    miner = initiator()
    miner.write_act_one()
    with pytest.raises(HandshakeFailed, match=f"act two has {size} bytes instead of 96"):
        miner.read_act_two((WARP["act2"] * 2)[:size])


def test_the_payload_of_act_two_has_the_length_that_the_suite_says() -> None:
    pool = responder()
    pool.read_act_one(WARP["act1"])
    with pytest.raises(LocalProtocolError, match="payload of 1 bytes"):
        pool.write_act_two(b"x")


def test_a_step_out_of_turn_is_our_own_fault() -> None:
    with pytest.raises(LocalProtocolError, match="waits for write_act_one"):
        initiator().read_act_two(WARP["act2"])
    with pytest.raises(LocalProtocolError, match="waits for read_act_one"):
        responder().write_act_two(b"")


def test_a_handshake_that_is_done_is_over() -> None:
    miner, pool = initiator(), responder()
    pool.read_act_one(miner.write_act_one())
    miner.read_act_two(pool.write_act_two(b"")[0])
    for again in (miner.write_act_one, partial(miner.read_act_two, WARP["act2"]),
                  partial(pool.read_act_one, WARP["act1"]), partial(pool.write_act_two, b"")):
        with pytest.raises(LocalProtocolError, match="is over"):
            again()


def test_a_handshake_that_failed_is_over_and_nothing_is_tried_again() -> None:
    miner, pool = initiator(), responder()
    miner.write_act_one()
    with pytest.raises(HandshakeFailed):
        miner.read_act_two(bytes(96))
    with pytest.raises(LocalProtocolError, match="is over"):
        miner.read_act_two(WARP["act2"])
    with pytest.raises(HandshakeFailed):
        pool.read_act_one(b"")
    with pytest.raises(LocalProtocolError, match="is over"):
        pool.read_act_one(WARP["act1"])
    pool = responder()
    pool.read_act_one(bytes(32))
    with pytest.raises(HandshakeFailed):
        pool.write_act_two(b"")
    with pytest.raises(LocalProtocolError, match="is over"):
        pool.write_act_two(b"")
