"""The published suite on the real curve: the vector to the byte, and the certificate that an initiator checks."""

from __future__ import annotations

import pytest

from tests.noise.ends import BUFFER
from tests.noise.specends import (
    AUTHORITY,
    AUTHORITY_SECRET,
    CERTIFICATE,
    NAME,
    NOT_VALID_AFTER,
    NOW,
    SPEC,
    STATIC,
    STATIC_XONLY,
    VALID_FROM,
    certified,
    miner,
    opened,
    server,
)
from warppool.errors import HandshakeFailed, WrongServerKey
from warppool.noise.certificate import LAST_TIME, LEEWAY_S, NoiseCertificate, issue
from warppool.noise.handshakestate import Initiator, Responder
from warppool.noise.secp256k1 import xonly_of_ellswift, xonly_of_secret
from warppool.noise.specsuite import SPEC_SUITE
from warppool.noise.symmetricstate import KeyPair, SymmetricState

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
PRIME = 2**256 - 2**32 - 977
OTHER_SECRET = bytes(31) + b"\x07"
OFF_CURVE = bytes(31) + b"\x05"                     # no point has this x


def pair(whose: str) -> KeyPair:
    return KeyPair(SPEC[f"{whose}_secret"], SPEC[f"{whose}_ellswift"])


def test_the_vector_holds_to_the_byte() -> None:
    suite = SPEC_SUITE
    assert suite.name.decode() == NAME
    assert (suite.act_one_len, suite.act_two_len) == (64, 234) == (len(SPEC["act1"]), len(SPEC["act2"]))
    initiator = Initiator(suite, pair("initiator_ephemeral"), BUFFER)
    responder = Responder(suite, pair("responder_static"), pair("responder_ephemeral"), BUFFER)
    assert SymmetricState(suite, BUFFER).ck == SPEC["ck_initial"] and initiator.symmetric.h == SPEC["h_initial"]
    assert initiator.write_act_one() == SPEC["act1"]
    responder.read_act_one(SPEC["act1"])
    assert initiator.symmetric.h == responder.symmetric.h == SPEC["h_after_act1"]
    act_two, receive, send = responder.write_act_two(CERTIFICATE.encode())
    assert act_two == SPEC["act2"]
    payload, miner_receive, miner_send = initiator.read_act_two(act_two)
    assert NoiseCertificate.decode(payload) == CERTIFICATE
    assert initiator.rs == SPEC["responder_static_ellswift"]
    assert initiator.symmetric.h == responder.symmetric.h == SPEC["h_final"]
    assert receive.k == miner_send.k == SPEC["k1_initiator_to_responder"]
    assert send.k == miner_receive.k == SPEC["k2_responder_to_initiator"]


def test_both_dh_are_those_of_the_vector() -> None:
    e_initiator, e_responder, s = map(pair, ("initiator_ephemeral", "responder_ephemeral", "responder_static"))
    assert SPEC_SUITE.shared(e_initiator, e_responder.public, True) == SPEC["ecdh_ee"]
    assert SPEC_SUITE.shared(e_responder, e_initiator.public, False) == SPEC["ecdh_ee"]
    assert SPEC_SUITE.shared(e_initiator, s.public, True) == SPEC["ecdh_es"]
    assert SPEC_SUITE.shared(s, e_initiator.public, False) == SPEC["ecdh_es"]


def test_the_certificate_is_that_of_the_vector() -> None:
    assert xonly_of_ellswift(STATIC.public) == xonly_of_secret(STATIC.secret) == STATIC_XONLY
    assert xonly_of_secret(AUTHORITY_SECRET) == AUTHORITY
    assert CERTIFICATE.digest_for(STATIC_XONLY) == SPEC["cert_message_hash"]
    assert issue(AUTHORITY_SECRET, STATIC_XONLY, VALID_FROM, NOT_VALID_AFTER) == CERTIFICATE
    assert CERTIFICATE.is_of(AUTHORITY, STATIC_XONLY)
    assert len(CERTIFICATE.encode()) == 74 and CERTIFICATE.encode()[:10].hex() == "0000" + "00f15365" + "00943577"
    assert NoiseCertificate.decode(CERTIFICATE.encode()) == CERTIFICATE


# --- what an initiator refuses ----------------------------------------------------------------------------------------

def verdict(payload: bytes, authority: bytes = AUTHORITY, now: float = NOW) -> None:
    """A handshake with a server that shows `payload`, by a miner who knows `authority`; raises what ends it."""
    initiator, responder = miner(authority, now), server(payload)
    opened(responder, initiator.seal(b""))
    opened(initiator, responder.seal(b""))
    assert initiator.is_established


