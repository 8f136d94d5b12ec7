"""An Sv2 miner's connection to the pool: what of `mining.connection` is V2's.

Layers from the transport inwards: frames (`frame`), messages (`profile`), the session (`server`).
"""

from __future__ import annotations

import math
from typing import Any

from warppool.events import HandOver, Now
from warppool.limits import CALL_WORK, SHARE_WORK, V2_MINING
from warppool.mining.connection import MiningConnection
from warppool.sv2.frame import Frame, FrameReader
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.profile import Subprotocol
from warppool.sv2.server import IDLE, Context, MiningServerSession, Phase
from warppool.sv2.templateconnection import TemplateConnection
from warppool.sv2.types import Message

SETUP_DEADLINE_S = 10.0
"""From the accepted connection to a whole SetupConnection, the handshake of the transport included."""

IDLE_LOOKS = 60
"""At most so many looks for idle channels within the idle time, since each look goes through all channels."""


class ServerConnection(MiningConnection[MiningServerSession, Frame]):
    """One accepted Sv2 connection.

    `idle_timeout_s` bounds how long a peer that set up may stay without a channel, and a channel without an accepted
    share, if it is not slow.
    """

    __slots__ = ("_frames", "_idle_timeout_s", "_templates")

    limits = V2_MINING
    spoken = (Message,)

    def __init__(self, conn_id: int, context: Context, *, idle_timeout_s: float, now: Now) -> None:
        profile = context.profile
        self._frames = FrameReader(profile.max_payload_before_setup)
        self._idle_timeout_s = idle_timeout_s
        self._templates = context.templates
        super().__init__(MiningServerSession(conn_id, context), self._frames, profile.encode,
                         deadline=now.monotonic + SETUP_DEADLINE_S)

    def _call(self, unit: Frame, now: Now, steps: list[Any]) -> int:
        """Any message that is no share; one that nobody knows costs its sender a call too."""
        session = self._session
        message, area = session.profile.read(session.subprotocol, unit)
        if self._is_abandoned:
            return SHARE_WORK
        self._count_call(now)
        if self._is_setting_up and isinstance(message, SetupConnection) and self._hands_over(message, now):
            return CALL_WORK
        if message is not None:
            self._take(session.receive_with(message, area, now) if area else session.receive(message, now), steps)
        return CALL_WORK

    def _hands_over(self, m: SetupConnection, now: Now) -> bool:
        """Whether this is a client of the template server, and is served as such from now on."""
        if self._templates is None or m.protocol != Subprotocol.TEMPLATE_DISTRIBUTION or (
                self._session.phase is not Phase.AWAIT_SETUP):
            return False
        self._close = HandOver(self.conn_id, TemplateConnection(
            self.conn_id, self._session.profile, self._templates, now=now, setup=m, frames=self._frames))
        return True

    def _advance(self, now: Now) -> None:
        """The set-up buys time to open a channel."""
        if self._session.phase is not Phase.AWAIT_SETUP:
            self._is_setting_up = False
            self._frames.max_payload = self._session.profile.max_payload_from_client
            self._deadline = now.monotonic + self._idle_timeout_s

    def _come_due(self, now: Now, steps: list[Any]) -> None:
        self._deadline = math.inf
        if self._session.phase is Phase.AWAIT_SETUP:
            self._end(f"no SetupConnection within {SETUP_DEADLINE_S:.0f} s")
        elif self._session.channels == 0:
            self._end(f"no channel for {self._idle_timeout_s:.0f} s")
        else:
            self._close_idle(now, steps)

    def _close_idle(self, now: Now, steps: list[Any]) -> None:
        """Let idle channels go, and the connection with the last one. A channel that is opened later is idle later."""
        timeout_s = self._idle_timeout_s
        closed, first = self._session.close_idle(timeout_s, now)
        steps += closed
        if self._session.channels == 0:
            self._end(IDLE)
        self._deadline = now.monotonic + min(timeout_s, max(first - now.monotonic, timeout_s / IDLE_LOOKS))
