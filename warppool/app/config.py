"""From warppool.toml, secrets.toml and the environment to one frozen `Config`, or to one clear ConfigError.

A ConfigError is one line: where the key stands, what it holds (never a secret) and what it may hold. What one key may
hold is declared in `options.py`; what keys ask of each other is checked here.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from warppool.app.options import (
    PATH,
    SECTIONS,
    UNSERVED_LISTENERS,
    Address,
    Config,
    DifficultyConfig,
    Kind,
    LedgerConfig,
    NodeConfig,
    PoolConfig,
    Refused,
    Secrets,
    StratumConfig,
    options_of,
)
from warppool.bitcoin.address import AddressError, script_of
from warppool.errors import ConfigError
from warppool.ledger.url import database_path

ENVIRONMENT_PREFIX = "WARPPOOL__"
MAX_SHOWN = 80
"""Characters of a wrong value that an error repeats."""


class Given(NamedTuple):
    """A value somebody wrote, and where: `warppool.toml: pool.network` or the name of an environment variable."""

    value: object
    where: str


def read_config(path: Path, environ: Mapping[str, str] = os.environ, *, with_secrets: bool = True) -> Config:
    """Read the file at `path` and what belongs to it; ConfigError.

    Without secrets, for those who may not read them (`warppool shares`), nothing that needs one is checked.
    """
    document = _read_toml(path)
    folder = path.absolute().parent
    secrets = read_secrets(folder, environ) if with_secrets else None
    return config_of(document, folder=folder, secrets=secrets, environ=environ, source=str(path))


def config_of(document: Mapping[str, object], *, folder: Path, secrets: Secrets | None,
              environ: Mapping[str, str], source: str) -> Config:
    """Check a document (as TOML gives it) and make it a Config; relative paths are taken from `folder`."""
    tables = _tables(document, source)
    _override(tables, environ)
    sections = {name: [_section(name, SECTIONS[name], given, folder, source) for given in tables[name]]
                for name in tables}
    pool = _with_script(sections["pool"][0], _where(tables["pool"][0], "payout_address", source, "pool"))
    if pool.data_dir is None:
        pool = replace(pool, data_dir=default_data_dir(environ))
    stratum, difficulty, ledger = sections["stratum"][0], sections["difficulty"][0], sections["ledger"][0]
    _check_listeners(stratum, source)
    _check_difficulty(difficulty, source)
    _check_nodes(sections["node"], tables["node"], pool, source)
    if secrets is not None:
        if stratum.sv2_listen and secrets.sv2_static_priv_key is None:
            raise ConfigError("secrets.toml: sv2_static_priv_key_hex is missing: make one by "
                              f"(umask 077; warppool-keygen >> {folder / 'secrets.toml'}), "
                              "or switch Stratum V2 off by sv2_listen = []")
        sections["node"] = _with_passwords(sections["node"], secrets)
    ledger = _with_path(ledger, pool.data_dir, _where(tables["ledger"][0], "url", source, "ledger"))
    return Config(pool=pool, stratum=stratum, difficulty=difficulty, nodes=tuple(sections["node"]),
                  ledger=ledger, log=sections["log"][0], secrets=secrets or Secrets())


def unserved(config: Config) -> tuple[str, ...]:
    """Keys of listeners that are asked for and that nothing serves yet; each is worth one warning."""
    return tuple(f"stratum.{key}" for key in UNSERVED_LISTENERS if getattr(config.stratum, key))


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where ledger and block journal lie when the file does not say."""
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state)
    system = Path("/var/lib/warppool")
    nearest = next(folder for folder in (system, *system.parents) if folder.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return system
    home = environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local/state") / "warppool"


# --- secrets ----------------------------------------------------------------------------------------------------------

def read_secrets(folder: Path, environ: Mapping[str, str]) -> Secrets:
    """The first secrets.toml there is: systemd's credential, else that in `folder`, which must be 0600 or tighter."""
    credentials = environ.get("CREDENTIALS_DIRECTORY", "")
    if credentials and (Path(credentials) / "secrets.toml").exists():
        path = Path(credentials) / "secrets.toml"
    else:
        path = folder / "secrets.toml"
        try:
            mode = path.stat().st_mode & 0o777
        except FileNotFoundError:
            return Secrets()
        except OSError as exc:
            raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
        if mode & 0o077:
            raise ConfigError(f"{path}: others may read it (mode {mode:04o}): chmod 600 {path}")
    document = _read_toml(path)
    given = {key: Given(value, f"{path}: {key}") for key, value in document.items()}
    secrets: Secrets = _section("", Secrets, given, folder, str(path))
    return secrets


def _with_passwords(nodes: Iterable[NodeConfig], secrets: Secrets) -> list[NodeConfig]:
    """Hand each node that has a user the next password."""
    nodes = list(nodes)
    wanted = sum(1 for node in nodes if node.user)
    if wanted != len(secrets.node_passwords):
        raise ConfigError(f"secrets.toml: node_passwords holds {len(secrets.node_passwords)}: "
                          f"it takes one for each [[node]] with a user, and there are {wanted}")
    passwords = iter(secrets.node_passwords)
    return [replace(node, password=next(passwords)) if node.user else node for node in nodes]


# --- reading ----------------------------------------------------------------------------------------------------------

def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file, parse_float=Decimal)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 at byte {exc.start}") from exc
    except (ValueError, ArithmeticError, RecursionError) as exc:
        raise ConfigError(f"{path}: is not TOML: {_one_line(str(exc))}") from exc


