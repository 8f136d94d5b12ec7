"""The dialects of Stratum V2, as data: what a message's number is, what stands on a wire and how it is sealed.

A listener and a dialled connection have one profile each. Whoever encodes, decodes, seals or judges takes what differs
from it and never asks for its name. `WARP` is this project's dialect (docs/warp.rst), `SPEC` the published one.

Source: docs/sv2-wire.rst#wire-frames, docs/warp.rst#warp-messages; messages.json of the tests' vectors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from operator import attrgetter
from typing import Any

from warppool.errors import LocalProtocolError, UnexpectedMessage
from warppool.mining.pace import JobPace
from warppool.noise.specsuite import SPEC_SUITE
from warppool.noise.symmetricstate import WARP_SUITE, Suite
from warppool.sv2.codec import Layout, layout_of
from warppool.sv2.frame import CHANNEL_BIT, HEADER_FORMAT, MAX_U24, Frame, encode_frame
from warppool.sv2.messages import common, extensions, mining, template
from warppool.sv2.tlv import WORKER_NAMES
from warppool.sv2.types import Bytes, Message, Packed, UInt


class Subprotocol(IntEnum):
    """Whose messages a connection speaks, by its number in SetupConnection.

    Common has no number there. A connection speaks Common alone until it is set up, and every other subprotocol knows
    the messages of Common.
    """

    COMMON = -1
    MINING = 0
    TEMPLATE_DISTRIBUTION = 2


_ANY_SECRET = bytes(31) + b"\x01"

IdTable = Mapping[Subprotocol, Mapping[type[Message], int]]

ExtensionTable = Mapping[int, Mapping[type[Message], int]]
"""By the number of an extension: its messages, which belong to every subprotocol, and their numbers in it."""


Reader = Callable[[bytes], tuple[Message, bytes]]
"""One message from the front of a payload, and what follows its last field."""

Packer = tuple[Callable[..., bytes], int, int, Callable[[Any], tuple[int, ...]]]
"""How `struct` makes the whole frame of a message of numbers: the packing, what stands in its header (the extension;
number and length), and what takes the values out of the message."""


def _packer(extension_type: int, msg_type: int, layout: Layout[Any]) -> Packer | None:
    """None for a message that has more than numbers."""
    kinds = layout.kinds.values()
    codes = [kind.code for kind in kinds if isinstance(kind, UInt)]
    if len(codes) < len(kinds) or len(codes) < 2:       # of a single one `attrgetter` makes no tuple
        return None
    size = sum(kind.min_size for kind in kinds)
    return (struct.Struct(HEADER_FORMAT + "".join(codes)).pack, extension_type, msg_type | size << 8,
            attrgetter(*layout.kinds))


def _reader(layout: Layout[Any]) -> Reader:
    """`layout.decode` in one call, for messages that `struct` reads at one stroke, as those are that come with every
    share: numbers and hashes, and behind them, if anything, a few bytes. What is wrong, `layout.decode` names.
    """
    draft, cls, slow = layout.draft, layout.cls, layout.decode
    *heads, tail = layout.kinds.values()
    limit = tail.limit if isinstance(tail, Bytes) and tail.min_size == 1 else -1
    codes = [kind.code for kind in (heads if limit >= 0 else [*heads, tail]) if isinstance(kind, Packed)]
    if len(codes) < len(heads) + (limit < 0):
        return slow
    fixed = struct.Struct("<" + "".join(codes) + ("B" if limit >= 0 else ""))
    size, unpack = fixed.size, fixed.unpack_from

    def of_numbers(payload: bytes) -> tuple[Message, bytes]:
        if len(payload) < size:
            return slow(payload)
        message: Message = draft(*unpack(payload))
        message.__class__ = cls
        return message, payload[size:]

    def with_bytes(payload: bytes) -> tuple[Message, bytes]:
        if len(payload) < size:
            return slow(payload)
        *numbers, length = unpack(payload)
        end = size + length
        if length > limit or end > len(payload):
            return slow(payload)
        message: Message = draft(*numbers, payload[size:end])
        message.__class__ = cls
        return message, payload[end:]

    return of_numbers if limit < 0 else with_bytes


@dataclass(frozen=True, eq=False)
class Profile:
    """One dialect; immutable, shared by all threads.

    A message that is not in `ids` does not exist: encoding it is LocalProtocolError, receiving it UnexpectedMessage.
    The four caps are the longest payloads in bytes: those that a server reads before the set-up, those that it reads
    afterwards, those that a miner reads, and those that everybody else reads, and ever sends, but for what is `longer`.
    """

    name: str
    ids: IdTable                                    # each subprotocol's own messages
    channel_messages: frozenset[type[Message]]      # sent with the channel bit
    without_tail: frozenset[type[Message]]          # written without their optional tail, which is still read
    max_payload_before_setup: int
    max_payload_from_client: int
    max_payload_from_pool: int
    max_payload: int
    version_mask: int                               # bits of a header's version that a miner may roll
    checks_sequence: bool                           # a sequence number not above the last is a duplicate share
    keeps_alive: bool                               # a pool that says nothing for minutes is dead
    assumed_hash_rate_hps: float                    # of a machine that says nothing of itself; 0: a pool takes that
    max_shares_per_tip: int | None                  # of one channel, over which a pool hangs up; None: it bounds them
    suite: Suite                                    # of Noise, which seals it
    extension_ids: ExtensionTable = field(default_factory=dict)     # messages that extensions bring
    extensions: frozenset[int] = frozenset()        # what a server grants to a client that asks, and a client asks for
    error_codes: Mapping[str, str] = field(default_factory=dict)    # by our words for a refusal: other ones, for peers
    ends_deaf: bool = False                         # who mines on after our CloseChannel loses the connection
    longer: Mapping[type[Message], int] = field(default_factory=dict)   # what may be longer than `max_payload`
    pace: JobPace | None = None                     # None: each job goes out as it comes
    has_groups: bool = False                        # with a pace: jobs go to groups of channels, if the peer takes them
    share_numbers: frozenset[int] = field(init=False)       # of the messages that are shares
    _outgoing: Mapping[type[Message], tuple[int, int, Layout[Any]]] = field(init=False, repr=False)
    _incoming: Mapping[Subprotocol, Mapping[int, Layout[Any]]] = field(init=False, repr=False)
    _framers: Mapping[type[Message], Callable[..., bytes]] = field(init=False, repr=False)
    _packers: Mapping[type[Message], Packer] = field(init=False, repr=False)
    _readers: Mapping[Subprotocol, Mapping[int, Reader]] = field(init=False, repr=False)
    _extended: Mapping[tuple[int, int], Layout[Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Build the tables of both directions; ValueError if two messages that can meet have one number."""
        outgoing: dict[type[Message], tuple[int, int, Layout[Any]]] = {}
        for ids in self.ids.values():
            for cls, msg_type in ids.items():
                extension_type = CHANNEL_BIT if cls in self.channel_messages else 0
                outgoing[cls] = (extension_type, msg_type, layout_of(cls, cls not in self.without_tail))
        incoming: dict[Subprotocol, dict[int, Layout[Any]]] = {}
        for subprotocol, ids in self.ids.items():
            known = {**self.ids[Subprotocol.COMMON], **ids}
            incoming[subprotocol] = {msg_type: outgoing[cls][2] for cls, msg_type in known.items()}
            if len(incoming[subprotocol]) < len(known):
                raise ValueError(f"two messages of profile {self.name} have one number in {subprotocol.name}")
        extended: dict[tuple[int, int], Layout[Any]] = {}
        for extension, brought in self.extension_ids.items():
            for cls, msg_type in brought.items():
                outgoing[cls] = (extension, msg_type, layout_of(cls))
                extended[extension, msg_type] = outgoing[cls][2]
        object.__setattr__(self, "share_numbers", frozenset(
            self.ids[Subprotocol.MINING][cls] for cls in (mining.SubmitSharesStandard, mining.SubmitSharesExtended)))
        object.__setattr__(self, "_extended", extended)
        object.__setattr__(self, "_outgoing", outgoing)
        object.__setattr__(self, "_incoming", incoming)
        object.__setattr__(self, "_readers", {
            subprotocol: {msg_type: _reader(layout) for msg_type, layout in layouts.items()}
            for subprotocol, layouts in incoming.items()})
        object.__setattr__(self, "_packers", {cls: packer for cls, route in outgoing.items()
                                              if (packer := _packer(*route)) is not None})
        object.__setattr__(self, "_framers", {cls: self._make_framer(cls) for cls in outgoing})

    def check(self) -> None:
        """ConfigError where the library that seals this dialect is not installed, and says how to get it."""
        self.suite.public_key(_ANY_SECRET)

    def id_of(self, cls: type[Message]) -> int:
        """The number of `cls` on the wire; LocalProtocolError if this dialect lacks it."""
        return self._route(cls)[1]

    def class_of(self, subprotocol: Subprotocol, msg_type: int) -> type[Message]:
        """What number `msg_type` means; UnexpectedMessage if this subprotocol lacks it."""
        return self._layout(subprotocol, msg_type).cls

    def longer_numbers(self, subprotocol: Subprotocol) -> Mapping[int, int]:
        """The messages of `subprotocol` that may be longer than `max_payload`, by their numbers, for a FrameReader."""
        ids = self.ids[subprotocol]
        return {ids[cls]: size for cls, size in self.longer.items() if cls in ids}

    def encode(self, message: Message) -> bytes:
        """The whole frame of `message`; LocalProtocolError if this dialect lacks it or its payload is too long."""
        packer = self._packers.get(type(message))
        if packer is not None:
            pack, extension_type, number_and_length, values_of = packer
            try:
                return pack(extension_type, number_and_length, *values_of(message))
            except struct.error:
                pass                            # the layout names the field that its type cannot hold
        extension_type, msg_type, layout = self._route(type(message))
        payload = layout.encode(message)
        if len(payload) > self.max_payload and len(payload) > self.longer.get(type(message), 0):
            raise LocalProtocolError(f"{type(message).__name__} of {len(payload)} bytes in profile {self.name}")
        return encode_frame(msg_type, payload, extension_type)

    def framer(self, cls: type[Message]) -> Callable[..., bytes]:
        """`encode` for one class, from the values of a message in wire order: no message is made where `struct` can
        make the frame at one stroke. For what goes out with every share. LocalProtocolError if this dialect lacks it.
        """
        try:
            return self._framers[cls]
        except KeyError:
            raise self._lacks(cls) from None

    def _make_framer(self, cls: type[Message]) -> Callable[..., bytes]:
        extension_type, msg_type, layout = self._route(cls)

        def by_message(*values: Any) -> bytes:
            return self.encode(layout.make(*values))

        *heads, tail = layout.kinds.values()
        numbers = [kind.code for kind in heads if isinstance(kind, UInt)]
        if len(numbers) < len(heads) or not isinstance(tail, Bytes) or tail.min_size != 1:
            return by_message
        size = sum(kind.min_size for kind in heads) + 1
        limit = min(tail.limit, self.max_payload - size)
        pack = struct.Struct(f"{HEADER_FORMAT}{''.join(numbers)}B").pack

        def at_one_stroke(*values: Any) -> bytes:
            value: bytes = values[-1]
            length = len(value)
            if length <= limit:
                try:
                    return pack(extension_type, msg_type | (size + length) << 8, *values[:-1], length) + value
                except struct.error:
                    pass
            return by_message(*values)          # which names the field that its type cannot hold

        return at_one_stroke

    def decode(self, subprotocol: Subprotocol, frame: Frame) -> Message | None:
        """`read` without what stands behind the last field."""
        return self.read(subprotocol, frame)[0]

    def read(self, subprotocol: Subprotocol, frame: Frame) -> tuple[Message | None, bytes]:
        """The message in `frame`, and what stands behind its last field: the TLV area of extensions.

        None for a frame of an extension, or of a number in one, that this dialect does not know: discard it.
        UnexpectedMessage if this subprotocol has no such number, or before the set-up for an extension, since nothing
        may come before SetupConnection; MalformedPayload if the payload is not that message.
        """
        if frame.extension_type:
            if subprotocol is Subprotocol.COMMON:
                raise UnexpectedMessage(f"extension 0x{frame.extension_type:04x} before the set-up")
            layout = self._extended.get((frame.extension_type, frame.msg_type))
            return (None, b"") if layout is None else layout.decode(frame.payload)
        try:
            read = self._readers[subprotocol][frame.msg_type]
        except KeyError:
            raise UnexpectedMessage(f"message 0x{frame.msg_type:02x} in {subprotocol.name}") from None
        return read(frame.payload)

    def _route(self, cls: type[Message]) -> tuple[int, int, Layout[Any]]:
        try:
            return self._outgoing[cls]
        except KeyError:
            raise self._lacks(cls) from None

    def _lacks(self, cls: type[Message]) -> LocalProtocolError:
        return LocalProtocolError(f"profile {self.name} has no {cls.__name__}")

    def _layout(self, subprotocol: Subprotocol, msg_type: int) -> Layout[Any]:
        try:
            return self._incoming[subprotocol][msg_type]
        except KeyError:
            raise UnexpectedMessage(f"message 0x{msg_type:02x} in {subprotocol.name}") from None


