"""bcoin as a real full node, started by a test: `npm ci --ignore-scripts` in tests/peers/bcoin installs it."""

from __future__ import annotations

import hashlib
import select
import shutil
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from warppool.addresses import NodeAddress
from warppool.bitcoin.hashes import from_display, to_display
from warppool.bitcoin.transaction import serialize_output, whole_transaction
from warppool.node.items import Verdict
from warppool.node.jsonrpc import JsonRpc, UserPassword
from warppool.node.kernel import Kernel

HERE = Path(__file__).parent / "bcoin"
START_S = 30.0          # bcoin is up in half a second where nothing else runs
CALL_S = 30.0
PATIENCE_S = 30.0
API_KEY = "warppool-test"
MATURE = 100            # blocks from a coinbase to the first that may spend it

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

    def __init__(self, prefix: Path | None = None, api_key: str = API_KEY) -> None:
        self.login = UserPassword("bitcoin", api_key)
        self._prefix = prefix
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> NodeAddress:
        return NodeAddress("127.0.0.1", self._port, "/")

    def start(self) -> BcoinNode:
        words = ["node", str(HERE / "node.js"), f"--port={self._port}", f"--api-key={self.login.password}"]
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
                    status = process.wait(START_S)
                finally:
                    process.kill()
            assert status == (-signal.SIGKILL if kill else 0), "bcoin did not end as it should"

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


def spend(txid: bytes, value_sat: int, fee_sat: int) -> tuple[bytes, int]:
    """A transaction that moves an output to anyone, from anyone; and what is left of it."""
    left = value_sat - fee_sat
    raw = b"\x02\x00\x00\x00\x00\x01\x01" + txid + bytes(4) + b"\x00" + b"\xff" * 4
    return raw + b"\x01" + serialize_output(left, OP_TRUE_SCRIPT) + b"\x01\x01" + OP_TRUE + bytes(4), left


def fill_mempool(node: BcoinNode, chains: int, links: int, first: int = 1) -> list[bytes]:
    """Send `chains` chains of `links` transactions each, out of the coinbases from height `first` on, which must be
    mature and unspent; wait until all are there."""
    sent = []
    for height in range(first, first + chains):
        coinbase = node.call("getblock", node.call("getblockhash", height), True)["tx"][0]
        txid, value = from_display(coinbase), 50 * 10**8
        for _ in range(links):
            raw, value = spend(txid, value, 10_000)
            node.call("sendrawtransaction", raw.hex())
            txid = whole_transaction(raw).txid
            sent.append(raw)
            wanted = to_display(txid)
            until = time.monotonic() + PATIENCE_S
            while wanted not in node.call("getrawmempool"):         # it is sent along before it is checked
                assert time.monotonic() < until
    return sent


def judge_by_kernel(node: BcoinNode, directory: Path) -> None:
    """Every block of bcoin's chain must be valid to libbitcoinkernel."""
    kernel = Kernel(directory)
    kernel.open()
    try:
        for height, raw in enumerate(node.blocks(), 1):
            judged = kernel.submit(raw)[0]
            assert judged.verdict is Verdict.ACCEPTED, (height, judged)
        assert to_display(kernel.tip_hash()) == node.call("getbestblockhash")
    finally:
        kernel.close()
