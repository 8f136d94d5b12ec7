"""An Sv2 miner's connection as a worker sees it: plaintext in, events out, and nothing raised for what the peer sent.

Layers from the transport inwards: frames (`frame`), messages (`profile`), the session (`server`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from warppool.errors import RemoteProtocolError
from warppool.events import Close, Event, Held, Holds, Now, Send
from warppool.limits import CALL_WORK, SHARE_WORK, V2_MINING
from warppool.mining.face import JudgingConnection
from warppool.mining.job import Job
from warppool.sv2.frame import FrameReader
from warppool.sv2.jobs import Frames, Step
from warppool.sv2.messages.mining import SubmitSharesExtended, SubmitSharesStandard
from warppool.sv2.server import IDLE, Context, MiningServerSession, Phase
from warppool.sv2.types import Message

# An enum's member is a function call away on Python 3.11, and every share asks.
_NOTHING = Held.NOTHING
_CALLS = Held.CALLS

SETUP_DEADLINE_S = 10.0
"""From the accepted connection to a whole SetupConnection, handshake included."""

IDLE_LOOKS = 60
"""At most so many looks for idle channels within the idle time, since each look goes through all channels."""

MAX_UNANSWERED = 1024
"""Shares of one connection that wait for their verdict or record; what comes after them waits unread."""


class ServerConnection(JudgingConnection[Step]):
    """One accepted Sv2 connection; the face of `events.Connection`.

    `idle_timeout_s` bounds how long a peer that set up may stay without a channel, and a channel without an accepted
    share, if it is not slow.
    """

    __slots__ = ("_close", "_deadline", "_frames", "_idle_timeout_s", "_is_closed", "_outgoing", "_session",
                 "_told_channels", "_work", "conn_id", "wakes_at")

    limits = V2_MINING
    _session: MiningServerSession

    def __init__(self, conn_id: int, context: Context, *, idle_timeout_s: float, now: Now) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.wakes_at = self._deadline = now.monotonic + SETUP_DEADLINE_S
        self._session = MiningServerSession(conn_id, context)
        self._frames = FrameReader(context.profile.max_payload_before_setup)
        self._idle_timeout_s = idle_timeout_s
        self._outgoing: list[bytes] = []        # frames of this call
        self._close: Close | None = None
        self._is_closed = False
        self._work = 0                          # what is left of this turn
        self._told_channels = 0

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return self._session.in_flight

    @property
    def backlog(self) -> int:
        """Received bytes held back unprocessed."""
        return self._frames.pending

    @property
    def machines(self) -> int:
        """How many channels have a job to mine on."""
        return self._session.channels if self._session.has_job else 0

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Plaintext from the peer, or empty to go on with the backlog."""
        events: list[Event] = []
        if self._is_closed:
            return events
        try:
            self._read(data, now, events)
        except RemoteProtocolError as exc:
            self._close = Close(self.conn_id, f"{type(exc).__name__}: {exc}", is_peers_fault=True)
        return self._finish(events)

    def _read(self, data: bytes, now: Now, events: list[Event]) -> None:
        """Go through what is there until it ends, the connection closes, or it has had its part of this turn."""
        # Whoever is held for nothing is within these bounds: each frame asks for them.
        if self.held is not _NOTHING and (self._is_full or (
                self._bucket is not None and self._is_out_of_calls(now))):
            self._frames.hold(data)
            self._hold(now)
            return
        self._work = self.limits.work_per_turn
        session, profile, validator = self._session, self._session.profile, self._session.validator
        for frame in self._frames.feed(data):
            message, area = profile.read(session.subprotocol, frame)
            if isinstance(message, _SHARES):
                # A share is read in the mining phase alone, so no phase has to be asked.
                self._apply(session.receive_with(message, area, now) if area else session.submit(message), events)
                self._work -= SHARE_WORK
            else:
                self._call(message, area, now, events)
                self._work -= SHARE_WORK if self._is_abandoned else CALL_WORK
            if self._close is not None:
                return
            if validator.in_flight >= MAX_UNANSWERED or self._work <= 0 or (
                    self._bucket is not None and self._is_out_of_calls(now)):
                self._hold(now)
                return
        self.held = _NOTHING

    def _call(self, message: Message | None, area: bytes, now: Now, events: list[Event]) -> None:
        """Any message that is no share; None for one that nobody knows, which costs its sender a call too."""
        if self._is_abandoned:
            return
        session = self._session
        self._count_call(now)
        if message is None:
            return
        is_first = session.phase is Phase.AWAIT_SETUP
        self._apply(session.receive_with(message, area, now) if area else session.receive(message, now), events)
        if is_first:
            self._set_up(now)
        if session.channels != self._told_channels:
            self._told_channels = session.channels
            events.append(Holds(self.conn_id, self._told_channels))

    @property
    def _is_full(self) -> bool:
        return self._session.in_flight >= MAX_UNANSWERED

    @property
    def _holders(self) -> int:
        return self._session.channels

    def _set_up(self, now: Now) -> None:
        self._frames.max_payload = self._session.profile.max_payload_from_client
        self.wakes_at = self._deadline = now.monotonic + self._idle_timeout_s

    def offer(self, job: Job, now: Now) -> list[Event]:
        """A new job for every channel."""
        events: list[Event] = []
        self._apply(self._session.offer(job), events)
        return self._finish(events)

    def tick(self, now: Now) -> list[Event]:
        """A deadline has come: the connection's own, or one of its channels'."""
        if self._is_closed or now.monotonic < self.wakes_at:
            return []
        events: list[Event] = []
        if now.monotonic >= self._deadline:
            self._come_due(now, events)
        self._apply(self._session.tick(now), events)
        if self.held:
            self._let_go(now)
        self.wakes_at = self._deadline          # `_finish` sees to the channels'
        return self._finish(events)

    def _come_due(self, now: Now, events: list[Event]) -> None:
        self._deadline = math.inf
        if self._session.phase is Phase.AWAIT_SETUP:
            self._close = Close(self.conn_id, f"no SetupConnection within {SETUP_DEADLINE_S:.0f} s", True)
        elif self._session.channels == 0:
            self._close = Close(self.conn_id, f"no channel for {self._idle_timeout_s:.0f} s", True)
        else:
            self._close_idle(now, events)

    def _close_idle(self, now: Now, events: list[Event]) -> None:
        """Let idle channels go, and the connection with the last one. A channel that is opened later is idle later."""
        timeout_s = self._idle_timeout_s
        steps, first = self._session.close_idle(timeout_s, now)
        self._apply(steps, events)
        if self._session.channels == 0:
            self._close = Close(self.conn_id, IDLE, True)
        self._deadline = now.monotonic + min(timeout_s, max(first - now.monotonic, timeout_s / IDLE_LOOKS))

    def closed(self, now: Now) -> list[Event]:
        """The connection is gone; shares in flight are still judged and recorded, mutely."""
        self._is_closed = True
        self.held = _NOTHING
        self.wakes_at = math.inf
        self._session.closed()
        return []

    def _apply(self, steps: Sequence[Step], events: list[Event]) -> None:
        for step in steps:
            if isinstance(step, Frames):
                self._outgoing.append(step.data)
            elif isinstance(step, Message):
                self._outgoing.append(self._session.profile.encode(step))
            elif isinstance(step, Close):
                self._close = step
            else:
                events.append(step)

    def _finish(self, events: list[Event]) -> list[Event]:
        """Send what is to be sent, and put a Close after it."""
        if self._outgoing:
            plaintext = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
            self._outgoing.clear()
            if not self._is_closed and not self._is_abandoned:
                events.append(Send(self.conn_id, plaintext))
        if self._session.wakes_at < self.wakes_at:
            self.wakes_at = self._session.wakes_at
        if self.held == _CALLS and self._resumes_at < self.wakes_at:
            self.wakes_at = self._resumes_at
        if self._close is not None and not self._is_closed:
            self._is_closed = True
            self.held = _NOTHING
            events.append(self._close)
        return events


_SHARES = (SubmitSharesStandard, SubmitSharesExtended)
