"""What every Noise transport has (`warppool.transport`), whatever its records: the handshake, its deadline, its end.

A pool holds one transport for each of its machines, so an established one is two ciphers and little else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Final

from warppool.errors import HandshakeFailed, RemoteProtocolError, WrongServerKey
from warppool.noise.cipherstate import CipherState
from warppool.noise.primitives import Buffer
from warppool.noise.roles import Role
from warppool.transport import NOTHING, Sealed, TransportEnd

HANDSHAKE_DEADLINE_S: Final = 10.0
"""From the accepted connection to the end of the handshake."""


class NoiseTransport(ABC):
    """All but the records: a subclass has `open` and `seal`, and says how the handshake's messages go.

    It belongs to one thread. `buffer` is that thread's, and all transports of the thread use it. `peer_key` is the
    server's static key, once the server has proved that it holds the key; None at a server, since in the pattern NX a
    miner has no static key that it could prove.
    """

    __slots__ = ("_buffer", "_early", "_handshake", "_handshake_out", "_held", "_receive", "_send", "end", "has_news",
                 "peer_key", "wakes_at")

    recognised: Final = None

    def __init__(self, handshake: Role, buffer: Buffer, wakes_at: float) -> None:
        self._buffer = buffer
        self._handshake: Role | None = handshake        # dropped as soon as it is done or has failed
        self._receive: CipherState | None = None
        self._send: CipherState | None = None
        self._held = b""                # bytes that came and make no whole record yet
        self._handshake_out = self._handshake_record(handshake.opening) if handshake.opening else b""
        self._early = b""               # plaintext that waits for the end of the handshake
        self.end: TransportEnd | None = None
        self.has_news = True            # until the handshake is done and sent
        self.peer_key: bytes | None = None
        self.wakes_at = wakes_at

    @property
    def is_established(self) -> bool:
        """True from the end of the handshake on."""
        return self._send is not None

    @property
    def pending(self) -> int:
        """Bytes that came and make no whole record yet."""
        return len(self._held)

    @abstractmethod
    def open(self, data: bytes, now: float) -> bytes:
        """The plaintext that is whole. A message of the handshake takes the handshake on."""

    @abstractmethod
    def _handshake_record(self, message: bytes) -> bytes:
        """A message of the handshake as it goes on the wire."""

    @abstractmethod
    def _take_handshake(self, length: int) -> bytes | None:
        """Take the one handshake message, of `length` bytes, out of `_held`; None while it is not whole.

        HandshakeFailed where it cannot have that length.
        """

    @abstractmethod
    def _records(self, plaintext: bytes, send: CipherState) -> list[bytes]:
        """`plaintext`, sealed."""

    def _is_ready(self, data: bytes, now: float) -> bool:
        """Whether records are to be looked for in `_held`, to which `data` is added; a handshake takes its step."""
        if self.end is not None:
            return False
        self._held += data
        self.has_news = self._receive is None           # it may be established by now, and have something to say
        if self._receive is not None:
            return True
        try:
            return self._shake_hands(now)
        except HandshakeFailed as exc:
            self._fail(exc)
            return False

    def _shake_hands(self, now: float) -> bool:
        """Take the one handshake message that this role reads; False while the message is not whole."""
        handshake = self._handshake
        assert handshake is not None, "a handshake that is over, and no cipher of it"
        message = self._take_handshake(handshake.message_len)
        if message is None:
            return False
        reply, self._receive, self._send, self.peer_key = handshake.finish(message, now)
        self._handshake = None
        self.wakes_at = math.inf
        if reply:
            self._handshake_out = self._handshake_record(reply)
        return True

    def seal(self, plaintext: bytes) -> Sealed:
        """What the handshake has to say, and `plaintext` as records; before the handshake is done it waits."""
        send = self._send
        out, self._handshake_out = self._handshake_out, b""
        if self._early:
            plaintext, self._early = self._early + plaintext, b""
        if send is None:
            self._early = plaintext
            return Sealed(out)
        self.has_news = self.end is not None
        return Sealed(b"".join([out, *self._records(plaintext, send)]))

    def shut(self) -> Sealed:
        """Nothing: Noise has no message that says goodbye."""
        return NOTHING

    def tick(self, now: float) -> None:
        """The handshake takes too long."""
        if now >= self.wakes_at:
            self._finish_by(TransportEnd(f"no handshake within {HANDSHAKE_DEADLINE_S:.0f} s"))

    def _fail(self, error: RemoteProtocolError) -> None:
        words = str(error) if isinstance(error, WrongServerKey) else f"{type(error).__name__}: {error}"
        # A new one: the traceback of `error` would keep the handshake, and its secrets, as long as this transport.
        self._finish_by(TransportEnd(words, error=type(error)(*error.args)))

    def _finish_by(self, end: TransportEnd) -> None:
        """Take in nothing more. Sealing goes on if it could before, for the answers to what came before."""
        self.end = end
        self.has_news = True
        self.wakes_at = math.inf
        self._handshake = None
        self._receive = None
        self._held = self._early = b""
