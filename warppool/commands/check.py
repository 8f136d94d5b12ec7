"""`warppool check`: is all there that a daemon needs? One line for each answer, with the cure where it is no.

The file is known by what stands in it: the pool's is checked here, the translator's in `translatorcheck.py`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from warppool.addresses import NodeAddress
from warppool.bitcoin.address import is_guarded
from warppool.commands.findings import Finding, clock, differences, files, place, proxies, spec_identity, tls
from warppool.commands.ledgercheck import BOOKS_KEY, LEDGER_KEYS, ledger_findings
from warppool.commands.noticecheck import notice_findings, send_test
from warppool.commands.payoutcheck import payout_findings, whom
from warppool.commands.providercheck import provider_findings
from warppool.commands.statuscheck import status_findings
from warppool.commands.translatorcheck import translator_findings
from warppool.commands.webcheck import web_findings
from warppool.config.anyfile import read_any
from warppool.config.options import Config, NodeConfig, PoolConfig
from warppool.config.pool import TAG_CUT, UNGUARDED, start_off_range
from warppool.config.provideroptions import ProviderConfig, TemplateProviderConfig
from warppool.config.translator import LEDGER_URL
from warppool.config.translatoroptions import PROGRAM, TranslatorConfig
from warppool.errors import ConfigError, NodeError
from warppool.mining.reserve import SMALLEST_PLAN, CoinbasePlan
from warppool.node.calls import CALLS, METHODS
from warppool.node.clocks import FAR_OFFSET_S, WARN_OFFSET_S
from warppool.node.gbt import check_challenge, read_template, segwit_of_chain
from warppool.node.jsonrpc import METHOD_NOT_FOUND, CallForbidden, JsonRpc, RpcRefusal
from warppool.node.kernel import load_kernel
from warppool.noise.primitives import public_key
from warppool.service.connector import listen_addresses, serves_spec
from warppool.service.nodes import credentials_of, plan_of
from warppool.service.web import fds_of

NODE_TIMEOUT_S = 10.0
_TRIED = ("getblockchaininfo", "getblocktemplate")
"""Calls that are made before, and whose answers are read."""

MAX_PEER_OFFSET_S = 10
"""Seconds between our clock and the median of the node's peers that are worth a word."""


def check(args: argparse.Namespace) -> int:
    """Print a line for each finding; 1 if any of them is an error, 2 if the ledger cannot be used.

    What differs from what runs is none.
    """
    worst = 0
    for finding in _asked_for(args):
        print(f"{finding.grade} {finding.key}: {' '.join(finding.sentence.split())}", flush=True)
        if finding.grade == "error":
            worst = max(worst, 2 if finding.key in LEDGER_KEYS else 1)       # as `run` ends for such books
    return worst


def _asked_for(args: argparse.Namespace) -> Iterator[Finding]:
    """All there is to say; or, with --notice, what became of a test alone."""
    if args.notice is None:
        yield from findings(args.config, has_network=not args.no_network, has_diff=args.diff)
    elif args.no_network or args.diff:
        raise ConfigError("--notice sends a test and checks nothing else: leave the other options out")
    else:
        config = read_any(args.config)
        program = PROGRAM if isinstance(config, TranslatorConfig) else "warppool"
        yield send_test(getattr(config, "notices", ()), args.notice, program)


def findings(path: Path, *, has_network: bool = True, has_diff: bool = False) -> Iterator[Finding]:
    """What there is to say about the configuration at `path` and the machine around it.

    Without network only files are read: no port, no lock, no node and no upstream is tried. With diff each key that
    differs from what the daemon of that data_dir runs with has a line.
    """
    try:
        config = read_any(path)
    except ConfigError as exc:
        yield Finding("error", "config", str(exc))
        return
    if isinstance(config, TranslatorConfig):
        yield from translator_findings(path, config, has_network=has_network)
    elif isinstance(config, TemplateProviderConfig):
        yield from _provider_findings(path, config, has_network)
    else:
        yield from _pool_findings(path, config, has_network)
    if has_diff:
        yield from differences(config)


