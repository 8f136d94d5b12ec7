"""From a TOML document and the environment to typed sections, or to one clear ConfigError.

A ConfigError is one line: where the key stands, what it holds (never a secret) and what it may hold. What one key may
hold is declared with its section (`options.py`), and a `Form` names the sections of a file; what keys ask of each other
is checked by who reads the whole file (`pool.py`, `translator.py`).
"""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from warppool.addresses import Address
from warppool.config.declare import Form, options_of
from warppool.config.kinds import PATH, Kind, Refused
from warppool.errors import ConfigError

ENVIRONMENT_PREFIX = "WARPPOOL__"
MAX_SHOWN = 80
"""Characters of a wrong value that an error repeats."""


class Given(NamedTuple):
    """A value somebody wrote, and where: `warppool.toml: pool.network` or the name of an environment variable."""

    value: object
    where: str


S = TypeVar("S")
Tables = dict[str, list[dict[str, Given]]]


@dataclass(frozen=True, slots=True)
class Sections:
    """One file's sections, typed and with their defaults; `source` is what errors call the file.

    `written` names those whose heading stands there, or of which the environment says a key.
    """

    source: str
    values: Mapping[str, list[object]]
    tables: Tables
    written: frozenset[str] = frozenset()

    def one(self, section: type[S]) -> S:
        """The section of this class, of which there is one."""
        (found,) = self.all(section)
        return found

    def all(self, section: type[S]) -> list[S]:
        """The sections of this class, in the order of the file."""
        return [value for values in self.values.values() for value in values if isinstance(value, section)]

    def where(self, name: str, key: str, index: int = 0) -> str:
        """Where that key was written, or would have been."""
        tables = self.tables[name]
        if self.is_given(name, key, index):
            return tables[index][key].where
        return f"{self.source}: {_label(name, index, len(tables))}.{key}"

    def is_given(self, name: str, key: str, index: int = 0) -> bool:
        """Whether somebody wrote it."""
        return key in self.tables[name][index]


def read_toml(path: Path) -> dict[str, object]:
    """The document at `path`, decimal numbers exact; ConfigError."""
    text = _text_of(path)
    try:
        return tomllib.loads(text.replace("\r\n", "\n"), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as exc:
        raise ConfigError(f"{path}: is not TOML: {toml_advice(str(exc), text)}") from exc


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except IsADirectoryError as exc:
        raise ConfigError(f"{path}: cannot be read: Is a directory: name the file in it") from exc
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: cannot be read: No such file or directory: name a file that exists") from exc
    except PermissionError as exc:
        raise ConfigError(f"{path}: cannot be read: Permission denied: chown it to the user that runs this, or run as "
                          "another") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}: look at its disk") from exc
    if data.startswith(codecs.BOM_UTF8):
        raise ConfigError(f"{path}: begins with a byte order mark (BOM), which TOML does not know: save it as UTF-8 "
                          "without BOM")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError(f"{path}: is not UTF-8 at byte 0, it looks like UTF-16: save it as UTF-8 without BOM")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 at byte {exc.start}, in line {data[:exc.start].count(10) + 1}: save "
                          "it as UTF-8") from exc


def read_sections(form: Form, document: Mapping[str, object], *, folder: Path, environ: Mapping[str, str],
                  source: str) -> Sections:
    """Check a document (as TOML gives it) key by key, under the environment; relative paths start at `folder`."""
    tables = _tables(form, document, source)
    _override(form, tables, environ)
    values = {name: [read_section(form, name, form.sections[name], given, folder, source, environ)
                     for given in tables[name]]
              for name in tables}
    written = frozenset(name for name, given in tables.items() if name in document or any(given))
    return Sections(source, values, tables, written)


def read_section(form: Form, name: str, section: type[S], given: Mapping[str, Given], folder: Path, source: str,
                 environ: Mapping[str, str]) -> S:
    """Build one section from what was given; ConfigError for a key that is unknown, missing or wrong."""
    options = {key: (field, option) for key, field, option in options_of(section)}
    for key in given:
        if key not in options:
            where = given[key].where
            raise ConfigError(f"{where} is not known: {_nearest(form, key, name, section)}")
    values: dict[str, object] = {}
    for key, (field, option) in options.items():
        if key not in given and option.is_required:
            raise ConfigError(f"{source}: {name}.{key} is missing: it takes {option.kind.words}")
        value, where = given.get(key, Given(option.default, key))
        if value is None:
            if option.default_of is not None:
                values[field] = option.default_of(environ)
            continue
        try:
            read = option.kind.read(value)
        except Refused as exc:
            held = "something else" if option.is_secret or exc.is_secret else shown(value)
            raise ConfigError(f"{where} holds {held}: {exc}") from exc
        values[field] = folder / read if option.kind is PATH else read
    return section(**values)


