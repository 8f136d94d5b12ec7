"""Anything, in any order: no step raises, the counters balance after each (`World.check`), no worker's name leads to
another user (`Pool.deliver`), no machine waits for an answer to a share longer than it may, nothing is left over.
"""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.garbage import mutated
from tests.mining.makers import NTIME
from tests.translate.sripool import GROUP, SriPool
from tests.translate.world import GARBAGE, MASK, SPEC, Pool, World
from warppool.bitcoin.target import target_from_difficulty
from warppool.mining.group import GROUP_IDS
from warppool.sv2.messages.common import ChannelEndpointChanged, Reconnect, SetupConnectionSuccess
from warppool.sv2.messages.extensions import RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess
from warppool.sv2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    SetExtranoncePrefix,
    SetGroupChannel,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesSuccess,
    UpdateChannelError,
)

VERDICT_TIMEOUT_S = 2.0

small = st.integers(0, 12)
groups = st.sampled_from([GROUP, GROUP_IDS + 8, GROUP_IDS + 16, 77])
codes = st.sampled_from(["stale-share", "not-recorded", "duplicate-share", "unknown-user", "", "x" * 255])
messages = st.one_of(
    st.builds(SubmitSharesSuccess, small, small, small, small),
    st.builds(SubmitSharesError, small, small, codes),
    st.builds(SetTarget, small, st.sampled_from(
        [bytes(32), b"\xff" * 32, target_from_difficulty("1e-9").to_bytes(32, "little")])),
    st.builds(SetExtranoncePrefix, small, st.binary(max_size=32)),
    st.builds(NewExtendedMiningJob, small, small, st.none() | st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1),
              st.booleans(), st.sampled_from([1, 255]).map(lambda levels: (b"\x33" * 32,) * levels),
              st.binary(max_size=80), st.sampled_from([0, 9, 16_000, 60_000]).map(bytes)),
    st.builds(SetNewPrevHash, small, small, st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1),
              st.sampled_from([0x17034219, 0x207FFFFF, 0, 0xFFFFFFFF, 0x01000000])),
    st.builds(CloseChannel, small, codes),
    st.builds(OpenMiningChannelError, small, codes),
    st.builds(OpenExtendedMiningChannelSuccess, small, small, st.just(b"\xff" * 32), small, st.binary(max_size=8)),
    st.builds(UpdateChannelError, small, codes),
    st.builds(Reconnect, st.sampled_from(["", "pool-0", "pool-1", "nowhere"]), st.sampled_from([0, 34254])),
    st.builds(SetupConnectionSuccess, st.just(2), st.just(0)),
    st.builds(RequestExtensionsSuccess, st.just(0) | small, st.sampled_from([(), (2,), (2, 7)])),
    st.builds(RequestExtensionsError, st.just(0) | small, st.sampled_from([(), (2,)]), st.sampled_from([(), (5,)])),
)


