"""What a worker does for a share, and nothing else: one thread, no socket, no other process.

    python -m bench.turns

prints one JSON line a case: `us_per_share` is the worker's time, and `root_us` that of one merkle root of 11 levels,
the part that no code of ours makes cheaper. Both are the least of many rounds, since whatever else the machine does
only adds to them; so they move with the code, where the figures of whole programs move with the machine. In each round
100 machines have one share each in flight, and the worker gets them ten at a time, as it does under load.
"""

from __future__ import annotations

import math
import os
import queue
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

from bench.command import print_lines
from bench.modes import NBITS, POOL
from bench.modes import Mode as PayMode
from bench.server import BenchFailed
from bench.sides import Side, side_of
from warppool.bitcoin.coinbase import INPUT_SEQUENCE, height_push, locktime_of
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.target import MAX_TARGET, target_from_nbits
from warppool.events import Now
from warppool.mining.counter import SECRET_SIZE, CoinbaseCounters, Shuffle
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.job import Job, JobFactory
from warppool.mining.template import Template, Tip
from warppool.net.clients import Stack
from warppool.net.hasher import Hasher
from warppool.net.inbox import Connected, FromReactor, JobReady, Opened, Part, Received, Recorded
from warppool.net.worker import Worker
from warppool.noise.ends import responder
from warppool.noise.primitives import new_buffer
from warppool.sv1 import client as sv1
from warppool.sv1.connection import ServerConnection as Sv1Connection
from warppool.sv1.resume import ResumableSessions
from warppool.sv1.server import Context as Sv1Context
from warppool.sv2 import client as sv2
from warppool.sv2.connection import ServerConnection as Sv2Connection
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.profile import SPEC, WARP
from warppool.sv2.server import Context as Sv2Context
from warppool.sv2.work import Work as Sv2Work
from warppool.translate.connection import connect
from warppool.translate.context import Mode, Times, TranslatorContext
from warppool.translate.counters import Counters
from warppool.translate.failover import Failover
from warppool.translate.upstream import UpstreamConfig
from warppool.transport import PLAIN

MACHINES = 100
TOGETHER = 10               # shares of one turn
ROUNDS = 120
USER = "bench.rig"
EVERY_HASH = Fraction(1, 10**10)
POLICY = DifficultyPolicy(EVERY_HASH, EVERY_HASH, EVERY_HASH, Fraction(12))
PATH = tuple(bytes([level + 1]) * 32 for level in range(11))
SHUFFLE = Shuffle(os.urandom(SECRET_SIZE))
WARP_SIDE, SPEC_SIDE = map(side_of, (WARP, SPEC))
FIRST_UPLINK = 1_000_000    # connections below are machines'


def make_factory(encoders: Mapping[str, Callable[[Job], object]], mode: PayMode = POOL) -> JobFactory:
    """Jobs of one start, encoded as a pool encodes them."""
    return JobFactory(payer=mode.payer, tag=b"/warppool/", start_id=os.urandom(4), shuffle=SHUFFLE, encoders=encoders)


def make_job(factory: JobFactory | None = None, mode: PayMode = POOL) -> Job:
    """Work as a full template brings it, as far as a share is concerned, on a tip of its own."""
    now = time.time()
    tip = Tip(os.urandom(32), NBITS, target_from_nbits(NBITS), int(now) - 600, 840_000)
    return (factory or make_factory({}, mode)).make(Template(
        template_id=1, tip=tip, version=0x20000000, coinbase_tx_version=2, coinbase_prefix=height_push(tip.height),
        coinbase_tx_input_sequence=INPUT_SEQUENCE, coinbase_tx_value_remaining=312_500_000, coinbase_tx_outputs_count=0,
        coinbase_tx_outputs=b"", coinbase_tx_locktime=locktime_of(tip.height), merkle_path=PATH,
        transactions=(), source="bench"), now=now, snapshot=mode.snapshot)


