"""The PROXY protocol: the header in which a proxy says whose connection it hands on.

Version 1 is one line of text, version 2 is binary. A header stands once, in front of everything else that comes on a
connection, TLS included. It is believed where it comes from a proxy that the operator names, and nowhere else.

Source: HAProxy, "The PROXY protocol", versions 1 and 2, of 2020/03/05; docs/decisions.rst#decision-proxy.
"""

from __future__ import annotations

import ipaddress
import math
from typing import Final, NamedTuple

from warppool.addresses import format_address
from warppool.errors import BadProxyHeader
from warppool.transport import NOTHING, Recognised, Sealed, TransportEnd

FIRST_MESSAGE_DEADLINE_S: Final = 10.0
"""Seconds within which a header is whole, and within which first bytes tell a protocol; a proxy sends its header at
once, and a miner speaks first."""

FORGED: Final = "a PROXY header from an address that is not in stratum.proxy_from: add it, if it is your proxy's"
"""Said on ports that know what such a header is; on others it is what it looks like there."""

V1_OPENS: Final = b"PROXY "
V2_OPENS: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""The first bytes of the two versions. No other protocol that comes to a mining port begins with either."""

MAX_V1: Final = 107
"""Bytes of the longest header of version 1, with its CRLF (source: §2.1)."""

MAX_V2: Final = 4096
"""Bytes of the longest header of version 2 that is taken. The format allows 65,551; addresses and what proxies add
(TLVs, such as the name that a TLS client asked for, or its certificate's) have some 600."""

_V2_FIXED = 16                  # signature, command, family, length of what follows
_ADDRESS_SIZES = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}       # bytes by family: none, IPv4, IPv6, Unix


class Announcement(NamedTuple):
    """A whole header of `size` bytes. `host` is an IP address, "" where the header names none: the real one counts.

    `is_local` marks a connection of the proxy itself, which is a health check.
    """

    size: int
    host: str = ""
    port: int = 0
    is_local: bool = False


class ProxyHeader:
    """The transport of a connection from a proxy, until its header is whole: then the port's own follows.

    `kind` is that of the listener. A health check of the proxy's own (LOCAL) that says nothing else never becomes more
    than this, and ends without a fault.
    """

    __slots__ = ("_announced", "_held", "_kind", "_since", "end", "recognised", "wakes_at")

    has_news: Final = True
    peer_key: Final = None

    def __init__(self, kind: str, now: float) -> None:
        self._kind = kind
        self._since = now
        self._held = b""
        self._announced: Announcement | None = None
        self.wakes_at = now + FIRST_MESSAGE_DEADLINE_S
        self.end: TransportEnd | None = None
        self.recognised: Recognised | None = None

    @property
    def pending(self) -> int:
        """Bytes from the wire that are held."""
        return len(self._held)

    def open(self, data: bytes, now: float) -> bytes:
        """Keep `data`; `recognised` or `end` once it is enough."""
        self._held += data
        try:
            if self._announced is None:
                self._announced = read_proxy_header(self._held)
        except BadProxyHeader as exc:
            self._end(f"{exc}, and the address is in stratum.proxy_from: let the proxy send one, or take the address "
                      "out")
            return b""
        announced = self._announced
        if announced is not None and (len(self._held) > announced.size or not announced.is_local):
            peer = format_address(announced.host, announced.port) if announced.host else None
            self.recognised = Recognised(self._kind, self._held[announced.size:], peer, announced.host, self._since)
            self.wakes_at = math.inf
        return b""

    def tick(self, now: float) -> None:
        """Nothing more has come in time."""
        if now >= self.wakes_at:
            if self._announced is None:
                self._end(f"no PROXY header within {FIRST_MESSAGE_DEADLINE_S:.0f} s")
            else:
                self._end("a health check", is_peers_fault=False)

    def _end(self, reason: str, is_peers_fault: bool = True) -> None:
        self.end = TransportEnd(reason, is_peers_fault)
        self.wakes_at = math.inf
        self._held = b""

    def seal(self, plaintext: bytes) -> Sealed:
        """Nothing: the port's own transport comes later."""
        return NOTHING

    def shut(self) -> Sealed:
        """Nothing."""
        return NOTHING


