"""Machines, the translator and pools in memory; the test plays the worker, its clock and the network.

The worker's rules are held as `net/worker.py` has them: it looks at `wakes_at` and `in_flight` only of the connection
whose step it took, and a closed one is forgotten once nothing of it is in flight. After every step the counters must
agree with what is really pending.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from typing import Any

from tests.mining.makers import HARD_NBITS, NTIME, make_counters, make_factory, make_template, make_tip
from tests.over import Over
from warppool.events import (
    BlockFound,
    Close,
    Dial,
    Event,
    Happened,
    Held,
    Holds,
    Now,
    Nudge,
    Send,
    ShareAccepted,
    ShareRefused,
    ShareSubmitted,
)
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.identity import user_of
from warppool.mining.job import Job
from warppool.mining.share import weigh
from warppool.noise.primitives import new_buffer, public_key
from warppool.noise.transport import ResponderTransport
from warppool.sv1.client import (
    ClientEvent,
    MiningClient,
    ShareAnswered,
    Work,
    WorkReady,
)
from warppool.sv2.connection import ServerConnection
from warppool.sv2.messages.mining import OpenExtendedMiningChannel, OpenMiningChannelError
from warppool.sv2.profile import SPEC as PUBLISHED
from warppool.sv2.profile import WARP
from warppool.sv2.server import Context, MiningServerSession
from warppool.sv2.types import Message
from warppool.translate.connection import TranslatedConnection, connect
from warppool.translate.context import Times, TranslatorContext
from warppool.translate.counters import Counters
from warppool.translate.failover import Failover
from warppool.translate.route import RoutePhase
from warppool.translate.upstream import UpstreamConfig
from warppool.transport import Transport

START = Now(1000.0, float(NTIME + 100))
GARBAGE = (b"\x20\x00" + bytes(32)) * 3      # records that nobody sealed
EASY = Fraction(1, 10**9)               # every fourth hash meets it
POLICY = DifficultyPolicy(EASY, EASY, EASY, Fraction(12))
SECRET = bytes(range(32))
PUBLIC = public_key(SECRET)
MASK = 0x1FFFE000
SPEC = replace(PUBLISHED, suite=WARP.suite, pace=PUBLISHED.pace._replace(least_s=0.0))
"""The published profile over Noise as `warp` has it: here messages matter, and that costs least."""

CHANNELS = {
    RoutePhase.SEEKING: (False, False),
    RoutePhase.OPENING: (False, True),
    RoutePhase.MINING: (True, False),
    RoutePhase.MOVING: (True, False),
    RoutePhase.SWITCHING: (True, True),
    RoutePhase.LEAVING: (None, False),
    RoutePhase.CLOSED: (False, False),
}
"""Whether a machine has a current and a next channel, by its phase; None: perhaps."""


class Chance:
    """Random bytes that a test can foresee."""

    def __init__(self) -> None:
        self._calls = count(1)

    def __call__(self, size: int) -> bytes:
        return (next(self._calls) * 0x9E3779B97F4A7C15 % 256**size).to_bytes(size, "big")


class PoolSession(MiningServerSession):
    """The real one, but for the messages that the test answers in its place."""

    def __init__(self, pool: Pool, conn_id: int) -> None:
        super().__init__(conn_id, pool.context)
        self._pool = pool

    def receive(self, message: Message, now: Now) -> list[Any]:
        self._pool.seen.append(message)
        answer = self._pool.instead.get(type(message))
        return super().receive(message, now) if answer is None else [*answer(message)]

    def take(self, m: Any, user: str | None = None) -> list[Any]:
        self._pool.seen.append(m)
        answer = self._pool.instead.get(type(m))
        return super().take(m, user) if answer is None else [*answer(m)]


class Pool:
    """A pool behind one address: real sessions, and a behaviour.

    `manner`: `well`; `refuses` the connection, or never answers (`hangs`) the connection itself; `silent` from now on,
    or says `garbage` from now on. `withholds` keeps back the answers to shares, until `answer`; `batch` answers each
    channel only when so many of its shares are recorded.
    """

    profile = WARP              # `profiles` has others

    def __init__(self, world: World, name: str, number: int, nbits: int = HARD_NBITS) -> None:
        self.world = world
        self.name = name
        self.manner = "well"
        self.withholds = False
        self.batch = 1
        self.secret = SECRET
        self.context = Context(self.profile, POLICY, PrefixPool(number, 0, 1), make_counters())
        self.factory = make_factory({})
        self.nbits = nbits
        self.path: tuple[bytes, ...] = (b"\x11" * 32, b"\x22" * 32)
        self.tip = 10 * number + 1
        self.job = self._make()
        self.servers: dict[int, Over] = {}          # by the conn_id of the uplink
        self.accepted: Counter[str] = Counter()
        self.credited: Counter[str] = Counter()     # difficulty, by user
        self.refused: Counter[str] = Counter()
        self.blocks: list[BlockFound] = []
        self.dials = 0
        self.seen: list[Message] = []
        self.instead: dict[type, Callable[[Any], list[Any]]] = {}     # to a message, what the pool says to it
        self._withheld: list[tuple[int, list[int]]] = []
        self._batches: dict[tuple[int, int], list[int]] = {}    # of a connection and channel: what waits for a batch

    def _make(self, at: float = START.unix) -> Job:
        return self.factory.make(make_template(make_tip(self.tip, self.nbits), path=self.path), now=at)

    def new_job(self, *, new_tip: bool = False) -> None:
        """Fresh work for everyone."""
        self.tip += new_tip
        self.job = self._make(self.world.now.unix)
        for conn_id, server in list(self.servers.items()):
            self.deliver(conn_id, server.offer(self.job, self.world.now))

    def accept(self, conn_id: int) -> None:
        self.servers[conn_id] = Over(
            ResponderTransport(WARP.suite, WARP.suite.key_pair(self.secret), self.world.chance(32), new_buffer(),
                               self.world.now.monotonic), self.connection_for(conn_id))
        self.greet(conn_id)

    def connection_for(self, conn_id: int) -> Any:
        connection = ServerConnection(conn_id, self.context, idle_timeout_s=600.0, now=self.world.now)
        connection._session = PoolSession(self, conn_id)
        return connection

    def greet(self, conn_id: int) -> None:
        """The worker has a job for the connection."""
        self.deliver(conn_id, self.servers[conn_id].offer(self.job, self.world.now))

    def receive(self, conn_id: int, data: bytes) -> None:
        server = self.servers.get(conn_id)
        if server is None or self.manner == "silent":
            return
        if self.manner == "garbage":
            self.world.to_uplink(conn_id, GARBAGE)
            return
        self.deliver(conn_id, server.receive(data, self.world.now))

    def deliver(self, conn_id: int, events: list[Event]) -> None:
        server = self.servers[conn_id]
        submitted = [event for event in events if isinstance(event, ShareSubmitted)]
        shares: list[ShareAccepted] = []
        for event in events:
            if isinstance(event, Send):
                self.world.to_uplink(conn_id, event.data)
            elif isinstance(event, BlockFound):
                self.blocks.append(event)
                if event.share is not None:
                    shares.append(event.share)
            elif isinstance(event, ShareAccepted):
                shares.append(event)
            elif isinstance(event, ShareRefused):
                self.refused[event.reason] += 1
            elif isinstance(event, Close):
                self.hang_up(conn_id)
        for share in shares:
            self.accepted[share.user] += 1
            self.credited[share.user] += share.difficulty
            channel = server._session._channels.get(share.channel_id)
            if channel is not None:
                assert user_of(share.user) == user_of(channel.channel.user), "a worker's name led to another user"
        if submitted:
            weights = [weigh(share.header, share.network_target) for share in submitted]
            self.deliver(conn_id, server.judged(weights, self.world.now))
        if shares:
            ids = [share.share_id for share in shares]
            if self.batch > 1:
                ids = self._whole_batches(conn_id, shares)
            if self.withholds:
                self._withheld.append((conn_id, ids))
            elif ids:
                self.deliver(conn_id, server.recorded(ids, self.world.now))
        if server.held == Held.TURN:
            self.deliver(conn_id, server.receive(b"", self.world.now))

    def _whole_batches(self, conn_id: int, shares: list[ShareAccepted]) -> list[int]:
        whole: list[int] = []
        for share in shares:
            waiting = self._batches.setdefault((conn_id, share.channel_id), [])
            waiting.append(share.share_id)
            if len(waiting) >= self.batch:
                whole += waiting
                waiting.clear()
        return whole

    def answer(self) -> None:
        """Say what was kept back."""
        withheld, self._withheld = self._withheld, []
        self.withholds = False
        for conn_id, ids in withheld:
            if conn_id in self.servers:
                self.deliver(conn_id, self.servers[conn_id].recorded(ids, self.world.now))

    def refuse_opens(self, code: str = "no-extranonce-prefix-left") -> None:
        """From now on no channel is opened."""
        self.instead[OpenExtendedMiningChannel] = lambda m: [
            OpenMiningChannelError(request_id=m.request_id, error_code=code)]

    def opens(self) -> list[OpenExtendedMiningChannel]:
        """What was asked for."""
        return [message for message in self.seen if isinstance(message, OpenExtendedMiningChannel)]

    def say(self, *messages: Message, conn_id: int | None = None) -> None:
        """Messages of the test's own, sealed by the real connection."""
        for each, server in list(self.servers.items()):
            if conn_id in (None, each) and server.transport.is_established:
                data = b"".join(self.profile.encode(message) for message in messages)
                self.world.to_uplink(each, server.transport.seal(data))
        self.world.run()

    def hang_up(self, conn_id: int) -> None:
        """The pool closes a connection."""
        self.gone(conn_id)
        self.world.queue.append(lambda: self.world.lose(conn_id))

    def gone(self, conn_id: int) -> None:
        server = self.servers.pop(conn_id, None)
        if server is not None:
            server.closed(self.world.now)

    def die(self) -> None:
        """All connections break, and new ones are refused."""
        self.manner = "refuses"
        for conn_id in list(self.servers):
            self.hang_up(conn_id)
        self.world.run()

    @property
    def total(self) -> int:
        return sum(self.accepted.values())


