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
from warppool.noise.cipherstate import RESERVED_NONCE, CipherState
from warppool.noise.primitives import MAX_MESSAGE, MAX_PLAINTEXT, TAG_LEN, Buffer, open_into, open_two
from warppool.noise.roles import Answering, Asking, Role
from warppool.noise.shaking import HANDSHAKE_DEADLINE_S, NoiseTransport
from warppool.noise.symmetricstate import KeyPair, Suite
from warppool.transport import Sealed

HEADER_LEN: Final = 6                           # of a frame: U16 extension, U8 message, U24 length of the payload
SEALED_HEADER_LEN: Final = HEADER_LEN + TAG_LEN
_MAX_AT_ONCE: Final = MAX_PLAINTEXT - SEALED_HEADER_LEN     # of a payload that is sealed in one call with its header
_TWO_FRAMES: Final = 2 * (SEALED_HEADER_LEN + 1 + TAG_LEN)  # fewer bytes are one frame with a payload at the most


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
            if not self._held and not self._left and len(data) < _TWO_FRAMES and receive.n < RESERVED_NONCE - 1:
                plaintext = open_two(receive.k, receive.n, SEALED_HEADER_LEN, data, self._buffer)
                if plaintext is not None and plaintext[3] | plaintext[4] << 8 | plaintext[5] << 16 == (
                        len(plaintext) - HEADER_LEN):       # exactly one frame, as nearly always
                    receive.n += 2
                    return plaintext
            return self._open_records(receive, self._held + data if self._held else data)
        if not self._is_ready(data, now):
            return b""
        assert self._receive is not None
        return self._open_records(self._receive, self._held)

    def _open_records(self, receive: CipherState, held: bytes) -> bytes:
        """The same of `held`. A bad record ends the transport; those before it count."""
        key, n, left, at, size = receive.k, receive.n, self._left, 0, len(held)
        opened, buffer, end_of_opened = self._buffer[1], self._buffer, 0
        full: list[bytes] = []                      # of what did not fit the buffer at once
        try:
            while (end := at + (min(left, MAX_PLAINTEXT) + TAG_LEN if left else SEALED_HEADER_LEN)) <= size:
                if n >= RESERVED_NONCE:
                    raise BadRecord("a message after the last nonce")
                if end_of_opened + end - at > MAX_MESSAGE:
                    full.append(bytes(opened[:end_of_opened]))
                    end_of_opened = 0
                open_into(key, n, held[at:end], buffer, end_of_opened)
                n += 1
                length = end - at - TAG_LEN
                if left:
                    left -= length
                else:
                    header = opened[end_of_opened:end_of_opened + HEADER_LEN]
                    left = header[3] | header[4] << 8 | header[5] << 16
                end_of_opened += length
                at = end
            receive.n = n
            self._held = held[at:]
            self._left = left
        except BadRecord as exc:
            self._fail(exc)
        plaintext = bytes(opened[:end_of_opened])
        return b"".join([*full, plaintext]) if full else plaintext

    def seal(self, plaintext: bytes) -> Sealed:
        """What the handshake has to say, and `plaintext`, whole frames: anything else is LocalProtocolError."""
        send = self._send
        if self.has_news or send is None:
            return super().seal(plaintext)
        size = len(plaintext) - HEADER_LEN
        if 0 < size <= _MAX_AT_ONCE and plaintext[3] | plaintext[4] << 8 | plaintext[5] << 16 == size:
            return Sealed(send.encrypt_all((plaintext[:HEADER_LEN], plaintext[HEADER_LEN:]), self._buffer))
        return Sealed(b"".join(self._records(plaintext, send)))

    def _records(self, plaintext: bytes, send: CipherState) -> list[bytes]:
        pieces, buffer = _pieces(plaintext), self._buffer
        if len(plaintext) + TAG_LEN * len(pieces) <= MAX_MESSAGE:       # as nearly always
            return [send.encrypt_all(pieces, buffer)]
        return [send.encrypt_with_ad(b"", piece, buffer) for piece in pieces]

    def _handshake_record(self, message: bytes) -> bytes:
        return message

    def _take_handshake(self, length: int) -> bytes | None:
        held = self._held
        if len(held) < length:
            return None
        self._held = held[length:]
        return held[:length]


def _pieces(plaintext: bytes) -> list[bytes]:
    """What is sealed by itself of whole frames: their headers, and their payloads in parts."""
    pieces: list[bytes] = []
    end, size = 0, len(plaintext)
    while end < size:
        begin = end + HEADER_LEN
        header = plaintext[end:begin]
        if begin > size:
            raise LocalProtocolError(f"{len(header)} bytes of a header to be sealed")
        end = begin + (header[3] | header[4] << 8 | header[5] << 16)
        if end > size:
            raise LocalProtocolError(f"{size - begin} bytes of a payload of {end - begin} to be sealed")
        pieces.append(header)
        if 0 < end - begin <= MAX_PLAINTEXT:
            pieces.append(plaintext[begin:end])
        else:
            pieces += [plaintext[at:min(at + MAX_PLAINTEXT, end)] for at in range(begin, end, MAX_PLAINTEXT)]
    return pieces


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
