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
from warppool.config.translator import LEDGER_URL, read_translator_secrets, translator_config_of
from warppool.config.translatoroptions import TranslatorConfig, TranslatorSecrets


def read_any(path: Path, environ: Mapping[str, str] = os.environ, *, with_secrets: bool = True) -> AnyConfig:
    """Read the file at `path`; ConfigError."""
    document, folder = read_toml(path), path.absolute().parent
    secrets = _read_secrets(document, folder, environ) if with_secrets else None
    return any_of(document, folder=folder, secrets=secrets, environ=environ, source=str(path))


def _read_secrets(document: Mapping[str, object], folder: Path, environ: Mapping[str, str]
                  ) -> Secrets | TranslatorSecrets:
    if TRANSLATOR_MARK in document:
        return read_translator_secrets(document, folder, environ)
    return read_secrets(folder, environ)


def any_of(document: Mapping[str, object], *, folder: Path, secrets: Secrets | TranslatorSecrets | None,
           environ: Mapping[str, str], source: str) -> AnyConfig:
    """Check a document of any program, with secrets of its kind or without any. ConfigError."""
    if TRANSLATOR_MARK in document:
        assert secrets is None or isinstance(secrets, TranslatorSecrets), "a translator's secrets are its own"
        return translator_config_of(document, folder=folder, environ=environ, source=source, secrets=secrets)
    assert secrets is None or isinstance(secrets, Secrets), "a translator's secrets are its own"
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
