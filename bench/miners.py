"""The miners of a bench: thousands of Sv2 connections in this one thread, with shares that are sealed beforehand.

Nonces of a Noise session are counted, so a miner can seal all its shares before the clock starts, and then only moves
bytes. Every hash counts on the pool under measurement, so every share with another nonce is to be accepted.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from types import TracebackType
from typing import Protocol

from bench.server import BenchFailed
from warppool.bitcoin.target import MAX_TARGET
from warppool.noise.primitives import new_buffer
from warppool.sv2.client import (
    ChannelOpened,
    MiningClientSession,
    SetUp,
    SharesAccepted,
    TargetChanged,
    Work,
    WorkReady,
)
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.profile import Profile

IN_SETUP = 64           # connections that shake hands at a time: a pool's deadline is not what is measured
PATIENCE_S = 60.0       # without a word from the pool
READ_SIZE = 65_536
EXTRANONCE_SIZE = 8

_BUFFER = new_buffer()


class Target(Protocol):
    """A pool on this machine: what it speaks on its port, and what its miners hold it to."""

    profile: Profile
    pin: bytes
    port: int


class Miner:
    """One connection with one channel, `standard` or `extended`. It declares `rate` hashes a second; 0 is nothing."""

    __slots__ = ("_connection", "_next_nonce", "_rate", "_records", "_user", "has_new_tip", "kind", "sent_at",
                 "sock", "work")

    def __init__(self, server: Target, user: str, kind: str, rate: float = 0.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.work: Work | None = None               # the first on its tip: all shares are on one job
        self.has_new_tip = False
        self.sent_at: deque[float] = deque()        # of the shares in flight, where latency is wanted
        self.kind = kind
        self._user = user
        self._rate = rate
        self._next_nonce = 0
        self._records: deque[bytes] = deque()
        self._connection = DialledConnection(
            server.profile, server_public=server.pin, ephemeral_secret=os.urandom(32), buffer=_BUFFER,
            setup=MiningClientSession.setup(host="127.0.0.1", port=server.port, vendor="bench", firmware=""),
            unix_time=time.time())
        self._flush()

    @property
    def prepared(self) -> int:
        """Shares that wait to be submitted."""
        return len(self._records)

    def hear(self, data: bytes) -> int:
        """Take in what the pool sent, and answer it; how many shares were accepted with it."""
        accepted = 0
        for event in self._connection.receive(data):
            match event:
                case SharesAccepted(_, _, count, _):
                    accepted += count
                case SetUp():
                    self._open_channel()
                case WorkReady(work, is_new_tip):
                    self.has_new_tip = is_new_tip
                    if is_new_tip:
                        self.work = work
                case ChannelOpened() | TargetChanged():
                    pass
                case _:
                    raise BenchFailed(f"the pool says {event}")
        self._flush()
        return accepted

    def _open_channel(self) -> None:
        session = self._connection.session
        if self.kind == "standard":
            self._connection.send(session.open_standard(self._user, self._rate, MAX_TARGET))
        else:
            self._connection.send(session.open_extended(self._user, self._rate, MAX_TARGET, EXTRANONCE_SIZE))

    def seal(self, shares: int) -> None:
        """Prepare so many more."""
        work, connection = self.work, self._connection
        assert work is not None
        for nonce in range(self._next_nonce, self._next_nonce + shares):
            extranonce = nonce.to_bytes(work.extranonce_size or 4, "big")       # a merkle root of its own for each
            connection.send(connection.session.submit(work, extranonce, work.version, work.min_ntime, nonce))
            self._records.append(connection.outgoing())
        self._next_nonce += shares

    def submit(self, shares: int) -> None:
        """Send the next of those that were prepared, as far as there are any."""
        records = [self._records.popleft() for _ in range(min(shares, len(self._records)))]
        if records:
            self._send(b"".join(records))

    def _flush(self) -> None:
        if out := self._connection.outgoing():
            self._send(out)

    def _send(self, data: bytes) -> None:
        if self.sock.send(data) < len(data):
            raise BenchFailed("the pool does not read")


class Crowd:
    """Many miners, all with work; used by `with`. `kinds` go round, and each declares `rate` hashes a second."""

    def __init__(self, server: Target, miners: int, kinds: Sequence[str] = ("extended",), rate: float = 0.0) -> None:
        self._rate = rate
        self._has_lengths = server.profile.suite.has_length_prefixes
        self._sizes: dict[str, int] = {}            # bytes of a new tip, by kind, where records have no lengths
        self._told: dict[Miner, int] = {}           # bytes of those that find that out
        self._epoll = select.epoll()
        self._closing = ExitStack()
        self._closing.callback(self._epoll.close)
        self._by_fd: dict[int, Miner] = {}
        self.miners: list[Miner] = []
        try:
            self._open(server, zip(range(miners), cycle(kinds)))
        except BaseException:
            self._closing.close()
            raise

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._closing.close()

    def _open(self, server: Target, wanted: Iterator[tuple[int, str]]) -> None:
        """Connect and set up, some at a time, until every miner has work."""
        left = 0
        while True:
            for number, kind in islice(wanted, IN_SETUP - left):
                miner = Miner(server, f"bench.{number}", kind, self._rate)
                self._closing.callback(miner.sock.close)
                self.miners.append(miner)
                self._by_fd[miner.sock.fileno()] = miner
                self._epoll.register(miner.sock, select.EPOLLIN)
                left += 1
            if not left:
                return
            for miner, data in self._heard():
                if miner.work is None:
                    miner.hear(data)
                    left -= miner.work is not None

    def _heard(self, timeout_s: float = PATIENCE_S) -> Iterator[tuple[Miner, bytes]]:
        """What comes next, of every connection that has something."""
        ready = self._epoll.poll(timeout_s, max(1, len(self._by_fd)))
        if not ready and timeout_s == PATIENCE_S:
            raise BenchFailed(f"no answer within {PATIENCE_S:.0f} s")
        for fd, _ in ready:
            miner = self._by_fd[fd]
            data = miner.sock.recv(READ_SIZE)
            if not data:
                raise BenchFailed("the pool hung up")
            yield miner, data

    def seal(self, shares_each: int) -> None:
        """Prepare so many more shares of every miner."""
        for miner in self.miners:
            miner.seal(shares_each)

    def drive(self, in_flight: int) -> float:
        """Submit all that was prepared, so many in flight on each connection; the seconds until the last answer.

        With an acknowledgement goes the next share, as miners do. A pool that acknowledges in batches needs a batch in
        flight at the least, and whole batches.
        """
        left = sum(miner.prepared for miner in self.miners)
        began = time.perf_counter()
        for miner in self.miners:
            miner.submit(in_flight)
        progress_at = began
        while left:
            for miner, data in self._heard():
                if accepted := miner.hear(data):
                    left -= accepted
                    miner.submit(accepted)
                    progress_at = time.perf_counter()
            if time.perf_counter() - progress_at > PATIENCE_S:          # fresh jobs come all the while
                raise BenchFailed(f"{left} shares were never answered")
        return time.perf_counter() - began

    def pace(self, shares_per_s: float, shares: int) -> list[float]:
        """Submit one share at a time, round all miners; the seconds from each share to its answer."""
        latencies: list[float] = []
        began = time.perf_counter()
        sent = 0
        turn = cycle(self.miners)
        while len(latencies) < shares:
            now = time.perf_counter()
            while sent < shares and began + sent / shares_per_s <= now:
                miner = next(turn)
                miner.sent_at.append(time.perf_counter())
                miner.submit(1)
                sent += 1
            wait = began + sent / shares_per_s - time.perf_counter() if sent < shares else PATIENCE_S
            if now - began > sent / shares_per_s + PATIENCE_S:
                raise BenchFailed(f"{sent - len(latencies)} shares were never answered")
            if not select.select([self._epoll], [], [], max(0.0, wait))[0]:      # microseconds, where epoll has none
                continue
            for miner, data in self._heard(0):
                now = time.perf_counter()
                latencies += [now - miner.sent_at.popleft() for _ in range(miner.hear(data))]
        return latencies

    def arrivals(self) -> list[float]:
        """When each miner had the job of a new tip, by the monotonic clock; nothing is opened until all have it, but
        for the first of each kind where records have no lengths.
        """
        arrived: dict[Miner, float] = {}
        came: dict[Miner, bytes] = {}
        for miner in self.miners:
            miner.has_new_tip = False
        while len(arrived) < len(self.miners):
            for miner, data in self._heard():
                came[miner] = came.get(miner, b"") + data
                if self._is_whole(miner, came):
                    arrived[miner] = time.monotonic()
        for miner, data in came.items():
            if data:
                miner.hear(data)
            if not miner.has_new_tip:
                raise BenchFailed("a miner was sent something else than the new tip")
        return sorted(arrived.values())

    def _is_whole(self, miner: Miner, came: dict[Miner, bytes]) -> bool:
        """Whether what came of a new tip is all."""
        if self._has_lengths:
            return is_whole(came[miner])
        size = self._sizes.get(miner.kind)
        if size is not None:
            return len(came[miner]) >= size
        miner.hear(came[miner])                     # it tells how much the others will get
        self._told[miner] = self._told.get(miner, 0) + len(came[miner])
        came[miner] = b""
        if miner.has_new_tip:
            self._sizes[miner.kind] = self._told.pop(miner)
        return miner.has_new_tip


def is_whole(data: bytes) -> bool:
    """Whether `data` ends where a record ends, of those with lengths."""
    at = 0
    while at + 2 <= len(data):
        at += 2 + (data[at] | data[at + 1] << 8)
    return at == len(data)
