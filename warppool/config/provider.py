"""The template provider's configuration: from template-provider.toml, secrets.toml and the environment to one frozen
`TemplateProviderConfig`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from warppool.addresses import Address
from warppool.config.options import PROVIDER_MARK, LogConfig, NodeConfig, Secrets
from warppool.config.pool import check_nodes, check_urls, read_secrets, with_passwords
from warppool.config.provideroptions import (
    PORTS,
    PROVIDER_FORM,
    ProviderConfig,
    TemplatePortsConfig,
    TemplateProviderConfig,
)
from warppool.config.reading import check_ports, read_sections, read_toml
from warppool.config.specsecrets import check_spec_secrets
from warppool.errors import ConfigError

EXAMPLE_PROVIDER = '[provider] with network = "main", and [[node]] with url = "http://HOST:PORT"'


def read_provider_config(path: Path, environ: Mapping[str, str] = os.environ) -> TemplateProviderConfig:
    """Read the file at `path` and what belongs to it; ConfigError."""
    folder = path.absolute().parent
    return provider_config_of(read_toml(path), folder=folder, secrets=read_secrets(folder, environ), environ=environ,
                              source=str(path))


def provider_config_of(document: Mapping[str, object], *, folder: Path, secrets: Secrets | None,
                       environ: Mapping[str, str], source: str) -> TemplateProviderConfig:
    """Check a document (as TOML gives it) and make it a TemplateProviderConfig; relative paths start at `folder`.

    Without secrets nothing that needs one is checked.
    """
    if PROVIDER_MARK not in document:
        hint = "it looks like a pool's, for `warppool run`" if "pool" in document else f"it takes {EXAMPLE_PROVIDER}"
        raise ConfigError(f"{source}: [{PROVIDER_MARK}] is missing: {hint}")
    sections = read_sections(PROVIDER_FORM, document, folder=folder, environ=environ, source=source)
    provider, nodes = sections.one(ProviderConfig), sections.all(NodeConfig)
    stratum = _with_port(sections.one(TemplatePortsConfig), provider.network)
    check_ports([(f"stratum.{key}", address) for key in ("sv2_listen", "sv2_spec_listen")
                 for address in getattr(stratum, key)], source)
    check_nodes(nodes, sections, provider.network)
    for index, node in enumerate(nodes):
        if node.source == "tdp":
            raise ConfigError(f'{sections.where("node", "source", index)} holds "tdp": here it takes rpc or regtest, '
                              "for clients want the transactions at once")
    if secrets is not None:
        if stratum.sv2_listen and secrets.sv2_static_priv_key is None:
            raise ConfigError("secrets.toml: sv2_static_priv_key_hex is missing: make one by (umask 077; "
                              f"warppool-keygen >> {folder / 'secrets.toml'}), or say stratum.sv2_listen = []")
        check_spec_secrets(secrets, folder, "stratum.sv2_spec_listen" if stratum.sv2_spec_listen else "")
        nodes = with_passwords(nodes, secrets)
    check_urls(nodes, sections)
    return TemplateProviderConfig(provider=provider, stratum=stratum, nodes=tuple(nodes),
                                  log=sections.one(LogConfig), secrets=secrets or Secrets())


def _with_port(stratum: TemplatePortsConfig, network: str) -> TemplatePortsConfig:
    """The port that clients know, where nobody says another one."""
    if stratum.sv2_listen or stratum.sv2_spec_listen:
        return stratum
    return replace(stratum, sv2_spec_listen=(Address("::", PORTS[network]),))
