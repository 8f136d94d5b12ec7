"""Coinbases as machines of the field see them: their own decoders, on the bytes of V1 and of V2's published profile.

In mode solo: more than 95 % on the user's own address for AxeOS, which shows the first outputs alone, and all of it for
SRI. In mode pplns: no more than the machine can hold. In mode pool: all of it on the address of the pool.
"""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache

import pytest

from tests.decoders import (
    NEW_EXTENDED_JOB,
    OPEN_EXTENDED_SUCCESS,
    address_of,
    axeos_of_job,
    axeos_of_notify,
    frames_of,
    halves_of_job,
    opened_of,
    sri_takes,
)
from tests.manynames import ADDRESSES, NETWORK
from tests.mining.makers import PAYOUT, POLICY, make_counters, make_factory, make_template, make_tip
from tests.payout.makers import ONE, POOL, account, make_rules, make_snapshot, script
from tests.sv1.pairs import START, Chance
from warppool.bitcoin.address import script_of
from warppool.bitcoin.transaction import outputs_of
from warppool.events import Send
from warppool.mining.byweights import ByWeights
from warppool.mining.extranonce import PrefixPool
from warppool.mining.names import FreeNames, PaidNames
from warppool.mining.payrule import ToFinder, ToPool
from warppool.mining.rooms import half_of, room_of_agent
from warppool.sv1 import connection as sv1
from warppool.sv1.jobs import ENCODING, encoder
from warppool.sv1.resume import ResumableSessions
from warppool.sv1.server import Context as Sv1Context
from warppool.sv2 import connection as sv2
from warppool.sv2.client import MiningClientSession
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages.mining import OpenExtendedMiningChannel
from warppool.sv2.profile import SPEC
from warppool.sv2.server import Context as Sv2Context

HUMAN = "bcrt"
VALUE = 312_500_000
PAID = PaidNames(NETWORK, has_rooms=True)
NO_FEE, FEE = 0, 150
FEES = pytest.mark.parametrize("fee", [NO_FEE, FEE])
EACH_KIND = pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)


class Jobs:
    """Jobs of a solo pool that takes `fee` basis points, of a pool that pays by `snapshot`, or of another `payer`."""

    def __init__(self, fee=NO_FEE, snapshot=None, payer=None):
        payer = payer or (ToFinder(PAYOUT, fee) if snapshot is None else ByWeights(script(POOL)))
        self._factory = make_factory({ENCODING: encoder(8), SPEC.name: lambda job: EncodedJob(SPEC, job)}, payer)
        self._snapshot = snapshot

    def on_tip(self, number):
        return self._factory.make(make_template(make_tip(number)), START.unix, self._snapshot)


def bytes_of(events):
    return b"".join(event.data for event in events if isinstance(event, Send))


class V1:
    """A machine on Stratum V1: all that it was sent, line by line."""

    def __init__(self, user, agent="bitaxe/BM1370/v2.13.1", names=PAID):
        prefixes = PrefixPool(0, 0, 1)
        self.user = user
        self._server = sv1.ServerConnection(7, Sv1Context(
            POLICY, prefixes, make_counters(), ResumableSessions(prefixes), Chance(), names=names),
            idle_timeout_s=600.0, now=START)
        self._say(1, "mining.subscribe", agent)
        self._subscribed = self._heard[-1]
        self._say(2, "mining.authorize", user, "x")

    def _say(self, request_id, method, *params):
        line = json.dumps({"id": request_id, "method": method, "params": params}).encode() + b"\n"
        self._hear(self._server.receive(line, START))

    def _hear(self, events):
        self._heard = bytes_of(events).splitlines()
        self.notifies = [line for line in self._heard if b'"mining.notify"' in line]

    def offer(self, job):
        self._hear(self._server.offer(job, START))

    @property
    def space(self):
        _, extranonce1, size = json.loads(self._subscribed)["result"]
        return bytes.fromhex(extranonce1), size

    def seen(self):
        (line,) = self.notifies
        return axeos_of_notify(line, *self.space, self.user, HUMAN)

    def halves(self):
        (line,) = self.notifies
        return tuple(map(bytes.fromhex, json.loads(line)["params"][2:4]))

    def coinbase(self):
        head, tail = self.halves()
        extranonce1, size = self.space
        return head + extranonce1 + bytes(size) + tail