def _tables(document: Mapping[str, object], source: str) -> dict[str, list[dict[str, Given]]]:
    """Each section as a list of tables (only `node` may have more than one), each value with its place."""
    for name in document:
        if name not in SECTIONS:
            raise ConfigError(f"{source}: {_shown_key(name)} is not known: {_nearest(name, '')}")
    tables: dict[str, list[dict[str, Given]]] = {}
    for name in SECTIONS:
        held = document.get(name, [{}] if name == "node" else {})
        if name == "node":
            if not isinstance(held, list) or not held or not all(isinstance(item, dict) for item in held):
                raise ConfigError(f"{source}: node holds {_shown(held)}: it takes tables, each headed [[node]]")
            parts = held
        else:
            if not isinstance(held, dict):
                raise ConfigError(f"{source}: {name} holds {_shown(held)}: it takes a table, headed [{name}]")
            parts = [held]
        tables[name] = [{key: Given(value, f"{source}: {_label(name, index, len(parts))}.{_shown_key(key)}")
                         for key, value in part.items()} for index, part in enumerate(parts)]
    return tables


def _label(name: str, index: int, count: int) -> str:
    return f"{name}[{index}]" if count > 1 else name


def _override(tables: dict[str, list[dict[str, Given]]], environ: Mapping[str, str]) -> None:
    """Put `WARPPOOL__SECTION__KEY` of the environment over what the file says; ConfigError for unknown ones."""
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if name not in SECTIONS:
            raise ConfigError(f"{variable} is not known: {_nearest(name, '')}")
        kinds = {known: option.kind for known, _, option in options_of(SECTIONS[name])}
        if key not in kinds:
            raise ConfigError(f"{variable} is not known: {_nearest(key, name)}")
        if len(tables[name]) > 1:
            raise ConfigError(f"{variable} could mean any of {len(tables[name])} [[node]]: write it in the file")
        tables[name][0][key] = Given(_typed(variable, environ[variable], kinds[key]), variable)


