"""A small CPU miner: one thread, one connection, V1 or V2."""

from __future__ import annotations

import select
import socket
import ssl
import time

from warppool.addresses import PoolUrl
from warppool.bitcoin.target import target_from_nbits
from warppool.miner.link import (
    EXTENDED,
    Acknowledged,
    Link,
    LinkEvent,
    PoolGone,
    Rejected,
    Task,
    Tell,
    connect,
    cure_of,
    link_to,
)
from warppool.mining.search import search
from warppool.mining.share import weigh

CONNECT_TIMEOUT_S = 10.0
SLICE = 4096
"""Nonces between two looks at the socket: a few milliseconds."""

IDLE_S = 0.05
"""How long to wait for the pool where there is nothing to hash: `stop` is noticed after that."""

AFTER_BLOCK_S = 2.0
"""How long a miner that found a block waits for the next tip, instead of working on one that it has just ended."""

ANSWERS_S = 2.0
"""How long a miner that is stopped waits for the answers to its last shares."""

_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")
"""How an alert and a handshake begin: a pool that speaks TLS answers so to one that does not."""

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

    @property
    def unanswered(self) -> int:
        """Shares that were sent and of which the pool has said nothing yet."""
        return self.submitted - self.accepted - self.rejected


class CpuMiner:
    """Mines on one pool until `stop` says so; `run` is the body of a thread, or of the program.

    `kind` is `standard` or `extended`, for V2. `context` verifies the certificate where the URL wants TLS. `tell` hears
    each event of the link, for the screen.
    """

    def __init__(self, url: PoolUrl, user: str, kind: str = EXTENDED, *, hash_rate: float = 0.0,
                 context: ssl.SSLContext | None = None, tell: Tell = lambda event: None) -> None:
        self.tally = Tally()
        self.url = url
        self._user = user
        self._kind = kind
        self._hash_rate = hash_rate
        self._context = context
        self._tell = tell
        self._is_stopping = False
        self._task: Task | None = None
        self._nonce = self._roll = self._extranonce = 0
        self._has_heard = False
        self._rest_until = 0.0                  # monotonic; a block was found ...
        self._won_on = b""                      # on this tip, for which a pool may give out other jobs meanwhile

    def stop(self) -> None:
        """End `run` soon; any thread."""
        self._is_stopping = True

    def run(self) -> None:
        """Mine until `stop`; PoolGone or RemoteProtocolError when the pool is the reason to end."""
        try:
            with self._dial() as sock:
                link = link_to(self.url, self._user, self._kind, self._hash_rate)
                while not self._is_stopping:
                    self._turn(sock, link)
                self._await_answers(sock, link)
        except OSError as exc:                  # of which ssl.SSLError is one
            words = f"{self.url.place}: {exc.strerror or exc}{cure_of(exc, self.url.is_tls)}"
            raise PoolGone(words) from exc

    def _dial(self) -> socket.socket:
        sock = connect(self.url, CONNECT_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.url.is_tls:
            return sock
        context = self._context or ssl.create_default_context()
        try:
            return context.wrap_socket(sock, server_hostname=self.url.host)
        except BaseException:
            sock.close()
            raise

    def _turn(self, sock: socket.socket, link: Link) -> None:
        """Send what is to be sent, hear what the pool says, hash a slice."""
        if out := link.outgoing():
            sock.sendall(out)
        task = self._task if time.monotonic() >= self._rest_until else None
        if _is_readable(sock, 0.0 if task is not None else IDLE_S):
            self._hear(sock, link)
        elif task is not None:
            self._hash(task, link)

    def _hear(self, sock: socket.socket, link: Link) -> None:
        """Take what the pool says; its first bytes, or their lack, tell of a wrong port."""
        data = sock.recv(65536)
        if not data:
            raise PoolGone("the pool closed the connection" + ("" if self._has_heard else f" without a word: "
                                                               f"{self._wrong_port()}"))
        if not self._has_heard and not self.url.is_tls and data.startswith(_TLS_RECORDS):
            raise PoolGone(f"the pool speaks TLS on this port: use stratum+tls://{self.url.place}")
        self._has_heard = True
        for event in link.receive(data):
            self._heard(event)

    def _wrong_port(self) -> str:
        if self.url.pin:
            return "is this its port for V2, and is the key in the URL its own?"
        return "is this its port for V1? TLS is stratum+tls://, V2 is stratum2+tcp:// with the pool's key"

    def _await_answers(self, sock: socket.socket, link: Link) -> None:
        """Stopped: hear what becomes of the shares that are out, so that each is accounted for."""
        until = time.monotonic() + ANSWERS_S
        while self.tally.unanswered and (left := until - time.monotonic()) > 0:
            if out := link.outgoing():
                sock.sendall(out)
            if _is_readable(sock, left):
                self._hear(sock, link)

    def _heard(self, event: LinkEvent) -> None:
        match event:
            case Task():
                self._task = event
                self._nonce = self._roll = self._extranonce = 0
                if event.is_new_tip and event.work.prev_hash != self._won_on:
                    self._rest_until = 0.0
            case Acknowledged(count):
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
                self._rest_until, self._won_on = time.monotonic() + AFTER_BLOCK_S, work.prev_hash
        if self._nonce >= NONCES:
            self._nonce, self._roll = 0, self._roll + 1
            if self._roll << VERSION_ROLL_SHIFT > work.version_mask:
                self._roll, self._extranonce = 0, (self._extranonce + 1) % (1 << 8 * task.extranonce_size)


def _is_readable(sock: socket.socket, wait_s: float) -> bool:
    """Whether `recv` has something; TLS may hold what the kernel has given up already."""
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    return bool(select.select([sock], [], [], wait_s)[0])


