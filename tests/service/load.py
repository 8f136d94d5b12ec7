"""Miners that submit as fast as they are answered, and remember what became of every share."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable

from tests.patience import PATIENCE_S
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.target import MAX_TARGET, target_from_nbits
from warppool.noise.primitives import new_buffer
from warppool.sv2.client import (
    ChannelOpened,
    ClientEvent,
    MiningClientSession,
    SetUp,
    ShareRejected,
    SharesAccepted,
    TargetChanged,
    Work,
    WorkReady,
)
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.profile import WARP

TOO_FAR_AHEAD_S = 90_000    # more than the two hours that a header may be dated ahead
BAD_EVERY = 16              # one share in so many is bad, and must be refused


class LoadMiner:
    """One connection with one channel, kept at `in_flight` unanswered shares; one thread's.

    A good share meets its work's target or the network's. A bad one is dated too far ahead and is no block.
    """

    def __init__(self, port: int, server_public: bytes, user: str, kind: str, in_flight: int, ephemeral: bytes) -> None:
        self.accepted: list[bytes] = []             # hashes, in header order
        self.refused: dict[bytes, str] = {}
        self.blocks: list[bytes] = []               # good shares that meet the network's target, answered or not
        self.unanswered: dict[int, bytes] = {}      # by sequence number, in its order
        self.is_over = False                        # the pool is gone
        self.answers = 0
        self._wrong: set[int] = set()               # unanswered sequence numbers of bad shares
        self._user = user
        self._kind = kind
        self._in_flight = in_flight
        self._work: Work | None = None
        self._nonce = self._tries = 0
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        setup = MiningClientSession.setup(host="127.0.0.1", port=port, vendor="load", firmware="1")
        self.connection = DialledConnection(WARP, server_public=server_public, ephemeral_secret=ephemeral,
                                            buffer=new_buffer(), setup=setup)

    @property
    def is_mining(self) -> bool:
        return self._work is not None

    def turn(self, *, submits: bool = True) -> None:
        """Hear what has come, and submit up to the bound: afterwards shares are in flight."""
        if self.is_over:
            return
        try:
            if select.select([self.sock], [], [], 0)[0]:
                self._hear(self.sock.recv(1 << 18))
            if submits and self._work is not None:
                self._fill(self._work)
            if out := self.connection.outgoing():
                self.sock.sendall(out)
        except ConnectionError:
            self.is_over = True

    def drain(self) -> None:
        """Hear what was said before the end; the pool is gone or will close."""
        self.sock.settimeout(PATIENCE_S)
        try:
            while not self.is_over:
                self._hear(self.sock.recv(1 << 18))
        except ConnectionError:
            self.is_over = True
        self.sock.close()

    def _hear(self, data: bytes) -> None:
        if not data:
            self.is_over = True
        for event in self.connection.receive(data):
            self._heard(event)

    def _heard(self, event: ClientEvent) -> None:
        match event:
            case SetUp():
                session = self.connection.session
                self.connection.send(session.open_standard(self._user, 0.0, MAX_TARGET) if self._kind == "standard"
                                     else session.open_extended(self._user, 0.0, MAX_TARGET, 4))
            case WorkReady(work, _):
                self._work, self._nonce = work, 0
            case SharesAccepted(_, last, count, _):
                news = [number for number in self.unanswered if number <= last]
                assert len(news) == count and not self._wrong.intersection(news)
                self.accepted += (self.unanswered.pop(number) for number in news)
                self.answers += count
            case ShareRejected(_, number, code):
                self.refused[self.unanswered.pop(number)] = code
                self._wrong.discard(number)
                self.answers += 1
            case ChannelOpened() | TargetChanged():
                pass
            case _:
                raise AssertionError(event)

    def _fill(self, work: Work) -> None:
        shares = []
        while len(self.unanswered) < self._in_flight:
            shares.append(self._share(work))
        if shares:
            self.connection.send(*shares)

    def _share(self, work: Work) -> object:
        """The next share, good or bad, as a message."""
        network = target_from_nbits(work.nbits)
        extranonce = bytes(work.extranonce_size)
        while True:
            is_bad = self._tries % BAD_EVERY == BAD_EVERY - 1
            ntime = work.min_ntime + is_bad * TOO_FAR_AHEAD_S
            header = work.header(extranonce, work.version, ntime, self._nonce)
            share_hash = double_sha256(header)
            value = int.from_bytes(share_hash, "little")
            self._nonce += 1
            if value > network if is_bad else value <= max(work.target, network):
                break
        self._tries += 1
        message = self.connection.session.submit(work, extranonce, work.version, ntime, self._nonce - 1)
        self.unanswered[message.sequence_number] = share_hash
        if is_bad:
            self._wrong.add(message.sequence_number)
        elif value <= network:
            self.blocks.append(share_hash)
        return message


class Load:
    """Several miners on one thread, and what became of all their shares, over any number of pools."""

    def __init__(self) -> None:
        self.accepted: list[bytes] = []
        self.refused: dict[bytes, str] = {}
        self.blocks: list[bytes] = []
        self.lost: list[bytes] = []                 # unanswered when their pool ended
        self._miners: list[LoadMiner] = []

    def connect(self, miners: Iterable[LoadMiner]) -> None:
        """Take miners on, and wait until each may submit."""
        self.take(miners)
        self._turn_until(lambda: all(miner.is_mining for miner in self._miners), submits=False)

    def take(self, miners: Iterable[LoadMiner]) -> None:
        """Take miners on: they submit as soon as they have work."""
        self._miners = list(miners)

    def begin(self) -> None:
        """Load from here on: every miner was answered and has shares in flight."""
        self._turn_until(lambda: all(miner.answers for miner in self._miners))

    def go_on(self, seconds: float) -> None:
        """Load for so long, or until the pool ends."""
        deadline = time.monotonic() + seconds
        self._turn_until(lambda: time.monotonic() >= deadline or self.is_over)

    def go_on_until(self, is_enough: Callable[[], bool]) -> None:
        """Load until then."""
        self._turn_until(lambda: is_enough() or self.is_over)

    def settle(self) -> None:
        """Submit no more, hear every answer that is owed, and hang up."""
        self._turn_until(lambda: not self.in_flight, submits=False)
        for miner in self._miners:
            miner.sock.shutdown(socket.SHUT_WR)
        self.end()

    def answers(self) -> list[int]:
        """How many shares of each miner were answered; any thread may ask."""
        return [miner.answers for miner in self._miners]

    @property
    def is_over(self) -> bool:
        return any(miner.is_over for miner in self._miners)

    @property
    def in_flight(self) -> int:
        return sum(len(miner.unanswered) for miner in self._miners)

    def end(self) -> None:
        """The pool has ended, or will by itself: hear the rest, and add it all up."""
        for miner in self._miners:
            miner.drain()
            self.accepted += miner.accepted
            self.refused |= miner.refused
            self.blocks += miner.blocks
            self.lost += miner.unanswered.values()
        self._miners.clear()

    def codes(self) -> Counter[str]:
        """The names of all refusals so far."""
        return Counter(self.refused.values()) + sum(
            (Counter(list(miner.refused.values())) for miner in self._miners), Counter())

    def close(self) -> None:
        """Let go of the sockets, whatever happened."""
        for miner in self._miners:
            miner.sock.close()

    def _turn_until(self, is_enough: Callable[[], bool], *, submits: bool = True) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_enough():
            assert time.monotonic() < deadline, "the load came to a stop"
            select.select([miner.sock for miner in self._miners if not miner.is_over], [], [], 0.005)
            for miner in self._miners:
                miner.turn(submits=submits)
