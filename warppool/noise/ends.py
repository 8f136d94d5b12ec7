"""Makes the transport of either end of a connection under Noise. The suite says which records the transport has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from warppool.events import Now
from warppool.noise.primitives import Buffer
from warppool.noise.published import PublishedInitiator, PublishedResponder
from warppool.noise.shaking import NoiseTransport
from warppool.noise.symmetricstate import KeyPair, Suite
from warppool.noise.transport import InitiatorTransport, ResponderTransport


def no_payload(unix_time: float) -> bytes:
    """The payload of act two where the suite has none."""
    return b""


class Identity(NamedTuple):
    """Who a server is: its static key, and what it says of the key in act two, which depends on the time in seconds."""

    static: KeyPair
    payload: Callable[[float], bytes] = no_payload


def responder(suite: Suite, identity: Identity, ephemeral_secret: bytes, buffer: Buffer, now: Now) -> NoiseTransport:
    """The transport of a connection that was accepted at `now`.

    `ephemeral_secret` is 32 random bytes, others for each connection; `buffer` is the thread's own.
    """
    make = ResponderTransport if suite.has_length_prefixes else PublishedResponder
    return make(suite, identity.static, ephemeral_secret, buffer, now.monotonic, identity.payload(now.unix))


def initiator(suite: Suite, pin: bytes | None, ephemeral_secret: bytes, buffer: Buffer, now: Now) -> NoiseTransport:
    """The transport of a connection that is dialled at `now`.

    `pin` is what the server is held to, 32 bytes: its static key in `warp`, the public key of its authority in the
    published profile. None takes any server, and whoever sits between.
    """
    make = InitiatorTransport if suite.has_length_prefixes else PublishedInitiator
    return make(suite, pin, ephemeral_secret, buffer, now)
