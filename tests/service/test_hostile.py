"""A thousand hostile connections on a live daemon: who mines beside them does not notice, and nothing stays behind."""

from __future__ import annotations

import gc
import logging
import os
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.garbage import mutated
from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import PATIENCE_S, until
from tests.service.load import Load, LoadMiner
from tests.service.process import write_config
from warppool.addresses import PoolUrl
from warppool.bitcoin.target import MAX_TARGET
from warppool.config.options import Config
from warppool.config.pool import read_config
from warppool.ledger.opening import open_reader
from warppool.miner.cpu import CpuMiner
from warppool.noise.primitives import Buffer, new_buffer, public_key
from warppool.noise.transport import InitiatorTransport
from warppool.service.pool import Pool
from warppool.sv2.client import MiningClientSession
from warppool.sv2.connection import ServerConnection
from warppool.sv2.frame import encode_frame
from warppool.sv2.messages.mining import SubmitSharesExtended, UpdateChannel
from warppool.sv2.profile import WARP

KEY = bytes(range(1, 33))
ATTACKERS = 4
ATTACKS = 250                       # of each attacker, one connection each
SHARE_DIFFICULTY = 1e-7             # one hash in some 430 is a share, and none is a block
RESET = struct.pack("ii", 1, 0)     # SO_LINGER: close by RST


# --- the attackers ----------------------------------------------------------------------------------------------------

SETUP = WARP.encode(MiningClientSession.setup(host="h", port=1, vendor="v", firmware="f"))
FOREIGN = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b'{"id":1,"method":"mining.subscribe","params":[]}\n',
           bytes.fromhex("16030100a5010000a10303") + bytes(160), b"SSH-2.0-x\r\n", b"\x00" * 2, b"\xff" * 70_000]


def opens() -> bytes:
    session = MiningClientSession(WARP)
    return WARP.encode(session.open_standard("evil", 0.0, MAX_TARGET)) + WARP.encode(
        session.open_extended("evil", 1e12, MAX_TARGET, 4))


def shares(dice: random.Random, count: int) -> bytes:
    """Submits that look well and are worth nothing."""
    return b"".join(
        WARP.encode(SubmitSharesExtended(dice.choice((1, 2, 2, 2, 9)), number, dice.randrange(1, 9),
                                         dice.getrandbits(32), int(time.time()), 0x20000000, dice.randbytes(8)))
        for number in range(count))


def talk(dice: random.Random) -> bytes:
    """A conversation as miners have it, all in one."""
    update = WARP.encode(UpdateChannel(2, 1e9, MAX_TARGET.to_bytes(32, "little")))
    return b"".join((SETUP, opens(), shares(dice, dice.randint(1, 20)), update, shares(dice, 3)))


Shaken = Callable[[], InitiatorTransport]


