"""CompactSize: how transactions and blocks write a count, in 1 to 9 bytes.

A number below 0xfd is one byte. Any other is a mark (0xfd, 0xfe, 0xff) and then 2, 4 or 8 bytes, little-endian. The
node refuses a number that is not in its shortest form, so we neither write nor read one.
"""

from __future__ import annotations

MAX_COMPACT_SIZE = 2**64 - 1
_WIDTH_OF_MARK = {0xFD: 2, 0xFE: 4, 0xFF: 8}
_LEAST_OF_MARK = {0xFD: 0xFD, 0xFE: 0x1_0000, 0xFF: 0x1_0000_0000}


def encode_compact_size(number: int) -> bytes:
    """The 1, 3, 5 or 9 bytes of `number`; ValueError outside 0..2^64-1."""
    if not 0 <= number <= MAX_COMPACT_SIZE:
        raise ValueError(f"{number} does not fit a CompactSize")
    if number < 0xFD:
        return bytes((number,))
    if number <= 0xFFFF:
        return b"\xfd" + number.to_bytes(2, "little")
    if number <= 0xFFFF_FFFF:
        return b"\xfe" + number.to_bytes(4, "little")
    return b"\xff" + number.to_bytes(8, "little")


def decode_compact_size(data: bytes, offset: int = 0) -> tuple[int, int]:
    """(the number at `offset`, the offset after it); ValueError if bytes are missing or a shorter form exists."""
    if not 0 <= offset < len(data):
        raise ValueError("the bytes end where a CompactSize should stand")
    mark = data[offset]
    if mark < 0xFD:
        return mark, offset + 1
    end = offset + 1 + _WIDTH_OF_MARK[mark]
    if end > len(data):
        raise ValueError("the bytes end inside a CompactSize")
    number = int.from_bytes(data[offset + 1:end], "little")
    if number < _LEAST_OF_MARK[mark]:
        raise ValueError(f"{number} is not in its shortest CompactSize form")
    return number, end