class Life(RuleBasedStateMachine):
    """A translator, its machines and two upstreams, of which each may do anything."""

    kinds: tuple[type[Pool], ...] = (Pool, Pool)

    @initialize(mode=st.sampled_from(["connection", "channels"]), fallback=st.booleans(), turned=st.booleans())
    def begin(self, mode, fallback, turned):
        kinds = self.kinds[::-1] if turned else self.kinds
        self.world = World(mode, kinds=kinds, fallback=(0,) if fallback else (), grace_s=9.0, silence_s=40.0,
                           backoff_max_s=4.0, return_after_s=6.0)
        self.alive = []

    @rule(name=st.sampled_from(["a", "b.1", "x" * 255]), mask=st.sampled_from([0, MASK]), takes=st.booleans(),
          password=st.sampled_from(["x", "d=0.000000001", "fd=2"]))
    def arrive(self, name, mask, takes, password):
        if len(self.alive) < 5:
            machine = self.world.machine().start(name, password, mask=mask, takes_extranonce=takes)
            self.alive.append((name, machine))

    @rule(name=st.sampled_from(["farm.w", "b.2", "other", "a." + "x" * 60, "..", "victim.b", "a.\u00e4\u202e"]))
    def arrive_as_cpuminer_does(self, name):
        if len(self.alive) < 5:
            machine = self.world.machine()
            machine.client.subscribe()
            machine.say()
            self.world.wait(0.3)
            machine.client.authorize(name)
            machine.say()
            self.alive.append((name, machine))

    @precondition(lambda self: self.alive)
    @rule(which=small, count=st.integers(1, 4), is_good=st.booleans())
    def mine(self, which, count, is_good):
        name, machine = self.alive[which % len(self.alive)]
        if machine.work is not None and machine.is_open and machine.work.target > 1 << 250:
            machine.mine(count, name, is_good=is_good or machine.work.target >> 255 == 1)

    @precondition(lambda self: self.alive)
    @rule(which=small, call=st.sampled_from([
        b'{"id":1,"method":"mining.subscribe","params":[]}',
        b'{"id":"x","method":"mining.authorize","params":["c","d=4"]}',
        b'{"id":2,"method":"mining.configure","params":[["version-rolling","subscribe-extranonce"],{}]}',
        b'{"id":2,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"0000e000"}]}',
        b'{"id":3,"method":"mining.submit","params":["a","1","00","00000000","00000000","00002000"]}',
        b'{"id":3,"method":"mining.submit","params":["a","2","","ffffffff","0"]}', b'{"id":4,"method":"mining.ping"}',
        b"{}", b"nonsense"]))
    def call(self, which, call):
        _, machine = self.alive[which % len(self.alive)]
        if machine.is_open:
            machine.client.receive = lambda data: []        # answers to calls that its client never made
            machine.asked_at.clear()
            machine.is_deaf = True
            machine.send(call + b"\n")

    @precondition(lambda self: self.alive)
    @rule(which=small)
    def leave(self, which):
        _, machine = self.alive.pop(which % len(self.alive))
        if machine.is_open:
            machine.close()

    @rule(which=st.integers(0, 1), manner=st.sampled_from(["well", "well", "refuses", "hangs", "silent", "garbage"]))
    def behave(self, which, manner):
        self.world.pools[which].manner = manner

    @rule(which=st.integers(0, 1), withholds=st.booleans())
    def hold(self, which, withholds):
        if withholds:
            self.world.pools[which].withholds = True
        else:
            self.world.pools[which].answer()
            self.world.run()

    @rule(which=st.integers(0, 1), batch=st.sampled_from([1, 2, 10, 10**6]))
    def gather(self, which, batch):
        self.world.pools[which].batch = batch

    @rule(which=st.integers(0, 1), count=st.sampled_from([10, 100]), is_tip=st.booleans())
    def flood(self, which, count, is_tip):
        for number in range(count):
            self.world.pools[which].new_job(new_tip=is_tip and number % 3 == 0)
        self.world.run()

    @rule(which=st.integers(0, 1), shares=st.integers(60, 110))
    def mine_long(self, which, shares):
        """Enough for a pool without a word to have failed."""
        for name, machine in self.alive[which:which + 1]:
            for _ in range(shares):
                if machine.work is not None and machine.is_open and machine.work.target > 1 << 250:
                    machine.mine(1, name)
                    self.world.wait(0.7)

    @rule(which=st.integers(0, 1), kind=st.sampled_from([
        OpenExtendedMiningChannel, SubmitSharesExtended, RequestExtensions]),
          said=st.none() | messages)
    def lie(self, which, kind, said):
        instead = self.world.pools[which].instead
        if said is None:
            instead.clear()
        else:
            instead[kind] = lambda m: [said]

    @rule(which=st.integers(0, 1))
    def kill(self, which):
        pool = self.world.pools[which]
        for conn_id in list(pool.servers):
            pool.hang_up(conn_id)
        self.world.run()

    @rule(which=st.integers(0, 1), said=st.lists(messages, min_size=1, max_size=3))
    def say(self, which, said):
        self.world.pools[which].say(*said)

    @rule(which=st.integers(0, 1), is_tip=st.booleans())
    def work(self, which, is_tip):
        self.world.pools[which].new_job(new_tip=is_tip)
        self.world.run()

    @rule(which=st.integers(0, 1))
    def rave(self, which):
        for conn_id in list(self.world.pools[which].servers):
            self.world.to_uplink(conn_id, GARBAGE)
        self.world.run()

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.0, 2.5, 10.0, 31.0, 45.0]))
    def wait(self, seconds):
        self.world.wait(seconds)

    @rule()
    def time_out(self):
        self.world.time_out_dials()

    @invariant()
    def balances(self):
        if hasattr(self, "world"):
            self.world.check()
            self.is_answered_in_time()
            self.alive = [(name, machine) for name, machine in self.alive if machine.is_open]

    def is_answered_in_time(self):
        for machine in self.world.machines.values():
            waiting = min(machine.asked_at.values(), default=math.inf)
            if machine.is_open and not machine.is_deaf:
                assert self.world.now.monotonic - waiting <= VERDICT_TIMEOUT_S + 1e-6
            assert machine.longest_wait <= VERDICT_TIMEOUT_S + 1e-6

    def teardown(self):
        if not hasattr(self, "world"):
            return
        world = self.world
        for _, machine in self.alive:
            if machine.is_open:
                machine.close()
        world.time_out_dials()
        world.wait(60)
        world.time_out_dials()
        assert world.connections == {} and world.due == {}
        assert world.counters.pending == 0
        assert (world.failover._trials, world.failover._shared) == ({}, {})
        assert all(upstream.alive == 0 for upstream in world.failover.all)


