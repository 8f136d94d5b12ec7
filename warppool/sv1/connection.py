"""A V1 machine's connection as a worker sees it: bytes in, events out, and nothing raised for what the peer sent.

Layers from the wire inwards: lines (`lines`), messages (`messages`), the session (`session`, and `server` for the
pool's). TLS is not here: it is a layer of the worker's, and both ports get this connection. What a face call leads to
leaves in one `Send`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, TypeVar

from warppool.errors import RemoteProtocolError, WrongProtocol
from warppool.events import Close, Event, Held, Holds, Now, Send
from warppool.limits import CALL_WORK, SHARE_WORK, V1
from warppool.mining.face import JudgingConnection
from warppool.mining.job import Job
from warppool.sv1.answers import Step
from warppool.sv1.lines import LineReader, read_submit_line
from warppool.sv1.messages import Request, parse
from warppool.sv1.server import Context, MiningServerSession
from warppool.sv1.session import MachineSession
from warppool.sv1.strangers import stranger_by

# An enum's member is a function call away on Python 3.11, and every share asks.
_NOTHING = Held.NOTHING
_CALLS = Held.CALLS

FIRST_MESSAGE_DEADLINE_S = 10.0
"""From the accepted connection to the first whole message."""

AUTHORIZE_DEADLINE_S = 60.0
"""From the accepted connection to the first worker let in; some machines wait for each answer before the next call."""

MAX_UNANSWERED = 1024
"""Requests of one connection that wait, for a verdict, a record, or those before them; what comes then waits unread."""

SUBMIT = "mining.submit"
SUBMIT_WORD = SUBMIT.encode()
"""The one call that is a share."""


S = TypeVar("S", bound=MachineSession)


class MachineConnection(JudgingConnection[Step], Generic[S]):
    """One accepted V1 connection around its session; the face of `events.Connection`.

    `idle_timeout_s` bounds how long an authorized machine may stay without an accepted share, if it is not slow.
    """

    __slots__ = ("_authorize_by", "_close", "_deadline", "_has_spoken", "_idle_timeout_s", "_is_closed", "_is_known",
                 "_lines", "_outgoing", "_session", "_told_workers", "_working_since", "conn_id", "wakes_at")

    limits = V1
    _session: S

    def __init__(self, session: S, *, idle_timeout_s: float, now: Now) -> None:
        super().__init__()
        self.conn_id = session.conn_id
        self.wakes_at = self._deadline = now.monotonic + FIRST_MESSAGE_DEADLINE_S
        self._authorize_by = now.monotonic + AUTHORIZE_DEADLINE_S
        self._idle_timeout_s = idle_timeout_s
        self._session = session
        self._lines = LineReader()
        self._outgoing: list[bytes] | None = None       # lines of this call, if there are any
        self._close: Close | None = None
        self._is_closed = False
        self._is_known = False                          # its first byte was that of Stratum V1
        self._has_spoken = False
        self._working_since = 0.0                       # monotonic seconds of the first authorize, 0 before it
        self._told_workers = 0

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return self._session.in_flight

    @property
    def backlog(self) -> int:
        """Received bytes held back unprocessed."""
        return self._lines.pending

    @property
    def machines(self) -> int:
        """1 for a machine that has work, else 0."""
        return int(not self._is_closed and self._session.has_work)

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Bytes from the peer, or empty to go on with the backlog."""
        events: list[Event] = []
        if not self._is_closed:
            self._read(data, now, events)
        return self._finish(events)

    def _read(self, data: bytes, now: Now, events: list[Event]) -> None:
        """Go through what is there until it ends, the connection closes, or it has had its part of this turn."""
        session = self._session
        answers = session.answers
        # Whoever is held for nothing is within these bounds: each line asks for them.
        if self.held is not _NOTHING and (answers.unanswered >= MAX_UNANSWERED or (
                self._bucket is not None and self._is_out_of_calls(now))):
            self._lines.hold(data)
            self._hold(now)
            return
        work = self.limits.work_per_turn
        try:
            if not self._is_known:
                self._recognise(data)
            for line in self._lines.feed(data):
                submit = read_submit_line(line)         # nearly every line is one, and needs no parser
                if submit is not None:
                    self._apply(session.submit(*submit, now), events)
                    work -= SHARE_WORK
                elif self._is_abandoned and SUBMIT_WORD not in line:
                    continue
                else:
                    self._apply(self._call(line, now), events)
                    work -= CALL_WORK
                    if session.workers != self._told_workers:
                        self._told_workers = session.workers
                        events.append(Holds(self.conn_id, self._told_workers))
                if not self._working_since:
                    self._set_up(now)
                if self._close is not None:
                    break
                if answers.unanswered >= MAX_UNANSWERED or work <= 0 or (
                        submit is None and self._bucket is not None and self._is_out_of_calls(now)):
                    self._hold(now)
                    return
        except RemoteProtocolError as exc:
            self._close = Close(self.conn_id, f"{type(exc).__name__}: {exc}", is_peers_fault=True)
        self.held = _NOTHING

    def _recognise(self, data: bytes) -> None:
        """Look at the first byte that is no blank; WrongProtocol if Stratum V1 does not begin so."""
        stranger = stranger_by(data)
        if stranger:
            raise WrongProtocol(stranger)
        self._is_known = stranger is not None

    def _call(self, line: bytes, now: Now) -> list[Step]:
        """Any line that is no submit of the usual shape. An unusual submit is a share all the same."""
        message = parse(line)
        if not isinstance(message, Request) or message.method != SUBMIT:
            if self._is_abandoned:
                return []
            self._count_call(now)
        return self._session.receive(message, now)

    @property
    def _is_full(self) -> bool:
        return self._session.answers.unanswered >= MAX_UNANSWERED

    @property
    def _holders(self) -> int:
        return self._session.workers

    def _set_up(self, now: Now) -> None:
        """The first message buys time to authorize, and that time to find a share."""
        if self._session.is_authorized:
            self._working_since = now.monotonic
            self._deadline = now.monotonic + self._idle_timeout_s
        elif not self._has_spoken:
            self._deadline = self._authorize_by
        self._has_spoken = True

    def offer(self, job: Job, now: Now) -> list[Event]:
        """A new job."""
        events: list[Event] = []
        self._apply(self._session.offer(job, now), events)
        return self._finish(events)

    def tick(self, now: Now) -> list[Event]:
        """A deadline has come, or the time to look at the difficulty."""
        events: list[Event] = []
        if self._is_closed:
            return events
        if now.monotonic >= self._deadline:
            self._come_due(now)
        if self._close is None:
            self._apply(self._session.tick(now), events)
        if self.held:
            self._let_go(now)
        return self._finish(events)

    def _come_due(self, now: Now) -> None:
        if not self._has_spoken:
            self._time_out(f"no message within {FIRST_MESSAGE_DEADLINE_S:.0f} s")
        elif not self._working_since and self._session.is_authorized:
            self._set_up(now)                           # its answer came after its last message
        elif not self._working_since and self._session.is_held:
            self._deadline = now.monotonic + AUTHORIZE_DEADLINE_S
        elif not self._working_since:
            self._time_out(f"not authorized within {AUTHORIZE_DEADLINE_S:.0f} s")
        else:
            self._deadline = self._session.idle_by(self._working_since, self._idle_timeout_s)
            if now.monotonic >= self._deadline:
                self._time_out("no accepted share for too long")

    def _time_out(self, reason: str) -> None:
        self._close = Close(self.conn_id, reason, is_peers_fault=True)

    def closed(self, now: Now) -> list[Event]:
        """The connection is gone; shares in flight are still judged and recorded, mutely."""
        self._is_closed = True
        self.held = _NOTHING
        self.wakes_at = math.inf
        events: list[Event] = []
        self._apply(self._session.closed(now), events)
        return events

    def _apply(self, steps: Sequence[Step], events: list[Event]) -> None:
        for step in steps:
            if isinstance(step, bytes):
                if self._outgoing is None:
                    self._outgoing = [step]
                else:
                    self._outgoing.append(step)
            elif isinstance(step, Close) and step.conn_id == self.conn_id:
                self._close = step
            else:
                events.append(step)

    def _finish(self, events: list[Event]) -> list[Event]:
        """Send what is to be sent, and close after it."""
        self._put_out(events)
        if self._close is not None and not self._is_closed:
            self._is_closed = True
            self.held = _NOTHING
            events.append(self._close)
        self.wakes_at = math.inf if self._is_closed else min(self._deadline, self._session.wakes_at)
        if self.held is _CALLS and self._resumes_at < self.wakes_at:
            self.wakes_at = self._resumes_at
        return events

    @property
    def _due(self) -> float:
        """The earliest of all that this connection waits for."""
        due = min(self._deadline, self._session.wakes_at)
        return due if self.held != _CALLS else min(due, self._resumes_at)

    def _put_out(self, events: list[Event]) -> None:
        """All lines in one Send; none of a closed connection."""
        lines, self._outgoing = self._outgoing, None
        if lines is not None and not self._is_closed and not self._is_abandoned:
            events.append(Send(self.conn_id, lines[0] if len(lines) == 1 else b"".join(lines)))


class ServerConnection(MachineConnection[MiningServerSession]):
    """One accepted V1 connection to the pool."""

    __slots__ = ()

    def __init__(self, conn_id: int, context: Context, *, idle_timeout_s: float, now: Now) -> None:
        super().__init__(MiningServerSession(conn_id, context), idle_timeout_s=idle_timeout_s, now=now)
