"""What the CPU miner knows of a pool, whatever the protocol: tasks to hash, shares to send, and what became of them.

`Sv1Link` and `Sv2Link` turn a client session's events into these and a found nonce into a share. Bytes in, bytes out:
the socket is the miner's.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from warppool import __version__
from warppool.addresses import PoolUrl
from warppool.bitcoin.target import MAX_TARGET, difficulty_from_target
from warppool.errors import ConfigError, WarppoolError
from warppool.mining.job import VERSION_MASK
from warppool.noise.primitives import new_buffer
from warppool.sv1 import client as sv1
from warppool.sv2 import client as sv2
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.profile import PROFILES
from warppool.sv2.work import Work as Sv2Work

AGENT = f"warppool/{__version__}"
MIN_EXTRANONCE_SIZE = 4
STANDARD = "standard"
EXTENDED = "extended"


class PoolGone(WarppoolError):
    """The pool ended the connection, refused us, or could not be reached."""


@dataclass(frozen=True, slots=True)
class Task:
    """One job that may be hashed now; `work` is the session's own, for `submit`."""

    work: sv1.Work | Sv2Work
    extranonce_size: int                # rollable bytes, 0 on a standard channel
    min_ntime: int                      # Unix seconds
    is_new_tip: bool                    # all before it is worthless


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """So many more shares were accepted."""

    count: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """One share was refused, in the pool's words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that the miner's owner may like to read."""

    words: str


LinkEvent = Task | Acknowledged | Rejected | Remark


class Link(Protocol):
    """A miner's conversation with one pool."""

    def outgoing(self) -> bytes:
        """The bytes to be put on the wire now; b"" for none."""

    def receive(self, data: bytes) -> list[LinkEvent]:
        """What the pool's bytes lead to; RemoteProtocolError or PoolGone ends it."""

    def submit(self, task: Task, extranonce: bytes, version: int, ntime: int, nonce: int) -> None:
        """Put a share into the next `outgoing`."""


class Sv2Link:
    """Stratum V2 over Noise, in the profile of the URL; one channel of the wanted kind.

    A miner of standard channels takes standard jobs alone. That is said in the set-up, since SRI's pool hands in blocks
    of such a channel with a wrong coinbase where the channel got its job by a group.
    """

    def __init__(self, url: PoolUrl, user: str, kind: str, hash_rate: float) -> None:
        profile = PROFILES[url.profile]
        self._user = user
        self._kind = kind
        self._hash_rate = hash_rate or profile.assumed_hash_rate_hps
        self._connection = DialledConnection(
            profile, server_public=url.pin, ephemeral_secret=os.urandom(32), buffer=new_buffer(),
            setup=sv2.MiningClientSession.setup(
                host=url.host, port=url.port, vendor="warppool", firmware=__version__,
                flags=sv2.REQUIRES_STANDARD_JOBS if kind == STANDARD else 0),
            unix_time=time.time())

    def outgoing(self) -> bytes:
        """The bytes to be put on the wire now."""
        return self._connection.outgoing()

    def receive(self, data: bytes) -> list[LinkEvent]:
        """What the pool's bytes lead to."""
        return [event for heard in self._connection.receive(data) for event in self._translate(heard)]

    def submit(self, task: Task, extranonce: bytes, version: int, ntime: int, nonce: int) -> None:
        """Put a share into the next `outgoing`."""
        assert isinstance(task.work, Sv2Work)
        self._connection.send(self._connection.session.submit(task.work, extranonce, version, ntime, nonce))

    def _translate(self, heard: sv2.ClientEvent) -> list[LinkEvent]:
        match heard:
            case sv2.SetUp(flags):
                self._open(flags)
            case sv2.SetupRefused(_, code) | sv2.OpenRefused(_, code) | sv2.ChannelClosed(_, code):
                raise PoolGone(f"the pool refused: {code}")
            case sv2.ReconnectAsked(host, port):
                raise PoolGone(f"the pool asks to connect to {host or 'itself'}:{port or 'the same port'}")
            case sv2.ChannelOpened(_, channel_id, target, prefix, size):
                return [Remark(f"channel {channel_id} opened: difficulty {difficulty_of(target)}, "
                             f"extranonce {prefix.hex()} + {size} bytes")]
            case sv2.WorkReady(work, is_new_tip):
                return [Task(work, work.extranonce_size, work.min_ntime, is_new_tip)]
            case sv2.TargetChanged(_, target):
                return [Remark(f"difficulty {difficulty_of(target)} from the next job on")]
            case sv2.SharesAccepted(_, _, count, _):
                return [Acknowledged(count)]
            case sv2.ShareRejected(_, _, code):
                return [Rejected(code)]
        return []

    def _open(self, flags: int) -> None:
        session = self._connection.session
        if self._kind == STANDARD:
            if flags & sv2.REQUIRES_EXTENDED_CHANNELS:
                raise PoolGone("the pool opens no standard channels: use --channel extended")
            self._connection.send(session.open_standard(self._user, self._hash_rate, MAX_TARGET))
        else:
            self._connection.send(
                session.open_extended(self._user, self._hash_rate, MAX_TARGET, MIN_EXTRANONCE_SIZE))


