"""What the books take of a block that only the chain knows."""

from __future__ import annotations

from collections.abc import Sequence

from tests.payout.exports import coinbase_of
from tests.payout.makers import COIN, NBITS, NETWORK, ONE, POOL, TIP, account, make_rules, make_snapshot, script
from warppool.node.chainitems import SeenBlock
from warppool.payout.blockeffects import solo_outputs
from warppool.payout.distribution import distribute
from warppool.payout.snapshot import Snapshot
from warppool.rewards.ownblocks import BlockJudge

ANNA, BERT = account(1), account(2)


class Kept:
    """Snapshots that are kept, all of one tip."""

    def __init__(self, *snapshots: Snapshot) -> None:
        self._snapshots = snapshots

    def snapshot(self, snapshot_id: bytes) -> Snapshot | None:
        return next((each for each in self._snapshots if each.id == snapshot_id), None)

    def of_tips(self, tips: Sequence[bytes]) -> Sequence[Snapshot]:
        return [each for each in self._snapshots if each.tip in tips]

    def newest(self) -> Sequence[Snapshot]:
        return self._snapshots[:1]


def seen(outputs: tuple[tuple[int, bytes], ...]) -> SeenBlock:
    return SeenBlock(b"\x01" * 32, TIP, b"\x02" * 32, 840_000, 1_700_000_000, NBITS, coinbase_of(outputs))


def test_a_lost_block_that_was_paid_as_solo_is_booked_so():
    """It has no snapshot that an export could be made of, as one that was found here has none."""
    snapshot = make_snapshot({}, {BERT: 5_000}, rules=make_rules(fee_bp=100))
    judge = BlockJudge(NETWORK, script(POOL), Kept(snapshot))
    outputs = tuple(solo_outputs(script(ANNA), script(POOL), COIN, COIN // 100))
    judgement = judge.seen(seen(outputs), {BERT: 5_000})
    row = judgement.row
    assert (row.account, row.snapshot_id, row.room, row.fee, row.pays_balances) == (ANNA, b"", 0, COIN // 100, False)
    assert (row.value, judgement.effects, judgement.difference, judgement.is_explained) == (COIN, (), "", True)


def test_a_lost_block_that_was_paid_by_weights_has_its_snapshot():
    snapshot = make_snapshot({ANNA: ONE}, {BERT: 500_000})
    judge = BlockJudge(NETWORK, script(POOL), Kept(make_snapshot({}), snapshot))
    judgement = judge.seen(seen(distribute(snapshot, 400_000, 1_000, True).outputs), {BERT: 500_000})
    assert (judgement.row.snapshot_id, judgement.row.pays_balances, judgement.row.account) == (snapshot.id, True, "")
    assert dict(judgement.effects) == {ANNA: 400_000, BERT: -400_000}