class Machine:
    """A V1 machine: its client, and what it heard."""

    def __init__(self, world: World, conn_id: int, agent: str = "cpuminer/2.5.1") -> None:
        self.world = world
        self.conn_id = conn_id
        self.client = MiningClient(agent)
        self.heard: list[ClientEvent] = []
        self.raw = b""
        self.work: Work | None = None
        self.is_open = True
        self.sent = 0
        self.nonce = 0
        self.asked_at: dict[int, float] = {}    # by request, those that have no answer
        self.longest_wait = 0.0                 # for an answer to a share
        self.is_deaf = False                    # a test's own lines go out for it, and nobody reads the answers

    def say(self) -> None:
        """Send what the client has to say."""
        data = self.client.outgoing()
        if data and self.is_open:
            self.world.queue.append(lambda: self.world.from_machine(self.conn_id, data))
        self.world.run()

    def send(self, line: bytes) -> None:
        self.world.queue.append(lambda: self.world.from_machine(self.conn_id, line))
        self.world.run()

    def receive(self, data: bytes) -> None:
        self.raw += data
        for event in self.client.receive(data):
            self.heard.append(event)
            if isinstance(event, ShareAnswered) and event.request_id in self.asked_at:
                waited = self.world.now.monotonic - self.asked_at.pop(event.request_id)
                self.longest_wait = max(self.longest_wait, waited)
            if isinstance(event, WorkReady):
                self.work = event.work
                self.nonce = 0

    def start(self, name: str = "alice.rig1", password: str = "x", *, mask: int = 0,
              takes_extranonce: bool = False) -> Machine:
        """All calls in one go."""
        if mask:
            self.client.configure(mask)
        self.client.subscribe()
        if takes_extranonce:
            self.client.subscribe_extranonce()
        self.client.authorize(name, password)
        self.say()
        return self

    def find(self, *, version: int | None = None, is_good: bool = True, work: Work | None = None) -> tuple[Any, ...]:
        """The next share of the work at hand, or one that is none."""
        work = work or self.work
        assert work is not None
        version = work.version if version is None else version
        extranonce2 = bytes(work.extranonce2_size)
        while True:
            self.nonce += 1
            header = work.header(extranonce2, version, work.ntime, self.nonce)
            if (int.from_bytes(weigh(header, 0).share_hash, "little") <= work.target) == is_good:
                return work, extranonce2, version, work.ntime, self.nonce

    def mine(self, shares: int = 1, name: str = "alice.rig1", **wish: Any) -> None:
        """Find so many shares and send them together."""
        for _ in range(shares):
            request_id = self.client.submit(name, *self.find(**wish))
            if not self.is_deaf:
                self.asked_at[request_id] = self.world.now.monotonic
            self.sent += 1
        self.say()

    def answers(self) -> list[ShareAnswered]:
        return [event for event in self.heard if isinstance(event, ShareAnswered)]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]

    def refusals(self) -> list[tuple[int, str]]:
        return [(answer.code, answer.words) for answer in self.answers() if not answer.is_accepted]

    def close(self) -> None:
        self.is_open = False
        self.world.queue.append(lambda: self.world.lose(self.conn_id))
        self.world.run()


