"""The export of one block: all that its distribution was computed from, as lines that `warppool audit` reads.

The work of an hour is one line for each account. Where the window ends inside of an hour, and where an hour is not
closed yet, the shares stand one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from warppool.errors import LedgerError
from warppool.ledger.payoutrows import BlockPosition, PayoutReader
from warppool.payout.export import header_line, hour_line, share_line
from warppool.payout.snapshot import Snapshot


def export_lines(reader: PayoutReader, position: BlockPosition) -> Iterator[str]:
    """The lines of a block, without their ends. LedgerError: the books cannot be read, or the block has no export."""
    block = position.block
    body = reader.snapshot(block.snapshot_id) if block.snapshot_id else None
    if body is None:
        raise LedgerError(f"block {block.height} was not shared by weights: its coinbase alone says who was paid")
    try:
        snapshot = Snapshot.of_blob(body)
    except ValueError as exc:
        raise LedgerError(f"the snapshot of block {block.height} is damaged: {exc}") from exc
    yield header_line(snapshot, height=block.height, block_hash=block.hash, coinbase=block.coinbase,
                      value_sat=block.value, nbits=block.nbits, room=block.room, pays_balances=block.pays_balances)
    yield from _work_lines(reader, snapshot.window.first_id, snapshot.window.last_id)


def _work_lines(reader: PayoutReader, first_id: int, last_id: int) -> Iterator[str]:
    """The shares from `first_id`, which may be cut and so stands alone, to `last_id`."""
    server = reader.meta().server_id or 0
    at = first_id
    for (first, last), rows in groupby(reader.hours(first_id, last_id), lambda row: (row.first_id, row.last_id)):
        if first > first_id and last <= last_id:
            yield from _share_lines(reader, server, at, first - 1)
            yield from (hour_line(*row) for row in rows)
            at = last + 1
    yield from _share_lines(reader, server, at, last_id)


def _share_lines(reader: PayoutReader, server: int, first_id: int, last_id: int) -> Iterator[str]:
    if first_id <= last_id:
        for row in reader.credits(first_id, last_id):
            yield share_line(server, row.share_id, row.account, row.difficulty)
