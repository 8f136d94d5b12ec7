"""A mining connection as a worker sees it, V1 or V2: plaintext in, events out, and nothing raised for what a peer sent.

Between the transport and the session stands a framer, which cuts the stream into lines (V1) or frames (V2). A session
takes shares by `submit`; what is a call, and which deadlines a machine has until it mines, differs by protocol, and
stands in `sv1/connection.py` and `sv2/connection.py`. No connection is served beyond its part of a turn.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from warppool.errors import RemoteProtocolError
from warppool.events import Close, Event, HandOver, Held, Holds, Now, Send, ShareAccepted, ShareSubmitted
from warppool.limits import FREE_CALLS, SHARE_WORK, Bucket, Limits
from warppool.mining.job import Job
from warppool.mining.share import Weight

# An enum's member is a function call away on Python 3.11, and every share asks.
_NOTHING = Held.NOTHING
_TURN = Held.TURN
_CALLS = Held.CALLS
_ANSWERS = Held.ANSWERS

MAX_UNANSWERED = 1024
"""Shares of one connection that wait for their verdict or record; on V1, requests that wait for these or for those
before them. What comes after them waits unread."""

U = TypeVar("U")
U_co = TypeVar("U_co", covariant=True)
U_contra = TypeVar("U_contra", contravariant=True)
"""What a framer cuts out of the stream: a line or a frame."""


class Framer(Protocol[U_co]):
    """Cuts the plaintext of one connection into units, wherever TCP and records cut it."""

    @property
    def pending(self) -> int:
        """Bytes held: units not taken yet, and the beginning of one that is not whole."""

    def feed(self, data: bytes) -> Iterable[U_co]:
        """Take `data` in and return the units that are whole; the first is to be taken at once. The iterator raises
        RemoteProtocolError behind the units before the bad one.
        """

    def hold(self, data: bytes) -> None:
        """Take `data` in and cut nothing yet."""


class Unanswered(Protocol):
    """What a session's peer waits for."""

    @property
    def unanswered(self) -> int:
        """How many answers wait, for a weight, a record or a verdict, or for those before them."""


class MiningSession(Protocol[U_contra]):
    """One machine's conversation. A step is a message to be sent, as bytes or in the protocol's own type, or an event.

    `conn_id` and `wakes_at` (monotonic seconds of the next wanted `tick`) are attributes.
    """

    conn_id: int

    @property
    def answers(self) -> Unanswered:
        """What the peer waits for."""

    @property
    def wakes_at(self) -> float:
        """Monotonic seconds of the next wanted `tick`."""

    @property
    def in_flight(self) -> int:
        """Shares whose weight, record or verdict is still awaited."""

    @property
    def machines(self) -> int:
        """How many machines, or channels, have work here."""

    @property
    def holders(self) -> int:
        """Open channels or authorized workers."""

    def read_share(self, unit: U_contra) -> tuple[Any, ...] | None:
        """The share in `unit`, for `submit`; None where it is any other message."""

    def submit(self, *share_and_now: Any) -> Sequence[Any]:
        """A share, and `now` behind it."""

    def offer(self, job: Job, now: Now) -> Sequence[Any]:
        """A new job."""

    def judged(self, weights: Sequence[Weight], now: Now) -> Sequence[Any]:
        """The next weights, in the order of the shares."""

    def recorded(self, ids: Sequence[int]) -> Sequence[Any]:
        """These shares are committed."""

    def not_recorded(self, ids: Sequence[int]) -> Sequence[Any]:
        """These shares will never be committed."""

    def given_up(self, ids: Sequence[int]) -> Sequence[Any]:
        """These shares are refused, and may be committed all the same."""

    def tick(self, now: Now) -> Sequence[Any]:
        """`wakes_at` may have come."""

    def closed(self, now: Now) -> Sequence[Any]:
        """The connection is gone; nothing can be sent any more."""


S = TypeVar("S", bound=MiningSession[Any])


