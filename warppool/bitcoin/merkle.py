"""Merkle trees: the root over a block's transactions, and the path from the coinbase up to the root.

A machine changes the coinbase alone, and the coinbase is always the first leaf. So a job needs one hash for each level
of the tree, the neighbour on the right, and not the transactions: 12 hashes for a block of 4,000 transactions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from warppool.bitcoin.hashes import double_sha256


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """The root over the transaction hashes of a block, the coinbase's first; ValueError if there are none.

    A level with an odd number of hashes repeats its last hash, as consensus does.
    """
    if not hashes:
        raise ValueError("a merkle tree has at least one leaf")
    level = list(hashes)
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def merkle_path(hashes_without_coinbase: Sequence[bytes]) -> tuple[bytes, ...]:
    """The neighbours on the right of the coinbase's branch, from the leaves up; () where the coinbase stands alone."""
    level = [b"", *hashes_without_coinbase]         # b"" stands for the coinbase's own branch on every level
    path = []
    while len(level) > 1:
        path.append(level[1])
        level = [b"", *_level_above(level[2:])]
    return tuple(path)


def fold_merkle_path(coinbase_txid: bytes, path: Iterable[bytes]) -> bytes:
    """The merkle root for a coinbase with this txid. All hashes are 32 bytes in header order.

    This runs for every share. It calls hashlib and not `double_sha256`, which saves a call for each level.
    """
    root = coinbase_txid
    for neighbour in path:
        root = sha256(sha256(root + neighbour).digest()).digest()
    return root


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    pairs = [*level, level[-1]] if len(level) % 2 else level
    return [double_sha256(pairs[i] + pairs[i + 1]) for i in range(0, len(pairs), 2)]
