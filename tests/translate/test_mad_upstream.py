"""Ten thousand mutated inputs to the translator's connection to a pool: an event or the end of that
connection, never an exception; the machine behind it stays whole, and what is held is bounded.
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import count
from typing import Any

from tests.garbage import pieces
from tests.madpool import EXTENDED, GROUP, MadPool
from tests.mining.makers import HARD_NBITS, NTIME
from warppool.events import Close, Dial, Event, Happened, Held, Holds, Now, Nudge, Send, ShareAccepted, ShareRefused
from warppool.noise.primitives import new_buffer
from warppool.sv1.client import MiningClient, WorkReady
from warppool.sv2.messages.common import SetupConnectionSuccess
from warppool.sv2.messages.mining import (
    NewExtendedMiningJob,
    OpenExtendedMiningChannelSuccess,
    SetNewPrevHash,
)
from warppool.sv2.profile import SPEC, Profile
from warppool.sv2.types import Message
from warppool.translate.connection import connect
from warppool.translate.context import Times, TranslatorContext
from warppool.translate.counters import Counters
from warppool.translate.failover import Failover
from warppool.translate.upstream import UpstreamConfig

INPUTS = 10_000
START = Now(1000.0, float(NTIME + 100))
MACHINE, POOL = 1, 2
WHAT_FOLLOWS = Send | Close | Dial | Nudge | Happened | Holds | ShareAccepted | ShareRefused
PREFIX = b"\x02\0\0\0\x01" + bytes(32) + b"\xff" * 4 + b"\x20\x03\x01\x02\x03" + bytes(20)


class Farm:
    """One machine on a translator, which is connected to a pool of the test's words; nothing is sealed."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.now = START
        self.counters = Counters()
        config = UpstreamConfig("pool", "pool", 34254, bytes(32), profile, "farm")
        failover = Failover(TranslatorContext(
            mode="connection", times=Times(), upstreams=(config,), buffer=new_buffer(),
            random_bytes=lambda size: bytes(size), counters=self.counters))
        self.client = MiningClient("cpuminer/2.5.1")
        self.events: list[Event] = []
        self.work: Any = None
        self.uplink: Any = None
        self.machine = connect(MACHINE, failover, self.now)
        self.client.configure(0x1FFFE000)
        self.client.subscribe()
        self.client.authorize("alice.rig1", "x")
        self._listen()
        for _ in range(4):                      # calls that come together are looked at together
            self.now = Now(max(self.now.monotonic, min(self.machine.wakes_at, START.monotonic + 5.0)), self.now.unix)
            self.take(self.machine.tick(self.now))
        assert self.uplink is not None, self.events
        self.take(self.uplink.opened(POOL, "pool", self.now))
        self.say(SetupConnectionSuccess(2, 0))
        self.say(OpenExtendedMiningChannelSuccess(1, EXTENDED, b"\xff" * 32, 8, bytes(4), GROUP))
        self.say(NewExtendedMiningJob(EXTENDED, 1, None, 0x20000000, True, (), PREFIX, bytes(40)),
                 SetNewPrevHash(EXTENDED, 1, bytes(32), NTIME, HARD_NBITS))
        assert self.work is not None
        self.events.clear()

    def say(self, *messages: Message) -> None:
        self.hear(b"".join(map(self.profile.encode, messages)))

    def hear(self, data: bytes) -> None:
        self.take(self.uplink.receive(data, self.now))

    def _listen(self) -> None:
        """The machine says what it has to say."""
        self.take(self.machine.receive(self.client.outgoing(), self.now))
        while self.machine.held == Held.TURN:
            self.take(self.machine.receive(b"", self.now))

    def take(self, events: list[Event]) -> None:
        self.events += events
        for event in events:
            assert isinstance(event, WHAT_FOLLOWS), event
            if isinstance(event, Dial) and self.uplink is None:
                self.uplink = event.upstream
            elif isinstance(event, Send) and event.conn_id == MACHINE:
                for heard in self.client.receive(event.data):
                    if isinstance(heard, WorkReady):
                        self.work = heard.work

    def mine(self, nonce: int) -> None:
        work = self.work
        self.client.submit("alice.rig1", work, nonce.to_bytes(work.extranonce2_size, "big"), work.version, work.ntime,
                           nonce)
        self._listen()

    @property
    def is_over(self) -> bool:
        return any(isinstance(event, Close) for event in self.events)

    def check(self) -> None:
        counters = self.counters
        assert counters.received == (counters.accepted + sum(counters.rejected.values()) + counters.filtered
                                     + counters.pending + counters.unconfirmed)
        assert self.machine.in_flight == counters.pending


def test_a_translator_lives_with_what_a_mad_pool_says():
    """In the published profile; `test_random.py` has more of any history in `warp`."""
    profile = SPEC
    dice = random.Random(31)
    pool = MadPool(dice, profile)
    seen: Counter[str] = Counter()
    farm = None
    for number in count():
        if pool.said >= INPUTS:
            break
        farm = farm or Farm(profile)
        if dice.random() < 0.3:
            farm.mine(number)
        for part in pieces(dice, pool.frames()):
            farm.hear(part)
        farm.now = Now(farm.now.monotonic + dice.choice((0.0, 0.05, 1.0)), farm.now.unix)
        farm.take(farm.uplink.tick(farm.now))
        farm.check()
        seen += Counter(type(event).__name__ for event in farm.events)
        assert len(farm.uplink._session._channels) <= 1
        assert farm.uplink._frames.pending <= profile.max_payload_from_pool
        if farm.is_over or (farm.uplink._frames.pending and dice.random() < 0.5):       # it may wait for ever
            farm.take(farm.uplink.closed(farm.now))
            farm.take(farm.machine.closed(farm.now))
            assert farm.counters.pending == farm.machine.in_flight == 0
            farm = None
        else:
            farm.events.clear()
    assert min(seen[each] for each in ("Close", "Send", "ShareAccepted", "ShareRefused", "Happened")) > 20
