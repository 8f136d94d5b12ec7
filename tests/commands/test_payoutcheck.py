"""What `warppool check` says of who is paid."""

from __future__ import annotations

from decimal import Decimal

import pytest

from warppool.bitcoin.address import script_of
from warppool.commands.payoutcheck import CoinbaseSize, payout_findings, solo_coinbase, whom
from warppool.config.options import PoolConfig

OPERATOR = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def pool(payout: str, **values: object) -> PoolConfig:
    values = {"network": "regtest", "payout_address": OPERATOR, "payout_script": script_of(OPERATOR, "regtest"),
              "data_dir": None, **values}
    return PoolConfig(payout=payout, **values)


def said(config: PoolConfig, grade: str) -> list[str]:
    return [f"{key}: {sentence}" for mark, key, sentence in payout_findings(config) if mark == grade]


def test_a_pool_that_pays_one_address_has_nothing_more_to_say():
    assert list(payout_findings(pool("pool"))) == []
    assert whom(pool("pool")) == f"paying to {OPERATOR}"


def test_what_has_no_effect_where_no_name_is_paid_is_warned_of():
    warned = said(pool("pool", fee_percent=Decimal("1.5"), fallback_address=OPERATOR), "warn")
    assert [line.partition(":")[0] for line in warned] == ["pool.fee_percent", "pool.fallback_address"]
    assert said(pool("pool", fee_percent=Decimal(0)), "warn") == []


@pytest.mark.parametrize(("payout", "words"), [("solo", "the machine that found it"), ("pplns", "by their work")])
def test_the_rule_and_the_fee_are_said(payout, words):
    free, dear = pool(payout), pool(payout, fee_percent=Decimal("1.5"), fee_basis_points=150)
    assert words in said(free, "ok")[0] and said(free, "ok")[0].endswith("no fee is taken")
    assert said(dear, "ok")[0].endswith(f"1.5 % of it is the fee, to {OPERATOR}")
    assert said(free, "warn") == said(dear, "warn") == []
    assert payout in whom(free)


@pytest.mark.parametrize(("basis_points", "words"), [(500, None), (501, "AxeOS"), (1_000, "AxeOS"), (1_001, "SRI's")])
def test_a_fee_that_firmware_takes_for_theft_is_warned_of(basis_points, words):
    warned = said(pool("solo", fee_percent=Decimal(basis_points) / 100, fee_basis_points=basis_points), "warn")
    assert len(warned) == (words is not None)
    assert words is None or (words in warned[0] and warned[0].startswith("pool.fee_percent: "))
    assert ("SRI's" in "".join(warned)) == (basis_points > 1_000)


def test_what_is_held_for_users_is_said_in_pplns_alone():
    held, = (line for line in said(pool("pplns", min_payout_sat=50_000), "ok") if "you hold money" in line)
    assert held.startswith("pool.min_payout_sat: ") and "under 50000 sat" in held and OPERATOR in held
    assert not any("you hold money" in line for line in said(pool("solo"), "ok"))


def test_pplns_says_what_a_node_must_reserve_for_each_size_class():
    line, = (line for line in said(pool("pplns"), "ok") if line.startswith("node: "))
    assert "blockreservedweight=64368;" in line
    assert ("255 bytes 1388, 500 bytes 2368, 755 bytes 3388, 2250 bytes 9368, 6500 bytes 26368, 16000 bytes 64368."
            in line)
    assert line.endswith("With Bitcoin Core's usual 8000 a full block leaves room for 755 bytes")
    assert not any(line.startswith("node: ") for line in said(pool("solo"), "ok"))


def test_a_default_for_names_without_an_address_is_said():
    lines = said(pool("solo", fallback_address=OPERATOR), "ok")
    assert any(line.startswith("pool.fallback_address: ") for line in lines)


def test_small_machines_hold_a_solo_coinbase_with_a_usual_tag_and_a_fee():
    config = pool("solo", fee_basis_points=150)
    assert said(config, "warn") == []
    size = solo_coinbase(config)
    assert size.whole <= 255 and size.whole == size.first + 12 + size.second
    without = solo_coinbase(pool("solo"))
    assert without == CoinbaseSize(size.whole - 31, size.first, size.second - 31), "the fee has an output of P2WPKH"


def test_a_tag_that_is_too_long_for_the_smallest_machines_is_warned_of():
    def with_tag(tag: str) -> PoolConfig:
        return pool("solo", fee_basis_points=150, coinbase_tag=tag, payout_script=bytes((0x51, 0x20)) + bytes(32))

    excess = solo_coinbase(with_tag("x" * 50)).whole - 255
    assert excess > 0
    assert said(with_tag("x" * 50), "warn") == [
        f"pool.coinbase_tag: a coinbase can have {255 + excess} bytes, and NerdMiner holds 255: shorten it by {excess} "
        "bytes"]
    assert said(with_tag("x" * (50 - excess)), "warn") == []
