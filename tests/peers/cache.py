"""Where the peers lie that `get_bitcoind` and `get_btcd` bring: a cache folder outside of the clone, kept between runs.

Nothing of warppool is imported by the modules of these peers: benches and tests of every folder may use them.
"""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)       # below 32,768, where Linux takes the ports of outgoing connections from


def cache_folder() -> Path:
    """`$WARPPOOL_PEERS_CACHE`, else `warppool-peers` in the user's cache folder: as the scripts say it."""
    if given := os.environ.get("WARPPOOL_PEERS_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warppool-peers"


def free_port() -> int:
    """A port that is free now on loopback; nothing keeps it free but its being one of many."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as sock:
            try:
                sock.bind((LOOPBACK, port))
            except OSError:
                continue
        return port
