"""A miner that does what a test tells it, on the test's own thread: one share at a time, a block when one is due.

The pool must grant a target above the network's, or every share is a block.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

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
from warppool.sv2.profile import WARP, Profile

LOOK_S = 0.01           # between two looks at what no socket tells of


class HandMiner:
    """One connection with one channel, used by `with`. A pool that hangs up is an AssertionError in whatever runs.

    `pin` is what the handshake holds the pool to: in the published profile its authority's key.
    """

    def __init__(self, port: int, pin: bytes, user: str = "alice.hand", kind: str = "standard",
                 profile: Profile = WARP) -> None:
        self.jobs: list[Work] = []                  # all that came, in order
        self.accepted = 0
        self.refused: list[str] = []
        self._user = user
        self._kind = kind
        self._nonce = 0
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        setup = MiningClientSession.setup(host="127.0.0.1", port=port, vendor="hand", firmware="1")
        self._connection = DialledConnection(profile, server_public=pin, ephemeral_secret=os.urandom(32),
                                             buffer=new_buffer(), setup=setup, unix_time=time.time())

    def __enter__(self) -> HandMiner:
        try:
            self.until(lambda: bool(self.jobs))
        except BaseException:
            self._sock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    @property
    def work(self) -> Work:
        """What it mines now."""
        return self.jobs[-1]

    def until(self, is_true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Listen to the pool until `is_true`, which may be about anything."""
        deadline = time.monotonic() + patience_s
        self._listen(0)
        while not is_true():
            assert time.monotonic() < deadline, "it did not happen"
            self._listen(LOOK_S)

    def share(self, *, is_block: bool = False) -> bytes:
        """Submit one good share and hear that it is accepted; its hash, in header order."""
        answers = self.accepted + len(self.refused)
        share_hash = self.send_share(is_block=is_block)
        self.until(lambda: self.accepted + len(self.refused) > answers)
        assert self.refused == []
        return share_hash

    def send_share(self, *, is_block: bool = False) -> bytes:
        """Submit one good share and wait for nothing; its hash, in header order."""
        self._listen(0)
        work, extranonce = self.work, bytes(self.work.extranonce_size)
        network = target_from_nbits(work.nbits)
        assert is_block or network < work.target, "every share is a block"
        while True:
            self._nonce += 1
            share_hash = double_sha256(work.header(extranonce, work.version, work.min_ntime, self._nonce))
            value = int.from_bytes(share_hash, "little")
            if value <= network if is_block else network < value <= work.target:
                break
        session = self._connection.session
        self._connection.send(session.submit(work, extranonce, work.version, work.min_ntime, self._nonce))
        self._sock.sendall(self._connection.outgoing())
        return share_hash

    def hear_the_rest(self) -> None:
        """Take what a pool that has ended still sent."""
        with suppress(AssertionError, OSError):
            while True:
                self._listen(PATIENCE_S)

    def _listen(self, seconds: float) -> None:
        if out := self._connection.outgoing():
            self._sock.sendall(out)
        if select.select([self._sock], [], [], seconds)[0]:
            data = self._sock.recv(1 << 16)
            assert data, "the pool closed the connection"
            for event in self._connection.receive(data):
                self._heard(event)
        if out := self._connection.outgoing():
            self._sock.sendall(out)

    def _heard(self, event: ClientEvent) -> None:
        session = self._connection.session
        match event:
            case SetUp():
                self._connection.send(session.open_standard(self._user, 0.0, MAX_TARGET) if self._kind == "standard"
                                      else session.open_extended(self._user, 0.0, MAX_TARGET, 4))
            case WorkReady(work, _):
                self.jobs.append(work)
            case SharesAccepted(_, _, count, _):
                self.accepted += count
            case ShareRejected(_, _, code):
                self.refused.append(code)
            case ChannelOpened() | TargetChanged():
                pass
            case _:
                raise AssertionError(event)
