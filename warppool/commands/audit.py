"""`warppool audit FILE`: what a block should have paid, computed anew from an export alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from warppool.bitcoin.hashes import to_display
from warppool.payout.audit import AuditReport
from warppool.payout.audit import audit as recompute
from warppool.payout.auditheader import AuditError

OK, DIFFERS = 0, 1


def audit(args: argparse.Namespace) -> int:
    """Print who was due what, and whether the coinbase of the file pays that; 1 for the first difference. OSError."""
    with open(args.file, encoding="utf-8", errors="replace") as lines:
        try:
            report = recompute(lines)
        except AuditError as exc:
            print(f"differs: {' '.join(str(exc).split())}")
            return DIFFERS
    for line in words_of(report):
        print(line)
    return OK


def words_of(report: AuditReport) -> Iterator[str]:
    """The report for people, a line each."""
    claim, snapshot_id = report.claim, report.snapshot_id.hex()
    yield f"block {claim.height} {to_display(claim.block_hash)}, {claim.rules.network}: {claim.value_sat} sat"
    yield (f"snapshot {snapshot_id}; window ended by {claim.window.ended_by.value}, shares {claim.window.first_id} to "
           f"{claim.window.last_id}; balances {'are' if claim.pays_balances else 'are not'} paid")
    total = sum(account.weight for account in report.accounts) + report.payout_weight
    owed = 0
    for account in sorted(report.accounts, key=lambda each: (-each.paid_sat, -each.fair_sat, each.account)):
        owed += account.fair_sat + account.balance_sat - account.paid_sat
        yield (f"{account.account}: {_percent(account.weight, total)} of the work, fair {account.fair_sat}, balance "
               f"{account.balance_sat}, paid {account.paid_sat}")
    yield (f"{claim.rules.payout_address}: {report.remainder_sat} sat are left to it, of which {report.fee_sat} are "
           f"the fee; {owed} sat are still owed to the others")
    if report.ids_without_share:
        yield (f"{report.ids_without_share} numbers from the first share to the last belong to no share; whoever "
               "misses shares of his own should ask")
    yield "ok: the coinbase pays exactly this"


def _percent(part: int, whole: int) -> str:
    hundredths = 10_000 * part // whole if whole else 0
    return f"{hundredths // 100}.{hundredths % 100:02d} %"
