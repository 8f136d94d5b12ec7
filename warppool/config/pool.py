"""The pool's configuration: from warppool.toml, secrets.toml and the environment to one frozen `Config`.

What one key may hold is declared in `options.py` and read by `reading.py`; what keys ask of each other is checked here.
All that is wrong is one ConfigError.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from warppool.addresses import NodeAddress, ProviderUrl
from warppool.bitcoin.address import AddressError, is_guarded, script_of
from warppool.config.faceoptions import NoticeConfig, StatusConfig, WebConfig
from warppool.config.faces import check_notices, web_addresses, web_in, with_folder, with_urls
from warppool.config.kinds import PROVIDER_SCHEME
from warppool.config.options import (
    POOL_FORM,
    PROVIDER_MARK,
    TRANSLATOR_MARK,
    Config,
    DifficultyConfig,
    LedgerConfig,
    LogConfig,
    NodeConfig,
    PoolConfig,
    Secrets,
    StratumConfig,
)
from warppool.config.reading import Sections, check_ports, read_sections, read_toml, shown
from warppool.config.secretsfile import read_secrets_of
from warppool.config.specsecrets import check_spec_secrets
from warppool.errors import ConfigError
from warppool.ledger.url import database_path
from warppool.mining.job import MAX_TAG_SIZE


def read_config(path: Path, environ: Mapping[str, str] = os.environ, *, with_secrets: bool = True) -> Config:
    """Read the file at `path` and what belongs to it; ConfigError.

    Without secrets, for those who may not read them (`warppool shares`), nothing that needs one is checked.
    """
    document = read_toml(path)
    if TRANSLATOR_MARK in document:
        raise ConfigError(f"{path}: has an [[{TRANSLATOR_MARK}]], so it is for `warppool translate`")
    if PROVIDER_MARK in document:
        raise ConfigError(f"{path}: has a [{PROVIDER_MARK}], so it is for `warppool template-provider`")
    folder = path.absolute().parent
    secrets = read_secrets(folder, environ) if with_secrets else None
    return config_of(document, folder=folder, secrets=secrets, environ=environ, source=str(path))


def config_of(document: Mapping[str, object], *, folder: Path, secrets: Secrets | None,
              environ: Mapping[str, str], source: str) -> Config:
    """Check a document (as TOML gives it) and make it a Config; relative paths are taken from `folder`."""
    sections = read_sections(POOL_FORM, document, folder=folder, environ=environ, source=source)
    pool = _with_tag(_with_payout(sections.one(PoolConfig), sections))
    stratum, difficulty = sections.one(StratumConfig), sections.one(DifficultyConfig)
    nodes, notices, web = sections.all(NodeConfig), sections.all(NoticeConfig), web_in(sections)
    _check_listeners(stratum, web, source)
    check_notices(notices, sections)
    difficulty = _with_flood_limit(difficulty, sections)
    _check_difficulty(difficulty, source)
    check_nodes(nodes, sections, pool.network)
    check_asked(pool.payout, nodes, f"{sections.where('pool', 'payout')} holds 'pplns'")
    if secrets is not None:
        if (stratum.sv2_listen or stratum.any_listen) and secrets.sv2_static_priv_key is None:
            raise ConfigError("secrets.toml: sv2_static_priv_key_hex is missing: make one by "
                              f"(umask 077; warppool-keygen >> {folder / 'secrets.toml'}), "
                              "or switch Stratum V2 off by sv2_listen = []"
                              + (" and any_listen = []" if stratum.any_listen else ""))
        check_spec_secrets(secrets, folder, "sv2_spec_listen" if stratum.sv2_spec_listen else "")
        nodes, notices = with_passwords(nodes, secrets), with_urls(notices, secrets.notice_urls)
    check_urls(nodes, sections)
    ledger = _with_path(sections.one(LedgerConfig), pool.data_dir, sections.where("ledger", "url"))
    return Config(pool=pool, stratum=stratum, difficulty=difficulty, nodes=tuple(nodes),
                  ledger=ledger, log=sections.one(LogConfig), web=web,
                  status=with_folder(sections.one(StatusConfig), pool.data_dir),
                  notices=tuple(notices), secrets=secrets or Secrets())


FLOOD_FACTOR = 3
"""`max_shares_per_minute` is at least so many times `shares_per_minute`; vardiff alone gets near to twice."""

_ASKED = frozenset({"rpc", "regtest"})
"""The sources of nodes that say what became of a block."""

TAG_CUT = f"more than {MAX_TAG_SIZE} bytes: it is cut, and the next release will refuse it"
UNGUARDED = "anyone can spend what a block pays there, since no rule guards that kind of address yet"


def start_off_range(config: Config) -> str:
    """What is odd about difficulty.start; "" for nothing. It is no mistake: the bounds win."""
    given = config.difficulty
    if given.start < given.min:
        return f"it holds {given.start}, and machines start at difficulty.min, {given.min}: raise it, or lower min"
    if given.max and given.start > given.max:
        return f"it holds {given.start}, and machines start at difficulty.max, {given.max}: lower it, or raise max"
    return ""


# --- secrets ----------------------------------------------------------------------------------------------------------

def read_secrets(folder: Path, environ: Mapping[str, str]) -> Secrets:
    """The pool's, and the template provider's; ConfigError."""
    return read_secrets_of(POOL_FORM, Secrets, folder, environ)


def with_passwords(nodes: Iterable[NodeConfig], secrets: Secrets) -> list[NodeConfig]:
    """Hand each node that has a user the next password."""
    nodes = list(nodes)
    wanted = sum(1 for node in nodes if node.user)
    if wanted != len(secrets.node_passwords):
        raise ConfigError(f"secrets.toml: node_passwords holds {len(secrets.node_passwords)}: "
                          f"it takes one for each [[node]] with a user, and there are {wanted}")
    passwords = iter(secrets.node_passwords)
    return [replace(node, password=next(passwords)) if node.user else node for node in nodes]


# --- what keys ask of each other --------------------------------------------------------------------------------------

def _with_payout(pool: PoolConfig, sections: Sections) -> PoolConfig:
    """What is worked out from the keys that say who is paid."""
    script = _script_at("payout_address", pool, sections)
    fallback = _script_at("fallback_address", pool, sections) if pool.fallback_address else b""
    if fallback and not is_guarded(fallback):
        raise ConfigError(f"{sections.where('pool', 'fallback_address')} holds {shown(pool.fallback_address)}: "
                          f"{UNGUARDED}: give an address of today")
    return replace(pool, payout_script=script, fallback_script=fallback, fee_basis_points=int(pool.fee_percent * 100))


def _script_at(key: str, pool: PoolConfig, sections: Sections) -> bytes:
    try:
        return script_of(getattr(pool, key), pool.network)
    except AddressError as exc:
        raise ConfigError(f"{sections.where('pool', key)}: {exc}: give an address for {pool.network}") from exc


def check_asked(payout: str, nodes: Iterable[NodeConfig], begin: str) -> None:
    """ConfigError, with `begin` at its front, where balances are paid and no node says what became of a block."""
    if payout == "pplns" and not any(node.source in _ASKED for node in nodes):
        raise ConfigError(f"{begin}: a node must say what became of blocks before balances are paid, and a template "
                          "provider does not: add a [[node]] with source = \"rpc\", which may be the same node")


def _with_tag(pool: PoolConfig) -> PoolConfig:
    """The tag within its bound, cut between two characters."""
    tag = pool.coinbase_tag.encode()
    if len(tag) <= MAX_TAG_SIZE:
        return pool
    return replace(pool, coinbase_tag=tag[:MAX_TAG_SIZE].decode(errors="ignore"), is_tag_cut=True)


def _with_path(ledger: LedgerConfig, data_dir: Path, where: str) -> LedgerConfig:
    try:
        return replace(ledger, path=database_path(ledger.url, data_dir))
    except ConfigError as exc:
        raise ConfigError(f"{where.removesuffix(': ledger.url')}: {exc}") from exc     # it names the key itself


def _check_listeners(stratum: StratumConfig, web: WebConfig, source: str) -> None:
    ports = ("listen", "tls_listen", "sv2_listen", "sv2_spec_listen", "any_listen")
    addresses = [(f"stratum.{key}", address) for key in ports for address in getattr(stratum, key)]
    check_ports([*addresses, *web_addresses(web)], source)
    if not addresses:
        raise ConfigError(f'{source}: stratum.sv2_listen holds []: without any listener nobody can mine; '
                          'write ["[::]:34254"]')


def _with_flood_limit(difficulty: DifficultyConfig, sections: Sections) -> DifficultyConfig:
    """The limit on a channel's shares, by default far above what vardiff aims at."""
    limit, least = difficulty.max_shares_per_minute, FLOOD_FACTOR * difficulty.shares_per_minute
    if not sections.is_given("difficulty", "max_shares_per_minute"):
        return replace(difficulty, max_shares_per_minute=max(limit, least))
    if 0 < limit < least:
        where = sections.where("difficulty", "max_shares_per_minute")
        raise ConfigError(f"{where} holds {limit}: it takes 0, for no limit, or at least {FLOOD_FACTOR} x "
                          f"difficulty.shares_per_minute, {least}: fewer are chance")
    return difficulty


