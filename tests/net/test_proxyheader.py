"""PROXY headers of both versions: whole, byte by byte, with anything behind them, and hostile."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.errors import BadProxyHeader
from warppool.net.proxyheader import (
    FIRST_MESSAGE_DEADLINE_S,
    MAX_V1,
    MAX_V2,
    V2_OPENS,
    Announcement,
    ProxyHeader,
    opens_proxy_header,
    read_proxy_header,
)
from warppool.transport import Recognised

LONGEST = b"PROXY UNKNOWN " + b"f" * (MAX_V1 - 16) + b"\r\n"


def v2(command: int, family: int, block: bytes, size: int | None = None) -> bytes:
    return V2_OPENS + bytes((command, family)) + (len(block) if size is None else size).to_bytes(2, "big") + block


def pair(source: str, target: str, source_port: int, target_port: int) -> bytes:
    return b"".join((ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed,
                     source_port.to_bytes(2, "big"), target_port.to_bytes(2, "big")))


IP4 = pair("192.0.2.1", "198.51.100.2", 56324, 3333)
IP6 = pair("2001:db8::1", "2001:db8::2", 56324, 3333)
UNIX = b"/run/source".ljust(108, b"\0") + b"/run/target".ljust(108, b"\0")
TLVS = b"\x01\x00\x02h2\x02\x00\x04pool\x04\x00\x03\0\0\0"

HEADERS = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 3333\r\n", "192.0.2.1", 56324),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65535),
    (b"PROXY TCP6 2001:db8::1 2001:DB8::2 0 3333\r\n", "2001:db8::1", 0),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1", 1),
    (b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
    (b"PROXY UNKNOWN\r\n", "", 0),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "", 0),
    (LONGEST, "", 0),
    (v2(0x21, 0x11, IP4), "192.0.2.1", 56324),
    (v2(0x21, 0x11, IP4 + TLVS), "192.0.2.1", 56324),
    (v2(0x21, 0x10, IP4), "192.0.2.1", 56324),
    (v2(0x21, 0x21, IP6), "2001:db8::1", 56324),
    (v2(0x21, 0x21, pair("::ffff:192.0.2.1", "::1", 7, 8) + TLVS), "192.0.2.1", 7),
    (v2(0x21, 0x31, UNIX), "", 0),
    (v2(0x21, 0x00, b""), "", 0),
    (v2(0x21, 0x01, TLVS), "", 0),
    (v2(0x21, 0x11, IP4 + bytes(MAX_V2 - 16 - len(IP4))), "192.0.2.1", 56324),
]
LOCALS = [v2(0x20, 0x00, b""), v2(0x20, 0x11, IP4), v2(0x20, 0xFF, b"junk"), v2(0x20, 0x11, b"\0")]


@pytest.mark.parametrize(("header", "host", "port"), HEADERS)
def test_a_header_says_who_comes(header: bytes, host: str, port: int) -> None:
    assert read_proxy_header(header) == Announcement(len(header), host, port)


@pytest.mark.parametrize("header", LOCALS)
def test_a_health_check_says_that_it_is_one(header: bytes) -> None:
    assert read_proxy_header(header) == Announcement(len(header), is_local=True)


@pytest.mark.parametrize("header", [*(header for header, _, _ in HEADERS), *LOCALS])
def test_a_header_is_awaited_byte_by_byte_and_what_follows_is_left(header: bytes) -> None:
    for end in range(len(header)):
        assert read_proxy_header(header[:end]) is None
    whole = read_proxy_header(header)
    for behind in (b"{", b'{"id": 1}\n', header, b"\r\n", b"\x16\x03\x01", bytes(5000)):
        assert read_proxy_header(header + behind) == whole
    assert opens_proxy_header(header)


@pytest.mark.parametrize("line", [
    "PROXY TCP4 192.0.2.1 198.51.100.2 56324 3333\n",
    "PROXY\r\n",
    "PROXY \r\n",
    "PROXY TCP4\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 56324 3333 \r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 56324 3333 1\r\n",
    "PROXY  TCP4 192.0.2.1 198.51.100.2 56324 3333\r\n",
    "PROXY TCP4 192.0.2.1  198.51.100.2 56324 3333\r\n",
    "PROXY TCP4\t192.0.2.1 198.51.100.2 56324 3333\r\n",
    "PROXY TCP5 192.0.2.1 198.51.100.2 56324 3333\r\n",
    "PROXY UDP4 192.0.2.1 198.51.100.2 56324 3333\r\n",
    "PROXY unknown\r\n",
    "PROXY TCP4 192.0.2 198.51.100.2 56324 3333\r\n",
    "PROXY TCP4 192.0.2.01 198.51.100.2 56324 3333\r\n",
    "PROXY TCP4 192.0.2.256 198.51.100.2 56324 3333\r\n",
    "PROXY TCP4 localhost 198.51.100.2 56324 3333\r\n",
    "PROXY TCP4 2001:db8::1 198.51.100.2 56324 3333\r\n",
    "PROXY TCP4 192.0.2.1 2001:db8::1 56324 3333\r\n",
    "PROXY TCP6 192.0.2.1 198.51.100.2 56324 3333\r\n",
    "PROXY TCP6 fe80::1%eth0 2001:db8::2 56324 3333\r\n",
    "PROXY TCP6 2001:db8::1/64 2001:db8::2 56324 3333\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 65536 3333\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 56324 99999999999999999999\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 -1 3333\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 +1 3333\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 007 3333\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 0x10 3333\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2  3333\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.2 1_0 3333\r\n",
    "PROXY TCP4 192.0.2.\u0661 198.51.100.2 1 3333\r\n",
    "PROXY UNKNOWN " + "f" * (MAX_V1 - 15) + "\r\n",
    "PROXY UNKNOWN" + "f" * 200,
    "PROXYTCP4 192.0.2.1 198.51.100.2 56324 3333\r\n",
    "proxy TCP4 192.0.2.1 198.51.100.2 56324 3333\r\n",
    " PROXY TCP4 192.0.2.1 198.51.100.2 56324 3333\r\n",
    '{"id": 1}\n',
])
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(BadProxyHeader):
        read_proxy_header(line.encode())


@pytest.mark.parametrize("header", [
    v2(0x11, 0x11, IP4),
    v2(0x22, 0x11, IP4),
    v2(0x2F, 0x11, IP4),
    v2(0x01, 0x11, IP4),
    v2(0x21, 0x12, IP4),                            # datagrams, on a stream
    v2(0x21, 0x1F, IP4),
    v2(0x21, 0x41, IP4),
    v2(0x21, 0xF1, IP4),
    v2(0x21, 0x11, IP4[:-1]),
    v2(0x21, 0x11, b""),
    v2(0x21, 0x21, IP4),
    v2(0x21, 0x21, IP6[:-1]),
    v2(0x21, 0x31, UNIX[:-1]),
    v2(0x21, 0x11, IP4, MAX_V2 - 15),
    v2(0x20, 0x00, b"", 0xFFFF),
    V2_OPENS[:-1] + b"\r",
    b"\r\n\r\n{",
    b"\x16\x03\x01",
    b"\x20\x00",
])
def test_other_bytes_are_refused_as_soon_as_they_tell(header: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        read_proxy_header(header)


def test_what_is_wrong_is_said_before_the_end() -> None:
    with pytest.raises(BadProxyHeader):
        read_proxy_header(v2(0x21, 0x11, b"", 0x7FFF))          # its 32 KiB are not awaited
    with pytest.raises(BadProxyHeader):
        read_proxy_header(V2_OPENS + b"\x31")
    with pytest.raises(BadProxyHeader):
        read_proxy_header(b"PROXX")
    with pytest.raises(BadProxyHeader):
        read_proxy_header(LONGEST[:-2] + b"ff")


def outcome(data: bytes) -> tuple[Announcement | None, str]:
    try:
        return read_proxy_header(data), ""
    except BadProxyHeader as exc:
        return None, str(exc)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2_OPENS, V2_OPENS + b"\x21\x11",
                                                 V2_OPENS + b"\x20"]))
def test_anything_is_read_awaited_or_refused(data: bytes, front: bytes) -> None:
    data = front + data
    header, words = outcome(data)
    assert re.fullmatch(r"[A-Za-z0-9 ,]*", words)               # nothing of the peer's goes to the log
    if words:
        return
    if header is None:
        assert len(data) < MAX_V2
        return
    assert header.size <= len(data) and 0 <= header.port <= 65535
    assert not header.host or ipaddress.ip_address(header.host)
    assert read_proxy_header(data[:header.size]) == header
    assert read_proxy_header(data[:header.size - 1]) is None


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=40))
def test_both_versions_say_the_same(source: ipaddress.IPv4Address | ipaddress.IPv6Address,
                                    target: ipaddress.IPv4Address | ipaddress.IPv6Address, source_port: int,
                                    target_port: int, behind: bytes) -> None:
    if source.version != target.version:
        target = source
    text = f"PROXY TCP{source.version} {source} {target} {source_port} {target_port}\r\n".encode()
    binary = v2(0x21, 0x11 if source.version == 4 else 0x21, pair(str(source), str(target), source_port, target_port))
    one, other = read_proxy_header(text + behind), read_proxy_header(binary + behind)
    assert one is not None and other is not None
    assert (one.host, one.port) == (other.host, other.port) and one.port == source_port
    assert ipaddress.ip_address(one.host) in (source, getattr(source, "ipv4_mapped", None))


# --- the transport ----------------------------------------------------------------------------------------------------

LINE = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 3333\r\n"


@pytest.mark.parametrize("header", [LINE, v2(0x21, 0x21, IP6 + TLVS)])
@pytest.mark.parametrize("behind", [b"", b"{", LINE, b"\x16\x03\x01"])
def test_the_transport_hands_on_what_stands_behind_the_header_wherever_it_is_cut(header: bytes, behind: bytes) -> None:
    for cut in range(1, len(header)):
        transport = ProxyHeader("sv2", 100.0)
        assert transport.open(header[:cut], 101.0) == b""
        assert transport.recognised is None and transport.end is None and transport.pending == cut
        assert transport.wakes_at == 100.0 + FIRST_MESSAGE_DEADLINE_S           # bytes buy no time
        assert transport.open(header[cut:] + behind, 102.0) == b""
        assert transport.recognised == Recognised("sv2", behind, "[2001:db8::1]:56324", "2001:db8::1", 100.0)
        assert transport.wakes_at == float("inf")


def test_a_second_header_is_the_next_transports_to_refuse() -> None:
    transport = ProxyHeader("any", 0.0)
    transport.open(LINE * 2, 0.0)
    assert transport.recognised == Recognised("any", LINE, "[2001:db8::1]:56324", "2001:db8::1", 0.0)


def test_where_the_header_names_no_address_the_real_one_stays() -> None:
    transport = ProxyHeader("sv1", 0.0)
    transport.open(b"PROXY UNKNOWN\r\n", 0.0)
    assert transport.recognised == Recognised("sv1", b"", None, "", 0.0)


def test_a_trickled_header_is_late() -> None:
    transport = ProxyHeader("sv1", 0.0)
    for second in range(9):
        transport.open(LINE[second:second + 1], float(second))
        transport.tick(float(second))
        assert transport.end is None
    transport.tick(FIRST_MESSAGE_DEADLINE_S)
    assert transport.end is not None and transport.end.is_peers_fault
    assert transport.end.reason == "no PROXY header within 10 s"


@pytest.mark.parametrize("data", [b'{"id": 1}\n', b"\x16", b"\x20\x00", b"PROXY TCP4 x\r\n"])
def test_a_proxy_without_its_header_is_refused_with_the_cure(data: bytes) -> None:
    transport = ProxyHeader("sv1", 0.0)
    transport.open(data, 0.0)
    assert transport.end is not None and transport.end.is_peers_fault and transport.recognised is None
    assert "stratum.proxy_from" in transport.end.reason and transport.pending == 0


@pytest.mark.parametrize("header", LOCALS)
def test_a_health_check_ends_in_peace(header: bytes) -> None:
    transport = ProxyHeader("sv1", 0.0)
    transport.open(header, 0.0)
    assert transport.recognised is None and transport.end is None
    transport.tick(FIRST_MESSAGE_DEADLINE_S)
    assert transport.end is not None and not transport.end.is_peers_fault
    assert transport.seal(b"") == transport.shut() == b""


@pytest.mark.parametrize("header", LOCALS)
def test_a_health_check_that_speaks_is_served_under_the_proxys_own_address(header: bytes) -> None:
    transport = ProxyHeader("sv1", 0.0)
    transport.open(header, 0.0)
    transport.open(b"{", 1.0)
    assert transport.recognised == Recognised("sv1", b"{", None, "", 0.0)


def test_the_numbers_are_those_of_the_specification() -> None:
    assert bytes.fromhex("0d0a0d0a000d0a515549540a") == V2_OPENS and MAX_V1 == 107
    assert MAX_V2 == 4096           # ours; the format allows 65,551
    assert FIRST_MESSAGE_DEADLINE_S == 10.0
