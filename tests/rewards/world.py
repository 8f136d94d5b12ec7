"""Books of a pool that has mined a block by weights, for the tests of exports and of `warppool payouts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.ledger.books import START, opened, share
from tests.payout.exports import HEIGHT, BookedWork, coinbase_of, window_of
from tests.payout.makers import NBITS, NETWORK, account, make_rules
from warppool.ledger.beginning import Beginning
from warppool.ledger.payoutitems import Booking, ClaimRow, KeepSnapshot, PayoutBlock
from warppool.payout.blockeffects import effects_by
from warppool.payout.distribution import Distribution, distribute
from warppool.payout.moves import find, settle
from warppool.payout.rules import PayoutRules
from warppool.payout.snapshot import Snapshot

ALICE, BOB, CAROL = account(1), account(2, 1), account(3, 2)
VALUE = 312_500_000
TIP = b"\x09" * 32
BLOCK = b"\x0a" * 32


class Credit(NamedTuple):
    """A share of `account`, in the hour `hour` from the first one."""

    account: str
    difficulty: float
    hour: int


def some_shares(hours: int = 5, each: int = 4) -> tuple[Credit, ...]:
    """Shares of three accounts in each of so many hours; Carol's are tiny."""
    return tuple(credit for hour in range(hours) for number in range(each) for credit in (
        Credit(ALICE, 0.5 + 0.125 * number, hour), Credit(BOB, 0.25, hour), Credit(CAROL, 1e-5, hour)))


class Mined(NamedTuple):
    """What the books got."""

    block: PayoutBlock
    snapshot: Snapshot
    distribution: Distribution


def mine(path: Path, shares: Sequence[Credit], *, balances: Mapping[str, int] | None = None, window: str = "8",
         is_settled: bool = True, rules: PayoutRules | None = None) -> Mined:
    """Book the shares, and a block that was mined on a snapshot of all of them; hours close as the next one begins."""
    rules = rules or make_rules(fee_bp=100, window=window)
    with closing(opened(path)) as books:
        books.begin(Beginning("pplns", 7, bytes(4), START))
        first = books.next_id
        for at, each in enumerate(shares):
            books.write([share(first + at, time=START + 3600 * each.hour, difficulty=each.difficulty)._replace(
                account=each.account)], {}, [])
        snapshot = _snapshot(shares, first, rules, balances or {})
        distribution = distribute(snapshot, VALUE, 600, bool(balances))
        block = PayoutBlock(hash=BLOCK, parent=TIP, height=HEIGHT, time=START, mode="pplns", finder=ALICE, account="",
                            snapshot_id=snapshot.id, room=600, value=VALUE, fee=distribution.division.fee_sat,
                            pays_balances=bool(balances), coinbase=coinbase_of(distribution.outputs), nbits=NBITS)
        position, found = find(BLOCK, effects_by(distribution, distribution.outputs, NETWORK).effects)
        moves = [found, *([settle(position)[1]] if is_settled else [])]
        assert books.write([], {}, [Booking((KeepSnapshot(snapshot.id, TIP, START, snapshot.blob), block,
                                             *moves))]) == []
    return Mined(block, snapshot, distribution)


def _snapshot(shares: Sequence[Credit], first: int, rules: PayoutRules, balances: Mapping[str, int]) -> Snapshot:
    taken, facts = window_of(tuple(BookedWork(share_id, each.account, each.difficulty)
                                   for share_id, each in enumerate(shares, first)), rules)
    return Snapshot.make(tip=TIP, tip_height=HEIGHT - 1, rules=rules, window=facts, weights=taken.weights,
                         balances=balances, gone={})


def claim(path: Path, claimed: str, kind: str, sat: int, number: int = 1) -> None:
    """Book what became of a claim."""
    with closing(opened(path)) as books:
        assert books.write([], {}, [Booking((ClaimRow(bytes((number,)) * 16, claimed, kind, sat, HEIGHT, START),))]
                           ) == []
