"""The first words with an upstream pool, and no more: is it there, has it the pinned key, does it take us?

`Greeting` is the conversation. `greet` has it over a socket of its own (`warppool check`), and `HealthCheck` within a
worker, over the translator's own reactor.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

from warppool import __version__
from warppool.addresses import PoolUrl
from warppool.errors import RemoteProtocolError, WarppoolError
from warppool.events import Close, Event, Now, Send, WithoutShares
from warppool.miner.link import PoolGone, connect, cure_of
from warppool.noise.ends import initiator
from warppool.noise.primitives import new_buffer
from warppool.sv2.client import ClientEvent, MiningClientSession, SetUp, SetupRefused
from warppool.sv2.dialled import ClientFrames, DialledConnection
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.profile import PROFILES
from warppool.transport import Transport, TransportEnd

GREETING_S = 10.0
"""The longest that a pool may take for it, from the connection on."""


def _setup_of(url: PoolUrl) -> SetupConnection:
    return MiningClientSession.setup(host=url.host, port=url.port, vendor="warppool", firmware=__version__)


class Greeting:
    """Handshake and SetupConnection with the pool at `url`: bytes in, bytes out."""

    def __init__(self, url: PoolUrl) -> None:
        self._connection = DialledConnection(
            PROFILES[url.profile], server_public=url.pin, ephemeral_secret=os.urandom(32), buffer=new_buffer(),
            setup=_setup_of(url), unix_time=time.time())

    def outgoing(self) -> bytes:
        """The bytes to be put on the wire now."""
        return self._connection.outgoing()

    def hear(self, data: bytes) -> bool:
        """Whether the pool has taken us; RemoteProtocolError or PoolGone if it will not be."""
        return any(map(_is_good, self._connection.receive(data)))


def _is_good(event: ClientEvent) -> bool:
    if isinstance(event, SetupRefused):
        raise PoolGone(f"it refused us: {event.error_code}")
    return isinstance(event, SetUp)


def greet(url: PoolUrl, timeout_s: float = GREETING_S) -> str:
    """Connect, greet and leave; the address that answered. PoolGone or RemoteProtocolError says why it is no good."""
    deadline = time.monotonic() + timeout_s
    try:
        with connect(url, timeout_s) as sock:
            greeting = Greeting(url)
            while True:
                if out := greeting.outgoing():
                    sock.sendall(out)
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                data = sock.recv(4096)
                if not data:
                    raise PoolGone("it closed the connection before it had answered")
                if greeting.hear(data):
                    return str(sock.getpeername()[0])
    except TimeoutError:
        raise PoolGone(f"no answer within {timeout_s:.0f} s") from None
    except (OSError, UnicodeError) as exc:
        cure = cure_of(exc) if isinstance(exc, OSError) else ": mend the host in the URL"
        raise PoolGone(f"{getattr(exc, 'strerror', None) or exc}{cure}") from exc


class HealthCheck(WithoutShares):
    """A greeting as a worker's `events.OutgoingConnection`; `tell` hears once what came of it, None for well.

    The error is a RemoteProtocolError where the pool is to blame, else PoolGone. `tell` is called on the worker's
    thread and must not block.
    """

    def __init__(self, url: PoolUrl, tell: Callable[[WarppoolError | None], None]) -> None:
        self.conn_id = 0
        self.wakes_at = math.inf
        self._url = url
        self._tell = tell
        self._profile = PROFILES[url.profile]
        self._frames = ClientFrames(self._profile)
        self._is_over = False

    def transport(self, now: Now) -> Transport:
        """Noise, which holds the pool to the key in its URL."""
        return initiator(self._profile.suite, self._url.pin, os.urandom(32), new_buffer(), now)

    def broken(self, end: TransportEnd, now: Now) -> list[Event]:
        """The pool's bytes are not Noise, or it has another key."""
        return self._end(end.error or RemoteProtocolError(end.reason))

    def opened(self, conn_id: int, peer: str, now: Now) -> list[Event]:
        """The connection stands: greet."""
        self.wakes_at = now.monotonic + GREETING_S
        return [Send(conn_id, self._profile.encode(_setup_of(self._url)))]

    def failed(self, reason: str, now: Now) -> list[Event]:
        """There will be no connection."""
        return self._end(PoolGone(reason))

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Bytes from the pool."""
        if self._is_over:
            return []
        try:
            is_good = any(map(_is_good, self._frames.hear(data)))
        except (RemoteProtocolError, PoolGone) as exc:
            return self._end(exc)
        return self._end(None) if is_good else []

    def tick(self, now: Now) -> list[Event]:
        """It has taken too long."""
        return self._end(PoolGone(f"no answer within {GREETING_S:.0f} s"))

    def closed(self, now: Now) -> list[Event]:
        """The connection is gone."""
        self._end(PoolGone("it closed the connection before it had answered"))
        return []

    def _end(self, error: WarppoolError | None) -> list[Event]:
        if self._is_over:
            return []
        self._is_over = True
        self.wakes_at = math.inf
        self._tell(error)
        return [Close(self.conn_id, "the health check is over")] if self.conn_id else []
