"""The miner's end of TLS, in memory, for a `TlsConnection` under test."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.net.lines import LineConnection
from warppool.commands.democert import self_signed
from warppool.events import Close, Event, Now, Send
from warppool.net.tls import TlsConnection, new_context

START = Now(1000.0, 1_800_000_000.0)
CONN_ID = 7


def later(seconds: float) -> Now:
    return Now(START.monotonic + seconds, START.unix + seconds)


@cache
def server_context() -> ssl.SSLContext:
    return fresh_server_context()


def fresh_server_context() -> ssl.SSLContext:
    """Another certificate each time."""
    context = new_context()
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*self_signed().write(Path(folder)))
    return context


@cache
def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A miner that speaks just this version and, as most firmware, verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    context.minimum_version = version
    return context


class Miner:
    """A TLS client without a socket."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._inbound, self._outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(self._inbound, self._outbound)
        self.is_told_goodbye = False

    def shake(self, ciphertext: bytes = b"") -> bytes:
        """Go on with the handshake after `ciphertext`; what there is to send."""
        self._inbound.write(ciphertext)
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outbound.read()

    def seal(self, *pieces: bytes) -> bytes:
        """Each of `pieces` in records of its own."""
        for piece in pieces:
            self.tls.write(piece)
        return self._outbound.read()

    def open(self, ciphertext: bytes) -> bytes:
        """All the plaintext that `ciphertext` completes; `is_told_goodbye` if the pool's close_notify stands there."""
        self._inbound.write(ciphertext)
        plaintext = b""
        with suppress(ssl.SSLWantReadError):
            try:
                while piece := self.tls.read(65536):
                    plaintext += piece
                self.is_told_goodbye = True
            except ssl.SSLZeroReturnError:      # after our own
                self.is_told_goodbye = True
        return plaintext

    def goodbye(self) -> bytes:
        """Our close_notify."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outbound.read()


def sent(events: Iterable[Event]) -> bytes:
    """All that goes to the peer."""
    return b"".join(event.data for event in events if isinstance(event, Send))


def closes(events: Iterable[Event]) -> list[Close]:
    return [event for event in events if isinstance(event, Close)]


class Ends:
    """A connection under test around a `LineConnection`, and its miner."""

    def __init__(self, context: ssl.SSLContext | None = None, max_unanswered: int = 1024) -> None:
        self.inner = LineConnection(CONN_ID, max_unanswered)
        self.pool = TlsConnection(CONN_ID, server_context(), self.inner, START)
        self.miner = Miner(context)

    def shake(self) -> None:
        """The whole handshake."""
        flight = self.miner.shake()
        while not self.pool.is_established:
            flight = self.miner.shake(sent(self.pool.receive(flight, START)))
        assert flight == b""


def established(context: ssl.SSLContext | None = None, max_unanswered: int = 1024) -> Ends:
    ends = Ends(context, max_unanswered)
    ends.shake()
    return ends