SPEC_IDS: IdTable = {
    Subprotocol.COMMON: {
        common.SetupConnection: 0x00,
        common.SetupConnectionSuccess: 0x01,
        common.SetupConnectionError: 0x02,
        common.ChannelEndpointChanged: 0x03,
        common.Reconnect: 0x04,
    },
    Subprotocol.MINING: {
        mining.OpenStandardMiningChannel: 0x10,
        mining.OpenStandardMiningChannelSuccess: 0x11,
        mining.OpenMiningChannelError: 0x12,
        mining.OpenExtendedMiningChannel: 0x13,
        mining.OpenExtendedMiningChannelSuccess: 0x14,
        mining.NewMiningJob: 0x15,
        mining.UpdateChannel: 0x16,
        mining.UpdateChannelError: 0x17,
        mining.CloseChannel: 0x18,
        mining.SetExtranoncePrefix: 0x19,
        mining.SubmitSharesStandard: 0x1A,
        mining.SubmitSharesExtended: 0x1B,
        mining.SubmitSharesSuccess: 0x1C,
        mining.SubmitSharesError: 0x1D,
        mining.NewExtendedMiningJob: 0x1F,
        mining.SetNewPrevHash: 0x20,
        mining.SetTarget: 0x21,
        mining.SetCustomMiningJob: 0x22,
        mining.SetCustomMiningJobSuccess: 0x23,
        mining.SetCustomMiningJobError: 0x24,
        mining.SetGroupChannel: 0x25,
    },
    Subprotocol.TEMPLATE_DISTRIBUTION: {
        template.CoinbaseOutputConstraints: 0x70,
        template.NewTemplate: 0x71,
        template.SetNewPrevHash: 0x72,
        template.RequestTransactionData: 0x73,
        template.RequestTransactionDataSuccess: 0x74,
        template.RequestTransactionDataError: 0x75,
        template.SubmitSolution: 0x76,
    },
}

