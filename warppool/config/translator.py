"""The translator's configuration: from translator.toml, secrets.toml and the environment to one frozen
`TranslatorConfig`.

What it pins is public, and miners' names are no keys: secrets.toml is read only where a notice goes to a URL.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from warppool.config.declare import options_of
from warppool.config.faceoptions import NoticeConfig, StatusConfig, WebConfig
from warppool.config.faces import check_notices, web_addresses, web_in, with_folder, with_urls
from warppool.config.options import TRANSLATOR_MARK, LogConfig, Secrets
from warppool.config.reading import Sections, check_ports, read_sections, read_toml, shown
from warppool.config.secretsfile import read_secrets_of
from warppool.config.translatoroptions import (
    TRANSLATOR_FORM,
    MachinesConfig,
    TranslationConfig,
    TranslatorConfig,
    TranslatorSecrets,
    UpstreamSection,
)
from warppool.errors import ConfigError

LEDGER_URL = "sqlite:///shares.db"
"""The books, in `translator.data_dir`."""

EXAMPLE_UPSTREAM = '[[upstream]] with url = "stratum2+tcp://HOST:PORT/PUBLIC_KEY" and user_identity = "NAME"'


def read_translator_config(path: Path, environ: Mapping[str, str] = os.environ) -> TranslatorConfig:
    """Read the file at `path` and what belongs to it; ConfigError."""
    document, folder = read_toml(path), path.absolute().parent
    return translator_config_of(document, folder=folder, environ=environ, source=str(path),
                                secrets=read_translator_secrets(document, folder, environ))


def read_translator_secrets(document: Mapping[str, object], folder: Path, environ: Mapping[str, str]
                            ) -> TranslatorSecrets:
    """What the notices of `document` need of a secrets.toml; ConfigError.

    Where none goes to a URL the file stays closed: beside translator.toml often lies a pool's, which another user owns.
    """
    tables = document.get("notice")
    if not isinstance(tables, list) or all(isinstance(each, dict) and each.get("command") for each in tables):
        return TranslatorSecrets()
    own = {key for key, _, _ in options_of(TranslatorSecrets)}
    return read_secrets_of(TRANSLATOR_FORM, TranslatorSecrets, folder, environ,
                           {key for key, _, _ in options_of(Secrets)} - own)


def translator_config_of(document: Mapping[str, object], *, folder: Path, environ: Mapping[str, str], source: str,
                         secrets: TranslatorSecrets | None = None) -> TranslatorConfig:
    """Check a document (as TOML gives it) and make it a TranslatorConfig; relative paths are taken from `folder`.

    Without secrets nothing that needs one is checked.
    """
    if TRANSLATOR_MARK not in document:
        hint = "it looks like a pool's, for `warppool run`" if "pool" in document else f"it takes {EXAMPLE_UPSTREAM}"
        raise ConfigError(f"{source}: {TRANSLATOR_MARK} is missing: {hint}")
    sections = read_sections(TRANSLATOR_FORM, document, folder=folder, environ=environ, source=source)
    translator, web, notices = sections.one(TranslationConfig), web_in(sections), sections.all(NoticeConfig)
    _check_listeners(sections.one(MachinesConfig), web, source)
    _check_upstreams(sections)
    check_notices(notices, sections)
    if secrets is not None:
        notices = with_urls(notices, secrets.notice_urls)
    return TranslatorConfig(stratum=sections.one(MachinesConfig), translator=translator,
                            upstreams=tuple(sections.all(UpstreamSection)), log=sections.one(LogConfig),
                            status=with_folder(sections.one(StatusConfig), translator.data_dir), web=web,
                            notices=tuple(notices), secrets=secrets or TranslatorSecrets())


def _check_listeners(stratum: MachinesConfig, web: WebConfig, source: str) -> None:
    addresses = [(f"stratum.{key}", address) for key in ("listen", "tls_listen") for address in getattr(stratum, key)]
    check_ports([*addresses, *web_addresses(web)], source)
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
