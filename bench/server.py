"""The pool under measurement: `bench.node` and `warppool run`, each a process of its own, and what /proc says of it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from bench.node import TRANSACTIONS
from warppool.noise.primitives import public_key

SECRET = bytes(range(1, 33))
START_PATIENCE_S = 30.0
STOP_PATIENCE_S = 10.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PYTHON = (sys.executable, "-m")

# The difficulty is so low that every hash counts, whatever vardiff thinks of so many shares: all meet 2^256 - 1.
CONFIG = """
[pool]
network = "main"
payout_address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
data_dir = "data"
[stratum]
listen = []
sv2_listen = ["127.0.0.1:0"]
[difficulty]
start = 1e-10
min = 1e-10
max = 1e-10
max_shares_per_minute = 0
[[node]]
url = "http://127.0.0.1:{port}"
user = "bench"
[log]
level = "info"
"""


class BenchFailed(Exception):
    """The pool did not do what a bench counts on."""


class Server:
    """A pool of its own on free loopback ports, with a node of its own and empty books; used by `with`.

    `command` is what runs the module `warppool`, for those who look into it with a profiler.
    """

    def __init__(self, transactions: int = TRANSACTIONS, command: Sequence[str] = PYTHON) -> None:
        self._transactions = transactions
        self._command = command
        self._closing = ExitStack()
        self.public_key = public_key(SECRET)

    def __enter__(self) -> Server:
        with ExitStack() as closing:
            self._folder = Path(closing.enter_context(TemporaryDirectory(prefix="warppool-bench-")))
            self._log = self._folder / "log"
            node = self._start(closing, [*PYTHON, "bench.node", "--transactions", str(self._transactions)])
            assert node.stdout is not None
            self._node_port = json.loads(node.stdout.readline())["port"]
            config = self._folder / "warppool.toml"
            config.write_text(CONFIG.format(port=self._node_port))
            secrets = self._folder / "secrets.toml"
            secrets.touch(0o600)
            secrets.write_text(f'sv2_static_priv_key_hex = "{SECRET.hex()}"\nnode_passwords = ["bench"]\n')
            self._pool = self._start(closing, [*self._command, "warppool", "run", "-c", str(config)])
            self.pid = self._pool.pid
            self.port = self._wait_until_ready()
            self._closing = closing.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._closing.close()

    def _start(self, closing: ExitStack, command: Sequence[str]) -> subprocess.Popen[str]:
        with self._log.open("a") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True,
                                       cwd=Path(__file__).parents[1])
        closing.callback(_end, process)
        return process

    def _wait_until_ready(self) -> int:
        """The port, once the log says that it serves."""
        deadline = time.monotonic() + START_PATIENCE_S
        while time.monotonic() < deadline and self._pool.poll() is None:
            for line in self._log.read_text().splitlines():
                if "event=service.ready" in line:
                    fields = dict(field.partition("=")[::2] for field in line.split() if "=" in field)
                    self.ports = [int(place.rpartition(":")[2]) for place in fields["listen"].strip('"').split(",")]
                    return self.ports[-1]
            time.sleep(0.02)
        raise BenchFailed(f"the pool does not serve; its log:\n{self._log.read_text()}")

    def move_tip(self) -> None:
        """A new block at the node."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._node_port}/tip", b"", 10) as answer:
            answer.read()

    def cpu_s(self) -> float:
        """CPU seconds of the pool so far, user and system, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    def rss_kib(self) -> int:
        """Memory of the pool now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise BenchFailed("the pool has ended")

    def shares_booked(self) -> int:
        """Rows in the ledger, read while the pool runs."""
        books = sqlite3.connect(f"file:{self._folder / 'data' / 'shares.db'}?mode=ro", uri=True)
        try:
            return int(books.execute("SELECT count(*) FROM shares").fetchone()[0])
        finally:
            books.close()

    def lines(self) -> int:
        """How long the log is."""
        return self._log.read_bytes().count(b"\n")

    def complaints(self) -> list[str]:
        """Lines of the log that nobody should see."""
        return [line for line in self._log.read_text().splitlines() if " ERROR " in line or " CRITICAL " in line]


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
