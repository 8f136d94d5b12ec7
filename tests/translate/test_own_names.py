"""A machine that says its name after the answer to its subscribe: it mines for its own account, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.translate.profiles import profile  # noqa: F401
from tests.translate.test_setup import UNNAMED_S
from tests.translate.world import START, World
from warppool.mining.identity import MAX_AGENT
from warppool.sv1.client import Authorized, Subscribed
from warppool.sv2.messages.mining import OpenExtendedMiningChannel, OpenMiningChannelError
from warppool.translate.waitingnames import MAX_WAITING, WAITING_S, Awaited, CameBack, Origin, WaitingNames

ALICE = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
BOB = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
HOME, OFFICE = "192.0.2.1", "192.0.2.2"
AT_HOME = Origin(HOME, "cpuminer/2.5.1")
MODES = pytest.mark.parametrize("mode", ["connection", "channels"])


def at_open(pool, do):
    """Before `pool` looks at an open, `do` may; where that returns messages, they are the answer."""

    class Opens(dict):
        def get(self, kind, default=None):
            answer = do(pool.seen[-1]) if kind is OpenExtendedMiningChannel else None
            return default if answer is None else lambda message: answer

    pool.instead = Opens()


def refuse(pool, name):
    """The pool opens no channel under that name."""
    at_open(pool, lambda m: None if m.user_identity != name else [
        OpenMiningChannelError(request_id=m.request_id, error_code="invalid-user-identity")])


def waiting(world, name, session="", address=HOME, agent="cpuminer/2.5.1"):
    """cpuminer's first calls: it says its name when its subscribe is answered."""
    machine = world.machine(address=address, agent=agent)
    machine.client.subscribe(session)
    machine.say()
    world.wait(UNNAMED_S + 0.01)
    assert machine.of(Subscribed)
    machine.client.authorize(name)
    machine.say()
    return machine


def session_of(machine):
    return machine.of(Subscribed)[0].session_id


def was_sent_back(machine):
    """It was let in and closed, and had no work for which another account would have been paid."""
    return machine.of(Authorized)[0].is_let_in and not machine.is_open and machine.work is None


def identities(world):
    return [message.user_identity for message in world.pools[0].opens()]


@MODES
def test_a_machine_that_comes_back_with_its_session_mines_under_its_own_name(mode):
    world = World(mode)
    first = waiting(world, f"{ALICE}.rig1")
    assert was_sent_back(first) and "miner.sent_back" in world.names()
    again = waiting(world, f"{ALICE}.rig1", session_of(first))
    again.mine(3, f"{ALICE}.rig1")
    assert identities(world) == ["farm.0", f"{ALICE}.rig1"]
    assert world.pools[0].accepted == {f"{ALICE}.rig1": 3}
    assert session_of(again) == session_of(first)
    assert not world.pools[0].refused and world.counters.unnamed == 0


def test_a_machine_whose_name_is_known_by_its_session_waits_for_nothing():
    world = World()
    first = waiting(world, ALICE)
    again = world.machine(address=OFFICE)
    again.client.subscribe(session_of(first))
    again.say()
    assert again.of(Subscribed), "at once, not after the time that a machine has to say its name"


def test_a_session_is_known_again_after_every_drop():
    world = World()
    machine = waiting(world, ALICE)
    session = session_of(machine)
    for _ in range(3):
        machine = waiting(world, ALICE, session, OFFICE)
        machine.mine(1, ALICE)
        machine.close()
        world.wait(WAITING_S - 10)
    assert identities(world) == ["farm.0", ALICE, ALICE, ALICE] and world.pools[0].accepted == {ALICE: 3}


@MODES
def test_a_machine_that_forgets_its_session_is_known_by_where_it_comes_from(mode):
    world = World(mode)
    assert was_sent_back(waiting(world, ALICE, agent="NerdMinerV2"))
    again = waiting(world, ALICE, agent="NerdMinerV2")
    again.mine(2, ALICE)
    assert world.pools[0].accepted == {ALICE: 2}


def test_of_a_machine_that_says_much_of_itself_little_is_kept():
    """Thousands of names are kept, and a line may have 16 KiB."""
    world, agent = World(), "cpuminer" + "é" * 2_000
    first = waiting(world, ALICE, agent=agent)
    kept = world.failover.context.names.claim(bytes.fromhex(session_of(first)), START.monotonic)
    assert len(kept.origin.agent) == MAX_AGENT
    assert was_sent_back(waiting(world, BOB, agent=agent)) and was_sent_back(waiting(world, ALICE, agent=agent))
    waiting(world, ALICE, agent=agent).mine(1, ALICE)
    assert world.pools[0].accepted == {ALICE: 1}


@pytest.mark.parametrize(("address", "agent"), [(OFFICE, "cpuminer/2.5.1"), (HOME, "cgminer/4.11.1")])
def test_who_is_not_known_again_is_closed_every_time(address, agent):
    world = World()
    assert was_sent_back(waiting(world, ALICE))
    assert was_sent_back(waiting(world, ALICE, address=address, agent=agent))
    assert identities(world) == ["farm.0"] * 2 and world.pools[0].total == 0