Life.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None, derandomize=True,
                                  suppress_health_check=list(HealthCheck))
TestLife = pytest.mark.slow(Life.TestCase)


class SpecPool(Pool):
    """A pool of ours in the published profile: its channels are in groups."""

    profile = SPEC


in_groups = st.one_of(
    st.builds(SetGroupChannel, small | groups, st.lists(small, max_size=5).map(tuple)),
    st.builds(NewExtendedMiningJob, groups, small, st.none() | st.just(NTIME), st.just(0x20000000), st.booleans(),
              st.just((b"\x33" * 32,)), st.binary(max_size=80), st.just(bytes(9))),
    st.builds(SetNewPrevHash, groups, small, st.binary(min_size=32, max_size=32), st.just(NTIME),
              st.sampled_from([0x17034219, 0x207FFFFF])),
    st.builds(SetTarget, groups, st.sampled_from([bytes(32), b"\xff" * 32])),
    st.builds(CloseChannel, groups, codes),
    st.builds(SetExtranoncePrefix, small, st.binary(min_size=4, max_size=4)),
    st.builds(ChannelEndpointChanged, small),
    st.builds(NewMiningJob, small | groups, small, st.none(), st.just(0x20000000), st.just(bytes(32))),
)


class SpecLife(Life):
    """The same with an upstream of the published profile beside one of `warp`."""

    kinds = (SpecPool, Pool)

    @rule(which=st.integers(0, 1), said=st.lists(in_groups, min_size=1, max_size=4))
    def say_to_groups(self, which, said):
        pool = self.world.pools[which]
        if pool.profile is SPEC:
            pool.say(*said)


class SriLife(SpecLife):
    """The same where both are of the published profile, and one behaves as SRI's pool."""

    kinds = (SriPool, SpecPool)


for each in (SpecLife, SriLife):
    each.TestCase.settings = settings(Life.TestCase.settings, max_examples=50)
TestSpecLife = pytest.mark.slow(SpecLife.TestCase)
TestSriLife = pytest.mark.slow(SriLife.TestCase)


@pytest.mark.parametrize("mode", ["connection", "channels"])
@pytest.mark.parametrize("seed", range(15))
def test_mutated_lines_and_records(mode, seed):
    dice = random.Random(seed)
    world = World(mode, backoff_max_s=2.0)
    for _ in range(12):
        machine = world.machine()
        machine.client.receive = lambda data: []
        machine.client.configure(MASK)
        machine.client.subscribe()
        machine.client.authorize("bob")
        machine.send(mutated(dice, machine.client.outgoing()))
        for conn_id, server in list(world.pools[0].servers.items()):
            if dice.random() < 0.3:
                frames = server.transport.seal(dice.randbytes(dice.randrange(60)))
                world.to_uplink(conn_id, frames if dice.random() < 0.5 else mutated(dice, frames))
        world.run()
        world.wait(dice.choice((0.1, 1.0, 3.0)))
    world.wait(700)
    assert world.connections == {}