class V2:
    """A connection in the published profile with extended channels for these users, all opened in one go."""

    def __init__(self, *users, vendor="bitaxe", names=PAID):
        self.users = users
        context = Sv2Context(SPEC, POLICY, PrefixPool(0, 0, 1), make_counters(), names=names)
        self._server = sv2.ServerConnection(7, context, idle_timeout_s=600.0, now=START)
        messages = [MiningClientSession.setup(host="pool.test", port=1, vendor=vendor, firmware="")]
        messages += [OpenExtendedMiningChannel(
            request_id=number, user_identity=user, nominal_hash_rate=1e12, max_target=bytes([255]) * 32,
            min_extranonce_size=2) for number, user in enumerate(users)]
        frames = frames_of(bytes_of(self._server.receive(b"".join(map(SPEC.encode, messages)), START)))
        self.channels = [opened_of(payload) for kind, payload in frames if kind == OPEN_EXTENDED_SUCCESS]
        self.jobs = {}

    def offer(self, job, now=START):
        frames = frames_of(bytes_of(self._server.offer(job, now)))
        self.jobs = {halves_of_job(payload)[0]: payload for kind, payload in frames if kind == NEW_EXTENDED_JOB}

    def payload(self, number):
        """The job of a channel: its own, or that of its group."""
        channel = self.channels[number]
        return self.jobs.get(channel.channel_id) or self.jobs[channel.group_id]

    def seen(self, number=0):
        return axeos_of_job(self.payload(number), self.channels[number], self.users[number], HUMAN)

    def halves(self, number=0):
        return halves_of_job(self.payload(number))[1:]

    def coinbase(self, number=0):
        head, tail = self.halves(number)
        channel = self.channels[number]
        return head + channel.extranonce_prefix + bytes(channel.extranonce_size) + tail


@pytest.mark.parametrize("machine_of", [V1, V2])
@FEES
@EACH_KIND
def test_axeos_shows_more_than_95_percent_for_its_owner_who_stands_first(machine_of, fee, address):
    machine = machine_of(f"{address}.bitaxe")
    machine.offer(Jobs(fee).on_tip(1))
    seen = machine.seen()
    taken = VALUE * fee // 10_000
    assert seen.is_green and seen.part == Fraction(VALUE - taken, VALUE)
    assert seen.height == 840_000 and seen.outputs[0] == (VALUE - taken, address)
    assert len(seen.outputs) == 2 + bool(fee)
    assert len(machine.coinbase()) <= 255, "which the smallest machines can hold"


@pytest.mark.parametrize("machine_of", [V1, V2])
@EACH_KIND
def test_sri_s_translator_finds_the_whole_coinbase_paid_to_who_asked_for_that(machine_of, address):
    script = script_of(address, NETWORK)
    machine = machine_of(f"sri/solo/{address}/rig1")
    machine.offer(Jobs(NO_FEE).on_tip(1))
    assert sri_takes(machine.coinbase(), f"sri/solo/{address}/rig1", script)
    plain = machine_of(f"{address}.rig1")
    plain.offer(Jobs(1000).on_tip(1))
    assert sri_takes(plain.coinbase(), f"{address}.rig1", script), "nine tenths, to the satoshi"


def test_two_channels_of_one_connection_are_green_on_their_own_addresses_over_three_tips():
    users = [f"{address}.rig" for address in ADDRESSES.values()]
    jobs, peer = Jobs(FEE), V2(*users[:2])
    for tip in (1, 2, 3):
        peer.offer(jobs.on_tip(tip))
        for number, user in enumerate(users[:2]):
            seen = peer.seen(number)
            assert seen.is_green and seen.outputs[0][1] == user.partition(".")[0]
        assert peer.coinbase(0) != peer.coinbase(1)


