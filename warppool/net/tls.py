"""TLS around a connection, in the worker that owns it: ciphertext in, ciphertext out, and the reactor none the wiser.

It stands where V2 has Noise (architecture.md §4.11). OpenSSL works on two buffers in memory (`ssl.MemoryBIO`), so that
a stalled handshake holds nobody up; what OpenSSL complains of is the peer's fault and closes that connection alone.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Sequence

from warppool.events import Close, Connection, Event, Held, Now, Send
from warppool.limits import Limits
from warppool.mining.job import Job
from warppool.mining.share import Weight

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


class TlsConnection:
    """One accepted TLS connection around `inner`, which sees plaintext; the face of `events.Connection`.

    What one call leads to is sealed together and leaves in one `Send`. Nothing decrypted is held here: what `inner`
    holds back is all the backlog there is.
    """

    __slots__ = ("_deadline", "_handshake_room", "_inbound", "_inner", "_outbound", "_tls", "_unsealed", "conn_id",
                 "wakes_at")

    def __init__(self, conn_id: int, context: ssl.SSLContext, inner: Connection, now: Now) -> None:
        self.conn_id = conn_id
        self._inner = inner
        self._inbound = ssl.MemoryBIO()         # ciphertext from the peer
        self._outbound = ssl.MemoryBIO()        # ciphertext for the peer
        self._tls: ssl.SSLObject | None = context.wrap_bio(self._inbound, self._outbound, server_side=True)
        self._handshake_room = MAX_HANDSHAKE
        self._unsealed = b""                    # what `inner` said before the handshake was done
        self._deadline = now.monotonic + HANDSHAKE_DEADLINE_S       # of the handshake; inf once it is done
        self.wakes_at = min(self._deadline, inner.wakes_at)

    @property
    def is_established(self) -> bool:
        """The handshake is done."""
        return self._deadline == math.inf

    @property
    def limits(self) -> Limits:
        """Those of what is inside."""
        return self._inner.limits

    @property
    def held(self) -> Held:
        """Why `inner` has stopped; all that came is decrypted already."""
        return self._inner.held

    def abandon(self) -> None:
        """The peer is gone, and `inner` still holds messages of it."""
        self._inner.abandon()

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return self._inner.in_flight

    @property
    def backlog(self) -> int:
        """Received bytes held back unprocessed; plaintext, which is never more than the ciphertext was."""
        return self._inner.backlog

    @property
    def machines(self) -> int:
        """How many machines have work here."""
        return self._inner.machines

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Ciphertext from the peer, or empty to let `inner` go on with its backlog."""
        tls = self._tls
        if tls is None:
            return []
        if not data:
            return self._finish(self._inner.receive(b"", now))
        if self._handshake_room == MAX_HANDSHAKE and data[0] != _HANDSHAKE_RECORD:
            return self._finish([], self._fault("no TLS: plain text or junk on a TLS port"))
        self._inbound.write(data)
        pieces: list[bytes] = []
        close = self._open(tls, len(data), pieces)
        return self._finish(self._inner.receive(b"".join(pieces), now) if pieces else [], close)

    def _open(self, tls: ssl.SSLObject, size: int, pieces: list[bytes]) -> Close | None:
        """Decrypt what is there into `pieces`; what ends the connection, if anything does, comes after them."""
        try:
            if not self.is_established:
                self._shake(tls, size)
            while self._inbound.pending or tls.pending():
                piece = tls.read(RECORD_SIZE)
                if not piece:
                    return Close(self.conn_id, "closed by the peer")        # its close_notify
                pieces.append(piece)
        except ssl.SSLWantReadError:
            if self._handshake_room <= 0 and not self.is_established:
                return self._fault(f"no end of the TLS handshake within {MAX_HANDSHAKE} bytes")
        except ssl.SSLError as exc:
            return self._fault(_words(exc))
        return None

    def _shake(self, tls: ssl.SSLObject, size: int) -> None:
        self._handshake_room -= size
        tls.do_handshake()
        self._deadline = math.inf

    def offer(self, job: Job, now: Now) -> list[Event]:
        """A new job."""
        return self._finish(self._inner.offer(job, now))

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Event]:
        """The next weights, in the order of the shares."""
        return self._finish(self._inner.judged(weights, now))

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares are committed."""
        return self._finish(self._inner.recorded(ids, now))

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares will never be committed."""
        return self._finish(self._inner.not_recorded(ids, now))

    def given_up(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares are refused, and may be committed all the same."""
        return self._finish(self._inner.given_up(ids, now))

    def tick(self, now: Now) -> list[Event]:
        """A deadline has come: the handshake's or one of `inner`."""
        if self._tls is None:
            return []
        if now.monotonic >= self._deadline:
            return self._finish([], self._fault(f"no TLS handshake within {HANDSHAKE_DEADLINE_S:.0f} s"))
        return self._finish(self._inner.tick(now))      # it may not be due: a nudge comes as a tick

    def closed(self, now: Now) -> list[Event]:
        """The connection is gone; shares in flight are still judged and recorded, mutely."""
        self._forget()
        return self._finish(self._inner.closed(now))

    # --- out ----------------------------------------------------------------------------------------------------------

    def _finish(self, events: list[Event], close: Close | None = None) -> list[Event]:
        """Seal what `inner` wants sent into one Send, and put its Close, or else ours, behind it."""
        plaintext: list[bytes] = []
        result: list[Event] = []
        for event in events:
            if not isinstance(event, Send | Close) or event.conn_id != self.conn_id:
                result.append(event)
            elif isinstance(event, Send):
                plaintext.append(event.data)
            else:
                close = event
        if self._tls is not None:
            close = self._seal(self._tls, b"".join(plaintext), close)
            if self._outbound.pending:
                result.append(Send(self.conn_id, self._outbound.read()))
            if close is not None:
                result.append(close)
                self._forget()
        self.wakes_at = math.inf if self._tls is None else min(self._deadline, self._inner.wakes_at)
        return result

    def _seal(self, tls: ssl.SSLObject, plaintext: bytes, close: Close | None) -> Close | None:
        """Write `plaintext`, and close_notify before a Close; a Close if OpenSSL refuses what it did not refuse yet."""
        if not self.is_established:
            self._unsealed += plaintext
            return close
        if self._unsealed:
            plaintext, self._unsealed = self._unsealed + plaintext, b""
        try:
            if plaintext:
                tls.write(plaintext)
            if close is not None:
                tls.unwrap()
        except ssl.SSLWantReadError:
            pass                                # the peer's close_notify, which nobody waits for
        except ssl.SSLError as exc:
            return close or self._fault(_words(exc))
        return close

    def _forget(self) -> None:
        """Give OpenSSL's memory back at once: shares in flight may keep this object for a while."""
        self._tls = None
        self._inbound = self._outbound = _NOTHING
        self._unsealed = b""

    def _fault(self, reason: str) -> Close:
        return Close(self.conn_id, reason, is_peers_fault=True)


_NOTHING = ssl.MemoryBIO()


def _words(error: ssl.SSLError) -> str:
    """OpenSSL's reason, as `TLS: unsupported protocol`."""
    return f"TLS: {(error.reason or error.strerror or type(error).__name__).replace('_', ' ').lower()}"
