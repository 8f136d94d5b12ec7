"""A solo pool behind the translator: whom a machine's block pays, and what it hears of a name that leads to nobody."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.manynames import ADDRESSES, BAD, GOOD, NETWORK, each_name
from tests.mining.makers import EASY_NBITS, PAYOUT, make_factory
from tests.translate.test_setup import UNNAMED_S
from tests.translate.world import Pool, World
from warppool.bitcoin.address import script_of
from warppool.bitcoin.transaction import outputs_of
from warppool.mining.account import address_in
from warppool.mining.identity import read_identity
from warppool.mining.names import PaidNames
from warppool.mining.payrule import ToFinder
from warppool.sv1.client import Authorized, Subscribed

OPERATOR = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


class SoloPool(Pool):
    """A pool whose block pays the address in the name of its channel, less a fee."""

    def __init__(self, *args):
        super().__init__(*args)
        self.context = replace(self.context, names=PaidNames(NETWORK))
        self.factory = make_factory({}, ToFinder(PAYOUT, 150))
        self.job = self._make()


def solo(mode="channels", **more):
    return World(mode, kinds=[SoloPool], user=OPERATOR, nbits=EASY_NBITS, **more)


def at_once(world, name):
    """A machine that makes its calls without waiting for an answer."""
    machine = world.machine()
    machine.client.subscribe()
    machine.client.authorize(name)
    machine.say()
    return machine


def one_by_one(world, name, session=""):
    machine = world.machine()
    machine.client.subscribe(session)
    machine.say()
    world.wait(UNNAMED_S + 0.01)
    machine.client.authorize(name)
    machine.say()
    return machine


def in_two_turns(world, name):
    """A machine that waits for the answer to its subscribe, and comes back where it is sent back."""
    first = one_by_one(world, name)
    if first.is_open:
        return first
    assert first.work is None
    return one_by_one(world, name, first.of(Subscribed)[0].session_id)


def block_of(world, machine, name):
    """What the next block of a machine pays, less the commitment."""
    count = len(world.pools[0].blocks)
    while len(world.pools[0].blocks) == count:
        machine.mine(1, name)
    return outputs_of(world.pools[0].blocks[-1].coinbase_tx)[:-1]


@pytest.mark.parametrize("come", [at_once, in_two_turns])
@each_name
def test_each_of_forty_names_is_paid_or_refused(row, come):
    world = solo()
    machine = come(world, row.name)
    if not row.account:
        assert machine.work is None and not any(world.pools[0].accepted.values())
        assert not any(authorized.is_let_in for authorized in machine.of(Authorized))
        if read_identity(row.name) is not None:
            answer = json.loads(machine.raw.splitlines()[-1])
            assert (answer["result"], answer["error"]) == (False, [24, "Invalid Bitcoin address", None])
        return
    fee = 312_500_000 * 150 // 10_000
    assert block_of(world, machine, row.name) == ((312_500_000 - fee, script_of(row.account, NETWORK)), (fee, PAYOUT))


def test_there_are_forty_names_of_both_kinds():
    assert len(GOOD) + len(BAD) >= 40 and min(len(GOOD), len(BAD)) >= 10


# -- any calls in any order --------------------------------------------------------------------------------------------

ALICE, BOB, CAROL = (ADDRESSES[kind] for kind in ("P2WPKH", "P2WSH", "P2TR"))
NAMED = [f"{ALICE}.rig1", f"{ALICE.upper()}.rig2", f"{BOB}_rig", f"sri/solo/{CAROL}", OPERATOR, BAD[0].name, "alice"]
SLOTS = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("come"), SLOTS, st.sampled_from(["", "own", "another's"]), st.booleans()),
    st.tuples(st.just("authorize"), SLOTS, st.sampled_from(NAMED)),
    st.tuples(st.just("mine"), SLOTS, st.sampled_from(NAMED)),
    st.tuples(st.just("drop"), SLOTS),
    st.tuples(st.just("wait"), st.sampled_from([0.1, UNNAMED_S + 0.01, 30.0, 700.0])),
    st.tuples(st.just("tip")),
)


class Street:
    """Four machines behind one address, each of which may say any name and any session that it has seen."""

    def __init__(self, mode):
        self.world = World(mode, kinds=[SoloPool], user=OPERATOR)
        self.machines = [None] * 4
        self.sessions = [""] * 4

    def come(self, slot, which, is_at_once):
        session = self.sessions[slot if which == "own" else slot - 1] if which else ""
        self.drop(slot)
        machine = self.machines[slot] = self.world.machine(address="192.0.2.1")
        machine.client.subscribe(session)
        if is_at_once:
            machine.client.authorize(NAMED[slot])
        machine.say()

    def authorize(self, slot, name):
        if self.is_here(slot):
            self.machines[slot].client.authorize(name)
            self.machines[slot].say()

    def mine(self, slot, name):
        if self.is_here(slot) and self.machines[slot].work is not None:
            self.machines[slot].mine(1, name)

    def drop(self, slot):
        if self.is_here(slot):
            self.machines[slot].close()

    def wait(self, seconds):
        self.world.wait(seconds)

    def tip(self):
        self.world.pools[0].new_job(new_tip=True)
        self.world.run()

    def is_here(self, slot):
        machine = self.machines[slot]
        if machine is not None and machine.of(Subscribed):
            self.sessions[slot] = machine.of(Subscribed)[-1].session_id
        return machine is not None and machine.is_open


def by_account(shares):
    """Counts of shares by the account of their names."""
    counts = Counter()
    for name, count in shares.items():
        counts[address_in(name)] += count
    return counts


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["connection", "channels"]), st.lists(STEPS, min_size=10, max_size=60))
def test_whatever_machines_say_no_share_is_credited_to_another_account(mode, steps):
    street = Street(mode)
    for kind, *values in steps:
        getattr(street, kind)(*values)
        credited = by_account(street.world.pools[0].accepted)
        assert credited == by_account(Counter(share.user for share in street.world.booked))
        assert "" not in credited
