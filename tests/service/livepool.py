"""A daemon in this process on a scripted node, with V1 ports, for tests that are machines themselves."""

from __future__ import annotations

import gc
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.node.stub import StubNode, display
from tests.patience import PATIENCE_S
from tests.peers.foreign_v1 import Machine, dsha
from tests.service.process import write_config
from warppool.commands.democert import self_signed
from warppool.config.options import Config
from warppool.config.pool import read_config
from warppool.ledger.database import BookedShare
from warppool.ledger.opening import open_reader
from warppool.service.connector import SV1, SV1_TLS
from warppool.service.pool import Pool
from warppool.sv1.connection import ServerConnection

WAYS = (SV1, SV1_TLS)


def v1_config(folder: Path, stub: StubNode, *, workers: int = 2, **difficulty: float) -> Config:
    """Two ports for V1, plain and TLS, with a certificate made for them; no V2."""
    certificate, key = self_signed().write(folder)
    stratum = {"listen": ["127.0.0.1:0"], "tls_listen": ["127.0.0.1:0"], "sv2_listen": [], "workers": workers,
               "tls_cert": str(certificate), "tls_key": str(key)}
    path = write_config(folder, secret=None, node={"url": stub.url, "cookie_file": str(stub.cookie)}, stratum=stratum,
                        difficulty=difficulty)
    return read_config(path, {})


class LivePool:
    """A daemon that runs, and ways to reach it."""

    def __init__(self, config: Config, stub: StubNode, read: Callable[[], Config] | None = None) -> None:
        self.config = config
        self.stub = stub
        self.daemon = Pool(config, read=read)
        self.ports = {listener.kind: listener.port for listener in self.daemon.ports.listeners}

    def tls(self) -> ssl.SSLContext:
        """Trusts the certificate that lies there now, and nothing else."""
        return ssl.create_default_context(cafile=str(self.config.stratum.tls_cert))

    def machine(self, way: str = SV1, worker: str = "alice.rig1") -> Machine:
        return Machine(self.ports[way], worker, tls=self.tls() if way == SV1_TLS else None)

    def connections(self) -> int:
        return sum(stats.connections for stats in self.daemon.ports.reports(PATIENCE_S))

    @staticmethod
    def held() -> int:
        """V1 connections that are alive in this process."""
        gc.collect()
        return sum(isinstance(each, ServerConnection) for each in gc.get_objects())

    def booked(self) -> list[BookedShare]:
        assert self.config.pool.data_dir is not None
        with open_reader(self.config.ledger.url, self.config.pool.data_dir) as reader:
            return list(reader.shares())


@contextmanager
def live(folder: Path, stub: StubNode, **given: Any) -> Iterator[LivePool]:
    """Run one with two ports for V1."""
    with running(LivePool(v1_config(folder, stub, **given), stub)) as pool:
        yield pool


@contextmanager
def running(pool: LivePool) -> Iterator[LivePool]:
    """Run it; when the test is through, no thread of it has failed or hangs."""
    try:
        pool.daemon.service.start()
        assert pool.daemon.service.is_ready.wait(PATIENCE_S)
        yield pool
        assert not pool.daemon.service.has_failed.is_set() and pool.daemon.service.hanging(time.monotonic()) == []
    finally:
        pool.daemon.service.stop()


def tells_of_transactions(stub: StubNode) -> None:
    """Let polls return when a transaction comes in: a fresh template on the same tip, when a test wants it."""
    told = stub._mempool

    def wait(params: list[Any]) -> dict[str, Any]:
        nonlocal told
        height, timeout_ms = params
        with stub.changed:
            epoch = stub._epoch
            stub.changed.wait_for(
                lambda: epoch != stub._epoch or len(stub.chain) > height or told != stub._mempool, timeout_ms / 1000)
            if told != stub._mempool:
                told = stub._mempool
                return {"hash": "ff" * 32, "height": height}        # another tip, as far as the pool can tell
            return {"hash": display(stub.chain[-1]), "height": len(stub.chain) - 1}

    stub.hooks["waitforblockheight"] = wait


def add_transaction(stub: StubNode, entry: dict[str, Any]) -> None:
    """Into the mempool, and long polls hear of it."""
    stub.add_transactions(entry)
    with stub.changed:
        stub.changed.notify_all()


def check_block(raw: bytes, header: bytes, coinbase: bytes) -> None:
    """What the node was given is what the machine hashed, with the witness that its commitment wants."""
    assert raw[:80] == header
    assert coinbase[:4] + b"\0\1" + coinbase[4:-4] + b"\1\x20" + bytes(32) + coinbase[-4:] in raw
    assert dsha(coinbase) == raw[36:68] or raw[80] > 1          # the merkle root, of a single transaction


def complaints(records: list[logging.LogRecord]) -> list[str]:
    """What an operator would have to look at, and every traceback."""
    return [record.getMessage() for record in records if record.exc_info or record.levelno >= logging.WARNING]
