"""A real bitcoind (Debian's bitcoin-knots, a derivative of Bitcoin Core), started by a test or a bench.

`tests/peers/get_bitcoind` brings it. Every node has a folder, an RPC port and a port for other nodes of its own, on
loopback alone; it asks nobody for peers. A node that was stopped or killed starts again on the same folder and ports.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.peers.cache import HERE, LOOPBACK, cache_folder, free_port

START_S = 120.0         # it is up in 2 to 4 s where nothing else runs
STOP_S = 60.0
CALL_S = 120.0
PATIENCE_S = 60.0       # for what must come; never reached when all is well
NAP_S = 0.02

# Anyone may spend what is paid here: a witness of the one push OP_TRUE. The same script on every test network.
OP_TRUE_ADDRESSES = {
    "regtest": "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85",
    "signet": "tb1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqaqh7jw",
    "testnet4": "tb1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqaqh7jw",
}
WARMING_UP = -28
_NOT_READY = frozenset({WARMING_UP, 401, 503})      # 401: a cookie of the start before was read
PRIVATE_SIGNET = "-signetchallenge=51"      # OP_TRUE: blocks need no signature. Difficulty 0.00113 from the first on


class RpcError(Exception):
    """The node's own error: its number and its words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{words} ({code})")
        self.code = code
        self.words = words


def program(name: str = "bitcoind") -> list[str]:
    """The words that start `name` through the loader and on the libraries that came with it; [] if it is not there."""
    root = cache_folder() / "bitcoind"
    loaders = sorted(root.glob("usr/lib/*/ld-linux-*.so.*"))
    if not (root / "complete").exists() or not loaders:
        return []
    return [str(loaders[0]), "--library-path", str(loaders[0].parent), str(root / "usr" / "bin" / name)]


def skip_unless_installed() -> None:
    """Skip the test, with what is missing as its reason."""
    import pytest

    if not program():
        pytest.skip(f"bitcoind is not installed: {(HERE / 'get_bitcoind').relative_to(HERE.parents[1])} brings it")


def until(is_true: Callable[[], Any], patience_s: float = PATIENCE_S, explain: Callable[[], str] = str) -> Any:
    """Wait for something true, and give it back; `explain` tells why it may not have come."""
    deadline = time.monotonic() + patience_s
    while not (value := is_true()):
        assert time.monotonic() < deadline, f"it did not happen:\n{explain()}"
        time.sleep(NAP_S)
    return value


class Bitcoind:
    """One node. `network` is the pool's name of it: regtest, signet, testnet4, main.

    `args` are options of bitcoind, `-key=value`, and win over what stands here. With a `user` and `password` the node
    takes those, and it writes no cookie.
    """

    def __init__(self, folder: Path, *args: str, network: str = "regtest", user: str = "", password: str = "") -> None:
        self.folder = folder
        self.network = network
        self.args = list(args)
        self.user, self.password = user, password
        self.rpc_port = free_port()
        self.peer_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    # ---- start and end

    def start(self, *args: str, is_awaited: bool = True) -> Bitcoind:
        """Start it with `args` more for this once; wait until it serves calls, unless it is not to be awaited."""
        assert self._process is None, "it runs already"
        words = program()
        assert words, "bitcoind is not installed"
        self.folder.mkdir(parents=True, exist_ok=True)
        login = [f"-rpcuser={self.user}", f"-rpcpassword={self.password}"] if self.user else []
        words += [
            f"-chain={self.network}", f"-datadir={self.folder}", "-conf=/dev/null", "-printtoconsole=0", "-server=1",
            f"-rpcport={self.rpc_port}", f"-rpcbind={LOOPBACK}", f"-rpcallowip={LOOPBACK}", *login,
            "-listen=1", f"-bind={LOOPBACK}:{self.peer_port}", "-connect=0", "-discover=0", "-dnsseed=0",
            "-fixedseeds=0", "-listenonion=0", "-natpmp=0", "-fallbackfee=0.0001", "-dbcache=50", *self.args, *args,
        ]
        with (self.folder / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
        if is_awaited:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until it serves calls."""
        until(self._is_ready, START_S)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "bitcoind ended at its start:\n" + self.last_words()
        try:
            self.call("getblockcount")
        except RpcError as exc:
            return exc.code not in _NOT_READY
        except (OSError, http.client.HTTPException):
            return False
        return True

    def stop(self) -> None:
        """SIGTERM, and wait; a node that does not run is left alone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: what it had not written is lost."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)     # a stopped one does not hear
        process.send_signal(how)
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()

    def restart(self, *args: str) -> None:
        """Stop it as an operator would, and start it again."""
        self.stop()
        self.start(*args)

    def pause(self) -> None:
        """SIGSTOP: its ports stay open, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, which)

    def __enter__(self) -> Bitcoind:
        return self if self._process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- what a pool is told of it

    @property
    def chain_folder(self) -> Path:
        return self.folder if self.network == "main" else self.folder / self.network

    @property
    def cookie_file(self) -> Path:
        return self.chain_folder / ".cookie"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.rpc_port}"

    # ---- calls

    def login(self) -> str:
        """`user:password`, as it is now."""
        return f"{self.user}:{self.password}" if self.user else self.cookie_file.read_text()

    def call(self, method: str, *params: object, wallet: str | None = None, login: str | None = None) -> Any:
        """The result of one call, on a connection of its own; RpcError, OSError or HTTPException."""
        connection = http.client.HTTPConnection(LOOPBACK, self.rpc_port, timeout=CALL_S)
        try:
            token = base64.b64encode((login or self.login()).encode()).decode()
            path = "/" if wallet is None else f"/wallet/{wallet}"
            body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": params})
            connection.request("POST", path, body, {"Authorization": f"Basic {token}"})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError as exc:
            raise RpcError(response.status, text[:200].decode("utf-8", "replace")) from exc
        if answer["error"] is not None:
            raise RpcError(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    # ---- a chain, and company

    def generate(self, blocks: int, address: str | None = None, tries: int = 2**31 - 1) -> list[str]:
        """Mine in the node itself: the new blocks' hashes in display order."""
        return self.call("generatetoaddress", blocks, address or OP_TRUE_ADDRESSES[self.network], tries)

    @property
    def height(self) -> int:
        return self.call("getblockcount")

    @property
    def best(self) -> str:
        """The tip's hash in display order."""
        return self.call("getbestblockhash")

    def connect(self, other: Bitcoind) -> None:
        """Connect to another node, and wait until both know of it."""
        self.call("addnode", f"{LOOPBACK}:{other.peer_port}", "onetry")
        until(lambda: any(peer["addr"] == f"{LOOPBACK}:{other.peer_port}" and peer.get("version")
                          for peer in self.call("getpeerinfo")))

    def isolate(self) -> None:
        """Cut it off from all other nodes, and let none come."""
        self.call("setnetworkactive", False)
        until(lambda: not self.call("getpeerinfo"))

    def rejoin(self, *others: Bitcoind) -> None:
        self.call("setnetworkactive", True)
        for other in others:
            self.connect(other)

    def last_words(self) -> str:
        """The end of what it wrote, for a test that failed."""
        files: Iterable[Path] = (self.folder / "stderr", self.chain_folder / "debug.log")
        return "\n".join(path.read_text("utf-8", "replace")[-2000:] for path in files if path.exists())


def is_same_tip(*nodes: Bitcoind) -> bool:
    return len({node.best for node in nodes}) == 1
