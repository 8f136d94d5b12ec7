"""The texts of authority keys and secrets: both ways, and what is refused with a reason."""

from __future__ import annotations

import hashlib

import pytest
from btclib_secp256k1 import xonly

from tests.noise.specends import AUTHORITY, AUTHORITY_SECRET, AUTHORITY_TEXT
from warppool.authority import authority_key_text, is_on_curve, parse_authority_key, parse_secret
from warppool.bitcoin.base58 import encode_base58check
from warppool.noise.secp256k1 import xonly_of_secret

SRI_PUBLIC = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"      # the pair in SRI's example files
SRI_SECRET = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n"
PUBLISHED = ("9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh",            # the example of the specification
             "76637000979c1c11af0c300bcd8c7fe48610fce9b9c11e3daee35ae0b08a7455")


@pytest.mark.parametrize(("text", "key"), [PUBLISHED, (AUTHORITY_TEXT, AUTHORITY.hex())])
def test_a_public_key_goes_both_ways(text: str, key: str) -> None:
    assert parse_authority_key(text).hex() == key
    assert authority_key_text(bytes.fromhex(key)) == text


def old_form(key: bytes) -> str:
    return encode_base58check(b"\x4b\x69" + key)


@pytest.mark.parametrize(("text", "words"), [
    ("", "wrong checksum"),
    (AUTHORITY_TEXT[:-1] + "B", "wrong checksum"),
    (AUTHORITY_TEXT + "0", "has the character '0'"),
    (AUTHORITY_TEXT * 3, "longer than 128 characters"),
    (encode_base58check(b"\x01\x00" + AUTHORITY[:31]), "has 33 bytes: a public key has 34"),
    (encode_base58check(b"\x01\x00" + AUTHORITY + b"\0"), "has 35 bytes"),
    (SRI_SECRET, "has 32 bytes: a public key has 34, and this may be a secret one"),
    (encode_base58check(b"\x02\x00" + AUTHORITY), "version 0200"),
    (encode_base58check(b"\x00\x01" + AUTHORITY), "version 0001"),
    (encode_base58check(b"\x01\x00" + bytes(31) + b"\x05"), "no point of secp256k1"),
    (encode_base58check(b"\x01\x00" + bytes(32)), "no point of secp256k1"),
    (encode_base58check(b"\x01\x00" + b"\xff" * 32), "no point of secp256k1"),
    (old_form(AUTHORITY), "an older draft"),
])
def test_what_is_no_public_key_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_authority_key(text)
    assert old_form(AUTHORITY).startswith("CA")


def test_a_secret_is_hex_or_what_sri_writes() -> None:
    assert parse_secret(AUTHORITY_SECRET.hex()) == AUTHORITY_SECRET == parse_secret(AUTHORITY_SECRET.hex().upper())
    assert authority_key_text(xonly_of_secret(parse_secret(SRI_SECRET))) == SRI_PUBLIC


@pytest.mark.parametrize(("text", "words"), [
    ("", "neither 64 hex digits nor Base58"), ("zz" * 32, "neither"), ("07" * 31, "neither"),
    (SRI_SECRET[:-1], "neither"), (SRI_PUBLIC, "has 34 bytes: a secret key has 32"),
    ("00" * 32, "out of range"), ("ff" * 32, "out of range"),
    ("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", "out of range"),
])
def test_what_is_no_secret_is_refused_and_not_shown(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_secret(text)
    assert not text or text not in str(caught.value)


def test_half_of_all_coordinates_are_on_the_curve_as_the_library_finds() -> None:
    points = [hashlib.sha256(bytes([each])).digest() for each in range(64)]
    assert [is_on_curve(point) for point in points] == [xonly.pubkey_verify(point) for point in points]
    assert 10 < sum(map(is_on_curve, points)) < 54
