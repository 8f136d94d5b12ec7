"""Records: Noise messages on a byte stream (architecture.md §5).

Every Noise message, handshake and transport alike, goes as `u16 little-endian length` and the message. What is wrong
with a length alone is refused as soon as the length is there. The plaintexts of transport records concatenate to one
stream; what stands in it is for the layer above.

A pool holds one transport for each of its miners, so an established one is two ciphers and next to nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from hmac import compare_digest
from struct import Struct
from typing import Final, Generic, TypeVar

from warppool.errors import BadRecord, HandshakeFailed, LocalProtocolError, WrongServerKey
from warppool.noise.cipherstate import CipherState
from warppool.noise.handshakestate import Initiator, Responder
from warppool.noise.primitives import MAX_PLAINTEXT, TAG_LEN, Buffer
from warppool.noise.symmetricstate import KeyPair, Suite

PREFIX_LEN: Final = 2           # the length before every message, bytes

_pack_length = Struct("<H").pack

H = TypeVar("H", Initiator, Responder)


def _record(message: bytes) -> bytes:
    return _pack_length(len(message)) + message


class _Transport(ABC, Generic[H]):
    """What both ends of a session have in common: all but the two steps of the handshake.

    It belongs to one thread, whose `buffer` it shares with all other transports of that thread.
    """

    __slots__ = ("_at", "_buffer", "_handshake", "_handshake_out", "_held", "_receive", "_send")

    def __init__(self, handshake: H, buffer: Buffer) -> None:
        self._buffer = buffer
        self._handshake: H | None = handshake           # dropped as soon as it is done or has failed
        self._receive: CipherState | None = None
        self._send: CipherState | None = None
        self._held = b""                # what came and has not been opened,
        self._at = 0                    # from here on
        self._handshake_out = b""

    @property
    def is_established(self) -> bool:
        """True from the end of the handshake on: `seal` may be called."""
        return self._send is not None

    @property
    def pending(self) -> int:
        """Bytes that came and do not make up a record yet, or were left by a consumer that stopped early."""
        return len(self._held) - self._at

    def take_handshake(self) -> bytes:
        """What the handshake has to put on the wire, b"" if nothing; it goes before anything that `seal` returns."""
        out, self._handshake_out = self._handshake_out, b""
        return out

    def seal(self, plaintext: bytes) -> bytes:
        """`plaintext` as records of at most 65,519 bytes of it each, ready for the wire; b"" makes one empty record."""
        send = self._send
        if send is None:
            raise LocalProtocolError("nothing can be sealed before the handshake is done")
        if len(plaintext) <= MAX_PLAINTEXT:
            message = send.encrypt_with_ad(b"", plaintext, self._buffer)
            return _pack_length(len(message)) + message
        pieces = (plaintext[i : i + MAX_PLAINTEXT] for i in range(0, len(plaintext), MAX_PLAINTEXT))
        return b"".join([_record(send.encrypt_with_ad(b"", piece, self._buffer)) for piece in pieces])

    def open(self, data: bytes) -> Iterable[bytes]:
        """Take `data` from the wire and return the plaintext of each record that is whole, but for empty ones.

        The first is to be taken at once; a consumer may stop after any, and goes on with `open(b"")`. HandshakeFailed
        or BadRecord comes after what was good before it, from here or from the iterator, and is the end: it comes again
        at every later call. Handshake messages are dealt with on the way.
        """
        receive = self._receive
        if receive is not None and not self._held and len(data) >= PREFIX_LEN + TAG_LEN and (
                PREFIX_LEN + (data[0] | data[1] << 8) == len(data)):
            try:                                        # one whole record, as nearly always
                plaintext = receive.decrypt_with_ad(b"", data[PREFIX_LEN:], self._buffer)
            except BadRecord:
                self._end()
                raise
            return (plaintext,) if plaintext else ()
        self.hold(data)
        return self._records()

    def hold(self, data: bytes) -> None:
        """Take `data` from the wire and open nothing yet."""
        self._held = self._held[self._at :] + data
        self._at = 0

    def _records(self) -> Iterator[bytes]:
        """What `open` promises; the transport keeps its place before each yield, so that any yield may be the last."""
        if self._receive is None and not self._shake_hands():
            return
        receive = self._receive
        assert receive is not None
        while (begin := self._at + PREFIX_LEN) <= len(held := self._held):
            length = held[begin - 2] | held[begin - 1] << 8
            if length < TAG_LEN:
                self._end()
                raise BadRecord(f"record of {length} bytes, less than the {TAG_LEN} of a tag")
            end = begin + length
            if end > len(held):
                break
            try:
                plaintext = receive.decrypt_with_ad(b"", held[begin:end], self._buffer)
            except BadRecord:
                self._end()
                raise
            self._at = end
            if plaintext:
                yield plaintext
        self._held = self._held[self._at :]
        self._at = 0

    def _shake_hands(self) -> bool:
        """Deal with the one handshake message that this role reads; False while it is not whole."""
        handshake = self._handshake
        if handshake is None:
            self._end()                                 # of what came since, nothing is kept
            raise HandshakeFailed("after a failed handshake") if self._send is None else BadRecord("after a bad record")
        if len(self._held) < PREFIX_LEN:
            return False
        length = self._held[0] | self._held[1] << 8
        end = PREFIX_LEN + length
        try:
            if length != handshake.message_len:
                raise HandshakeFailed(f"handshake record of {length} bytes instead of {handshake.message_len}")
            if len(self._held) < end:
                return False
            self._receive, self._send = self._finish(handshake, self._held[PREFIX_LEN:end])
        except HandshakeFailed:
            self._end()
            raise
        self._handshake = None
        self._at = end
        return True

    @abstractmethod
    def _finish(self, handshake: H, message: bytes) -> tuple[CipherState, CipherState]:
        """Take the last step of this role on `message`: (receive cipher, send cipher)."""

    def _end(self) -> None:
        """Take in nothing more. What can be sealed still can, for the answers to what came before."""
        self._handshake = None
        self._receive = None
        self._held = b""
        self._at = 0


class ResponderTransport(_Transport[Responder]):
    """The pool's end: waits for act one, answers with act two (`take_handshake`), and is established.

    `static` is the pool's key, whose public half is worked out once for all connections; `ephemeral_secret` is random
    and fresh for each.
    """

    __slots__ = ()

    def __init__(self, suite: Suite, static: KeyPair, ephemeral_secret: bytes, buffer: Buffer) -> None:
        super().__init__(Responder(suite, static, suite.key_pair(ephemeral_secret), buffer), buffer)

    def _finish(self, handshake: Responder, message: bytes) -> tuple[CipherState, CipherState]:
        handshake.read_act_one(message)
        act_two, receive, send = handshake.write_act_two(b"")
        self._handshake_out = _record(act_two)
        return receive, send


class InitiatorTransport(_Transport[Initiator]):
    """The miner's end: has act one ready (`take_handshake`), and is established by an act two of the right server.

    `server_public` is the key that the server must prove to have (`suite.dh_len` bytes), `ephemeral_secret` random and
    fresh for each connection.
    """

    __slots__ = ("_server_public",)

    def __init__(self, suite: Suite, server_public: bytes, ephemeral_secret: bytes, buffer: Buffer) -> None:
        handshake = Initiator(suite, suite.key_pair(ephemeral_secret), buffer)
        super().__init__(handshake, buffer)
        self._server_public = server_public
        self._handshake_out = _record(handshake.write_act_one())

    def _finish(self, handshake: Initiator, message: bytes) -> tuple[CipherState, CipherState]:
        _, receive, send = handshake.read_act_two(message)      # of length 0 in this record layer's profile
        if not compare_digest(handshake.rs, self._server_public):
            raise WrongServerKey(f"server key: expected {self._server_public.hex()}, got {handshake.rs.hex()}")
        return receive, send
