"""Every key of warppool.toml and secrets.toml, declared once: name, kind, default, bounds and one sentence.

A section is a frozen dataclass, and the option rides on its field. Reading and checking (`reading.py`, `pool.py`),
the example file and the table of the README (`reference.py`) all come from what stands here. Fields made by `derived()`
are no keys: `pool.py` works them out. The translator's are declared in the same way (`translatoroptions.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Final

from warppool.addresses import Address, Net, NodeAddress, parse_address, parse_net
from warppool.errors import ConfigError
from warppool.mining.job import MAX_TAG_SIZE

LONGEST_TAG_BEFORE = 54
"""Bytes of a coinbase tag in the release before. One of 51 to 54 bytes is cut with a warning; the next release refuses
it.
"""

MAX_ADDRESS = 64
"""Characters of an address to listen on, or of a net: the longest of IPv6 with a zone and a port has less."""


class Refused(ValueError):
    """A value that its key cannot hold; the text says what it may hold instead."""

    def __init__(self, words: str, is_secret: bool = False) -> None:
        super().__init__(words)
        self.is_secret = is_secret      # the value carries a password and is not to be shown


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key may hold: `words` for people, `read` from a TOML value to ours, raising Refused."""

    words: str
    read: Callable[[object], Any]
    is_text: bool = False
    """The environment gives it as it stands; every other kind is written there as a TOML value."""


class Effect(Enum):
    """When a key takes effect that was changed before a SIGHUP: the word of log and reference, and a sentence."""

    NOW = ("at once", "a reload makes it count at once")
    NEXT_JOB = ("next job", "a reload makes it count from the next job on")
    NEWCOMERS = ("newcomers", "a reload makes it count for who comes then")
    RESTART = ("restart", "it needs a restart")

    def __init__(self, word: str, words: str) -> None:
        self.word = word
        self.words = words


@dataclass(frozen=True, slots=True)
class Option:
    """What is declared of one key; `default` is a TOML value, None where the key has no fixed one."""

    kind: Kind
    default: object
    sentence: str
    is_required: bool
    is_secret: bool
    on_reload: Effect


# --- kinds ------------------------------------------------------------------------------------------------------------

def text(words: str = "text", max_bytes: int = 255, is_empty_allowed: bool = True) -> Kind:
    """Text of at most `max_bytes` bytes in UTF-8, without control characters."""

    def read(value: object) -> str:
        if (not isinstance(value, str) or len(value.encode("utf-8", "surrogatepass")) > max_bytes
                or not (value or is_empty_allowed) or not value.isprintable()):
            raise Refused(f"it takes {words}")
        return value

    return Kind(words, read, is_text=True)


def choice(*words: str, later: str = "") -> Kind:
    """One of a few words; `later` is one that a later version takes."""
    said = ", ".join(words[:-1]) + " or " + words[-1]

    def read(value: object) -> str:
        if later and value == later:
            raise Refused(f"{later} comes with a later version; until then it takes {said}")
        if value not in words:
            raise Refused(f"it takes {said}")
        return str(value)

    return Kind(said, read, is_text=True)


def whole(low: int, high: int) -> Kind:
    """A whole number from `low` to `high`."""
    words = f"whole number, {low} to {high}"

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Refused(f"it takes a {words}")
        return value

    return Kind(words, read)


def either(low: int, high: int) -> Kind:
    """One of two whole numbers."""
    words = f"{low} or {high}"

    def read(value: object) -> int:
        if isinstance(value, bool) or value not in (low, high) or not isinstance(value, int):
            raise Refused(f"it takes {words}")
        return value

    return Kind(words, read)


def number(low: str, high: str, has_zero: bool = False) -> Kind:
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


def _read_texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise Refused("it takes a list of texts, none of them empty")
    return tuple(value)


ADDRESSES: Final = Kind("list of IP addresses with ports", _read_addresses)
NETS: Final = Kind("list of nets", _read_nets)
PATH: Final = Kind("path", _read_path, is_text=True)
NODE_URL: Final = Kind("http://HOST:PORT", _read_node_url, is_text=True)
KEY: Final = Kind("64 hex digits", _read_key, is_text=True)
TEXTS: Final = Kind("list of texts", _read_texts)
DIFFICULTY: Final = number("1e-10", "1e30")


# --- declarations -----------------------------------------------------------------------------------------------------

def option(kind: Kind, default: object, sentence: str, *, on_reload: Effect = Effect.RESTART, key: str = "",
           is_required: bool = False, is_secret: bool = False) -> Any:
    """A field that is a key; `key` where it is not called like the field."""
    metadata = {"option": Option(kind, default, sentence, is_required, is_secret, on_reload), "key": key}
    if is_required:
        return field(metadata=metadata, repr=not is_secret)
    return field(default=None if default is None else kind.read(default), metadata=metadata, repr=not is_secret)