class Sv1Link:
    """Stratum V1, plain or within TLS."""

    def __init__(self, user: str) -> None:
        self._user = user
        self._client = sv1.MiningClient(AGENT)
        self._target = 0                        # of the last task
        self._client.configure(VERSION_MASK)
        self._client.subscribe()
        self._client.subscribe_extranonce()
        self._client.authorize(user)

    def outgoing(self) -> bytes:
        """The bytes to be put on the wire now."""
        return self._client.outgoing()

    def receive(self, data: bytes) -> list[LinkEvent]:
        """What the pool's bytes lead to."""
        return [event for heard in self._client.receive(data) for event in self._translate(heard)]

    def submit(self, task: Task, extranonce: bytes, version: int, ntime: int, nonce: int) -> None:
        """Put a share into the next `outgoing`."""
        assert isinstance(task.work, sv1.Work)
        self._client.submit(self._user, task.work, extranonce, version, ntime, nonce)

    def _translate(self, heard: sv1.ClientEvent) -> list[LinkEvent]:
        match heard:
            case sv1.Subscribed(_, extranonce1, size):
                return [Remark(f"subscribed: extranonce {extranonce1.hex()} + {size} bytes")]
            case sv1.Authorized(user, False):
                raise PoolGone(f"the pool does not let {user} in")
            case sv1.CallRefused("mining.subscribe", code, words):
                raise PoolGone(f"the pool refused: {code} {words}")
            case sv1.ReconnectAsked(host, port):
                raise PoolGone(f"the pool asks to connect to {host or 'itself'}:{port or 'the same port'}")
            case sv1.WorkReady(work, is_clean):
                return [*self._retargeted(work.target), Task(work, work.extranonce2_size, work.ntime, is_clean)]
            case sv1.ShareAnswered(_, True):
                return [Acknowledged(1)]
            case sv1.ShareAnswered(_, False, _, words):
                return [Rejected(words)]
        return []

    def _retargeted(self, target: int) -> list[LinkEvent]:
        if target == self._target:
            return []
        self._target = target
        return [Remark(f"difficulty {difficulty_of(target)}")]


def link_to(url: PoolUrl, user: str, kind: str, hash_rate: float) -> Link:
    """A conversation to begin over a fresh socket; V1 knows no kinds of channels and takes no hash rate."""
    return Sv2Link(url, user, kind, hash_rate) if url.pin else Sv1Link(user)


def check(url: PoolUrl) -> None:
    """ConfigError where what seals a connection to that pool is not installed."""
    if url.pin:
        PROFILES[url.profile].check()


def tls_context(trusted: Path | None) -> ssl.SSLContext:
    """How a pool's certificate is verified: by the system's authorities, or by the PEM file `trusted`."""
    try:
        return ssl.create_default_context(cafile=None if trusted is None else str(trusted))
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"--trust: {trusted}: no certificates can be read from it: {exc.strerror or exc}: name the "
                          "file with the pool's certificate in PEM form") from exc


def connect(url: PoolUrl, timeout_s: float) -> socket.socket:
    """A fresh connection to the pool; OSError, also for a host that can be no name, as `..` or a label of 64 bytes."""
    try:
        return socket.create_connection((url.host, url.port), timeout_s)
    except UnicodeError as exc:
        raise socket.gaierror(socket.EAI_NONAME, "not a name") from exc


def cure_of(error: OSError, is_tls: bool = False) -> str:
    """What can be done where a pool cannot be reached; "" where nothing is known to help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ": use the host name that its certificate is for, and --trust FILE if no authority vouches for it"
    if isinstance(error, ssl.SSLError) or (is_tls and isinstance(error, ConnectionError)
                                           and not isinstance(error, ConnectionRefusedError)):
        return ": is this its port for TLS? Plain V1 is stratum+tcp://"
    if isinstance(error, ConnectionRefusedError):
        return ": is the pool running, and is this its port?"
    if isinstance(error, socket.gaierror):
        return ": mend the host in the URL"
    if isinstance(error, TimeoutError):
        return ": is it there, and lets a firewall us through?"
    return ""


def difficulty_of(target: int) -> str:
    """A target as people read it."""
    return f"{float(difficulty_from_target(target)):.6g}"


Tell = Callable[[LinkEvent], None]
