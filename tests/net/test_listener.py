"""Listening sockets: addresses, what the kernel refuses, IPv4 and IPv6."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

import pytest

from tests.net.conftest import LogLines
from warppool.errors import ConfigError, NotNow
from warppool.net import listener as module
from warppool.net.listener import listen

try:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
    HAS_IPV6 = True
except OSError:
    HAS_IPV6 = False
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")


def test_a_taken_port_names_the_key_and_what_to_do() -> None:
    first = listen("sv2", "127.0.0.1:0", "stratum.sv2_listen")
    try:
        with pytest.raises(NotNow) as caught:           # an old connection may hold it, and lets it go
            listen("v1", f"127.0.0.1:{first.port}", "stratum.listen")
        assert str(caught.value) == (
            f"stratum.listen: port {first.port} of 127.0.0.1:{first.port} is taken by another program, or by "
            f"an outgoing connection (`ss -tanp sport = :{first.port}` names it): stop that one or choose another port")
    finally:
        first.sock.close()


@pytest.mark.parametrize(("number", "kind", "words"), [
    (errno.EACCES, ConfigError, "CAP_NET_BIND_SERVICE"), (errno.EADDRNOTAVAIL, NotNow, "no address 127.0.0.1"),
    (errno.EMFILE, ConfigError, "LimitNOFILE="), (errno.EAFNOSUPPORT, ConfigError, "no IPv6"),
    (errno.EINVAL, ConfigError, os.strerror(errno.EINVAL))])
def test_what_the_kernel_refuses_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, number: int,
                                                   kind: type[Exception], words: str) -> None:
    monkeypatch.setattr(socket.socket, "bind", _refusing(number))
    with pytest.raises(kind, match=r"^stratum\.listen: ") as caught:
        listen("v1", "127.0.0.1:80", "stratum.listen")
    assert words in str(caught.value)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(NotNow, match=r"this machine has no address 192\.0\.2\.1"):
        listen("v1", "192.0.2.1:0", "stratum.listen")


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_without_ipv6_the_port_is_served_on_ipv4(monkeypatch: pytest.MonkeyPatch, log_lines: LogLines,
                                                 number: int) -> None:
    monkeypatch.setattr(module, "_bound", _without_ipv6(module._bound, number))
    opened = listen("v1", "[::]:0", "stratum.listen")
    try:
        assert opened.address == f"0.0.0.0:{opened.port}"
        assert "key=stratum.listen" in log_lines.having("event=listener.narrowed")[0]
    finally:
        opened.sock.close()


def test_the_fall_back_to_ipv4_may_fail_too(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = listen("sv2", "0.0.0.0:0", "stratum.sv2_listen")
    monkeypatch.setattr(module, "_bound", _without_ipv6(module._bound, errno.EAFNOSUPPORT))
    try:
        with pytest.raises(NotNow, match=f"stratum.listen: port {taken.port} of 0.0.0.0:{taken.port} is taken"):
            listen("v1", f"[::]:{taken.port}", "stratum.listen")
    finally:
        taken.sock.close()


def test_one_ipv6_address_does_not_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_bound", _without_ipv6(module._bound, errno.EAFNOSUPPORT))
    with pytest.raises(ConfigError, match="cannot listen on"):
        listen("v1", "[::1]:0", "stratum.listen")


@needs_ipv6
@pytest.mark.parametrize(("address", "hosts"), [
    ("[::]:0", {"127.0.0.1", "::1"}), ("0.0.0.0:0", {"127.0.0.1"}), ("[::1]:0", {"::1"})])
def test_who_gets_in(address: str, hosts: set[str]) -> None:
    opened = listen("v1", address, "stratum.listen")
    try:
        for host in ("127.0.0.1", "::1"):
            try:
                socket.create_connection((host, opened.port), 10).close()
            except ConnectionRefusedError:
                assert host not in hosts
            else:
                assert host in hosts
    finally:
        opened.sock.close()


def test_what_is_accepted_has_the_options_of_the_listener() -> None:
    opened = listen("v1", "127.0.0.1:0", "stratum.listen")
    try:
        opened.sock.setblocking(True)
        with socket.create_connection(("127.0.0.1", opened.port), 10), opened.sock.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    finally:
        opened.sock.close()


def _refusing(number: int) -> Callable[..., None]:
    def bind(*_: object) -> None:
        raise OSError(number, os.strerror(number))
    return bind


def _without_ipv6(real: Callable[[str, int], socket.socket], number: int) -> Callable[[str, int], socket.socket]:
    def bound(host: str, port: int) -> socket.socket:
        if ":" in host:
            raise OSError(number, os.strerror(number))
        return real(host, port)
    return bound
