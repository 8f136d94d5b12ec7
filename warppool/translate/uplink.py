"""A connection to an upstream, as a worker sees it: it carries the channels of one machine, or of all.

What it hears for a machine it leaves with that machine's connection (`TranslatedConnection.leave`, `accepted`), which
knows when it may be said. Whatever ends it, each of its channels hears that it is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from warppool.errors import RemoteProtocolError, WrongServerKey
from warppool.events import Close, Event, Happened, Now, Nudge, Send, WithoutShares
from warppool.sv2.client import (
    ChannelClosed,
    ChannelOpened,
    ExtensionsAgreed,
    MiningClientSession,
    OpenRefused,
    ReconnectAsked,
    SetUp,
    SetupRefused,
    ShareRejected,
    SharesAccepted,
    TargetChanged,
    Work,
    WorkReady,
)
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.tlv import WORKER_NAMES
from warppool.sv2.types import Message
from warppool.translate.channel import Channel, Stage
from warppool.translate.jobs import network_target_of
from warppool.translate.standing import Standing

if TYPE_CHECKING:
    from warppool.translate.context import TranslatorContext
    from warppool.translate.upstreams import Upstream

PLAIN_S = 600.0
"""How long a pool is not asked for extensions that broke the connection behind our question, as some do."""


class Unfit(RemoteProtocolError):
    """The upstream does what no pool does that wants to be mined on: for a while others are better."""


SETUP_S = 10.0
"""From the connection to a SetupConnection.Success, handshake included; the pool's own deadline for us."""


