"""SHA-256 as Bitcoin uses it, and the two orders in which a hash is written.

*Header order*: the 32 bytes as SHA-256 returns them and as they stand in a block header. A hash is kept in this order
everywhere inside the program. *Display order*: the same bytes reversed, in hex, as people, block explorers and RPC
write them.
"""

from __future__ import annotations

import hashlib
import string

HASH_SIZE = 32
_HEX_DIGITS = frozenset(string.hexdigits)


def sha256(data: bytes) -> bytes:
    """One SHA-256 of `data`, 32 bytes."""
    return hashlib.sha256(data).digest()


def double_sha256(data: bytes) -> bytes:
    """SHA-256 of the SHA-256 of `data`, 32 bytes in header order: for ids of blocks and transactions, and in trees."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def to_display(header_order: bytes) -> str:
    """The 64 hex digits of a hash as people read it: the bytes reversed."""
    return header_order[::-1].hex()


def from_display(text: str) -> bytes:
    """The 32 bytes in header order of a hash as people write it; ValueError unless it is 64 hex digits."""
    if len(text) != 2 * HASH_SIZE or not _HEX_DIGITS.issuperset(text):
        raise ValueError(f"a hash has {2 * HASH_SIZE} hex digits, not {text[:2 * HASH_SIZE + 1]!r}")
    return bytes.fromhex(text)[::-1]
