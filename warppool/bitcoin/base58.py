"""Base58 with a checksum of four bytes: the form of addresses before segwit, and of keys that people copy."""

from __future__ import annotations

from warppool.bitcoin.hashes import double_sha256

CHECKSUM_SIZE = 4
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUE = {character: value for value, character in enumerate(_ALPHABET)}
_MAX_LENGTH = 128       # characters: the work grows with the square of the length, and what we read has 60 at most


def decode_base58check(text: str) -> bytes:
    """The bytes of `text`, without the checksum; ValueError for a character that Base58 lacks, or a wrong checksum.

    Each "1" at the beginning of the text is a zero byte.
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"is longer than {_MAX_LENGTH} characters")
    number = 0
    for character in text:
        if character not in _VALUE:
            raise ValueError(f"has the character {character!r}, which Base58 lacks")
        number = number * 58 + _VALUE[character]
    zeros = len(text) - len(text.lstrip("1"))
    data = b"\x00" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload, checksum = data[:-CHECKSUM_SIZE], data[-CHECKSUM_SIZE:]
    if len(data) < CHECKSUM_SIZE or double_sha256(payload)[:CHECKSUM_SIZE] != checksum:
        raise ValueError("has a wrong checksum")
    return payload


def encode_base58check(payload: bytes) -> str:
    """The text of `payload`, with its checksum."""
    data = payload + double_sha256(payload)[:CHECKSUM_SIZE]
    zeros = len(data) - len(data.lstrip(b"\x00"))
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, value = divmod(number, 58)
        text = _ALPHABET[value] + text
    return "1" * zeros + text
