"""The decoders of the field's machines, held to coinbases that are written here, good ones and bad ones."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from tests.decoders import MAX_HALF, address_of, axeos_of_notify, sri_takes
from tests.manynames import GOOD
from warppool.bitcoin.address import script_of
from warppool.bitcoin.transaction import serialize_output

MAIN = ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        "3P14159f73E4gFr7JterCCQh9QjiTjiZrG"]
COMMITMENT = serialize_output(0, b"\x6a\x24\xaa\x21\xa9\xed" + bytes(32))


def halves(*outputs, extranonce=12):
    """The two halves of a coinbase at height 840,000 with these outputs, each (sat, script)."""
    script = b"\x03\x40\xd1\x0c\x04pool" + bytes([extranonce])
    head = (b"\x02\x00\x00\x00\x01" + bytes(32) + b"\xff\xff\xff\xff" + bytes([len(script) + extranonce]) + script)
    paid = b"".join(serialize_output(sat, script) for sat, script in outputs)
    return head, b"\xfe\xff\xff\xff" + bytes([len(outputs) + 1]) + paid + COMMITMENT + b"\x3f\xd1\x0c\x00"


def notify(*outputs, **more):
    head, tail = halves(*outputs, **more)
    return json.dumps({"id": None, "method": "mining.notify",
                       "params": ["1", "00" * 32, head.hex(), tail.hex(), [], "20000000", "17034219", "65", True]})


def look(line, user, human="bc"):
    return axeos_of_notify(line, bytes(4), 8, user, human)


@pytest.mark.parametrize("address", MAIN)
def test_addresses_of_mainnet_are_made_of_their_scripts(address):
    assert address_of(script_of(address, "main"), "bc") == address


@pytest.mark.parametrize("row", GOOD, ids=[row.why for row in GOOD])
def test_addresses_of_regtest_are_made_of_their_scripts(row):
    assert address_of(script_of(row.account, "regtest"), "bcrt") == row.account


def test_a_machine_shows_the_height_and_what_its_user_gets():
    mine, fee = script_of(MAIN[0], "main"), script_of(MAIN[1], "main")
    seen = look(notify((98, mine), (2, fee)), f"{MAIN[0]}.rig1")
    assert seen.height == 840_000 and seen.outputs == ((98, MAIN[0]), (2, MAIN[1]), (0, ""))
    assert seen.part == Fraction(98, 100) and seen.is_green
    assert not look(notify((95, mine), (5, fee)), f"{MAIN[0]}.rig1").is_green, "more than 95 %, not just as much"
    assert not look(notify((98, mine), (2, fee)), f"{MAIN[2]}.rig1").is_green


def test_an_output_behind_the_sixth_is_not_seen():
    others = [(1, bytes([0, 20]) + bytes([number]) * 20) for number in range(6)]
    mine = script_of(MAIN[0], "main")
    assert look(notify(*others, (1000, mine)), MAIN[0]).user_sat == 0
    assert look(notify((1000, mine), *others), MAIN[0]).is_green


def test_a_scriptsig_that_says_another_length_shifts_all_that_follows():
    with pytest.raises(AssertionError):
        look(notify((1, script_of(MAIN[0], "main")), extranonce=11), MAIN[0])


def test_a_half_that_is_too_long_for_it_is_no_coinbase():
    mine = script_of(MAIN[0], "main")
    eight = [(1, mine)] * 8
    assert look(notify(*eight), MAIN[0]).part == 1
    with pytest.raises(AssertionError, match="cuts"):
        look(notify(*[(1, mine)] * 12), MAIN[0])
    assert len(halves(*eight)[1]) < MAX_HALF


def test_sri_wants_all_of_a_solo_coinbase_and_nine_tenths_for_a_plain_address():
    mine, fee = script_of(MAIN[0], "main"), script_of(MAIN[1], "main")

    def coinbase(*outputs):
        head, tail = halves(*outputs)
        return head + bytes(12) + tail

    solo = f"sri/solo/{MAIN[0]}/rig1"
    assert sri_takes(coinbase((100, mine)), solo, mine)
    assert not sri_takes(coinbase((99, mine), (1, fee)), solo, mine)
    assert sri_takes(coinbase((90, mine), (10, fee)), f"{MAIN[0]}.rig1", mine)
    assert not sri_takes(coinbase((89, mine), (11, fee)), f"{MAIN[0]}.rig1", mine)
    assert not sri_takes(coinbase((100, fee)), solo, mine)
