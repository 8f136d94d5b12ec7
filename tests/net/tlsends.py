"""TLS in memory: the miner's end, and the pool's in a real worker whose clock and inbox are the test's."""

from __future__ import annotations

import math
import queue
import ssl
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.net.lines import LineConnection
from warppool.commands.democert import self_signed
from warppool.events import Close, Connection, Event, Happened, Now, Send, ShareAccepted, ShareSubmitted
from warppool.mining.job import Job
from warppool.mining.share import Weight
from warppool.net.clients import Client, Stack
from warppool.net.hasher import Hasher
from warppool.net.inbox import Opened
from warppool.net.outbox import Output
from warppool.net.tls import Tls, new_context
from warppool.net.worker import Worker
from warppool.transport import Transport

START = Now(1000.0, 1_800_000_000.0)
CONN_ID = 7


def later(seconds: float) -> Now:
    return Now(START.monotonic + seconds, START.unix + seconds)


@cache
def server_context() -> ssl.SSLContext:
    return fresh_server_context()


def fresh_server_context() -> ssl.SSLContext:
    """Another certificate each time."""
    context = new_context()
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*self_signed().write(Path(folder)))
    return context


@cache
def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A miner that speaks just this version and, as most firmware, verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    context.minimum_version = version
    return context


class Miner:
    """A TLS client without a socket."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._inbound, self._outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(self._inbound, self._outbound)
        self.is_told_goodbye = False

    def shake(self, ciphertext: bytes = b"") -> bytes:
        """Go on with the handshake after `ciphertext`; what there is to send."""
        self._inbound.write(ciphertext)
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outbound.read()

    def seal(self, *pieces: bytes) -> bytes:
        """Each of `pieces` in records of its own."""
        for piece in pieces:
            self.tls.write(piece)
        return self._outbound.read()

    def open(self, ciphertext: bytes) -> bytes:
        """All the plaintext that `ciphertext` completes; `is_told_goodbye` if the pool's close_notify stands there."""
        self._inbound.write(ciphertext)
        plaintext = b""
        with suppress(ssl.SSLWantReadError):
            try:
                while piece := self.tls.read(65536):
                    plaintext += piece
                self.is_told_goodbye = True
            except ssl.SSLZeroReturnError:      # after our own
                self.is_told_goodbye = True
        return plaintext

    def goodbye(self) -> bytes:
        """Our close_notify."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outbound.read()


def sent(events: Iterable[Event]) -> bytes:
    """All that goes to the peer."""
    return b"".join(event.data for event in events if isinstance(event, Send))


def closes(events: Iterable[Event]) -> list[Close]:
    return [event for event in events if isinstance(event, Close)]


class _NoHasher(Hasher):
    def __init__(self) -> None:
        """Small batches are weighed by the worker, and the test weighs."""


class Served:
    """One connection in a real worker, step by step: what follows from each, with what is sealed as the last `Send`."""

    def __init__(self, transport: Transport, connection: Connection, now: Now = START) -> None:
        self._outputs: list[Output] = []
        self._events: list[Event] = []
        self._closes: list[Close] = []
        self.ended: list[Happened] = []         # what the connection says at its end
        stacks = [Stack(transport, connection)]
        self.worker = Worker(0, queue.Queue(), self, _NoHasher(), lambda opened, now: stacks.pop(),  # type: ignore[arg-type]
                             record=lambda _: None, refused=lambda _: None, found=lambda _: None)
        self._gather = self.worker._gather
        self.worker._gather = self._note        # type: ignore[method-assign]
        self.worker._lines.closed = lambda close, client, now: self._closes.append(close)   # type: ignore[method-assign]
        self._now(now)
        self.worker._open(Opened(CONN_ID, "kind", "peer"))
        self.client: Client = self.worker._clients[CONN_ID]

    def post(self, output: Output) -> None:
        """In the reactor's place."""
        self._outputs.append(output)

    def _note(self, events: Sequence[Event]) -> None:
        self.ended += [event for event in events if isinstance(event, Happened)]
        self._events += [event for event in events
                         if not isinstance(event, Send | Close | Happened | ShareSubmitted | ShareAccepted)]
        self._gather(events)

    def _now(self, now: Now) -> None:
        self.worker._now = now

    def _followed(self) -> list[Event]:
        self.worker._emit()
        events, self._events = [*self.worker._submitted, *self.worker._accepted, *self._events], []
        self.worker._submitted.clear()
        self.worker._accepted.clear()
        closes, self._closes = self._closes, []
        outputs, self._outputs = self._outputs, []
        for output in outputs:
            events += [Send(conn_id, data) for conn_id, data in output.sends]
        if any(output.closes for output in outputs):
            events += closes or [Close(CONN_ID, "closed by the peer")]      # which is no line of its own
        return events

    def receive(self, data: bytes, now: Now) -> list[Event]:
        self._now(now)
        if not self.client.is_mute:
            if data:
                self.worker._guard_client(self.worker._take_in, self.client, data)
            else:
                self.worker._guard_client(self.worker._step, self.client, self.client.connection.receive, b"")
        return self._followed()

    def offer(self, job: Job, now: Now) -> list[Event]:
        self._now(now)
        self.client.owes_job = True
        self.worker._latest = job
        self.worker._offer_first(self.client)
        return self._followed()

    def answer(self, method: str, answers: Sequence[int | Weight], now: Now) -> list[Event]:
        self._now(now)
        self.worker._guard_client(self.worker._answer, self.client, getattr(self.client.connection, method), answers)
        return self._followed()

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Event]:
        return self.answer("judged", weights, now)

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        return self.answer("recorded", ids, now)

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        return self.answer("not_recorded", ids, now)

    def tick(self, now: Now) -> list[Event]:
        """What the worker's deadlines lead to at `now`."""
        self._now(now)
        self.worker._tick()
        return self._followed()

    def nudge(self, now: Now) -> list[Event]:
        self._now(now)
        self.worker._guard_client(self.worker._heed, self.client)
        return self._followed()

    def closed(self, now: Now) -> list[Event]:
        self._now(now)
        self.worker._gone(self.client, "left")
        return self._followed()

    @property
    def wakes_at(self) -> float:
        """The earlier one of the transport's and the connection's."""
        if self.client.is_mute:
            return math.inf
        return min(self.client.transport.wakes_at, self.client.connection.wakes_at)

    @property
    def in_flight(self) -> int:
        return self.client.connection.in_flight

    @property
    def backlog(self) -> int:
        return self.client.connection.backlog

    @property
    def is_established(self) -> bool:
        transport = self.client.transport
        return isinstance(transport, Tls) and transport.is_established


class Ends:
    """A `LineConnection` over the TLS under test, and its miner."""

    def __init__(self, context: ssl.SSLContext | None = None, max_unanswered: int = 1024) -> None:
        self.inner = LineConnection(CONN_ID, max_unanswered)
        self.pool = Served(Tls(server_context(), START.monotonic), self.inner)
        self.miner = Miner(context)

    @property
    def heard(self) -> list[tuple[str, object]]:
        """What the connection was told, but for the end."""
        return [call for call in self.inner.calls if call[0] != "closed"]

    def shake(self) -> None:
        """The whole handshake."""
        flight = self.miner.shake()
        while not self.pool.is_established:
            flight = self.miner.shake(sent(self.pool.receive(flight, START)))
        assert flight == b""


def established(context: ssl.SSLContext | None = None, max_unanswered: int = 1024) -> Ends:
    ends = Ends(context, max_unanswered)
    ends.shake()
    return ends
