"""A translator in this process with live pools behind it, and a fleet of V1 machines in front, all in one thread."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from tests.net.far import closed_port
from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import PATIENCE_S
from tests.service.process import write_config
from warppool.addresses import PoolUrl
from warppool.config.pool import read_config
from warppool.config.translator import LEDGER_URL, translator_config_of
from warppool.ledger.database import BookedShare
from warppool.ledger.opening import open_reader
from warppool.noise.primitives import public_key
from warppool.service.pool import Pool
from warppool.service.translator import Translator
from warppool.sv1.client import Authorized, MiningClient, ReconnectAsked, ShareAnswered, Subscribed, Work, WorkReady

SECRET = bytes(range(1, 33))
EVERY_HASH = {"start": 1e-10, "min": 1e-10, "max": 1e-10}
DUPLICATE_EVERY = 8             # one share in so many is sent twice


class LivePool:
    """A V2 pool on a port that stays its own, so that it can go away and come back; `node` as in its configuration.
    `pool` are more keys of that section.
    """

    def __init__(self, folder: Path, node: dict[str, object], secret: bytes = SECRET,
                 pool: Mapping[str, object] | None = None, **difficulty: float) -> None:
        folder.mkdir(exist_ok=True)
        self.url = PoolUrl("127.0.0.1", closed_port(), public_key(secret))
        self.config = read_config(write_config(
            folder, secret=secret, node=node, difficulty=difficulty, pool=pool or {},
            stratum={"sv2_listen": [self.url.place], "workers": 1}), {})
        self.daemon: Pool | None = None

    def start(self) -> LivePool:
        self.daemon = Pool(self.config)
        self.daemon.service.start()
        assert self.daemon.service.is_ready.wait(PATIENCE_S)
        return self

    def stop(self) -> None:
        daemon, self.daemon = self.daemon, None
        if daemon is not None:
            daemon.service.stop()
            assert not daemon.service.has_failed.is_set()

    def booked(self) -> list[BookedShare]:
        with open_reader(self.config.ledger.url, self.config.pool.data_dir) as reader:
            return list(reader.shares())

    @property
    def height(self) -> int:
        assert self.daemon is not None and self.daemon.work.latest is not None
        return self.daemon.work.latest.tip.height


@contextmanager
def stub_pools(folder: Path, count: int = 1) -> Iterator[list[LivePool]]:
    """Pools on scripted nodes, where every hash is a share and none is a block."""
    with StubNode(nbits=HARD_NBITS, cookie=folder / "cookie") as stub:
        node = {"url": stub.url, "cookie_file": str(folder / "cookie")}
        pools = [LivePool(folder / f"pool-{number}", node, **EVERY_HASH).start() for number in range(count)]
        try:
            yield pools
        finally:
            for pool in pools:
                pool.stop()


@contextmanager
def regtest_pool(folder: Path, **difficulty: float) -> Iterator[LivePool]:
    """A pool on the embedded chain, whose every block libbitcoinkernel has judged."""
    pool = LivePool(folder / "pool", {"source": "regtest"}, **difficulty).start()
    try:
        yield pool
    finally:
        pool.stop()


@contextmanager
def translating(folder: Path, *pools: LivePool, stratum: dict[str, object] | None = None,
                user: str = "farm.unnamed", faces: Mapping[str, object] | None = None, **translator: object
                ) -> Iterator[Translator]:
    """A translator for these pools, in order of preference, where machines without a name are `user`; at the end no
    thread of it is left or has failed. `faces` are more sections of its file.
    """
    running = Translator(translator_config_of({
        "stratum": {"listen": ["127.0.0.1:0"], "workers": 2, **(stratum or {})},
        "translator": {"data_dir": "translator", **{key: Decimal(str(value)) if isinstance(value, float) else value
                                                   for key, value in translator.items()}},
        "upstream": [{"url": str(pool.url), "user_identity": user} for pool in pools],
        **(faces or {}),
    }, folder=folder, environ={}, source="test"))
    running.service.start()
    try:
        assert running.service.is_ready.wait(PATIENCE_S)
        yield running
        assert running.service.hanging(time.monotonic()) == []
    finally:
        running.service.stop()
    assert not running.service.has_failed.is_set()
    assert running.counts().is_balanced
    assert running.service.threads.alive() == []
    assert [thread for thread in threading.enumerate() if thread.name == "lookup"] == []


def booked_by(translator: Translator) -> list[BookedShare]:
    """What stands in the translator's own books."""
    with open_reader(LEDGER_URL, translator.config.translator.data_dir) as reader:
        return list(reader.shares())


