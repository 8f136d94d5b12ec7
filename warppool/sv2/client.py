"""The miner's side of an Sv2 mining conversation: for the CPU miner, the translator and the tests.

Messages in, messages and events out, as in `server.py`. `work.py` makes work of the jobs and tips of a channel: all
that is needed to build headers, frozen, with the prefix and the target that it was assigned under. What a pool says to
a group of channels leads to one event for each of them (`clientgroups.py`). Where V1's client has the same event, it
has the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from types import MappingProxyType
from typing import NamedTuple

from warppool.errors import LocalProtocolError, RemoteProtocolError, UnexpectedMessage
from warppool.sv2.clientgroups import NO_GROUP, JoinedGroups
from warppool.sv2.messages.common import (
    PROTOCOL_VERSION,
    ChannelEndpointChanged,
    Reconnect,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from warppool.sv2.messages.extensions import (
    RequestExtensions,
    RequestExtensionsError,
    RequestExtensionsSuccess,
)
from warppool.sv2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetExtranoncePrefix,
    SetGroupChannel,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
    UpdateChannelError,
)
from warppool.sv2.profile import Profile, Subprotocol
from warppool.sv2.types import Message
from warppool.sv2.work import MAX_EXTRANONCE_SIZE, ClientChannel, Work


class ClientPhase(IntEnum):
    """Where the conversation stands; a number, since it is looked up with every message."""

    AWAIT_ANSWER = auto()
    MINING = auto()
    CLOSED = auto()


REQUIRES_STANDARD_JOBS = 1
"""Of a miner's flags: it takes jobs with a merkle root alone."""

REQUIRES_FIXED_VERSION = 1
"""Of the pool's flags: no bit of a version may be changed."""

REQUIRES_EXTENDED_CHANNELS = 2
"""Of the pool's flags: it opens no standard channels."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """The pool accepted the connection: channels may be opened. `flags` are the pool's."""

    flags: int


@dataclass(frozen=True, slots=True)
class SetupRefused:
    """The pool will not talk to us; it closes the connection."""

    flags: int
    error_code: str


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """A channel was granted; its first work follows."""

    request_id: int
    channel_id: int
    target: int
    extranonce_prefix: bytes
    extranonce_size: int                # 0 on a standard channel


@dataclass(frozen=True, slots=True)
class OpenRefused:
    """The pool refused the open with this request_id."""

    request_id: int
    error_code: str


@dataclass(frozen=True, slots=True)
class WorkReady:
    """Hash this now; with `is_new_tip` everything before it is worthless."""

    work: Work
    is_new_tip: bool


@dataclass(frozen=True, slots=True)
class TargetChanged:
    """Work to come has another target."""

    channel_id: int
    target: int


class SharesAccepted(NamedTuple):
    """All shares of the channel up to `last_sequence` that were not refused are accepted, `news` of them now."""

    channel_id: int
    last_sequence: int
    news: int
    difficulty: int


