"""The pool's side of an Sv2 conversation: messages in, messages and events out (architecture.md §4, §5).

One session is one connection after its Noise handshake. It holds the channels and what set-up agreed on; `shares.py`
asks `mining` about their shares. It sees no bytes of the wire: `connection.py` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from types import MappingProxyType

from warppool.errors import UnexpectedMessage
from warppool.events import Close, Happened, Now
from warppool.mining.assignment import Keys
from warppool.mining.channel import Channel, ChannelJob
from warppool.mining.counter import CoinbaseCounters
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import MAX_EXTRANONCE_SIZE, PREFIX_SIZE, PrefixPool
from warppool.mining.identity import MAX_BAD_NAMES, nobody_is_unpaid, read_identity, unpaid, user_of
from warppool.mining.idle import idle_by
from warppool.mining.job import Job
from warppool.mining.share import Weight
from warppool.mining.throttle import FLOOD
from warppool.mining.vardiff import Vardiff
from warppool.sv2.jobs import encoded
from warppool.sv2.messages.common import SetupConnection, SetupConnectionError, SetupConnectionSuccess
from warppool.sv2.messages.extensions import RequestExtensions
from warppool.sv2.messages.mining import (
    CloseChannel,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
    UpdateChannel,
    UpdateChannelError,
)
from warppool.sv2.profile import Profile, Subprotocol
from warppool.sv2.shares import Frames, ServerChannel, ShareAnswers, Step
from warppool.sv2.types import Message
from warppool.sv2.workers import WorkerNames, is_news

PROTOCOL_VERSION = 2

REQUIRES_STANDARD_JOBS = 1
REQUIRES_WORK_SELECTION = 2
REQUIRES_VERSION_ROLLING = 4

SUPPORTED_FLAGS: dict[int, int] = {
    Subprotocol.MINING: REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING,
}
"""By the subprotocols that are served here; templates are not, yet."""

ALL_FLAGS = 0xFFFFFFFF

DEFAULT_EXTRANONCE_SIZE = 8
"""Rollable bytes of an extended channel unless it asks for more: then V1 and V2 share one coinbase."""

MAX_CHANNELS = 1000
"""Channels on one connection: more than any farm behind a proxy, and a bound on what one peer can make us hold."""

MAX_OPENS = 10 * MAX_CHANNELS
"""Opens in the life of one connection, granted or not: past it, somebody fills the journal and mines nothing."""

IDLE = "no accepted share for too long"
"""Why an idle channel is closed, for the miner and for the log."""

LEAST_TICK_S = 1.0
"""Between two ticks, each of which looks at all channels: a second more or less is nothing to a difficulty."""


class Phase(IntEnum):
    """Where the conversation stands; a frame that a phase has no place for closes the connection.

    A number, since it is looked up with every message.
    """

    AWAIT_SETUP = auto()
    MINING = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Context:
    """What the sessions of one worker share. `random_bytes` is not here: a session needs no chance."""

    profile: Profile
    policy: DifficultyPolicy
    prefixes: PrefixPool
    counters: CoinbaseCounters
    is_unpaid: Callable[[str, float], bool] = nobody_is_unpaid


class MiningServerSession:
    """One peer's Sv2 conversation after the handshake: no socket, no clock, no thread.

    `receive` raises UnexpectedMessage for what the phase has no place for; then nothing has changed.
    """

    __slots__ = ("_bad_names", "_channels", "_has_refused", "_job", "_keys", "_next_channel_id", "_refused_opens",
                 "_shares", "_context", "_workers", "agent", "conn_id", "phase", "requires_standard_jobs",
                 "wakes_at")

    def __init__(self, conn_id: int, context: Context) -> None:
        self.conn_id = conn_id
        self.phase = Phase.AWAIT_SETUP
        self.agent = ""
        self.requires_standard_jobs = False
        self.wakes_at = math.inf                # monotonic seconds: the earliest of the channels' vardiff
        self._context = context
        self._channels: dict[int, ServerChannel] = {}
        self._job: Job | None = None
        self._keys = Keys()                     # of all channels: a group and its members share one number space
        self._next_channel_id = 1
        self._refused_opens = 0                 # those that count
        self._has_refused = False
        self._bad_names = 0                     # refused for their form
        self._shares = ShareAnswers(conn_id, context.profile)
        self._workers = WorkerNames()

    # -- what the worker asks ------------------------------------------------------------------------------------

    @property
    def profile(self) -> Profile:
        """The dialect; a session asks it for what differs and never for its name."""
        return self._context.profile

    @property
    def subprotocol(self) -> Subprotocol:
        """Whose messages are decoded now; Common belongs to each."""
        return _SUBPROTOCOLS[self.phase]

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return self._shares.validator.in_flight

    @property
    def channels(self) -> int:
        """How many channels are open."""
        return len(self._channels)

    @property
    def has_job(self) -> bool:
        """There is a job for every channel."""
        return self._job is not None

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
        user = names.user_of(channel.channel.user, area) if channel is not None else None
        steps = self._shares.submit(channel, message, message.extranonce, user)
        if names.ignored > before and is_news(names.ignored):
            steps.append(Happened(self.conn_id, "info" if names.ignored == 1 else "debug", "worker.ignored", (
                ("channel", message.channel_id), ("user", user), ("count", names.ignored))))
        return steps

    def offer(self, job: Job) -> list[Step]:
        """A new job for every channel."""
        self._job = job
        self._context.prefixes.moved(job.tip)
        steps: list[Step] = []
        for channel in self._channels.values():
            mine = channel.channel
            steps += self._follow_network(mine, job)
            steps.append(self._give(mine, job, *mine.offer(job, self._context.counters)))
        return steps

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Step]:
        """The weights of the shares submitted first; block before verdict, verdict before answer."""
        steps = self._shares.judged(weights, now)
        validator = self._shares.validator
        if validator.due is not None:
            due, validator.due = validator.due, None
            for channel in due:
                if channel.channel_id in self._channels:
                    steps += self._look(channel, now)
        return steps

    def tick(self, now: Now) -> list[Step]:
        """Look at the channels whose time has come."""
        if now.monotonic < self.wakes_at:
            return []
        self.wakes_at = math.inf
        steps: list[Step] = []
        for each in self._channels.values():
            if each.channel.wakes_at <= now.monotonic:
                steps += self._look(each.channel, now)
            self._await(each.channel)
        self.wakes_at = max(self.wakes_at, now.monotonic + LEAST_TICK_S)
        return steps

    def recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares are in the books: one Success for each channel that has news."""
        return self._shares.recorded(ids)

    def not_recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares will never be in the books: they are refused, and may be sent again."""
        return self._shares.not_recorded(ids)

    def given_up(self, ids: Sequence[int]) -> list[Step]:
        """These shares are refused, and may be in the books all the same."""
        return self._shares.given_up(ids)

    def closed(self) -> None:
        """The connection is gone: no more messages; prefixes rest until their last job is stale."""
        self.phase = Phase.CLOSED
        self.wakes_at = math.inf
        for channel in self._channels.values():
            channel.is_open = False
            self._context.prefixes.release(channel.channel.extranonce_prefix)
        self._channels.clear()

    # -- set-up --------------------------------------------------------------------------------------------------

    def _setup(self, m: SetupConnection, now: Now) -> list[Step]:
        supported = SUPPORTED_FLAGS.get(m.protocol)
        if supported is None:
            return self._refuse_setup(0, "unsupported-protocol")
        if not m.min_version <= PROTOCOL_VERSION <= m.max_version:
            return self._refuse_setup(0, "protocol-version-mismatch")
        if m.flags & ~supported:
            return self._refuse_setup(ALL_FLAGS & ~supported, "unsupported-feature-flags")
        self.agent = "/".join(part for part in (m.vendor, m.hardware_version, m.firmware) if part)
        self.phase = Phase.MINING
        self.requires_standard_jobs = bool(m.flags & REQUIRES_STANDARD_JOBS)
        fields = (("protocol", m.protocol), ("agent", self.agent), ("device", m.device_id))
        return [SetupConnectionSuccess(used_version=PROTOCOL_VERSION, flags=0),
                Happened(self.conn_id, "debug", "miner.set_up", fields)]

    def _refuse_setup(self, flags: int, code: str) -> list[Step]:
        self.phase = Phase.CLOSED
        return [SetupConnectionError(flags=flags, error_code=code), Close(self.conn_id, code, is_peers_fault=True)]

    def _request_extensions(self, m: RequestExtensions, now: Now) -> list[Step]:
        return [self._workers.agree(m, self.profile)]

    # -- channels ------------------------------------------------------------------------------------------------

    def _open_standard(self, m: OpenStandardMiningChannel, now: Now) -> list[Step]:
        return self._open(m, 0, now)

    def _open_extended(self, m: OpenExtendedMiningChannel, now: Now) -> list[Step]:
        if self.requires_standard_jobs:
            return self._refuse_open(m.request_id, "extended-channels-not-supported-for-standard-jobs")
        if m.min_extranonce_size > MAX_EXTRANONCE_SIZE - PREFIX_SIZE:
            return self._refuse_open(m.request_id, "min-extranonce-size-too-large")
        return self._open(m, max(DEFAULT_EXTRANONCE_SIZE, m.min_extranonce_size), now)

    def _open(self, m: OpenStandardMiningChannel | OpenExtendedMiningChannel, extranonce_size: int,
              now: Now) -> list[Step]:
        max_target = int.from_bytes(m.max_target, "little")
        user = read_identity(m.user_identity)
        if user is None:
            return self._refuse_name(m.request_id)
        if not is_hash_rate(m.nominal_hash_rate):
            return self._refuse_open(m.request_id, "invalid-nominal-hashrate")
        if max_target == 0:
            return self._refuse_open(m.request_id, "max-target-out-of-range")
        if len(self._channels) >= MAX_CHANNELS:
            return self._refuse_open(m.request_id, "too-many-channels", is_counted=False)   # the others mine on
        if self._next_channel_id >= MAX_OPENS:
            return self._refuse_open(m.request_id, "too-many-channels")
        prefix = self._context.prefixes.take()
        if prefix is None:
            return self._refuse_open(m.request_id, "no-extranonce-prefix-left")
        policy = self._context.policy
        vardiff = Vardiff(policy, policy.wanted_at_open(m.nominal_hash_rate), now.monotonic,
                          is_declared=m.nominal_hash_rate > 0)
        target = vardiff.granted(max_target, self._network_target())
        channel = Channel(self._next_channel_id, user, prefix, extranonce_size, target, max_target, self._keys)
        channel.vardiff = vardiff
        channel.throttle = policy.throttle(now.monotonic)
        channel.began_at = now.monotonic
        self._await(channel)
        self._next_channel_id += 1
        self._channels[channel.channel_id] = ServerChannel(channel)
        steps: list[Step] = [self._open_answer(m.request_id, channel), self._opened(channel)]
        if self._context.is_unpaid(user_of(user), now.monotonic):
            steps.append(unpaid(self.conn_id, user))
        return steps + self._give_alone(channel)

    def _open_answer(self, request_id: int, channel: Channel) -> Message:
        target = channel.target.to_bytes(32, "little")
        if channel.extranonce_size == 0:
            return OpenStandardMiningChannelSuccess(
                request_id=request_id, channel_id=channel.channel_id, target=target,
                extranonce_prefix=channel.extranonce_prefix, group_channel_id=0)
        return OpenExtendedMiningChannelSuccess(
            request_id=request_id, channel_id=channel.channel_id, target=target,
            extranonce_size=channel.extranonce_size, extranonce_prefix=channel.extranonce_prefix, group_channel_id=0)

    def _opened(self, channel: Channel) -> Happened:
        return Happened(self.conn_id, "info", "miner.opened", (
            ("channel", channel.channel_id), ("user", channel.user),
            ("kind", "extended" if channel.extranonce_size else "standard"),
            ("prefix", channel.extranonce_prefix), ("difficulty", channel.difficulty), ("agent", self.agent)))

    def _refuse_open(self, request_id: int, code: str, *, is_counted: bool = True) -> list[Step]:
        """The first refusal of a connection is news for the operator; the rest are for who looks closely.

        Not `is_counted`: the peer may ask for ever, and keeps the channels that it has.
        """
        level = "debug" if self._has_refused else "info"
        self._has_refused = True
        self._refused_opens += is_counted
        steps: list[Step] = [OpenMiningChannelError(request_id=request_id, error_code=code),
                             Happened(self.conn_id, level, "miner.refused", (("reason", code), ("agent", self.agent)))]
        if is_counted and self._refused_opens + self._next_channel_id > MAX_OPENS:
            steps.append(Close(self.conn_id, f"more than {MAX_OPENS} channels asked for", is_peers_fault=True))
        return steps

    def _refuse_name(self, request_id: int) -> list[Step]:
        """What was said is no name; a peer that goes on and on with that is no machine."""
        self._bad_names += 1
        steps = self._refuse_open(request_id, "invalid-user-identity")
        if self._bad_names >= MAX_BAD_NAMES:
            steps.append(Close(self.conn_id, f"{MAX_BAD_NAMES} names that are none", is_peers_fault=True))
        return steps

    def _network_target(self) -> int:
        return self._job.tip.target if self._job is not None else 1

    def _follow_network(self, channel: Channel, job: Job) -> list[Step]:
        """Where the network's difficulty has changed, the channel's may change with it."""
        if channel.tip is not None and channel.tip.target == job.tip.target:
            return []                           # None: it was opened before any job came
        target = _vardiff(channel).granted(channel.max_target, job.tip.target)
        return self._retarget(channel, target, "network difficulty")

    def _give(self, channel: Channel, job: Job, mine: ChannelJob, has_moved: bool) -> Step:
        """Send an assignment of `job`: future and activated when the tip moved, else active at once."""
        return Frames(encoded(self._context.profile, job).frames(
            channel.channel_id, mine, channel.extranonce_size, is_future=has_moved))

    def _give_alone(self, channel: Channel) -> list[Step]:
        """Send the newest job to this channel alone, if there is one.

        Its key leaves the old target with the old key. Its coinbase counter makes other headers of it: machines search
        from the start again, and would bring the same shares as before.
        """
        job = self._job
        if job is None:
            return []
        return [*self._follow_network(channel, job),
                self._give(channel, job, *channel.offer_alone(job, self._context.counters))]

    # -- difficulty ----------------------------------------------------------------------------------------------

    def _look(self, channel: Channel, now: Now) -> list[Step]:
        """Ask the channel's throttle and vardiff whether its target is still the right one."""
        steps: list[Step] = []
        if channel.look_at_flood(now.monotonic):
            target = _vardiff(channel).granted(channel.max_target, self._network_target())
            steps += self._change(channel, target, FLOOD)
        wanted = _vardiff(channel).wanted(channel.max_target, self._network_target(), now.monotonic)
        self._await(channel)
        return [*steps, *self._change(channel, *wanted)] if wanted is not None else steps

    def _change(self, channel: Channel, target: int, reason: str) -> list[Step]:
        """A new target, and the job once more: an active job keeps the target that it had (sv2-wire.md, SetTarget)."""
        steps = self._retarget(channel, target, reason)
        return [*steps, *self._give_alone(channel)] if steps else []

    def _retarget(self, channel: Channel, target: int, reason: str) -> list[Step]:
        self._await(channel)
        if target == channel.target:
            return []
        before = channel.difficulty
        channel.set_target(target)
        return [SetTarget(channel_id=channel.channel_id, maximum_target=channel.target.to_bytes(32, "little")),
                Happened(self.conn_id, "debug", "difficulty.changed", (
                    ("channel", channel.channel_id), ("from", before), ("to", channel.difficulty),
                    ("reason", reason)))]

    def _await(self, channel: Channel) -> None:
        self.wakes_at = min(self.wakes_at, channel.wakes_at)

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
        vardiff = _vardiff(mine)
        mine.max_target = max_target
        if m.nominal_hash_rate > 0:
            goal = self._context.policy.target_for_hash_rate(m.nominal_hash_rate)
            vardiff.restart(goal, now.monotonic, is_declared=True)
        return self._change(mine, vardiff.granted(max_target, self._network_target()), "update of the channel")

    def _close_channel(self, m: CloseChannel, now: Now) -> list[Step]:
        channel = self._channels.pop(m.channel_id, None)
        fields: tuple[tuple[str, object], ...] = (("channel", m.channel_id), ("reason", m.reason_code))
        if channel is None:
            return [Happened(self.conn_id, "debug", "message.ignored", (("message", "CloseChannel"), *fields))]
        channel.is_open = False
        self._context.prefixes.release(channel.channel.extranonce_prefix)
        return [Happened(self.conn_id, "info", "miner.closed", (*fields, ("user", channel.channel.user)))]

    def close_idle(self, idle_timeout_s: float, now: Now) -> tuple[list[Step], float]:
        """Close the channels that are idle: (what follows, monotonic seconds of when the next one may be)."""
        steps: list[Step] = []
        closed: list[Channel] = []
        first = math.inf
        for each in list(self._channels.values()):
            channel = each.channel
            by = idle_by(channel, channel.began_at, idle_timeout_s, self._network_target())
            if by > now.monotonic:
                first = min(first, by)
                continue
            del self._channels[channel.channel_id]
            each.is_open = False
            self._context.prefixes.release(channel.extranonce_prefix)
            steps.append(CloseChannel(channel_id=channel.channel_id, reason_code=IDLE))
            closed.append(channel)
        if closed:                                  # one line, however many they are
            steps.append(Happened(self.conn_id, "info", "miner.closed", (
                ("channel", closed[0].channel_id), ("reason", IDLE), ("user", closed[0].user),
                ("channels", len(closed)))))
        return steps, first

    # -- shares --------------------------------------------------------------------------------------------------

    def _submit_standard(self, m: SubmitSharesStandard, now: Now) -> list[Step]:
        return self._shares.submit(self._channels.get(m.channel_id), m, b"")

    def _submit_extended(self, m: SubmitSharesExtended, now: Now) -> list[Step]:
        return self._shares.submit(self._channels.get(m.channel_id), m, m.extranonce)

    _STEPS: Mapping[tuple[Phase, type], Callable[..., list[Step]]] = MappingProxyType({
        (Phase.AWAIT_SETUP, SetupConnection): _setup,
        (Phase.MINING, RequestExtensions): _request_extensions,
        (Phase.MINING, OpenStandardMiningChannel): _open_standard,
        (Phase.MINING, OpenExtendedMiningChannel): _open_extended,
        (Phase.MINING, UpdateChannel): _update,
        (Phase.MINING, CloseChannel): _close_channel,
        (Phase.MINING, SubmitSharesStandard): _submit_standard,
        (Phase.MINING, SubmitSharesExtended): _submit_extended,
    })


_SUBPROTOCOLS = {
    Phase.AWAIT_SETUP: Subprotocol.COMMON,
    Phase.MINING: Subprotocol.MINING,
    Phase.CLOSED: Subprotocol.COMMON,
}


def _vardiff(channel: Channel) -> Vardiff:
    """Every Sv2 channel has one: nothing in Sv2 asks for a fixed difficulty."""
    assert channel.vardiff is not None
    return channel.vardiff


def is_hash_rate(rate: float) -> bool:
    """A finite number of hashes a second, not below zero."""
    return math.isfinite(rate) and rate >= 0