class Uplink(WithoutShares):
    """One outgoing connection; the face of `events.Upstream`. A probe carries nothing and ends when it is set up."""

    __slots__ = ("_asked", "_asked_at", "_board", "_channels", "_deadline", "_dialled", "_heard", "_heard_at",
                 "_looks_at", "_members", "_opened_at", "_retired", "_session", "_context", "conn_id",
                 "is_leaving", "is_over", "is_probe", "is_unfit", "is_up", "names_workers", "queued", "upstream",
                 "wakes_at")

    def __init__(self, upstream: Upstream, context: TranslatorContext, *, is_probe: bool = False) -> None:
        self.conn_id = 0
        self.wakes_at = math.inf
        self.upstream = upstream
        self.is_probe = is_probe
        self.is_up = False                          # set up, whether or not it is over
        self.is_over = False
        self.is_leaving = False                     # the pool asked us to: its end is no failure
        self.is_unfit = False                       # it ended because of what the pool does to those who mine on it
        self.names_workers = False                  # shares may bear the names of their workers
        self._context = context
        self._board = context.board
        self._dialled: DialledConnection | None = None
        self._session: MiningClientSession          # from `opened` on, before which no channel needs it
        self._members: dict[Channel, None] = {}     # all that depend on it
        self._asked: dict[int, Channel] = {}        # by request_id
        self._channels: dict[int, Channel] = {}     # by channel_id
        self._retired: dict[Channel, None] = {}     # members whose last shares are awaited
        self.queued: list[bytes] = []               # frames to be sealed together
        self._deadline = math.inf                   # of the set-up
        self._opened_at = self._heard_at = -math.inf
        self._heard = 0                             # messages, until `_heard_at`
        self._asked_at = 0                          # messages when it was asked for extensions; 0: it was not
        self._looks_at = math.inf                   # for a better upstream

    # -- for machines --------------------------------------------------------------------------------------------

    def join(self, channel: Channel) -> None:
        """One more machine; it hears when the connection is set up."""
        self._members[channel] = None

    def ask(self, channel: Channel, identity: str, max_target: int, min_extranonce_size: int) -> None:
        """Ask the pool for `channel`."""
        message = self._session.open_extended(identity, 0.0, max_target, min_extranonce_size)
        self._asked[message.request_id] = channel
        self.queue(message)

    def queue(self, message: Message) -> None:
        """Send it with what else the step leads to."""
        self.queued.append(self._context.profile.encode(message))

    def identity_of(self, name: str) -> str:
        """What the pool is told of the worker `name` in an open."""
        return self._context.identity_of(name)

    def submit(self, work: Work, extranonce: bytes, version: int, ntime: int, nonce: int, tlvs: bytes) -> int:
        """Send a share; its sequence number. `tlvs` may name its worker."""
        sequence, frame = self._session.frame_share(work, extranonce, version, ntime, nonce, tlvs)
        self.queued.append(frame)
        return sequence

    def flush(self, events: list[Event]) -> None:
        """Seal what was queued; everyone who took a step that may have queued something asks for it."""
        queue, self.queued = self.queued, []
        if queue and not self.is_over and self._dialled is not None:
            events.append(Send(self.conn_id, self._dialled.seal(b"".join(queue))))

    def retire(self, channel: Channel, now: Now) -> list[Event]:
        """The machine no longer mines on `channel`: it goes as soon as its last shares are answered or given up."""
        channel.is_retired = True
        events: list[Event] = []
        if channel in self._members and not channel.pending:
            events += self._drop(channel, now)
        elif channel in self._members:
            self._retired[channel] = None
        if self._retired:                           # shares of machines that are gone are ours to look after
            self.wakes_at = now.monotonic
            events.append(Nudge(self.conn_id))
        return events

    def _drop_if_done(self, channel: Channel, now: Now) -> list[Event]:
        return self._drop(channel, now) if channel in self._retired and not channel.pending else []

    def _drop(self, channel: Channel, now: Now) -> list[Event]:
        """One machine less; the connection ends with the last."""
        self._retired.pop(channel, None)
        self._members.pop(channel, None)
        events: list[Event] = []
        if not self._members:
            if not self.is_over:
                events += self._end("no machine needs it", self._board.has_left(self, now))
        elif channel.stage is Stage.OPEN:
            self._channels.pop(channel.channel_id, None)
            self.queue(self._session.close_channel(channel.channel_id, "machine left"))
            self.flush(events)
        channel.stage = Stage.OVER
        return events

    # -- face ----------------------------------------------------------------------------------------------------

    def opened(self, conn_id: int, peer: str, now: Now) -> list[Event]:
        """The connection stands: shake hands."""
        self.conn_id = conn_id
        if self.is_over:
            return [Close(conn_id, "no machine needs it")]
        config = self.upstream.config
        setup = MiningClientSession.setup(host=self.upstream.host, port=self.upstream.port, vendor="warppool",
                                          firmware=self._context.firmware)
        self._dialled = DialledConnection(
            self._context.profile, server_public=config.public_key,
            ephemeral_secret=self._context.random_bytes(32), buffer=self._context.buffer, setup=setup)
        self._session = self._dialled.session
        self._opened_at = self._heard_at = now.monotonic
        self.wakes_at = self._deadline = now.monotonic + SETUP_S
        return [Send(conn_id, self._dialled.outgoing())]

    def failed(self, reason: str, now: Now) -> list[Event]:
        """There will be no connection."""
        return [] if self.is_over else self._fail(reason, now)

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Bytes from the pool."""
        events: list[Event] = []
        dialled = self._dialled
        if self.is_over or dialled is None:
            return events
        is_reckoned = True                          # verdicts bring no deadline nearer
        try:
            for heard in dialled.hear(data):
                kind = type(heard)
                self._STEPS[kind](self, heard, now, events)
                if self.is_over:
                    return events
                is_reckoned = is_reckoned and kind is SharesAccepted
        except WrongServerKey as exc:
            return events + self._fail(str(exc), now, is_wrong_key=True)
        except Unfit as exc:
            return events + self._fail(str(exc), now, is_unfit=True)
        except RemoteProtocolError as exc:
            return events + self._fail(f"{type(exc).__name__}: {exc}", now)
        if dialled.messages != self._heard:
            self._heard, self._heard_at = dialled.messages, now.monotonic
        if not self.is_up:
            out = dialled.outgoing()
            if out:
                events.append(Send(self.conn_id, out))
        if self.queued:
            self.flush(events)
        if not is_reckoned:
            self._reckon()
        return events

    def tick(self, now: Now) -> list[Event]:
        """A deadline, or something left by a machine."""
        events: list[Event] = []
        if self.is_over:
            self.wakes_at = math.inf
            return events
        if now.monotonic >= self._deadline:
            return self._fail(f"not set up within {SETUP_S:.0f} s", now)
        silence_s = self._context.times.silence_s
        if self._channels and now.monotonic >= self._heard_at + silence_s:
            return self._fail(f"silent for {silence_s:.0f} s", now)
        for channel in list(self._retired):
            events += _expire(channel, now)
            events += self._drop_if_done(channel, now)
        if now.monotonic >= self._looks_at and not self.is_over:
            self._look(now, events)
        self.flush(events)
        self._reckon()
        return events

    def closed(self, now: Now) -> list[Event]:
        """The connection is gone."""
        if self.is_over:
            return []
        if self.is_leaving:
            return self._lose("the pool has closed it, as it had said", now, self._board.has_left(self, now))
        return self._fail("the connection is gone", now)

    def _reckon(self) -> None:
        """When the next tick is wanted."""
        if self.is_over:
            self.wakes_at = math.inf
            return
        due = min(self._deadline, self._looks_at)
        times = self._context.times
        if self._channels:                          # without one, the pool has nothing to say
            due = min(due, self._heard_at + times.silence_s)
        for channel in self._retired:
            due = min(due, channel.first_sent_at + times.verdict_timeout_s)
        self.wakes_at = due

    # -- the end -------------------------------------------------------------------------------------------------

    def fail(self, reason: str, now: Now, *, is_unfit: bool = False) -> list[Event]:
        """A machine has found out that the pool does not do its part."""
        return [] if self.is_over else self._fail(reason, now, is_unfit=is_unfit)

    def _fail(self, reason: str, now: Now, *, is_wrong_key: bool = False, is_unfit: bool = False) -> list[Event]:
        was_down = self.upstream.standing is Standing.DOWN
        self.is_unfit = is_unfit
        if self._asked_at and self._dialled is not None and self._dialled.messages == self._asked_at:
            self.upstream.plain_until = now.monotonic + PLAIN_S         # it may have hung up on our question
        nudges = self._board.has_failed(self, now, is_wrong_key=is_wrong_key, is_unfit=is_unfit)
        is_news = self.upstream.standing is Standing.DOWN and not was_down
        fields: tuple[tuple[str, object], ...] = (("upstream", self.upstream.config.name), ("reason", reason))
        if is_wrong_key:
            fields += (("meaning", "this upstream is not used: its URL has another key than the server; compare it "
                        "with what the pool publishes"),)
        level = "error" if is_wrong_key else "warning" if is_news else "debug"     # all machines' ends are one news
        said = self.upstream.hush.say(self.conn_id, level, "upstream.refused" if is_wrong_key else "upstream.lost"
                                      if self.is_up else "upstream.failed", fields, now) if level != "debug" else (
            Happened(self.conn_id, level, "upstream.lost" if self.is_up else "upstream.failed", fields))
        return [said, *self._lose(reason, now, nudges)]

    def _lose(self, reason: str, now: Now, nudges: list[Event]) -> list[Event]:
        """End, and tell every machine."""
        members, self._members = self._members, {}
        self._retired.clear()
        events = self._end(reason, nudges)
        for channel in members:
            events += _lost(channel, now)
        return events

    def _end(self, reason: str, nudges: list[Event]) -> list[Event]:
        self.is_over = True
        self.wakes_at = math.inf
        self.queued.clear()
        return [*nudges, *([Close(self.conn_id, reason)] if self.conn_id else [])]

    # -- what the pool says --------------------------------------------------------------------------------------

    def _set_up(self, m: SetUp, now: Now, events: list[Event]) -> None:
        self._deadline = math.inf
        if self.is_probe:
            events += self._board.has_answered(self, now)
            events += self._end("it answers", [])
            return
        events += self._board.is_set_up(self, now)
        self.is_up = True
        self._heard_at = now.monotonic
        if self.upstream.rank:
            self._looks_at = now.monotonic + self._board.probe_every_s
        request = self._session.request_extensions() if now.monotonic >= self.upstream.plain_until else None
        if request is not None and self._dialled is not None:
            self.queue(request)                     # whoever knows no extensions throws it away
            self._asked_at = self._dialled.messages
        for channel in list(self._members):
            events += _ready(channel, now)

    def _agreed(self, m: ExtensionsAgreed, now: Now, events: list[Event]) -> None:
        self.names_workers = WORKER_NAMES in m.extensions

    def _setup_refused(self, m: SetupRefused, now: Now, events: list[Event]) -> None:
        events += self._fail(f"set-up refused: {m.error_code}", now)

    def _opened(self, m: ChannelOpened, now: Now, events: list[Event]) -> None:
        channel = self._asked.pop(m.request_id)
        if channel.stage is not Stage.ASKED:                    # the machine has gone meanwhile
            self.queue(self._session.close_channel(m.channel_id, "machine left"))
            return
        if m.target == 0:
            raise RemoteProtocolError("a channel with a target of 0")
        self._channels[m.channel_id] = channel
        channel.channel_id, channel.stage = m.channel_id, Stage.OPEN
        channel.extranonce_prefix, channel.extranonce_size = m.extranonce_prefix, m.extranonce_size
        channel.target = m.target
        events += channel.owner.leave(lambda session: session.granted(channel, now), now)

    def _open_refused(self, m: OpenRefused, now: Now, events: list[Event]) -> None:
        channel = self._asked.pop(m.request_id, None)
        if channel is None or channel.stage is not Stage.ASKED:
            return
        events.append(self.upstream.hush.say(self.conn_id, "warning", "channel.refused", (
            ("upstream", self.upstream.config.name), ("reason", m.error_code)), now))
        events += channel.owner.leave(lambda session: session.refused(channel, m.error_code, now), now)
        if channel.is_over and not self.is_over:
            self._members.pop(channel, None)
            if not self._members:
                events += self._fail(f"it refused the only channel: {m.error_code}", now)

    def _work(self, m: WorkReady, now: Now, events: list[Event]) -> None:
        channel = self._channels.get(m.work.channel_id)
        if channel is None:
            return
        self._check(m.work, channel, now)
        if m.is_new_tip and not channel.move_tip(now.monotonic):
            raise Unfit("its tips come faster than any chain makes them")
        events += self._board.has_worked(self, now)
        channel.has_worked = True
        channel.extranonce_prefix = m.work.extranonce_prefix
        if m.is_new_tip or not channel.owner.replace_work(channel, m.work):
            events += channel.owner.leave(lambda session: session.give(channel, m.work, now), now)

    def _check(self, work: Work, channel: Channel, now: Now) -> None:
        """RemoteProtocolError for work that no machine could mine, or that would drive it away."""
        try:
            self.upstream.network_target = network_target_of(work.nbits)
        except ValueError as exc:
            raise RemoteProtocolError(f"a job with unreadable nbits: {exc}") from exc
        if work.target == 0:
            raise RemoteProtocolError("a job with a target of 0")
        if channel.has_worked and channel.extranonce_prefix != work.extranonce_prefix and not (
                self.upstream.changes_extranonce(now.monotonic, len(self._channels))):
            raise Unfit("it changes extranonces all the time, for which machines must connect anew")

    def _target(self, m: TargetChanged, now: Now, events: list[Event]) -> None:
        channel = self._channels.get(m.channel_id)
        if channel is not None and m.target:
            channel.target = m.target               # the machine hears of it with its next job

    def _accepted(self, m: SharesAccepted, now: Now, events: list[Event]) -> None:
        channel = self._channels.get(m.channel_id)
        if channel is not None:
            events += channel.owner.accepted(channel, m.last_sequence, now)
            if self._retired:
                events += self._drop_if_done(channel, now)

    def _rejected(self, m: ShareRejected, now: Now, events: list[Event]) -> None:
        channel = self._channels.get(m.channel_id)
        if channel is not None and channel.awaits(m.sequence):
            events += channel.owner.leave(
                lambda session: session.rejected(channel, m.sequence, m.error_code, now), now)
            events += self._drop_if_done(channel, now)

    def _channel_closed(self, m: ChannelClosed, now: Now, events: list[Event]) -> None:
        channel = self._channels.pop(m.channel_id, None)
        if channel is None:
            return
        events.append(self.upstream.hush.say(self.conn_id, "warning", "channel.lost", (
            ("upstream", self.upstream.config.name), ("reason", m.reason)), now))
        self._members.pop(channel, None)
        self._retired.pop(channel, None)
        events += _lost(channel, now)
        if not self._members and not self.is_over:
            events += self._fail(f"it closed the only channel: {m.reason}", now)

    def _reconnect(self, m: ReconnectAsked, now: Now, events: list[Event]) -> None:
        """Move: machines get a new connection, and this one lasts until they have it, or until the pool ends it."""
        fields = (("upstream", self.upstream.config.name), ("host", m.host or self.upstream.host),
                  ("port", m.port or self.upstream.port))
        if not self._board.asks_to_move(self, m.host, m.port, now.monotonic - self._opened_at):
            events.append(self.upstream.hush.say(self.conn_id, "warning", "reconnect.ignored", fields, now))
            return
        if not self.upstream.changes_extranonce(now.monotonic, len(self._channels)):
            raise Unfit("it asks its machines to connect anew all the time")
        events.append(self.upstream.hush.say(self.conn_id, "info", "reconnect.asked", fields, now))
        self.is_leaving = True
        self._move("the pool asks to connect anew", now, events)

    # -- a better upstream ---------------------------------------------------------------------------------------

    def _look(self, now: Now, events: list[Event]) -> None:
        """Go to a better upstream if one is there, else ask whether one is."""
        self._looks_at = now.monotonic + self._board.probe_every_s
        if self._board.has_better(self.upstream):
            self._move("a better upstream is back", now, events)
        else:
            events += self._board.probe(self.upstream, self.conn_id, now)

    def _move(self, reason: str, now: Now, events: list[Event]) -> None:
        for channel in list(self._members):
            if not channel.is_retired:
                events += _move(channel, reason, now)

    _STEPS: Mapping[type, Callable[[Uplink, Any, Now, list[Event]], None]] = MappingProxyType({
        SetUp: _set_up,
        SetupRefused: _setup_refused,
        ExtensionsAgreed: _agreed,
        ChannelOpened: _opened,
        OpenRefused: _open_refused,
        WorkReady: _work,
        TargetChanged: _target,
        SharesAccepted: _accepted,
        ShareRejected: _rejected,
        ChannelClosed: _channel_closed,
        ReconnectAsked: _reconnect,
    })


def _ready(channel: Channel, now: Now) -> list[Event]:
    return channel.owner.leave(lambda session: session.ready(channel, now), now)


def _lost(channel: Channel, now: Now) -> list[Event]:
    return channel.owner.leave(lambda session: session.lost(channel, now), now)


def _expire(channel: Channel, now: Now) -> list[Event]:
    return channel.owner.leave(lambda session: session.expire(channel, now), now)


def _move(channel: Channel, reason: str, now: Now) -> list[Event]:
    return channel.owner.leave(lambda session: session.move(channel, reason, now), now)
