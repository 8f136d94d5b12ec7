"""Noise as a connection's transport (`warppool.transport`): Noise messages as records on a byte stream.

Every Noise message, of the handshake and after it, goes as a length (U16, little-endian) and the message: a record. A
record with a length that cannot be right is refused as soon as the length is there. The plaintexts of all records make
one stream of bytes for the layer above, which cuts the stream into frames.

A pool holds one transport for each of its machines, so an established one is two ciphers and little else.

Source: docs/warp.rst#warp-noise, docs/warp.rst#warp-stream.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from hmac import compare_digest
from struct import Struct
from typing import Final, Generic, TypeVar

from warppool.errors import BadRecord, HandshakeFailed, RemoteProtocolError, WrongServerKey
from warppool.noise.cipherstate import CipherState
from warppool.noise.handshakestate import Initiator, Responder
from warppool.noise.primitives import MAX_PLAINTEXT, TAG_LEN, Buffer
from warppool.noise.symmetricstate import KeyPair, Suite
from warppool.transport import NOTHING, Sealed, TransportEnd

PREFIX_LEN: Final = 2           # the length before every message, bytes

HANDSHAKE_DEADLINE_S: Final = 10.0
"""From the accepted connection to the end of the handshake."""

_pack_length = Struct("<H").pack

H = TypeVar("H", Initiator, Responder)


def _record(message: bytes) -> bytes:
    return _pack_length(len(message)) + message


class _Transport(ABC, Generic[H]):
    """What both ends have in common: all but their own steps of the handshake.

    It belongs to one thread. `buffer` is that thread's, and all transports of the thread use it.
    """

    __slots__ = ("_buffer", "_early", "_handshake", "_handshake_out", "_held", "_receive", "_send", "end", "has_news",
                 "wakes_at")

    recognised: Final = None

    def __init__(self, handshake: H, buffer: Buffer, wakes_at: float) -> None:
        self._buffer = buffer
        self._handshake: H | None = handshake           # dropped as soon as it is done or has failed
        self._receive: CipherState | None = None
        self._send: CipherState | None = None
        self._held = b""                # bytes that came and make no whole record yet
        self._handshake_out = b""
        self._early = b""               # plaintext that waits for the end of the handshake
        self.end: TransportEnd | None = None
        self.has_news = True            # until the handshake is done and sent
        self.wakes_at = wakes_at

    @property
    def is_established(self) -> bool:
        """True from the end of the handshake on."""
        return self._send is not None

    @property
    def pending(self) -> int:
        """Bytes that came and make no whole record yet."""
        return len(self._held)

    def open(self, data: bytes, now: float) -> bytes:
        """The plaintext of all records that are whole. A message of the handshake takes the handshake on."""
        receive = self._receive
        if receive is not None and not self._held and len(data) >= PREFIX_LEN + TAG_LEN and (
                PREFIX_LEN + (data[0] | data[1] << 8) == len(data)):
            try:                                        # exactly one record, as nearly always
                return receive.decrypt_with_ad(b"", data[PREFIX_LEN:], self._buffer)
            except BadRecord as exc:
                self._fail(exc)
                return b""
        if self.end is not None:
            return b""
        self._held += data
        self.has_news = receive is None                 # it may be established by now, and have something to say
        try:
            if receive is None and not self._shake_hands():
                return b""
        except HandshakeFailed as exc:
            self._fail(exc)
            return b""
        return self._open_records()

    def _open_records(self) -> bytes:
        """The plaintext of all whole records that are held. A bad record ends the transport; those before it count."""
        receive, held, pieces, at = self._receive, self._held, [], 0
        assert receive is not None
        try:
            while (begin := at + PREFIX_LEN) <= len(held):
                length = held[begin - 2] | held[begin - 1] << 8
                if length < TAG_LEN:
                    raise BadRecord(f"record of {length} bytes, less than the {TAG_LEN} of a tag")
                end = begin + length
                if end > len(held):
                    break
                pieces.append(receive.decrypt_with_ad(b"", held[begin:end], self._buffer))
                at = end
            self._held = held[at:]
        except BadRecord as exc:
            self._fail(exc)
        return b"".join(pieces)

    def _shake_hands(self) -> bool:
        """Take the one handshake message that this role reads; False while the message is not whole."""
        handshake = self._handshake
        assert handshake is not None, "a handshake that is over, and no cipher of it"
        if len(self._held) < PREFIX_LEN:
            return False
        length = self._held[0] | self._held[1] << 8
        end = PREFIX_LEN + length
        if length != handshake.message_len:
            raise HandshakeFailed(f"handshake record of {length} bytes instead of {handshake.message_len}")
        if len(self._held) < end:
            return False
        self._receive, self._send = self._finish(handshake, self._held[PREFIX_LEN:end])
        self._handshake = None
        self._held = self._held[end:]
        self.wakes_at = math.inf
        return True

    def seal(self, plaintext: bytes) -> Sealed:
        """What the handshake has to say, and `plaintext` as records of at most 65,519 bytes of it each."""
        send = self._send
        if not self.has_news and plaintext and send is not None and len(plaintext) <= MAX_PLAINTEXT:
            message = send.encrypt_with_ad(b"", plaintext, self._buffer)        # as nearly always
            return Sealed(_pack_length(len(message)) + message)
        out, self._handshake_out = self._handshake_out, b""
        if self._early:
            plaintext, self._early = self._early + plaintext, b""
        if send is None:
            self._early = plaintext
            return Sealed(out)
        self.has_news = self.end is not None
        records = [out]
        for at in range(0, len(plaintext), MAX_PLAINTEXT):
            piece = plaintext[at:at + MAX_PLAINTEXT]
            records.append(_record(send.encrypt_with_ad(b"", piece, self._buffer)))
        return Sealed(b"".join(records))

    def shut(self) -> Sealed:
        """Nothing: Noise has no message that says goodbye."""
        return NOTHING

    def tick(self, now: float) -> None:
        """The handshake takes too long."""
        if now >= self.wakes_at:
            self._finish_by(TransportEnd(f"no handshake within {HANDSHAKE_DEADLINE_S:.0f} s"))

    @property
    def peer_key(self) -> bytes | None:
        """None: in the pattern NX a miner has no static key that it could prove."""
        return None

    @abstractmethod
    def _finish(self, handshake: H, message: bytes) -> tuple[CipherState, CipherState]:
        """Take the last step of this role on `message`: (receive cipher, send cipher)."""

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


class ResponderTransport(_Transport[Responder]):
    """The pool's end: it waits for act one, answers with act two, and is established.

    `static` is the pool's key pair. `ephemeral_secret` is random, and another one for each connection. `now` is when
    the connection was accepted, in monotonic seconds.
    """

    __slots__ = ()

    def __init__(self, suite: Suite, static: KeyPair, ephemeral_secret: bytes, buffer: Buffer, now: float) -> None:
        super().__init__(Responder(suite, static, suite.key_pair(ephemeral_secret), buffer), buffer,
                         now + HANDSHAKE_DEADLINE_S)

    def _finish(self, handshake: Responder, message: bytes) -> tuple[CipherState, CipherState]:
        handshake.read_act_one(message)
        act_two, receive, send = handshake.write_act_two(b"")
        self._handshake_out = _record(act_two)
        return receive, send


class InitiatorTransport(_Transport[Initiator]):
    """The miner's end: its first `seal` returns act one, and an act two of the right server establishes it.

    `server_public` is the key that the server must prove to have (`suite.dh_len` bytes); another key ends the transport
    with a WrongServerKey. `ephemeral_secret` is random, and another one for each connection. The transport has no
    deadline: who dials has one for the whole set-up.
    """

    __slots__ = ("_server_public",)

    def __init__(self, suite: Suite, server_public: bytes, ephemeral_secret: bytes, buffer: Buffer) -> None:
        handshake = Initiator(suite, suite.key_pair(ephemeral_secret), buffer)
        super().__init__(handshake, buffer, math.inf)
        self._server_public = server_public
        self._handshake_out = _record(handshake.write_act_one())

    @property
    def peer_key(self) -> bytes | None:
        """The server's key, once the server has proved that it holds the key: `server_public`."""
        return self._server_public if self.is_established else None

    def _finish(self, handshake: Initiator, message: bytes) -> tuple[CipherState, CipherState]:
        _, receive, send = handshake.read_act_two(message)      # the payload: empty in `warp`
        if not compare_digest(handshake.rs, self._server_public):
            raise WrongServerKey(f"server key: expected {self._server_public.hex()}, got {handshake.rs.hex()}")
        return receive, send
