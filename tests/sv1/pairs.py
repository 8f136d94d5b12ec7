"""A V1 server connection and whoever talks to it in memory, with the worker's part played by the test."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tests.mining.makers import EASY_NBITS, NTIME, make_counters, make_factory, make_template, make_tip
from warppool.bitcoin.target import target_from_difficulty
from warppool.events import (
    BlockFound,
    Close,
    Event,
    Happened,
    Held,
    Now,
    Send,
    ShareAccepted,
    ShareRefused,
    ShareSubmitted,
)
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.job import Job
from warppool.mining.share import weigh
from warppool.sv1.client import Work
from warppool.sv1.connection import ServerConnection
from warppool.sv1.jobs import ENCODING, encoder
from warppool.sv1.resume import ResumableSessions
from warppool.sv1.server import Context

START = Now(1000.0, float(NTIME + 100))
EASY = Fraction(1, 10**9)               # nearly every second hash meets it
POLICY = DifficultyPolicy(EASY, Fraction(1, 10**10), Fraction(0), Fraction(12))


class Chance:
    """Random bytes that a test can foresee."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(size, "big")


def make_context(policy: DifficultyPolicy = POLICY, extranonce2_size: int = 8) -> Context:
    prefixes = PrefixPool(0, 0, 1)
    return Context(policy, prefixes, make_counters(), ResumableSessions(prefixes), Chance(), extranonce2_size)


class Jobs:
    """Jobs of one factory, whose encoder is the real one."""

    def __init__(self, extranonce2_size: int = 8, nbits: int = EASY_NBITS, **template: Any) -> None:
        self.factory = make_factory({ENCODING: encoder(extranonce2_size)})
        self._nbits = nbits
        self._template = template

    def make(self, tip: int = 1, at: float = START.unix) -> Job:
        return self.factory.make(make_template(make_tip(tip, self._nbits), **self._template), now=at)


