"""TLS as a connection's transport (`warppool.transport`).

OpenSSL works on two buffers in memory (`ssl.MemoryBIO`), so that a handshake that stalls holds nobody up. What OpenSSL
complains of is the peer's fault and closes that connection alone.
"""

from __future__ import annotations

import math
import ssl
from contextlib import suppress
from typing import Final

from warppool.net.proxyheader import FORGED, opens_proxy_header
from warppool.transport import Sealed, TransportEnd

HANDSHAKE_DEADLINE_S = 10.0
"""From the accepted connection to the end of the handshake."""

MAX_HANDSHAKE = 16 * 1024
"""Bytes that a peer may send without completing its handshake. A whole one has some 600, or 2,000 with a key exchange
that withstands quantum computers; OpenSSL alone would let a ClientHello grow to 128 KiB."""

RECORD_SIZE = 16 * 1024
"""The most plaintext that one TLS record holds, in bytes."""

_HANDSHAKE_RECORD = 0x16        # the first byte of everything that is TLS


def new_context() -> ssl.SSLContext:
    """The rules by which the pool speaks TLS; who serves loads certificate and key into it, before any thread sees it.

    TLS 1.2 and later, no renegotiation. TLS 1.3 gets no session tickets: hardly any machine resumes, and two tickets
    cost 60 µs and 500 bytes a handshake. TLS 1.2 keeps them, since without them OpenSSL stores up to 20,480 sessions.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    return context


class Tls:
    """One accepted connection's TLS; a `warppool.transport.Transport`.

    All that is whole is decrypted at once: no plaintext is held here.
    """

    __slots__ = ("_handshake_room", "_inbound", "_outbound", "_tls", "_unsealed", "end", "has_news",
                 "is_established", "wakes_at")

    recognised: Final = None
    peer_key: Final = None                      # machines have no certificates

    def __init__(self, context: ssl.SSLContext, now: float) -> None:
        self._inbound = ssl.MemoryBIO()         # ciphertext from the peer
        self._outbound = ssl.MemoryBIO()        # ciphertext for the peer
        self._tls = context.wrap_bio(self._inbound, self._outbound, server_side=True)
        self._handshake_room = MAX_HANDSHAKE
        self._unsealed = b""                    # what is to be sealed once the handshake is done
        self.wakes_at = now + HANDSHAKE_DEADLINE_S      # inf once it is
        self.is_established = False             # the handshake is done
        self.has_news = False
        self.end: TransportEnd | None = None

    @property
    def pending(self) -> int:
        """Bytes that OpenSSL has not looked at; those of a record that is not whole it keeps itself."""
        return self._inbound.pending

    def open(self, data: bytes, now: float) -> bytes:
        """Decrypt what is whole; what ends the connection, if anything does, comes after that."""
        if self.end is not None:
            return b""
        if self._handshake_room == MAX_HANDSHAKE and data[0] != _HANDSHAKE_RECORD:
            self._finish(FORGED if opens_proxy_header(data) else "no TLS: plain text or junk on a TLS port")
            return b""
        inbound, tls = self._inbound, self._tls
        inbound.write(data)
        pieces: list[bytes] = []
        was_shaking = not self.is_established       # and its end is news
        try:
            if was_shaking:
                self._shake(len(data))
            while inbound.pending or tls.pending():
                piece = tls.read(RECORD_SIZE)
                if not piece:                   # its close_notify
                    self._finish("closed by the peer", is_peers_fault=False)
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            if not self.is_established and self._handshake_room <= 0:
                self._finish(f"no end of the TLS handshake within {MAX_HANDSHAKE} bytes")
        except ssl.SSLError as exc:
            self._finish(_words(exc))
        self.has_news = (was_shaking or self._unsealed != b"" or self._outbound.pending > 0
                         or self.end is not None)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _shake(self, size: int) -> None:
        self._handshake_room -= size
        self._tls.do_handshake()
        self.is_established = True
        self.wakes_at = math.inf

    def seal(self, plaintext: bytes) -> Sealed:
        """What OpenSSL has to say, and `plaintext` in as few records as hold it."""
        if self._unsealed:
            plaintext, self._unsealed = self._unsealed + plaintext, b""
        if plaintext and not self.is_established:
            self._unsealed, plaintext = plaintext, b""
        if plaintext:
            try:
                self._tls.write(plaintext)
            except ssl.SSLError as exc:         # it refuses what it did not refuse yet
                self._finish(_words(exc))
        return Sealed(self._outbound.read())

    def shut(self) -> Sealed:
        """close_notify; that of the peer is awaited by nobody."""
        if self.is_established:
            with suppress(ssl.SSLError):
                self._tls.unwrap()
        return Sealed(self._outbound.read())

    def tick(self, now: float) -> None:
        """The handshake takes too long."""
        if now >= self.wakes_at:
            self._finish(f"no TLS handshake within {HANDSHAKE_DEADLINE_S:.0f} s")

    def _finish(self, reason: str, *, is_peers_fault: bool = True) -> None:
        """Take in nothing more; the first reason is the one to report."""
        if self.end is None:
            self.end = TransportEnd(reason, is_peers_fault)
            self.has_news = True
        self.wakes_at = math.inf
        self._unsealed = b""


def _words(error: ssl.SSLError) -> str:
    """OpenSSL's reason, as `TLS: unsupported protocol`."""
    return f"TLS: {(error.reason or error.strerror or type(error).__name__).replace('_', ' ').lower()}"
