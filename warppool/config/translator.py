"""The translator's configuration: from translator.toml and the environment to one frozen `TranslatorConfig`.

It has no secrets: what it pins is public, and miners' names are no keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from warppool.config.options import TRANSLATOR_MARK, LogConfig
from warppool.config.reading import Sections, check_ports, read_sections, read_toml, shown
from warppool.config.translatoroptions import (
    TRANSLATOR_FORM,
    MachinesConfig,
    TranslationConfig,
    TranslatorConfig,
    UpstreamSection,
)
from warppool.errors import ConfigError

LEDGER_URL = "sqlite:///shares.db"
"""The books, in `translator.data_dir`."""

EXAMPLE_UPSTREAM = '[[upstream]] with url = "stratum2+tcp://HOST:PORT/PUBLIC_KEY" and user_identity = "NAME"'


def read_translator_config(path: Path, environ: Mapping[str, str] = os.environ) -> TranslatorConfig:
    """Read the file at `path`; ConfigError."""
    return translator_config_of(read_toml(path), folder=path.absolute().parent, environ=environ, source=str(path))


def translator_config_of(document: Mapping[str, object], *, folder: Path, environ: Mapping[str, str],
                         source: str) -> TranslatorConfig:
    """Check a document (as TOML gives it) and make it a TranslatorConfig; relative paths are taken from `folder`."""
    if TRANSLATOR_MARK not in document:
        hint = "it looks like a pool's, for `warppool run`" if "pool" in document else f"it takes {EXAMPLE_UPSTREAM}"
        raise ConfigError(f"{source}: {TRANSLATOR_MARK} is missing: {hint}")
    sections = read_sections(TRANSLATOR_FORM, document, folder=folder, environ=environ, source=source)
    _check_listeners(sections.one(MachinesConfig), source)
    _check_upstreams(sections)
    return TranslatorConfig(stratum=sections.one(MachinesConfig), translator=sections.one(TranslationConfig),
                            upstreams=tuple(sections.all(UpstreamSection)), log=sections.one(LogConfig))


def _check_listeners(stratum: MachinesConfig, source: str) -> None:
    addresses = [(f"stratum.{key}", address) for key in ("listen", "tls_listen") for address in getattr(stratum, key)]
    check_ports(addresses, source)
    if not addresses:
        raise ConfigError(f'{source}: stratum.listen holds []: without any listener no machine can come; '
                          'write ["[::]:34255"]')


def _check_upstreams(sections: Sections) -> None:
    """No pool twice: what one of the two says of it would be wrong for the other."""
    upstreams = sections.all(UpstreamSection)
    for index, upstream in enumerate(upstreams):
        for other in upstreams[:index]:
            if (upstream.url.host, upstream.url.port) == (other.url.host, other.url.port):
                raise ConfigError(f"{sections.where(TRANSLATOR_MARK, 'url', index)} holds {shown(str(upstream.url))}: "
                                  "that pool stands there twice")