class World:
    """The worker, the clock and the network between machines, one translator and its upstreams."""

    def __init__(self, mode: str = "connection", pools: int = 1, *, fallback: tuple[int, ...] = (),
                 nbits: int = HARD_NBITS, template: str = "{name}", kinds: Sequence[type[Pool]] = (),
                 user: str = "farm.{pool}", own_names: bool = True, **times: float) -> None:
        self.now = START
        self.chance = Chance()
        self.queue: deque[Callable[[], None]] = deque()
        self.pools = [kind(self, f"pool-{number}", number, nbits)
                      for number, kind in enumerate(kinds or [Pool] * pools)]
        self.counters = Counters()
        self.named = [UpstreamConfig(pool.name, pool.name, 34254, PUBLIC, pool.profile,
                                     user.format(pool=number), number in fallback)
                      for number, pool in enumerate(self.pools)]
        self.failover = Failover(TranslatorContext(
            mode=mode, times=Times(**times), upstreams=tuple(self.named),  # type: ignore[arg-type]
            buffer=new_buffer(), random_bytes=self.chance, counters=self.counters,
            user_identity_template=template, own_names=own_names))
        self.addresses = {(pool.name, 34254): pool for pool in self.pools}
        self.machines: dict[int, Machine] = {}
        self.connections: dict[int, Any] = {}
        self.due: dict[int, float] = {}
        self.mute: set[int] = set()
        self.pool_of: dict[int, Pool] = {}
        self.transports: dict[int, Transport] = {}      # of connections to pools
        self.held_dials: list[Dial] = []        # to a pool that never answers the connection
        self.said: list[Happened] = []
        self.booked: list[ShareAccepted] = []
        self.refused: Counter[str] = Counter()
        self.closes: list[Close] = []
        self.dials: list[tuple[float, str]] = []
        self._ids = count(1)

    def reconfigure(self, context: TranslatorContext) -> None:
        """The worker hands on another configuration."""
        self.gather(self.failover.reconfigure(context, self.now))
        self.check()
        self.run()

    # -- machines ------------------------------------------------------------------------------------------------

    def machine(self, *, is_slow: bool = False, address: str = "", agent: str = "cpuminer/2.5.1") -> Machine:
        """One more; with `is_slow` nothing has followed from that yet."""
        conn_id = next(self._ids)
        machine = self.machines[conn_id] = Machine(self, conn_id, agent)
        self.connections[conn_id] = connect(conn_id, self.failover, self.now, address)
        self._look(conn_id)
        if not is_slow:
            self.run()
        return machine

    def from_machine(self, conn_id: int, data: bytes) -> None:
        if conn_id in self.connections and conn_id not in self.mute:
            self.step(conn_id, "receive", data)

    # -- the worker's part ---------------------------------------------------------------------------------------

    def step(self, conn_id: int, method: str, *args: Any) -> None:
        connection = self.connections[conn_id]
        events = getattr(connection, method)(*args, self.now)
        self.gather(events)
        self._look(conn_id)
        self.check()

    def _look(self, conn_id: int) -> None:
        """What the worker looks at after a step."""
        connection = self.connections.get(conn_id)
        if connection is None:
            return
        if conn_id in self.mute:
            if connection.in_flight == 0:
                self.connections.pop(conn_id)
                self.mute.discard(conn_id)
            return
        self.due[conn_id] = connection.wakes_at
        if connection.held == Held.TURN:
            self.queue.append(lambda: self.from_machine(conn_id, b""))

    def gather(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Send):
                self._sent(event)
            elif isinstance(event, Close):
                self.closes.append(event)
                self.queue.append(lambda conn_id=event.conn_id: self._hang_up(conn_id))
            elif isinstance(event, Dial):
                self.queue.append(lambda dial=event: self._dial(dial))
            elif isinstance(event, Nudge):
                self.queue.append(lambda conn_id=event.conn_id: self._heed(conn_id))
            elif isinstance(event, Happened):
                self.said.append(event)
            elif isinstance(event, Holds):
                assert event.conn_id in self.machines
            elif isinstance(event, ShareAccepted):
                self.booked.append(event)
            elif isinstance(event, ShareRefused):
                self.refused[event.reason] += 1
            else:
                raise AssertionError(f"no event of a translator: {event}")

    def _sent(self, event: Send) -> None:
        assert event.data and event.conn_id in self.connections
        if event.conn_id in self.machines:
            machine = self.machines[event.conn_id]
            if machine.is_open:
                self.queue.append(lambda: machine.receive(event.data))
        else:
            self._seal(event.conn_id, event.data)

    def _dial(self, dial: Dial) -> None:
        self.dials.append((self.now.monotonic, dial.host))
        at_once = sum(at == self.now.monotonic for at, _ in self.dials[-500:])
        assert at_once <= 2 * len(self.machines) * len(self.pools) + 4, "dials without a pause"
        pool = self.addresses.get((dial.host, dial.port))
        if pool is not None:
            pool.dials += 1
        if pool is None or pool.manner == "refuses":
            self.gather(dial.upstream.failed(f"{dial.host}:{dial.port}: Connection refused", self.now))
            self.check()
        elif pool.manner == "hangs":
            self.held_dials.append(dial)
        else:
            conn_id = dial.upstream.conn_id = next(self._ids)
            self.connections[conn_id] = dial.upstream
            self.transports[conn_id] = dial.upstream.transport(self.now)
            self.pool_of[conn_id] = pool
            pool.accept(conn_id)
            self.step(conn_id, "opened", conn_id, dial.host)
            self._seal(conn_id, b"")

    def _seal(self, conn_id: int, plaintext: bytes) -> None:
        """Send it to the pool of that connection, behind what the transport has to say."""
        pool, data = self.pool_of[conn_id], self.transports[conn_id].seal(plaintext)
        if data:
            self.queue.append(lambda: pool.receive(conn_id, data))

    def time_out_dials(self) -> None:
        """The 10 s of a dial are over."""
        held, self.held_dials = self.held_dials, []
        for dial in held:
            self.gather(dial.upstream.failed(f"{dial.host}:{dial.port}: timed out", self.now))
        self.run()

    def to_uplink(self, conn_id: int, data: bytes) -> None:
        self.queue.append(lambda: self._to_uplink(conn_id, data))

    def _to_uplink(self, conn_id: int, data: bytes) -> None:
        if conn_id not in self.connections or conn_id in self.mute:
            return
        transport = self.transports[conn_id]
        plaintext = transport.open(data, self.now.monotonic)
        if plaintext:
            self.step(conn_id, "receive", plaintext)
        if transport.has_news and conn_id not in self.mute:
            self._seal(conn_id, b"")
            if transport.end is not None:
                self.step(conn_id, "broken", transport.end)

    def _heed(self, conn_id: int) -> None:
        if conn_id not in self.connections:
            return
        if conn_id in self.mute:
            self._look(conn_id)
            return
        self.step(conn_id, "tick")
        if conn_id in self.connections and self.connections[conn_id].backlog:
            self.step(conn_id, "receive", b"")

    def lose(self, conn_id: int) -> None:
        """The other side is gone."""
        if conn_id in self.connections and conn_id not in self.mute:
            self._end(conn_id)

    def _hang_up(self, conn_id: int) -> None:
        if conn_id not in self.connections or conn_id in self.mute:
            return
        if conn_id in self.machines:
            self.machines[conn_id].is_open = False
        else:
            self.pool_of[conn_id].gone(conn_id)
        self._end(conn_id)

    def _end(self, conn_id: int) -> None:
        self.mute.add(conn_id)
        self.due.pop(conn_id, None)
        self.step(conn_id, "closed")

    def run(self) -> None:
        """Until nothing is to be done at this moment."""
        steps = 0
        while True:
            while self.queue:
                self.queue.popleft()()
                steps += 1
                assert steps < 200_000, "it does not come to rest"
            due = [conn_id for conn_id, at in self.due.items() if at <= self.now.monotonic]
            if not due:
                break
            for conn_id in due:
                if conn_id in self.connections and conn_id not in self.mute:
                    self.step(conn_id, "tick")
                    steps += 1
                    assert steps < 200_000, "it does not come to rest"

    def wait(self, seconds: float) -> None:
        """Let time pass, deadline by deadline."""
        end = self.now.monotonic + seconds
        while True:
            first = min(self.due.values(), default=math.inf)
            at = min(end, max(first, self.now.monotonic))
            self.now = Now(at, self.now.unix + at - self.now.monotonic)
            self.run()
            if at >= end:
                break

    # -- what must hold ------------------------------------------------------------------------------------------

    def check(self) -> None:
        counters = self.counters
        refused = sum(counters.rejected.values())
        assert counters.received == (
            counters.accepted + refused + counters.filtered + counters.pending + counters.unconfirmed)
        assert min(counters.accepted, counters.filtered, counters.pending, counters.unconfirmed) >= 0
        machines = [connection for connection in self.connections.values()
                    if isinstance(connection, TranslatedConnection)]
        assert counters.pending == sum(connection.in_flight for connection in machines)
        for connection in machines:
            route = connection._session._route
            has_current, has_next = CHANNELS[route.phase]
            assert has_current in (None, route.current is not None), route.phase
            assert has_next is (route.next is not None), route.phase

    def names(self) -> list[str]:
        return [event.name for event in self.said]

    def uplinks(self) -> int:
        return sum(conn_id not in self.machines for conn_id in self.connections)
