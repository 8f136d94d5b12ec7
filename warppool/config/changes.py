"""What differs between two configurations, key by key, and what of it a running program may take. No file is read.

When a key takes effect is declared with the key (`declare.py`, `Effect`). Here are the few rules that look at more than
one key. Of tables that stand in a file more than once, a node is known by its URL and an upstream by host and port.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeVar

from warppool.addresses import Address, NodeAddress, ProviderUrl
from warppool.config.declare import Effect, Form, options_of
from warppool.config.faceoptions import NoticeConfig
from warppool.config.kinds import PROVIDER_SCHEME
from warppool.config.options import POOL_FORM, TRANSLATOR_MARK, Config, NodeConfig
from warppool.config.provideroptions import PROVIDER_FORM, AnyConfig, TemplateProviderConfig
from warppool.config.translatoroptions import TRANSLATOR_FORM, TranslatorConfig, UpstreamSection

HIDDEN: Final = "(hidden)"
"""What is said of a secret instead of its value."""

NOTHING: Final = "none"
"""What is said where there is no value."""

NOTICE: Final = "notice"

EMBEDDED: Final = "regtest"
"""The identity of the embedded chain, of which there is one."""

_PASSWORDS: Final = "node_passwords"
_SPEC_SECRETS: Final = ("sv2_spec_static_priv_key_hex", "sv2_spec_authority_priv_key_hex", "sv2_spec_certificate")

C = TypeVar("C", Config, TranslatorConfig, TemplateProviderConfig)
WithNodes = Config | TemplateProviderConfig
"""The configuration of a program that has nodes, and secrets of them."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key with two values, both as TOML writes them; HIDDEN for secrets, NOTHING where there is no value."""

    key: str
    old: str
    new: str
    on_reload: Effect


def changes_between(old: AnyConfig, new: AnyConfig, *,
                    with_secrets: bool = True) -> tuple[Change, ...]:
    """Each key that differs, in the order of the reference; without secrets, where one of the two was read so."""
    return tuple(_changes(old, new, with_secrets))


def taken_over(old: C, new: C) -> C:
    """What runs after a SIGHUP that found `new` while `old` ran: where a key needs a restart, its old value."""
    form = form_of(old)
    merged: dict[str, Any] = {}
    for name in form.sections:
        field = _field_of(form, name)
        if name == form.some:
            merged[field] = getattr(old, field)         # all of its keys wait for a restart
        elif name == form.many:
            merged[field] = getattr(old, field) if _is_many_bound(old, new) else getattr(new, field)
        else:
            merged[field] = _merged(name, getattr(old, field), getattr(new, field), old, new)
    merged["secrets"] = _merged("secrets", old.secrets, new.secrets, old, new)
    return replace(new, **merged)


def form_of(config: AnyConfig) -> Form:
    """The form of the file that `config` was read from."""
    if isinstance(config, Config):
        return POOL_FORM
    return PROVIDER_FORM if isinstance(config, TemplateProviderConfig) else TRANSLATOR_FORM


def sections_of(config: AnyConfig) -> Iterator[tuple[str, Sequence[Any]]]:
    """(name, its tables) of each section, without the secrets."""
    form = form_of(config)
    for name in form.sections:
        held = getattr(config, _field_of(form, name))
        yield name, held if form.is_list(name) else (held,)


def identity_of(table: NodeConfig | UpstreamSection | NoticeConfig) -> str:
    """By what a node, an upstream or a notice is known when the file is read again."""
    if isinstance(table, NoticeConfig):
        return table.name
    if isinstance(table, UpstreamSection):
        return table.url.place
    if table.source == "regtest":
        return EMBEDDED
    if table.source == "tdp":
        return f"{PROVIDER_SCHEME}{ProviderUrl.parse(table.url).place}"
    address = NodeAddress.parse(table.url)
    return f"http://{address}{address.path}".removesuffix("/")


