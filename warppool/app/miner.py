"""A small CPU miner for Sv2 pools: one thread, one connection, one channel."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from warppool import __version__
from warppool.bitcoin.target import MAX_TARGET, target_from_nbits
from warppool.errors import ConfigError, WarppoolError
from warppool.mining.search import search
from warppool.mining.share import weigh
from warppool.noise.primitives import new_buffer
from warppool.sv2.client import (
    ChannelClosed,
    ChannelOpened,
    ClientEvent,
    MiningClientSession,
    OpenRefused,
    ReconnectAsked,
    SetUp,
    SetupRefused,
    ShareRejected,
    SharesAccepted,
    TargetChanged,
    Work,
    WorkReady,
)
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.messages.mining import OpenExtendedMiningChannel, OpenStandardMiningChannel
from warppool.sv2.profile import WARP

CONNECT_TIMEOUT_S = 10.0
SLICE = 4096
"""Nonces between two looks at the socket: a few milliseconds."""

AFTER_BLOCK_S = 2.0
"""How long a miner that found a block waits for the next tip, instead of working on one that it has just ended."""

NONCES = 1 << 32
VERSION_ROLL_SHIFT = 13
"""The lowest bit of the version mask (BIP320): rolled versions count up from there."""


class PoolGone(WarppoolError):
    """The pool ended the connection, or it could not be reached."""


@dataclass(frozen=True, slots=True)
class PoolUrl:
    """`stratum2+tcp://HOST:PORT/PUBLIC-KEY`; the key is the pool's static key, 32 bytes."""

    host: str
    port: int
    public_key: bytes

    @classmethod
    def parse(cls, text: str) -> PoolUrl:
        """Read the URL; ConfigError says which part is wrong."""
        shape = "a pool URL is stratum2+tcp://HOST:PORT/PUBLIC-KEY, the key as 64 hex digits"
        try:
            parts = urlsplit(text)
            port = parts.port
            key = bytes.fromhex(parts.path.removeprefix("/"))
        except ValueError as exc:
            raise ConfigError(f"{text!r}: {shape} ({exc})") from None
        if parts.scheme != "stratum2+tcp" or not parts.hostname or not port or len(key) != 32:
            raise ConfigError(f"{text!r}: {shape}")
        return cls(parts.hostname, port, key)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"stratum2+tcp://{host}:{self.port}/{self.public_key.hex()}"


@dataclass(slots=True)
class Tally:
    """What a miner has done so far; written by its own thread, read by whoever shows it."""

    hashes: int = 0
    submitted: int = 0
    accepted: int = 0
    rejected: int = 0
    blocks: int = 0
    difficulty: float = 0.0
    last_reject: str = ""


