"""A V1 machine's connection to the translator: the V1 side's own, and what upstreams have it say.

What the machine hears because of an upstream goes out with the upstream's step. Where that may have brought a deadline
of the machine nearer, or made room for what is held back, the step nudges, so that the worker turns to the machine.
"""

from __future__ import annotations

from warppool.events import Connection, Event, Now, Nudge, Send
from warppool.sv1.answers import Step
from warppool.sv1.connection import MachineConnection
from warppool.translate.failover import Failover
from warppool.translate.session import TranslatorSession


class TranslatedConnection(MachineConnection[TranslatorSession]):
    """One accepted machine; the face of `events.Connection`. Its first tick dials."""

    __slots__ = ()

    def __init__(self, conn_id: int, failover: Failover, now: Now, address: str) -> None:
        session = TranslatorSession(self, conn_id, failover, now, address)
        super().__init__(session, idle_timeout_s=failover.context.times.idle_timeout_s, now=now)
        self.wakes_at = now.monotonic

    # -- what an upstream's step has for the machine (session.Outlet) --------------------------------------------

    def pass_on(self, steps: list[Step], now: Now) -> list[Event]:
        """Whatever came of that step goes out at once, and a nudge for this connection."""
        events = self._follow(steps)
        if not self._is_closed:
            self.wakes_at = now.monotonic
        events.append(Nudge(self.conn_id))          # of a closed one, the worker learns whether it can be forgotten
        return events

    def pass_answers(self, steps: list[Step], now: Now) -> list[Event]:
        """Answers to shares alone.

        Nobody need look at the connection again, for no deadline has come nearer by that. Where it is closed, on its
        way there, or has bytes held back, somebody must.
        """
        if self._is_closed or self._session.is_leaving or self._framer.pending:
            return self.pass_on(steps, now)
        events: list[Event] = []
        lines: list[bytes] = []
        for step in steps:                          # `_apply` and `_put_out`: every share comes by here
            if isinstance(step, bytes):
                lines.append(step)
            else:
                events.append(step)
        if lines and not self._is_abandoned:
            events.append(Send(self.conn_id, b"".join(lines)))
        return events

    def wake(self, now: Now) -> None:
        """The session has something to do in the next tick; the nudge is the caller's."""
        self.wakes_at = now.monotonic

    def tick(self, now: Now) -> list[Event]:
        """A deadline, or a nudge; what an upstream has answered may make room for what was held back."""
        if now.monotonic < min(self._deadline, self._session.wakes_at):     # a nudge alone
            self._let_go(now)
            return self._follow(())
        return super().tick(now)


def connect(conn_id: int, failover: Failover, now: Now, address: str = "") -> Connection:
    """The connection for a machine that was accepted under `conn_id`, and comes from `address` (without the port)."""
    return TranslatedConnection(conn_id, failover, now, address)
