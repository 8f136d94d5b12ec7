"""Failover of one worker: which upstream is to be used now, which is to be tried when, and which has come back.

An upstream that failed is tried again by one machine at a time, later each time; the others wait for the outcome. While
machines are on a lower one, the health of the better ones is checked: a handshake and a set-up, and that is all. One
that has passed every check for `return_after_s` is used again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from warppool.events import Dial, Event, Happened, Now, Nudge
from warppool.translate.context import TranslatorContext
from warppool.translate.uplink import Uplink
from warppool.translate.upstream import Health, Upstream, UpstreamConfig

FIRST_BACKOFF_S = 1.0

WRONG_KEY_RETRY_S = 600.0
"""Until an upstream that proved another key is asked for its key again. It sees no name and no work before it has
proved the right one, so asking harms nobody, and a misled name server must not bar it for good."""

UNFIT_S = 60.0
"""How long an upstream is down that has failed its machines, however well it answers: they shall try the others, or the
next pool in their own list."""

RECONNECT_EVERY_S = 10.0
"""The least age of a connection that the pool may ask to be made anew."""


class Waiting(Protocol):
    """A machine that waits for an upstream."""

    conn_id: int

    def seek_again(self, now: Now) -> None:
        """Something has changed; a nudge follows."""


class Failover:
    """Owned by one worker; all connections to upstreams are made here."""

    __slots__ = ("_shared", "_trials", "_uplinks", "_waiting", "all", "context", "times")

    def __init__(self, context: TranslatorContext) -> None:
        self.context = context                          # for machines to come
        self.times = context.times                      # for all
        self.all = tuple(Upstream(config, rank) for rank, config in enumerate(_ordered(context.upstreams)))
        self._uplinks: dict[Uplink, None] = {}          # all connections but health checks, until they are over
        self._trials: dict[Upstream, Uplink] = {}       # the one connection that finds out whether it is up
        self._shared: dict[Upstream, Uplink] = {}       # mode `channels`: the connection for all machines
        self._waiting: dict[int, Waiting] = {}

    @property
    def is_idle(self) -> bool:
        """Any thread: whether no machine is on an upstream, or waits for one."""
        return not self._waiting and not any(upstream.alive for upstream in self.all)

    @property
    def check_every_s(self) -> float:
        """Seconds between two looks for a better upstream, and between two checks of one that is away."""
        return max(FIRST_BACKOFF_S / 10, min(self.times.backoff_max_s, self.times.return_after_s / 4))

    # -- for machines --------------------------------------------------------------------------------------------

    def choose(self, now: float, shunned: Upstream | None = None) -> Upstream | None:
        """The upstream to use or to try now; None when all there is to do is to wait.

        `shunned` is one that has refused this machine: it is taken only where no other can be.
        """
        others = [upstream for upstream in self.all if upstream is not shunned]
        for health in (Health.UP, Health.ANSWERING):
            for upstream in others:
                if upstream.health is health:
                    return upstream
        for upstream in others:
            if upstream not in self._trials and now >= upstream.retry_at:
                return upstream
        return self.choose(now) if shunned is not None else None

    def next_try(self) -> float:
        """When an upstream that failed may be tried again; `inf` while that is under way, and its outcome nudges."""
        return min((upstream.retry_at for upstream in self.all if upstream not in self._trials), default=math.inf)

    def wait(self, machine: Waiting) -> None:
        """`machine` is nudged as soon as an upstream comes up or fails."""
        self._waiting[machine.conn_id] = machine

    def stop_waiting(self, machine: Waiting) -> None:
        """It has an upstream, or is gone."""
        self._waiting.pop(machine.conn_id, None)

    def connect(self, upstream: Upstream, conn_id: int) -> tuple[Uplink, list[Event]]:
        """The connection for machine `conn_id`: its own, or that of all."""
        shared = self._shared.get(upstream)
        if shared is not None:
            return shared, []
        uplink = Uplink(upstream, self.context, self)
        self._uplinks[uplink] = None
        if self.context.mode == "channels":
            self._shared[upstream] = uplink
        if upstream.health is Health.ANSWERING:
            upstream.health = Health.UP                 # there is no other; it will do
        elif upstream.health is not Health.UP:
            self._trials[upstream] = uplink
        return uplink, [Dial(conn_id, upstream.host, upstream.port, uplink)]

    def backoff(self, failures: int) -> float:
        """Seconds to wait after so many failures: doubling, and spread so that not all come at once."""
        longest = self.times.backoff_max_s
        spread = 0.75 + int.from_bytes(self.context.random_bytes(2), "big") / 131_072
        return min(longest, FIRST_BACKOFF_S * (1 << min(failures, 20))) * spread

    # -- for connections to upstreams (uplink.UplinkOwner) -------------------------------------------------------

    def is_set_up(self, uplink: Uplink, now: Now) -> list[Event]:
        """A connection is set up: the upstream is up, unless it went down since that was dialled.

        In that case one machine's set-up would call the next, and its failure the one before, without any pause.
        """
        upstream = uplink.upstream
        was_trial = self._free(uplink)
        if uplink.is_check:
            return self._has_passed(uplink, now)
        upstream.alive += 1
        return [] if upstream.health is Health.DOWN and not was_trial else self._is_up(uplink, now)

    def has_worked(self, uplink: Uplink, now: Now) -> list[Event]:
        """A connection gave work: what went wrong before is over."""
        uplink.upstream.failures = 0
        return self._is_up(uplink, now)

    def _is_up(self, uplink: Uplink, now: Now) -> list[Event]:
        upstream = uplink.upstream
        if upstream.health is Health.UP or now.monotonic < upstream.unfit_until:
            return []
        upstream.health = Health.UP
        return [upstream.say(uplink.conn_id, "info", "upstream.up", now), *self._nudge(now)]

    def has_failed(self, uplink: Uplink, now: Now, *, is_wrong_key: bool = False) -> list[Event]:
        """A connection could not be made, or broke. The upstream is down if it has no other one, or was unfit."""
        upstream = uplink.upstream
        was_trial = self._leave(uplink)
        if uplink.is_check and upstream.health is Health.UP:
            events = self._tell_probed(upstream, now, is_alive=False)
            if events:
                return events
        if not uplink.is_up:                        # where it asked us to move, perhaps
            upstream.host, upstream.port = upstream.config.host, upstream.config.port
        if uplink.is_unfit:
            upstream.unfit_until = now.monotonic + UNFIT_S
        elif upstream.alive and upstream.health is Health.UP:
            return []
        if upstream.health is not Health.DOWN or was_trial or uplink.is_unfit:
            pause_s = (WRONG_KEY_RETRY_S if is_wrong_key else UNFIT_S if uplink.is_unfit
                       else self.backoff(upstream.failures))
            upstream.retry_at = now.monotonic + pause_s
            upstream.failures += 1
        upstream.health = Health.DOWN
        upstream.healthy_since = None
        return self._nudge(now)

    def probe(self, uplink: Uplink, now: Now) -> list[Event]:
        """An upstream is silent on a connection, as one may be that is well: see whether it takes another.

        All its silent connections hear of the outcome.
        """
        upstream = uplink.upstream
        if upstream in self._trials:
            return []
        check = self._trials[upstream] = Uplink(upstream, self.context, self, is_check=True)
        return [Dial(uplink.conn_id, upstream.host, upstream.port, check)]

    def _tell_probed(self, upstream: Upstream, now: Now, *, is_alive: bool) -> list[Event]:
        return [event for uplink in list(self._uplinks) if uplink.upstream is upstream
                for event in uplink.probed(now, is_alive=is_alive)]

    def has_left(self, uplink: Uplink, now: Now) -> list[Event]:
        """A connection is no longer needed, which says nothing about the upstream."""
        return self._nudge(now) if self._leave(uplink) else []

    def asks_to_move(self, uplink: Uplink, host: str, port: int, age_s: float) -> bool:
        """The upstream wants us elsewhere (an empty host: on a new connection), `age_s` after `uplink` was made.

        False where that is too soon. Wherever it is, it must prove the same key.
        """
        if age_s < RECONNECT_EVERY_S:
            return False
        upstream = uplink.upstream
        upstream.host, upstream.port = host or upstream.host, port or upstream.port
        self._unshare(uplink)
        return True

    def _leave(self, uplink: Uplink) -> bool:
        """The connection is over; True if it was to find out whether its upstream is up."""
        was_trial = self._free(uplink)
        self._uplinks.pop(uplink, None)
        if uplink.is_up and not uplink.is_check:
            uplink.upstream.alive -= 1
        self._unshare(uplink)
        return was_trial

    def _unshare(self, uplink: Uplink) -> None:
        """Machines to come get a connection of their own, or a new one for all."""
        if self._shared.get(uplink.upstream) is uplink:
            del self._shared[uplink.upstream]

    def _free(self, uplink: Uplink) -> bool:
        """What the connection was to find out is known; True if it was to find out anything."""
        was_trial = self._trials.get(uplink.upstream) is uplink
        if was_trial:
            del self._trials[uplink.upstream]
        return was_trial

    def _nudge(self, now: Now) -> list[Event]:
        """Something has changed for those who wait."""
        waiting, self._waiting = self._waiting, {}
        for machine in waiting.values():
            machine.seek_again(now)
        return [Nudge(conn_id) for conn_id in waiting]

    # -- another configuration -----------------------------------------------------------------------------------

    def reconfigure(self, context: TranslatorContext, now: Now) -> list[Event]:
        """Take over other upstreams and times; mode, counters, buffer and names stay as they are.

        An upstream is known by its address and key. From one that is no longer named, machines move that can take
        another extranonce; the others stay on it, since to move them is to close them.
        """
        known = {_place_of(upstream.config): upstream for upstream in self.all}
        self.times = context.times
        self.context = replace(context, mode=self.context.mode, counters=self.context.counters,
                               buffer=self.context.buffer, names=self.context.names)
        upstreams = []
        for rank, config in enumerate(_ordered(context.upstreams)):
            upstream = known.pop(_place_of(config), None) or Upstream(config, rank)
            upstream.config, upstream.rank = config, rank
            upstreams.append(upstream)
        self.all = tuple(upstreams)
        events = self._nudge(now)
        for uplink in list(self._uplinks):
            if uplink.upstream in self.all:
                events += uplink.check_soon(now)
            else:
                events += uplink.withdraw(now)
        return events

    # -- the way back --------------------------------------------------------------------------------------------

    def find_better(self, uplink: Uplink, now: Now) -> tuple[bool, list[Event]]:
        """Whether a better upstream is up, so that the machines on `uplink` shall go there.

        Where none is, the health of those that are better is checked, as far as it is time for that.
        """
        better = self.all[:uplink.upstream.rank]
        if any(upstream.health is Health.UP for upstream in better):
            return True, []
        events: list[Event] = []
        for upstream in better:
            if upstream not in self._trials and now.monotonic >= upstream.retry_at:
                check = self._trials[upstream] = Uplink(upstream, self.context, self, is_check=True)
                events.append(Dial(uplink.conn_id, upstream.host, upstream.port, check))
        return False, events

    def _has_passed(self, uplink: Uplink, now: Now) -> list[Event]:
        """A health check: well for long enough, the upstream is used again."""
        upstream = uplink.upstream
        upstream.retry_at = now.monotonic + self.check_every_s
        if upstream.healthy_since is None:
            upstream.healthy_since = now.monotonic
        if upstream.health is Health.UP:
            return self._tell_probed(upstream, now, is_alive=True)
        healthy_s = now.monotonic - upstream.healthy_since
        if healthy_s < self.times.return_after_s:
            upstream.health = Health.ANSWERING
            return self._nudge(now)
        upstream.health = Health.UP
        return [Happened(uplink.conn_id, "info", "upstream.returned", (
            ("upstream", upstream.config.name), ("healthy_s", int(healthy_s)))), *self._nudge(now)]


def _ordered(configs: Iterable[UpstreamConfig]) -> list[UpstreamConfig]:
    """In the order of preference: as the operator wrote them, and those for need alone behind the others."""
    return sorted(configs, key=lambda config: config.fallback_only)


def _place_of(config: UpstreamConfig) -> tuple[str, int, bytes]:
    return config.host, config.port, config.pin
