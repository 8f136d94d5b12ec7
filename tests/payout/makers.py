"""Accounts of every kind, rules, windows and snapshots for the tests of payouts; all on regtest."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from hashlib import sha256

from warppool.bitcoin.addresstext import address_of
from warppool.payout.rules import PayoutRules, script_of_account
from warppool.payout.snapshot import Snapshot
from warppool.payout.window import WindowEnd, WindowFacts, weight_wanted

NETWORK = "regtest"
NBITS = 0x1D00FFFF              # difficulty 1
ONE = 1 << 48                   # the weight of difficulty 1
COIN = 100_000_000
TIP = b"\x07" * 32


def script_of_kind(number: int, kind: int) -> bytes:
    """P2WPKH, P2TR, P2PKH, P2WSH, P2SH for the kinds 0 to 4."""
    digest = sha256(b"account %d" % number).digest()
    return (b"\x00\x14" + digest[:20], b"\x51\x20" + digest, b"\x76\xa9\x14" + digest[:20] + b"\x88\xac",
            b"\x00\x20" + digest, b"\xa9\x14" + digest[:20] + b"\x87")[kind]


@cache
def account(number: int, kind: int = 0) -> str:
    return address_of(script_of_kind(number, kind), NETWORK)


def script(text: str) -> bytes:
    return script_of_account(text, NETWORK)


POOL = account(999_999)


def make_rules(payout_address: str = POOL, fee_bp: int = 0, window: str = "8", window_days: int = 90,
               window_rampup: bool = False, min_payout_sat: int = 100_000, min_paid_ratio: str = "0.9") -> PayoutRules:
    return PayoutRules(network=NETWORK, payout_address=payout_address, fee_bp=fee_bp, window=Decimal(window),
                       window_days=window_days, window_rampup=window_rampup, min_payout_sat=min_payout_sat,
                       min_paid_ratio=Decimal(min_paid_ratio))


def make_facts(rules: PayoutRules, ended_by: WindowEnd = WindowEnd.BEGINNING, first_id: int = 1, last_id: int = 1000,
               cut_weight: int = 0, blocks_settled: int = 0, highest_nbits: int = NBITS) -> WindowFacts:
    return WindowFacts(first_id, last_id, cut_weight, weight_wanted(rules, highest_nbits, blocks_settled), ended_by,
                       blocks_settled, highest_nbits)


def make_snapshot(weights: Mapping[str, int], balances: Mapping[str, int] | None = None,
                  gone: Mapping[str, int] | None = None, rules: PayoutRules | None = None,
                  facts: WindowFacts | None = None, tip: bytes = TIP) -> Snapshot:
    """A snapshot of a window that has taken all there is; the weights together are at most those of the window."""
    rules = rules or make_rules()
    return Snapshot.make(tip=tip, tip_height=100, rules=rules, window=facts or make_facts(rules), weights=weights,
                         balances=balances or {}, gone=gone or {})
