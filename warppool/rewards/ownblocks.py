"""An own block as the books take it: its row, what it does to balances, and what is odd about it.

A block that was found here comes with the terms of its coinbase. Of one that only the chain has, the terms are looked
for among the snapshots that are kept (`payout/blockeffects.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from warppool.bitcoin.addresstext import address_of
from warppool.bitcoin.header import Header
from warppool.bitcoin.transaction import outputs_of, without_witness
from warppool.ledger.payoutitems import PayoutBlock
from warppool.mining.payee import Terms
from warppool.node.chainitems import OwnBlock, SeenBlock
from warppool.payout.blockeffects import (
    Outputs,
    SnapshotMatch,
    difference_of,
    effects_by,
    least_effects,
    match,
    solo_outputs,
)
from warppool.payout.distribution import distribute
from warppool.payout.fee import fee_of
from warppool.payout.rules import script_of_account
from warppool.payout.snapshot import Snapshot

SHARED, SOLO = "pplns", "solo"
"""Modes in the books, of blocks that move money."""


class KeptSnapshots(Protocol):
    """The snapshots that are kept, in memory or in the books; LedgerError where those cannot be read."""

    def snapshot(self, snapshot_id: bytes) -> Snapshot | None:
        """The snapshot with this id."""

    def of_tips(self, tips: Sequence[bytes]) -> Sequence[Snapshot]:
        """The snapshots that name one of these tips, in the order of the tips, the newest first."""

    def newest(self) -> Sequence[Snapshot]:
        """Those that were kept last, the newest first."""


class Judgement(NamedTuple):
    """What an own block is to the books. `difference` says how the coinbase differs from what its terms say, "" for not
    at all. `is_explained`: the terms are known. It pays for the shares from `first_share` on, 0 for none.
    """

    row: PayoutBlock
    effects: tuple[tuple[str, int], ...]
    difference: str
    is_explained: bool
    first_share: int = 0


class BlockJudge:
    """Judges blocks of one `network`; `payout_script` is that of `pool.payout_address`."""

    def __init__(self, network: str, payout_script: bytes, snapshots: KeptSnapshots) -> None:
        self._network = network
        self._payout_script = payout_script
        self._snapshots = snapshots

    def found(self, block: OwnBlock, terms: Terms, unpaid: Mapping[str, int], is_shared: bool) -> Judgement:
        """A block that was found on a job of ours.

        `unpaid` is what a block may pay out now, by account. `is_shared`: rewards were shared when it was found.
        """
        header = Header.unpack(block.header)
        row = PayoutBlock(
            hash=block.block_hash, parent=header.prev_hash, height=block.height, time=block.time,
            mode=SHARED if terms.snapshot_id or is_shared else SOLO, finder=block.finder, account=terms.account,
            snapshot_id=terms.snapshot_id, room=terms.room, value=terms.value, fee=terms.fee,
            pays_balances=terms.pays_balances, coinbase=without_witness(block.coinbase_tx), nbits=header.nbits)
        outputs = outputs_of(block.coinbase_tx)
        snapshot = self._snapshots.snapshot(terms.snapshot_id) if terms.snapshot_id else None
        if terms.snapshot_id and snapshot is None:
            return self._unexplained(row, outputs, unpaid)
        if snapshot is not None and not terms.account:
            distribution = distribute(snapshot, terms.value, terms.room, terms.pays_balances)
            return Judgement(row, *effects_by(distribution, outputs, self._network), True, snapshot.window.first_id)
        due = solo_outputs(script_of_account(terms.account, self._network), terms.payout_script, terms.value, terms.fee)
        return Judgement(row, (), difference_of(due, outputs), True)

    def seen(self, block: SeenBlock, unpaid: Mapping[str, int]) -> Judgement:
        """A block of the chain that bears our mark, and that nobody has told us of."""
        outputs = outputs_of(block.coinbase)
        row = PayoutBlock(
            hash=block.block_hash, parent=block.parent, height=block.height, time=float(block.time), mode=SHARED,
            finder="", account="", snapshot_id=b"", room=0, value=sum(sat for sat, _ in outputs), fee=0,
            pays_balances=False, coinbase=without_witness(block.coinbase), nbits=block.nbits)
        found = match(outputs, block.parent, self._snapshots.of_tips((block.parent, block.grandparent)))
        if found is None and pays_several(outputs):     # jobs go on with an old snapshot while the books take none
            found = match(outputs, block.parent, self._snapshots.newest())
        if found is None:
            return self._unexplained(row, outputs, unpaid)
        return self._matched(row, found, outputs)

    def _matched(self, row: PayoutBlock, found: SnapshotMatch, outputs: Outputs) -> Judgement:
        """By the snapshot that explains it; as a block of mode solo where that has no weights."""
        fee = fee_of(row.value, found.snapshot.rules.fee_bp)
        if found.distribution is None:
            account = address_of(outputs[0][1], self._network)
            return Judgement(replace(row, mode=SOLO, account=account, fee=fee), (), "", True)
        row = replace(row, snapshot_id=found.snapshot.id, room=found.room, fee=fee, pays_balances=found.pays_balances)
        return Judgement(row, *effects_by(found.distribution, outputs, self._network), True,
                         found.snapshot.window.first_id)

    def _unexplained(self, row: PayoutBlock, outputs: Outputs, unpaid: Mapping[str, int]) -> Judgement:
        """No terms are known: balances are taken for paid as far as they go."""
        effects = least_effects(outputs, self._network, self._payout_script, unpaid)
        return Judgement(replace(row, snapshot_id=b""), effects, "", False)


def pays_several(outputs: Outputs) -> bool:
    """Whether a coinbase with these outputs can be one of shared rewards beyond doubt: one output alone may be that of
    mode pool, which every snapshot explains by a coinbase without room for anybody.
    """
    return sum(sat > 0 for sat, _ in outputs) > 1
