"""What of a coinbase is ours: the pool's tag, the start of the daemon, and the server of the pool, where jobs put them.

A block on the chain whose coinbase bears these marks was found by this pool, whether or not the books know of it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from warppool.bitcoin.coinbase import height_of, height_push, script_sig_of, tag_push
from warppool.mining.counter import COUNTER_SIZE
from warppool.mining.extranonce import MAX_EXTRANONCE_SIZE, PREFIX_SIZE
from warppool.mining.job import MAX_HEIGHT_PUSH, START_ID_SIZE

_BEFORE_EXTRANONCE = START_ID_SIZE + COUNTER_SIZE


class Mark(NamedTuple):
    """Which start of the daemon made a coinbase (START_ID_SIZE bytes), and which server of the pool (0..255)."""

    start_id: bytes
    server_id: int


def find_mark(coinbase: bytes, tag: bytes, start_ids: Collection[bytes]) -> Mark | None:
    """The mark of a coinbase, in stripped or segwit form; None where it is not from a job of ours, or no coinbase.

    `tag` is the pool's as it stands in its coinbases, `start_ids` are the starts that are known. Never raises for what
    the bytes hold.
    """
    script = script_sig_of(coinbase)
    try:
        first = len(height_push(height_of(script)))
    except ValueError:
        return None
    pushed_tag = tag_push(tag)
    for end_of_height in range(first, MAX_HEIGHT_PUSH + 1):         # a template may put bytes of its own behind it
        at = end_of_height + len(pushed_tag)
        extranonce_at = at + 1 + _BEFORE_EXTRANONCE
        extranonce_size = len(script) - extranonce_at
        if not PREFIX_SIZE <= extranonce_size <= MAX_EXTRANONCE_SIZE:
            continue
        start_id = script[at + 1:at + 1 + START_ID_SIZE]
        if (script[end_of_height:at] == pushed_tag and script[at] == _BEFORE_EXTRANONCE + extranonce_size
                and start_id in start_ids):
            return Mark(start_id, script[extranonce_at])            # the top byte of the prefix is the server's id
    return None


def bears_start_id(coinbase: bytes, start_ids: Collection[bytes]) -> bool:
    """Whether a coinbase, in stripped or segwit form, has one of `start_ids` where our jobs put it, under any tag.

    The last push of our scriptSig ends it, and begins with the start id. Never raises for what the bytes hold.
    """
    script = script_sig_of(coinbase)
    sizes = range(_BEFORE_EXTRANONCE + PREFIX_SIZE, _BEFORE_EXTRANONCE + MAX_EXTRANONCE_SIZE + 1)
    return any(script[at:at + 1] == bytes([size]) and script[at + 1:at + 1 + START_ID_SIZE] in start_ids
               for size in sizes if (at := len(script) - size - 1) >= 0)
