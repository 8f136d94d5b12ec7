"""bcoin as a real full node, started by a test: `npm ci --ignore-scripts` in tests/peers/bcoin installs it."""

from __future__ import annotations

import hashlib
import select
import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from warppool.node.jsonrpc import JsonRpc, NodeAddress, UserPassword

HERE = Path(__file__).parent / "bcoin"
START_S = 30.0          # bcoin is up in half a second where nothing else runs
CALL_S = 30.0
API_KEY = "warppool-test"

OP_TRUE = b"\x51"
OP_TRUE_SCRIPT = b"\x00\x20" + hashlib.sha256(OP_TRUE).digest()                         # P2WSH: anyone may spend it
OP_TRUE_ADDRESS = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85"


def skip_unless_installed() -> None:
    """Skip the test, with what is missing as its reason."""
    if shutil.which("node") is None:
        pytest.skip("bcoin needs node, which is not there")
    if not (HERE / "node_modules" / "bcoin").is_dir():
        pytest.skip(f"bcoin is not installed: npm ci --ignore-scripts in {HERE.relative_to(HERE.parents[2])}")


class BcoinNode:
    """A regtest node of its own, on a loopback port; with a `prefix` its chain survives `stop` and `start`."""

    login = UserPassword("bitcoin", API_KEY)

    def __init__(self, prefix: Path | None = None) -> None:
        self._prefix = prefix
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> NodeAddress:
        return NodeAddress("127.0.0.1", self._port, "/")

    def start(self) -> BcoinNode:
        words = ["node", str(HERE / "node.js"), f"--port={self._port}", f"--api-key={API_KEY}"]
        if self._prefix is not None:
            words.append(f"--prefix={self._prefix}")
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], START_S)[0], "bcoin does not start"
        word, _, port = self._process.stdout.readline().partition(" ")
        assert word == "ready", "bcoin ended at its start"
        self._port = int(port)
        return self

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            with process:
                process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
                try:
                    process.wait(START_S)
                finally:
                    process.kill()

    def __enter__(self) -> BcoinNode:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def call(self, method: str, *params: object) -> Any:
        with closing(JsonRpc(self.address, self.login)) as rpc:
            return rpc.call(method, *params, timeout_s=CALL_S)

    def blocks(self) -> list[bytes]:
        """All raw blocks of the best chain from height 1 on."""
        with closing(JsonRpc(self.address, self.login)) as rpc:
            height = rpc.call("getblockcount", timeout_s=CALL_S)
            hashes = [rpc.call("getblockhash", each, timeout_s=CALL_S) for each in range(1, height + 1)]
            return [bytes.fromhex(rpc.call("getblock", each, 0, timeout_s=CALL_S)) for each in hashes]
