"""The modes of payout as the benches need them: who pays, what names mean, and a snapshot with a thousand accounts."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from warppool.bitcoin.addresstext import address_of
from warppool.mining.byweights import ByWeights
from warppool.mining.names import FreeNames, NameRule, PaidNames
from warppool.mining.payrule import Payer, ToFinder, ToPool
from warppool.payout.rules import PayoutRules
from warppool.payout.snapshot import Snapshot
from warppool.payout.window import WindowEnd, WindowFacts, weight_wanted

NETWORK = "regtest"
NBITS = 0x17034219          # that no share here meets
WINDOW_DAYS = 90
ACCOUNTS = 1_000
PAYOUT = b"\x00\x14" + bytes(20)
FEE_BASIS_POINTS = 100
AGENTS = {255: "NerdMinerV2", 500: "NiceHash/1", 755: "bench", 2250: "Antminer S21/1", 6500: "whatsminer/v1",
          16_000: "xminer-1."}
"""What a machine of each size class says of itself."""


class Mode(NamedTuple):
    """One way to pay; `snapshot` is for jobs, in mode `pplns`. Names are addresses but in mode `pool`."""

    name: str
    payer: Payer
    names: NameRule
    snapshot: Snapshot | None


def user(number: int) -> str:
    """The name of a machine with an account of its own."""
    return f"{account(number)}.rig"


def account(number: int) -> str:
    """An address, P2WPKH."""
    return address_of(b"\x00\x14" + number.to_bytes(20, "big"), NETWORK)


def rules_of(payout_address: str, window: int = 8) -> PayoutRules:
    """The rules of a pool that takes FEE_BASIS_POINTS; `window` counts network difficulties."""
    return PayoutRules(network=NETWORK, payout_address=payout_address, fee_bp=FEE_BASIS_POINTS, window=Decimal(window),
                       window_days=WINDOW_DAYS, window_rampup=False, min_payout_sat=100_000,
                       min_paid_ratio=Decimal("0.9"))


def _snapshot() -> Snapshot:
    """A window of eight network difficulties, whose accounts have different weights."""
    rules = rules_of(address_of(PAYOUT, NETWORK))
    wanted = weight_wanted(rules, NBITS, 0)
    weights = {account(number): wanted // (number + 10) // 10 for number in range(1, ACCOUNTS + 1)}
    facts = WindowFacts(1, 10 * ACCOUNTS, 0, wanted, WindowEnd.DAYS, 0, NBITS)
    return Snapshot.make(tip=bytes(32), tip_height=839_999, rules=rules, window=facts, weights=weights, balances={},
                         gone={})


POOL = Mode("pool", ToPool(PAYOUT), FreeNames(), None)
SOLO = Mode("solo", ToFinder(PAYOUT, FEE_BASIS_POINTS), PaidNames(NETWORK), None)
PPLNS = Mode("pplns", ByWeights(PAYOUT), PaidNames(NETWORK, has_rooms=True), _snapshot())