class LoneWorker:
    """A worker on this thread; what it has for the wire, the books and the resolver waits to be taken."""

    def __init__(self, make: Callable[[Opened, Now], Stack]) -> None:
        self.spent_ns = 0
        self.recorded: list[tuple[int, int]] = []
        self.dialled: list[Any] = []
        self._posted: list[Any] = []
        self._inbox: queue.Queue[Any] = queue.Queue()
        self._worker = Worker(0, self._inbox, self, Hasher(1), make,  # type: ignore[arg-type]
                              record=self._record, refused=_ignore, found=_ignore, dial=self.dialled.append)
        self._worker._turns.length_s = math.inf         # what is given to a turn is done in it, on a busy machine too

    def post(self, output: object) -> None:
        """In the reactor's place."""
        self._posted.append(output)

    def _record(self, shares: Iterable[Any]) -> None:
        self.recorded += [(share.conn_id, share.share_id) for share in shares]

    def turn(self, item: object) -> list[tuple[int, bytes]]:
        """Let the worker deal with `item`, and return what it sends to which connection."""
        self._inbox.put(item)
        begin = time.perf_counter_ns()
        self._wake()
        while self._worker._turns.waiting:              # one connection had more to say than a turn allows
            self._wake()
        self.spent_ns += time.perf_counter_ns() - begin
        posted = self._posted[:]
        self._posted.clear()
        return [send for output in posted for send in output.sends]

    def _wake(self) -> None:
        """What the thread does for one turn: `Loop.run` without its begin and end, which no share waits for."""
        worker, inbox = self._worker, self._inbox
        try:
            items = [inbox.get(timeout=0.0)]
        except queue.Empty:
            items = []
        else:
            for _ in range(inbox.qsize()):
                items.append(inbox.get_nowait())
        worker.beat = time.monotonic()
        worker.turn(items)

    def book(self) -> list[tuple[int, bytes]]:
        """The ledger has committed what was accepted."""
        recorded, self.recorded = tuple(self.recorded), []
        return self.turn(Recorded(recorded)) if recorded else []


def _ignore(what: object) -> None:
    """A share that is refused is missed at the end of its case."""


class Sv1Machine:
    """A V1 machine with its shares made ahead."""

    def __init__(self, user: str = USER, agent: str = "bench") -> None:
        self._user = user
        self._client = sv1.MiningClient(agent)
        self._client.subscribe()
        self._client.authorize(user, "x")
        self._work: sv1.Work | None = None
        self.accepted = 0

    def outgoing(self) -> bytes:
        """What it has to say."""
        return self._client.outgoing()

    def hear(self, data: bytes) -> None:
        """What it is told."""
        for event in self._client.receive(data):
            if isinstance(event, sv1.WorkReady):
                self._work = event.work
            elif isinstance(event, sv1.ShareAnswered):
                self.accepted += event.is_accepted

    def share(self, number: int) -> bytes:
        """The bytes of one more."""
        work = self._work
        assert work is not None
        extranonce2 = number.to_bytes(work.extranonce2_size, "big")
        self._client.submit(self._user, work, extranonce2, work.version, work.ntime, number)
        return self._client.outgoing()


class Sv2Machine:
    """A V2 machine on an extended channel."""

    def __init__(self, side: Side, user: str = USER, vendor: str = "bench") -> None:
        self._user = user
        setup = sv2.MiningClientSession.setup(host="bench", port=1, vendor=vendor, firmware="")
        self._connection = DialledConnection(side.profile, server_public=side.pin, ephemeral_secret=os.urandom(32),
                                             buffer=new_buffer(), setup=setup, unix_time=time.time())
        self._work: Sv2Work | None = None
        self.accepted = 0

    def outgoing(self) -> bytes:
        """What it has to say."""
        return self._connection.outgoing()

    def hear(self, data: bytes) -> None:
        """What it is told."""
        for event in self._connection.receive(data):
            if isinstance(event, sv2.SetUp):
                self._connection.send(self._connection.session.open_extended(self._user, 0.0, MAX_TARGET, 8))
            elif isinstance(event, sv2.WorkReady):
                self._work = event.work
            elif isinstance(event, sv2.SharesAccepted):
                self.accepted += event.news

    def share(self, number: int) -> bytes:
        """The bytes of one more."""
        work = self._work
        assert work is not None
        self._connection.send(self._connection.session.submit(
            work, number.to_bytes(work.extranonce_size, "big"), work.version, work.min_ntime, number))
        return self._connection.outgoing()


Machine = Sv1Machine | Sv2Machine


def pool(side: Side | None, mode: PayMode = POOL) -> LoneWorker:
    """A worker of the pool, with work; None is for V1."""
    prefixes, counters, buffer = PrefixPool(1, 0, 1), CoinbaseCounters(SHUFFLE, 0, 1), new_buffer()
    if side is None:
        context = Sv1Context(policy=POLICY, prefixes=prefixes, counters=counters,
                                       resumable=ResumableSessions(prefixes), random_bytes=os.urandom,
                                       extranonce2_size=8, names=mode.names)
        worker = LoneWorker(lambda opened, now: Stack(PLAIN, Sv1Connection(
            opened.conn_id, context, now=now, idle_timeout_s=math.inf)))
    else:
        identity, v2 = side.identity, Sv2Context(side.profile, POLICY, prefixes, counters, mode.names)
        worker = LoneWorker(lambda opened, now: Stack(
            responder(v2.profile.suite, identity, os.urandom(32), buffer, now),
            Sv2Connection(opened.conn_id, v2, now=now, idle_timeout_s=math.inf)))
    worker.turn(JobReady(make_job(mode=mode)))
    return worker


