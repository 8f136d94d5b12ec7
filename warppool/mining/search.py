"""Searching nonces, for the CPU miner: pure, one slice at a time."""

from __future__ import annotations

import struct
from hashlib import sha256

_NONCE = struct.Struct("<I")


def search(header: bytes, target: int, start: int, count: int) -> int | None:
    """The first nonce from `start` on, among `count`, whose header hashes to `target` or below; None if there is none.

    `header` has 80 bytes, of which the last four, the nonce, are replaced. `start` + `count` is at most 2^32.
    """
    head = header[:76]
    pack = _NONCE.pack
    limit = target.to_bytes(32, "big")[:4]          # most hashes fall at their first bytes, which come last
    for nonce in range(start, start + count):
        digest = sha256(sha256(head + pack(nonce)).digest()).digest()
        if digest[:-5:-1] <= limit and int.from_bytes(digest, "little") <= target:
            return nonce
    return None
