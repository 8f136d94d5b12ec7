"""btcd, a full node in Go, started by a test: `tests/peers/get_btcd` builds it."""

from __future__ import annotations

import http.client
import os
import subprocess
from pathlib import Path

from tests.peers.bitcoind import Bitcoind, RpcError
from tests.peers.cache import HERE, LOOPBACK, cache_folder


def program() -> Path:
    return cache_folder() / "btcd" / "btcd"


def skip_unless_installed() -> None:
    """Skip the test, with what is missing as its reason."""
    import pytest

    if not os.access(program(), os.X_OK):
        pytest.skip(f"btcd is not installed: {(HERE / 'get_btcd').relative_to(HERE.parents[1])} builds it")


class Btcd(Bitcoind):
    """A regtest node of btcd. It has the calls that are asked of it in tests, and no wallet."""

    def __init__(self, folder: Path, *args: str) -> None:
        super().__init__(folder, *args, user="pool", password="word")

    def start(self, *args: str, is_awaited: bool = True) -> Btcd:
        assert self._process is None, "it runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        words = [
            str(program()), "--regtest", "--notls", f"--datadir={self.folder}", f"--logdir={self.folder}",
            f"--configfile={os.devnull}", f"--rpclisten={LOOPBACK}:{self.rpc_port}", f"--rpcuser={self.user}",
            f"--rpcpass={self.password}", f"--listen={LOOPBACK}:{self.peer_port}", "--nodnsseed",
            *self.args, *args,
        ]
        with (self.folder / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
        if is_awaited:
            self.wait_ready()
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "btcd ended at its start:\n" + self.last_words()
        try:
            self.call("getblockcount")
        except (OSError, http.client.HTTPException, RpcError):
            return False
        return True
