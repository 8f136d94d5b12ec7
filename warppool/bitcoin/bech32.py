"""Bech32 (BIP173) and Bech32m (BIP350): text that carries 5-bit values, with a checksum of six such values.

The two encodings differ in one constant of the checksum. Which of the two is right depends on the values (for an
address: on the witness version), so the caller checks that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

MAX_LENGTH = 90             # characters: in longer text the checksum may miss errors
_CHECKSUM_LENGTH = 6
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


class Encoding(Enum):
    """Which checksum a text has; the value is the constant of that checksum."""

    BECH32 = 1
    BECH32M = 0x2BC830A3


def decode_bech32(text: str) -> tuple[str, tuple[int, ...], Encoding]:
    """(human-readable part in lower case, 5-bit values without the checksum, encoding).

    ValueError for mixed case, a character that Bech32 lacks, a wrong length, a missing part or a wrong checksum. The
    text of the error continues a sentence that begins with the text that was read.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters")
    if any(not 33 <= ord(character) <= 126 for character in text):
        raise ValueError("has a character that is not printable ASCII")
    lower = text.lower()
    if text not in (lower, text.upper()):
        raise ValueError("mixes upper and lower case")
    human, separator, data = lower.rpartition("1")
    if not separator or not human:
        raise ValueError('has no "1" behind a human-readable part')
    if len(data) < _CHECKSUM_LENGTH:
        raise ValueError("is too short for its checksum")
    for character in data:
        if character not in _VALUE:
            raise ValueError(f"has the character {character!r}, which Bech32 lacks")
    values = tuple(_VALUE[character] for character in data)
    try:
        encoding = Encoding(_polymod((*_expand(human), *values)))
    except ValueError:
        raise ValueError("has a wrong checksum") from None
    return human, values[:-_CHECKSUM_LENGTH], encoding


def encode_bech32(human: str, values: Sequence[int], encoding: Encoding) -> str:
    """The text, in lower case, of 5-bit `values` behind the lower-case human-readable part `human`."""
    checksum = _polymod((*_expand(human), *values, *(0,) * _CHECKSUM_LENGTH)) ^ encoding.value
    ends = (checksum >> 5 * (_CHECKSUM_LENGTH - 1 - place) & 31 for place in range(_CHECKSUM_LENGTH))
    return f"{human}1{''.join(_CHARSET[value] for value in (*values, *ends))}"


def values_of_bytes(data: bytes) -> tuple[int, ...]:
    """Regroup bytes into 5-bit values, with zeros behind the last bit; `bytes_of_values` undoes it."""
    size = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << size * 5 - len(data) * 8
    return tuple(number >> 5 * (size - 1 - place) & 31 for place in range(size))


def bytes_of_values(values: Sequence[int]) -> bytes:
    """Regroup 5-bit values into bytes; ValueError if the padding is not zeros, or has five bits or more."""
    spare = len(values) * 5 % 8
    number = 0
    for value in values:
        number = number << 5 | value
    if spare >= 5 or number & (1 << spare) - 1:
        raise ValueError("has a wrong padding at its end")
    return (number >> spare).to_bytes(len(values) * 5 // 8, "big")


def _expand(human: str) -> tuple[int, ...]:
    """The human-readable part as the checksum takes it: the high bits of all characters, a zero, their low bits."""
    return (*(ord(character) >> 5 for character in human), 0, *(ord(character) & 31 for character in human))


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FF_FFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                checksum ^= generator
    return checksum