def test_five_channels_of_one_group_size_are_each_green():
    jobs, peer = Jobs(NO_FEE), V2(*(f"{address}.rig" for address in ADDRESSES.values()))
    for tip in (1, 2, 3):
        peer.offer(jobs.on_tip(tip))
        assert all(peer.seen(number).part == 1 for number in range(5))


@pytest.mark.parametrize("fee", [501, 10_000])
def test_a_fee_above_five_percent_is_shown_to_the_owner_as_a_warning(fee):
    machine = V1(f"{next(iter(ADDRESSES.values()))}.rig")
    machine.offer(Jobs(fee).on_tip(1))
    assert not machine.seen().is_green


@pytest.mark.parametrize("machine_of", [V1, V2])
def test_in_mode_pool_the_payout_address_is_green(machine_of):
    address = address_of(PAYOUT, HUMAN)
    machine = machine_of(f"{address}.rig1", names=FreeNames())
    machine.offer(Jobs(payer=ToPool(PAYOUT)).on_tip(1))
    seen = machine.seen()
    assert seen.part == 1 and seen.outputs[0] == (VALUE, address) and seen.height == 840_000


# -- pplns -------------------------------------------------------------------------------------------------------------

AGENTS = ["NerdMinerV2/1.8", "NiceHash/1.0.0", "bitaxe/BM1370/v2.13.1", "cgminer/4.11.1", "Antminer S21/2024",
          "whatsminer/v1.0", "PowerPlay-BM/2.0"]


@cache
def many(count):
    """So many accounts of each kind, with much the same weight; the least are above the minimum."""
    return make_snapshot({account(number, number % 5): ONE // (2 * count) + number for number in range(count)},
                         rules=make_rules(fee_bp=100))


@pytest.mark.parametrize("count", [1, 20, 600])
@pytest.mark.parametrize("agent", AGENTS)
def test_in_pplns_each_machine_gets_a_coinbase_that_it_can_hold(agent, count):
    room, jobs = room_of_agent(agent), Jobs(snapshot=many(count))
    machines = [V1(f"{account(0)}.rig", agent=agent), V2(f"{account(0)}.rig", vendor=agent)]
    for machine in machines:
        machine.offer(jobs.on_tip(1))
    coinbases = [machine.coinbase() for machine in machines]
    outputs = [outputs_of(coinbase) for coinbase in coinbases]
    assert outputs[0] == outputs[1] and sum(sat for sat, _ in outputs[0]) == VALUE
    for machine, coinbase in zip(machines, coinbases, strict=True):
        assert len(coinbase) <= room and max(map(len, machine.halves())) <= half_of(room)
    assert len(outputs[0]) - 2 <= count


def test_axeos_is_green_for_who_did_nearly_all_of_the_work_and_its_owner_stands_first():
    weights = {account(0): ONE * 98 // 100, account(1): ONE // 100, account(2): ONE // 100}
    jobs = Jobs(snapshot=make_snapshot(weights, rules=make_rules(fee_bp=100)))
    for machine in (V1(f"{account(0)}.rig"), V2(f"{account(0)}.rig")):
        machine.offer(jobs.on_tip(1))
        seen = machine.seen()
        assert seen.is_green and seen.outputs[0][1] == account(0)


def test_where_nobody_has_a_weight_the_finder_is_paid_as_in_solo():
    jobs = Jobs(snapshot=make_snapshot({}, rules=make_rules(fee_bp=100)))
    for machine in (V1(f"{account(3)}.rig"), V2(f"{account(3)}.rig")):
        machine.offer(jobs.on_tip(1))
        assert machine.seen().part == Fraction(99, 100)
