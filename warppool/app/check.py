"""`warppool check`: is all there that the daemon needs? One line for each answer, with the cure where it is no.

Nothing is made and nothing is changed: what a check run by root left in the data directory, the service could not open.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from warppool.app.certificate import CERT_KEY, KEY_KEY, load, trouble_of
from warppool.app.config import read_config, unserved
from warppool.app.connector import doors_of
from warppool.app.lock import holder
from warppool.app.options import Config, NodeConfig
from warppool.app.wiring import credentials_of
from warppool.errors import ConfigError, NodeError
from warppool.net.limits import RESERVED_FDS
from warppool.net.listener import listen
from warppool.node.gbt import read_template
from warppool.node.jsonrpc import JsonRpc, NodeAddress
from warppool.node.kernel import load_kernel
from warppool.noise.primitives import public_key

NODE_TIMEOUT_S = 10.0
EARLIEST_NOW = 1_790_000_000
"""September 2026, before this was written: a clock that shows less was never set."""

MAX_PEER_OFFSET_S = 10
"""Seconds between our clock and the median of the node's peers that are worth a word."""

ROOMY_FDS = 4096


class Finding(NamedTuple):
    """One line of the report; `grade` is ok, warn or error."""

    grade: str
    key: str
    sentence: str


def check(args: argparse.Namespace) -> int:
    """Print a line for each finding; 1 if any of them is an error."""
    worst = 0
    for finding in findings(args.config):
        print(f"{finding.grade} {finding.key}: {' '.join(finding.sentence.split())}", flush=True)
        worst = max(worst, finding.grade == "error")
    return int(worst)


def findings(path: Path) -> Iterator[Finding]:
    """What there is to say about the configuration at `path` and the machine around it."""
    try:
        config = read_config(path)
    except ConfigError as exc:
        yield Finding("error", "config", str(exc))
        return
    yield Finding("ok", "config", f"{path} is read, for {config.pool.network}, paying to {config.pool.payout_address}")
    for key in unserved(config):
        yield Finding("warn", key, "this version serves no such listener yet; [] silences this")
    if config.secrets.sv2_static_priv_key is not None:
        public = public_key(config.secrets.sv2_static_priv_key)
        yield Finding("ok", "secrets", f"miners pin the public key {public.hex()}")
    owner = holder(config.pool.data_dir)
    yield _data_dir(config.pool.data_dir, owner)
    yield from _ports(config, owner)
    if config.stratum.tls_listen:
        yield from _tls(config.stratum.tls_cert, config.stratum.tls_key, time.time())
    yield _files(config)
    yield _clock(time.time())
    for index, node in enumerate(config.nodes):
        yield from _node(f"node[{index}]", node, config.pool.network)


def _data_dir(data_dir: Path, owner: str | None) -> Finding:
    key = "pool.data_dir"
    if owner is not None:
        return Finding("warn", key, f"{data_dir} is held by a running warppool ({owner}); a second is refused")
    nearest = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    if not nearest.is_dir():
        return Finding("error", key, f"{nearest} is no directory: name another one")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding("error", key, f"{nearest} may not be written by this user: chown it, or name another data_dir")
    return Finding("ok", key, f"{data_dir} can be written" if nearest == data_dir else f"{data_dir} will be made")


def _ports(config: Config, owner: str | None) -> Iterator[Finding]:
    for kind, address, key in doors_of(config.stratum):
        if owner is not None:
            yield Finding("warn", key, f"{address} was not tried, since a warppool runs ({owner})")
            continue
        try:
            listener = listen(kind, str(address), key)
        except ConfigError as exc:
            yield Finding("error", key, str(exc).removeprefix(f"{key}: "))
            continue
        listener.sock.close()
        yield Finding("ok", key, f"{address} is free")


def _tls(certificate: Path, key: Path, now: float) -> Iterator[Finding]:
    """Whether the pair can be served, whom it is for, and until when."""
    try:
        _, leaf = load(certificate, key)
    except ConfigError as exc:
        where, _, words = str(exc).partition(": ")
        yield Finding("error", where, words)
        return
    whose = "signed by itself" if leaf.is_self_signed else f"issued by {leaf.issuer}"
    yield Finding("ok", CERT_KEY, f"{certificate} is for {', '.join(leaf.names) or 'no host'}, {whose}, until "
                  f"{leaf.expires}; its SHA-256 fingerprint is {leaf.fingerprint.hex()}")
    trouble = trouble_of(leaf, now)
    if trouble is not None:
        yield Finding("warn", CERT_KEY, trouble.sentence)
    if key.stat().st_mode & 0o004:
        yield Finding("warn", KEY_KEY, f"everybody on this machine may read {key}: chmod 640 {key}")


