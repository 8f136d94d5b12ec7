"""The text of an export: all that one block's distribution was computed from, a JSON value on each line.

The first line is the header. Behind it come, in any order, hours (summed work, an array each) and shares (an object
each): hours for the middle of the window, single shares for the hours at both ends. There are no worker names in it.
`warppool.payout.audit` reads it. One form, one writer: whoever has the books writes these lines with these functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from warppool.bitcoin.hashes import to_display
from warppool.payout.snapshot import ORDER, Snapshot

KIND: Final = "payout"
VERSION: Final = 1

HOUR_COLUMNS: Final = ("server", "first_id", "last_id", "account", "whole", "fraction", "count")
SHARE_COLUMNS: Final = ("server", "id", "account", "difficulty")
HEADER_KEYS: Final = (
    "kind", "version", "network", "height", "hash", "coinbase", "value", "nbits", "rules", "blocks_settled",
    "highest_nbits", "weight_wanted", "ended_by", "bytes_for_outputs", "order", "first_id", "last_id", "cut_weight",
    "pays_balances", "balances", "gone", "snapshot", "snapshot_tip", "snapshot_tip_height", "hours",
)

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode      # a float as its repr; ASCII


def header_line(snapshot: Snapshot, *, height: int, block_hash: bytes, coinbase: bytes, value_sat: int, nbits: int,
                room: int, pays_balances: bool) -> str:
    """The first line, without its end: of a block (hash in header order, 32 bytes) that `snapshot` was paid by.

    `coinbase` is in stripped or segwit form, `value_sat` what the pool's outputs pay together, `nbits` of the block's
    header, `room` the bytes that its coinbase had for these outputs.
    """
    window = snapshot.window
    values: Mapping[str, object] = {
        "kind": KIND, "version": VERSION, "network": snapshot.rules.network, "height": height,
        "hash": to_display(block_hash), "coinbase": coinbase.hex(), "value": value_sat, "nbits": f"{nbits:08x}",
        "rules": snapshot.rules.texts(), "blocks_settled": window.blocks_settled,
        "highest_nbits": f"{window.highest_nbits:08x}", "weight_wanted": str(window.wanted),
        "ended_by": window.ended_by.value, "bytes_for_outputs": room, "order": ORDER, "first_id": window.first_id,
        "last_id": window.last_id, "cut_weight": str(window.cut_weight), "pays_balances": pays_balances,
        "balances": dict(snapshot.balances), "gone": dict(snapshot.gone), "snapshot": snapshot.id.hex(),
        "snapshot_tip": to_display(snapshot.tip), "snapshot_tip_height": snapshot.tip_height,
        "hours": list(HOUR_COLUMNS),
    }
    assert tuple(values) == HEADER_KEYS
    return _encode(values)


def hour_line(server: int, first_id: int, last_id: int, account: str, whole: int, fraction: int, count: int) -> str:
    """One account's work of one hour: `count` shares of those from `first_id` to `last_id`, which are the hour's.

    An array, since a file of 90 days has some 200,000 of these lines.
    """
    return _encode([server, first_id, last_id, account, whole, fraction, count])


def share_line(server: int, share_id: int, account: str, difficulty: float) -> str:
    """One share."""
    return _encode(dict(zip(SHARE_COLUMNS, (server, share_id, account, difficulty), strict=True)))
