"""The upstreams of one worker: which is to be used now, which is to be tried when, and which has come back.

An upstream that failed is tried again by one machine at a time, later each time; the others wait for the outcome. While
machines are on a lower one, the better ones are probed: a handshake and a set-up, and that is all. One that has
answered every probe for `return_after_s` is used again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from warppool.events import Dial, Event, Happened, Now, Nudge
from warppool.translate.hush import Hush
from warppool.translate.pace import Pace
from warppool.translate.promptness import Promptness
from warppool.translate.standing import Standing
from warppool.translate.uplink import Uplink

if TYPE_CHECKING:
    from warppool.translate.context import TranslatorContext

FIRST_BACKOFF_S = 1.0

WRONG_KEY_RETRY_S = 600.0
"""Until an upstream that proved another key is asked for its key again. It sees no name and no work before it has
proved the right one, so asking harms nobody, and a misled name server must not bar it for good."""

UNFIT_S = 60.0
"""How long an upstream is down that has failed its machines, however well it answers: they shall try the others, or the
next pool in their own list."""

EXTRANONCES_AT_ONCE, EXTRANONCE_EVERY_S = 16, 60.0
"""Changes of extranonce for each machine that mines on an upstream, and how fast more may come. Most machines must
connect anew for each, so a pool that makes many is not mined on."""

RECONNECT_EVERY_S = 10.0
"""The least age of a connection that the pool may ask to be made anew."""


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """One `[[upstream]]`: `public_key` is the pool's static key, `user_identity` the name of machines that must have
    work before they say theirs, and one that is `fallback_only` is used while none of the others is up.
    """

    name: str
    host: str
    port: int
    public_key: bytes
    user_identity: str
    fallback_only: bool = False


class Upstream:
    """One upstream as this worker sees it; `rank` 0 is the best. All times are monotonic seconds."""

    __slots__ = ("_extranonces", "alive", "config", "failures", "healthy_since", "host", "hush", "network_target",
                 "plain_until", "port", "promptness", "rank", "retry_at", "shared", "standing", "trial", "unfit_until")

    def __init__(self, config: UpstreamConfig, rank: int) -> None:
        self.config = config
        self.rank = rank
        self.host, self.port = config.host, config.port     # or where it asked us to move
        self.standing = Standing.UNKNOWN
        self.alive = 0                              # connections that are set up
        self.failures = 0                           # since it last gave work
        self.retry_at = -math.inf
        self.unfit_until = -math.inf
        self.plain_until = -math.inf                # it is asked for no extensions
        self.network_target = 1                     # of its last job; 1 while that is unknown
        self.promptness = Promptness()
        self.hush = Hush()
        self._extranonces = Pace(EXTRANONCES_AT_ONCE, EXTRANONCE_EVERY_S)
        self.healthy_since: float | None = None     # while it answers probes
        self.trial: Uplink | None = None            # the one connection that finds out
        self.shared: Uplink | None = None           # mode `channels`: the connection for all machines


    def changes_extranonce(self, now: float, channels: int) -> bool:
        """One of its channels has another extranonce, on a connection with so many; False if that is too often."""
        return self._extranonces.take(now, max(1, channels, self.alive))


class Waiting(Protocol):
    """A connection that waits for an upstream."""

    conn_id: int

    def seek_again(self, now: Now) -> None:
        """Something has changed; a nudge follows."""


class Upstreams:
    """Owned by one worker."""

    def __init__(self, context: TranslatorContext) -> None:
        self._context = context
        times = context.times
        ordered = sorted(context.upstreams, key=lambda config: config.fallback_only)       # keeps their order
        self.all = tuple(Upstream(config, rank) for rank, config in enumerate(ordered))
        self.probe_every_s = max(FIRST_BACKOFF_S / 10, min(times.backoff_max_s, times.return_after_s / 4))
        self._waiting: dict[int, Waiting] = {}

    # -- for machines --------------------------------------------------------------------------------------------

    def choose(self, now: float, shunned: Upstream | None = None) -> Upstream | None:
        """The upstream to use or to try now; None when all there is to do is to wait.

        `shunned` is one that has refused this machine: it is taken only where no other can be.
        """
        others = [upstream for upstream in self.all if upstream is not shunned]
        for standing in (Standing.UP, Standing.ANSWERING):
            for upstream in others:
                if upstream.standing is standing:
                    return upstream
        for upstream in others:
            if upstream.trial is None and now >= upstream.retry_at:
                return upstream
        return self.choose(now) if shunned is not None else None

    def next_try(self) -> float:
        """When an upstream that failed may be tried again; `inf` while that is under way, and its outcome nudges."""
        return min((upstream.retry_at for upstream in self.all if upstream.trial is None), default=math.inf)

    def wait(self, machine: Waiting) -> None:
        """`machine` is nudged as soon as an upstream comes up or fails."""
        self._waiting[machine.conn_id] = machine

    def stop_waiting(self, machine: Waiting) -> None:
        """It has an upstream, or is gone."""
        self._waiting.pop(machine.conn_id, None)

    def connect(self, upstream: Upstream, conn_id: int) -> tuple[Uplink, list[Event]]:
        """The connection for machine `conn_id`: its own, or that of all."""
        if upstream.shared is not None:
            return upstream.shared, []
        uplink = Uplink(upstream, self._context)
        if self._context.mode == "channels":
            upstream.shared = uplink
        if upstream.standing is Standing.ANSWERING:
            upstream.standing = Standing.UP             # there is no other; it will do
        elif upstream.standing is not Standing.UP:
            upstream.trial = uplink
        return uplink, [Dial(conn_id, upstream.host, upstream.port, uplink)]

    def backoff(self, failures: int) -> float:
        """Seconds to wait after so many failures: doubling, and spread so that not all come at once."""
        longest = self._context.times.backoff_max_s
        spread = 0.75 + int.from_bytes(self._context.random_bytes(2), "big") / 131_072
        return min(longest, FIRST_BACKOFF_S * 2 ** min(failures, 20)) * spread

    # -- for connections to upstreams ----------------------------------------------------------------------------

    def is_set_up(self, uplink: Uplink, now: Now) -> list[Event]:
        """A connection is set up: the upstream is up, unless it went down since that was dialled.

        In that case one machine's set-up would call the next, and its failure the one before, without any pause.
        """
        upstream = uplink.upstream
        was_trial = upstream.trial is uplink
        self._free(uplink)
        upstream.alive += 1
        return [] if upstream.standing is Standing.DOWN and not was_trial else self._is_up(uplink, now)

    def has_worked(self, uplink: Uplink, now: Now) -> list[Event]:
        """A connection gave work: what went wrong before is over."""
        uplink.upstream.failures = 0
        return self._is_up(uplink, now)

    def _is_up(self, uplink: Uplink, now: Now) -> list[Event]:
        upstream = uplink.upstream
        if upstream.standing is Standing.UP or now.monotonic < upstream.unfit_until:
            return []
        upstream.standing = Standing.UP
        return [upstream.hush.say(uplink.conn_id, "info", "upstream.up", (("upstream", upstream.config.name),), now),
                *self._nudge(now)]

    def has_failed(self, uplink: Uplink, now: Now, *, is_wrong_key: bool = False,
                   is_unfit: bool = False) -> list[Event]:
        """A connection could not be made, or broke. The upstream is down if it has no other one, or `is_unfit`."""
        upstream = uplink.upstream
        was_trial = upstream.trial is uplink
        self._leave(uplink)
        if not uplink.is_up:                        # where it asked us to move, perhaps
            upstream.host, upstream.port = upstream.config.host, upstream.config.port
        if is_unfit:
            upstream.unfit_until = now.monotonic + UNFIT_S
        elif upstream.alive and upstream.standing is Standing.UP:
            return []
        if upstream.standing is not Standing.DOWN or was_trial or is_unfit:
            pause_s = WRONG_KEY_RETRY_S if is_wrong_key else UNFIT_S if is_unfit else self.backoff(upstream.failures)
            upstream.retry_at = now.monotonic + pause_s
            upstream.failures += 1
        upstream.standing = Standing.DOWN
        upstream.healthy_since = None
        return self._nudge(now)

    def has_left(self, uplink: Uplink, now: Now) -> list[Event]:
        """A connection is no longer needed, which says nothing about the upstream."""
        was_trial = uplink.upstream.trial is uplink
        self._leave(uplink)
        return self._nudge(now) if was_trial else []

    def asks_to_move(self, uplink: Uplink, host: str, port: int, age_s: float) -> bool:
        """The upstream wants us elsewhere (an empty host: on a new connection), `age_s` after `uplink` was made.

        False where that is too soon. Wherever it is, it must prove the same key.
        """
        if age_s < RECONNECT_EVERY_S:
            return False
        upstream = uplink.upstream
        upstream.host, upstream.port = host or upstream.host, port or upstream.port
        if upstream.shared is uplink:
            upstream.shared = None
        return True

    def _leave(self, uplink: Uplink) -> None:
        self._free(uplink)
        if uplink.is_up and not uplink.is_probe:
            uplink.upstream.alive -= 1
        if uplink.upstream.shared is uplink:
            uplink.upstream.shared = None

    def _free(self, uplink: Uplink) -> None:
        """What it was to find out is known."""
        if uplink.upstream.trial is uplink:
            uplink.upstream.trial = None

    def _nudge(self, now: Now) -> list[Event]:
        """Something has changed for those who wait."""
        waiting, self._waiting = self._waiting, {}
        for machine in waiting.values():
            machine.seek_again(now)
        return [Nudge(conn_id) for conn_id in waiting]

    # -- the way back --------------------------------------------------------------------------------------------

    def has_better(self, upstream: Upstream) -> bool:
        """A better one is up: machines shall go there."""
        return any(other.standing is Standing.UP for other in self.all[:upstream.rank])

    def probe(self, upstream: Upstream, conn_id: int, now: Now) -> list[Event]:
        """Ask those that are better than `upstream` whether they are there, as far as it is time."""
        events: list[Event] = []
        for other in self.all[:upstream.rank]:
            if other.standing is not Standing.UP and other.trial is None and now.monotonic >= other.retry_at:
                other.trial = Uplink(other, self._context, is_probe=True)
                events.append(Dial(conn_id, other.host, other.port, other.trial))
        return events

    def has_answered(self, uplink: Uplink, now: Now) -> list[Event]:
        """A probe was set up."""
        upstream = uplink.upstream
        self._free(uplink)
        upstream.retry_at = now.monotonic + self.probe_every_s
        if upstream.healthy_since is None:
            upstream.healthy_since = now.monotonic
        if upstream.standing is Standing.UP:
            return []
        healthy_s = now.monotonic - upstream.healthy_since
        if healthy_s < self._context.times.return_after_s:
            upstream.standing = Standing.ANSWERING
            return self._nudge(now)
        upstream.standing = Standing.UP
        return [Happened(uplink.conn_id, "info", "upstream.returned", (
            ("upstream", upstream.config.name), ("healthy_s", int(healthy_s)))), *self._nudge(now)]
