"""Ids for people: what a format wants as an id, and nobody may have in clear."""

from __future__ import annotations

from hashlib import blake2b

KEY_SIZE = 32
"""Bytes of a key: random ones, made anew at each start."""


def masked(key: bytes, text: str) -> str:
    """Eight hex digits that stand for `text`. Without `key` nobody can tell what they stand for, or make others."""
    return blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=4).hexdigest()