def _files(config: Config) -> Finding:
    """The daemon takes the hard limit, so that is what counts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config.stratum.max_connections
    if hard == resource.RLIM_INFINITY:
        return Finding("ok", "limits", "any number of files may be open")
    room = max(0, hard - RESERVED_FDS)
    if wanted > room:
        return Finding("warn", "limits", f"{hard} files may be open, room for {room} miners, and "
                       f"stratum.max_connections is {wanted}: raise LimitNOFILE= of the unit, or ulimit -n")
    if not wanted and hard < ROOMY_FDS:
        return Finding("warn", "limits", f"{hard} files may be open, room for {room} miners: raise LimitNOFILE= of the "
                       "unit, or ulimit -n, for more")
    return Finding("ok", "limits", f"{hard} files may be open, room for {room} miners")


def _clock(now: float) -> Finding:
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    if now < EARLIEST_NOW:
        return Finding("error", "clock", f"it shows {shown}, which is past: set it, and have NTP keep it")
    return Finding("ok", "clock", f"it shows {shown}")


# --- nodes ------------------------------------------------------------------------------------------------------------

def _node(key: str, node: NodeConfig, network: str) -> Iterator[Finding]:
    if node.source == "regtest":
        try:
            load_kernel()
        except ConfigError as exc:
            yield Finding("error", key, str(exc))
        else:
            yield Finding("ok", key, "the embedded chain is installed")
        return
    rpc = JsonRpc(NodeAddress.parse(node.url), credentials_of(node))
    try:
        yield from _ask(f"{key}", rpc, node.url, network)
    except NodeError as exc:
        yield Finding("error", key, f"{node.url}: {exc}")
    finally:
        rpc.close()


def _ask(key: str, rpc: JsonRpc, url: str, network: str) -> Iterator[Finding]:
    """What the node says of itself, and whether a template of it is one that can be mined."""
    info = rpc.call("getblockchaininfo", timeout_s=NODE_TIMEOUT_S)
    chain, height = (info.get("chain"), info.get("blocks")) if isinstance(info, dict) else (None, None)
    if chain != network:
        yield Finding("error", key, f"{url} is on {chain!s:.40}, and pool.network is {network}: ask another node, or "
                      "mend pool.network")
        return
    if info.get("initialblockdownload") is True and network != "regtest":
        yield Finding("warn", key, f"{url} is still downloading the chain, at height {height!s:.20}: mining begins "
                      "when it has caught up")
        return
    answer = rpc.call("getblocktemplate", {"rules": ["segwit", "signet"] if network == "signet" else ["segwit"]},
                      timeout_s=NODE_TIMEOUT_S)
    template = read_template(answer, network=network, source=key, template_id=1).template
    yield Finding("ok", key, f"{url} is on {network} and gives templates, now for height {template.tip.height} and "
                  f"{len(answer['transactions'])} transactions")
    yield from _clock_of_node(answer, time.time())
    yield from _clock_of_peers(rpc)


def _clock_of_node(answer: Any, now: float) -> Iterator[Finding]:
    """A block whose time the network refuses is worth nothing: not above the median of the last eleven, or too late."""
    earliest = answer.get("mintime")
    if isinstance(earliest, int) and now < earliest:
        yield Finding("error", "clock", f"it is {earliest - now:.0f} s behind what the next block may show: set it")


def _clock_of_peers(rpc: JsonRpc) -> Iterator[Finding]:
    """The node knows how its own clock differs from its peers'; it is ours too where both are on one machine."""
    try:
        offset = rpc.call("getnetworkinfo", timeout_s=NODE_TIMEOUT_S).get("timeoffset")
    except (NodeError, AttributeError):
        return      # some nodes do not tell
    if isinstance(offset, int) and abs(offset) > MAX_PEER_OFFSET_S:
        yield Finding("warn", "clock", f"the node's clock and its peers' are {abs(offset)} s apart: look at NTP there")
