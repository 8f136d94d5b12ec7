"""How far one connection has come, and whether the pool behind it is alive: when it was last heard, and whether a
question of ours ended it.
"""

from __future__ import annotations

import math
from enum import Enum, auto

from warppool.translate.channel import UpstreamChannel
from warppool.translate.context import Times

SETUP_S = 10.0
"""From the connection to a SetupConnection.Success, handshake included; the pool's own deadline for us."""


class UplinkPhase(Enum):
    """How far a connection has come."""

    DIALLED = auto()
    SETTING_UP = auto()         # it stands, and the pool has to accept it
    UP = auto()
    LEAVING = auto()            # the pool asked to connect anew: the end of the connection is no failure
    OVER = auto()


class Liveness:
    """Owned by one connection to an upstream; all times are monotonic seconds."""

    __slots__ = ("asked_at_message", "checks_at", "heard_at", "keeps_alive", "messages", "opened_at", "probed_at",
                 "set_up_by")

    def __init__(self, *, keeps_alive: bool) -> None:
        self.keeps_alive = keeps_alive              # such a pool never has nothing to say for long
        self.probed_at = -math.inf                  # when a probe was asked for, whose outcome is awaited
        self.opened_at = -math.inf                  # when the connection stood
        self.set_up_by = math.inf
        self.heard_at = -math.inf                   # when the pool's last whole message came, or it took a probe
        self.messages = 0                           # whole messages of the pool
        self.asked_at_message = 0                   # `messages` when it was asked for extensions; 0: it was not
        self.checks_at = math.inf                   # when to look for a better upstream

    def opened(self, now: float) -> None:
        """The connection stands: the pool has to set it up in time."""
        self.opened_at = self.heard_at = now
        self.set_up_by = now + SETUP_S

    def is_set_up(self, now: float) -> None:
        """The pool has set the connection up."""
        self.set_up_by = math.inf
        self.heard_at = now

    @property
    def is_question_open(self) -> bool:
        """The pool has said nothing since it was asked for extensions."""
        return self.asked_at_message != 0 and self.messages == self.asked_at_message

    def silent_at(self, times: Times) -> float:
        """When the silence has lasted too long: the pool is dead, or if it need not speak, is to be probed.

        Where nobody tells the outcome of a probe, another one follows.
        """
        return max(self.heard_at, self.probed_at) + times.silence_s

    def due(self, times: Times, retired: dict[UpstreamChannel, None], *, has_channels: bool) -> float:
        """The next deadline, `inf` for none. Without a channel the pool has nothing to say, and may be silent."""
        due = min(self.set_up_by, self.checks_at)
        if has_channels:
            due = min(due, self.silent_at(times))
        for channel in retired:
            due = min(due, channel.sent.first_sent_at + times.verdict_timeout_s)
        return due