def _pool_findings(path: Path, config: Config, has_network: bool) -> Iterator[Finding]:
    yield Finding("ok", "config", f"{path} is read, for {config.pool.network}, {whom(config.pool)}")
    yield from payout_findings(config.pool)
    yield from _odd_values(config)
    if config.secrets.sv2_static_priv_key is not None:
        public = public_key(config.secrets.sv2_static_priv_key)
        yield Finding("ok", "secrets", f"miners pin the public key {public.hex()}")
    if serves_spec(config):
        listeners = [key for key in ("sv2_spec_listen", "any_listen") if getattr(config.stratum, key)]
        yield spec_identity(config.secrets, config.stratum.cert_validity_s, f"machines on {' and '.join(listeners)}")
    if has_network:
        yield from place(config.pool.data_dir, "pool.data_dir", listen_addresses(config.stratum))
        yield from status_findings(config.status, config.pool.data_dir)
        yield from ledger_findings(config.ledger.url, config.pool.data_dir)
    yield from web_findings(config.web, config.pool.data_dir, has_network=has_network)
    if config.stratum.has_tls:
        yield from tls(config.stratum.tls_cert, config.stratum.tls_key, time.time())
    yield from notice_findings(config.notices)
    if has_network:
        yield files(config.stratum.max_connections, besides=fds_of(config.web))
        yield clock(time.time())
        yield from _nodes(config.nodes, config.pool, plan_of(config.pool))


def _provider_findings(path: Path, config: TemplateProviderConfig, has_network: bool) -> Iterator[Finding]:
    provider, stratum = config.provider, config.stratum
    yield Finding("ok", "config", f"{path} is read, a template provider's, for {provider.network}")
    yield from proxies(stratum.proxy_from)
    if stratum.sv2_listen and config.secrets.sv2_static_priv_key is not None:
        yield Finding("ok", "secrets", "clients on sv2_listen pin the public key "
                      f"{public_key(config.secrets.sv2_static_priv_key).hex()}")
    if stratum.sv2_spec_listen:
        yield spec_identity(config.secrets, stratum.cert_validity_s, "clients on sv2_spec_listen")
    if not has_network:
        return
    yield from place(provider.data_dir, "provider.data_dir", listen_addresses(stratum))
    yield from ledger_findings(LEDGER_URL, provider.data_dir, BOOKS_KEY)
    yield files(stratum.max_connections)
    yield clock(time.time())
    yield from _nodes(config.nodes, provider, SMALLEST_PLAN)


def _odd_values(config: Config) -> Iterator[Finding]:
    """What is no mistake, and may still not be what was meant."""
    if not is_guarded(config.pool.payout_script):
        yield Finding("warn", "pool.payout_address", f"{UNGUARDED}: use an address of today")
    if config.pool.is_tag_cut:
        yield Finding("warn", "pool.coinbase_tag", f"{TAG_CUT}: shorten it")
    if odd := start_off_range(config):
        yield Finding("warn", "difficulty.start", odd)
    yield from proxies(config.stratum.proxy_from)


# --- nodes ------------------------------------------------------------------------------------------------------------

def _nodes(tables: Sequence[NodeConfig], use: PoolConfig | ProviderConfig, plan: CoinbasePlan) -> Iterator[Finding]:
    """Each node, and which of them are behind. `use` is the section that says the network and how far they may be."""
    tips: dict[str, int] = {}
    for index, node in enumerate(tables):
        yield from _node(f"node[{index}]", node, use.network, plan, tips)
    yield from _lagging(tips, use.behind_blocks)


def _node(key: str, node: NodeConfig, network: str, plan: CoinbasePlan, tips: dict[str, int]) -> Iterator[Finding]:
    if node.source == "regtest":
        try:
            load_kernel()
        except ConfigError as exc:
            yield Finding("error", key, str(exc))
        else:
            yield Finding("ok", key, "the embedded chain is installed")
        return
    if node.source == "tdp":
        yield from provider_findings(key, node, network, plan, tips)
        return
    rpc = JsonRpc(NodeAddress.parse(node.url), credentials_of(node))
    try:
        yield from _ask(key, rpc, node.url, network, plan, tips)
    except NodeError as exc:
        yield Finding("error", key, f"{node.url}: {exc}")
    finally:
        rpc.close()