class CpuMiner:
    """Mines on one pool until `stop` says so; `run` is the body of a thread, or of the program.

    `kind` is `standard` or `extended`. `tell` hears each event of the session, for the screen.
    """

    def __init__(self, url: PoolUrl, user: str, kind: str, *, hash_rate: float = 0.0,
                 tell: Callable[[ClientEvent], None] = lambda event: None) -> None:
        self.tally = Tally()
        self._url = url
        self._user = user
        self._kind = kind
        self._hash_rate = hash_rate
        self._tell = tell
        self._is_stopping = False
        self._buffer = new_buffer()
        self._work: Work | None = None
        self._nonce = self._roll = self._extranonce = 0
        self._rest_until = 0.0                  # monotonic; a block was found on this tip

    def stop(self) -> None:
        """End `run` soon; any thread."""
        self._is_stopping = True

    def run(self) -> None:
        """Mine until `stop`; PoolGone or RemoteProtocolError when the pool is the reason to end."""
        try:
            sock = socket.create_connection((self._url.host, self._url.port), CONNECT_TIMEOUT_S)
        except OSError as exc:
            raise PoolGone(f"{self._url.host}:{self._url.port}: {exc.strerror or exc}") from exc
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = DialledConnection(
                WARP, server_public=self._url.public_key, ephemeral_secret=os.urandom(32), buffer=self._buffer,
                setup=MiningClientSession.setup(host=self._url.host, port=self._url.port, vendor="warppool",
                                                firmware=__version__))
            try:
                while not self._is_stopping:
                    self._turn(sock, connection)
            except OSError as exc:
                raise PoolGone(f"the connection to the pool broke: {exc.strerror or exc}") from exc

    def _turn(self, sock: socket.socket, connection: DialledConnection) -> None:
        """Send what is to be sent, hear what the pool says, hash a slice."""
        if out := connection.outgoing():
            sock.sendall(out)
        is_busy = self._work is not None and time.monotonic() >= self._rest_until
        readable, _, _ = select.select([sock], [], [], 0.0 if is_busy else 0.05)
        if readable:
            data = sock.recv(65536)
            if not data:
                raise PoolGone("the pool closed the connection")
            for event in connection.receive(data):
                self._heard(event, connection)
        elif is_busy and self._work is not None:
            self._hash(self._work, connection)

    def _heard(self, event: ClientEvent, connection: DialledConnection) -> None:
        match event:
            case SetUp():
                connection.send(self._open(connection.session))
            case SetupRefused(_, code) | OpenRefused(_, code) | ChannelClosed(_, code):
                raise PoolGone(f"the pool refused: {code}")
            case ReconnectAsked():
                raise PoolGone("the pool asks to connect elsewhere")
            case WorkReady(work, is_new_tip):
                self._start_on(work, is_new_tip)
            case SharesAccepted(_, _, count, difficulty):
                self.tally.accepted += count
                self.tally.difficulty += difficulty
            case ShareRejected(_, _, code):
                self.tally.rejected += 1
                self.tally.last_reject = code
            case ChannelOpened() | TargetChanged():
                pass                            # work carries prefix and target
        self._tell(event)

    def _open(self, session: MiningClientSession) -> OpenStandardMiningChannel | OpenExtendedMiningChannel:
        if self._kind == "standard":
            return session.open_standard(self._user, self._hash_rate, MAX_TARGET)
        return session.open_extended(self._user, self._hash_rate, MAX_TARGET, 4)

    def _start_on(self, work: Work, is_new_tip: bool) -> None:
        self._work = work
        self._nonce = self._roll = self._extranonce = 0
        if is_new_tip:
            self._rest_until = 0.0

    def _hash(self, work: Work, connection: DialledConnection) -> None:
        """Try one slice of nonces; when all are used up, roll the version, then the extranonce."""
        extranonce = self._extranonce.to_bytes(work.extranonce_size, "big")
        version = (work.version & ~work.version_mask) | (self._roll << VERSION_ROLL_SHIFT & work.version_mask)
        ntime = max(work.min_ntime, int(time.time()))
        header = work.header(extranonce, version, ntime, 0)
        count = min(SLICE, NONCES - self._nonce)
        target = max(work.target, target_from_nbits(work.nbits))
        nonce = search(header, target, self._nonce, count)
        if nonce is None:
            self.tally.hashes += count
            self._nonce += count
        else:
            self.tally.hashes += nonce - self._nonce + 1
            self._nonce = nonce + 1
            self._submit(work, header[:76] + nonce.to_bytes(4, "little"), extranonce, version, ntime, nonce, connection)
        if self._nonce >= NONCES:
            self._nonce, self._roll = 0, self._roll + 1
            if self._roll << VERSION_ROLL_SHIFT > work.version_mask:
                self._roll, self._extranonce = 0, (self._extranonce + 1) % (1 << 8 * work.extranonce_size)

    def _submit(self, work: Work, header: bytes, extranonce: bytes, version: int, ntime: int, nonce: int,
                connection: DialledConnection) -> None:
        connection.send(connection.session.submit(work, extranonce, version, ntime, nonce))
        self.tally.submitted += 1
        if weigh(header, target_from_nbits(work.nbits)).is_block:
            self.tally.blocks += 1
            self._rest_until = time.monotonic() + AFTER_BLOCK_S
