"""A whole block, assembled from its header, coinbase and transactions; and how many new coins it may claim."""

from __future__ import annotations

from collections.abc import Sequence

from warppool.bitcoin.compactsize import encode_compact_size
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import HEADER_SIZE

LEAST_VERSION = 4
"""Of a header (BIP65): nodes refuse blocks below it."""

MAX_BLOCK_WEIGHT = 4_000_000
"""Weight units of a block (BIP141), by consensus."""

MAX_BLOCK_SIGOPS = 80_000
"""Units of sigop cost of a block (BIP141), by consensus."""

_FIRST_SUBSIDY_SAT = 50 * 100_000_000
_HALVING_INTERVAL = {"main": 210_000, "testnet4": 210_000, "signet": 210_000, "regtest": 150}    # blocks


def block_hash(header: bytes) -> bytes:
    """The hash of an 80-byte header, 32 bytes in header order; ValueError for any other length."""
    if len(header) != HEADER_SIZE:
        raise ValueError(f"a header has {HEADER_SIZE} bytes, not {len(header)}")
    return double_sha256(header)


def assemble_block(header: bytes, coinbase_tx: bytes, transactions: Sequence[bytes]) -> bytes:
    """The serialized block: header, number of transactions, coinbase, then `transactions` in the template's order.

    The caller gives the coinbase in segwit form if the block has witnesses, or a commitment to witnesses. ValueError
    unless the header has 80 bytes.
    """
    if len(header) != HEADER_SIZE:
        raise ValueError(f"a header has {HEADER_SIZE} bytes, not {len(header)}")
    return b"".join((header, encode_compact_size(1 + len(transactions)), coinbase_tx, *transactions))


def block_subsidy(height: int, network: str) -> int:
    """New coins of the block at `height`, in sat, without fees; ValueError for an unknown network or a bad height."""
    if network not in _HALVING_INTERVAL:
        raise ValueError(f"unknown network {network!r}")
    if height < 0:
        raise ValueError(f"{height} is not a block height")
    return _FIRST_SUBSIDY_SAT >> height // _HALVING_INTERVAL[network]
