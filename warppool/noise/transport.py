"""Noise as a connection's transport (`warppool.transport`), with the records of `warp`: lengths and messages.

Every Noise message, of the handshake and after it, goes as a length (U16, little-endian) and the message: a record. A
record with a length that cannot be right is refused as soon as the length is there. The plaintexts of all records make
one stream of bytes for the layer above, which cuts the stream into frames.

Source: docs/warp.rst#warp-noise, docs/warp.rst#warp-stream.
"""

from __future__ import annotations

import math
from struct import Struct
from typing import Final

from warppool.errors import BadRecord, HandshakeFailed
from warppool.events import Now
from warppool.noise.cipherstate import CipherState
from warppool.noise.primitives import MAX_PLAINTEXT, TAG_LEN, Buffer
from warppool.noise.roles import Answering, Asking
from warppool.noise.shaking import HANDSHAKE_DEADLINE_S, NoiseTransport
from warppool.noise.symmetricstate import KeyPair, Suite
from warppool.transport import Sealed

PREFIX_LEN: Final = 2           # the length before every message, bytes

_pack_length = Struct("<H").pack
_NO_TIME: Final = Now(0.0, 0.0)


def _record(message: bytes) -> bytes:
    return _pack_length(len(message)) + message


class _Prefixed(NoiseTransport):
    """Both ends of records with a length before them."""

    __slots__ = ()

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
        return self._open_records() if self._is_ready(data, now) else b""

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

    def seal(self, plaintext: bytes) -> Sealed:
        """What the handshake has to say, and `plaintext` as records of at most 65,519 bytes of it each."""
        send = self._send
        if not self.has_news and plaintext and send is not None and len(plaintext) <= MAX_PLAINTEXT:
            message = send.encrypt_with_ad(b"", plaintext, self._buffer)        # as nearly always
            return Sealed(_pack_length(len(message)) + message)
        return super().seal(plaintext)

    def _records(self, plaintext: bytes, send: CipherState) -> list[bytes]:
        return [_record(send.encrypt_with_ad(b"", plaintext[at:at + MAX_PLAINTEXT], self._buffer))
                for at in range(0, len(plaintext), MAX_PLAINTEXT)]

    def _handshake_record(self, message: bytes) -> bytes:
        return _record(message)

    def _take_handshake(self, length: int) -> bytes | None:
        held, end = self._held, PREFIX_LEN + length
        if len(held) < PREFIX_LEN:
            return None
        said = held[0] | held[1] << 8
        if said != length:
            raise HandshakeFailed(f"handshake record of {said} bytes instead of {length}: this is no warp; the "
                                  "published profile has a port of its own")
        if len(held) < end:
            return None
        self._held = held[end:]
        return held[PREFIX_LEN:end]


class ResponderTransport(_Prefixed):
    """The pool's end: it waits for act one, answers with act two, and is established.

    `static` is the pool's key pair. `ephemeral_secret` is random, and another one for each connection. `now` is when
    the connection was accepted, in monotonic seconds.
    """

    __slots__ = ()

    def __init__(self, suite: Suite, static: KeyPair, ephemeral_secret: bytes, buffer: Buffer, now: float,
                 payload: bytes = b"") -> None:
        super().__init__(Answering(suite, static, payload, ephemeral_secret, buffer), buffer,
                         now + HANDSHAKE_DEADLINE_S)


class InitiatorTransport(_Prefixed):
    """The miner's end: its first `seal` returns act one, and an act two of the right server establishes it.

    `server_public` is the key that the server must prove to have (`suite.dh_len` bytes); another key ends the transport
    with a WrongServerKey, and None takes any server. `ephemeral_secret` is random, and another one for each connection.
    The transport has no deadline: who dials has one for the whole set-up. `now` is for suites with certificates.
    """

    __slots__ = ()

    def __init__(self, suite: Suite, server_public: bytes | None, ephemeral_secret: bytes, buffer: Buffer,
                 now: Now = _NO_TIME) -> None:
        super().__init__(Asking(suite, server_public, ephemeral_secret, buffer, now), buffer, math.inf)
