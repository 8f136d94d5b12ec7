"""The configuration of whichever program: its file is known by a section that no other program's has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from warppool.config.options import PROVIDER_MARK, TRANSLATOR_MARK, Secrets
from warppool.config.pool import config_of as pool_config_of
from warppool.config.pool import read_secrets
from warppool.config.provider import provider_config_of
from warppool.config.provideroptions import AnyConfig, TemplateProviderConfig
from warppool.config.reading import read_toml
from warppool.config.translator import LEDGER_URL, translator_config_of
from warppool.config.translatoroptions import TranslatorConfig


def read_any(path: Path, environ: Mapping[str, str] = os.environ, *, with_secrets: bool = True) -> AnyConfig:
    """Read the file at `path`; ConfigError."""
    document, folder = read_toml(path), path.absolute().parent
    secrets = read_secrets(folder, environ) if with_secrets and TRANSLATOR_MARK not in document else None
    return any_of(document, folder=folder, secrets=secrets, environ=environ, source=str(path))


def any_of(document: Mapping[str, object], *, folder: Path, secrets: Secrets | None, environ: Mapping[str, str],
           source: str) -> AnyConfig:
    """Check a document of any program; a translator's has no secrets. ConfigError."""
    if TRANSLATOR_MARK in document:
        return translator_config_of(document, folder=folder, environ=environ, source=source)
    if PROVIDER_MARK in document:
        return provider_config_of(document, folder=folder, secrets=secrets, environ=environ, source=source)
    return pool_config_of(document, folder=folder, secrets=secrets, environ=environ, source=source)


def books_of(config: AnyConfig) -> tuple[str, Path]:
    """The URL of the ledger, and the folder that it is relative to."""
    if isinstance(config, TranslatorConfig):
        return LEDGER_URL, config.translator.data_dir
    if isinstance(config, TemplateProviderConfig):
        return LEDGER_URL, config.provider.data_dir
    return config.ledger.url, config.pool.data_dir