def check_ports(addresses: list[tuple[str, Address]], source: str) -> None:
    """No two listeners may want one port of one address; `addresses` are (key with its section, address)."""
    for number, (key, address) in enumerate(addresses):
        for other_key, other in addresses[:number]:
            if _is_same_port(address, other):
                raise ConfigError(f"{source}: {key} holds {shown(str(address))}: {other_key} "
                                  f"takes {shown(str(other))} already, and each needs a port of its own")


def _is_same_port(one: Address, other: Address) -> bool:
    """Whether the system would refuse the second; `[::]` takes all of IPv4 too."""
    if one.port != other.port or one.port == 0:
        return False
    if one.host == other.host or "::" in (one.host, other.host):
        return True
    return "0.0.0.0" in (one.host, other.host) and ":" not in one.host + other.host


# --- tables -----------------------------------------------------------------------------------------------------------

def _tables(form: Form, document: Mapping[str, object], source: str) -> Tables:
    """Each section as a list of tables (one, but for those of `form.is_list`), each value with its place."""
    for name in document:
        if name not in form.sections:
            raise ConfigError(f"{source}: {_shown_key(name)} is not known: {_nearest(form, name, '')}")
    tables: Tables = {}
    for name in form.sections:
        held = document.get(name, [{}] if name == form.many else [] if name == form.some else {})
        if form.is_list(name):
            if not isinstance(held, list) or not (held or name == form.some) or not all(
                    isinstance(item, dict) for item in held):
                raise ConfigError(f"{source}: {name} holds {shown(held)}: it takes tables, each headed [[{name}]]")
            parts = held
        else:
            if not isinstance(held, dict):
                raise ConfigError(f"{source}: {name} holds {shown(held)}: it takes a table, headed [{name}]")
            parts = [held]
        tables[name] = [{key: Given(value, f"{source}: {_label(name, index, len(parts))}.{_shown_key(key)}")
                         for key, value in part.items()} for index, part in enumerate(parts)]
    return tables


def _label(name: str, index: int, count: int) -> str:
    return f"{name}[{index}]" if count > 1 else name


def _override(form: Form, tables: Tables, environ: Mapping[str, str]) -> None:
    """Put `WARPPOOL__SECTION__KEY` of the environment over what the file says; ConfigError for unknown ones."""
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if name == "secrets" and form.secrets is not None:
            check_secret_variable(variable, key, form.secrets)
            continue
        if name not in form.sections:
            raise ConfigError(f"{variable} is not known: {_nearest(form, name, '')}")
        kinds = {known: option.kind for known, _, option in options_of(form.sections[name])}
        value = environ[variable]
        if key not in kinds and key.removesuffix("_file") in kinds:
            key, value = key.removesuffix("_file"), text_of_file(variable, value)
        if key not in kinds:
            raise ConfigError(f"{variable} is not known: {_nearest(form, key, name)}")
        if len(tables[name]) != 1:
            raise ConfigError(f"{variable} could mean any of {len(tables[name])} [[{name}]]: write it in the file")
        tables[name][0][key] = Given(_typed(variable, value, kinds[key]), variable)


