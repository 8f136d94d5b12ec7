"""Who got what of an own block, by its coinbase, and what its snapshot said of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from warppool.bitcoin.addresstext import address_of
from warppool.bitcoin.transaction import outputs_of
from warppool.errors import LedgerError
from warppool.ledger.payoutrows import BlockPosition, PayoutReader
from warppool.payout.distribution import Division, divide
from warppool.payout.snapshot import Snapshot


class BlockPart(NamedTuple):
    """What an account got: `paid` is what the coinbase says. `fair` and `balance` are what the snapshot said; None
    where it named no such account, or where there was none. All are sat. A script without an address is its hex digits.
    """

    account: str
    paid: int
    fair: int | None = None
    balance: int | None = None


def parts_of(reader: PayoutReader, position: BlockPosition, network: str) -> Iterator[BlockPart]:
    """In the order of the coinbase's outputs, and then who got nothing of it; LedgerError."""
    paid: dict[str, int] = {}
    for sat, script in block_outputs(position):
        if sat:
            account = address_of(script, network) or script.hex()
            paid[account] = paid.get(account, 0) + sat
    division = division_of(reader, position)
    due = {each.account: (each.fair_sat, each.balance_sat) for each in division.entitlements} if division else {}
    for account in (*paid, *sorted(due.keys() - paid.keys())):
        yield BlockPart(account, paid.get(account, 0), *due.get(account, (None, None)))


def division_of(reader: PayoutReader, position: BlockPosition) -> Division | None:
    """How the block is divided by its snapshot; None for a block without one. LedgerError."""
    block = position.block
    body = reader.snapshot(block.snapshot_id) if block.snapshot_id else None
    if body is None:
        return None
    try:
        return divide(Snapshot.of_blob(body), block.value, block.pays_balances)
    except ValueError as exc:
        raise LedgerError(f"the snapshot of block {block.height} is damaged: {exc}") from exc


def block_outputs(position: BlockPosition) -> tuple[tuple[int, bytes], ...]:
    """Sat and script of each output of its coinbase; LedgerError."""
    try:
        return outputs_of(position.block.coinbase)
    except ValueError as exc:
        raise LedgerError(f"the coinbase of block {position.block.height} is damaged: {exc}") from exc