def toml_of(value: object) -> str:
    """A value of a key as TOML writes it; NOTHING for None."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, tuple | list) and not isinstance(value, Address):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return json.dumps(str(value), ensure_ascii=False)


# --- differences ------------------------------------------------------------------------------------------------------

def _changes(old: AnyConfig, new: AnyConfig, with_secrets: bool) -> Iterator[Change]:
    form = form_of(old)
    for name in form.sections:
        field = _field_of(form, name)
        before, after = getattr(old, field), getattr(new, field)
        if form.is_list(name):
            is_bound = name == form.some or _is_many_bound(old, new)
            yield from _changes_of_many(name, before, after, is_bound)
        else:
            yield from _changes_of_one(name, before, after, partial(_effect, name, old=old, new=new))
    if with_secrets and form.secrets is not None:
        for key, field, _ in options_of(form.secrets):
            before, after = getattr(old.secrets, field), getattr(new.secrets, field)
            if before != after:
                yield Change(f"secrets.toml: {key}", HIDDEN if before else NOTHING, HIDDEN if after else NOTHING,
                             _effect("secrets", key, old=old, new=new))


def _changes_of_one(label: str, before: Any, after: Any, effect: Callable[[str], Effect]) -> Iterator[Change]:
    for key, field, _ in options_of(type(before)):
        one, other = getattr(before, field), getattr(after, field)
        if one != other:
            yield Change(f"{label}.{key}", toml_of(one), toml_of(other), effect(key))


def _changes_of_many(name: str, before: Sequence[Any], after: Sequence[Any], is_bound: bool) -> Iterator[Change]:
    """The list of all, in their order, where it differs; then what differs of those that stand in both."""
    old, new = ({identity_of(table): table for table in tables} for tables in (before, after))
    if list(old) != list(new):
        effect = Effect.RESTART if is_bound else Effect.NOW
        yield Change(f"{name}.{'name' if name == NOTICE else 'url'}", toml_of(list(old)), toml_of(list(new)), effect)
    for identity in [identity for identity in new if identity in old]:
        table = new[identity]
        effects = {key: Effect.RESTART if is_bound else option.on_reload for key, _, option in options_of(type(table))}
        yield from _changes_of_one(f"{name}[{identity}]", old[identity], table, effects.__getitem__)


def _effect(name: str, key: str, *, old: AnyConfig, new: AnyConfig) -> Effect:
    """When `key` of section `name` takes effect, in the light of what else has changed."""
    form = form_of(old)
    section = form.secrets if name == "secrets" and form.secrets is not None else form.sections[name]
    declared = next(option.on_reload for known, _, option in options_of(section) if known == key)
    if key == _PASSWORDS and _is_many_bound(old, new):
        return Effect.RESTART
    if key in _SPEC_SECRETS and spec_key_waits(old, new):
        return Effect.RESTART           # who vouches goes with the key; and no listener is told of one that comes
    if key in ("tls_cert", "tls_key") and _has_tls(old) != _has_tls(new):
        return Effect.RESTART           # the listener that they are for comes or goes with a restart
    return declared


def _has_tls(config: AnyConfig) -> bool:
    return config.stratum.has_tls


def spec_key_waits(old: AnyConfig, new: AnyConfig) -> bool:
    """Whether the static key of the published V2 profile comes, goes or changes: then what vouches for it waits for the
    restart as the key does.
    """
    return isinstance(old, WithNodes) and isinstance(new, WithNodes) and (
        old.secrets.sv2_spec_static_priv_key != new.secrets.sv2_spec_static_priv_key)


def _is_many_bound(old: AnyConfig, new: AnyConfig) -> bool:
    """Whether nodes wait for a restart: with another network, all nodes of the new file would be on the wrong one, and
    the embedded chain is opened at a start alone.
    """
    if not isinstance(old, WithNodes) or not isinstance(new, WithNodes):
        return False
    embedded = [{identity_of(node) for node in config.nodes if node.source == "regtest"} for config in (old, new)]
    return _network_of(old) != _network_of(new) or embedded[0] != embedded[1]


def _network_of(config: WithNodes) -> str:
    return config.pool.network if isinstance(config, Config) else config.provider.network


# --- merging ----------------------------------------------------------------------------------------------------------

def _merged(name: str, before: Any, after: Any, old: C, new: C) -> Any:
    """The section `after` with each old value that needs a restart, and with what was worked out from it."""
    kept = {field for key, field, _ in options_of(type(after))
            if _effect(name, key, old=old, new=new) is Effect.RESTART}
    kept |= {item.name for item in fields(after) if item.metadata.get("of") in kept}
    return replace(after, **{field: getattr(before, field) for field in kept})


def _field_of(form: Form, name: str) -> str:
    """The field of a configuration that holds the section `name`."""
    plural: Mapping[str, str] = {"node": "nodes", TRANSLATOR_MARK: "upstreams", NOTICE: "notices"}
    return plural[name] if form.is_list(name) else name