class MiningConnection(ABC, Generic[S, U]):
    """One accepted connection around a framer and a session; the face of `events.Connection`.

    It stops reading where its part of a turn is done, where too much is unanswered, and where its peer has made too
    many calls; `held` says which. `deadline` is the first one of the peer, in monotonic seconds. `spoken` are the
    types of steps that `encode` makes bytes of.
    """

    __slots__ = ("_answers", "_bucket", "_calls", "_close", "_deadline", "_encode", "_framer", "_is_abandoned",
                 "_is_closed", "_is_new", "_is_setting_up", "_resumes_at", "_session", "_told_holders", "conn_id",
                 "held", "wakes_at")

    limits: Limits
    stays_without_work: ClassVar[bool] = False
    spoken: tuple[type, ...] = ()

    def __init__(self, session: S, framer: Framer[U], encode: Callable[[Any], bytes] = bytes, *,
                 deadline: float) -> None:
        self.conn_id = session.conn_id
        self.held = _NOTHING
        self.wakes_at = self._deadline = deadline
        self._session = session
        self._answers = session.answers
        self._framer = framer
        self._encode = encode
        self._close: Close | HandOver | None = None         # it is to be closed, or handed over, behind this step
        self._is_closed = False
        self._is_new = True                         # its first byte has not been looked at
        self._is_setting_up = True                  # the machine has deadlines until it mines
        self._told_holders = 0                      # what the worker knows
        self._is_abandoned = False                  # the peer is gone: only shares are taken
        self._calls = 0                             # that were no shares, up to FREE_CALLS
        self._bucket: Bucket | None = None          # made after those, which few machines need
        self._resumes_at = math.inf                 # monotonic: when the next call may be made, where held for it

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return self._session.in_flight

    @property
    def backlog(self) -> int:
        """Plaintext held back unprocessed."""
        return self._framer.pending

    @property
    def machines(self) -> int:
        """How many machines, or channels, have a job to mine on."""
        return 0 if self._is_closed else self._session.machines

    # -- what a peer sends ---------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Plaintext from the peer, or empty to go on with the backlog: as much as is its part of this turn."""
        steps: list[Any] = []
        if self._is_closed:
            return steps
        # Whoever is held for nothing is within these bounds: each unit asks for them.
        if self.held is not _NOTHING and (self._is_full or self._is_out_of_calls(now)):
            self._framer.hold(data)
            self._hold(now)
            return self._follow(steps)
        session, answers, work = self._session, self._answers, self.limits.work_per_turn
        self.held = _NOTHING
        try:
            if self._is_new:
                self._recognise(data)
            for unit in self._framer.feed(data):
                share = session.read_share(unit)
                if share is not None:
                    steps += session.submit(*share, now)
                    work -= SHARE_WORK
                else:
                    work -= self._call(unit, now, steps)
                if self._is_setting_up:
                    self._advance(now)
                if self._close is not None:
                    break
                if answers.unanswered >= MAX_UNANSWERED or work <= 0 or (
                        share is None and self._bucket is not None and self._is_out_of_calls(now)):
                    self._hold(now)
                    break
        except RemoteProtocolError as exc:
            self._end(f"{type(exc).__name__}: {exc}")
        return self._follow(steps)

    def _recognise(self, data: bytes) -> None:
        """Look at the first byte; RemoteProtocolError if the protocol does not begin so."""
        self._is_new = False

    @abstractmethod
    def _call(self, unit: U, now: Now, steps: list[Any]) -> int:
        """Apply a message that is no share of the usual shape, and return what it counts for within a turn."""

    @abstractmethod
    def _advance(self, now: Now) -> None:
        """A message has come of a machine that does not mine yet: it may have another deadline now."""

    @abstractmethod
    def _come_due(self, now: Now, steps: list[Any]) -> None:
        """The deadline has come: `_end` it, or set the next one."""

    def _take(self, called: Sequence[Any], steps: list[Any]) -> None:
        """What a call leads to; the worker is told of other numbers of channels or workers."""
        steps += called
        if any(type(step) is Close for step in called):
            self._close = next(step for step in called if type(step) is Close)
        holders = self._session.holders
        if holders != self._told_holders:
            self._told_holders = holders
            steps.append(Holds(self.conn_id, holders))

    def _end(self, reason: str) -> None:
        """Close it behind what this step leads to, by the peer's fault; the first reason counts."""
        if self._close is None:
            self._close = Close(self.conn_id, reason, is_peers_fault=True)

    # -- what others bring ---------------------------------------------------------------------------------------

    def offer(self, job: Job, now: Now) -> list[Event]:
        """A new job for every channel."""
        return self._follow(self._session.offer(job, now))

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Event]:
        """The next weights, in the order of the shares."""
        steps = self._session.judged(weights, now)
        if self.held:
            self._let_go(now)
        return self._follow(steps)

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares are committed."""
        steps = self._session.recorded(ids)
        if self.held:
            self._let_go(now)
        return self._follow(steps)

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares will never be committed."""
        steps = self._session.not_recorded(ids)
        self._let_go(now)
        return self._follow(steps)

    def given_up(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares are refused, and may be committed all the same."""
        steps = self._session.given_up(ids)
        self._let_go(now)
        return self._follow(steps)

    def tick(self, now: Now) -> list[Event]:
        """A deadline has come: the peer's, or one of the session's."""
        steps: list[Any] = []
        if self._is_closed:
            return steps
        if now.monotonic >= self._deadline:
            self._come_due(now, steps)
        if self._close is None:
            steps += self._session.tick(now)
        self._let_go(now)
        return self._follow(steps)

    def abandon(self) -> None:
        """The peer is gone: of what is held only shares are taken from now on."""
        self._is_abandoned = True
        if self.held == _CALLS:
            self.held = _TURN

    def closed(self, now: Now) -> list[Event]:
        """The connection is gone; shares in flight are still judged and recorded, mutely."""
        self._is_closed = True
        return self._follow(self._session.closed(now))

    # -- what follows --------------------------------------------------------------------------------------------

    def _follow(self, steps: Sequence[Any]) -> list[Event]:
        """The events of `steps`: all that is said in one Send, unless nobody hears it any more, and a Close last."""
        events: list[Event] = []
        said: list[bytes] = []
        close = self._close
        for step in steps:
            kind = type(step)
            if kind is bytes:
                said.append(step)
            elif kind is ShareSubmitted or kind is ShareAccepted:
                events.append(step)
            elif kind is Close and step.conn_id == self.conn_id:
                close = step
            elif isinstance(step, self.spoken):
                said.append(self._encode(step))
            else:
                events.append(step)
        if said and not self._is_closed and not self._is_abandoned:
            events.append(Send(self.conn_id, said[0] if len(said) == 1 else b"".join(said)))
        if close is not None and not self._is_closed:
            self._is_closed = True
            events.append(close)
        due = self._session.wakes_at
        if self._deadline < due:
            due = self._deadline
        if self._is_closed:
            due, self.held = math.inf, _NOTHING
        elif self.held is _CALLS and self._resumes_at < due:
            due = self._resumes_at
        self.wakes_at = due
        return events

    # -- its part ------------------------------------------------------------------------------------------------

    @property
    def _is_full(self) -> bool:
        return self._answers.unanswered >= MAX_UNANSWERED

    def _count_call(self, now: Now) -> None:
        """The peer made a call that is no share."""
        if self._bucket is None:
            if self._calls < FREE_CALLS or not self.limits.calls:
                self._calls += 1
                return
            self._bucket = Bucket(self.limits, now.monotonic)
        self._bucket.take(now.monotonic, self._session.holders)

    def _is_out_of_calls(self, now: Now) -> bool:
        bucket = self._bucket
        return bucket is not None and not self._is_abandoned and not bucket.has_one(now.monotonic,
                                                                                    self._session.holders)

    def _hold(self, now: Now) -> None:
        """It stopped before the end; say why."""
        if self._is_full:
            self.held = _ANSWERS
        elif self._bucket is not None and self._is_out_of_calls(now):
            self.held = _CALLS
            self._resumes_at = self._bucket.due(now.monotonic, self._session.holders)
        else:
            self.held = _TURN

    def _let_go(self, now: Now) -> None:
        """Whatever it was held for may be there: then it may go on, in its turn."""
        if (self.held == _ANSWERS and not self._is_full) or (
                self.held == _CALLS and now.monotonic >= self._resumes_at):
            self.held = _TURN