def _ask(key: str, rpc: JsonRpc, url: str, network: str, plan: CoinbasePlan, tips: dict[str, int]
         ) -> Iterator[Finding]:
    """What the node says of itself, and whether a template of it is one that can be mined; its height goes to `tips`.
    """
    info = rpc.call("getblockchaininfo", timeout_s=NODE_TIMEOUT_S)
    chain, height = (info.get("chain"), info.get("blocks")) if isinstance(info, dict) else (None, None)
    if chain != network:
        yield Finding("error", key, f"{url} is on {chain!s:.40}, and pool.network is {network}: ask another node, or "
                      "mend pool.network")
        return
    check_challenge(info, network)
    if info.get("initialblockdownload") is True and network == "main":
        yield Finding("warn", key, f"{url} is still downloading the chain, at height {height!s:.20}: mining begins "
                      "when it has caught up")
        return
    answer = rpc.call("getblocktemplate", {"rules": ["segwit", "signet"] if network == "signet" else ["segwit"]},
                      timeout_s=NODE_TIMEOUT_S)
    template = read_template(answer, network=network, source=key, template_id=1,
                             has_segwit=segwit_of_chain(info), plan=plan).template
    tips[key] = template.tip.height - 1
    yield Finding("ok", key, f"{url} is on {network} and gives templates, now for height {template.tip.height} and "
                  f"{len(answer['transactions'])} transactions")
    yield from _rights(key, rpc)
    yield from _clock_of_node(answer, time.time(), network)
    yield from _clock_of_peers(rpc)


def _rights(key: str, rpc: JsonRpc) -> Iterator[Finding]:
    """Whether the node lets us make every call that the daemon makes: each is tried, with parameters that do no harm.

    A refusal in the node's own words is proof that the call itself was let through.
    """
    missing = False
    for call in CALLS:
        if call.method in _TRIED:
            continue
        try:
            rpc.call(call.method, *call.params, timeout_s=NODE_TIMEOUT_S)
        except CallForbidden as exc:
            missing = True
            yield Finding("error" if call.is_needed else "warn", key,
                          f"the pool needs {call.method} to {call.purpose}, and {exc}")
        except RpcRefusal as exc:
            if exc.code == METHOD_NOT_FOUND and call.is_needed:
                missing = True
                yield Finding("error", key, f"the pool needs {call.method} to {call.purpose}, and this node has no "
                              "such call: use another node")
        except NodeError:
            if call.is_needed:
                raise
    if not missing:
        yield Finding("ok", key, f"it lets us make every call that the pool makes: {', '.join(METHODS)}")


def _clock_of_node(answer: Any, now: float, network: str) -> Iterator[Finding]:
    """Jobs carry the node's time: where it is far from ours, one of the two is wrong, and blocks may be refused.

    On regtest blocks are found faster than one a second; each must show a later second, and so the chain runs ahead.
    """
    earliest, offset = answer.get("mintime"), answer["curtime"] - now
    if isinstance(earliest, int) and now < earliest and network == "regtest":
        yield Finding("warn", "clock", f"the blocks of this regtest chain are {earliest - now:.0f} s ahead of this "
                      "clock, since they were found faster than one a second: wait so long, or begin a new chain")
    elif isinstance(earliest, int) and now < earliest:
        yield Finding("error", "clock", f"it is {earliest - now:.0f} s behind what the next block may show: set it")
    elif abs(offset) > WARN_OFFSET_S:
        grade = "error" if abs(offset) > FAR_OFFSET_S else "warn"
        side = "ahead of" if offset > 0 else "behind"
        yield Finding(grade, "clock", f"the node's clock is {abs(offset):.0f} s {side} ours, and jobs carry the node's "
                      "time: look at NTP on both machines")


def _lagging(tips: dict[str, int], behind_blocks: int) -> Iterator[Finding]:
    """Nodes whose chain is shorter than another's; a block that is just on its way shows here, too."""
    best = max(tips, key=lambda key: tips[key], default="")
    for key, height in tips.items():
        if tips[best] - height >= behind_blocks:
            yield Finding("warn", key, f"its tip is {tips[best] - height} blocks behind that of {best} now: if it "
                          "stays so, see whether this node is in sync and has peers")


def _clock_of_peers(rpc: JsonRpc) -> Iterator[Finding]:
    """The node knows how its own clock differs from its peers'; it is ours too where both are on one machine."""
    try:
        offset = rpc.call("getnetworkinfo", timeout_s=NODE_TIMEOUT_S).get("timeoffset")
    except (NodeError, AttributeError):
        return      # some nodes do not tell
    if isinstance(offset, int) and abs(offset) > MAX_PEER_OFFSET_S:
        yield Finding("warn", "clock", f"the node's clock and its peers' are {abs(offset)} s apart: look at NTP there")
