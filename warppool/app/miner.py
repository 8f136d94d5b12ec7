"""A small CPU miner: one thread, one connection, V1 or V2."""

from __future__ import annotations

import select
import socket
import ssl
import time

from warppool.app.link import EXTENDED, Accepted, Link, LinkEvent, PoolGone, PoolUrl, Rejected, Task, Tell
from warppool.bitcoin.target import target_from_nbits
from warppool.mining.search import search
from warppool.mining.share import weigh

CONNECT_TIMEOUT_S = 10.0
SLICE = 4096
"""Nonces between two looks at the socket: a few milliseconds."""

IDLE_S = 0.05
"""How long to wait for the pool where there is nothing to hash: `stop` is noticed after that."""

AFTER_BLOCK_S = 2.0
"""How long a miner that found a block waits for the next tip, instead of working on one that it has just ended."""

NONCES = 1 << 32
VERSION_ROLL_SHIFT = 13
"""The lowest bit of the version mask (BIP320): rolled versions count up from there."""


class Tally:
    """What a miner has done so far; written by its own thread, read by whoever shows it."""

    __slots__ = ("accepted", "blocks", "hashes", "last_reject", "rejected", "submitted")

    def __init__(self) -> None:
        self.hashes = 0
        self.submitted = 0
        self.accepted = 0
        self.rejected = 0
        self.blocks = 0
        self.last_reject = ""                   # in the pool's words


class CpuMiner:
    """Mines on one pool until `stop` says so; `run` is the body of a thread, or of the program.

    `kind` is `standard` or `extended`, for V2. `context` verifies the certificate where the URL wants TLS. `tell` hears
    each event of the link, for the screen.
    """

    def __init__(self, url: PoolUrl, user: str, kind: str = EXTENDED, *, hash_rate: float = 0.0,
                 context: ssl.SSLContext | None = None, tell: Tell = lambda event: None) -> None:
        self.tally = Tally()
        self._url = url
        self._user = user
        self._kind = kind
        self._hash_rate = hash_rate
        self._context = context
        self._tell = tell
        self._is_stopping = False
        self._task: Task | None = None
        self._nonce = self._roll = self._extranonce = 0
        self._rest_until = 0.0                  # monotonic; a block was found on this tip

    def stop(self) -> None:
        """End `run` soon; any thread."""
        self._is_stopping = True

    def run(self) -> None:
        """Mine until `stop`; PoolGone or RemoteProtocolError when the pool is the reason to end."""
        try:
            with self._dial() as sock:
                link = self._url.link(self._user, self._kind, self._hash_rate)
                while not self._is_stopping:
                    self._turn(sock, link)
        except OSError as exc:                  # of which ssl.SSLError is one
            raise PoolGone(f"{self._url.host}:{self._url.port}: {exc.strerror or exc}") from exc

    def _dial(self) -> socket.socket:
        sock = socket.create_connection((self._url.host, self._url.port), CONNECT_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._url.is_tls:
            return sock
        context = self._context or ssl.create_default_context()
        try:
            return context.wrap_socket(sock, server_hostname=self._url.host)
        except BaseException:
            sock.close()
            raise

    def _turn(self, sock: socket.socket, link: Link) -> None:
        """Send what is to be sent, hear what the pool says, hash a slice."""
        if out := link.outgoing():
            sock.sendall(out)
        task = self._task if time.monotonic() >= self._rest_until else None
        if _is_readable(sock, 0.0 if task is not None else IDLE_S):
            data = sock.recv(65536)
            if not data:
                raise PoolGone("the pool closed the connection")
            for event in link.receive(data):
                self._heard(event)
        elif task is not None:
            self._hash(task, link)

    def _heard(self, event: LinkEvent) -> None:
        match event:
            case Task():
                self._task = event
                self._nonce = self._roll = self._extranonce = 0
                if event.is_new_tip:
                    self._rest_until = 0.0
            case Accepted(count):
                self.tally.accepted += count
            case Rejected(reason):
                self.tally.rejected += 1
                self.tally.last_reject = reason
        self._tell(event)

    def _hash(self, task: Task, link: Link) -> None:
        """Try one slice of nonces; when all are used up, roll the version, then the extranonce."""
        work = task.work
        extranonce = self._extranonce.to_bytes(task.extranonce_size, "big")
        version = (work.version & ~work.version_mask) | (self._roll << VERSION_ROLL_SHIFT & work.version_mask)
        ntime = max(task.min_ntime, int(time.time()))
        header = work.header(extranonce, version, ntime, 0)
        count = min(SLICE, NONCES - self._nonce)
        network_target = target_from_nbits(work.nbits)
        nonce = search(header, max(work.target, network_target), self._nonce, count)
        tried = count if nonce is None else nonce - self._nonce + 1
        self.tally.hashes += tried
        self._nonce += tried
        if nonce is not None:
            link.submit(task, extranonce, version, ntime, nonce)
            self.tally.submitted += 1
            if weigh(header[:76] + nonce.to_bytes(4, "little"), network_target).is_block:
                self.tally.blocks += 1
                self._rest_until = time.monotonic() + AFTER_BLOCK_S
        if self._nonce >= NONCES:
            self._nonce, self._roll = 0, self._roll + 1
            if self._roll << VERSION_ROLL_SHIFT > work.version_mask:
                self._roll, self._extranonce = 0, (self._extranonce + 1) % (1 << 8 * task.extranonce_size)


def _is_readable(sock: socket.socket, wait_s: float) -> bool:
    """Whether `recv` has something; TLS may hold what the kernel has given up already."""
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    return bool(select.select([sock], [], [], wait_s)[0])


