"""The way of one machine to an upstream: the channel that it mines on, the next one, and when to seek which.

A route never looks after the machine itself: what the machine has to be told is the session's. The phase says how the
machine stands, `_TABLE` which change is possible in which phase and where it leads. A change that the table lacks is a
mistake of ours, except where the caller asks `may` before.

    SEEKING     no channel, and none is being opened: an upstream is wanted
    OPENING     no channel, and the next one is being opened
    MINING      the machine has its channel
    MOVING      it has, and the channel is to be replaced: another upstream is wanted
    SWITCHING   it has, and the channel that is to replace it is being opened
    LEAVING     the machine cannot go on as it is: it gets its answers and is closed, so that it connects anew
    CLOSED      the machine is gone
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Protocol

from warppool.errors import LocalProtocolError
from warppool.events import Event, Now
from warppool.translate.channel import ChannelOwner, Stage, UpstreamChannel
from warppool.translate.failover import Failover, Waiting
from warppool.translate.upstream import Health, Upstream
from warppool.translate.wish import Wish

OPEN_S = 10.0
"""How long an upstream may take to open a channel."""


class RoutePhase(Enum):
    """How a machine stands; the head of this module says what each means."""

    SEEKING = auto()
    OPENING = auto()
    MINING = auto()
    MOVING = auto()
    SWITCHING = auto()
    LEAVING = auto()
    CLOSED = auto()


class RouteChange(Enum):
    """What can happen to a route."""

    OPEN = auto()           # the next channel is being opened
    MINE = auto()           # the next channel takes the place of the current one, if there is one
    GIVE_UP = auto()        # the next channel is no more
    LOSE = auto()           # the current channel is no more
    MOVE = auto()           # the current channel is to be replaced
    STAY = auto()           # ... after all not
    LEAVE = auto()          # the machine must connect anew
    CLOSE = auto()          # the machine is gone


_P, _C = RoutePhase, RouteChange
_TABLE: Mapping[tuple[RoutePhase, RouteChange], RoutePhase] = MappingProxyType({
    (_P.SEEKING, _C.OPEN): _P.OPENING,
    (_P.SEEKING, _C.CLOSE): _P.CLOSED,
    (_P.OPENING, _C.MINE): _P.MINING,
    (_P.OPENING, _C.GIVE_UP): _P.SEEKING,
    (_P.OPENING, _C.LEAVE): _P.LEAVING,
    (_P.OPENING, _C.CLOSE): _P.CLOSED,
    (_P.MINING, _C.LOSE): _P.SEEKING,
    (_P.MINING, _C.MOVE): _P.MOVING,
    (_P.MINING, _C.LEAVE): _P.LEAVING,
    (_P.MINING, _C.CLOSE): _P.CLOSED,
    (_P.MOVING, _C.OPEN): _P.SWITCHING,
    (_P.MOVING, _C.LOSE): _P.SEEKING,
    (_P.MOVING, _C.STAY): _P.MINING,
    (_P.MOVING, _C.LEAVE): _P.LEAVING,
    (_P.MOVING, _C.CLOSE): _P.CLOSED,
    (_P.SWITCHING, _C.MINE): _P.MINING,
    (_P.SWITCHING, _C.GIVE_UP): _P.MOVING,
    (_P.SWITCHING, _C.LOSE): _P.OPENING,
    (_P.SWITCHING, _C.LEAVE): _P.LEAVING,
    (_P.SWITCHING, _C.CLOSE): _P.CLOSED,
    (_P.LEAVING, _C.LOSE): _P.LEAVING,
    (_P.LEAVING, _C.CLOSE): _P.CLOSED,
})

SEEKS = frozenset({RoutePhase.SEEKING, RoutePhase.MOVING})
"""The phases in which an upstream is wanted."""


class RouteOwner(ChannelOwner, Waiting, Protocol):
    """The machine of a route."""


class Route:
    """Owned by one machine's session; all times are monotonic seconds."""

    __slots__ = ("_failures", "_owner", "_ready_at", "_shunned", "_shunned_until", "current", "failover", "leave_by",
                 "leave_why", "lost_at", "next", "next_by", "phase", "seek_at")

    def __init__(self, owner: RouteOwner, failover: Failover, now: float) -> None:
        self.phase = RoutePhase.SEEKING
        self.current: UpstreamChannel | None = None         # that the machine mines on
        self.next: UpstreamChannel | None = None            # that is being opened
        self.next_by = math.inf                     # ... by when it is to be open, or to have work
        self.seek_at = -math.inf                    # when to look for an upstream, where one is wanted
        self.lost_at = now                          # since when there is no channel, by our fault or the upstream's
        self.leave_by = math.inf                    # when the machine is closed at the latest, because it must leave
        self.leave_why = ""
        self._owner = owner
        self.failover = failover
        self._ready_at = now                        # since when the next channel could be asked for
        self._failures = 0                          # of upstreams that are up for others, since the last work
        self._shunned: Upstream | None = None       # it refused this machine's channel, or failed it
        self._shunned_until = -math.inf

    # -- phase ---------------------------------------------------------------------------------------------------

    def may(self, change: RouteChange) -> bool:
        """The change is possible now."""
        return (self.phase, change) in _TABLE

    def _pass(self, change: RouteChange) -> None:
        following = _TABLE.get((self.phase, change))
        if following is None:
            raise LocalProtocolError(f"a route cannot {change.name} in phase {self.phase.name}")
        self.phase = following

    @property
    def is_leaving(self) -> bool:
        """The machine is to be closed as soon as it has its answers."""
        return self.phase is RoutePhase.LEAVING

    @property
    def waits_for_name(self) -> bool:
        """The next channel could be asked for, did the machine say its name, or that it waits."""
        channel = self.next
        return channel is not None and channel.stage is Stage.JOINED and channel.uplink.is_up

    def due(self, may_ask_at: float) -> float:
        """The next deadline; from `may_ask_at` on the next channel may be asked for."""
        if self.waits_for_name:
            return may_ask_at
        due = self.lost_at + self.failover.times.grace_s if self.current is None else math.inf
        if self.next is not None:
            return min(due, self.next_by)
        return min(due, self.seek_at) if self.phase in SEEKS else due

    def is_grace_over(self, now: float) -> bool:
        """There has been no channel for so long that the machine is better off with the next pool of its own list."""
        return (self.current is None and not self.waits_for_name
                and now >= self.lost_at + self.failover.times.grace_s)

    # -- to an upstream ------------------------------------------------------------------------------------------

    def seek(self, now: Now) -> list[Event]:
        """Begin the next channel, if one is wanted and an upstream is there, or is to be tried."""
        if self.phase not in SEEKS or now.monotonic < self.seek_at:
            return []
        failover, current = self.failover, self.current
        upstream = self._choose(now.monotonic)
        if upstream is None:
            failover.wait(self._owner)
            self.seek_at = failover.next_try()
            return []
        failover.stop_waiting(self._owner)
        if current is not None and current.uplink.upstream is upstream and not current.uplink.is_leaving:
            self._pass(RouteChange.STAY)                 # the better one is gone again
            return []
        uplink, events = failover.connect(upstream, self._owner.conn_id)
        self._pass(RouteChange.OPEN)
        self.next = UpstreamChannel(self._owner, uplink)
        self.next_by = math.inf                     # the connection has deadlines of its own until it is set up
        uplink.join(self.next)
        self._ready_at = now.monotonic
        return events

    def _choose(self, now: float) -> Upstream | None:
        """The upstream to use or to try now; None where all there is to do is to wait."""
        if now >= self._shunned_until:
            self._shunned = None
        return self.failover.choose(now, self._shunned)

    def is_ready(self, now: Now) -> None:
        """The next channel can be asked for from now on."""
        self._ready_at = now.monotonic

    def ask(self, identity: str, wish: Wish, now: Now, *, is_named: bool) -> Event:
        """Ask for the next channel, which waited for the machine's name until now."""
        assert self.next is not None
        self.next_by = now.monotonic + OPEN_S
        self.lost_at += now.monotonic - self._ready_at          # the machine let us wait so long
        return self.next.ask(identity, wish, is_named=is_named)

    def is_granted(self, now: Now) -> bool:
        """The next channel is open; True if the machine mines on it from now on.

        Where there is a current one, that is replaced when the first work comes.
        """
        self.next_by = now.monotonic + self.failover.times.silence_s
        if self.current is not None:
            return False
        self.mine()
        return True

    def mine(self) -> UpstreamChannel | None:
        """The next channel is the current one from now on; the one that it replaces is to be retired."""
        self._pass(RouteChange.MINE)
        before, self.current, self.next = self.current, self.next, None
        self.next_by = math.inf
        return before

    def has_worked(self) -> None:
        """The machine got work: what went wrong before is over."""
        self._failures = 0

    # -- and away from it ----------------------------------------------------------------------------------------

    def await_name(self, now: Now) -> None:
        """The upstream refused the name of the next channel: the machine may say another."""
        assert self.next is not None
        self.next.await_name()
        self.next_by = math.inf
        self._ready_at = now.monotonic

    def give_up(self, now: Now, *, is_shunned: bool) -> None:
        """The next channel is no more: seek another, or stay on the current one."""
        channel, current = self._drop_next(), self.current
        if current is not None and not current.uplink.is_leaving:
            self._pass(RouteChange.STAY)                 # the better one was not as good as it looked
        self._seek_again(channel, now, is_shunned=is_shunned)

    def _drop_next(self) -> UpstreamChannel:
        channel = self.next
        assert channel is not None
        self._pass(RouteChange.GIVE_UP)
        self.next = None
        self.next_by = math.inf
        return channel

    def lose(self, now: Now) -> None:
        """The current channel is no more."""
        channel = self.current
        assert channel is not None
        self._pass(RouteChange.LOSE)
        self.current = None
        self.lost_at = now.monotonic
        if self.next is None:
            self._seek_again(channel, now, is_shunned=channel.uplink.is_unfit)

    def _seek_again(self, channel: UpstreamChannel, now: Now, *, is_shunned: bool) -> None:
        """At once, or later each time where the upstream is up for others, so that nothing else holds us back."""
        upstream = channel.uplink.upstream
        self.seek_at = now.monotonic
        if upstream.health is Health.UP:
            self.seek_at += self.failover.backoff(self._failures)
            self._failures += 1
        if is_shunned:
            self._shunned = upstream
            self._shunned_until = now.monotonic + self.failover.times.return_after_s

    def leave_next(self, now: Now) -> list[Event]:
        """The upstream of the next channel wants to be connected anew: seek again, at once."""
        return [*self._retire(self._drop_next(), now), *self.seek(now)]

    def has_better(self, now: Now) -> bool:
        """The current channel is to be left where its connection is leaving, or where a better upstream takes us."""
        assert self.current is not None
        uplink = self.current.uplink
        if uplink.is_leaving:
            return True
        better = self._choose(now.monotonic)        # not one that has refused this machine
        return better is not None and better.rank < uplink.upstream.rank

    def move(self, now: Now) -> list[Event]:
        """Replace the current channel."""
        self._pass(RouteChange.MOVE)
        self.seek_at = now.monotonic
        return self.seek(now)

    def leave(self, reason: str, now: Now) -> list[Event]:
        """The machine cannot go on as it is: it is closed when it has its answers, so that it connects anew."""
        if not self.may(RouteChange.LEAVE):
            return []
        self._pass(RouteChange.LEAVE)
        self.leave_by = now.monotonic + self.failover.times.verdict_timeout_s
        self.leave_why = reason
        self.failover.stop_waiting(self._owner)
        channel, self.next = self.next, None
        return self._retire(channel, now)

    def close(self, now: Now) -> list[Event]:
        """The machine is gone: its channels go too, as soon as their last shares are answered or given up."""
        if not self.may(RouteChange.CLOSE):
            return []
        self._pass(RouteChange.CLOSE)
        self.failover.stop_waiting(self._owner)
        current, following = self.current, self.next
        self.current = self.next = None
        return [*self._retire(current, now), *self._retire(following, now)]

    def _retire(self, channel: UpstreamChannel | None, now: Now) -> list[Event]:
        return [] if channel is None else channel.uplink.retire(channel, now)