class Attacker:
    """One thread's worth of hostility: each attack a connection of its own."""

    def __init__(self, port: int, seed: int) -> None:
        self.dice = random.Random(seed)
        self.count: Counter[str] = Counter()
        self.idle: list[socket.socket] = []         # kept open, silent, until the end
        self._port = port
        self._buffer: Buffer = new_buffer()

    def run(self) -> None:
        kinds = [self.garbage, self.foreign, self.half_a_handshake, self.no_set_up, self.bad_records, self.mutated_talk,
                 self.bad_frames, self.flood_of_shares, self.deaf, self.silent]
        weights = [15, 8, 12, 8, 12, 25, 12, 4, 2, 2]
        for attack in self.dice.choices(kinds, weights, k=ATTACKS):
            with self._dialled() as sock, suppress(ConnectionError):    # hung up on, while we were at it
                attack(sock)
            self.count[attack.__name__] += 1
        with self._dialled() as sock, suppress(ConnectionError):
            self.flood_of_channels(sock)

    def _dialled(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)

    def _leave(self, sock: socket.socket) -> None:
        """By reset, or in good order: then the pool must hang up, too."""
        if self.dice.random() < 0.3:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass

    def _shake_hands(self, sock: socket.socket) -> InitiatorTransport:
        transport = InitiatorTransport(WARP.suite, public_key(KEY), self.dice.randbytes(32), self._buffer)
        sock.sendall(transport.seal(b""))
        while not transport.is_established:
            data = sock.recv(98)
            assert data, "a good handshake was refused"
            transport.open(data, 0.0)
        return transport

    # the attacks

    def garbage(self, sock: socket.socket) -> None:
        sock.sendall(self.dice.randbytes(self.dice.choice((1, 2, 33, 34, 500, 5_000))))
        self._leave(sock)

    def foreign(self, sock: socket.socket) -> None:
        sock.sendall(self.dice.choice(FOREIGN))
        self._leave(sock)

    def half_a_handshake(self, sock: socket.socket) -> None:
        act_one = struct.pack("<H", 32) + self.dice.randbytes(32)
        sock.sendall(mutated(self.dice, act_one) if self.dice.random() < 0.5 else act_one[:self.dice.randrange(34)])
        self._leave(sock)

    def no_set_up(self, sock: socket.socket) -> None:
        self._shake_hands(sock)
        self._leave(sock)

    def bad_records(self, sock: socket.socket) -> None:
        transport = self._shake_hands(sock)
        sealed = transport.seal(SETUP) + transport.seal(opens())
        sock.sendall(mutated(self.dice, sealed))
        self._leave(sock)

    def mutated_talk(self, sock: socket.socket) -> None:
        transport = self._shake_hands(sock)
        plain = talk(self.dice)
        keep = self.dice.choice((0, len(SETUP), len(SETUP + opens())))
        sock.sendall(transport.seal(plain[:keep] + mutated(self.dice, plain[keep:])))
        self._leave(sock)

    def bad_frames(self, sock: socket.socket) -> None:
        transport = self._shake_hands(sock)
        bad = self.dice.choice((
            encode_frame(0x70, bytes(4)), encode_frame(self.dice.randrange(256), self.dice.randbytes(40)), SETUP,
            b"\0\0\x1b\xff\xff\xff", b"\0\0\x1b\x01\x10\0" + bytes(4097), self.dice.randbytes(100)))
        sock.sendall(transport.seal((SETUP if self.dice.random() < 0.7 else b"") + bad))
        self._leave(sock)

    def flood_of_shares(self, sock: socket.socket) -> None:
        transport = self._shake_hands(sock)
        sock.sendall(transport.seal(SETUP + opens()))
        flood = shares(self.dice, 300)
        for _ in range(5):
            sock.sendall(transport.seal(flood))
        self._leave(sock)

    def flood_of_channels(self, sock: socket.socket) -> None:
        """More than one connection may have."""
        transport = self._shake_hands(sock)
        sock.sendall(transport.seal(SETUP) + transport.seal(opens() * 600))
        self._leave(sock)

    def deaf(self, sock: socket.socket) -> None:
        """Asks and asks, and reads no answer; the pool drops it or holds it off."""
        transport = self._shake_hands(sock)
        flood = shares(self.dice, 300)
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.sendall(transport.seal(SETUP + opens()))
            for _ in range(50):
                sock.sendall(transport.seal(flood))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def silent(self, sock: socket.socket) -> None:
        self.idle.append(socket.socket(fileno=sock.detach()))


# --- the pool, and those who mine -------------------------------------------------------------------------------------