def opens_proxy_header(data: bytes) -> bool:
    """Whether `data` begins with a whole signature of either version."""
    return data.startswith((V1_OPENS, V2_OPENS))


def read_proxy_header(data: bytes) -> Announcement | None:
    """Read the header at the front of `data`; None while it is not whole.

    BadProxyHeader as soon as the bytes can be no header. What follows the header is not looked at.
    """
    if V1_OPENS.startswith(data[:len(V1_OPENS)]):
        return _read_text(data)
    if V2_OPENS.startswith(data[:len(V2_OPENS)]):
        return _read_binary(data)
    raise BadProxyHeader("no PROXY header")


# --- version 1 --------------------------------------------------------------------------------------------------------

def _read_text(data: bytes) -> Announcement | None:
    """`PROXY TCP4 192.0.2.1 192.0.2.2 56324 3333` and CRLF; single blanks, and nothing else."""
    end = data.find(b"\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1:
            raise BadProxyHeader(f"no end of a PROXY line within {MAX_V1} bytes")
        return None
    if data[end - 1:end] != b"\r":
        raise BadProxyHeader("a PROXY line without CR before its LF")
    try:
        words = data[:end - 1].decode("ascii").split(" ")
    except UnicodeDecodeError as exc:
        raise BadProxyHeader("a PROXY line that is no ASCII") from exc
    if words[1] == "UNKNOWN":                   # whatever stands behind it is to be ignored
        return Announcement(end + 1)
    if words[1] not in ("TCP4", "TCP6") or len(words) != 6:
        raise BadProxyHeader("a PROXY line of another form")
    version = int(words[1][-1])
    host, port = _address(words[2], version), _port(words[4])
    _address(words[3], version)
    _port(words[5])
    return Announcement(end + 1, host, port)


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as exc:
        raise BadProxyHeader("a PROXY line whose address is none") from exc
    if address.version != version or "%" in text:
        raise BadProxyHeader("a PROXY line whose address is of another family")
    return _plain(address)


def _port(text: str) -> int:
    is_number = text.isdigit() and len(text) <= 5 and (text == "0" or text[0] != "0")
    if not is_number or int(text) > 65535:
        raise BadProxyHeader("a PROXY line whose port is none")
    return int(text)


# --- version 2 --------------------------------------------------------------------------------------------------------

def _read_binary(data: bytes) -> Announcement | None:
    """Signature, version and command, family and transport, U16 big-endian length; then addresses and TLVs."""
    at = len(V2_OPENS)
    if len(data) > at and data[at] not in (0x20, 0x21):
        raise BadProxyHeader("a PROXY header of another version or command")
    if len(data) < _V2_FIXED:
        return None
    is_local = data[at] == 0x20
    length = int.from_bytes(data[at + 2:_V2_FIXED], "big")
    size = _V2_FIXED + length
    if size > MAX_V2:
        raise BadProxyHeader(f"a PROXY header of {size} bytes, {MAX_V2} are allowed")
    family, transport = data[at + 1] >> 4, data[at + 1] & 0x0F
    if not is_local:                            # LOCAL: family and what follows are to be ignored
        if family not in _ADDRESS_SIZES or transport > 1:
            raise BadProxyHeader("a PROXY header of another family or transport")
        if length < _ADDRESS_SIZES[family]:
            raise BadProxyHeader("a PROXY header that ends within its addresses")
    if len(data) < size:
        return None
    if is_local:
        return Announcement(size, is_local=True)
    if family not in (0x1, 0x2):                # nobody's, or a Unix socket's: there is no IP address
        return Announcement(size)
    return _with_addresses(data[_V2_FIXED:size], size, 4 if family == 0x1 else 16)


def _with_addresses(block: bytes, size: int, width: int) -> Announcement:
    """Source, destination, source port, destination port; addresses of `width` bytes, ports U16 big-endian."""
    address = ipaddress.ip_address(block[:width])
    return Announcement(size, _plain(address), int.from_bytes(block[2 * width:2 * width + 2], "big"))


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The text of an address; an IPv4 address within IPv6 is the IPv4 address, so that one machine has one name."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
