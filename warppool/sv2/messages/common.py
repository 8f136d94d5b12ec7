"""The messages that every subprotocol shares: setting a connection up and moving it elsewhere.

Source: Sv2 Protocol Overview §3.6; docs/sv2-wire.rst#messages-common. Numbers on the wire are the profile's.
"""

from __future__ import annotations

from dataclasses import dataclass

from warppool.sv2.types import STR0_255, U8, U16, U32, Message

PROTOCOL_VERSION = 2
"""Of Sv2: the one that we speak, as server and as client."""

ALL_FLAGS = 0xFFFF_FFFF
"""Of a SetupConnection: every feature that one may want."""


@dataclass(frozen=True, slots=True)
class SetupConnection(Message):
    """Opens a connection for one subprotocol; the very first message, and never a second time (client to server)."""

    protocol: U8                # 0 mining, 1 job declaration, 2 template distribution; others want their answer too
    min_version: U16            # the lowest version that the client speaks
    max_version: U16            # and the highest
    flags: U32                  # wanted features; what a bit means is the subprotocol's
    endpoint_host: STR0_255     # what the client dialled
    endpoint_port: U16
    vendor: STR0_255
    hardware_version: STR0_255
    firmware: STR0_255
    device_id: STR0_255         # empty where the owner wants no telemetry

    @property
    def agent(self) -> str:
        """What the client says of itself, in one word for the log; "" where it says nothing."""
        return "/".join(part for part in (self.vendor, self.hardware_version, self.firmware) if part)


@dataclass(frozen=True, slots=True)
class SetupConnectionSuccess(Message):
    """The server accepts and fixes the version for the life of the connection (server to client)."""

    used_version: U16
    flags: U32                  # the server's own bits, never an echo


@dataclass(frozen=True, slots=True)
class SetupConnectionError(Message):
    """The server refuses and closes afterwards (server to client)."""

    flags: U32                  # every wanted feature that the server lacks; 0 when the reason is another
    error_code: STR0_255


@dataclass(frozen=True, slots=True)
class ChannelEndpointChanged(Message):
    """Another peer stands behind a channel: what was agreed on extensions is void (server to client)."""

    channel_id: U32


@dataclass(frozen=True, slots=True)
class Reconnect(Message):
    """Asks the client to take its whole connection elsewhere, under the same key (server to client)."""

    new_host: STR0_255          # empty: the same host
    new_port: U16               # 0: the same port
