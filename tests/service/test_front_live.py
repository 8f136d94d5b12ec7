"""One port for all, and proxies in front of every port, on a live daemon: the machines of the lab, and who forges."""

from __future__ import annotations

import logging
import random
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import PATIENCE_S, until
from tests.peers import foreign_miner, foreign_v1
from tests.service.farm import stub_pools, translating
from tests.service.livepool import LivePool, complaints, running, tells_of_transactions
from tests.service.process import write_config
from tests.service.proxy import HEADERS, PROXY_IP, SIGNATURE, Header, binary_header, proxied, text_header
from tests.service.test_machines_live import BySocket, accepted_shares
from tests.service.test_translator import Machine
from tests.sv1.machines import Player, machines
from warppool.commands.democert import self_signed
from warppool.config.pool import read_config
from warppool.net.loglimit import LINES
from warppool.noise.primitives import public_key
from warppool.service.connector import ANY, SV1, SV1_TLS, SV2

SECRET = bytes(range(1, 33))
EASY = {"start": 1e-9, "max": 4e-9, "min": 1e-10}
SUBSCRIBE = b'{"id": 1, "method": "mining.subscribe", "params": ["lab/1"]}\n'
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


class Way(NamedTuple):
    """How a machine comes: to a port of this kind, with TLS or without, and whose header is in front."""

    kind: str
    is_tls: bool = False
    header: Header | None = None


WAYS = (Way(ANY), Way(ANY, is_tls=True),
        *(Way(kind, is_tls, header) for header in HEADERS
          for kind, is_tls in ((SV1, False), (SV1_TLS, True), (ANY, False), (ANY, True))))


def make(folder: Path, stub: StubNode, max_per_ip: int = 0) -> LivePool:
    """A pool with a port of each kind, which believes PROXY_IP."""
    certificate, key = self_signed().write(folder)
    stratum = {"listen": ["127.0.0.1:0"], "tls_listen": ["127.0.0.1:0"], "sv2_listen": ["127.0.0.1:0"],
               "any_listen": ["127.0.0.1:0"], "proxy_from": [PROXY_IP], "max_per_ip": max_per_ip,
               "tls_cert": str(certificate), "tls_key": str(key), "workers": 2}
    path = write_config(folder, secret=SECRET, node={"url": stub.url, "cookie_file": str(stub.cookie)},
                        stratum=stratum, difficulty=EASY)
    return LivePool(read_config(path, {}), stub)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as node:
        tells_of_transactions(node)
        yield node


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as closing:
        yield closing


@pytest.fixture
def pool(tmp_path: Path, stub: StubNode, stack: ExitStack) -> LivePool:
    return stack.enter_context(running(make(tmp_path, stub)))


class ByWay(BySocket):
    """A machine's way to the daemon, perhaps through a proxy."""

    numbers = count(1)

    def __init__(self, pool: LivePool, way: Way, port: int) -> None:
        self._port, self._is_tls = port, way.is_tls
        super().__init__(pool, way.kind)
        self._transactions = self.numbers           # no transaction twice, whichever way it came

    def _dialled(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._pool.tls().wrap_socket(sock, server_hostname="127.0.0.1") if self._is_tls else sock


def opened_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "event=miner.opened" in record.getMessage()]


# --- the machines of the lab ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", sorted(machines()))
def test_a_machine_mines_whichever_way_it_comes(pool: LivePool, caplog: pytest.LogCaptureFixture, name: str) -> None:
    caplog.set_level(logging.INFO)
    machine = machines()[name]
    for number, way in enumerate(WAYS):
        with ExitStack() as closing:
            port = pool.ports[way.kind]
            host = f"192.0.2.{number + 1}" if number % 2 else f"2001:db8::{number + 1}"
            if way.header is not None:
                port = closing.enter_context(proxied(port, way.header, host))
            transport = ByWay(pool, way, port)
            closing.callback(transport.close)
            Player(machine, transport).play()
            assert len(pool.booked()) == (number + 1) * accepted_shares(machine), way
            if accepted_shares(machine):
                wanted = "127.0.0.1" if way.header is None else host
                assert re.search(r" peer=\[?" + re.escape(wanted) + r"\]?:\d+ ", opened_lines(caplog)[-1] + " "), way
        until(lambda: pool.connections() == 0)
    assert [line for line in complaints(caplog.records) if "event=user.unpaid" not in line] == []


@pytest.mark.parametrize("header", [None, *HEADERS])
@pytest.mark.parametrize("kind", [SV2, ANY])
@pytest.mark.parametrize("is_extended", [False, True])
def test_a_v2_miner_that_is_not_ours_mines_whichever_way_it_comes(
        pool: LivePool, stack: ExitStack, header: Header | None, kind: str, is_extended: bool) -> None:
    port = pool.ports[kind] if header is None else stack.enter_context(proxied(pool.ports[kind], header))
    miner = foreign_miner.Connection(port, public_key(SECRET))
    stack.callback(miner.close)
    channel = miner.open("alice.v2", is_extended=is_extended)
    share = next(share for share in channel.shares() if int.from_bytes(share.hash, "little") <= channel.target)
    assert channel.submit(share) == "accepted"
    assert len(pool.booked()) == 1


