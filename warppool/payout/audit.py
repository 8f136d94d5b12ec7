"""The audit: what a block should have paid, from an export alone, against what its coinbase pays.

No database is asked and nothing that we say is believed: weights are added up from the lines of work, the window, the
snapshot and its name are computed from these, and the outputs from the snapshot. What the file cannot show has to be
looked up elsewhere: that this coinbase stands in the block of this hash (any node), the hardest nbits of the last 2,016
blocks (any node), and that nobody's shares are missing (each miner knows his own).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from warppool.bitcoin.coinbase import height_of, script_sig_of
from warppool.bitcoin.transaction import outputs_of
from warppool.payout.auditheader import AuditError, BlockClaim, read_header
from warppool.payout.auditwork import WorkSums, add_up
from warppool.payout.distribution import Distribution, distribute
from warppool.payout.snapshot import Snapshot
from warppool.payout.window import WindowEnd, weight_wanted


class AuditedAccount(NamedTuple):
    """What the file says of one account, recomputed. `paid_sat` is in this block's coinbase."""

    account: str
    weight: int
    fair_sat: int
    balance_sat: int
    paid_sat: int


class AuditReport(NamedTuple):
    """A block whose coinbase pays what it should, to the satoshi."""

    claim: BlockClaim
    snapshot_id: bytes
    fee_sat: int
    remainder_sat: int          # what payout_address gets, the fee included
    payout_weight: int          # the work of payout_address itself
    accounts: tuple[AuditedAccount, ...]
    ids_without_share: int      # numbers from the first to the last share that no line has


def audit(lines: Iterable[str]) -> AuditReport:
    """Recompute the block of an export; AuditError, whose text says the first difference, where anything differs."""
    numbered = enumerate(lines, 1)
    first = next(numbered, None)
    if first is None:
        raise AuditError("the file is empty")
    claim = read_header(first[1])
    outputs = _outputs(claim)
    sums = add_up(numbered, claim.window, claim.rules.network)
    snapshot = _snapshot(claim, sums)
    if not snapshot.total_weight:
        raise AuditError("no share in the file weighs anything, so there is nothing to divide")
    try:
        distribution = distribute(snapshot, claim.value_sat, claim.room, claim.pays_balances)
    except ValueError as exc:
        raise AuditError(f"{exc}") from None
    _compare(distribution, outputs, claim.rules.payout_address)
    return _report(claim, snapshot, distribution, sums)


def _outputs(claim: BlockClaim) -> tuple[tuple[int, bytes], ...]:
    """(sat, script) of the coinbase's outputs, which pay the value in all."""
    try:
        outputs = outputs_of(claim.coinbase)
    except ValueError as exc:
        raise AuditError(f"the coinbase is no transaction: {exc}") from None
    try:
        height = height_of(script_sig_of(claim.coinbase))
    except ValueError as exc:
        raise AuditError(f"the coinbase names no height: {exc}") from None
    if height != claim.height:
        raise AuditError(f"the coinbase is of height {height}, the header says {claim.height}")
    total = sum(sat for sat, _ in outputs)
    if total != claim.value_sat:
        raise AuditError(f"the coinbase pays {total} sat in all, the header says {claim.value_sat}")
    return outputs


def _snapshot(claim: BlockClaim, sums: WorkSums) -> Snapshot:
    """The snapshot of the header and the work, whose name must be the one that the block was booked with."""
    window, weight = claim.window, sum(sums.weights.values())
    wanted = weight_wanted(claim.rules, window.highest_nbits, window.blocks_settled)
    if window.wanted != wanted:
        raise AuditError(f"the window wants a weight of {wanted}, the header says {window.wanted}")
    if window.ended_by is WindowEnd.WEIGHT and weight != wanted:
        raise AuditError(f"the work weighs {weight}, and a window that ended by weight holds {wanted}")
    if weight > wanted:
        raise AuditError(f"the work weighs {weight}, more than the {wanted} that the window wants")
    try:
        snapshot = Snapshot.make(tip=claim.snapshot_tip, tip_height=claim.snapshot_tip_height, rules=claim.rules,
                                 window=window, weights=sums.weights, balances=claim.balances, gone=claim.gone)
    except ValueError as exc:
        raise AuditError(f"the numbers make no snapshot: {exc}") from None
    if dict(snapshot.balances) != claim.balances or dict(snapshot.gone) != claim.gone:
        raise AuditError("the header has balances or gone accounts that no snapshot has")
    if snapshot.id != claim.snapshot_id:
        raise AuditError(f"the work, balances and rules make snapshot {snapshot.id.hex()}, "
                         f"the block was paid by snapshot {claim.snapshot_id.hex()}")
    return snapshot


def _compare(distribution: Distribution, outputs: tuple[tuple[int, bytes], ...], payout_address: str) -> None:
    """Every output as it should be, and nothing for anyone behind them."""
    names = {each.script: each.account for each in distribution.division.entitlements}
    names[distribution.division.payout_script] = payout_address
    for at, (expected, found) in enumerate(zip(distribution.outputs, outputs, strict=False), 1):
        if expected != found:
            raise AuditError(f"output {at} pays {_said(found, names)}, it should pay {_said(expected, names)}")
    if len(outputs) < len(distribution.outputs):
        missing = distribution.outputs[len(outputs)]
        raise AuditError(f"output {len(outputs) + 1} is missing, it should pay {_said(missing, names)}")
    for at, found in enumerate(outputs[len(distribution.outputs):], len(distribution.outputs) + 1):
        if found[0]:
            raise AuditError(f"output {at} pays {_said(found, names)}, and should not be there")


def _said(output: tuple[int, bytes], names: Mapping[bytes, str]) -> str:
    sat, script = output
    return f"{sat} sat to {names.get(script) or 'script ' + script.hex()}"


def _report(claim: BlockClaim, snapshot: Snapshot, distribution: Distribution, sums: WorkSums) -> AuditReport:
    paid = {payment.entitlement.account: payment.paid_sat for payment in distribution.payments}
    division = distribution.division
    return AuditReport(
        claim=claim, snapshot_id=snapshot.id, fee_sat=division.fee_sat, remainder_sat=distribution.remainder_sat,
        payout_weight=sums.weights.get(snapshot.payout_account, 0),
        accounts=tuple(AuditedAccount(each.account, sums.weights.get(each.account, 0), each.fair_sat, each.balance_sat,
                                      paid.get(each.account, 0)) for each in division.entitlements),
        ids_without_share=sums.ids_without_share,
    )
