"""Every key of translator.toml, declared once, as those of the pool are (`options.py`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

from warppool.addresses import Address, Net, PoolUrl
from warppool.config.datadir import default_data_dir
from warppool.config.declare import Effect, Form, as_in, by_machine, option, required
from warppool.config.faceoptions import NoticeConfig, StatusConfig, WebConfig
from warppool.config.kinds import ADDRESSES, FLAG, PATH, Kind, Refused, choice, number, text
from warppool.config.options import TRANSLATOR_MARK, LogConfig, Secrets, StratumConfig
from warppool.errors import ConfigError

PROGRAM: Final = "warppool-translator"
NAME_MARK: Final = "{name}"
"""Stands in `user_identity_template` for the name that a machine gave."""


def _read_upstream_url(value: object) -> PoolUrl:
    words = ("it takes stratum2+tcp://HOST:PORT/PUBLIC_KEY, with the pool's key as 64 hex digits, or that of its "
             "authority, which begins with 9")
    try:
        url = PoolUrl.parse(value) if isinstance(value, str) and value.isprintable() and " " not in value else None
    except ConfigError as exc:
        _, has_reason, reason = str(exc).partition("(the key ")
        raise Refused(words + (f" (the key {reason}" if has_reason else "")) from exc
    if url is None or not any(url.pin):
        raise Refused(words)
    return url


def _read_template(value: object) -> str:
    if (not isinstance(value, str) or not 1 <= len(value.encode("utf-8", "surrogatepass")) <= 255
            or not value.isprintable() or set(re.findall(r"[{}]", value.replace(NAME_MARK, "")))):
        raise Refused(f"it takes text in which {NAME_MARK} stands for the name that the machine gave")
    return value


UPSTREAM_URL: Final = Kind("stratum2+tcp://HOST:PORT/PUBLIC_KEY", _read_upstream_url, is_text=True)
TEMPLATE: Final = Kind(f"text with {NAME_MARK} in it", _read_template, is_text=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesConfig:
    """What machines connect to."""

    listen: tuple[Address, ...] = option(
        ADDRESSES, ["[::]:34255"], "Stratum V1, plain; [] switches it off; [::] also takes IPv4.")
    tls_listen: tuple[Address, ...] = as_in(StratumConfig, "tls_listen")
    tls_cert: Path = as_in(StratumConfig, "tls_cert")
    tls_key: Path = as_in(StratumConfig, "tls_key")
    proxy_from: tuple[Net, ...] = as_in(StratumConfig, "proxy_from")
    workers: int = as_in(StratumConfig, "workers")
    max_connections: int = as_in(StratumConfig, "max_connections")
    max_per_ip: int = as_in(StratumConfig, "max_per_ip")
    idle_timeout_s: int = as_in(StratumConfig, "idle_timeout_s")

    @property
    def has_tls(self) -> bool:
        """Whether a certificate is needed."""
        return bool(self.tls_listen)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationConfig:
    """How machines are served."""

    mode: str = option(
        choice("connection", "channels"), "connection",
        "connection: each machine has an upstream connection of its own; channels: those of a worker share one.")
    verdict_timeout_s: Decimal = option(
        number("0.01", "60"), Decimal("2.0"),
        "Seconds that a machine waits for the upstream's word on a share; then it hears ours.", on_reload=Effect.NOW)
    data_dir: Path = by_machine(
        PATH, partial(default_data_dir, name=PROGRAM),
        "The books; $STATE_DIRECTORY, else /var/lib/warppool-translator if writable, else "
        "$XDG_STATE_HOME/warppool-translator.")
    grace_s: Decimal = option(
        number("0", "86400"), 60, "Seconds that machines are kept while no upstream is there.", on_reload=Effect.NOW)
    silence_s: Decimal = option(
        number("0.1", "86400"), 180, "An upstream without a message for so many seconds is dead; one of the published "
        "profile only if it takes no other connection.", on_reload=Effect.NOW)
    backoff_max_s: Decimal = option(
        number("0.01", "86400"), 30, "The most seconds between two tries of an upstream that is away.",
        on_reload=Effect.NOW)
    return_after_s: Decimal = option(
        number("0", "86400"), 300, "A better upstream is used again once it has been well for so many seconds.",
        on_reload=Effect.NOW)
    user_identity_template: str = option(
        TEMPLATE, NAME_MARK, f"What upstreams are told of a machine; {NAME_MARK} is the name that it gave.",
        on_reload=Effect.NEWCOMERS)
    own_names: bool = option(
        FLAG, True, "A machine that got work before it said its name, and comes back with the same session, is known "
        "to upstreams by that name.", on_reload=Effect.NEWCOMERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSection:
    """A Stratum V2 pool of either profile: one or more, in order of preference."""

    url: PoolUrl = required(
        UPSTREAM_URL, "The pool, and the public key that it proves, or in the published profile that of its authority; "
        "warppool check of the pool prints both.",
        on_reload=Effect.NOW)
    user_identity: str = required(
        text("the name of an account there", is_empty_allowed=False),
        "For machines that wait for work before they say their name.", on_reload=Effect.NEWCOMERS)
    fallback_only: bool = option(FLAG, False, "Used only while none of the others is there.", on_reload=Effect.NOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorSecrets:
    """secrets.toml of a translator: what it pins is public, and so its notices alone have a secret."""

    notice_urls: tuple[str, ...] = as_in(Secrets, "notice_urls")


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorConfig:
    """All that the translator is told: checked, typed, with every path absolute."""

    stratum: MachinesConfig
    translator: TranslationConfig
    upstreams: tuple[UpstreamSection, ...]
    log: LogConfig
    status: StatusConfig = StatusConfig()
    web: WebConfig = WebConfig(listen=())
    notices: tuple[NoticeConfig, ...] = ()
    secrets: TranslatorSecrets = TranslatorSecrets()


TRANSLATOR_FORM: Final = Form("translator.toml", {
    "stratum": MachinesConfig,
    "translator": TranslationConfig,
    TRANSLATOR_MARK: UpstreamSection,
    "log": LogConfig,
    "status": StatusConfig,
    "web": WebConfig,
    "notice": NoticeConfig,
}, many=TRANSLATOR_MARK, secrets=TranslatorSecrets, some="notice", off="web")
