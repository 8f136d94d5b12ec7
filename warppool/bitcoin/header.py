"""The block header, 80 bytes: packed for every share, and unpacked where a block is read."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_SIZE = 80
_LAYOUT = struct.Struct("<I32s32sIII")

pack_checked = _LAYOUT.pack
"""`pack_header` for hashes that are known to have 32 bytes: every share asks, and this is no call of Python's."""


def pack_header(version: int, prev_hash: bytes, merkle_root: bytes, ntime: int, nbits: int, nonce: int) -> bytes:
    """The 80 bytes of a header; both hashes are 32 bytes in header order, the numbers are U32.

    ValueError for a hash of another length: struct would pad or cut it and say nothing. struct.error for a number that
    is no U32.
    """
    if len(prev_hash) != 32 or len(merkle_root) != 32:
        raise ValueError(f"hashes have 32 bytes, not {len(prev_hash)} and {len(merkle_root)}")
    return pack_checked(version, prev_hash, merkle_root, ntime, nbits, nonce)


@dataclass(frozen=True, slots=True)
class Header:
    """A block header, field by field in wire order."""

    version: int            # U32; nodes read the same four bytes as a signed number
    prev_hash: bytes        # 32 bytes, header order
    merkle_root: bytes      # 32 bytes, header order
    ntime: int              # Unix seconds
    nbits: int              # compact target
    nonce: int

    @classmethod
    def unpack(cls, data: bytes) -> Header:
        """Read exactly 80 bytes; ValueError for any other length."""
        if len(data) != HEADER_SIZE:
            raise ValueError(f"a header has {HEADER_SIZE} bytes, not {len(data)}")
        return cls(*_LAYOUT.unpack(data))

    def pack(self) -> bytes:
        """The 80 bytes again."""
        return pack_header(self.version, self.prev_hash, self.merkle_root, self.ntime, self.nbits, self.nonce)
