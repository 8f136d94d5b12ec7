"""The messages of extension 0x0001, by which a client asks what other extensions the server speaks.

They may come right after the set-up, before anything else. A server that has no extensions stays silent.

Source: Sv2 extension 0x0001, Extensions Negotiation; docs/sv2-wire.rst#wire-extensions. Numbers on the wire are the
profile's.
"""

from __future__ import annotations

from dataclasses import dataclass

from warppool.sv2.types import SEQ0_64K_U16, U16, Message


@dataclass(frozen=True, slots=True)
class RequestExtensions(Message):
    """Names the extensions that the client wants to use (client to server)."""

    request_id: U16                         # the client's, echoed in the answer
    requested_extensions: SEQ0_64K_U16


@dataclass(frozen=True, slots=True)
class RequestExtensionsSuccess(Message):
    """The server speaks these of them, and they count from now on (server to client)."""

    request_id: U16
    supported_extensions: SEQ0_64K_U16


@dataclass(frozen=True, slots=True)
class RequestExtensionsError(Message):
    """The server speaks none of them, or demands others (server to client)."""

    request_id: U16
    unsupported_extensions: SEQ0_64K_U16
    required_extensions: SEQ0_64K_U16       # without which the server will not go on
