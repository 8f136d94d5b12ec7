"""secp256k1 by the vectors of BIP324 and BIP340, and what is no key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from btclib_secp256k1 import ssa

from warppool.authority import is_on_curve
from warppool.errors import HandshakeFailed, LocalProtocolError
from warppool.noise.secp256k1 import (
    ellswift_dh,
    ellswift_of_secret,
    is_secret,
    is_signed,
    sign,
    xonly_of_ellswift,
    xonly_of_secret,
)

VECTORS = Path(__file__).parent.parent / "vectors"
BIP324: dict[str, Any] = json.loads((VECTORS / "bip324.json").read_text())
BIP340: dict[str, Any] = json.loads((VECTORS / "bip340.json").read_text())
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
UNUSABLE = [bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32, b"", bytes(31) + b"\1\0"]


# --- BIP324 -----------------------------------------------------------------------------------------------------------

def test_every_encoding_of_bip324_is_a_key() -> None:
    assert len(BIP324["decode"]) == 76
    assert sum(">=p" in comment for _, _, comment in BIP324["decode"]) > 40        # not canonical, and still keys
    for encoding, x, comment in BIP324["decode"]:
        assert xonly_of_ellswift(bytes.fromhex(encoding)).hex() == x, comment


@pytest.mark.parametrize("vector", BIP324["dh"], ids=range(len(BIP324["dh"])))
def test_the_dh_is_that_of_bip324(vector: dict[str, Any]) -> None:
    secret, ours, theirs = (bytes.fromhex(vector[name]) for name in ("secret", "ours", "theirs"))
    assert xonly_of_secret(secret).hex() == xonly_of_ellswift(ours).hex() == vector["x_ours"]
    assert xonly_of_ellswift(theirs).hex() == vector["x_theirs"]
    assert ellswift_dh(secret, ours, theirs, vector["is_initiator"]).hex() == vector["shared"]
    assert ellswift_dh(secret, ours, theirs, not vector["is_initiator"]).hex() != vector["shared"]


def test_the_dh_hashes_the_encodings_that_were_sent() -> None:
    """Two encodings of one key give two secrets: whoever encodes a received key anew gets another one."""
    first, second = (bytes.fromhex(BIP324["decode"][number][0]) for number in (0, 6))
    secret = bytes(31) + b"\7"
    ours = ellswift_of_secret(secret)
    assert xonly_of_ellswift(first) == xonly_of_ellswift(second)
    assert ellswift_dh(secret, ours, first, True) != ellswift_dh(secret, ours, second, True)


def test_both_sides_have_one_secret() -> None:
    one, other = (bytes(31) + bytes([each]) for each in (7, 9))
    publics = ellswift_of_secret(one), ellswift_of_secret(other)
    assert ellswift_dh(one, publics[0], publics[1], True) == ellswift_dh(other, publics[1], publics[0], False)


def test_an_encoding_of_another_length_is_no_key() -> None:
    for size in (0, 32, 63, 65):
        with pytest.raises(HandshakeFailed, match=f"EllSwift key of {size} bytes"):
            ellswift_dh(bytes(31) + b"\7", bytes(64), bytes(size), True)
        with pytest.raises(LocalProtocolError):
            xonly_of_ellswift(bytes(size))


# --- BIP340 -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("vector", BIP340["signatures"], ids=lambda vector: vector["index"])
def test_a_signature_is_judged_as_bip340_does(vector: dict[str, Any]) -> None:
    public, message, signature = (bytes.fromhex(vector[name]) for name in ("public", "message", "signature"))
    assert is_signed(public, message, signature) == vector["is_good"], vector["comment"]
    assert is_on_curve(public) == ("public key" not in vector["comment"])


@pytest.mark.parametrize("vector", [vector for vector in BIP340["signatures"] if vector["secret"]],
                         ids=lambda vector: vector["index"])
def test_a_signature_is_made_as_bip340_does(vector: dict[str, Any]) -> None:
    """`sign` has no other randomness than zeros; the vectors with others show that the library under it is the one."""
    secret, message, aux = (bytes.fromhex(vector[name]) for name in ("secret", "message", "aux"))
    assert xonly_of_secret(secret).hex() == vector["public"]
    assert ssa.sign(message, secret, aux).hex() == vector["signature"] if len(message) == 32 else True
    if not any(aux) and len(message) == 32:
        assert sign(secret, message).hex() == vector["signature"]


def test_whoever_signs_is_known_by_the_signature() -> None:
    secret, digest = bytes(31) + b"\7", bytes(range(32))
    signature = sign(secret, digest)
    assert is_signed(xonly_of_secret(secret), digest, signature)
    assert not is_signed(xonly_of_secret(bytes(31) + b"\x09"), digest, signature)
    for public, said in ((b"", signature), (xonly_of_secret(secret), signature[:63]), (bytes(32), signature),
                         (xonly_of_secret(secret) + b"\0", signature), (b"\2" + xonly_of_secret(secret), signature)):
        assert not is_signed(public, digest, said)


# --- secrets ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("secret", UNUSABLE, ids=len)
def test_a_secret_out_of_range_is_none(secret: bytes) -> None:
    assert not is_secret(secret)
    for use in (ellswift_of_secret, xonly_of_secret, lambda each: sign(each, bytes(32)),
                lambda each: ellswift_dh(each, bytes(64), bytes(64), True)):
        with pytest.raises(LocalProtocolError):
            use(secret)


def test_the_public_key_of_a_secret_is_always_the_same() -> None:
    for secret in (bytes(31) + b"\1", (ORDER - 1).to_bytes(32, "big")):
        assert is_secret(secret) and ellswift_of_secret(secret) == ellswift_of_secret(secret)
        assert xonly_of_ellswift(ellswift_of_secret(secret)) == xonly_of_secret(secret)
