"""A pool on real nodes, as a process, and machines on it: what the tests with bitcoind and btcd share."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers import bitcoind
from tests.peers.bitcoind import Bitcoind
from tests.peers.foreign_v1 import Machine
from tests.service.byhand import HandMiner
from tests.service.process import WARPPOOL, PoolProcess, environ
from warppool.addresses import PoolUrl
from warppool.bitcoin.hashes import to_display
from warppool.miner.cpu import CpuMiner
from warppool.noise.primitives import public_key

SECRET = bytes(range(1, 33))
PATIENCE_S = 60.0           # for what must come; never reached when all is well
LOOK_S = 0.02
PAYOUTS = {                 # BIP173's example key
    "regtest": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    "signet": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
    "testnet4": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
}
FOREIGN = PAYOUTS["regtest"]            # whose blocks differ from those that a node mines for itself in the same second
EASY = {"start": 1e-10, "min": 1e-10, "max": 1e-10}     # every hash is a share, and a regtest block every second one


def write_config(folder: Path, *nodes: Bitcoind | Mapping[str, Any], difficulty: dict[str, float] | None = None,
                 stratum: Mapping[str, Any] | None = None, secrets: Mapping[str, str] | None = None,
                 **pool: object) -> Path:
    """A pool on these nodes; `pool` are more keys of that section.

    A node that is a process is used by cookie or by user and password; of any other its keys are given. `stratum` and
    `secrets` are more keys of theirs.
    """
    network = next((node.network for node in nodes if isinstance(node, Bitcoind)), "regtest")
    keys = {"network": network, "payout_address": PAYOUTS[network], "data_dir": "data"} | pool
    listens = {"listen": ["127.0.0.1:0"], "sv2_listen": ["127.0.0.1:0"]}
    lines = ["[pool]", *_pairs(keys), "[stratum]", *_pairs(listens | (stratum or {})),
             "[difficulty]", *_pairs(difficulty or EASY), *node_lines(*nodes)]
    path = folder / "warppool.toml"
    path.write_text("\n".join(lines) + "\n")
    write_secrets(folder, *nodes, **(secrets or {}))
    return path


def node_lines(*nodes: Bitcoind | Mapping[str, Any]) -> list[str]:
    """The `[[node]]` sections."""
    lines: list[str] = []
    for node in nodes:
        if isinstance(node, Bitcoind):
            login = {"user": node.user} if node.user else {"cookie_file": str(node.cookie_file)}
            node = {"url": node.url} | login
        lines += ["[[node]]", *_pairs(node)]
    return lines


def write_secrets(folder: Path, *nodes: Bitcoind | Mapping[str, Any], **more: str) -> None:
    """Its secrets.toml: the key of the warp profile, the nodes' passwords, and `more`."""
    passwords = [node.password for node in nodes if isinstance(node, Bitcoind) and node.user]
    keys = {"sv2_static_priv_key_hex": SECRET.hex(), "node_passwords": passwords} | more
    with open(os.open(folder / "secrets.toml", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("\n".join(_pairs(keys)) + "\n")


def _pairs(keys: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in keys.items()]


def ports(pool: PoolProcess) -> dict[str, int]:
    """The port of each kind of listener: `sv1`, `sv2`."""
    pool.ready()
    return {line["kind"]: int(line["address"].rpartition(":")[2]) for line in pool.events("listener.opened")}


def by_hand(pool: PoolProcess, kind: str = "extended") -> HandMiner:
    """A V2 miner that does what it is told."""
    return HandMiner(ports(pool)["sv2"], public_key(SECRET), kind=kind)


def machine(pool: PoolProcess) -> Machine:
    """A V1 machine that does what it is told; a pool without work closes it."""
    return Machine(ports(pool)["sv1"])


def when_mined(pool: PoolProcess, patience_s: float = PATIENCE_S) -> HandMiner:
    """A V2 miner with work, once the pool gives some: it may close connections until then."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with by_hand(pool):
                return by_hand(pool)
        except (AssertionError, OSError):
            assert time.monotonic() < deadline, "no work:\n" + "\n".join(pool.lines[-30:])
            time.sleep(LOOK_S * 10)


@contextmanager
def mining(pool: PoolProcess, kind: str = "extended") -> Iterator[CpuMiner]:
    """A V2 CPU miner at work."""
    miner = CpuMiner(PoolUrl("127.0.0.1", ports(pool)["sv2"], public_key(SECRET)), f"alice.{kind}", kind)
    thread = threading.Thread(target=miner.run)
    thread.start()
    try:
        yield miner
    finally:
        miner.stop()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def until(is_true: Callable[[], Any], pool: PoolProcess | None = None, patience_s: float = PATIENCE_S) -> Any:
    """Wait for something true, and give it back; the pool's last lines tell why it did not come."""
    return bitcoind.until(is_true, patience_s, lambda: "\n".join(pool.lines[-30:] if pool else ()))


def accepted(pool: PoolProcess, block: bytes) -> dict[str, str]:
    """Wait for the word that a block, by its hash in header order, is on the chain."""
    return pool.wait_for("block.accepted", lambda fields: fields["hash"] == to_display(block))


def run_check(config: Path) -> tuple[int, list[str]]:
    """`warppool check`: its exit status and its lines."""
    done = subprocess.run([*WARPPOOL, "check", "-c", str(config)], capture_output=True, text=True, env=environ(),
                          timeout=PATIENCE_S, check=False)
    return done.returncode, done.stdout.splitlines()