def test_where_two_accounts_wait_nobody_is_known_by_the_place_alone():
    world = World()
    first = [waiting(world, name) for name in (ALICE, f"{BOB}.rig")]
    # Bob came by where Alice was awaited, and had her channel until he said his name.
    assert all(map(was_sent_back, first)) and identities(world) == ["farm.0", ALICE]
    assert was_sent_back(waiting(world, ALICE))             # Bob's channel, now that he is awaited alone
    world = World()
    world.failover.context.names.keep(waits("1", ALICE))
    world.failover.context.names.keep(waits("2", BOB))
    assert was_sent_back(waiting(world, ALICE)) and identities(world) == ["farm.0"]
    by_session = waiting(world, BOB, (b"2" * 8).hex())
    by_session.mine(1, BOB)
    assert world.pools[0].accepted == {BOB: 1}


def test_machines_of_one_account_that_wait_at_one_place_are_all_known():
    world = World()
    for rig in ("rig1", "rig2", "rig3"):
        world.failover.context.names.keep(waits(rig[-1], f"{ALICE}.{rig}", ALICE))
    for rig in ("rig3", "rig1", "rig2"):
        waiting(world, f"{ALICE}.{rig}").mine(1, f"{ALICE}.{rig}")
    assert world.pools[0].accepted == {f"{ALICE}.{rig}": 1 for rig in ("rig1", "rig2", "rig3")}
    assert all(user.startswith(ALICE) for user in world.pools[0].accepted)


def test_a_name_that_comes_while_the_channel_is_being_opened():
    world = World()
    machine = world.machine(address=HOME)

    def authorize(message):
        machine.client.authorize(ALICE)
        data = machine.client.outgoing()
        world.queue.append(lambda: world.from_machine(machine.conn_id, data))

    at_open(world.pools[0], authorize)
    machine.client.subscribe()
    machine.say()
    world.wait(UNNAMED_S + 0.01)
    assert was_sent_back(machine) and identities(world) == ["farm.0"]


@pytest.mark.parametrize("user", [ALICE, ALICE.upper(), f"{ALICE}_x.y", f"sri/solo/{ALICE}/z"])
def test_a_channel_of_the_same_account_is_kept(user):
    world = World(user=user)
    machine = waiting(world, f"{ALICE}.rig1")
    machine.mine(2, f"{ALICE}.rig1")
    assert machine.is_open and identities(world) == [user] and world.pools[0].total == 2


def test_a_name_without_an_address_is_not_mined_for_on_the_operators_address():
    world = World(user=BOB)
    first = waiting(world, "bc1qtypo.rig1")
    assert was_sent_back(first)
    waiting(world, "bc1qtypo.rig1", session_of(first))
    assert identities(world) == [BOB, "bc1qtypo.rig1"], "its pool says what it thinks of that"


@MODES
def test_a_machine_hears_that_its_pool_refuses_the_name_that_it_came_back_for(mode):
    world = World(mode)
    refuse(world.pools[0], "bc1qtypo.rig1")
    world.failover.context.names.keep(waits("1", "bc1qtypo.rig1"))
    machine = world.machine(address=OFFICE)
    machine.client.subscribe((b"1" * 8).hex())
    machine.say()
    world.wait(UNNAMED_S + 0.01)
    assert machine.of(Subscribed) and identities(world) == ["bc1qtypo.rig1", "farm.0"]
    machine.client.authorize("bc1qtypo.rig1")
    machine.say()
    assert machine.of(Authorized) == [Authorized("bc1qtypo.rig1", False)] and machine.work is None and machine.is_open
    machine.client.authorize(ALICE)             # another name, whose account the channel has not either
    machine.say()
    assert not machine.is_open and machine.work is None and world.pools[0].total == 0


def test_a_second_worker_of_another_account_is_refused():
    world = World()
    machine = world.machine().start(f"{ALICE}.rig1")
    for name in (f"{ALICE.upper()}.rig2", f"{ALICE}_rig3", f"{BOB}.rig1", "rig4"):
        machine.client.authorize(name)
    machine.say()
    assert [authorized.is_let_in for authorized in machine.of(Authorized)] == [True, True, True, False, False]
    assert machine.raw.count(b'"error":[24,"Another address is mined for here",null]') == 2
    machine.mine(1, f"{ALICE}.rig1")
    machine.mine(1, f"{BOB}.rig1")
    assert machine.refusals() == [(24, "Unauthorized worker")]
    assert world.pools[0].accepted == {f"{ALICE}.rig1": 1}


def test_one_more_authorize_does_not_keep_a_machine_that_is_to_come_back():
    world = World()
    machine = world.machine(address=HOME)
    machine.client.subscribe()
    machine.say()
    world.wait(UNNAMED_S + 0.01)
    for name in (ALICE, f"{ALICE}.rig2", BOB, "x"):
        machine.client.authorize(name)
    machine.say()
    assert not machine.is_open and machine.work is None
    assert world.names().count("miner.sent_back") == 1 and len(world.failover.context.names) == 1


