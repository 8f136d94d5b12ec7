"""Every key of warppool.toml and secrets.toml, declared once: name, kind, default, bounds and one sentence.

A section is a frozen dataclass, and the option rides on its field (`declare.py`). Reading and checking (`reading.py`,
`pool.py`), the example file and the table of the README (`reference.py`) all come from what stands here. Fields made by
`derived()` are no keys: `pool.py` works them out. The translator's keys are declared in the same way
(`translatoroptions.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from warppool.addresses import Address, Net
from warppool.config.datadir import default_data_dir
from warppool.config.declare import Effect, Form, by_machine, derived, option, optional, required
from warppool.config.faceoptions import NOTICE_URLS, NoticeConfig, StatusConfig, WebConfig
from warppool.config.kinds import (
    ADDRESSES,
    DIFFICULTY,
    FLAG,
    KEY,
    NETS,
    NODE_URL,
    PATH,
    SPEC_SECRET,
    TEXTS,
    choice,
    either,
    hundredths,
    number,
    text,
    whole,
)
from warppool.mining.job import MAX_TAG_SIZE

LONGEST_TAG_BEFORE = 54
"""Bytes of a coinbase tag in the release before. One of 51 to 54 bytes is cut with a warning; the next release refuses
it.
"""

@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """Who is paid, on which network, and where the files lie."""

    network: str = option(
        choice("main", "testnet4", "signet", "regtest"), "main",
        "The network that is mined; signet only with an OP_TRUE challenge.")
    payout_address: str = required(
        text("an address of the network", is_empty_allowed=False),
        "The coinbase pays here; in modes solo and pplns only the fee, and what a coinbase leaves unpaid.")
    payout: str = option(
        choice("pool", "solo", "pplns"), "pool",
        "Who is paid by a block. pool: payout_address; solo: the address in the finder's name; pplns: all addresses in "
        "the window, by their work.")
    fee_percent: Decimal = option(
        hundredths(0, 100), 0, "Of each block's value in modes solo and pplns, to payout_address; none where it is "
        "less than 546 sat.")
    fallback_address: str = option(
        text('an address of the network, or ""'), "",
        "Paid in modes solo and pplns for machines whose name is no address; with \"\" such machines are refused.")
    window: Decimal = option(
        number("0.1", "1000"), Decimal("8.0"), "pplns: how much work is paid, in network difficulties.")
    window_days: int = option(whole(1, 3650), 90, "pplns: work that is older is not paid.")
    window_rampup: bool = option(
        FLAG, True, "pplns: a young pool pays for at most as many network difficulties as it has settled blocks, and "
        "one more.")
    min_payout_sat: int = option(
        whole(546, 100_000_000), 100_000, "pplns: an account that is due less has no output: its part is kept as a "
        "balance, which a later block pays.")
    min_paid_ratio: Decimal = option(
        hundredths(0, 1), Decimal("0.9"), "pplns: a coinbase that pays less than this part of what the largest would "
        "pay is made larger, where the machine can hold that.")
    coinbase_tag: str = option(
        text(f"text of at most {MAX_TAG_SIZE} bytes", LONGEST_TAG_BEFORE), "/warppool/",
        "Stands in the coinbase of every block, for all to read.", on_reload=Effect.NEXT_JOB)
    data_dir: Path = by_machine(
        PATH, partial(default_data_dir, name="warppool"),
        "Ledger and block journal; $STATE_DIRECTORY, else /var/lib/warppool if writable, "
        "else $XDG_STATE_HOME/warppool.")
    behind_blocks: int = option(
        whole(1, 1000), 1, "How many blocks a node may be behind the best tip; one further behind is not mined.",
        on_reload=Effect.NOW)
    behind_s: int = option(
        whole(1, 86_400), 10, "Seconds after which a node that is behind is called lagging.", on_reload=Effect.NOW)
    return_after_s: int = option(
        whole(0, 604_800), 300, "Seconds for which the first node must have kept up before it is mined again.",
        on_reload=Effect.NOW)
    work_max_age_s: int = option(
        whole(1, 86_400), 180,
        "Seconds without an answer of any node after which miners are sent away, to their other pools.",
        on_reload=Effect.NOW)
    server_id: int = option(whole(0, 255), 0, "Unique among the servers of one pool.")
    payout_script: bytes = derived(b"", of="payout_address")
    """The output script of `payout_address`."""
    fee_basis_points: int = derived(0, of="fee_percent")
    """`fee_percent` in hundredths of a percent."""
    fallback_script: bytes = derived(b"", of="fallback_address")
    """The output script of `fallback_address`; empty where there is none."""
    is_tag_cut: bool = derived(False, of="coinbase_tag")
    """`coinbase_tag` was longer than MAX_TAG_SIZE bytes and has lost its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumConfig:
    """What miners connect to."""

    listen: tuple[Address, ...] = option(
        ADDRESSES, ["[::]:3333"], "Stratum V1, plain; [] switches it off; [::] also takes IPv4.")
    tls_listen: tuple[Address, ...] = option(ADDRESSES, [], "Stratum V1 over TLS, conventionally port 4333.")
    tls_cert: Path = option(
        PATH, "fullchain.pem", "Certificate chain for tls_listen and any_listen.", on_reload=Effect.NEWCOMERS)
    tls_key: Path = option(
        PATH, "privkey.pem", "Private key for tls_listen and any_listen.", on_reload=Effect.NEWCOMERS)
    sv2_listen: tuple[Address, ...] = option(
        ADDRESSES, ["[::]:34254"], "Stratum V2, warp profile; needs sv2_static_priv_key_hex in secrets.toml.")
    sv2_spec_listen: tuple[Address, ...] = option(
        ADDRESSES, [], "Stratum V2, the published profile (spec), which other programs and firmware speak; needs the "
        "extra [spec] and its keys in secrets.toml.")
    any_listen: tuple[Address, ...] = option(
        ADDRESSES, [], "V1, V1 over TLS and V2 on one port, told apart by their first bytes; needs what tls_listen and "
        "sv2_listen need, and takes V2's published profile where sv2_spec_listen's keys are there.")
    proxy_from: tuple[Net, ...] = option(
        NETS, [], "Proxies: from there each connection must begin with a PROXY header (v1 or v2), and is that of the "
        "address in it; from elsewhere a header is refused.", on_reload=Effect.NEWCOMERS)
    extranonce2_size: int = option(
        either(4, 8), 8, "Bytes of extranonce that a Stratum V1 miner rolls; some count wrong with any other size.")
    workers: int = option(
        whole(1, 32), 1, "Worker threads: 1 costs least per share, 2 tell thousands of miners sooner.")
    max_connections: int = option(
        whole(0, 1_000_000), 0, "0: what the file-descriptor limit allows.", on_reload=Effect.NEWCOMERS)
    max_per_ip: int = option(
        whole(-1, 1_000_000), -1, "Connections from one address (IPv6: from one /64); 0: no limit; -1: half of "
        "max_connections but at least 1000, and loopback is not counted.", on_reload=Effect.NEWCOMERS)
    cert_validity_s: int = option(
        whole(60, 315_360_000), 86_400, "Seconds that a certificate for sv2_spec_listen is good which the pool makes; "
        "it makes the next one at half of that.", on_reload=Effect.NEWCOMERS)
    serve_templates: bool = option(
        FLAG, False, "The V2 ports also serve templates (Template Distribution), to pools and job declarators.")
    idle_timeout_s: int = option(
        whole(1, 86_400), 600,
        "Seconds without an accepted share, or a channel (V2), before a miner is let go; slow ones have longer.",
        on_reload=Effect.NEWCOMERS)

    @property
    def has_tls(self) -> bool:
        """Whether a certificate is needed."""
        return bool(self.tls_listen or self.any_listen)


