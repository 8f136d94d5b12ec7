"""A template client's connection, as a worker sees it: what of `mining.connection` is Template Distribution's."""

from __future__ import annotations

import math
from typing import Any

from warppool.events import Event, Now
from warppool.limits import CALL_WORK, SHARE_WORK, TEMPLATE
from warppool.mining.connection import MiningConnection
from warppool.sv2.frame import Frame, FrameReader
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.messages.template import SubmitSolution
from warppool.sv2.profile import Profile
from warppool.sv2.templatecontext import TemplateContext
from warppool.sv2.templateserver import ServingPhase, TemplateServerSession
from warppool.sv2.types import Message

MAX_PAYLOAD = 65_557 + 4_096
"""Of a client's message: the largest SubmitSolution, and 4 KiB of TLVs."""

SETUP_DEADLINE_S = 10.0
"""From the accepted connection to a whole SetupConnection, the handshake of the transport included, and from there to
the constraints of the coinbase. After these a client may be silent for as long as it likes.
"""


class TemplateConnection(MiningConnection[TemplateServerSession, Frame]):
    """One accepted connection of a template client.

    `setup` is the SetupConnection of one that was taken for a miner's before, and `frames` has what stood behind it.
    `no_mining` is why a miner that comes here is closed without an answer, in words for the log; "" where it hears that
    its protocol is not served.
    """

    __slots__ = ("_frames", "_profile", "_setup")

    limits = TEMPLATE
    stays_without_work = True
    spoken = (Message,)

    def __init__(self, conn_id: int, profile: Profile, context: TemplateContext, *, now: Now,
                 setup: SetupConnection | None = None, frames: FrameReader | None = None, no_mining: str = "") -> None:
        self._profile = profile
        self._frames = frames or FrameReader(profile.max_payload_before_setup)
        self._setup = setup
        super().__init__(TemplateServerSession(conn_id, context, no_mining), self._frames, profile.encode,
                         deadline=now.monotonic + SETUP_DEADLINE_S)

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """As any connection; the set-up that came before it stood here comes first."""
        if self._setup is None:
            return super().receive(data, now)
        setup, self._setup = self._setup, None
        steps: list[Any] = []
        self._take(self._session.receive(setup, now), steps)
        self._advance(now)
        return self._follow(steps) + super().receive(data, now)

    def _call(self, unit: Frame, now: Now, steps: list[Any]) -> int:
        """Any message. Of one whose peer is gone only solutions are taken: each of them may be a block."""
        session = self._session
        message = self._profile.decode(session.subprotocol, unit)
        if self._is_abandoned and not isinstance(message, SubmitSolution):
            return SHARE_WORK
        self._count_call(now)
        if message is not None:
            self._take(session.receive(message, now), steps)
        return CALL_WORK

    def _advance(self, now: Now) -> None:
        phase = self._session.phase
        if phase is ServingPhase.AWAIT_CONSTRAINTS and self._frames.max_payload < MAX_PAYLOAD:
            self._frames.max_payload = MAX_PAYLOAD
            self._deadline = now.monotonic + SETUP_DEADLINE_S
        elif phase is ServingPhase.SERVING:
            self._is_setting_up = False
            self._deadline = math.inf

    def _come_due(self, now: Now, steps: list[Any]) -> None:
        self._deadline = math.inf
        what = "SetupConnection" if self._session.phase is ServingPhase.AWAIT_SETUP else "CoinbaseOutputConstraints"
        self._end(f"no {what} within {SETUP_DEADLINE_S:.0f} s")
