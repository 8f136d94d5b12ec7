"""Strangers: 100 connections of one kind of flood each, from one thread that is as loud as it can be.

    python -m bench.strangers --flood subscribe --v1-port 3333 --v2-port 34254 --key HEX --seconds 60

`bench.floods` starts it as a process of its own; `tests/service/test_floods.py` uses the floods within a test.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from warppool.bitcoin.target import MAX_TARGET
from warppool.errors import WarppoolError
from warppool.noise.primitives import new_buffer
from warppool.sv2.client import MiningClientSession, SetUp
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.profile import WARP
from warppool.sv2.types import Message

CONNECTIONS = 100
CHUNK = 32 * 1024
RESET = struct.pack("ii", 1, 0)
AGAIN_S = 0.05              # a connection that was closed on us comes back so soon
SUBSCRIBE = b'{"id":1,"method":"mining.subscribe","params":["stranger/1"]}\n'
AUTHORIZE = b'{"id":2,"method":"mining.authorize","params":["stranger.rig","d=1e-9"]}\n'


class Target(NamedTuple):
    """The pool."""

    v1_port: int
    v2_port: int
    public_key: bytes


class Stranger:
    """One connection of a flood: says `next_bytes` for as long as it lives; one that is closed connects anew."""

    is_v2 = False
    reads = True
    pause_s = 0.0               # between two chunks; 0: as fast as they are taken
    leaves_after: int | None = None         # chunks, and then it hangs up by a reset

    def __init__(self, target: Target, dice: random.Random) -> None:
        self.target = target
        self.dice = dice
        self.sock: socket.socket | None = None
        self.sent = 0
        self.connects = 0
        self.next_at = 0.0      # monotonic
        self._out = b""
        self._chunks: Iterator[bytes] = iter(())
        self._said = 0

    def connect(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.connect(("127.0.0.1", self.target.v2_port if self.is_v2 else self.target.v1_port))
        self.sock, self._out, self._said = sock, b"", 0
        self._chunks = self.chunks()
        self.connects += 1

    def chunks(self) -> Iterator[bytes]:
        """What it says, piece by piece, for as long as the connection stands."""
        raise NotImplementedError

    def hear(self, data: bytes) -> None:
        """What it is told."""

    def write(self, now: float) -> None:
        """Say more, as far as the kernel takes it."""
        if not self._out and now >= self.next_at:
            if self._said == self.leaves_after:
                self.leave(now, is_reset=True)
                return
            self._out = next(self._chunks, b"")
            self._said += 1
            self.next_at = now + self.pause_s
        if self._out and self.sock is not None:
            count = self.sock.send(self._out)
            self.sent += count
            self._out = self._out[count:]

    def leave(self, now: float, is_reset: bool = False) -> None:
        if self.sock is not None:
            if is_reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.sock.close()
        self.sock = None
        self.next_at = now + AGAIN_S


class Subscribes(Stranger):
    """Storms subscribe; each answer is some hundred bytes, and work behind it once a worker is let in."""

    def chunks(self) -> Iterator[bytes]:
        yield SUBSCRIBE + AUTHORIZE
        yield from itertools.repeat(SUBSCRIBE * 500)


class Authorizes(Stranger):
    """Names that are refused for their form, each another one."""

    def chunks(self) -> Iterator[bytes]:
        yield SUBSCRIBE
        for number in itertools.count():
            yield b"".join(b'{"id":3,"method":"mining.authorize","params":["\\u0007%d-%d","x"]}\n' % (number, n)
                           for n in range(100))


class Junk(Stranger):
    """Lines that are nothing."""

    def chunks(self) -> Iterator[bytes]:
        while True:
            yield b"{" + self.dice.randbytes(200).replace(b"\n", b"") + b"\n"


class HalfFrames(Stranger):
    """The front of a message, a byte at a time."""

    pause_s = 0.02

    def chunks(self) -> Iterator[bytes]:
        yield SUBSCRIBE
        yield from itertools.repeat(b'{"id": [')


class SlowReaders(Stranger):
    """Ask, and never read what they are answered."""

    reads = False

    def chunks(self) -> Iterator[bytes]:
        yield SUBSCRIBE + AUTHORIZE
        yield from itertools.repeat(SUBSCRIBE * 500)


class TinyShares(Stranger):
    """Shares at d=1e-9, as fast as they are taken."""

    job = ""

    def hear(self, data: bytes) -> None:
        _, found, rest = data.rpartition(b'"mining.notify","params":["')
        if found:
            self.job = rest.partition(b'"')[0].decode()

    def chunks(self) -> Iterator[bytes]:
        yield SUBSCRIBE + AUTHORIZE
        for number in itertools.count():
            yield b"".join(
                b'{"id":4,"method":"mining.submit","params":["stranger.rig","%b","%016x","%08x","%08x"]}\n' % (
                    self.job.encode(), number, int(time.time()), n) for n in range(100)) if self.job else b""


class Reconnects(Stranger):
    """Subscribe, and away."""

    leaves_after = 1

    def chunks(self) -> Iterator[bytes]:
        yield SUBSCRIBE + AUTHORIZE


class HugeAgents(Stranger):
    """Agents and names that blow up in the log, and away."""

    leaves_after = 2

    def chunks(self) -> Iterator[bytes]:
        agent = json.dumps("\U0001f4a9" * 1_000)
        yield f'{{"id":1,"method":"mining.subscribe","params":[{agent}]}}\n'.encode()
        yield f'{{"id":2,"method":"mining.authorize","params":[{agent},"x"]}}\n'.encode() * 10


class Sv2Stranger(Stranger):
    """One that shakes hands first."""

    is_v2 = True
    protocol = 0

    def connect(self) -> None:
        super().connect()
        plain = MiningClientSession.setup(host="127.0.0.1", port=self.target.v2_port, vendor="stranger", firmware="1")
        fields = {name: getattr(plain, name) for name in SetupConnection.__dataclass_fields__}
        self.link = DialledConnection(
            WARP, server_public=self.target.public_key, ephemeral_secret=os.urandom(32), buffer=new_buffer(),
            setup=SetupConnection(**{**fields, "protocol": self.protocol}))
        self.is_set_up = False

    def hear(self, data: bytes) -> None:
        if self.is_set_up:
            return                              # nobody opens what it is answered
        self.is_set_up = any(isinstance(event, SetUp) for event in self.link.receive(data))

    def chunks(self) -> Iterator[bytes]:
        while not self.is_set_up:
            yield self.link.outgoing()
        while True:
            self.link.send(*self.messages())
            yield self.link.outgoing()

    def messages(self) -> list[Message]:
        """What it says once it is set up."""
        return []


class Opens(Sv2Stranger):
    """Channels, without end."""

    def messages(self) -> list[Message]:
        session = self.link.session
        return [session.open_extended(f"stranger.{n}", 0.0, MAX_TARGET, 8) for n in range(50)]


class ProtocolTwo(Sv2Stranger):
    """Templates, where none are served."""

    protocol = 2


FLOODS: dict[str, Callable[[Target, random.Random], Stranger]] = {
    "subscribe": Subscribes, "authorize": Authorizes, "opens": Opens, "junk": Junk, "half-frames": HalfFrames,
    "slow-readers": SlowReaders, "tiny-shares": TinyShares, "reconnects": Reconnects, "protocol-2": ProtocolTwo,
    "huge-agents": HugeAgents,
}


class Crowd:
    """All strangers of a flood, on this thread."""

    def __init__(self, flood: str, target: Target, connections: int = CONNECTIONS, seed: int = 1) -> None:
        dice = random.Random(seed)
        self.strangers = [FLOODS[flood](target, dice) for _ in range(connections)]

    def run(self, seconds: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Flood for so long, then leave all at once."""
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            while (now := time.monotonic()) < until and not is_over():
                self._come(selector, now)
                for key, events in selector.select(0.01):
                    self._serve(selector, key.data, events, now)
            for stranger in self.strangers:
                stranger.leave(now)

    def _come(self, selector: selectors.BaseSelector, now: float) -> None:
        for stranger in self.strangers:
            if stranger.sock is None and now >= stranger.next_at:
                try:
                    stranger.connect()
                except OSError:
                    stranger.leave(now)
                    continue
                assert stranger.sock is not None
                wanted = selectors.EVENT_READ * stranger.reads | selectors.EVENT_WRITE
                selector.register(stranger.sock, wanted, stranger)

    def _serve(self, selector: selectors.BaseSelector, stranger: Stranger, events: int, now: float) -> None:
        sock = stranger.sock
        if sock is None:
            return
        try:
            if events & selectors.EVENT_READ:
                data = sock.recv(CHUNK)
                if not data:
                    raise ConnectionResetError
                stranger.hear(data)
            if events & selectors.EVENT_WRITE:
                stranger.write(now)
        except BlockingIOError:
            return
        except (OSError, WarppoolError):
            selector.unregister(sock)
            stranger.leave(now)
            return
        if stranger.sock is None:
            with suppress(KeyError, ValueError):
                selector.unregister(sock)


def main(arguments: list[str] | None = None) -> int:
    """Flood as the command line says, and print what was sent."""
    parser = argparse.ArgumentParser(prog="bench.strangers")
    parser.add_argument("--flood", choices=FLOODS, required=True)
    parser.add_argument("--v1-port", type=int, required=True)
    parser.add_argument("--v2-port", type=int, required=True)
    parser.add_argument("--key", type=bytes.fromhex, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    args = parser.parse_args(arguments)
    os.nice(19)
    crowd = Crowd(args.flood, Target(args.v1_port, args.v2_port, args.key), args.connections)
    crowd.run(args.seconds)
    print(json.dumps({"sent": sum(each.sent for each in crowd.strangers),
                      "connects": sum(each.connects for each in crowd.strangers)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