def derived(default: object, *, of: str, is_secret: bool = False) -> Any:
    """A field that `pool.py` works out from keys, first of all from the field `of`, and that changes with that."""
    return field(default=default, metadata={"of": of}, repr=not is_secret)


def as_in(section: type[Any], name: str) -> Any:
    """A field that is the same key as the field `name` of another section, where it is declared."""
    item = next(item for item in fields(section) if item.name == name)
    return field(default=item.default, metadata=item.metadata, repr=item.repr)


def options_of(section: type[Any]) -> Iterator[tuple[str, str, Option]]:
    """(key, field name, option) of each key of a section, in the order of declaration."""
    for item in fields(section):
        if "option" in item.metadata:
            yield item.metadata["key"] or item.name, item.name, item.metadata["option"]


@dataclass(frozen=True, slots=True)
class Form:
    """What a configuration file may hold: its sections by name, of which `many` may stand there more than once."""

    file: str
    sections: Mapping[str, type[Any]]
    many: str
    secrets: type[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """Who is paid, on which network, and where the files lie."""

    network: str = option(
        choice("main", "testnet4", "signet", "regtest"), "main",
        "The network that is mined; signet only with an OP_TRUE challenge.")
    payout_address: str = option(
        text("an address of the network", is_empty_allowed=False), None, "The coinbase pays here.", is_required=True)
    coinbase_tag: str = option(
        text(f"text of at most {MAX_TAG_SIZE} bytes", LONGEST_TAG_BEFORE), "/warppool/",
        "Stands in the coinbase of every block, for all to read.", on_reload=Effect.NEXT_JOB)
    data_dir: Path = option(
        PATH, None, "Ledger and block journal; $STATE_DIRECTORY, else /var/lib/warppool if writable, "
        "else $XDG_STATE_HOME/warppool.")
    behind_blocks: int = option(
        whole(1, 1000), 1, "How many blocks a node may be behind the best tip; one further behind is not mined.",
        on_reload=Effect.NOW)
    behind_s: int = option(
        whole(1, 86_400), 10, "Seconds after which a node that is behind is called lagging.", on_reload=Effect.NOW)
    return_after_s: int = option(
        whole(0, 604_800), 300, "Seconds for which the first node must have kept up before it is mined again.",
        on_reload=Effect.NOW)
    work_max_age_s: int = option(
        whole(1, 86_400), 180,
        "Seconds without an answer of any node after which miners are sent away, to their other pools.",
        on_reload=Effect.NOW)
    server_id: int = option(whole(0, 255), 0, "Unique among the servers of one pool.")
    payout_script: bytes = derived(b"", of="payout_address")
    """The output script of `payout_address`."""
    is_tag_cut: bool = derived(False, of="coinbase_tag")
    """`coinbase_tag` was longer than MAX_TAG_SIZE bytes and has lost its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumConfig:
    """What miners connect to."""

    listen: tuple[Address, ...] = option(
        ADDRESSES, ["[::]:3333"], "Stratum V1, plain; [] switches it off; [::] also takes IPv4.")
    tls_listen: tuple[Address, ...] = option(ADDRESSES, [], "Stratum V1 over TLS, conventionally port 4333.")
    tls_cert: Path = option(
        PATH, "fullchain.pem", "Certificate chain for tls_listen and any_listen.", on_reload=Effect.NEWCOMERS)
    tls_key: Path = option(
        PATH, "privkey.pem", "Private key for tls_listen and any_listen.", on_reload=Effect.NEWCOMERS)
    sv2_listen: tuple[Address, ...] = option(
        ADDRESSES, ["[::]:34254"], "Stratum V2, warp profile; needs sv2_static_priv_key_hex in secrets.toml.")
    sv2_spec_listen: tuple[Address, ...] = option(ADDRESSES, [], "Stratum V2, spec profile.")
    any_listen: tuple[Address, ...] = option(
        ADDRESSES, [], "V1, V1 over TLS and V2 (warp) on one port, told apart by their first bytes; needs what "
        "tls_listen and sv2_listen need.")
    proxy_from: tuple[Net, ...] = option(
        NETS, [], "Proxies: from there each connection must begin with a PROXY header (v1 or v2), and is that of the "
        "address in it; from elsewhere a header is refused.", on_reload=Effect.NEWCOMERS)
    extranonce2_size: int = option(
        either(4, 8), 8, "Bytes of extranonce that a Stratum V1 miner rolls; some count wrong with any other size.")
    workers: int = option(
        whole(1, 32), 1, "Worker threads: 1 costs least per share, 2 tell thousands of miners sooner.")
    max_connections: int = option(
        whole(0, 1_000_000), 0, "0: what the file-descriptor limit allows.", on_reload=Effect.NEWCOMERS)
    max_per_ip: int = option(
        whole(-1, 1_000_000), -1, "Connections from one address (IPv6: from one /64); 0: no limit; -1: half of "
        "max_connections but at least 1000, and loopback is not counted.", on_reload=Effect.NEWCOMERS)
    idle_timeout_s: int = option(
        whole(1, 86_400), 600,
        "Seconds without an accepted share, or a channel (V2), before a miner is let go; slow ones have longer.",
        on_reload=Effect.NEWCOMERS)

    @property
    def has_tls(self) -> bool:
        """Whether a certificate is needed."""
        return bool(self.tls_listen or self.any_listen)


@dataclass(frozen=True, slots=True, kw_only=True)
class DifficultyConfig:
    """How hard shares are; the network's difficulty wins over all of these."""

    start: Decimal = option(
        DIFFICULTY, Decimal("1024.0"), "For a miner that declares no hash rate.", on_reload=Effect.NEWCOMERS)
    min: Decimal = option(DIFFICULTY, Decimal("0.001"), "No share is easier than this.", on_reload=Effect.NEXT_JOB)
    max: Decimal = option(
        number("1e-10", "1e30", has_zero=True), 0, "No share is harder than this; 0: no limit.",
        on_reload=Effect.NEXT_JOB)
    shares_per_minute: Decimal = option(
        number("0.01", "6000"), Decimal("12.0"), "Wanted of each channel; difficulty follows its hash rate.",
        on_reload=Effect.NOW)
    max_shares_per_minute: Decimal = option(
        number("0.01", "1e6", has_zero=True), 600, "More from one channel make it harder, over fd=, d= and max; where "
        "it is not set, at least 3 x shares_per_minute; 0: no limit.", on_reload=Effect.NOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """A Bitcoin node: one or more; the best tip of all is mined, and blocks go to all."""

    source: str = option(
        choice("rpc", "regtest", later="tdp"), "rpc", "rpc, or regtest: an embedded chain, needs the extra [regtest].")
    url: str = option(NODE_URL, "http://127.0.0.1:8332", "Where the node answers RPC.", on_reload=Effect.NOW)
    cookie_file: Path = option(
        PATH, "/var/lib/bitcoind/.cookie", "The node's cookie; read anew when it changes.", on_reload=Effect.NOW)
    user: str = option(
        text(), "", "RPC user, instead of the cookie; the password is the next of node_passwords in secrets.toml.",
        on_reload=Effect.NOW)
    password: str = derived("", of="user", is_secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    """The books."""

    url: str = option(
        text("sqlite:///FILE", 4096), "sqlite:///shares.db", "Where the books are kept; relative to data_dir.")
    durability: str = option(
        choice("commit", "none"), "commit", "commit: a share is answered once it is on the disk; none: at once.",
        on_reload=Effect.NOW)
    path: Path = derived(Path("shares.db"), of="url")
    """The SQLite file of `url`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The journal."""

    level: str = option(
        choice("debug", "info", "warning", "error"), "info", "The least that is logged.", on_reload=Effect.NOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """secrets.toml, which nobody but the daemon reads."""

    sv2_static_priv_key: bytes | None = option(
        KEY, None, "The pool's static key, as warppool-keygen prints it; needed for sv2_listen and any_listen.",
        key="sv2_static_priv_key_hex", is_secret=True)
    node_passwords: tuple[str, ...] = option(
        TEXTS, [], "One for each [[node]] that has a user, in their order.", is_secret=True, on_reload=Effect.NOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All that the daemon is told: checked, typed, with every path absolute."""

    pool: PoolConfig
    stratum: StratumConfig
    difficulty: DifficultyConfig
    nodes: tuple[NodeConfig, ...]
    ledger: LedgerConfig
    log: LogConfig
    secrets: Secrets


SECTIONS: Final[dict[str, type[Any]]] = {
    "pool": PoolConfig,
    "stratum": StratumConfig,
    "difficulty": DifficultyConfig,
    "node": NodeConfig,
    "ledger": LedgerConfig,
    "log": LogConfig,
}

POOL_FORM: Final = Form("warppool.toml", SECTIONS, many="node", secrets=Secrets)

TRANSLATOR_MARK: Final = "upstream"
"""The section that a translator's file has and a pool's has not: by it commands know which one they are given."""

UNSERVED_LISTENERS: Final = ("sv2_spec_listen",)
"""Keys of [stratum] that are read and checked, but that no code serves yet."""
