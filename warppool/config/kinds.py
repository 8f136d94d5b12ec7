"""The kinds of values that keys of a configuration hold: in words for people, and read from a TOML value to ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, Generic, TypeVar

from warppool.addresses import Address, Net, NodeAddress, ProviderUrl, parse_address, parse_net
from warppool.authority import parse_secret
from warppool.errors import ConfigError

PROVIDER_SCHEME: Final = "stratum2+tcp://"
"""How the URL of a template provider begins; the URL of any other node is of HTTP."""

MAX_ADDRESS = 64
"""Characters of an address to listen on, or of a net: the longest of IPv6 with a zone and a port has less."""


T = TypeVar("T")


class Refused(ValueError):
    """A value that its key cannot hold; the text says what it may hold instead."""

    def __init__(self, words: str, is_secret: bool = False) -> None:
        super().__init__(words)
        self.is_secret = is_secret      # the value carries a password and is not to be shown


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What a key may hold: `words` for people, `read` from a TOML value to ours, raising Refused."""

    words: str
    read: Callable[[object], T]
    is_text: bool = False
    """The environment gives it as it stands; every other kind is written there as a TOML value."""


def text(words: str = "text", max_bytes: int = 255, is_empty_allowed: bool = True) -> Kind[str]:
    """Text of at most `max_bytes` bytes in UTF-8, without control characters."""

    def read(value: object) -> str:
        if (not isinstance(value, str) or len(value.encode("utf-8", "surrogatepass")) > max_bytes
                or not (value or is_empty_allowed) or not value.isprintable()):
            raise Refused(f"it takes {words}")
        return value

    return Kind(words, read, is_text=True)


def choice(*words: str, later: str = "") -> Kind[str]:
    """One of a few words; `later` is one that a later version takes."""
    said = ", ".join(words[:-1]) + " or " + words[-1]

    def read(value: object) -> str:
        if later and value == later:
            raise Refused(f"{later} comes with a later version; until then it takes {said}")
        if value not in words:
            raise Refused(f"it takes {said}")
        return str(value)

    return Kind(said, read, is_text=True)


def whole(low: int, high: int) -> Kind[int]:
    """A whole number from `low` to `high`."""
    words = f"whole number, {low} to {high}"

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Refused(f"it takes a {words}")
        return value

    return Kind(words, read)


def either(low: int, high: int) -> Kind[int]:
    """One of two whole numbers."""
    words = f"{low} or {high}"

    def read(value: object) -> int:
        if isinstance(value, bool) or value not in (low, high) or not isinstance(value, int):
            raise Refused(f"it takes {words}")
        return value

    return Kind(words, read)


def number(low: str, high: str, has_zero: bool = False) -> Kind[Decimal]:
    """A decimal number from `low` to `high`, exact; with `has_zero` 0 too, for "none"."""
    words = f"number, {low} to {high}" + (", or 0" if has_zero else "")
    least, most = Decimal(low), Decimal(high)

    def read(value: object) -> Decimal:
        if not isinstance(value, int | Decimal) or isinstance(value, bool):
            raise Refused(f"it takes a {words}")
        exact = Decimal(value)
        if not exact.is_finite() or not (least <= exact <= most or (has_zero and exact == 0)):
            raise Refused(f"it takes a {words}")
        return exact

    return Kind(words, read)


def hundredths(low: int, high: int) -> Kind[Decimal]:
    """A decimal number from `low` to `high` with at most two decimals, exact."""
    words = f"number, {low} to {high}, with at most two decimals"
    within = number(str(low), str(high))

    def read(value: object) -> Decimal:
        try:
            exact = within.read(value)
        except Refused as exc:
            raise Refused(f"it takes a {words}") from exc
        if exact * 100 % 1:
            raise Refused(f"it takes a {words}")
        return exact

    return Kind(words, read)


def _read_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Refused("it takes true or false")
    return value


def _read_addresses(value: object) -> tuple[Address, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and len(item) <= MAX_ADDRESS for item in value):
        raise Refused('it takes a list of addresses, such as ["[::]:3333"], or []')
    try:
        return tuple(Address(*parse_address(item, "one item")) for item in value)
    except ConfigError as exc:
        raise Refused(str(exc)) from exc


def _read_nets(value: object) -> tuple[Net, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and len(item) <= MAX_ADDRESS for item in value):
        raise Refused('it takes a list of nets, such as ["10.0.0.0/8"], or []')
    try:
        return tuple(parse_net(item) for item in value)
    except ConfigError as exc:
        raise Refused(str(exc)) from exc


def _read_path(value: object) -> Path:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise Refused("it takes a path, relative to the file's folder or absolute")
    return Path(value)


def _read_node_url(value: object) -> str:
    if isinstance(value, str) and "@" in value:
        raise Refused("it takes http://HOST:PORT; the user goes into node.user, its password into secrets.toml", True)
    if isinstance(value, str) and value.startswith(PROVIDER_SCHEME):
        try:
            ProviderUrl.parse(value)
        except ConfigError as exc:
            raise Refused(str(exc).partition(": ")[2]) from exc
        return value
    try:
        if not isinstance(value, str) or not value.isprintable() or " " in value or not NodeAddress.parse(value).port:
            raise Refused("it takes http://HOST:PORT")
    except ConfigError as exc:
        raise Refused("it takes http://HOST:PORT") from exc
    return value


def _read_key(value: object) -> bytes:
    try:
        key = bytes.fromhex(value) if isinstance(value, str) and len(value) == 64 else b""
    except ValueError:
        key = b""
    if len(key) != 32 or not any(key):
        raise Refused("it takes 64 hex digits, as warppool-keygen makes them")
    return key


def _read_spec_secret(value: object) -> bytes:
    try:
        return parse_secret(value if isinstance(value, str) else "")
    except ValueError as exc:
        raise Refused(f"it {exc}: it takes what warppool-keygen --spec prints, or a secret of SRI's programs") from exc


def _read_texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise Refused("it takes a list of texts, none of them empty")
    return tuple(value)


ADDRESSES: Final = Kind("list of IP addresses with ports", _read_addresses)
NETS: Final = Kind("list of nets", _read_nets)
PATH: Final = Kind("path", _read_path, is_text=True)
NODE_URL: Final = Kind("http://HOST:PORT or stratum2+tcp://HOST:PORT/KEY", _read_node_url, is_text=True)
FLAG: Final = Kind("true or false", _read_flag)
KEY: Final = Kind("64 hex digits", _read_key, is_text=True)
SPEC_SECRET: Final = Kind("64 hex digits or Base58", _read_spec_secret, is_text=True)
TEXTS: Final = Kind("list of texts", _read_texts)
DIFFICULTY: Final = number("1e-10", "1e30")
