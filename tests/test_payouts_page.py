"""The worked example of docs/payouts.rst: what stands there is what the pool pays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from warppool.bitcoin.addresstext import address_of
from warppool.payout.distribution import Distribution, distribute
from warppool.payout.export import HEADER_KEYS, HOUR_COLUMNS, SHARE_COLUMNS
from warppool.payout.rules import PayoutRules
from warppool.payout.snapshot import Snapshot
from warppool.payout.weight import FRACTION_BITS
from warppool.payout.window import WindowEnd, WindowFacts, weight_wanted

PAGE = (Path(__file__).parents[1] / "docs/payouts.rst").read_text(encoding="utf-8")
ACCOUNTS = {name: address_of(b"\x00\x14" + bytes((number,)) * 20, "main")
            for number, name in enumerate(("Alice", "Bob", "Carol", "Dave", "Erin", "pool"), 1)}
"""Alice has the lowest script, as the page says of the second block."""

RULES = PayoutRules(network="main", payout_address=ACCOUNTS["pool"], fee_bp=100, window=Decimal(8), window_days=90,
                    window_rampup=True, min_payout_sat=100_000, min_paid_ratio=Decimal("0.9"))
NBITS = 0x1A0FFFFF                  # some difficulty above that of the page, so that its window fits in
LARGE = 16_000                      # bytes: room for all


class Row(NamedTuple):
    weight: int
    fair: int
    balance: int
    target: int
    paid: int
    owed: int


def examples() -> Iterator[tuple[int, dict[str, Row]]]:
    """(value of the block, the table of the page by account) of each example."""
    for part in PAGE.split("\n.. payouts example: block ")[1:]:
        value, table = part.split(maxsplit=1)
        table = re.split(r"\n\n(?=\w)", table)[0]
        cells = re.findall(r"(?m)^   [* ] - (.*)$", table)
        rows = [cells[at:at + 7] for at in range(7, len(cells), 7)]
        yield int(value), {name: Row(*(int(cell.replace(",", "")) for cell in row)) for name, *row in rows}


def paid_by(value: int, rows: dict[str, Row]) -> Distribution:
    wanted = weight_wanted(RULES, NBITS, 100)
    window = WindowFacts(1, 9, 0, wanted, WindowEnd.DAYS, 100, NBITS)
    snapshot = Snapshot.make(tip=bytes(32), tip_height=7, rules=RULES, window=window,
                             weights={ACCOUNTS[name]: row.weight << FRACTION_BITS for name, row in rows.items()},
                             balances={ACCOUNTS[name]: row.balance for name, row in rows.items()}, gone={})
    return distribute(snapshot, value, LARGE, pays_balances=True)


EXAMPLES = list(examples())


def test_there_are_two_blocks_with_five_accounts():
    assert [len(rows) for _, rows in EXAMPLES] == [5, 5]


@pytest.mark.parametrize(("value", "rows"), EXAMPLES)
def test_each_number_of_the_tables_is_what_the_pool_computes(value, rows):
    paid = paid_by(value, rows)
    by_account = {each.account: each for each in paid.division.entitlements}
    amounts = {payment.entitlement.account: payment.paid_sat for payment in paid.payments}
    for name, row in rows.items():
        entitlement = by_account[ACCOUNTS[name]]
        assert (entitlement.fair_sat, entitlement.balance_sat, entitlement.target_sat) == row[1:4], name
        assert amounts.get(ACCOUNTS[name], 0) == row.paid, name
        assert row.owed == row.target - row.paid, name
    assert [ACCOUNTS[name] for name, row in rows.items() if row.paid] == [
        payment.entitlement.account for payment in paid.payments], "in the order of the outputs"
    fee = f"fee = {value} * 100 // 10000 = {paid.division.fee_sat}" if value != 312_500_000 else (
        f"fee = {paid.division.fee_sat}")
    assert fee in PAGE and f"= {value - paid.division.fee_sat}``" in PAGE
    remainder = " - ".join(map(str, (value, *(row.paid for row in rows.values() if row.paid))))
    assert f"{remainder} = {paid.remainder_sat}" in " ".join(PAGE.split())


def test_what_the_first_block_owes_is_what_the_second_one_finds():
    (_, first), (_, second) = EXAMPLES
    assert {name: row.owed for name, row in first.items()} == {name: row.balance for name, row in second.items()}
    assert f"{sum(row.owed for row in first.values()):,} that belong to Erin and" in " ".join(PAGE.split())


def test_the_page_names_each_key_and_column_of_an_export():
    part = PAGE.partition("\n.. _payouts-export:")[2].partition("\n.. _")[0]
    assert {*HEADER_KEYS, *HOUR_COLUMNS, *SHARE_COLUMNS} - set(re.findall(r"``(\w+)``", part)) == set()


def test_the_sum_of_what_is_owed_is_what_the_operator_got_beyond_his_fee():
    owed = 0
    for value, rows in EXAMPLES:
        paid = paid_by(value, rows)
        owed += paid.remainder_sat - paid.division.fee_sat - paid.division.payout_fair_sat
        assert owed == sum(row.owed for row in rows.values())