def _typed(variable: str, text: str, kind: Kind) -> object:
    if kind.is_text:
        return text
    try:
        document = tomllib.loads(f"value = {text}", parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        document = {}
    if list(document) != ["value"]:
        raise ConfigError(f"{variable} holds {_shown(text)}: it takes a {kind.words}, written as in TOML")
    return document["value"]


def _section(name: str, section: type[Any], given: Mapping[str, Given], folder: Path, source: str) -> Any:
    """Build one section from what was given; ConfigError for a key that is unknown, missing or wrong."""
    options = {key: (field, option) for key, field, option in options_of(section)}
    for key in given:
        if key not in options:
            where = given[key].where
            raise ConfigError(f"{where} is not known: {_nearest(key, name, section)}")
    values: dict[str, object] = {}
    for key, (field, option) in options.items():
        if key not in given and option.is_required:
            raise ConfigError(f"{source}: {name}.{key} is missing: it takes {option.kind.words}")
        value, where = given.get(key, Given(option.default, key))
        if value is None:
            continue
        try:
            read = option.kind.read(value)
        except Refused as exc:
            held = "something else" if option.is_secret or exc.is_secret else _shown(value)
            raise ConfigError(f"{where} holds {held}: {exc}") from exc
        values[field] = folder / read if option.kind is PATH else read
    return section(**values)


# --- what keys ask of each other --------------------------------------------------------------------------------------

def _with_script(pool: PoolConfig, where: str) -> PoolConfig:
    try:
        script = script_of(pool.payout_address, pool.network)
    except AddressError as exc:
        raise ConfigError(f"{where}: {exc}: give an address for {pool.network}") from exc
    return replace(pool, payout_script=script)


def _with_path(ledger: LedgerConfig, data_dir: Path, where: str) -> LedgerConfig:
    try:
        return replace(ledger, path=database_path(ledger.url, data_dir))
    except ConfigError as exc:
        raise ConfigError(f"{where.removesuffix(': ledger.url')}: {exc}") from exc     # it names the key itself


def _check_listeners(stratum: StratumConfig, source: str) -> None:
    """No two listeners may want one port of one address."""
    taken: list[tuple[str, Address]] = []
    for key in ("listen", "tls_listen", "sv2_listen", "sv2_spec_listen"):
        for address in getattr(stratum, key):
            for other_key, other in taken:
                if _is_same_door(address, other):
                    raise ConfigError(f"{source}: stratum.{key} holds {_shown(str(address))}: stratum.{other_key} "
                                      f"takes {_shown(str(other))} already, and each needs a port of its own")
            taken.append((key, address))
    if not taken:
        raise ConfigError(f'{source}: stratum.sv2_listen holds []: without any listener nobody can mine; '
                          'write ["[::]:34254"]')


def _is_same_door(one: Address, other: Address) -> bool:
    """Whether the system would refuse the second; `[::]` takes all of IPv4 too."""
    if one.port != other.port or one.port == 0:
        return False
    if one.host == other.host or "::" in (one.host, other.host):
        return True
    return "0.0.0.0" in (one.host, other.host) and ":" not in one.host + other.host


def _check_difficulty(difficulty: DifficultyConfig, source: str) -> None:
    if difficulty.max and difficulty.max < difficulty.min:
        raise ConfigError(f"{source}: difficulty.max holds {difficulty.max}: it takes 0, for no limit, or at least "
                          f"difficulty.min, {difficulty.min}")


def _check_nodes(nodes: list[NodeConfig], tables: list[dict[str, Given]], pool: PoolConfig, source: str) -> None:
    embedded = [index for index, node in enumerate(nodes) if node.source == "regtest"]
    for index, (node, given) in enumerate(zip(nodes, tables, strict=True)):
        label = _label("node", index, len(nodes))
        if node.source == "regtest" and pool.network != "regtest":
            where = _where(given, "source", source, label)
            raise ConfigError(f'{where} holds "regtest": the embedded chain mines only network = "regtest", '
                              f"and pool.network is {pool.network}")
        if index in embedded[1:]:
            raise ConfigError(f'{_where(given, "source", source, label)} holds "regtest": one embedded chain is all '
                              "that data_dir holds")
        if node.user and "cookie_file" in given:
            raise ConfigError(f"{_where(given, 'cookie_file', source, label)} holds {_shown(str(node.cookie_file))}: "
                              "it takes either cookie_file or user, not both")


def _where(given: Mapping[str, Given], key: str, source: str, label: str) -> str:
    return given[key].where if key in given else f"{source}: {label}.{key}"


# --- words of errors --------------------------------------------------------------------------------------------------

def _nearest(name: str, section_name: str, section: type[Any] | None = None) -> str:
    """Name what was probably meant: the same key elsewhere, else the closest word of `section`, or of all sections."""
    from difflib import get_close_matches

    if section is not Secrets:
        if name in _keys(Secrets):
            return "it belongs into secrets.toml"
        for home, members in SECTIONS.items():
            if name in _keys(members):
                return f"did you mean {f'{name} in [[node]]' if home == 'node' else f'{home}.{name}'}?"
    section = section or SECTIONS.get(section_name)
    closest = get_close_matches(name, SECTIONS if section is None else _keys(section), n=1, cutoff=0.0)[0]
    return f"did you mean {f'[{closest}]' if section is None else closest}?"


def _keys(section: type[Any]) -> list[str]:
    return [key for key, _, _ in options_of(section)]


def _shown(value: object) -> str:
    """A wrong value on one line, in the words of TOML, cut where it is long."""
    if isinstance(value, str):
        shown = json.dumps(value)
    elif isinstance(value, bool):
        shown = "true" if value else "false"
    elif isinstance(value, dict):
        shown = "a table"
    elif isinstance(value, list):
        shown = "[" + ", ".join(_shown(item) for item in value[:10]) + (", ..." if value[10:] else "") + "]"
    elif isinstance(value, int) and value.bit_length() > 256:
        shown = hex(value)      # Python refuses to write very long numbers in decimal
    else:
        shown = str(value)
    return shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "..."


def _shown_key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else _shown(key)


def _one_line(words: str) -> str:
    return " ".join(words.split())