def test_a_thief_at_the_place_of_a_machine_that_is_awaited_gets_nothing():
    world = World()
    victim = waiting(world, ALICE)
    thief = waiting(world, BOB)                 # on the channel of Alice, since only she was awaited there
    assert was_sent_back(thief) and identities(world) == ["farm.0", ALICE]
    again = waiting(world, ALICE, session_of(victim))
    again.mine(2, ALICE)
    assert world.pools[0].accepted == {ALICE: 2}


def test_without_own_names_the_channel_is_kept():
    world = World(own_names=False)
    machine = waiting(world, f"{ALICE}.rig1")
    machine.mine(2, f"{ALICE}.rig1")
    assert identities(world) == ["farm.0"] and world.pools[0].accepted == {"farm.rig1": 2}


def test_another_rule_is_that_of_machines_to_come_and_names_are_kept():
    world = World()
    first = waiting(world, ALICE)
    kept = world.machine(address=HOME)
    world.reconfigure(replace(world.failover.context, own_names=False, names=WaitingNames()))
    kept.client.subscribe(session_of(first))
    kept.say()
    assert kept.of(Subscribed) and identities(world) == ["farm.0", ALICE]
    newcomer = waiting(world, BOB)
    assert newcomer.is_open and newcomer.work is not None and identities(world)[-1] == "farm.0"


def test_names_without_an_address_are_of_one_account_as_before():
    world = World()
    machine = waiting(world, "alice.rig1")
    machine.mine(1, "alice.rig1")
    assert machine.is_open and world.pools[0].accepted == {"farm.rig1": 1}


@pytest.mark.parametrize("session", ["", "zz", "00" * 8, "00" * 400, "é"])
def test_a_session_that_nobody_has_is_a_new_one(session):
    world = World()
    machine = world.machine()
    machine.client.subscribe(session)
    machine.client.authorize("alice.rig1")
    machine.say()
    assert machine.work is not None and len(bytes.fromhex(session_of(machine))) == 8


def test_another_session_than_that_of_its_name_costs_a_machine_one_more_turn():
    world = World()
    alice = waiting(world, ALICE)
    bob = waiting(world, BOB, session_of(alice), OFFICE)
    assert was_sent_back(bob)
    again = waiting(world, BOB, session_of(alice), OFFICE)
    again.mine(1, BOB)
    assert world.pools[0].accepted == {BOB: 1}


# -- what the workers keep -----------------------------------------------------------------------------------------


def waits(number, name, account="", origin=AT_HOME, expires_at=START.monotonic + WAITING_S):
    return Awaited(number.encode() * (8 // len(number)), name, account or name, origin, expires_at)


def two_workers():
    """A pair of copies that tell each other at once."""
    first = WaitingNames(lambda message: second.receive(message))
    second = WaitingNames(lambda message: first.receive(message))
    return first, second


def test_a_machine_may_come_back_to_any_worker():
    first, second = two_workers()
    alice = waits("1", ALICE)
    first.keep(alice)
    assert second.claim(b"1" * 8, 0.0) == alice == first.claim(b"1" * 8, 0.0), "known for as long as it is kept"
    assert second.claim_at(alice.origin, 0.0) is None is first.claim_at(alice.origin, 0.0), "but awaited no more"


def test_who_came_back_to_one_worker_is_awaited_by_none():
    first, second = two_workers()
    alice, bob = waits("1", ALICE), waits("2", BOB)
    first.keep(alice)
    second.keep(bob)
    assert first.claim_at(alice.origin, 0.0) is None is second.claim_at(alice.origin, 0.0), "two accounts"
    assert first.claim(b"1" * 8, 0.0) == alice
    assert second.claim_at(bob.origin, 0.0) == bob
    assert first.claim_at(bob.origin, 0.0) is None


def test_a_name_is_kept_for_its_time_and_no_longer():
    names = WaitingNames()
    names.keep(waits("1", ALICE, expires_at=10.0))
    names.keep(waits("2", BOB, origin=Origin(OFFICE, ""), expires_at=20.0))
    assert names.claim(b"1" * 8, 9.9) is not None
    assert names.claim(b"1" * 8, 10.0) is None and len(names) == 1
    assert names.claim_at(Origin(OFFICE, ""), 20.0) is None and len(names) == 0


def test_a_storm_of_names_is_bounded_and_leaves_nothing_behind():
    names = WaitingNames()
    for number in range(MAX_WAITING + 100):
        names.keep(Awaited(number.to_bytes(8, "big"), f"name{number}", "", Origin(str(number), ""), 1.0))
    assert len(names) == MAX_WAITING == len(names._at_origin)
    assert names.claim((99).to_bytes(8, "big"), 0.0) is None is not names.claim((100).to_bytes(8, "big"), 0.0)
    names.claim(b"", 1.0)
    assert len(names) == 0 and not names._at_origin


def test_news_of_a_machine_that_nobody_knows_is_nothing():
    names = WaitingNames()
    names.receive(CameBack(b"1" * 8))
    assert len(names) == 0