@pytest.fixture
def fair_turns() -> Iterator[None]:
    """Threads that hash share this interpreter with a daemon that waits for its turn at every hop."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        yield stub


@pytest.fixture
def config(stub: StubNode, tmp_path: Path) -> Config:
    path = write_config(tmp_path, secret=KEY, node={"url": stub.url, "cookie_file": "cookie"},
                        difficulty=dict.fromkeys(("start", "min", "max"), SHARE_DIFFICULTY))
    return read_config(path, {})


class Honest:
    """Two CPU miners, and two connections that hold the pool to every single answer."""

    def __init__(self, port: int) -> None:
        url = PoolUrl("127.0.0.1", port, public_key(KEY))
        self.miners = [CpuMiner(url, f"honest.{kind}", kind) for kind in ("standard", "extended")]
        self.load = Load()
        self.load.connect(LoadMiner(port, public_key(KEY), f"exact.{kind}", kind, 4, os.urandom(32))
                          for kind in ("standard", "extended"))
        self.failures: list[BaseException] = []
        self._is_stopping = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(run,))
                         for run in (*(miner.run for miner in self.miners), self._run_load)]
        for thread in self._threads:
            thread.start()

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as exc:    # noqa: BLE001 - shown by the test's own thread
            self.failures.append(exc)

    def _run_load(self) -> None:
        while not self._is_stopping.is_set():
            self.load.go_on(0.05)
        self.load.settle()

    def accepted(self) -> list[int]:
        """What each has had accepted so far."""
        return [*(miner.tally.accepted for miner in self.miners), *self.load.answers()]

    def mine_on(self) -> None:
        """Each has five more shares accepted."""
        before = self.accepted()
        until(lambda: bool(self.failures) or all(
            now >= then + 5 for now, then in zip(self.accepted(), before, strict=True)))
        assert self.failures == []

    def stop(self) -> None:
        self._is_stopping.set()
        for miner in self.miners:
            miner.stop()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        self.load.close()


def connections(daemon: Pool) -> int:
    return sum(stats.connections for stats in daemon.ports.reports(PATIENCE_S))


def held() -> int:
    """Connections of the pool that are alive in this process."""
    gc.collect()
    return sum(isinstance(each, ServerConnection) for each in gc.get_objects())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.usefixtures("fair_turns")
def test_miners_do_not_notice_a_thousand_hostile_connections(
    config: Config, stub: StubNode, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warppool.net.loglimit.LINES", 10_000)     # what closed each of them is asked below
    caplog.set_level(logging.INFO, logger="warppool")
    with ExitStack() as stack:
        daemon = Pool(config)
        stack.callback(daemon.service.stop)
        daemon.service.start()
        assert daemon.service.is_ready.wait(PATIENCE_S)
        port = daemon.ports.listeners[0].port
        honest = Honest(port)
        stack.callback(honest.stop)
        honest.mine_on()
        assert connections(daemon) == held() == 4
        before = descriptors()

        attackers = [Attacker(port, seed) for seed in range(ATTACKERS)]
        attack(attackers, honest)
        assert sum((attacker.count for attacker in attackers), Counter()).total() == ATTACKERS * ATTACKS
        idle = [sock for attacker in attackers for sock in attacker.idle]
        honest.mine_on()
        until(lambda: connections(daemon) <= 4 + len(idle))
        for sock in idle:
            sock.close()
        until(lambda: connections(daemon) == 4)
        until(lambda: descriptors() <= before)
        assert held() == 4
        assert [miner.tally.rejected for miner in honest.miners] == [0, 0]
        assert set(honest.load.codes()) <= {"invalid-share"}

        stub.grow()                                         # and a new tip still reaches them
        until(lambda: daemon.work.latest is not None and daemon.work.latest.tip.height == 2)
        honest.mine_on()
        assert not daemon.service.has_failed.is_set() and daemon.service.hanging(time.monotonic()) == []
        honest.stop()
        assert honest.failures == []
        until(lambda: connections(daemon) == 0)
        assert held() == 0
    check_log(caplog.records)
    check_books(config, honest)


def attack(attackers: list[Attacker], honest: Honest) -> None:
    """All at once, while the honest ones are watched."""
    failures: list[BaseException] = []

    def guarded(attacker: Attacker) -> None:
        try:
            attacker.run()
        except BaseException as exc:    # noqa: BLE001 - shown by the test's own thread
            failures.append(exc)

    threads = [threading.Thread(target=guarded, args=(attacker,)) for attacker in attackers]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        honest.mine_on()                                    # again and again, through all of it
    for thread in threads:
        thread.join()
    assert failures == []


def check_log(records: list[logging.LogRecord]) -> None:
    """Peers are to blame for all of it: no traceback, and nothing that an operator would have to look at."""
    assert [record.getMessage() for record in records if record.exc_info] == []
    assert [record.getMessage() for record in records if record.levelno >= logging.WARNING] == []
    closed = Counter(record.getMessage().partition("reason=")[2].strip('"').split(":")[0] for record in records
                     if record.getMessage().startswith("event=conn.closed"))
    assert closed.keys() >= {"HandshakeFailed", "BadRecord", "BadFrame", "UnexpectedMessage"}, closed


def check_books(config: Config, honest: Honest) -> None:
    """Every share of the honest ones was accepted and is booked, but for those that were late for the last tip."""
    assert config.pool.data_dir is not None
    with open_reader(config.ledger.url, config.pool.data_dir) as reader:
        booked = Counter(share.hash for share in reader.shares(None, "exact"))
        by_worker = Counter(share.worker for share in reader.shares(None, "honest"))
    assert booked == Counter(honest.load.accepted)
    assert set(honest.load.codes()) <= {"invalid-share", "stale-share"}
    for miner, kind in zip(honest.miners, ("standard", "extended"), strict=True):
        tally = miner.tally
        assert tally.last_reject in ("", "stale-share")
        assert tally.accepted <= by_worker[f"honest.{kind}"] <= tally.submitted - tally.rejected
