"""Our daemons with their ports of the published profile, as the tests with SRI's programs use them."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.peers import sri
from tests.peers.bitcoind import Bitcoind
from tests.peers.cache import HERE, LOOPBACK, cache_folder, free_port
from tests.peers.pools import PATIENCE_S, SECRET, node_lines, write_config, write_secrets
from tests.service.process import WARPPOOL, environ
from warppool.authority import parse_authority_key
from warppool.noise.primitives import public_key

SPEC_SECRETS = {            # the authority is the one that SRI's own examples have
    "sv2_spec_static_priv_key_hex": bytes(range(2, 34)).hex(),
    "sv2_spec_authority_priv_key_hex": sri.AUTHORITY_SECRET,
}


class Served(NamedTuple):
    """A configuration, and the ports of it, which stay the same at each start."""

    config: Path
    warp_port: int
    spec_port: int

    def url(self, profile: str) -> str:
        """Of this server in one profile, with the key that clients are told."""
        if profile == "warp":
            return f"stratum2+tcp://{LOOPBACK}:{self.warp_port}/{public_key(SECRET).hex()}"
        return f"stratum2+tcp://{LOOPBACK}:{self.spec_port}/{sri.AUTHORITY}"

    def as_pool(self) -> sri.Pool:
        return sri.Pool(self.spec_port)


def pool_config(folder: Path, *nodes: Bitcoind | dict[str, Any], **pool: object) -> Served:
    """A pool that serves all it can."""
    folder.mkdir(parents=True, exist_ok=True)
    warp, spec = free_port(), free_port()
    stratum = {"sv2_listen": [f"{LOOPBACK}:{warp}"], "sv2_spec_listen": [f"{LOOPBACK}:{spec}"]}
    return Served(write_config(folder, *nodes, stratum=stratum, secrets=SPEC_SECRETS, **pool), warp, spec)


def provider_config(folder: Path, *nodes: Bitcoind) -> Served:
    """A template provider on these nodes."""
    folder.mkdir(parents=True, exist_ok=True)
    warp, spec = free_port(), free_port()
    path = folder / "template-provider.toml"
    lines = ["[provider]", 'network = "regtest"', 'data_dir = "data"', "[stratum]",
             f'sv2_listen = ["{LOOPBACK}:{warp}"]', f'sv2_spec_listen = ["{LOOPBACK}:{spec}"]', *node_lines(*nodes)]
    path.write_text("\n".join(lines) + "\n")
    write_secrets(folder, *nodes, **SPEC_SECRETS)
    return Served(path, warp, spec)


def booked(config: Path) -> Counter[tuple[str, str]]:
    """The shares in a pool's books: how often each (worker, hash) stands there."""
    done = subprocess.run([*WARPPOOL, "shares", "-c", str(config)], capture_output=True, text=True, env=environ(),
                          timeout=PATIENCE_S, check=True)
    shares = map(json.loads, done.stdout.splitlines())
    return Counter((share["worker"], share["hash"]) for share in shares)


# ---- the miner on SRI's libraries

def miner_program() -> Path:
    return cache_folder() / "sri-miner" / "sri_miner"


def skip_unless_miner() -> None:
    """Skip the test, with what is missing as its reason."""
    import pytest

    if not os.access(miner_program(), os.X_OK):
        pytest.skip(f"sri_miner is not installed: {(HERE / 'get_sri_miner').relative_to(HERE.parents[1])} builds it")


def mine(port: int, blocks: int, *kinds: str, standard_jobs: bool = False) -> list[list[str]]:
    """Let it mine so many blocks on a channel of each kind; the words of each line that it said."""
    key = parse_authority_key(sri.AUTHORITY).hex()
    words = [str(miner_program()), f"{LOOPBACK}:{port}", key, str(blocks),
             "standard-jobs" if standard_jobs else "any-jobs", *kinds]
    done = subprocess.run(words, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout[-4000:]}"
    return [line.split() for line in done.stdout.splitlines()]


def said(lines: list[list[str]], event: str) -> list[list[str]]:
    """What follows that word, in each line that begins with it."""
    return [line[1:] for line in lines if line[0] == event]