def test_a_good_certificate_is_taken() -> None:
    verdict(CERTIFICATE.encode())
    verdict(certified(0, 0, LAST_TIME))


@pytest.mark.parametrize("version", [1, 256, 65_535])
def test_a_certificate_of_another_version_is_refused(version: int) -> None:
    with pytest.raises(HandshakeFailed, match=f"version {version} instead of 0"):
        verdict(certified(version))


@pytest.mark.parametrize(("now", "is_good"), [
    (VALID_FROM - LEEWAY_S - 1, False), (VALID_FROM - LEEWAY_S, True),
    (NOT_VALID_AFTER + LEEWAY_S, True), (NOT_VALID_AFTER + LEEWAY_S + 1, False),
])
def test_clocks_may_be_ten_seconds_apart(now: int, is_good: bool) -> None:
    if is_good:
        verdict(CERTIFICATE.encode(), now=float(now))
        return
    with pytest.raises(HandshakeFailed, match="our clock says") as caught:
        verdict(CERTIFICATE.encode(), now=float(now))
    assert not isinstance(caught.value, WrongServerKey)     # who tries again later may find it renewed


def test_a_certificate_is_judged_when_it_comes() -> None:
    """SRI's pool makes one for each connection, good from that moment on: a slow network must not make it premature."""
    for waited, is_good in ((0.0, False), (49.0, False), (50.0, True), (3_600.0, True), (-60.0, False)):
        initiator, responder = miner(), server(certified(0, int(NOW) + 60))
        opened(responder, initiator.seal(b""))
        initiator.open(responder.seal(b""), waited)
        assert initiator.is_established == is_good


@pytest.mark.parametrize(("valid_from", "not_valid_after"), [
    (int(NOW) + 11, LAST_TIME), (0, int(NOW) - 11), (int(NOW) + 3_600, int(NOW) - 3_600), (LAST_TIME, 0),
])
def test_a_certificate_out_of_its_time_is_refused(valid_from: int, not_valid_after: int) -> None:
    with pytest.raises(HandshakeFailed, match="our clock says"):
        verdict(certified(0, valid_from, not_valid_after))


R, S = CERTIFICATE.signature[:32], CERTIFICATE.signature[32:]


@pytest.mark.parametrize("signature", [
    bytes(64), b"\xff" * 64, R + bytes(32), bytes(32) + S,
    PRIME.to_bytes(32, "big") + S,                                              # r is no coordinate
    (int.from_bytes(R, "big") ^ 1).to_bytes(32, "big") + S,
    OFF_CURVE + S,                                                              # r is the x of no point
    R + ORDER.to_bytes(32, "big"), R + (ORDER + 1).to_bytes(32, "big"),         # s is out of range
    R + (ORDER - int.from_bytes(S, "big")).to_bytes(32, "big"), S + R,
])
def test_a_signature_that_is_none_is_refused(signature: bytes) -> None:
    with pytest.raises(WrongServerKey, match=f"{AUTHORITY.hex()} has not signed"):
        verdict(CERTIFICATE._replace(signature=signature).encode())


@pytest.mark.parametrize("at", [*range(2, 10), 10, 41, 42, 73])
def test_any_changed_byte_of_a_certificate_is_refused(at: int) -> None:
    payload = bytearray(CERTIFICATE.encode())
    payload[at] ^= 1
    with pytest.raises(HandshakeFailed):
        verdict(bytes(payload))


def test_another_authority_is_a_wrong_server() -> None:
    with pytest.raises(WrongServerKey):
        verdict(certified(secret=OTHER_SECRET))
    with pytest.raises(WrongServerKey):
        verdict(CERTIFICATE.encode(), authority=xonly_of_secret(OTHER_SECRET))


def test_a_certificate_of_another_server_is_refused() -> None:
    with pytest.raises(WrongServerKey):
        verdict(certified(static=xonly_of_secret(OTHER_SECRET)))


@pytest.mark.parametrize("authority", [OFF_CURVE, bytes(32), PRIME.to_bytes(32, "big"), b"", AUTHORITY[:31]])
def test_an_authority_key_off_the_curve_vouches_for_nobody(authority: bytes) -> None:
    with pytest.raises(WrongServerKey):
        verdict(CERTIFICATE.encode(), authority=authority)


@pytest.mark.parametrize("size", [0, 73, 75])
def test_a_certificate_has_74_bytes(size: int) -> None:
    with pytest.raises(HandshakeFailed, match=f"certificate of {size} bytes"):
        NoiseCertificate.decode(bytes(size))
