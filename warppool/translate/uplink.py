"""A connection to an upstream, as a worker sees it: it carries the channels of one machine, or of all.

What the pool says of a channel goes to the channel's owner (`channel.ChannelOwner`), what it says of itself to the
owner of this connection (`uplinkowner`). Whatever ends the connection, the owner of each of its channels hears that the
channel is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from warppool.errors import RemoteProtocolError, WrongServerKey
from warppool.events import Close, Event, Now, Nudge, Send, WithoutShares
from warppool.noise.ends import initiator
from warppool.sv2 import client as sv2
from warppool.sv2.client import MiningClientSession
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.mining import SubmitSharesExtended, SubmitSharesSuccess
from warppool.sv2.tlv import WORKER_NAMES
from warppool.sv2.types import Message
from warppool.translate.channel import Stage, UpstreamChannel
from warppool.translate.context import TranslatorContext
from warppool.translate.liveness import SETUP_S, Liveness, UplinkPhase
from warppool.translate.members import Members
from warppool.translate.uplinkowner import UplinkOwner
from warppool.translate.upstream import Health, Unfit, Upstream
from warppool.translate.wish import Wish
from warppool.transport import Transport, TransportEnd

PLAIN_S = 600.0
"""How long a pool is not asked for extensions that broke the connection behind our question, as some do."""


_OVER = UplinkPhase.OVER        # an enum's member is a function call away on Python 3.11


class Uplink(WithoutShares):
    """The face of `events.OutgoingConnection`. A health check (`is_check`) carries nothing and ends when the pool has
    accepted it.
    """

    __slots__ = ("_context", "_frames", "_live", "_members", "_owner", "_phase", "_session", "conn_id", "frame_share",
                 "is_check", "is_unfit", "is_up", "names_workers", "upstream", "wakes_at")

    def __init__(self, upstream: Upstream, context: TranslatorContext, owner: UplinkOwner[Uplink], *,
                 is_check: bool = False) -> None:
        profile = upstream.config.profile
        self.conn_id = 0
        self.wakes_at = math.inf
        self.upstream = upstream
        self.is_check = is_check
        self.is_up = False                          # set up, whether or not it is over
        self.is_unfit = False                       # it ended because of what the pool does to those who mine on it
        self.names_workers = False                  # shares may bear the names of their workers
        self.frame_share = profile.framer(SubmitSharesExtended)
        self._phase = UplinkPhase.DIALLED
        self._context = context
        self._owner = owner
        self._frames = FrameReader(profile.max_payload_from_pool)
        self._session = MiningClientSession(profile)
        self._members = Members()
        self._live = Liveness(keeps_alive=profile.keeps_alive)

    @property
    def is_leaving(self) -> bool:
        """The pool asked to connect anew: machines go as soon as they have another connection."""
        return self._phase is UplinkPhase.LEAVING

    # -- for machines --------------------------------------------------------------------------------------------

    def join(self, channel: UpstreamChannel) -> None:
        """One more machine; it hears when the connection is set up."""
        self._members.all[channel] = None

    def ask(self, channel: UpstreamChannel, identity: str, wish: Wish, min_extranonce_size: int) -> Send:
        """Ask the pool for `channel`."""
        message = self._session.open_extended(identity, wish.hash_rate_hps, wish.max_target, min_extranonce_size)
        self._members.asked[message.request_id] = channel
        return self.send(message)

    def send(self, message: Message) -> Send:
        """What puts `message` on the wire."""
        return Send(self.conn_id, self.upstream.config.profile.encode(message))

    def retire(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """The machine no longer mines on `channel`: it goes as soon as its last shares are answered or given up."""
        events: list[Event] = []
        members = self._members
        if channel in members.all:
            if channel.sent.pending:
                channel.retire()
                members.retired[channel] = None
            else:
                events += self._drop(channel, now)
        if members.retired:                         # shares of machines that are gone are ours to look after
            self.wakes_at = now.monotonic
            events.append(Nudge(self.conn_id))
        return events

    def _drop_if_done(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        return self._drop(channel, now) if channel.stage is Stage.RETIRED and not channel.sent.pending else []

    def _drop(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """One machine less; the connection ends with the last."""
        is_open = channel.stage in (Stage.OPEN, Stage.RETIRED)
        self._members.drop(channel)
        channel.end()
        events: list[Event] = []
        if not self._members.all:
            if self._phase is not _OVER:
                events += self._end("no machine needs it", self._owner.has_left(self, now))
        elif is_open:
            events.append(self.send(self._session.close_channel(channel.channel_id, "machine left")))
        return events

    # -- face ----------------------------------------------------------------------------------------------------

    def transport(self, now: Now) -> Transport:
        """Noise, which holds the pool to the key that it is known by."""
        context, config = self._context, self.upstream.config
        return initiator(config.profile.suite, config.pin, context.random_bytes(32), context.buffer, now)

    def broken(self, end: TransportEnd, now: Now) -> list[Event]:
        """The pool's bytes are not Noise, or it has another key."""
        return self.fail(end.reason, now, is_wrong_key=isinstance(end.error, WrongServerKey))

    def opened(self, conn_id: int, peer: str, now: Now) -> list[Event]:
        """The connection stands: ask the pool to set it up, which it hears once it has proved its key."""
        self.conn_id = conn_id
        if self._phase is _OVER:
            return [Close(conn_id, "no machine needs it")]
        setup = MiningClientSession.setup(host=self.upstream.host, port=self.upstream.port, vendor="warppool",
                                          firmware=self._context.firmware)
        self._phase = UplinkPhase.SETTING_UP
        self._live.opened(now.monotonic)
        self.wakes_at = self._live.set_up_by
        return [self.send(setup)]

    def failed(self, reason: str, now: Now) -> list[Event]:
        """There will be no connection."""
        return self.fail(reason, now)

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Plaintext from the pool."""
        events: list[Event] = []
        if self._phase is _OVER:
            return events
        live, members, session, profile = self._live, self._members, self._session, self._session.profile
        is_reckoned = True                          # verdicts bring no deadline nearer
        try:
            for frame in self._frames.feed(data):
                message, _ = profile.read(session.subprotocol, frame)
                live.messages += 1
                live.heard_at = now.monotonic
                if type(message) is SubmitSharesSuccess and message.channel_id in members.by_id:    # as nearly always
                    channel = members.by_id[message.channel_id]
                    events += channel.owner.accepted(channel, message.last_sequence_number, now)
                    if members.retired:
                        events += self._drop_if_done(channel, now)
                elif message is not None:
                    is_reckoned = False
                    news = session.receive(message)
                    members.pay_for(len(news), now.monotonic)
                    for heard in news:
                        self._STEPS[type(heard)](self, heard, now, events)
                if self._phase is _OVER:
                    return events
        except Unfit as exc:
            return events + self.fail(str(exc), now, is_unfit=True)
        except RemoteProtocolError as exc:
            return events + self.fail(f"{type(exc).__name__}: {exc}", now)
        if not is_reckoned:
            self._reckon()
        return events

    def tick(self, now: Now) -> list[Event]:
        """A deadline, or the nudge of a machine that has left shares here."""
        events: list[Event] = []
        if self._phase is _OVER:
            return events
        live, members = self._live, self._members
        if now.monotonic >= live.set_up_by:
            return self.fail(f"not set up within {SETUP_S:.0f} s", now)
        if members.by_id and now.monotonic >= live.silent_at(self._owner.times):
            if live.keeps_alive:
                return self.fail(f"silent for {self._owner.times.silence_s:.0f} s", now)
            live.probed_at = now.monotonic
            events += self._owner.probe(self, now)
        for channel in list(members.retired):
            events += channel.owner.expire(channel, now)
            events += self._drop_if_done(channel, now)
        if now.monotonic >= live.checks_at and self._phase is not _OVER:
            self._find_better(now, events)
        self._reckon()
        return events

    def probed(self, now: Now, *, is_alive: bool) -> list[Event]:
        """Whether the pool took another connection, after a silence on this one, or on others to it."""
        live = self._live
        was_probed, live.probed_at = live.probed_at > -math.inf, -math.inf
        silent_s = now.monotonic - live.heard_at
        if was_probed and not is_alive and silent_s >= self._owner.times.silence_s:
            return self.fail(f"silent for {silent_s:.0f} s, and it takes no other connection", now)
        if is_alive:
            live.heard_at = now.monotonic
        if not was_probed:
            return []
        self._reckon()
        return [Nudge(self.conn_id)]

    def closed(self, now: Now) -> list[Event]:
        """The connection is gone."""
        if self.is_leaving:
            return self._lose("the pool has closed it, as it had said", now, self._owner.has_left(self, now))
        return self.fail("the connection is gone", now)

    def _reckon(self) -> None:
        """When the next tick is wanted."""
        if self._phase is not _OVER:
            members = self._members
            self.wakes_at = self._live.due(self._owner.times, members.retired, has_channels=bool(members.by_id))

    # -- the end -------------------------------------------------------------------------------------------------

    def fail(self, reason: str, now: Now, *, is_wrong_key: bool = False, is_unfit: bool = False) -> list[Event]:
        """The connection cannot be made, breaks, or is worth nothing, as a machine may be the one to find out."""
        if self._phase is _OVER:
            return []
        upstream = self.upstream
        was_down = upstream.health is Health.DOWN
        self.is_unfit = is_unfit
        if self._live.is_question_open:
            upstream.plain_until = now.monotonic + PLAIN_S          # it may have hung up on our question
        nudges = self._owner.has_failed(self, now, is_wrong_key=is_wrong_key)
        is_news = upstream.health is Health.DOWN and not was_down   # all machines' ends are one news
        said = (upstream.say_refused(self.conn_id, reason, now) if is_wrong_key else
                upstream.say_gone(self.conn_id, reason, now, was_up=self.is_up, is_news=is_news))
        return [said, *self._lose(reason, now, nudges)]

    def _lose(self, reason: str, now: Now, nudges: list[Event]) -> list[Event]:
        """End, and tell every machine."""
        channels = self._members.take_all()
        events = self._end(reason, nudges)
        for channel in channels:
            events += channel.owner.lost(channel, now)
        return events

    def _end(self, reason: str, nudges: list[Event]) -> list[Event]:
        self._phase = _OVER
        self.wakes_at = math.inf
        return [*nudges, *([Close(self.conn_id, reason)] if self.conn_id else [])]

    # -- what the pool says --------------------------------------------------------------------------------------

    def _set_up(self, m: sv2.SetUp, now: Now, events: list[Event]) -> None:
        live = self._live
        live.is_set_up(now.monotonic)
        events += self._owner.is_set_up(self, now)
        if self.is_check:
            events += self._end("it answers", [])
            return
        self._phase = UplinkPhase.UP
        self.is_up = True
        if self.upstream.rank:
            live.checks_at = now.monotonic + self._owner.check_every_s
        opens = [event for channel in list(self._members.all) for event in channel.owner.ready(channel, now)]
        if self._phase is not _OVER and now.monotonic >= self.upstream.plain_until:
            self._ask_extensions(events)        # before the opens; not where the connection is over
        events += opens

    def _ask_extensions(self, events: list[Event]) -> None:
        request = self._session.request_extensions()
        if request is not None:
            events.append(self.send(request))       # whoever knows no extensions throws it away
            self._live.asked_at_message = self._live.messages

    def _regrouped(self, m: sv2.Regrouped, now: Now, events: list[Event]) -> None:
        self._members.pay_for(m.channels, now.monotonic)

    def _void(self, m: sv2.ExtensionsVoid, now: Now, events: list[Event]) -> None:
        had_names, self.names_workers = self.names_workers, False
        if had_names:                               # else there is no answer that the first question has had
            self._ask_extensions(events)

    def _agreed(self, m: sv2.ExtensionsAgreed, now: Now, events: list[Event]) -> None:
        self.names_workers = WORKER_NAMES in m.extensions

    def _setup_refused(self, m: sv2.SetupRefused, now: Now, events: list[Event]) -> None:
        events += self.fail(f"set-up refused: {m.error_code}", now)

    def _opened(self, m: sv2.ChannelOpened, now: Now, events: list[Event]) -> None:
        channel = self._members.take_asked(m.request_id)
        if channel is None:
            events.append(self.send(self._session.close_channel(m.channel_id, "machine left")))
            return
        if m.target == 0:
            raise RemoteProtocolError("a channel with a target of 0")
        self._members.by_id[m.channel_id] = channel
        channel.open(m, now.monotonic + self._owner.times.silence_s)
        events += channel.owner.granted(channel, now)

    def _open_refused(self, m: sv2.OpenRefused, now: Now, events: list[Event]) -> None:
        channel = self._members.take_asked(m.request_id)
        if channel is None:
            return
        events.append(self.upstream.say(self.conn_id, "warning", "channel.refused", now, ("reason", m.error_code)))
        events += channel.owner.refused(channel, m.error_code, now)
        if channel.is_over and self._phase is not _OVER:
            self._members.drop(channel)
            if not self._members.all:
                events += self.fail(f"it refused the only channel: {m.error_code}", now)

    def _work(self, m: sv2.WorkReady, now: Now, events: list[Event]) -> None:
        channel = self._members.by_id.get(m.work.channel_id)
        if channel is None:
            return
        channel.take_work(m.work, now.monotonic, len(self._members.by_id), is_new_tip=m.is_new_tip)
        events += self._owner.has_worked(self, now)
        events += channel.owner.give(channel, m.work, now, is_new_tip=m.is_new_tip)

    def _target(self, m: sv2.TargetChanged, now: Now, events: list[Event]) -> None:
        channel = self._members.by_id.get(m.channel_id)
        if channel is not None and m.target:
            channel.target = m.target               # the machine hears of it with its next job

    def _too_late(self, m: sv2.SharesAccepted, now: Now, events: list[Event]) -> None:
        """A verdict on the shares of a channel that is gone."""

    def _rejected(self, m: sv2.ShareRejected, now: Now, events: list[Event]) -> None:
        channel = self._members.by_id.get(m.channel_id)
        if channel is not None and channel.sent.awaits(m.sequence):
            events += channel.owner.rejected(channel, m.sequence, m.error_code, now)
            events += self._drop_if_done(channel, now)

    def _channel_closed(self, m: sv2.ChannelClosed, now: Now, events: list[Event]) -> None:
        channel = self._members.by_id.get(m.channel_id)
        if channel is None:
            return
        events.append(self.upstream.say(self.conn_id, "warning", "channel.lost", now, ("reason", m.reason)))
        self._members.drop(channel)
        events += channel.owner.lost(channel, now)
        if not self._members.all and self._phase is not _OVER:
            events += self.fail(f"it closed the only channel: {m.reason}", now)

    def _reconnect(self, m: sv2.ReconnectAsked, now: Now, events: list[Event]) -> None:
        """Move: machines get a new connection, and this one lasts until they have it, or until the pool ends it."""
        upstream = self.upstream
        fields = (("host", m.host or upstream.host), ("port", m.port or upstream.port))
        if not self._owner.asks_to_move(self, m.host, m.port, now.monotonic - self._live.opened_at):
            events.append(upstream.say(self.conn_id, "warning", "reconnect.ignored", now, *fields))
            return
        if not upstream.changes_extranonce(now.monotonic, len(self._members.by_id)):
            raise Unfit("it asks its machines to connect anew all the time")
        events.append(upstream.say(self.conn_id, "info", "reconnect.asked", now, *fields))
        self._phase = UplinkPhase.LEAVING
        events += self._members.move("the pool asks to connect anew", now)

    # -- a better upstream ---------------------------------------------------------------------------------------

    def _find_better(self, now: Now, events: list[Event]) -> None:
        """Go to a better upstream if one is up, else have the health of the better ones checked."""
        self._live.checks_at = now.monotonic + self._owner.check_every_s
        is_there, checks = self._owner.find_better(self, now)
        events += checks
        if is_there:
            events += self._members.move("a better upstream is back", now)

    def check_soon(self, now: Now) -> list[Event]:
        """There are other upstreams than before."""
        if self._phase is not UplinkPhase.UP:
            return []
        self._live.checks_at = self.wakes_at = now.monotonic
        return [Nudge(self.conn_id)]

    def withdraw(self, now: Now) -> list[Event]:
        """The upstream is to be used no more: machines leave it if they need not be closed for that."""
        if self._phase is UplinkPhase.UP:
            self._phase = UplinkPhase.LEAVING
        self._live.checks_at = math.inf
        return self._members.move("the upstream is used no more", now, may_close=False)

    _STEPS: Mapping[type, Callable[[Uplink, Any, Now, list[Event]], None]] = MappingProxyType({
        sv2.SetUp: _set_up,
        sv2.SetupRefused: _setup_refused,
        sv2.ExtensionsAgreed: _agreed,
        sv2.ExtensionsVoid: _void,
        sv2.ChannelOpened: _opened,
        sv2.OpenRefused: _open_refused,
        sv2.WorkReady: _work,
        sv2.TargetChanged: _target,
        sv2.SharesAccepted: _too_late,
        sv2.ShareRejected: _rejected,
        sv2.ChannelClosed: _channel_closed,
        sv2.Regrouped: _regrouped,
        sv2.ReconnectAsked: _reconnect,
    })