_NOT_IN_WARP = {
    common.ChannelEndpointChanged,
    mining.SetCustomMiningJob,
    mining.SetCustomMiningJobSuccess,
    mining.SetCustomMiningJobError,
    mining.SetGroupChannel,
}
_WARPS_OWN = {mining.NewMiningJob: 0x1E, mining.NewExtendedMiningJob: 0x22}
WARP_IDS: IdTable = {
    subprotocol: {cls: _WARPS_OWN.get(cls, msg_type) for cls, msg_type in ids.items() if cls not in _NOT_IN_WARP}
    for subprotocol, ids in SPEC_IDS.items()
}

EXTENSION_IDS: ExtensionTable = {
    0x0001: {
        extensions.RequestExtensions: 0x00,
        extensions.RequestExtensionsSuccess: 0x01,
        extensions.RequestExtensionsError: 0x02,
    },
}

_LONGER: Mapping[type[Message], int] = {template.RequestTransactionDataSuccess: MAX_U24}    # a block of transactions
_LARGEST_SETUP = 1_291                                      # a SetupConnection with five strings of 255 bytes

WARP = Profile(
    name="warp",
    ids=WARP_IDS,
    channel_messages=frozenset(),
    without_tail=frozenset({template.CoinbaseOutputConstraints}),   # its CoinbaseOutputDataSize is the size alone
    max_payload_before_setup=_LARGEST_SETUP,
    max_payload_from_client=4_096,
    max_payload_from_pool=1_048_576,
    max_payload=1_048_576,
    version_mask=0x1FFFE000,                                # BIP 320
    checks_sequence=True,
    keeps_alive=True,
    assumed_hash_rate_hps=0.0,
    max_shares_per_tip=None,                                # by a harder target
    suite=WARP_SUITE,
    extension_ids=EXTENSION_IDS,
    extensions=frozenset({WORKER_NAMES}),
    longer=_LONGER,
)

