"""A server connection and a miner in memory, with the worker's part played by the test."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

from tests.mining.makers import EASY_NBITS, NTIME, make_counters, make_factory, make_template, make_tip
from tests.over import Over
from warppool.events import BlockFound, Close, Event, Held, Now, Send, ShareAccepted, ShareSubmitted
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.job import Job
from warppool.mining.share import weigh
from warppool.noise.certificate import issue
from warppool.noise.ends import Identity, responder
from warppool.noise.primitives import new_buffer, public_key
from warppool.noise.secp256k1 import xonly_of_ellswift, xonly_of_secret
from warppool.sv2.client import ClientEvent, MiningClientSession
from warppool.sv2.connection import ServerConnection
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.profile import SPEC, WARP, Profile
from warppool.sv2.server import Context

SECRET = bytes(range(32))
START = Now(1000.0, float(NTIME + 100))
MAX_TARGET = 2**256 - 1
POLICY = DifficultyPolicy(Fraction(1), Fraction(1, 1000), Fraction(0), Fraction(12))

DIALECT = [WARP]
"""The profile of what is made here; `tests.sv2.profiles` has others."""


AUTHORITY_SECRET = bytes(range(1, 33))


@cache
def _certificate() -> bytes:
    static = xonly_of_ellswift(SPEC.suite.key_pair(SECRET).public)
    return issue(AUTHORITY_SECRET, static, int(START.unix) - 3600, int(START.unix) + 86_400).encode()


@cache
def identity_in(profile: Profile) -> Identity:
    """Who the server is."""
    static = profile.suite.key_pair(SECRET)
    return Identity(static) if profile.suite.act_two_payload_len == 0 else Identity(static, lambda _: _certificate())


def pin_in(profile: Profile, secret: bytes | None = None) -> bytes:
    """What a miner holds the server to: its key, or that of its authority; that of another one by another `secret`."""
    if profile.suite.act_two_payload_len == 0:
        return public_key(secret or SECRET)
    return xonly_of_secret(secret or AUTHORITY_SECRET)


def dialect() -> Profile:
    """The profile of this run."""
    return DIALECT[0]


def make_context(policy: DifficultyPolicy = POLICY) -> Context:
    return Context(dialect(), policy, PrefixPool(0, 0, 1), make_counters())


def make_jobs(*tips: int, nbits: int = EASY_NBITS) -> list[Job]:
    """One job a tip number, of one factory."""
    profile = dialect()
    factory = make_factory({profile.name: lambda job: EncodedJob(profile, job)})
    return [factory.make(make_template(make_tip(tip, nbits), template_id=n + 1), now=START.unix)
            for n, tip in enumerate(tips)]


def make_server(context: Context | None = None, conn_id: int = 7) -> Over:
    profile = dialect()
    return Over(responder(profile.suite, identity_in(profile), bytes([9]) * 32, new_buffer(), START),
                ServerConnection(conn_id, context or make_context(), idle_timeout_s=600.0, now=START))


def make_miner(setup: SetupConnection, secret: bytes | None = None) -> DialledConnection:
    """One that holds the server to its key, or to that of its authority, or to another one by another `secret`."""
    profile = dialect()
    return DialledConnection(profile, server_public=pin_in(profile, secret), ephemeral_secret=bytes([7]) * 32,
                             buffer=new_buffer(), setup=setup, unix_time=START.unix)


class Pair:
    """A miner that talks to a server connection; `events` is what the worker would see of the server."""

    def __init__(self, context: Context | None = None, flags: int = 0) -> None:
        self.server = make_server(context)
        setup = MiningClientSession.setup(host="pool.test", port=34254, vendor="test", firmware="1", flags=flags)
        self.miner = make_miner(setup)
        self.now = START
        self.events: list[Event] = []
        self.heard: list[ClientEvent] = []

    def talk(self) -> list[ClientEvent]:
        """Carry bytes both ways until neither side has more; what the miner heard meanwhile."""
        before = len(self.heard)
        while out := self.miner.outgoing():
            self.deliver(self.server.receive(out, self.now))
        return self.heard[before:]

    def deliver(self, events: list[Event]) -> None:
        """Keep the events, and give the server as many turns as it wants."""
        while True:
            self.events += events
            for event in events:
                if isinstance(event, Send):
                    self.heard += self.miner.receive(event.data)
            if self.server.held != Held.TURN:
                return
            events = self.server.receive(b"", self.now)

    def offer(self, job: Job) -> list[ClientEvent]:
        before = len(self.heard)
        self.deliver(self.server.offer(job, self.now))
        return self.heard[before:]

    def judge(self) -> list[Event]:
        """Weigh all that was submitted and not judged yet; the events of the verdicts."""
        submitted = [event for event in self.events if isinstance(event, ShareSubmitted)]
        self.events = [event for event in self.events if not isinstance(event, ShareSubmitted)]
        before = len(self.events)
        self.deliver(self.server.judged([weigh(e.header, e.network_target) for e in submitted], self.now))
        return self.events[before:]

    def accepted(self) -> list[ShareAccepted]:
        """All shares that wait for their record, those of blocks too."""
        shares = [event.share if isinstance(event, BlockFound) else event for event in self.events]
        return [share for share in shares if isinstance(share, ShareAccepted)]

    def record(self, ids: list[int] | None = None) -> list[ClientEvent]:
        before = len(self.heard)
        wanted = [share.share_id for share in self.accepted()] if ids is None else ids
        self.deliver(self.server.recorded(wanted, self.now))
        return self.heard[before:]

    @property
    def close(self) -> Close | None:
        return next((event for event in self.events if isinstance(event, Close)), None)
