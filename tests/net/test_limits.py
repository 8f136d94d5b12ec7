"""The connection cap and the limit of open files."""

from __future__ import annotations

import resource

import pytest

from tests.net.conftest import LogLines
from warppool.addresses import parse_net
from warppool.errors import ConfigError
from warppool.net.limits import RESERVED_FDS, connection_cap, is_loopback, origin_of, per_ip_cap


@pytest.mark.parametrize(("soft", "configured", "cap"), [
    (1024, 0, 1024 - RESERVED_FDS), (1024, 100, 100), (1024, 1024 - RESERVED_FDS, 1024 - RESERVED_FDS),
    (10, 0, 1), (10, 5, 1), (resource.RLIM_INFINITY, 0, 1 << 20), (resource.RLIM_INFINITY, 5, 5)])
def test_the_cap_fits_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch, soft: int, configured: int,
                                              cap: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert connection_cap(configured) == cap


def test_a_connection_that_brings_another_takes_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert connection_cap(0, fds_each=2) == (1024 - RESERVED_FDS) // 2


def test_what_the_web_may_take_is_kept_back_from_miners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert connection_cap(0, besides=76) == 1024 - RESERVED_FDS - 76
    assert connection_cap(0, fds_each=2, besides=76) == (1024 - RESERVED_FDS - 76) // 2
    assert connection_cap(0, besides=2000) == 1


def test_a_cap_that_cannot_be_had_is_lowered_and_said(monkeypatch: pytest.MonkeyPatch, log_lines: LogLines) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert connection_cap(5000) == 1024 - RESERVED_FDS
    assert log_lines.having("event=limit.lowered max_connections=5000 possible=960")
    assert connection_cap(960) == 960
    assert connection_cap(0) == 960
    assert len(log_lines.having("limit.lowered")) == 1


@pytest.mark.parametrize(("configured", "max_connections", "cap"), [
    (-1, 960, 1000), (-1, 10_000, 5000), (-1, 2002, 1001), (0, 10_000, 0), (7, 10_000, 7)])
def test_one_address_has_half_of_all_but_at_least_a_thousand(configured: int, max_connections: int, cap: int) -> None:
    assert per_ip_cap(configured, max_connections) == cap


@pytest.mark.parametrize(("ip", "origin"), [
    ("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
    ("2001:db8:1:3::1", "2001:db8:1:3::/64"), ("fe80::1%eth0", "fe80::/64")])
def test_of_ipv6_the_network_counts(ip: str, origin: str) -> None:
    assert origin_of(ip) == origin


def test_loopback_is_known() -> None:
    assert [is_loopback(ip) for ip in ("127.0.0.1", "127.8.8.8", "::1", "192.0.2.127", "::2")] == [
        True, True, True, False, False]


@pytest.mark.parametrize(("text", "net"), [
    ("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32"), ("2001:db8::/32", "2001:db8::/32"), ("::1", "::1/128"),
    ("0.0.0.0/0", "0.0.0.0/0"), ("10.0.0.0/255.0.0.0", "10.0.0.0/8"), ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ("::ffff:192.0.2.7", "192.0.2.7/32"), ("::/0", "::/0")])
def test_nets(text: str, net: str) -> None:
    assert str(parse_net(text)) == net


@pytest.mark.parametrize(("text", "words"), [
    ("10.0.0.1/8", "'10.0.0.1/8' names an address within a net: write \"10.0.0.0/8\" for the net, or \"10.0.0.1\" for"),
    ("2001:db8::1/32", 'write "2001:db8::/32" for the net'),
    ("10.0.0.0/33", "'10.0.0.0/33' is no net: write one such as \"10.0.0.0/8\""),
    ("proxy.example", "is no net"), ("", "is no net"), ("10.0.0.0/8 ", "is no net"), ("[::1]", "is no net")])
def test_what_is_no_net_is_refused_with_the_cure(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_net(text)
    assert words in str(caught.value) and "\n" not in str(caught.value)
