"""The decoders of the field's machines, held to coinbases of mode pool and to coinbases that nobody should give out."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from tests.decoders import (
    MAX_HALF,
    NEW_EXTENDED_JOB,
    OPEN_EXTENDED_SUCCESS,
    address_of,
    axeos_of_job,
    axeos_of_notify,
    frames_of,
    opened_of,
    sri_takes,
)
from tests.manynames import GOOD
from tests.mining.makers import PAYOUT, make_counters, make_factory, make_template
from tests.sv1.pairs import Pair
from tests.sv2.pairs import POLICY, START
from warppool.bitcoin.address import script_of
from warppool.bitcoin.transaction import serialize_output
from warppool.events import Send
from warppool.mining.extranonce import PrefixPool
from warppool.sv2.client import MiningClientSession
from warppool.sv2.connection import ServerConnection
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages.mining import OpenExtendedMiningChannel
from warppool.sv2.profile import SPEC
from warppool.sv2.server import Context

POOL = address_of(PAYOUT, "bc")
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


def test_in_mode_pool_the_payout_address_is_green_on_stratum_v1():
    pair = Pair()
    pair.offer()
    _, extranonce1, size = pair.call("mining.subscribe", "bitaxe/BM1370/v2.9.0")[0]["result"]
    heard = pair.call("mining.authorize", f"{POOL}.rig1", "x")
    line = next(json.dumps(each) for each in heard if each.get("method") == "mining.notify")
    seen = axeos_of_notify(line.encode(), bytes.fromhex(extranonce1), size, f"{POOL}.rig1", "bc")
    assert seen.part == 1 and seen.outputs[0] == (312_500_000, POOL) and seen.height == 840_000


def test_in_mode_pool_the_payout_address_is_green_on_stratum_v2():
    factory = make_factory({SPEC.name: lambda job: EncodedJob(SPEC, job)})
    server = ServerConnection(7, Context(SPEC, POLICY, PrefixPool(0, 0, 1), make_counters()), idle_timeout_s=600.0,
                              now=START)
    data = b"".join(map(SPEC.encode, (
        MiningClientSession.setup(host="pool.test", port=1, vendor="bitaxe", firmware=""),
        OpenExtendedMiningChannel(request_id=1, user_identity=f"{POOL}.rig1", nominal_hash_rate=1e12,
                                  max_target=bytes([255]) * 32, min_extranonce_size=2))))
    events = [*server.offer(factory.make(make_template(), now=START.unix), START), *server.receive(data, START)]
    said = frames_of(b"".join(event.data for event in events if isinstance(event, Send)))
    opened = opened_of(next(payload for kind, payload in said if kind == OPEN_EXTENDED_SUCCESS))
    jobs = [payload for kind, payload in said if kind == NEW_EXTENDED_JOB]
    seen = axeos_of_job(jobs[0], opened, f"{POOL}.rig1", "bc")
    assert seen.part == 1 and seen.outputs[0] == (312_500_000, POOL) and seen.height == 840_000