@dataclass(frozen=True, slots=True, kw_only=True)
class DifficultyConfig:
    """How hard shares are; the network's difficulty wins over all of these."""

    start: Decimal = option(
        DIFFICULTY, Decimal("1024.0"), "For a miner that declares no hash rate.", on_reload=Effect.NEWCOMERS)
    min: Decimal = option(DIFFICULTY, Decimal("0.001"), "No share is easier than this.", on_reload=Effect.NEXT_JOB)
    max: Decimal = option(
        number("1e-10", "1e30", has_zero=True), 0, "No share is harder than this; 0: no limit.",
        on_reload=Effect.NEXT_JOB)
    shares_per_minute: Decimal = option(
        number("0.01", "6000"), Decimal("12.0"), "Wanted of each channel; difficulty follows its hash rate.",
        on_reload=Effect.NOW)
    max_shares_per_minute: Decimal = option(
        number("0.01", "1e6", has_zero=True), 600, "More from one channel make it harder, over fd=, d= and max; where "
        "it is not set, at least 3 x shares_per_minute; 0: no limit.", on_reload=Effect.NOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """A Bitcoin node: one or more; the best tip of all is mined, and blocks go to all."""

    source: str = option(
        choice("rpc", "tdp", "regtest"), "rpc",
        "rpc; tdp: a template provider; or regtest: an embedded chain, needs the extra [regtest].")
    url: str = option(
        NODE_URL, "http://127.0.0.1:8332", "Where the node answers RPC; of a template provider "
        "stratum2+tcp://HOST:PORT/KEY, with its authority's key, or in profile warp its own.", on_reload=Effect.NOW)
    insecure: bool = option(
        FLAG, False, "true: a template provider without a KEY, which may be anybody; it is mined only while no other "
        "node is fresh.", on_reload=Effect.NOW)
    profile: str = option(
        choice("spec", "warp"), "spec", "What a template provider without a KEY speaks; a KEY tells.",
        on_reload=Effect.NOW)
    cookie_file: Path = option(
        PATH, "/var/lib/bitcoind/.cookie", "The node's cookie; read anew when it changes.", on_reload=Effect.NOW)
    user: str = option(
        text(), "", "RPC user, instead of the cookie; the password is the next of node_passwords in secrets.toml.",
        on_reload=Effect.NOW)
    password: str = derived("", of="user", is_secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    """The books."""

    url: str = option(
        text("sqlite:///FILE", 4096), "sqlite:///shares.db", "Where the books are kept; relative to data_dir.")
    durability: str = option(
        choice("commit", "none"), "commit", "commit: a share is answered once it is on the disk; none: at once.",
        on_reload=Effect.NOW)
    keep_days: int = option(
        whole(0, 36_500), 90, "Days for which each share is kept; sums of older ones stay. 0: all are kept.",
        on_reload=Effect.NOW)
    path: Path = derived(Path("shares.db"), of="url")
    """The SQLite file of `url`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The journal."""

    level: str = option(
        choice("debug", "info", "warning", "error"), "info", "The least that is logged.", on_reload=Effect.NOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """secrets.toml, which nobody but the daemon reads."""

    sv2_static_priv_key: bytes | None = optional(
        KEY, "The pool's static key, as warppool-keygen prints it; needed for sv2_listen and any_listen.",
        key="sv2_static_priv_key_hex", is_secret=True)
    sv2_spec_static_priv_key: bytes | None = optional(
        SPEC_SECRET, "The pool's static key of the published V2 profile, as warppool-keygen --spec prints it; needed "
        "for sv2_spec_listen.", key="sv2_spec_static_priv_key_hex", is_secret=True)
    sv2_spec_authority_priv_key: bytes | None = optional(
        SPEC_SECRET, "The key of the authority that vouches for the static one, as warppool-keygen --spec prints it.",
        key="sv2_spec_authority_priv_key_hex", is_secret=True, on_reload=Effect.NEWCOMERS)
    sv2_spec_certificate: Path | None = optional(
        PATH, "In place of the authority's key, which then is kept elsewhere: the certificate file that it made.",
        key="sv2_spec_certificate", on_reload=Effect.NEWCOMERS)
    node_passwords: tuple[str, ...] = option(
        TEXTS, [], "One for each [[node]] that has a user, in their order.", is_secret=True, on_reload=Effect.NOW)
    notice_urls: tuple[str, ...] = option(
        NOTICE_URLS, [], "One for each [[notice]] without a command, in their order.", is_secret=True)

    @property
    def has_spec_identity(self) -> bool:
        """Whether there is a key to serve the published V2 profile with."""
        return self.sv2_spec_static_priv_key is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All that the daemon is told: checked, typed, with every path absolute."""

    pool: PoolConfig
    stratum: StratumConfig
    difficulty: DifficultyConfig
    nodes: tuple[NodeConfig, ...]
    ledger: LedgerConfig
    log: LogConfig
    status: StatusConfig
    web: WebConfig
    notices: tuple[NoticeConfig, ...]
    secrets: Secrets


SECTIONS: Final[dict[str, type[Any]]] = {
    "pool": PoolConfig,
    "stratum": StratumConfig,
    "difficulty": DifficultyConfig,
    "node": NodeConfig,
    "ledger": LedgerConfig,
    "log": LogConfig,
    "status": StatusConfig,
    "web": WebConfig,
    "notice": NoticeConfig,
}

POOL_FORM: Final = Form("warppool.toml", SECTIONS, many="node", secrets=Secrets, some="notice", off="web")

TRANSLATOR_MARK: Final = "upstream"
PROVIDER_MARK: Final = "provider"
"""The sections that a translator's and a template provider's file have, and a pool's has not: by them commands know
which one they are given."""
