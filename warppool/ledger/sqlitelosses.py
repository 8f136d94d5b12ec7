"""Whether a sudden end explains that the books lack a block of ours, or whether they are a restored copy.

A daemon that is killed loses what its last commit has not taken: some milliseconds, or as long as the disk was in
trouble. So a block is lost in that way at the end of a run, next to its newest share. Books that lack a block from long
after the newest share of its run were copied before it was found. Books that have shares from long after the block, and
yet not the block, have lost it in no way that we know.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

LOST_MS: Final = 300_000
"""A block within so many milliseconds of the newest share of its run may have been lost with a sudden end. That has
room for machines that send shares seldom, and for clocks that differ.
"""

_NEXT_START: Final = "SELECT min(time_ms) FROM starts WHERE time_ms > ?"
_START: Final = "SELECT max(time_ms) FROM starts WHERE time_ms <= ?"
_FIRST_SINCE: Final = "SELECT min(first_id) FROM minutes WHERE minute > ?"
_SHARE_BEFORE: Final = "SELECT time_ms FROM shares WHERE id < ? ORDER BY id DESC LIMIT 1"
_HAS: Final = """
    SELECT EXISTS (SELECT 1 FROM blocks WHERE hash = ?1) OR EXISTS (SELECT 1 FROM payout_blocks WHERE hash = ?1)"""
_ENDLESS: Final = (1 << 63) - 1


def is_explained(connection: sqlite3.Connection, unix: float) -> bool:
    """Whether a block of this Unix time, which the books lack, may have been lost with a sudden end of its run.

    The run is the newest start before it. Books that know of no start before it are new, and lack nothing.
    """
    at = round(unix * 1000)
    (start,) = connection.execute(_START, (at,)).fetchone()
    if start is None:
        return True
    (next_start,) = connection.execute(_NEXT_START, (at,)).fetchone()
    first = None if next_start is None else connection.execute(_FIRST_SINCE, (next_start // 60_000,)).fetchone()[0]
    share = connection.execute(_SHARE_BEFORE, (_ENDLESS if first is None else first,)).fetchone()
    newest: int = max(start, share[0] if share else start)
    return abs(at - newest) <= LOST_MS


def strange_losses(connection: sqlite3.Connection, found: Iterable[tuple[bytes, float]]) -> list[bytes]:
    """Which of the blocks that were `found` at these Unix times the books lack, though no sudden end explains it."""
    return [block_hash for block_hash, unix in found
            if not connection.execute(_HAS, (block_hash,)).fetchone()[0] and not is_explained(connection, unix)]
