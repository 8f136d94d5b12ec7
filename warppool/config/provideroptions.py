"""Every key of template-provider.toml, declared once, as those of the pool are (`options.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from warppool.addresses import Address, Net
from warppool.config.datadir import default_data_dir
from warppool.config.declare import Effect, Form, as_in, by_machine, option
from warppool.config.kinds import ADDRESSES, PATH, whole
from warppool.config.options import PROVIDER_MARK, Config, LogConfig, NodeConfig, PoolConfig, Secrets, StratumConfig
from warppool.config.translatoroptions import TranslatorConfig

PROVIDER_PROGRAM: Final = "warppool-template-provider"
PORTS: Final = {"main": 8442, "testnet4": 48442, "signet": 38442, "regtest": 18447}
"""Where template providers listen, by the network; clients know these numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """What is served, and to how many."""

    network: str = as_in(PoolConfig, "network")
    data_dir: Path = by_machine(
        PATH, partial(default_data_dir, name=PROVIDER_PROGRAM),
        "Block journal and books; $STATE_DIRECTORY, else /var/lib/warppool-template-provider if writable, else "
        "$XDG_STATE_HOME/warppool-template-provider.")
    fee_delta_sat: int = option(
        whole(0, 2_100_000_000_000_000), 1000,
        "A later template of the same tip is sent where it pays so many sat more.", on_reload=Effect.NOW)
    interval_s: int = option(
        whole(1, 3600), 30, "Seconds from one template of a tip to a later one, at least: each costs the miners some "
        "work.", on_reload=Effect.NOW)
    max_clients: int = option(
        whole(1, 10_000), 64, "Clients that are served at one time.", on_reload=Effect.NEWCOMERS)
    behind_blocks: int = as_in(PoolConfig, "behind_blocks")
    behind_s: int = as_in(PoolConfig, "behind_s")
    return_after_s: int = as_in(PoolConfig, "return_after_s")

    @property
    def work_max_age_s(self) -> int:
        """How long nodes may be silent until the log says that there is no work; nobody is sent away."""
        return 180


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePortsConfig:
    """What clients connect to. Where neither listener is written, the spec profile is served on [::] and the port of
    the network: 8442 (main), 48442 (testnet4), 38442 (signet), 18447 (regtest).
    """

    sv2_spec_listen: tuple[Address, ...] = option(
        ADDRESSES, [], "Stratum V2, spec profile, for SRI's programs; needs the spec keys in secrets.toml.")
    sv2_listen: tuple[Address, ...] = option(
        ADDRESSES, [], "Stratum V2, warp profile; needs sv2_static_priv_key_hex in secrets.toml.")
    cert_validity_s: int = as_in(StratumConfig, "cert_validity_s")
    proxy_from: tuple[Net, ...] = as_in(StratumConfig, "proxy_from")
    max_connections: int = as_in(StratumConfig, "max_connections")
    max_per_ip: int = option(
        whole(-1, 1_000_000), 16, "Connections from one address (IPv6: from one /64); 0: no limit; -1: half of "
        "max_connections but at least 1000, and loopback is not counted.", on_reload=Effect.NEWCOMERS)

    @property
    def workers(self) -> int:
        """One thread serves all clients: what one was given, all may hand in."""
        return 1

    @property
    def has_tls(self) -> bool:
        """Whether a certificate for TLS is needed."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateProviderConfig:
    """All that the template provider is told: checked, typed, with every path absolute."""

    provider: ProviderConfig
    stratum: TemplatePortsConfig
    nodes: tuple[NodeConfig, ...]
    log: LogConfig
    secrets: Secrets


AnyConfig = Config | TranslatorConfig | TemplateProviderConfig
"""What the file of one of the three programs becomes."""

PROVIDER_FORM: Final = Form("template-provider.toml", {
    PROVIDER_MARK: ProviderConfig,
    "stratum": TemplatePortsConfig,
    "node": NodeConfig,
    "log": LogConfig,
}, many="node", secrets=Secrets)