class Pair:
    """A connection, and all that the worker would see of it; `said` has every line to the machine, read."""

    def __init__(self, context: Context | None = None, jobs: Jobs | None = None, *, nbits: int = EASY_NBITS,
                 idle_timeout_s: float = 600.0) -> None:
        self.context = context or make_context()
        self.server = ServerConnection(7, self.context, idle_timeout_s=idle_timeout_s, now=START)
        self.jobs = jobs or Jobs(self.context.extranonce2_size, nbits)
        self.job: Job | None = None
        self.now = START
        self.events: list[Event] = []
        self.said: list[dict[str, Any]] = []
        self._to_weigh: list[ShareSubmitted] = []
        self._next_id = 100

    # -- the worker's part ---------------------------------------------------------------------------------------

    def deliver(self, events: list[Event]) -> list[dict[str, Any]]:
        """Keep the events, and give the server as many turns as it wants; what the machine hears of them."""
        heard: list[dict[str, Any]] = []
        while True:
            heard += self._deliver(events)
            if self.server.held != Held.TURN:
                return heard
            events = self.server.receive(b"", self.now)         # which may be none, behind a share that waits

    def _deliver(self, events: list[Event]) -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        for event in events:
            if isinstance(event, Send):
                heard += [json.loads(line, parse_float=str) for line in event.data.splitlines()]
            elif isinstance(event, ShareSubmitted):
                self._to_weigh.append(event)
            else:
                self.events.append(event)
        self.said += heard
        return heard

    def send(self, *lines: str | bytes) -> list[dict[str, Any]]:
        data = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
        return self.deliver(self.server.receive(data, self.now))

    def call(self, method: str, *params: Any, request_id: Any = None) -> list[dict[str, Any]]:
        """Ask, under a number of its own if none is given; what is heard at once."""
        if request_id is None:
            request_id, self._next_id = self._next_id, self._next_id + 1
        return self.send(json.dumps({"id": request_id, "method": method, "params": params}))

    def offer(self, tip: int = 1) -> list[dict[str, Any]]:
        self.job = self.jobs.make(tip, self.now.unix)
        return self.deliver(self.server.offer(self.job, self.now))

    def wait(self, seconds: float) -> None:
        self.now = Now(self.now.monotonic + seconds, self.now.unix + seconds)

    def tick(self) -> list[dict[str, Any]]:
        return self.deliver(self.server.tick(self.now))

    def judge(self) -> list[dict[str, Any]]:
        weights = [weigh(share.header, share.network_target) for share in self._to_weigh]
        self._to_weigh.clear()
        return self.deliver(self.server.judged(weights, self.now)) if weights else []

    @property
    def unrecorded(self) -> list[ShareAccepted]:
        """Accepted shares that nobody has recorded yet, those of blocks too; takes them."""
        shares = [event.share if isinstance(event, BlockFound) else event for event in self.events]
        self.events = [event for event in self.events if not isinstance(event, ShareAccepted | BlockFound)]
        return [share for share in shares if isinstance(share, ShareAccepted)]

    def record(self) -> list[dict[str, Any]]:
        return self.deliver(self.server.recorded([share.share_id for share in self.unrecorded], self.now))

    def settle(self) -> list[dict[str, Any]]:
        """Judge and record until nothing is in flight."""
        heard: list[dict[str, Any]] = []
        while self.server.in_flight:
            heard += [*self.judge(), *self.record()]
        return heard

    def drop(self) -> None:
        self.deliver(self.server.closed(self.now))

    # -- the machine's part --------------------------------------------------------------------------------------

    def set_up(self, user: str = "alice.rig1", password: str = "x", agent: str = "test/1",
               tip: int = 1) -> list[dict[str, Any]]:
        """Subscribed, authorized and with a first job."""
        self.call("mining.subscribe", agent, request_id=1)
        self.call("mining.authorize", user, password, request_id=2)
        return self.offer(tip)

    @property
    def subscription(self) -> list[Any]:
        """The newest answer to a subscribe."""
        return next(line["result"] for line in reversed(self.said)
                    if isinstance(line.get("result"), list) and len(line["result"]) == 3)

    @property
    def work(self) -> Work:
        """The newest notify, with the difficulty that it counts for."""
        difficulty = "1"
        work = None
        for line in self.said:
            if line.get("method") == "mining.set_difficulty":
                difficulty = str(line["params"][0])
            elif line.get("method") == "mining.notify":
                work = Work.of(line["params"], bytes.fromhex(self.subscription[1]), self.subscription[2],
                               target_from_difficulty(difficulty), 0)
        assert work is not None
        return work

    def mine(self, work: Work | None = None, *, at_most: int | None = None, above: int = -1, start: int = 0,
             version: int | None = None, ntime: int | None = None, extranonce2: bytes | None = None) -> list[str]:
        """job, extranonce2, ntime and nonce of a share whose hash lies in (above, at_most]."""
        work = work or self.work
        at_most = work.target if at_most is None else at_most
        extranonce2 = bytes(work.extranonce2_size) if extranonce2 is None else extranonce2
        ntime = work.ntime if ntime is None else ntime
        for nonce in range(start, start + (1 << 20)):
            header = work.header(extranonce2, work.version if version is None else version, ntime, nonce)
            if above < weigh(header, 0).value <= at_most:
                return [work.job_id, extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}"]
        raise AssertionError("no such share in a million tries")

    def submit(self, *fields: str, user: str = "alice.rig1", request_id: Any = None) -> list[dict[str, Any]]:
        return self.call("mining.submit", user, *fields, request_id=request_id)

    # -- what is asked of it -------------------------------------------------------------------------------------

    @property
    def close(self) -> Close | None:
        return next((event for event in self.events if isinstance(event, Close)), None)

    def refused(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, ShareRefused)]

    def happened(self, name: str) -> list[dict[str, object]]:
        return [dict(event.fields) for event in self.events if isinstance(event, Happened) and event.name == name]


def with_policy(**changes: Fraction) -> Context:
    return make_context(replace(POLICY, **changes))