SPEC = Profile(
    name="spec",
    ids=SPEC_IDS,
    channel_messages=frozenset(
        {cls for cls, msg_type in SPEC_IDS[Subprotocol.MINING].items() if 0x15 <= msg_type <= 0x24}
        | {common.ChannelEndpointChanged}
    ),
    without_tail=frozenset(),
    max_payload_before_setup=_LARGEST_SETUP,
    max_payload_from_client=78_370,                         # the largest SetCustomMiningJob, and 4 KiB of TLVs
    max_payload_from_pool=266_242,                          # the largest SetGroupChannel, and 4 KiB
    max_payload=MAX_U24,
    version_mask=0x1FFFFFE0,                                # BIP 323
    checks_sequence=False,
    keeps_alive=False,                                      # with new work alone: on a quiet chain that is hours
    assumed_hash_rate_hps=1e12,                             # as a Bitaxe has it; of 0, SRI's pool makes a target that
                                                            # every hash meets
    max_shares_per_tip=3_000,                               # SRI's pool: 4,096 at least; some are under way
    suite=SPEC_SUITE,
    extension_ids=EXTENSION_IDS,
    extensions=frozenset({WORKER_NAMES}),
    error_codes=dict.fromkeys(("too-many-channels", "no-extranonce-prefix-left"), "channel-capacity-exhausted"),
    ends_deaf=True,                                         # a Bitaxe passes over every CloseChannel
    longer=_LONGER,
    pace=JobPace(least_s=30.0, most_s=58.0, settling_s=120.0),  # within 60 s, though a timer may be a second late
    has_groups=True,
)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (WARP, SPEC)}
"""By the word that a pool's URL has for its profile (`addresses.PoolUrl.profile`)."""
