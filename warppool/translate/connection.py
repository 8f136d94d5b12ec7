"""A V1 machine's connection to the translator: the V1 side's own, and what upstreams leave it to say.

Where TLS stands around a machine's connection, what is sent there must come out of a step of that connection. So an
upstream's step leaves it here and nudges. On a plain connection the answers to accepted shares, which are nearly all
that an upstream has to say, go out with its step.
"""

from __future__ import annotations

from warppool.events import Connection, Event, Now, Nudge
from warppool.sv1.answers import Step
from warppool.sv1.connection import MachineConnection
from warppool.translate.failover import Failover
from warppool.translate.session import TranslatorSession


class TranslatedConnection(MachineConnection[TranslatorSession]):
    """One accepted machine; the face of `events.Connection`. Its first tick dials."""

    __slots__ = ("_is_plain",)

    def __init__(self, conn_id: int, failover: Failover, now: Now, *, is_plain: bool) -> None:
        session = TranslatorSession(self, conn_id, failover, now)
        super().__init__(session, idle_timeout_s=failover.context.times.idle_timeout_s, now=now)
        self._is_plain = is_plain
        self.wakes_at = now.monotonic

    # -- what an upstream's step leaves here (session.Outlet) ----------------------------------------------------

    def pass_on(self, steps: list[Step], now: Now) -> list[Event]:
        """Whatever came of that step: events for others at once, and a nudge for this connection."""
        events: list[Event] = []
        self._apply(steps, events)
        self._session.flush(events)
        if self._is_closed:
            self._outgoing = None
        else:
            self.wakes_at = now.monotonic
        events.append(Nudge(self.conn_id))          # of a closed one, the worker learns whether it can be forgotten
        return events

    def pass_answers(self, steps: list[Step], now: Now) -> list[Event]:
        """Answers to shares alone.

        On a plain connection the answers go out here and now, and nobody need look at it again: no deadline has come
        nearer by that. Where it is closed, on its way there, or has bytes held back, somebody must.
        """
        if not self._is_plain or self._is_closed or self._session.is_leaving or self._lines.pending:
            return self.pass_on(steps, now)
        events: list[Event] = []
        self._apply(steps, events)
        self._put_out(events)
        return events

    def wake(self, now: Now) -> None:
        """The session has something to do in the next tick; the nudge is the caller's."""
        self.wakes_at = now.monotonic

    def tick(self, now: Now) -> list[Event]:
        """A deadline, or what was left here; what is answered by it may make room for what was held back."""
        if self.held:
            self._let_go(now)
        due = self._due
        if now.monotonic < due and self._close is None and not self._is_closed:     # only what was left
            self.wakes_at = due
            events: list[Event] = []
            self._put_out(events)
            return events
        return super().tick(now)

    def _finish(self, events: list[Event]) -> list[Event]:
        self._session.flush(events)
        return super()._finish(events)


def connect(conn_id: int, failover: Failover, now: Now, *, is_plain: bool) -> Connection:
    """The connection for a machine that was accepted under `conn_id`; not `is_plain`: inside TLS."""
    return TranslatedConnection(conn_id, failover, now, is_plain=is_plain)
