"""The pool's side of an Sv2 conversation: messages in, messages and events out.

One session is one connection after its Noise handshake. It holds the channels and what the set-up agreed on.
`opening.py` opens the channels, `shares.py` takes their shares. `connection.py` sees the bytes of the wire.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, auto
from types import MappingProxyType

from warppool.errors import UnexpectedMessage
from warppool.events import Close, Happened, Now
from warppool.mining.channel import Channel
from warppool.mining.counter import CoinbaseCounters
from warppool.mining.course import Course, PeerChange
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.idle import idle_by
from warppool.mining.job import Job
from warppool.mining.names import FreeNames, NameRule, cramped
from warppool.mining.paced import PacedCourse
from warppool.mining.rooms import room_of_agent
from warppool.sv2.frame import Frame
from warppool.sv2.jobs import Step, encode_changes
from warppool.sv2.messages.common import (
    ALL_FLAGS,
    PROTOCOL_VERSION,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from warppool.sv2.messages.extensions import RequestExtensions
from warppool.sv2.messages.mining import (
    CloseChannel,
    OpenExtendedMiningChannel,
    OpenStandardMiningChannel,
    SubmitSharesExtended,
    SubmitSharesStandard,
    UpdateChannel,
    UpdateChannelError,
)
from warppool.sv2.opening import Opener, is_hash_rate
from warppool.sv2.profile import Profile, Subprotocol
from warppool.sv2.shares import ServerChannel, ShareSession
from warppool.sv2.templatecontext import TemplateContext
from warppool.sv2.types import Message
from warppool.sv2.workers import WorkerNames, is_news

REQUIRES_STANDARD_JOBS = 1
REQUIRES_WORK_SELECTION = 2
REQUIRES_VERSION_ROLLING = 4

SUPPORTED_FLAGS: dict[int, int] = {
    Subprotocol.MINING: REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING,
}
"""By the subprotocols that are served here; a client of the template server is handed over (`templateserver.py`)."""

IDLE = "no accepted share for too long"
"""Why an idle channel is closed, for the miner and for the log."""

MAX_DEAF_SHARES = 16
"""Shares for channels that we closed, until their machine is taken to have passed over the CloseChannel: those that
were under way are fewer. It takes new work only from a new connection."""

LEAST_TICK_S = 1.0
"""The least time between two ticks, each of which goes through all channels. A second more or less is nothing to a
difficulty."""


class Phase(IntEnum):
    """Where the conversation stands; a frame that a phase has no place for closes the connection.

    A number, since it is looked up with every message.
    """

    AWAIT_SETUP = auto()
    MINING = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Context:
    """What the V2 sessions of one worker share, as `sv1.server.Context` has it for V1 sessions."""

    profile: Profile
    policy: DifficultyPolicy
    prefixes: PrefixPool
    counters: CoinbaseCounters
    names: NameRule = field(default_factory=FreeNames)
    templates: TemplateContext | None = None        # None: protocol 2 is not served here


def course_of(conn_id: int, context: Context) -> Course:
    """What the channels of a connection are given: as jobs come, or at the pace of the profile."""
    pace = context.profile.pace
    if pace is None:
        return Course(conn_id, context.policy, context.counters)
    return PacedCourse(conn_id, context.policy, context.counters, pace)


class MiningServerSession(ShareSession):
    """One peer's Sv2 conversation after the handshake: no socket, no clock, no thread.

    `receive` raises UnexpectedMessage for what the phase has no place for; then nothing has changed.
    """

    __slots__ = ("_context", "_course", "_deaf_shares", "_let_go", "_opener", "_workers", "conn_id", "phase",
                 "subprotocol", "wakes_at")

    def __init__(self, conn_id: int, context: Context) -> None:
        super().__init__(conn_id, context.profile)
        self.conn_id = conn_id
        self.phase = Phase.AWAIT_SETUP
        self.subprotocol = Subprotocol.COMMON   # whose messages are decoded now; Common belongs to each
        self.wakes_at = math.inf                # monotonic seconds: the earliest of the channels' reviews
        self._context = context
        self._course = course_of(conn_id, context)
        self._opener = Opener(conn_id, self._course, context.prefixes, context.names, context.profile.error_codes)
        self._workers = WorkerNames(context.names)
        self._let_go: set[int] | None = None    # channels that we closed, where the profile asks who mines on there
        self._deaf_shares = 0                   # shares for those

    # -- what the worker asks ------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        """How many channels are open."""
        return len(self._channels)

    @property
    def has_job(self) -> bool:
        """There is a job for every channel."""
        return self._course.job is not None

    def receive(self, message: Message, now: Now) -> list[Step]:
        """Apply one message and return what follows from it, in order."""
        step = self._STEPS.get((self.phase, type(message)))
        if step is None:
            raise UnexpectedMessage(f"{type(message).__name__} in phase {self.phase.name}")
        return step(self, message, now)

    def receive_with(self, message: Message, area: bytes, now: Now) -> list[Step]:
        """`receive` for a message with TLVs behind it: with a share that may be its worker's name, else nothing."""
        names = self._workers
        if not names.is_agreed or type(message) is not SubmitSharesExtended or self.phase is not Phase.MINING:
            return self.receive(message, now)
        channel, before = self._channels.get(message.channel_id), names.ignored
        user = names.user_of(channel.channel, area) if channel is not None else None
        steps = self.take(message, user)
        if names.ignored > before and is_news(names.ignored):
            steps.append(Happened(self.conn_id, "info" if names.ignored == 1 else "debug", "worker.ignored", (
                ("channel", message.channel_id), ("user", user), ("count", names.ignored))))
        return steps

    @property
    def machines(self) -> int:
        """How many channels have a job to mine on."""
        return len(self._channels) if self.has_job else 0

    @property
    def holders(self) -> int:
        """How many channels are open: each may have bytes and calls of its own."""
        return len(self._channels)

    def read_share(self, frame: Frame) -> tuple[Message | None, bytes] | None:
        """The share in `frame` and what stands behind it; None for any other message.

        A share is read in the mining phase alone, so no phase has to be asked.
        """
        profile = self.profile
        if frame.msg_type not in profile.share_numbers or frame.extension_type:
            return None
        return profile.read(self.subprotocol, frame)

    def submit(self, share: SubmitSharesStandard | SubmitSharesExtended, area: bytes, now: Now) -> list[Step]:
        """A share; what stands behind it may name its worker."""
        return self.receive_with(share, area, now) if area else self.take(share)

    def offer(self, job: Job, now: Now) -> list[Step]:
        """A new job for every channel."""
        course = self._course
        self._context.prefixes.moved(job.tip)
        changes, has_news = course.offer(job, [each.channel for each in self._channels.values()], now)
        steps: list[Step] = []
        encode_changes(self.profile, changes, steps)
        if has_news:
            self.wakes_at = min(self.wakes_at, *[each.channel.wakes_at for each in self._channels.values()])
        if course.due_at < self.wakes_at:
            self.wakes_at = course.due_at
        return steps

    def _review_due(self, now: Now, steps: list[Step]) -> None:
        due, self.validator.due = self.validator.due, None
        for channel in due or ():
            self._tell(channel, self._course.review(channel, now), steps)

    def tick(self, now: Now) -> list[Step]:
        """Review the channels whose time has come, and hand out the job whose time has come."""
        if now.monotonic < self.wakes_at:
            return []
        course, steps = self._course, list[Step]()
        channels = [each.channel for each in self._channels.values()]
        for channel in channels:
            if channel.wakes_at <= now.monotonic:
                encode_changes(self.profile, course.review(channel, now), steps)
        encode_changes(self.profile, course.take_time(channels, now), steps)
        first = min([course.due_at, *[channel.wakes_at for channel in channels]])
        self.wakes_at = max(first, now.monotonic + LEAST_TICK_S)
        return steps

    def _tell(self, channel: Channel, changes: Sequence[PeerChange], steps: list[Step]) -> None:
        """Tell the peer of `changes` of a channel; the time of its next review may be another after them."""
        if changes:
            encode_changes(self.profile, changes, steps)
        if channel.is_open:
            self.wakes_at = min(self.wakes_at, channel.wakes_at, self._course.due_at)

    def closed(self, now: Now) -> list[Step]:
        """The connection is gone: no more messages."""
        self.phase, self.subprotocol = Phase.CLOSED, Subprotocol.COMMON
        self.wakes_at = math.inf
        for channel in self._channels.values():
            self._end(channel.channel)
        self._channels.clear()
        return []

    def _end(self, channel: Channel) -> None:
        """The channel is closed; its prefix rests until its last job is stale."""
        self._course.end(channel)
        self._context.prefixes.release(channel.extranonce_prefix)

    # -- set-up --------------------------------------------------------------------------------------------------

    def _setup(self, m: SetupConnection, now: Now) -> list[Step]:
        supported = SUPPORTED_FLAGS.get(m.protocol)
        if supported is None:
            return self._refuse_setup(0, "unsupported-protocol")
        if not m.min_version <= PROTOCOL_VERSION <= m.max_version:
            return self._refuse_setup(0, "protocol-version-mismatch")
        if m.flags & ~supported:
            return self._refuse_setup(ALL_FLAGS & ~supported, "unsupported-feature-flags")
        self.phase, self.subprotocol = Phase.MINING, Subprotocol.MINING
        self._opener.agent = m.agent
        if self._context.names.has_rooms:
            self._opener.room = room_of_agent(m.vendor, m.firmware)
        self._opener.requires_standard_jobs = bool(m.flags & REQUIRES_STANDARD_JOBS)
        self._course.takes_groups = self.profile.has_groups and not m.flags & REQUIRES_STANDARD_JOBS
        fields = (("protocol", m.protocol), ("agent", m.agent), ("device", m.device_id))
        return [SetupConnectionSuccess(used_version=PROTOCOL_VERSION, flags=0),
                Happened(self.conn_id, "debug", "miner.set_up", fields)]

    def _refuse_setup(self, flags: int, code: str) -> list[Step]:
        self.phase = Phase.CLOSED
        return [SetupConnectionError(flags=flags, error_code=code), Close(self.conn_id, code, is_peers_fault=True)]

    def _request_extensions(self, m: RequestExtensions, now: Now) -> list[Step]:
        return [self._workers.agree(m, self.profile)]

    # -- channels ------------------------------------------------------------------------------------------------

    def _open(self, m: OpenStandardMiningChannel | OpenExtendedMiningChannel, now: Now) -> list[Step]:
        channel, steps = self._opener.open(m, len(self._channels), now)
        if channel is not None:
            self._channels[channel.channel_id] = ServerChannel(channel)
            self._tell(channel, self._course.join(channel, now), steps)
            steps += cramped(self._context.names, self.conn_id, self._course.job, channel, self._opener.agent,
                             now.monotonic)
        return steps

    def _update(self, m: UpdateChannel, now: Now) -> list[Step]:
        channel = self._channels.get(m.channel_id)
        max_target = int.from_bytes(m.maximum_target, "little")
        if channel is None:
            return [UpdateChannelError(channel_id=m.channel_id, error_code="invalid-channel-id")]
        if not is_hash_rate(m.nominal_hash_rate):
            return [UpdateChannelError(channel_id=m.channel_id, error_code="invalid-nominal-hashrate")]
        if max_target == 0:
            return [UpdateChannelError(channel_id=m.channel_id, error_code="max-target-out-of-range")]
        mine = channel.channel
        mine.max_target = max_target
        if m.nominal_hash_rate > 0 and mine.vardiff is not None:
            goal = self._course.policy.target_for_hash_rate(m.nominal_hash_rate)
            mine.vardiff.restart(goal, now.monotonic, is_declared=True)
        steps: list[Step] = []
        self._tell(mine, self._course.update(mine, now), steps)
        return steps

    def _close_channel(self, m: CloseChannel, now: Now) -> list[Step]:
        """Close a channel, or all members of a group by the group's number."""
        fields: tuple[tuple[str, object], ...] = (("channel", m.channel_id), ("reason", m.reason_code))
        going = self._named(m.channel_id)
        for channel in going:
            del self._channels[channel.channel_id]
            self._end(channel)
        if not going:
            return [Happened(self.conn_id, "debug", "message.ignored", (("message", "CloseChannel"), *fields))]
        fields = (*fields, ("user", going[0].user))
        if going[0].channel_id != m.channel_id:
            fields = (*fields, ("channels", len(going)))
        return [Happened(self.conn_id, "info", "miner.closed", fields, _numbers(going))]

    def _named(self, number: int) -> list[Channel]:
        """The channel, or the members of the group, that has this number on the wire."""
        channel = self._channels.get(number)
        if channel is not None:
            return [channel.channel]
        if not self._course.has_group(number):      # else each wrong number would cost a look at every channel
            return []
        return [each.channel for each in self._channels.values() if each.channel.group_id == number]

    def close_idle(self, idle_timeout_s: float, now: Now) -> tuple[list[Step], float]:
        """Close the channels that are idle: (what follows, monotonic seconds of when the next one may be)."""
        steps: list[Step] = []
        closed: list[Channel] = []
        first = math.inf
        for each in list(self._channels.values()):
            channel = each.channel
            by = idle_by(channel, channel.began_at, idle_timeout_s, self._course.network_target)
            if by > now.monotonic:
                first = min(first, by)
                continue
            del self._channels[channel.channel_id]
            self._end(channel)
            steps.append(CloseChannel(channel_id=channel.channel_id, reason_code=IDLE))
            closed.append(channel)
        if closed and self.profile.ends_deaf:
            self._let_go = (self._let_go or set()).union([channel.channel_id for channel in closed])
        if closed:                                  # one line, however many they are
            steps.append(Happened(self.conn_id, "info", "miner.closed", (
                ("channel", closed[0].channel_id), ("reason", IDLE), ("user", closed[0].user),
                ("channels", len(closed))), _numbers(closed)))
        return steps, first

    # -- shares --------------------------------------------------------------------------------------------------

    def _refuse_unknown(self, channel_id: int, sequence: int) -> list[Step]:
        steps = super()._refuse_unknown(channel_id, sequence)
        if self._let_go is not None and channel_id in self._let_go:
            self._deaf_shares += 1
            if self._deaf_shares == MAX_DEAF_SHARES:
                steps.append(Close(self.conn_id, f"{MAX_DEAF_SHARES} shares for channels that were closed",
                                   is_peers_fault=True))
        return steps

    def _submit(self, m: SubmitSharesStandard | SubmitSharesExtended, now: Now) -> list[Step]:
        return self.take(m)

    _STEPS: Mapping[tuple[Phase, type], Callable[..., list[Step]]] = MappingProxyType({
        (Phase.AWAIT_SETUP, SetupConnection): _setup,
        (Phase.MINING, RequestExtensions): _request_extensions,
        (Phase.MINING, OpenStandardMiningChannel): _open,
        (Phase.MINING, OpenExtendedMiningChannel): _open,
        (Phase.MINING, UpdateChannel): _update,
        (Phase.MINING, CloseChannel): _close_channel,
        (Phase.MINING, SubmitSharesStandard): _submit,
        (Phase.MINING, SubmitSharesExtended): _submit,
    })


def _numbers(channels: Sequence[Channel]) -> tuple[int, ...]:
    return tuple(channel.channel_id for channel in channels)