class ShareRejected(NamedTuple):
    """One share was refused."""

    channel_id: int
    sequence: int
    error_code: str


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The pool ended a channel."""

    channel_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Regrouped:
    """So many channels are in another group than before; 0 stands for none."""

    group_channel_id: int
    channels: int


@dataclass(frozen=True, slots=True)
class ExtensionsAgreed:
    """The extensions that the pool speaks, of those that we asked for; perhaps none."""

    extensions: frozenset[int]


@dataclass(frozen=True, slots=True)
class ExtensionsVoid:
    """Another peer stands behind a channel: extensions are agreed on no more, and may be asked for anew."""


@dataclass(frozen=True, slots=True)
class ReconnectAsked:
    """The pool asks us to move; an empty host and port 0 mean the same ones."""

    host: str
    port: int


ClientEvent = (SetUp | SetupRefused | ChannelOpened | OpenRefused | WorkReady | TargetChanged | SharesAccepted
               | ShareRejected | ChannelClosed | Regrouped | ExtensionsAgreed | ExtensionsVoid | ReconnectAsked)


class MiningClientSession:
    """A miner's conversation with one pool: no socket, no clock, no thread.

    `receive` raises RemoteProtocolError for what a pool must not send. Requests (`setup`, `open_standard`, `submit`)
    give back the message to send.
    """

    subprotocol = Subprotocol.MINING                # whose messages are decoded

    def __init__(self, profile: Profile) -> None:
        self.phase = ClientPhase.AWAIT_ANSWER
        self.profile = profile
        self._channels: dict[int, ClientChannel] = {}
        self._groups = JoinedGroups()
        self._version_mask = profile.version_mask
        self._opening: dict[int, int] = {}          # request_id to the extranonce size asked for, -1 for standard
        self._next_request = 1
        self._asked_extensions: RequestExtensions | None = None         # that has no answer yet

    @staticmethod
    def setup(*, host: str, port: int, vendor: str, firmware: str, flags: int = 0) -> SetupConnection:
        """The first message of a mining connection."""
        return SetupConnection(
            protocol=Subprotocol.MINING, min_version=PROTOCOL_VERSION, max_version=PROTOCOL_VERSION, flags=flags,
            endpoint_host=host, endpoint_port=port, vendor=vendor, hardware_version="", firmware=firmware, device_id="")

    def request_extensions(self) -> RequestExtensions | None:
        """Ask for all extensions of the dialect, right after the set-up; None where it has none.

        A pool without extensions never answers. Nothing needs to wait: the answer comes before the answer to an open.
        """
        wanted = self.profile.extensions
        if wanted:
            self._asked_extensions = RequestExtensions(request_id=0, requested_extensions=tuple(sorted(wanted)))
        return self._asked_extensions

    def open_standard(self, user: str, hash_rate: float, max_target: int) -> OpenStandardMiningChannel:
        """Ask for a header-only channel."""
        return OpenStandardMiningChannel(request_id=self._request(-1), user_identity=user, nominal_hash_rate=hash_rate,
                                         max_target=max_target.to_bytes(32, "little"))

    def open_extended(self, user: str, hash_rate: float, max_target: int,
                      min_extranonce_size: int) -> OpenExtendedMiningChannel:
        """Ask for a channel with at least `min_extranonce_size` bytes of extranonce of our own."""
        return OpenExtendedMiningChannel(
            request_id=self._request(min_extranonce_size), user_identity=user, nominal_hash_rate=hash_rate,
            max_target=max_target.to_bytes(32, "little"), min_extranonce_size=min_extranonce_size)

    def submit(self, work: Work, extranonce: bytes, version: int, ntime: int,
               nonce: int) -> SubmitSharesStandard | SubmitSharesExtended:
        """The share for one header of `work`, under the channel's next sequence number."""
        channel = self._channels.get(work.channel_id)
        if channel is None:
            raise LocalProtocolError(f"a share for channel {work.channel_id}, which is not open")
        sequence, channel.sequence = channel.sequence, channel.sequence + 1
        if work.merkle_root is not None:
            return SubmitSharesStandard(work.channel_id, sequence, work.job_id, nonce, ntime, version)
        return SubmitSharesExtended(work.channel_id, sequence, work.job_id, nonce, ntime, version, extranonce)

    def close_channel(self, channel_id: int, reason: str) -> CloseChannel:
        """Give a channel up."""
        self._drop(channel_id)
        return CloseChannel(channel_id=channel_id, reason_code=reason)

    def receive(self, message: Message) -> list[ClientEvent]:
        """Apply one message of the pool and return what follows from it."""
        step = self._STEPS.get((self.phase, type(message)))
        if step is None:
            raise UnexpectedMessage(f"{type(message).__name__} in phase {self.phase.name}")
        return step(self, message)

    def _request(self, extranonce_size: int) -> int:
        request_id, self._next_request = self._next_request, self._next_request + 1
        self._opening[request_id] = extranonce_size
        return request_id

    def _set_up(self, m: SetupConnectionSuccess) -> list[ClientEvent]:
        if m.used_version != PROTOCOL_VERSION:
            raise RemoteProtocolError(f"the pool chose version {m.used_version}, we offered {PROTOCOL_VERSION}")
        self.phase = ClientPhase.MINING
        if m.flags & REQUIRES_FIXED_VERSION:
            self._version_mask = 0
        return [SetUp(m.flags)]

    def _setup_refused(self, m: SetupConnectionError) -> list[ClientEvent]:
        self.phase = ClientPhase.CLOSED
        return [SetupRefused(m.flags, m.error_code)]

    def _extensions(self, m: RequestExtensionsSuccess | RequestExtensionsError) -> list[ClientEvent]:
        asked = self._asked_extensions
        if asked is None or m.request_id != asked.request_id:
            return []                                       # to nothing that we have asked
        self._asked_extensions = None
        granted = m.supported_extensions if isinstance(m, RequestExtensionsSuccess) else ()
        return [ExtensionsAgreed(frozenset(granted) & frozenset(asked.requested_extensions))]

    def _endpoint_changed(self, m: ChannelEndpointChanged) -> list[ClientEvent]:
        self._asked_extensions = None
        return [ExtensionsVoid()]

    def _reconnect(self, m: Reconnect) -> list[ClientEvent]:
        return [ReconnectAsked(m.new_host, m.new_port)]

    def _standard_opened(self, m: OpenStandardMiningChannelSuccess) -> list[ClientEvent]:
        if self._opening.pop(m.request_id, None) != -1:
            raise RemoteProtocolError(f"a standard channel for request {m.request_id}, which asked for none")
        return self._opened(m.request_id, m.channel_id, m.target, m.extranonce_prefix, 0,
                            m.group_channel_id)

    def _extended_opened(self, m: OpenExtendedMiningChannelSuccess) -> list[ClientEvent]:
        asked = self._opening.pop(m.request_id, -1)
        if asked < 0:
            raise RemoteProtocolError(f"an extended channel for request {m.request_id}, which asked for none")
        if m.extranonce_size < max(1, asked) or len(m.extranonce_prefix) + m.extranonce_size > MAX_EXTRANONCE_SIZE:
            raise RemoteProtocolError(f"{m.extranonce_size} bytes of extranonce granted, {asked} asked for")
        return self._opened(m.request_id, m.channel_id, m.target, m.extranonce_prefix, m.extranonce_size,
                            m.group_channel_id or NO_GROUP)

    def _opened(self, request_id: int, channel_id: int, target: bytes, prefix: bytes, size: int,
                group_id: int) -> list[ClientEvent]:
        if channel_id in self._channels or channel_id in self._groups:
            raise RemoteProtocolError(f"channel {channel_id} was opened twice, or is a group")
        if group_id in self._channels or group_id == channel_id != NO_GROUP:
            raise RemoteProtocolError(f"the group {group_id} of channel {channel_id} is a channel")
        channel = ClientChannel(channel_id, prefix, size, int.from_bytes(target, "little"), self._version_mask)
        self._groups.join([channel], group_id)
        self._channels[channel_id] = channel
        return [ChannelOpened(request_id, channel_id, channel.target, prefix, size)]

    def _open_refused(self, m: OpenMiningChannelError) -> list[ClientEvent]:
        self._opening.pop(m.request_id, None)
        return [OpenRefused(m.request_id, m.error_code)]

    def _job(self, m: NewMiningJob | NewExtendedMiningJob) -> list[ClientEvent]:
        channel = self._channels.get(m.channel_id)
        if channel is not None:
            work = channel.take_job(m)
            return [] if work is None else [WorkReady(work, is_new_tip=False)]
        group = self._groups.get(m.channel_id)
        if group is None:
            return []                                       # closed by us a moment ago
        if isinstance(m, NewMiningJob):
            raise RemoteProtocolError(f"NewMiningJob for group {m.channel_id}")
        return [WorkReady(work, is_new_tip=False) for work in group.take_job(m)]

    def _prev_hash(self, m: SetNewPrevHash) -> list[ClientEvent]:
        channel = self._channels.get(m.channel_id)
        if channel is not None:
            of_group = None if channel.holds(m.job_id) else self._groups.future_job(channel, m.job_id)
            return [WorkReady(channel.take_tip(m, of_group), is_new_tip=True)]
        group = self._groups.get(m.channel_id)
        return [] if group is None else [WorkReady(work, is_new_tip=True) for work in group.take_tip(m)]

    def _target(self, m: SetTarget) -> list[ClientEvent]:
        target = int.from_bytes(m.maximum_target, "little")
        channel, group = self._channels.get(m.channel_id), self._groups.get(m.channel_id)
        channels = list(group.members.values()) if group is not None else [channel] if channel is not None else []
        for each in channels:
            each.target = target
        return [TargetChanged(each.channel_id, target) for each in channels]

    def _prefix(self, m: SetExtranoncePrefix) -> list[ClientEvent]:
        channel = self._channels.get(m.channel_id)
        if channel is not None:
            self._groups.take_prefix(channel, m.extranonce_prefix)
        return []

    def _group(self, m: SetGroupChannel) -> list[ClientEvent]:
        """Channels of another group than before; those that are gone are passed over."""
        if m.group_channel_id in self._channels:
            raise RemoteProtocolError(f"the group {m.group_channel_id} is a channel")
        named = [self._channels[each] for each in dict.fromkeys(m.channel_ids) if each in self._channels]
        moved = self._groups.join(named, m.group_channel_id)
        return [Regrouped(m.group_channel_id, moved)] if moved else []

    def _accepted(self, m: SubmitSharesSuccess) -> list[ClientEvent]:
        return [SharesAccepted(m.channel_id, m.last_sequence_number, m.new_submits_accepted_count, m.new_shares_sum)]

    def _rejected(self, m: SubmitSharesError) -> list[ClientEvent]:
        return [ShareRejected(m.channel_id, m.sequence_number, m.error_code)]

    def _channel_closed(self, m: CloseChannel) -> list[ClientEvent]:
        closed = self._groups.dissolve(m.channel_id) or [m.channel_id]
        return [ChannelClosed(channel_id, m.reason_code) for channel_id in closed if self._drop(channel_id)]

    def _drop(self, channel_id: int) -> bool:
        """The channel is no more; False where there was none."""
        channel = self._channels.pop(channel_id, None)
        if channel is None:
            return False
        self._groups.leave(channel)
        return True

    def _ignored(self, m: UpdateChannelError) -> list[ClientEvent]:
        return []                                           # nothing has changed: the channel goes on as it was

    _STEPS: Mapping[tuple[ClientPhase, type], Callable[..., list[ClientEvent]]] = MappingProxyType({
        (ClientPhase.AWAIT_ANSWER, SetupConnectionSuccess): _set_up,
        (ClientPhase.AWAIT_ANSWER, SetupConnectionError): _setup_refused,
        (ClientPhase.MINING, RequestExtensionsSuccess): _extensions,
        (ClientPhase.MINING, RequestExtensionsError): _extensions,
        (ClientPhase.MINING, Reconnect): _reconnect,
        (ClientPhase.MINING, ChannelEndpointChanged): _endpoint_changed,
        (ClientPhase.MINING, OpenStandardMiningChannelSuccess): _standard_opened,
        (ClientPhase.MINING, OpenExtendedMiningChannelSuccess): _extended_opened,
        (ClientPhase.MINING, OpenMiningChannelError): _open_refused,
        (ClientPhase.MINING, NewMiningJob): _job,
        (ClientPhase.MINING, NewExtendedMiningJob): _job,
        (ClientPhase.MINING, SetNewPrevHash): _prev_hash,
        (ClientPhase.MINING, SetTarget): _target,
        (ClientPhase.MINING, SetExtranoncePrefix): _prefix,
        (ClientPhase.MINING, SetGroupChannel): _group,
        (ClientPhase.MINING, SubmitSharesSuccess): _accepted,
        (ClientPhase.MINING, SubmitSharesError): _rejected,
        (ClientPhase.MINING, CloseChannel): _channel_closed,
        (ClientPhase.MINING, UpdateChannelError): _ignored,
    })