# --- who comes with a header, and who may -----------------------------------------------------------------------------

class Raw:
    """A connection that sends what the test likes, from the address that the test likes."""

    def __init__(self, stack: ExitStack, port: int, source: str = PROXY_IP) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S, (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stack.callback(self.sock.close)

    def trickle(self, data: bytes) -> None:
        for byte in data:
            self.sock.sendall(bytes([byte]))
            time.sleep(0.002)

    def line(self) -> bytes:
        """The next line; b"" where the pool hung up."""
        data = b""
        while not data.endswith(b"\n"):
            try:
                more = self.sock.recv(1)
            except ConnectionResetError:
                more = b""
            if not more:
                return data
            data += more
        return data


def closed_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "event=conn.closed" in record.getMessage()]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("kind", [SV1, ANY])
def test_a_header_byte_by_byte_and_what_follows_it_in_its_segment(pool: LivePool, stack: ExitStack, header: Header,
                                                                  kind: str) -> None:
    slow, quick = Raw(stack, pool.ports[kind]), Raw(stack, pool.ports[kind])
    quick.sock.sendall(header("192.0.2.7", 1) + SUBSCRIBE)
    slow.trickle(header("192.0.2.7", 2) + SUBSCRIBE)
    assert b'"result"' in quick.line() and b'"result"' in slow.line()


@pytest.mark.parametrize("header", HEADERS)
def test_tls_begins_behind_the_header(pool: LivePool, stack: ExitStack, header: Header) -> None:
    for kind in (SV1_TLS, ANY):
        raw = Raw(stack, pool.ports[kind])
        raw.trickle(header("192.0.2.7", 2))
        with pool.tls().wrap_socket(raw.sock, server_hostname="127.0.0.1") as tls:
            tls.sendall(SUBSCRIBE)
            assert b'"result"' in tls.recv(65536)
    raw = Raw(stack, pool.ports[SV1_TLS])
    with pytest.raises((ssl.SSLError, ConnectionError)):        # a header inside of TLS is none
        pool.tls().wrap_socket(raw.sock, server_hostname="127.0.0.1")


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("kind", [SV1, SV1_TLS, SV2, ANY])
def test_a_forged_header_is_refused_on_every_port(pool: LivePool, stack: ExitStack, caplog: pytest.LogCaptureFixture,
                                                  header: Header, kind: str) -> None:
    caplog.set_level(logging.INFO)
    thief = Raw(stack, pool.ports[kind], source="127.0.0.1")
    thief.sock.sendall(header("192.0.2.66", 1) + SUBSCRIBE)
    assert b"result" not in thief.line()
    until(lambda: bool(closed_lines(caplog)))
    (line,) = closed_lines(caplog)
    assert " peer=127.0.0.1:" in line and "192.0.2.66" not in caplog.text
    if kind != SV2:                     # there it is an act of Noise, of a length that is none
        assert "a PROXY header from an address that is not in stratum.proxy_from" in line


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("kind", [SV1, ANY])
def test_a_second_header_is_data_of_the_peers(pool: LivePool, stack: ExitStack, caplog: pytest.LogCaptureFixture,
                                              header: Header, kind: str) -> None:
    caplog.set_level(logging.INFO)
    thief = Raw(stack, pool.ports[kind])
    thief.sock.sendall(header("192.0.2.7", 1) + header("192.0.2.66", 1) + SUBSCRIBE)
    assert b"result" not in thief.line()
    until(lambda: bool(closed_lines(caplog)))
    assert " peer=192.0.2.7:1 " in closed_lines(caplog)[0] and "192.0.2.66" not in caplog.text


@pytest.mark.parametrize("kind", [SV1, SV1_TLS, SV2, ANY])
def test_a_proxy_without_a_header_is_refused_with_the_cure(pool: LivePool, stack: ExitStack,
                                                           caplog: pytest.LogCaptureFixture, kind: str) -> None:
    caplog.set_level(logging.INFO)
    raw = Raw(stack, pool.ports[kind])
    raw.sock.sendall(SUBSCRIBE)
    assert raw.line() == b""
    until(lambda: bool(closed_lines(caplog)))
    assert f" peer={PROXY_IP}:" in closed_lines(caplog)[0] and "stratum.proxy_from" in closed_lines(caplog)[0]


