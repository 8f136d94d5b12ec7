"""Where things are, as people write it: an address to listen on, the URL of a node, the URL of a pool.

Here texts are only read and checked: no name is looked up, and nothing is opened.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from warppool.authority import authority_key_text, parse_authority_key
from warppool.errors import ConfigError

Net = ipaddress.IPv4Network | ipaddress.IPv6Network


class Address(NamedTuple):
    """Where a listener listens: an IP address and a port; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)


def parse_address(text: str, key: str) -> tuple[str, int]:
    """Split `host:port` or `[v6]:port` into (IP address, port 0..65535); ConfigError names `key`."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise ConfigError(f'{key} holds {text!r}: it takes an address with a port of 0 to 65535, such as "[::]:3333"')
    is_bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if is_bracketed else host)
    except ValueError:
        raise ConfigError(f'{key} holds {text!r}: it takes an IP address and no name, such as "[::]:3333" or '
                          '"0.0.0.0:3333"') from None
    if is_bracketed != (address.version == 6):
        raise ConfigError(f"{key} holds {text!r}: an IPv6 address stands in brackets, and no other does")
    return str(address), int(port)


def format_address(host: str, port: int) -> str:
    """`host:port`, with brackets around IPv6 and without the prefix of an IPv4 address that came in over IPv6."""
    return _host_port(plain_ip(host), port)


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain_ip(host: str) -> str:
    """`192.0.2.1` for `::ffff:192.0.2.1`, anything else as it is: one machine has one name, whichever socket it met."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def parse_net(text: str) -> Net:
    """`10.0.0.0/8`, `2001:db8::/32`, or one address; ConfigError says what is wrong with `text`, and the cure.

    A net of IPv4 addresses within IPv6 becomes the net of IPv4, as their addresses do (`plain_ip`).
    """
    try:
        net = ipaddress.ip_network(text)
    except ValueError:
        try:
            wider = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ConfigError(f'{text!r} is no net: write one such as "10.0.0.0/8", "192.0.2.7" or "2001:db8::/32"'
                              ) from None
        raise ConfigError(f'{text!r} names an address within a net: write "{wider}" for the net, or '
                          f'"{text.partition("/")[0]}" for the address') from None
    mapped = net.network_address.ipv4_mapped if isinstance(net, ipaddress.IPv6Network) else None
    return net if mapped is None or net.prefixlen < 96 else ipaddress.IPv4Network((mapped, net.prefixlen - 96))


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node listens; `path` is `/` for a bare node and something else behind a proxy."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> NodeAddress:
        """Take `http://HOST:PORT` apart; ConfigError says what is wrong with any other text."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise ConfigError(f"node.url is {url!r}, which is no URL: {exc}") from exc
        if parts.scheme != "http":
            raise ConfigError(f"node.url is {url!r}; it must begin with http:// (nodes speak no TLS)")
        if parts.username is not None or parts.password is not None:
            raise ConfigError("node.url carries a user or password; they belong in node.user and secrets.toml")
        if not parts.hostname or port is None:
            raise ConfigError(f"node.url is {url!r}; it must name host and port, as http://127.0.0.1:8332")
        return cls(parts.hostname, port, parts.path or "/")

    def __str__(self) -> str:
        return _host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class PoolUrl:
    """`stratum2+tcp://HOST:PORT/KEY`, `stratum+tcp://HOST:PORT` or `stratum+tls://HOST:PORT`.

    The key in the URL says which profile of Stratum V2 the pool speaks there. `public_key` is the pool's static key of
    `warp`, as 64 hex digits; `authority_key` that of its authority in the published profile, as Base58. Each has 32
    bytes, and is b"" in other URLs.
    """

    host: str
    port: int
    public_key: bytes
    is_tls: bool = False
    authority_key: bytes = b""

    @classmethod
    def parse(cls, text: str) -> PoolUrl:
        """Read the URL; ConfigError says what it takes."""
        parts, host, port, public_key, authority_key = _take_apart(text, _SHAPE)
        is_v2 = bool(public_key or authority_key)
        if not _is_pool(parts) or is_v2 != _is_v2(parts):
            raise ConfigError(f"{text!r}: {_SHAPE}")
        return cls(host, port, public_key, parts.scheme in _TLS, authority_key)

    @property
    def pin(self) -> bytes:
        """What the handshake holds the pool to, 32 bytes; b"" for V1, which has none."""
        return self.public_key or self.authority_key

    @property
    def profile(self) -> str:
        """The name of the profile that is spoken there; "" for V1."""
        return "warp" if self.public_key else "spec" if self.authority_key else ""

    @property
    def place(self) -> str:
        """`HOST:PORT`, for people."""
        return _host_port(self.host, self.port)

    def __str__(self) -> str:
        if self.pin:
            key = self.public_key.hex() if self.public_key else authority_key_text(self.authority_key)
            return f"stratum2+tcp://{self.place}/{key}"
        return f"stratum+{'tls' if self.is_tls else 'tcp'}://{self.place}"


@dataclass(frozen=True, slots=True)
class ProviderUrl:
    """`stratum2+tcp://HOST:PORT/KEY` of a template provider, or the same without a key.

    `pin` (32 bytes) is what the handshake holds the provider to, and `profile` the name of the profile that goes with
    such a key, as in a pool's URL; b"" and "" where there is none, and the provider may be anybody.
    """

    host: str
    port: int
    pin: bytes
    profile: str

    @classmethod
    def parse(cls, text: str) -> ProviderUrl:
        """Read the URL; ConfigError says what it takes."""
        parts, host, port, public_key, authority_key = _take_apart(text, _PROVIDER_SHAPE)
        if not _is_v2(parts) or parts.query or parts.fragment or "@" in parts.netloc:
            raise ConfigError(f"{text!r}: {_PROVIDER_SHAPE}")
        return cls(host, port, public_key or authority_key,
                   "warp" if public_key else "spec" if authority_key else "")

    @property
    def place(self) -> str:
        """`HOST:PORT`, for people."""
        return _host_port(self.host, self.port)


_PROVIDER_SHAPE = ("the URL of a template provider is stratum2+tcp://HOST:PORT/KEY (the key of its authority, or in "
                   "the profile warp its own as 64 hex digits)")

_TLS = ("stratum+tls", "stratum+ssl")
"""Two names for one thing: firmware writes either."""

_SHAPE = ("a pool URL is stratum2+tcp://HOST:PORT/KEY (the pool's key as 64 hex digits, or its authority's, which "
          "begins with 9), stratum+tcp://HOST:PORT, stratum+tls://HOST:PORT or stratum+ssl://HOST:PORT")


def _take_apart(text: str, shape: str) -> tuple[SplitResult, str, int, bytes, bytes]:
    """The parts of a URL, its host and port, and the keys as `_keys` reads them; ConfigError, with the `shape` that the
    URL should have, where host or port is missing or the key cannot be read.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
        public_key, authority_key = _keys(parts.path.removeprefix("/"))
    except ValueError as exc:
        why = f" (the key {exc})" if str(exc) and isinstance(exc, _BadKey) else ""
        raise ConfigError(f"{text!r}: {shape}{why}") from None
    if not parts.hostname or not port:
        raise ConfigError(f"{text!r}: {shape}")
    return parts, parts.hostname, port, public_key, authority_key


class _BadKey(ValueError):
    """The text says what is wrong with the key."""


def _keys(text: str) -> tuple[bytes, bytes]:
    """(static key, authority key) of a URL's path, of which at most one is there."""
    if not text:
        return b"", b""
    if len(text) == _HEX_KEY_LEN:
        return bytes.fromhex(text), b""
    try:
        return b"", parse_authority_key(text)
    except ValueError as exc:
        raise _BadKey(str(exc)) from None


_HEX_KEY_LEN = 64


def _is_v2(parts: SplitResult) -> bool:
    return parts.scheme == "stratum2+tcp"


def _is_pool(parts: SplitResult) -> bool:
    return parts.scheme in ("stratum2+tcp", "stratum+tcp", *_TLS)