def _check_difficulty(difficulty: DifficultyConfig, source: str) -> None:
    if difficulty.max and difficulty.max < difficulty.min:
        raise ConfigError(f"{source}: difficulty.max holds {difficulty.max}: it takes 0, for no limit, or at least "
                          f"difficulty.min, {difficulty.min}")


def check_nodes(nodes: list[NodeConfig], sections: Sections, network: str) -> None:
    """What the tables of nodes ask of each other, and of the network."""
    embedded = [index for index, node in enumerate(nodes) if node.source == "regtest"]
    for index, node in enumerate(nodes):
        if node.source == "regtest" and network != "regtest":
            raise ConfigError(f'{sections.where("node", "source", index)} holds "regtest": the embedded chain mines '
                              f'only network = "regtest", and pool.network is {network}')
        if index in embedded[1:]:
            raise ConfigError(f'{sections.where("node", "source", index)} holds "regtest": one embedded chain is all '
                              "that data_dir holds")
        _check_source(node, index, sections)
        if node.user and sections.is_given("node", "cookie_file", index):
            raise ConfigError(f"{sections.where('node', 'cookie_file', index)} holds {shown(str(node.cookie_file))}: "
                              "it takes either cookie_file or user, not both")


def _check_source(node: NodeConfig, index: int, sections: Sections) -> None:
    """A template provider and its URL go together; and who may be anybody has to be wanted so."""
    is_provider, has_scheme = node.source == "tdp", node.url.startswith(PROVIDER_SCHEME)
    if is_provider != has_scheme and node.source != "regtest":
        takes = f"{PROVIDER_SCHEME}HOST:PORT/KEY" if is_provider else 'http://HOST:PORT, or node.source = "tdp"'
        raise ConfigError(f"{sections.where('node', 'url', index)} holds {shown(node.url)}: where node.source is "
                          f'"{node.source}" it takes {takes}')
    if not is_provider:
        return
    if not ProviderUrl.parse(node.url).pin and not node.insecure:
        raise ConfigError(f"{sections.where('node', 'url', index)} holds {shown(node.url)}: without a KEY behind it "
                          "the provider may be anybody: add the key of its authority (profile warp: its own), or say "
                          "node.insecure = true")
    if node.user:
        raise ConfigError(f"{sections.where('node', 'user', index)} holds {shown(node.user)}: a template provider has "
                          "no login; remove it")


def check_urls(nodes: list[NodeConfig], sections: Sections) -> None:
    """Journal and log know a node by a number, and the number by the URL: no URL twice."""
    seen: set[object] = set()
    for index, node in enumerate(nodes):
        if node.source == "regtest":
            continue
        address = ProviderUrl.parse(node.url).place if node.source == "tdp" else NodeAddress.parse(node.url)
        if address in seen:
            raise ConfigError(f"{sections.where('node', 'url', index)} holds {shown(node.url)}: that node stands there "
                              "twice, and nodes are known by their URL: remove one of the two")
        seen.add(address)
