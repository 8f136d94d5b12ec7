"""The header of an export, read by somebody who does not trust whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from warppool.payout.export import HEADER_KEYS, HOUR_COLUMNS, KIND, VERSION
from warppool.payout.rules import PayoutRules
from warppool.payout.snapshot import ORDER, SNAPSHOT_ID_SIZE
from warppool.payout.weight import network_weight, weight_of_text
from warppool.payout.window import WindowEnd, WindowFacts

MAX_NUMBER = 2**63 - 1


class AuditError(ValueError):
    """The file is not what an export is, or the block does not pay what it should; the text says where."""


class BlockClaim(NamedTuple):
    """What the header says of a block. Hashes are in header order, `room` is in bytes."""

    height: int
    block_hash: bytes
    coinbase: bytes
    value_sat: int
    nbits: int
    rules: PayoutRules
    window: WindowFacts
    room: int
    pays_balances: bool
    balances: dict[str, int]
    gone: dict[str, int]
    snapshot_id: bytes
    snapshot_tip: bytes
    snapshot_tip_height: int


def read_header(line: str) -> BlockClaim:
    """The first line of an export; AuditError unless it has each key, and nothing else, in the form that we write."""
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        raise AuditError("line 1 is no JSON") from None
    if not isinstance(read, dict) or set(read) != set(HEADER_KEYS):
        keys = set(read) if isinstance(read, dict) else set()
        odd = min(set(HEADER_KEYS) - keys or keys - set(HEADER_KEYS))
        raise AuditError(f"line 1 is no header of an export: {odd!r} is {'not known' if odd in keys else 'missing'}")
    for key, known in (("kind", KIND), ("version", VERSION), ("order", ORDER), ("hours", list(HOUR_COLUMNS))):
        if read[key] != known:
            raise AuditError(f"line 1: {key} is {read[key]!r}, and this program knows {known!r}")
    try:
        claim = _claim(read)
        for nbits in (claim.nbits, claim.window.highest_nbits):
            network_weight(nbits)
    except (ValueError, TypeError, AttributeError) as exc:
        raise AuditError(f"line 1: {exc}") from None
    if read["network"] != claim.rules.network:
        raise AuditError(f"line 1: network is {read['network']!r}, the rules say {claim.rules.network!r}")
    return claim


def _claim(read: Mapping[str, object]) -> BlockClaim:
    return BlockClaim(
        height=_whole(read, "height"), block_hash=_bytes(read, "hash", 32)[::-1], coinbase=_bytes(read, "coinbase"),
        value_sat=_whole(read, "value"), nbits=int.from_bytes(_bytes(read, "nbits", 4), "big"),
        rules=PayoutRules.of_texts(_mapping(read, "rules")),                    # type: ignore[arg-type]
        window=WindowFacts(
            first_id=_whole(read, "first_id"), last_id=_whole(read, "last_id"),
            cut_weight=weight_of_text(_text(read, "cut_weight")), wanted=weight_of_text(_text(read, "weight_wanted")),
            ended_by=WindowEnd(_text(read, "ended_by")), blocks_settled=_whole(read, "blocks_settled"),
            highest_nbits=int.from_bytes(_bytes(read, "highest_nbits", 4), "big"),
        ),
        room=_whole(read, "bytes_for_outputs"), pays_balances=_flag(read, "pays_balances"),
        balances=_amounts(read, "balances"), gone=_amounts(read, "gone"),
        snapshot_id=_bytes(read, "snapshot", SNAPSHOT_ID_SIZE), snapshot_tip=_bytes(read, "snapshot_tip", 32)[::-1],
        snapshot_tip_height=_whole(read, "snapshot_tip_height"),
    )


def whole_number(value: object, what: str) -> int:
    """`value` if it is an int of 0 to 63 bits, which true is not; ValueError otherwise."""
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{what} is no number of 0 to 63 bits")
    return value


def _whole(read: Mapping[str, object], key: str) -> int:
    return whole_number(read[key], key)


def _flag(read: Mapping[str, object], key: str) -> bool:
    value = read[key]
    if not isinstance(value, bool):
        raise ValueError(f"{key} is true or false")
    return value


def _text(read: Mapping[str, object], key: str) -> str:
    value = read[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} is a text")
    return value


def _bytes(read: Mapping[str, object], key: str, size: int | None = None) -> bytes:
    text = _text(read, key)
    value = bytes.fromhex(text)
    if value.hex() != text or (size is not None and len(value) != size):
        raise ValueError(f"{key} is hex" + (f" of {size} bytes" if size is not None else ""))
    return value


def _mapping(read: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = read[key]
    if not isinstance(value, dict):
        raise ValueError(f"{key} is an object")
    return value


def _amounts(read: Mapping[str, object], key: str) -> dict[str, int]:
    return {account: whole_number(amount, f"{key} of {account!r}") for account, amount in _mapping(read, key).items()}
