"""Transports: what stands between the bytes of a socket and the bytes of a session.

Each connection has one transport, which belongs to the connection's worker. Bytes from the wire go in and plaintext
comes out; all that one wake-up has for a connection is sealed once, at the end of the wake-up, whoever's step said it.
Sessions never see ciphertext, and events carry plaintext only.

Here are the protocol and `Plain`. `noise.transport` has Noise, `net.tls` has TLS.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, NewType, Protocol

from warppool.errors import RemoteProtocolError

if TYPE_CHECKING:
    Sealed = NewType("Sealed", bytes)
else:
    Sealed = bytes              # which gives bytes back as they are, where a NewType is a call of Python
"""Bytes as they go on the wire. Only a transport makes them, so no plaintext can reach a wire that is to be sealed."""


class TransportEnd(NamedTuple):
    """Why a transport takes in nothing more; `reason` is for the log.

    Not `is_peers_fault`: the peer said goodbye, and may still read its answers. `error` is what the core raised, if
    that was why: WrongServerKey where a server has proved another key than the one that it is known by.
    """

    reason: str
    is_peers_fault: bool = True
    error: RemoteProtocolError | None = None


class Recognised(NamedTuple):
    """What a transport has found that is there only to find out what comes.

    The worker connects the peer anew, as one that was accepted on a listener of this `kind` (`Opened.listener`). That
    connection's transport gets `received`: bytes from the wire that this transport has not used up. `peer` is the
    address for the log that a proxy announced, None where the one of the socket stays. `announced` is the IP address in
    the proxy's header, "" where the header names none, and None where there was no header. Deadlines of what follows
    count from `since`, monotonic seconds: who does not say what he is gets no more time than who does. None is now.
    """

    kind: str
    received: bytes
    peer: str | None = None
    announced: str | None = None
    since: float | None = None


class Transport(Protocol):
    """One connection's bytes on the wire. No method raises for what a peer sent; `end` tells of it.

    All times are monotonic seconds.
    """

    @property
    def wakes_at(self) -> float:
        """When `tick` is wanted, the deadline of the handshake above all; `math.inf` for never."""

    @property
    def has_news(self) -> bool:
        """More came of the last `open`, `seal` or `tick` than plaintext: bytes for the wire, another `wakes_at`,
        `recognised` or `end`. The worker asks this at every read, and for all the others only where it is true.
        """

    @property
    def end(self) -> TransportEnd | None:
        """Why nothing more is taken in, None before that. It comes after all plaintext that `open` has returned."""

    @property
    def recognised(self) -> Recognised | None:
        """What to connect the peer to; None for a transport that stays."""

    @property
    def peer_key(self) -> bytes | None:
        """The static public key that the peer has proved to hold; None where the handshake proves none."""

    @property
    def pending(self) -> int:
        """Bytes from the wire that are held and have given no plaintext yet: the front of a record."""

    def open(self, data: bytes, now: float) -> bytes:
        """Take `data` from the wire (never empty) and return all plaintext that is whole now, b"" for none."""

    def seal(self, plaintext: bytes) -> Sealed:
        """What goes on the wire now: first what the transport itself has to say (handshake, alert), then `plaintext`.

        b"" asks for the former alone. Before the handshake is done, `plaintext` is kept until it is.
        """

    def shut(self) -> Sealed:
        """The last bytes for the wire, as TLS's close_notify; b"" for none. No other call follows."""

    def tick(self, now: float) -> None:
        """`wakes_at` has come."""


class Plain:
    """No transport security: the bytes on the wire are the session's."""

    __slots__ = ()

    wakes_at: Final = math.inf
    has_news: Final = False
    end: Final = None
    recognised: Final = None
    peer_key: Final = None
    pending: Final = 0

    def open(self, data: bytes, now: float) -> bytes:
        """`data` as it came."""
        return data

    def seal(self, plaintext: bytes) -> Sealed:
        """`plaintext` as it is."""
        return Sealed(plaintext)

    def shut(self) -> Sealed:
        """Nothing."""
        return NOTHING

    def tick(self, now: float) -> None:
        """Never wanted."""


class Shut(Plain):
    """Stands for the transport of a closed connection: nothing comes in, and nothing goes out."""

    __slots__ = ()

    def open(self, data: bytes, now: float) -> bytes:
        """Nothing."""
        return b""

    def seal(self, plaintext: bytes) -> Sealed:
        """Nothing."""
        return NOTHING


NOTHING: Final = Sealed(b"")
PLAIN: Final = Plain()
SHUT: Final = Shut()
"""They hold no state, so all connections share one of each."""
