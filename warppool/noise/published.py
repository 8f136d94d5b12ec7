"""Noise with the records of the published profile as a connection's transport (`warppool.transport`).

The two messages of the handshake go as they are, without a length: each has one length only. After them each frame is
sealed by itself: its header (6 bytes) as one Noise message of 22 bytes, then its payload in pieces of at most 65,519
bytes, each as one Noise message. No length goes in the clear: that of the payload stands in the header, sealed. So the
records follow the frames, and this module knows where a header has its length, and nothing else of it.

A header comes out as soon as it is whole. The layer above refuses a payload that is too long before any of it is held.

Source: docs/sv2-wire.rst#wire-spec.
"""

from __future__ import annotations

import math
from typing import Final

from warppool.errors import BadRecord, LocalProtocolError
from warppool.events import Now
from warppool.noise.cipherstate import CipherState
from warppool.noise.primitives import MAX_PLAINTEXT, TAG_LEN, Buffer
from warppool.noise.roles import Answering, Asking, Role
from warppool.noise.shaking import HANDSHAKE_DEADLINE_S, NoiseTransport
from warppool.noise.symmetricstate import KeyPair, Suite
from warppool.transport import Sealed

HEADER_LEN: Final = 6                           # of a frame: U16 extension, U8 message, U24 length of the payload
SEALED_HEADER_LEN: Final = HEADER_LEN + TAG_LEN
_MAX_AT_ONCE: Final = MAX_PLAINTEXT - SEALED_HEADER_LEN     # of a payload that is sealed in one call with its header


class _Published(NoiseTransport):
    """Both ends of records that follow the frames. `_left` is how much of a payload has not come yet, in plaintext."""

    __slots__ = ("_left",)

    def __init__(self, handshake: Role, buffer: Buffer, wakes_at: float) -> None:
        super().__init__(handshake, buffer, wakes_at)
        self._left = 0

    def open(self, data: bytes, now: float) -> bytes:
        """The headers and pieces of payloads that are whole. A message of the handshake takes the handshake on."""
        receive = self._receive
        if receive is not None:
            self.has_news = False
            if len(data) > SEALED_HEADER_LEN and not self._left and not self._held:
                try:                                        # exactly one frame, as nearly always
                    header = receive.decrypt_with_ad(b"", data[:SEALED_HEADER_LEN], self._buffer)
                    length = header[3] | header[4] << 8 | header[5] << 16
                    if 0 < length <= MAX_PLAINTEXT and length + SEALED_HEADER_LEN + TAG_LEN == len(data):
                        return header + receive.decrypt_with_ad(b"", data[SEALED_HEADER_LEN:], self._buffer)
                except BadRecord as exc:
                    self._fail(exc)
                    return b""
                self._left = length
                return header + self._open_records(data[SEALED_HEADER_LEN:])
            return self._open_records(self._held + data if self._held else data)
        return self._open_records(self._held) if self._is_ready(data, now) else b""

    def _open_records(self, held: bytes) -> bytes:
        """The same of `held`. A bad record ends the transport; those before it count."""
        receive, pieces, at, left, size = self._receive, [], 0, self._left, len(held)
        assert receive is not None
        decrypt, buffer = receive.decrypt_with_ad, self._buffer
        try:
            while (end := at + (min(left, MAX_PLAINTEXT) + TAG_LEN if left else SEALED_HEADER_LEN)) <= size:
                piece = decrypt(b"", held[at:end], buffer)
                pieces.append(piece)
                left = left - len(piece) if left else piece[3] | piece[4] << 8 | piece[5] << 16
                at = end
            self._held = held[at:]
            self._left = left
        except BadRecord as exc:
            self._fail(exc)
        return b"".join(pieces)

    def seal(self, plaintext: bytes) -> Sealed:
        """What the handshake has to say, and `plaintext`, whole frames: anything else is LocalProtocolError."""
        send = self._send
        if self.has_news or send is None:
            return super().seal(plaintext)
        size = len(plaintext) - HEADER_LEN
        if 0 < size <= _MAX_AT_ONCE and plaintext[3] | plaintext[4] << 8 | plaintext[5] << 16 == size:
            return Sealed(send.encrypt_two(plaintext[:HEADER_LEN], plaintext[HEADER_LEN:], self._buffer))
        return Sealed(b"".join(self._records(plaintext, send)))

    def _records(self, plaintext: bytes, send: CipherState) -> list[bytes]:
        records, begin, size, encrypt, buffer = [], 0, len(plaintext), send.encrypt_with_ad, self._buffer
        while begin < size:
            header = plaintext[begin:begin + HEADER_LEN]
            if len(header) < HEADER_LEN:
                raise LocalProtocolError(f"{len(header)} bytes of a header to be sealed")
            records.append(encrypt(b"", header, buffer))
            begin += HEADER_LEN
            end = begin + (header[3] | header[4] << 8 | header[5] << 16)
            if end > size:
                raise LocalProtocolError(f"{size - begin} bytes of a payload of {end - begin} to be sealed")
            while begin < end:
                piece = plaintext[begin:min(begin + MAX_PLAINTEXT, end)]
                records.append(encrypt(b"", piece, buffer))
                begin += len(piece)
        return records

    def _handshake_record(self, message: bytes) -> bytes:
        return message

    def _take_handshake(self, length: int) -> bytes | None:
        held = self._held
        if len(held) < length:
            return None
        self._held = held[length:]
        return held[:length]


class PublishedResponder(_Published):
    """The pool's end. `payload` is the certificate of `static`, 74 bytes; the rest as in `ResponderTransport`."""

    __slots__ = ()

    def __init__(self, suite: Suite, static: KeyPair, ephemeral_secret: bytes, buffer: Buffer, now: float,
                 payload: bytes) -> None:
        super().__init__(Answering(suite, static, payload, ephemeral_secret, buffer), buffer,
                         now + HANDSHAKE_DEADLINE_S)


class PublishedInitiator(_Published):
    """The miner's end. `authority` is the x-only key (32 bytes) that must have signed the server's certificate.

    None takes any server. `now` is when the transport is made, by both clocks, for the times of the certificate; the
    rest is as in `InitiatorTransport`.
    """

    __slots__ = ()

    def __init__(self, suite: Suite, authority: bytes | None, ephemeral_secret: bytes, buffer: Buffer,
                 now: Now) -> None:
        super().__init__(Asking(suite, authority, ephemeral_secret, buffer, now), buffer, math.inf)