class FleetMachine:
    """One V1 machine that every hash is good enough for; connects anew when it is closed, and remembers all answers.

    `waits`: it makes each call only once the last one is answered, as cpuminer does; otherwise all at once.
    """

    def __init__(self, port: int, name: str, *, waits: bool, in_flight: int, rolls: bool = True) -> None:
        self.name = name
        self.waits = waits
        self.sent = 0
        self.answers: Counter[int] = Counter()      # by code, 0 for accepted
        self.connections = 0
        self.is_stopped = False                     # sends no more
        self.quota = 0                              # shares that it may still send
        self._port = port
        self._in_flight = in_flight
        self._rolls = rolls
        self._nonce = 0
        self.connect()

    def connect(self) -> None:
        self.connections += 1
        self.sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.work: Work | None = None
        self.unanswered = 0
        self._client = MiningClient("fleet/1")
        if not self.waits:
            if self._rolls:
                self._client.configure(0x1FFFE000)
            self._client.subscribe_extranonce()
        self._client.subscribe()
        if not self.waits:
            self._client.authorize(self.name)
        self.turn()

    def hear(self) -> bool:
        """Take in what came; False if the connection is over."""
        try:
            data = self.sock.recv(65536)
            for event in self._client.receive(data):
                self._heard(event)
            if data:
                self.turn()
            return bool(data)
        except ConnectionError:
            return False

    def _heard(self, event: object) -> None:
        match event:
            case Subscribed() if self.waits:
                self._client.authorize(self.name)
            case Authorized(_, is_let_in):
                assert is_let_in, self.name
            case WorkReady(work):
                self.work = work
            case ShareAnswered(_, _, code):
                self.answers[code] += 1
                self.unanswered -= 1
            case ReconnectAsked():
                raise AssertionError("nobody asked for this")

    def turn(self) -> None:
        """Submit up to the bounds, and send."""
        work = self.work
        while work is not None and self.quota > 0 and self.unanswered < self._in_flight and not self.is_stopped:
            self.quota -= 1
            repeats = 2 if self._nonce % DUPLICATE_EVERY == DUPLICATE_EVERY - 1 else 1
            self._nonce += 1
            rolled = self._nonce << 13 & work.version_mask
            for _ in range(repeats):
                self._client.submit(self.name, work, self._nonce.to_bytes(work.extranonce2_size, "big"),
                                    work.version & ~work.version_mask | rolled, work.ntime, self._nonce)
                self.sent += 1
                self.unanswered += 1
        if out := self._client.outgoing():
            self.sock.sendall(out)


class Fleet:
    """Many machines, driven by the thread of the test; used by `with`."""

    def __init__(self, port: int, names: list[str], *, in_flight: int = 4,
                 waits: Callable[[int], bool] = lambda number: False) -> None:
        self._selector = selectors.DefaultSelector()
        self.machines: list[FleetMachine] = []
        for number, name in enumerate(names):
            machine = FleetMachine(port, name, waits=waits(number), in_flight=in_flight)
            self.machines.append(machine)
            self._selector.register(machine.sock, selectors.EVENT_READ, machine)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines:
            machine.sock.close()
        self._selector.close()

    def drive(self, is_enough: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
        """Let all of them mine until then."""
        deadline = time.monotonic() + patience_s
        while not is_enough():
            assert time.monotonic() < deadline, "it did not happen"
            for key, _ in self._selector.select(0.02):
                machine: FleetMachine = key.data
                if not machine.hear():
                    self._selector.unregister(machine.sock)
                    machine.sock.close()
                    machine.connect()
                    self._selector.register(machine.sock, selectors.EVENT_READ, machine)

    def give(self, shares_each: int) -> None:
        """Each may send so many more."""
        for machine in self.machines:
            machine.quota += shares_each
            machine.turn()

    def are_working(self) -> bool:
        """Each has work."""
        return all(machine.work is not None for machine in self.machines)

    def are_answered(self) -> bool:
        """Each has sent all that it may, and heard of every share on a connection that still stands."""
        return all(machine.unanswered == 0 and (machine.quota <= 0 or machine.is_stopped) for machine in self.machines)

    @property
    def answers(self) -> Counter[int]:
        """Of all machines, by code; 0 for accepted."""
        return sum((machine.answers for machine in self.machines), Counter[int]())

    @property
    def sent(self) -> int:
        return sum(machine.sent for machine in self.machines)
