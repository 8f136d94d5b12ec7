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
from warppool.noise.secp256k1 import xonly_of_secret
from warppool.sv2.profile import SPEC, WARP, Profile

SECRET = bytes(range(1, 33))
AUTHORITY = bytes(range(33, 65))        # its secret, where the published profile is served
RPC_NODE = '''[[node]]
url = "http://127.0.0.1:{port}"
user = "bench"'''
LISTENERS = {
    WARP: 'sv2_listen = ["127.0.0.1:0"]\nsv2_spec_listen = []',
    SPEC: 'sv2_listen = []\nsv2_spec_listen = ["127.0.0.1:0"]',
}
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
{listeners}
[difficulty]
start = 1e-10
min = 1e-10
max = 1e-10
max_shares_per_minute = 0
{node}
[log]
level = "info"
"""


class BenchFailed(Exception):
    """The pool did not do what a bench counts on."""


class Server:
    """A pool of its own on free loopback ports, with a node of its own and empty books; used by `with`.

    `command` is what runs the module `warppool`, for those who look into it with a profiler. `profile` is spoken on its
    port, and `pin` is what its miners hold it to.
    """

    def __init__(self, transactions: int = TRANSACTIONS, command: Sequence[str] = PYTHON,
                 profile: Profile = WARP) -> None:
        self._transactions = transactions
        self._command = command
        self._closing = ExitStack()
        self.public_key = public_key(SECRET)
        self.profile = profile
        self.pin = xonly_of_secret(AUTHORITY) if profile is SPEC else self.public_key

    def __enter__(self) -> Server:
        with ExitStack() as closing:
            self._folder = Path(closing.enter_context(TemporaryDirectory(prefix="warppool-bench-")))
            self._log = self._folder / "log"
            node = self._start(closing, [*PYTHON, "bench.node", "--transactions", str(self._transactions)])
            assert node.stdout is not None
            self._node_port = json.loads(node.stdout.readline())["port"]
            config = self._folder / "warppool.toml"
            config.write_text(CONFIG.format(listeners=LISTENERS[self.profile], node=self._node(closing)))
            write_secrets(self._folder, ["bench"] if self._has_rpc else [])
            self._pool = self._start(closing, [*self._command, "warppool", "run", "-c", str(config)])
            self.pid = self._pool.pid
            self.ports = wait_until_ready(self._pool, self._log)
            self.port = self.ports[-1]
            self._closing = closing.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._closing.close()

    _has_rpc = True                     # its node is asked by RPC, with a password

    def _node(self, closing: ExitStack) -> str:
        """The node's table in the pool's file."""
        return RPC_NODE.format(port=self._node_port)

    def _start(self, closing: ExitStack, command: Sequence[str], log: Path | None = None) -> subprocess.Popen[str]:
        """A process that writes its log there, else to the pool's."""
        with (log or self._log).open("a") as out:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, text=True,
                                       cwd=Path(__file__).parents[1])
        closing.callback(_end, process)
        return process

    def move_tip(self) -> None:
        """A new block at the node."""
        self._ask_node("tip")

    def times(self) -> dict[str, float]:
        """When the node's tip moved last (`moved_at`), and when the last byte of its last template was out
        (`answered_at`), by the monotonic clock, which all processes share.
        """
        return dict(json.loads(self._ask_node("times")))

    def _ask_node(self, what: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._node_port}/{what}", b"", 10) as answer:
            return bytes(answer.read())

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

    def log_lines(self) -> list[str]:
        """The log so far."""
        return self._log.read_text().splitlines()

    def complaints(self) -> list[str]:
        """Lines of the log that nobody should see."""
        return [line for line in self._log.read_text().splitlines() if " ERROR " in line or " CRITICAL " in line]


def wait_until_ready(process: subprocess.Popen[str], log: Path) -> list[int]:
    """The ports of a daemon, once its log says that it serves."""
    deadline = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if "event=service.ready" in line:
                fields = dict(field.partition("=")[::2] for field in line.split() if "=" in field)
                return [int(place.rpartition(":")[2]) for place in fields["listen"].strip('"').split(",")]
        time.sleep(0.02)
    raise BenchFailed(f"a daemon does not serve; its log:\n{log.read_text()}")


def write_secrets(folder: Path, passwords: Sequence[str]) -> None:
    """The keys of both profiles, and passwords of nodes."""
    secrets = folder / "secrets.toml"
    secrets.touch(0o600)
    secrets.write_text(f'sv2_static_priv_key_hex = "{SECRET.hex()}"\nsv2_spec_static_priv_key_hex = "{SECRET.hex()}"\n'
                       f'sv2_spec_authority_priv_key_hex = "{AUTHORITY.hex()}"\n'
                       f'node_passwords = {json.dumps(list(passwords))}\n')


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