class Direct:
    """Machines on the pool itself, in a dialect of V2, or V1 where `side` is None. `users` are their names, by the
    numbers of their connections, and `agent` what each says of itself.
    """

    def __init__(self, side: Side | None, mode: PayMode = POOL, users: Callable[[int], str] = lambda number: USER,
                 agent: str = "bench", machines: int = MACHINES) -> None:
        self.measured = pool(side, mode)
        self.machines: dict[int, Machine] = {}
        for number in range(1, machines + 1):
            self.machines |= self.machine(side, number, users, agent)

    @staticmethod
    def machine(side: Side | None, number: int, users: Callable[[int], str], agent: str) -> dict[int, Machine]:
        """One of them, by the number of its connection."""
        return {number: Sv1Machine(users(number), agent) if side is None else Sv2Machine(side, users(number), agent)}

    def deliver(self, parts: list[Part]) -> None:
        """Let all follow that follows from these."""
        sends = self.measured.turn(FromReactor(tuple(parts)))
        for conn_id, data in [*sends, *self.measured.book()]:
            self.machines[conn_id].hear(data)


class Translated:
    """V1 machines on a translator, and that on a pool."""

    def __init__(self, mode: Mode) -> None:
        failover = Failover(TranslatorContext(
            mode=mode, times=Times(), buffer=new_buffer(), random_bytes=os.urandom, counters=Counters(),
            upstreams=(UpstreamConfig("bench", "bench", 1, WARP_SIDE.pin, WARP, USER),)))
        self.measured = LoneWorker(lambda opened, now: Stack(PLAIN, connect(opened.conn_id, failover, now)))
        self.machines: dict[int, Machine] = {conn_id: Sv1Machine() for conn_id in range(1, MACHINES + 1)}
        self._pool = pool(WARP_SIDE)
        self._uplinks = FIRST_UPLINK

    def deliver(self, parts: list[Part]) -> None:
        """Let all follow that follows from these."""
        while parts:
            upwards: list[Part] = []
            for conn_id, data in self.measured.turn(FromReactor(tuple(parts))):
                if conn_id < FIRST_UPLINK:
                    self.machines[conn_id].hear(data)
                else:
                    upwards.append(Received(conn_id, data))
            parts = []
            for dial in self.measured.dialled:
                self._uplinks += 1
                upwards.append(Opened(self._uplinks, "sv2", "bench"))
                parts.append(Connected(dial.dial_id, self._uplinks, "bench"))
            self.measured.dialled.clear()
            sends = self._pool.turn(FromReactor(tuple(upwards))) if upwards else []
            parts += [Received(conn_id, data) for conn_id, data in [*sends, *self._pool.book()]]


CASES: dict[str, Callable[[], Direct | Translated]] = {
    "v2-extended": lambda: Direct(WARP_SIDE),
    "v2-extended-spec": lambda: Direct(SPEC_SIDE),
    "v1": lambda: Direct(None),
    "translator-connection": lambda: Translated("connection"),
    "translator-channels": lambda: Translated("channels"),
}


def set_up(world: Direct | Translated) -> None:
    """Every machine is connected and has work."""
    world.deliver([Opened(conn_id, "bench", "bench") for conn_id in world.machines])
    for _ in range(4):                              # a V2 machine has three things to say, one after the other
        said = [Received(conn_id, data) for conn_id, machine in world.machines.items() if (data := machine.outgoing())]
        world.deliver([*said])


def round_ns(world: Direct | Translated, number: int) -> int:
    """What the measured worker spends on share `number` of each machine, TOGETHER of them at a time."""
    shares = [Received(conn_id, machine.share(number)) for conn_id, machine in world.machines.items()]
    world.measured.spent_ns = 0
    for at in range(0, MACHINES, TOGETHER):
        world.deliver([*shares[at:at + TOGETHER]])
    return world.measured.spent_ns


def measure(world: Direct | Translated, rounds: int) -> dict[str, float]:
    """The least of all rounds."""
    set_up(world)
    least_ns, root_ns = math.inf, math.inf
    for number in range(1, rounds + 1):
        least_ns = min(least_ns, round_ns(world, number))
        begin = time.perf_counter_ns()
        for _ in range(MACHINES):
            fold_merkle_path(PATH[0], PATH)
        root_ns = min(root_ns, time.perf_counter_ns() - begin)
    if any(machine.accepted != rounds for machine in world.machines.values()):
        raise BenchFailed("not every share was accepted")
    us, root_us = least_ns / MACHINES / 1e3, root_ns / MACHINES / 1e3
    return {"us_per_share": round(us, 2), "root_us": round(root_us, 2), "ratio": round(us / root_us, 2),
            "rounds": rounds}


def main(rounds: int = ROUNDS) -> int:
    """Every case, one line each; 1 if a share was not accepted."""
    return print_lines("turns", ({"case": case, **measure(build(), rounds)} for case, build in CASES.items()))


if __name__ == "__main__":
    sys.exit(main())
