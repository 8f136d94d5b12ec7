"""A machine's first calls: its subscribe and authorize wait for a channel, and the channel waits for a name.

The answer to a subscribe is the channel's extranonce, and the upstream has the last word on the first worker's name. So
both wait until the channel is open, or its name is refused.
"""

from __future__ import annotations

import math

from warppool.events import Happened
from warppool.mining.share import Reject
from warppool.sv1.answers import Answers, Step, Ticket
from warppool.sv1.messages import accepted, error, refusal, result
from warppool.translate.channel import UpstreamChannel
from warppool.translate.jobs import MachineJobs
from warppool.translate.naming import REFUSALS

UNNAMED_S = 0.25
"""How long after its subscribe a machine may say its name; then it waits for our answer, as cpuminer does."""


class SetupCalls:
    """Owned by one machine's session, whose answers leave by `answers`; times are monotonic seconds."""

    __slots__ = ("_answers", "_calls", "_is_refused", "_subscribed_at", "has_opened", "is_welcome")

    def __init__(self, answers: Answers) -> None:
        self.is_welcome = False                     # a worker was told that it may mine
        self.has_opened = False                     # the machine has had a channel
        self._answers = answers
        self._calls: list[tuple[Ticket, str | None]] = []       # with the name of each authorize; None is a subscribe
        self._subscribed_at = math.inf              # the first subscribe that waits
        self._is_refused = False                    # the upstream did not take a name: the machine is to say another

    @property
    def has_calls(self) -> bool:
        """Whether a call waits."""
        return bool(self._calls)

    def subscribe(self, request_id: bytes, now: float) -> None:
        """A subscribe waits from `now` on."""
        self._subscribed_at = min(self._subscribed_at, now)
        self._hold(request_id, None)

    def authorize(self, request_id: bytes, name: str) -> None:
        """An authorize waits."""
        self._hold(request_id, name)

    def _hold(self, request_id: bytes, name: str | None) -> None:
        ticket = Ticket(request_id)
        self._answers.hold(ticket)
        self._calls.append((ticket, name))

    def may_open_at(self, user: str | None) -> float:
        """When the channel may be asked for: at once under a name, else when the machine is waiting for us."""
        if user is not None:
            return -math.inf
        return math.inf if self._is_refused else self._subscribed_at + UNNAMED_S

    def grant(self, channel: UpstreamChannel, jobs: MachineJobs, session_id: bytes, *, has_name: bool) -> None:
        """Answer with session and search space of `channel`, and with its difficulty where the machine has a name.

        The answers leave with the next step of the session's answers.
        """
        self.has_opened = True
        for ticket, name in self._calls:
            if name is not None:
                ticket.line = accepted(ticket.request_id)
                self.is_welcome = True
                continue
            jobs.tell_extranonce(channel)
            lines = [jobs.subscription(ticket.request_id, session_id)]
            if has_name:
                lines += jobs.difficulty(channel.target)
            ticket.line = b"".join(lines)
        self._calls.clear()

    def refuse(self, code: str) -> None:
        """The upstream does not know the name, as it says by `code`: the machine is told, and may try another."""
        self._is_refused = True
        self._subscribed_at = math.inf
        for ticket, name in self._calls:
            ticket.line = (error(ticket.request_id, Reject.UNAUTHORIZED.v1_code, Reject.UNAUTHORIZED.v1_words)
                           if name is None else refusal(ticket.request_id, *REFUSALS[code]) if code in REFUSALS
                           else result(ticket.request_id, False))
        self._calls.clear()

    def welcome(self, conn_id: int, channel: UpstreamChannel | None, name: str, agent: str) -> list[Step]:
        """A worker is let in while the machine has `channel`; the first one names a machine that had no name so far."""
        was_welcome, self.is_welcome = self.is_welcome, True
        if was_welcome or channel is None:
            return []
        return [Happened(conn_id, "info", "miner.named", (
            ("upstream", channel.uplink.upstream.config.name), ("channel", channel.channel_id), ("user", name),
            ("kind", "v1"), ("agent", agent)))]

    def drop(self) -> None:
        """Nobody is there for the answers."""
        self._calls.clear()