def _typed(variable: str, text: str, kind: Kind[Any]) -> object:
    if kind.is_text:
        return text
    try:
        document = tomllib.loads(f"value = {text}", parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        document = {}
    if list(document) != ["value"]:
        raise ConfigError(f"{variable} holds {shown(text)}: it takes a {kind.words}, written as in TOML")
    return document["value"]


def check_secret_variable(variable: str, key: str, secrets: type[Any]) -> None:
    """ConfigError unless `variable` names a file for a secret: secrets themselves stay out of the environment."""
    if key.removesuffix("_file") not in _keys(secrets):
        closest = get_close_matches(key.removesuffix("_file"), _keys(secrets), n=1, cutoff=0.0)[0]
        raise ConfigError(f"{variable} is not known: did you mean {ENVIRONMENT_PREFIX}SECRETS__{closest.upper()}_FILE?")
    if not key.endswith("_file"):
        raise ConfigError(f"{variable} is not known: secrets do not go into the environment: put it into a file, and "
                          f"name that by {variable}_FILE")


def text_of_file(variable: str, name: str) -> str:
    """What stands in the file that an environment variable `..._FILE` names, without the line end at its end."""
    if not name:
        raise ConfigError(f"{variable} is empty: it takes the path of a file")
    try:
        return _text_of(Path(name)).rstrip("\r\n")
    except ConfigError as exc:
        raise ConfigError(f"{variable}: {exc}") from exc


# --- words of errors --------------------------------------------------------------------------------------------------

def _nearest(form: Form, name: str, section_name: str, section: type[Any] | None = None) -> str:
    """Name what was probably meant: the same key elsewhere, else the closest word of `section`, or of all sections."""
    if form.secrets is not None and section is form.secrets:
        for home, members in form.sections.items():
            if name == home or name in _keys(members):
                return f"it belongs into {form.file}, as {form.heading(home)}" if name == home else (
                    f"it belongs into {form.file}, as {home}.{name}")
    elif (section_name, name) in _MEANT and (not section_name or section_name in form.sections):
        return _MEANT[section_name, name]
    elif form.secrets is not None and name in _ALIASES and ("node" in form.sections or name == "secrets"):
        return _ALIASES[name]
    if form.secrets is None or section is not form.secrets:
        if form.secrets is not None and name in _keys(form.secrets):
            return "it belongs into secrets.toml"
        for home, members in form.sections.items():
            if name in _keys(members):
                return f"did you mean {f'{name} in [[{home}]]' if form.is_list(home) else f'{home}.{name}'}?"
    section = section or form.sections.get(section_name)
    closest = get_close_matches(name, form.sections if section is None else _keys(section), n=1, cutoff=0.0)[0]
    return f"did you mean {form.heading(closest) if section is None else closest}?"


_IN_SECRETS: Final = "it belongs into secrets.toml, as node_passwords = [\"...\"], one for each [[node]] with a user"
_AS_USER: Final = "did you mean user in [[node]]?"
_ALIASES: Final = {
    **dict.fromkeys(("password", "pass", "rpcpassword", "rpc_password", "node_password"), _IN_SECRETS),
    **dict.fromkeys(("rpcuser", "rpc_user", "username", "login"), _AS_USER),
    **dict.fromkeys(("rpcauth", "rpc_auth"), "say user in [[node]], and its password in secrets.toml"),
    "secrets": "secrets stand in a file of their own, secrets.toml, without a heading",
}
"""What people write, by the habits of other programs, and what is meant here."""

_MEANT: Final = {
    **dict.fromkeys((("", name) for name in ("http", "api", "metrics", "dashboard")), "did you mean [web]?"),
    **dict.fromkeys((("", name) for name in ("notify", "webhook", "telegram", "discord", "ntfy")),
                    "did you mean [[notice]]?"),
    **dict.fromkeys((("web", name) for name in ("address", "bind", "port")),
                    'did you mean listen = ["127.0.0.1:8080"]?'),
    ("status", "listen"): "did you mean web.listen?",
    **dict.fromkeys((("notice", name) for name in ("url", "token", "webhook")),
                    "did you mean notice_urls in secrets.toml, one for each [[notice]] without a command?"),
}
"""The same by section ("" where a whole section is not known): a word that means another thing elsewhere."""


def toml_advice(words: str, text: str) -> str:
    """What `tomllib` says, on one line, with a cure. Values are not repeated: the file may be that of the secrets."""
    words = " ".join(words.split())
    lines = text.splitlines() or [""]
    found = re.search(r"line (\d+)", words)
    number = min(int(found[1]), len(lines)) if found else len(lines)
    line = lines[number - 1].strip()
    key = line.partition("=")[0].strip()
    where = f"line {number}"
    named = key if "=" in line and re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", key) else "a key"
    header = line if re.fullmatch(r"\[\[?[A-Za-z0-9_. -]{1,40}\]?\]", line) else ""
    if "Cannot declare" in words or "Cannot mutate" in words or ("overwrite" in words and header):
        return (f"{where}: {header or 'a section'} stands there twice: put the keys of both under one heading, and "
                f"head each of several tables [[NAME]] ({words})")
    if "overwrite a value" in words:
        return f"{where}: {named} stands there twice: remove one of them ({words})"
    if "Invalid value" in words:
        return f"{where}: {named} holds no value of TOML: texts stand in quotation marks ({words})"
    if "Expected '='" in words or "Invalid statement" in words:
        return f"{where} is no `key = value`, no [section] and no # comment: mend it ({words})"
    return f"{words}: mend {where}"


def _keys(section: type[Any]) -> list[str]:
    return [key for key, _, _ in options_of(section)]


def shown(value: object) -> str:
    """A wrong value on one line, in the words of TOML, cut where it is long."""
    if isinstance(value, str):
        words = json.dumps(value)
    elif isinstance(value, bool):
        words = "true" if value else "false"
    elif isinstance(value, dict):
        words = "a table"
    elif isinstance(value, list):
        words = "[" + ", ".join(shown(item) for item in value[:10]) + (", ..." if value[10:] else "") + "]"
    elif isinstance(value, int) and value.bit_length() > 256:
        words = hex(value)      # Python refuses to write very long numbers in decimal
    else:
        words = str(value)
    return words if len(words) <= MAX_SHOWN else words[:MAX_SHOWN] + "..."


def _shown_key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else shown(key)
