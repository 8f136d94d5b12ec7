"""A V1 machine's connection: what of `mining.connection` is V1's.

Layers from the transport inwards: lines (`lines`), messages (`messages`), the session (`session`, and `server` for the
pool's). The session is the same on every transport.
"""

from __future__ import annotations

from typing import Any, TypeVar

from warppool.errors import WrongProtocol
from warppool.events import Now
from warppool.limits import CALL_WORK, V1
from warppool.mining.connection import MiningConnection
from warppool.sv1.lines import LineReader
from warppool.sv1.messages import Request, parse
from warppool.sv1.server import Context, MiningServerSession
from warppool.sv1.session import MachineSession
from warppool.sv1.strangers import stranger_by

FIRST_MESSAGE_DEADLINE_S = 10.0
"""From the accepted connection to the first whole message."""

AUTHORIZE_DEADLINE_S = 60.0
"""From the accepted connection to the first worker let in; some machines wait for each answer before the next call."""

SUBMIT = "mining.submit"
SUBMIT_WORD = SUBMIT.encode()
"""The one call that is a share."""


S = TypeVar("S", bound=MachineSession)


class MachineConnection(MiningConnection[S, bytes]):
    """One accepted V1 connection around its session.

    `idle_timeout_s` bounds how long an authorized machine may stay without an accepted share, if it is not slow.
    """

    __slots__ = ("_authorize_by", "_has_spoken", "_idle_timeout_s", "_working_since")

    limits = V1

    def __init__(self, session: S, *, idle_timeout_s: float, now: Now) -> None:
        super().__init__(session, LineReader(), deadline=now.monotonic + FIRST_MESSAGE_DEADLINE_S)
        self._authorize_by = now.monotonic + AUTHORIZE_DEADLINE_S
        self._idle_timeout_s = idle_timeout_s
        self._has_spoken = False
        self._working_since = 0.0                       # monotonic seconds of the first authorize, 0 before it

    def _recognise(self, data: bytes) -> None:
        """Look at the first byte that is no blank; WrongProtocol if Stratum V1 does not begin so."""
        stranger = stranger_by(data)
        if stranger:
            raise WrongProtocol(stranger)
        self._is_new = stranger is None

    def _call(self, unit: bytes, now: Now, steps: list[Any]) -> int:
        """Any line that is no submit of the usual shape. An unusual submit is a share all the same."""
        if self._is_abandoned and SUBMIT_WORD not in unit:
            return 0
        message = parse(unit)
        if not isinstance(message, Request) or message.method != SUBMIT:
            if self._is_abandoned:
                return CALL_WORK
            self._count_call(now)
        self._take(self._session.receive(message, now), steps)
        return CALL_WORK

    def _advance(self, now: Now) -> None:
        """The first message buys time to authorize, and that time to find a share."""
        if self._session.is_authorized:
            self._is_setting_up = False
            self._working_since = now.monotonic
            self._deadline = now.monotonic + self._idle_timeout_s
        elif not self._has_spoken:
            self._deadline = self._authorize_by
        self._has_spoken = True

    def _come_due(self, now: Now, steps: list[Any]) -> None:
        if not self._has_spoken:
            self._end(f"no message within {FIRST_MESSAGE_DEADLINE_S:.0f} s")
        elif not self._working_since and self._session.is_authorized:
            self._advance(now)                          # its answer came after its last message
        elif not self._working_since and self._session.is_held:
            self._deadline = now.monotonic + AUTHORIZE_DEADLINE_S
        elif not self._working_since:
            self._end(f"not authorized within {AUTHORIZE_DEADLINE_S:.0f} s")
        else:
            self._deadline = self._session.idle_by(self._working_since, self._idle_timeout_s)
            if now.monotonic >= self._deadline:
                self._end("no accepted share for too long")


class ServerConnection(MachineConnection[MiningServerSession]):
    """One accepted V1 connection to the pool."""

    __slots__ = ()

    def __init__(self, conn_id: int, context: Context, *, idle_timeout_s: float, now: Now) -> None:
        super().__init__(MiningServerSession(conn_id, context), idle_timeout_s=idle_timeout_s, now=now)
