"""Merkle trees: the root of a block's transactions, and the path that leads there from the coinbase.

A miner changes only the coinbase, which is always the leftmost leaf, so the right-hand neighbours on its way up are all
that a job needs, however many transactions the block holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from warppool.bitcoin.hashes import double_sha256


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """The root over the hashes of a block in order, the coinbase's first; ValueError if there are none.

    A level of odd length repeats its last hash.
    """
    if not hashes:
        raise ValueError("a merkle tree has at least one leaf")
    level = list(hashes)
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def merkle_path(hashes_without_coinbase: Sequence[bytes]) -> tuple[bytes, ...]:
    """The coinbase's right-hand neighbours from the leaves up; empty for a block of the coinbase alone."""
    level = [b"", *hashes_without_coinbase]         # its own place stays open on every level
    path = []
    while len(level) > 1:
        path.append(level[1])
        level = [b"", *_level_above(level[2:])]
    return tuple(path)


def fold_merkle_path(coinbase_txid: bytes, path: Iterable[bytes]) -> bytes:
    """The root that a coinbase gives: both are 32 bytes in header order.

    Runs once a share, so it calls hashlib itself.
    """
    root = coinbase_txid
    for neighbour in path:
        root = sha256(sha256(root + neighbour).digest()).digest()
    return root


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    pairs = [*level, level[-1]] if len(level) % 2 else level
    return [double_sha256(pairs[i] + pairs[i + 1]) for i in range(0, len(pairs), 2)]