def test_health_checks_pass_in_silence(pool: LivePool, stack: ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before = len(caplog.records)
    for kind in (SV1, SV1_TLS, SV2, ANY):
        for words in (b"", LOCAL, LOCAL[:-1]):
            raw = Raw(stack, pool.ports[kind])
            raw.sock.sendall(words)
            raw.sock.shutdown(socket.SHUT_WR)
            assert raw.line() == b""
    speaks = Raw(stack, pool.ports[SV1])
    speaks.sock.sendall(LOCAL)
    speaks.sock.sendall(SUBSCRIBE)
    assert b'"result"' in speaks.line()
    until(lambda: pool.connections() == 1)
    assert [record.getMessage() for record in caplog.records[before:] if "peer=" in record.getMessage()] == []


def test_the_limit_per_address_is_that_of_the_announced_one(tmp_path: Path, stub: StubNode, stack: ExitStack,
                                                            caplog: pytest.LogCaptureFixture) -> None:
    pool = stack.enter_context(running(make(tmp_path, stub, max_per_ip=2)))
    waiting = [Raw(stack, pool.ports[SV1]) for _ in range(10)]              # the proxy's own address has no limit
    lines = []
    for number, raw in enumerate(waiting):
        header = HEADERS[number % 2]
        raw.sock.sendall(header(f"192.0.2.{number % 4}", number + 1) + SUBSCRIBE)
        lines.append(raw.line())
    assert [bool(line) for line in lines] == [True] * 8 + [False] * 2       # two each, and two too many
    assert "event=address.refused count=1 peer=192.0.2.0 limit=2" in caplog.text
    waiting[0].sock.close()
    until(lambda: pool.connections() == 7)
    again = Raw(stack, pool.ports[ANY])
    again.sock.sendall(text_header("192.0.2.0", 99) + SUBSCRIBE)
    assert again.line()
    for number in range(2, 4):                                              # who forges takes nobody's place
        Raw(stack, pool.ports[SV1], source=f"127.0.0.{number + 1}").sock.sendall(binary_header("192.0.2.77", 1))
    victim = Raw(stack, pool.ports[SV1])
    victim.sock.sendall(binary_header("192.0.2.77", 1) + SUBSCRIBE)
    assert victim.line()


WORDS = (b"", b"\n", b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03",
         b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x20\x00" + bytes(32), b"\x20\x00" + bytes(33),
         b"\x7f\x00\x0a\x00", b"{", b"{}\n", b'{"id": 1}\n',
         b"\x03\x00\x00\x13\x0e\xe0", text_header("192.0.2.66", 1), binary_header("192.0.2.66", 1), LOCAL)
"""What scanners send, or something like it."""


def test_a_scanner_finds_nothing_and_a_neighbour_mines_on(pool: LivePool, stack: ExitStack,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    """On the port for all, straight and through the proxy, whole and in two pieces; some stay silent until the end."""
    caplog.set_level(logging.INFO)
    dice = random.Random(9)
    miner = foreign_v1.Machine(pool.ports[ANY], "alice.rig1")
    stack.enter_context(miner)
    miner.begin()
    for number in range(300):
        words = dice.choice((*WORDS, dice.randbytes(dice.choice((1, 33, 34, 35, 64, 500)))))
        if dice.random() < 0.3:
            words = dice.choice(HEADERS)("192.0.2.9", 1) + words
        raw = Raw(stack, pool.ports[ANY], dice.choice((PROXY_IP, "127.0.0.1")))
        at = dice.randrange(len(words) + 1)
        with suppress(ConnectionError):
            raw.sock.sendall(words[:at])
            raw.sock.sendall(words[at:])
            if dice.random() < 0.8:
                raw.sock.shutdown(socket.SHUT_WR)
        if number % 10 == 0:
            assert miner.submit(miner.find()) == [None]
    assert len(pool.booked()) == 30
    assert [line for line in complaints(caplog.records) if "event=user.unpaid" not in line] == []
    assert len(closed_lines(caplog)) <= LINES                # the rest is counted
    until(lambda: pool.connections() < 100)                                     # those that are silent stay a while


@pytest.mark.parametrize("header", HEADERS)
def test_the_translator_believes_its_proxies_and_nobody_else(tmp_path: Path, stack: ExitStack,
                                                             caplog: pytest.LogCaptureFixture, header: Header) -> None:
    caplog.set_level(logging.INFO)
    (pool,) = stack.enter_context(stub_pools(tmp_path))
    translator = stack.enter_context(translating(tmp_path, pool, stratum={"proxy_from": [PROXY_IP]}))
    (listener,) = translator.ports.listeners
    port = stack.enter_context(proxied(listener.port, header))
    with Machine(port, "addr.w") as machine:
        machine.begin()
        assert machine.submit(machine.find()) == [None]
    (named,) = [record.getMessage() for record in caplog.records if "event=miner.named" in record.getMessage()]
    assert " peer=192.0.2.1:" in named and " user=addr.w " in named
    thief = Raw(stack, listener.port, source="127.0.0.1")
    thief.sock.sendall(header("192.0.2.66", 1) + SUBSCRIBE)
    assert thief.line() == b""
    until(lambda: "is not in stratum.proxy_from" in caplog.text)
