"""The published profile on a live daemon: a Bitaxe on its port and on the one for all, and who is on the wrong one."""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.node.stub import HARD_NBITS, StubNode, make_transaction
from tests.patience import until
from tests.service.livepool import (
    PATIENCE_S,
    LivePool,
    add_transaction,
    complaints,
    running,
    tells_of_transactions,
)
from tests.service.process import write_config
from tests.service.proxy import HEADERS, PROXY_IP, Header
from tests.sv2.machines import Firmware, Session, machines
from warppool.commands.democert import self_signed
from warppool.config.pool import read_config
from warppool.events import Now
from warppool.noise.certificate import issue
from warppool.noise.ends import initiator
from warppool.noise.primitives import new_buffer, public_key
from warppool.noise.secp256k1 import xonly_of_secret
from warppool.service.connector import ANY, SV2, SV2_SPEC
from warppool.service.specidentity import certificate_file
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages import common, mining
from warppool.sv2.profile import SPEC, WARP, Profile, Subprotocol

SECRET, SPEC_SECRET, AUTHORITY_SECRET = bytes(range(1, 33)), bytes(range(2, 34)), bytes(range(3, 35))
PINS = {"warp": public_key(SECRET), "spec": xonly_of_secret(AUTHORITY_SECRET)}
EASY = {"start": 1e-9, "max": 4e-9, "min": 1e-10}
SUBSCRIBE = b'{"id": 1, "method": "mining.subscribe", "params": ["lab/1"]}\n'


def make(folder: Path, stub: StubNode, *, has_spec: bool = True) -> LivePool:
    """A pool with a port of each kind, which believes PROXY_IP; without `has_spec`, one that has no keys for it."""
    certificate, key = self_signed().write(folder)
    stratum: dict[str, object] = {
        "listen": ["127.0.0.1:0"], "sv2_listen": ["127.0.0.1:0"], "any_listen": ["127.0.0.1:0"],
        "sv2_spec_listen": ["127.0.0.1:0"] if has_spec else [], "proxy_from": [PROXY_IP], "workers": 2,
        "tls_cert": str(certificate), "tls_key": str(key)}
    path = write_config(folder, secret=SECRET, node={"url": stub.url, "cookie_file": str(stub.cookie)},
                        stratum=stratum, difficulty=EASY)
    if has_spec:
        vouched_by(folder, AUTHORITY_SECRET)
    return LivePool(read_config(path, {}), stub, lambda: read_config(path, {}))


def vouched_by(folder: Path, authority: bytes) -> None:
    """Write the keys of both profiles."""
    (folder / "secrets.toml").write_text(f'sv2_static_priv_key_hex = "{SECRET.hex()}"\n'
                                         f'sv2_spec_static_priv_key_hex = "{SPEC_SECRET.hex()}"\n'
                                         f'sv2_spec_authority_priv_key_hex = "{authority.hex()}"\n')


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as node:
        tells_of_transactions(node)
        yield node


@pytest.fixture
def pool(tmp_path: Path, stub: StubNode) -> Iterator[LivePool]:
    with running(make(tmp_path, stub)) as made:
        yield made


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


class BySocket:
    """A machine's way to a live daemon, under Noise of the profile; nobody waits here."""

    def __init__(self, pool: LivePool, kind: str, profile: Profile = SPEC, header: bytes = b"",
                 pin: bytes | None = b"") -> None:
        self._pool = pool
        self._transactions = 0
        source = ("", 0) if not header else (PROXY_IP, 0)
        self._sock = socket.create_connection(("127.0.0.1", pool.ports[kind]), PATIENCE_S, source)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._noise = initiator(profile.suite, PINS[profile.name] if pin == b"" else pin, os.urandom(32), new_buffer(),
                                Now(time.monotonic(), time.time()))
        self._sock.sendall(header + self._noise.seal(b""))

    def __enter__(self) -> BySocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    @property
    def now(self) -> float:
        return 0.0                                      # a busy machine is no silent pool

    def send(self, data: bytes) -> None:
        while not self._noise.is_established:
            self._open(self._sock.recv(65_536))
        self._sock.sendall(self._noise.seal(data))

    def receive(self) -> bytes:
        while True:
            data = self._sock.recv(65_536)
            assert data, "the pool hung up"
            plaintext = self._open(data)
            if plaintext:
                return plaintext

    def _open(self, data: bytes) -> bytes:
        assert data, "the pool hung up"
        plaintext = self._noise.open(data, 0.0)
        assert self._noise.end is None, self._noise.end
        return plaintext

    def new_job(self, *, is_tip: bool) -> None:
        if is_tip:
            self._pool.stub.grow()
        else:
            self._transactions += 1
            add_transaction(self._pool.stub, make_transaction(self._transactions))
            self._pool.daemon.service.parts.ask_nodes()

    def wait(self, seconds: float) -> list[tuple[float, bytes]]:
        return []

    def rest(self) -> bytes:
        """All that comes until the pool hangs up."""
        said = b""
        while data := self._sock.recv(65_536):
            said += self._open(data)
        return said


def accepted_shares(machine: Session) -> int:
    return sum(step.get("expect") == "accepted" for step in machine["steps"])


@pytest.mark.parametrize("kind", [SV2_SPEC, ANY])
@pytest.mark.parametrize("name", sorted(machines()))
def test_a_bitaxe_mines(pool: LivePool, caplog: pytest.LogCaptureFixture, name: str, kind: str) -> None:
    with BySocket(pool, kind) as way:
        Firmware(machines()[name], SPEC, way).play()
    assert len(pool.booked()) == accepted_shares(machines()[name])
    assert [line for line in complaints(caplog.records) if "event=user.unpaid" not in line] == []


@pytest.mark.parametrize("kind", [SV2_SPEC, ANY])
@pytest.mark.parametrize("header", HEADERS)
def test_behind_a_proxy_too(pool: LivePool, kind: str, header: Header) -> None:
    with BySocket(pool, kind, header=header("192.0.2.7", 1)) as way:
        Firmware(machines()["bitaxe-standard"], SPEC, way).begin()
        until(lambda: pool.daemon.numbers.latest().traffic.channels == (("extended", 0), ("standard", 1)))


def test_both_profiles_v1_and_tls_share_one_port(pool: LivePool, stack: ExitStack) -> None:
    for profile in (WARP, SPEC, WARP, SPEC):
        way = stack.enter_context(BySocket(pool, ANY, profile))
        assert isinstance(set_up(way, profile), common.SetupConnectionSuccess)
    plain, other = (socket.create_connection(("127.0.0.1", pool.ports[ANY]), PATIENCE_S) for _ in range(2))
    for sock in (plain, pool.tls().wrap_socket(other, server_hostname="127.0.0.1")):
        stack.enter_context(sock)
        sock.sendall(SUBSCRIBE)
        assert b'"result"' in sock.recv(65_536)
    until(lambda: pool.daemon.numbers.latest().traffic.handshakes == (
        ("v1-tls", "done", 1), ("v2", "done", 2), ("v2-spec", "done", 2)))


def set_up(way: BySocket, profile: Profile) -> Any:
    way.send(profile.encode(common.SetupConnection(0, 2, 2, 0, "h", 1, "v", "", "", "")))
    (frame,) = FrameReader(profile.max_payload).feed(way.receive())
    return profile.decode(Subprotocol.MINING, frame)


@pytest.mark.parametrize("kind", [SV2_SPEC, ANY])
def test_after_a_reload_another_authority_vouches_for_those_who_come(
        pool: LivePool, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    before = stack.enter_context(BySocket(pool, kind))
    assert isinstance(set_up(before, SPEC), common.SetupConnectionSuccess)
    vouched_by(tmp_path, bytes([9]) * 32)
    pool.daemon.service.reload()
    monkeypatch.setitem(PINS, "spec", xonly_of_secret(bytes([9]) * 32))
    assert isinstance(set_up(stack.enter_context(BySocket(pool, kind)), SPEC), common.SetupConnectionSuccess)
    monkeypatch.setitem(PINS, "spec", PINS["warp"])
    with pytest.raises(AssertionError, match="has not signed"):
        set_up(stack.enter_context(BySocket(pool, kind)), SPEC)
    Firmware(machines()["bitaxe-standard"], SPEC, stack.enter_context(BySocket(pool, kind, pin=None))).begin()
    before.send(SPEC.encode(mining.OpenStandardMiningChannel(1, "alice", 0.0, bytes([255]) * 32)))
    assert before.receive()                             # nobody was dropped


def test_a_new_static_key_and_its_certificate_wait_for_the_restart_together(
        pool: LivePool, tmp_path: Path, stack: ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    static, now = bytes([8]) * 32, int(time.time())
    xonly = xonly_of_secret(static)
    (tmp_path / "new.toml").write_text(certificate_file(
        issue(AUTHORITY_SECRET, xonly, now - 60, now + 86_400 * 90), xonly_of_secret(AUTHORITY_SECRET), xonly))
    (tmp_path / "secrets.toml").write_text(f'sv2_static_priv_key_hex = "{SECRET.hex()}"\n'
                                           f'sv2_spec_static_priv_key_hex = "{static.hex()}"\n'
                                           'sv2_spec_certificate = "new.toml"\n')
    pool.daemon.service.reload()
    assert "event=reload.done" in caplog.text and "event=certificate.refused" not in caplog.text
    assert caplog.text.count("event=config.left") == 3
    assert isinstance(set_up(stack.enter_context(BySocket(pool, SV2_SPEC)), SPEC), common.SetupConnectionSuccess)


# --- the wrong port ---------------------------------------------------------------------------------------------------

HELLO_OF = {"warp": lambda: initiator(WARP.suite, None, os.urandom(32), new_buffer(), Now(0.0, 0.0)).seal(b""),
            "spec": lambda: b"\x20\x01" + initiator(SPEC.suite, None, os.urandom(32), new_buffer(),
                                                    Now(0.0, 0.0)).seal(b"")[2:],
            "v1": lambda: SUBSCRIBE, "http": lambda: b"GET / HTTP/1.1\r\n\r\n", "junk": lambda: b"\x01" * 65}
"""What a client says first. Of a client of the published profile, one in 65,536 has the first bytes of `warp`: not
this one."""


def is_hung_up(sock: socket.socket) -> bool:
    """Whether the pool says nothing but goodbye."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def closed_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "event=conn.closed" in record.getMessage()]


@pytest.mark.parametrize(("client", "kind", "words"), [
    ("spec", SV2, "this is no warp; the published profile has a port of its own"),
    ("warp", SV2_SPEC, "Stratum V2 in the profile warp, which this port does not serve"),
    ("v1", SV2_SPEC, "Stratum V1, which this port does not serve"),
    ("http", SV2_SPEC, "HTTP"),
    ("junk", SV2_SPEC, "junk"),
])
def test_a_client_on_the_wrong_port_is_refused_with_one_clear_line(
        pool: LivePool, stack: ExitStack, caplog: pytest.LogCaptureFixture, client: str, kind: str, words: str) -> None:
    caplog.set_level(logging.INFO)
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", pool.ports[kind]), PATIENCE_S))
    sock.sendall(HELLO_OF[client]())
    assert is_hung_up(sock)
    until(lambda: bool(closed_lines(caplog)))
    (line,) = closed_lines(caplog)
    assert words in line and " peer=127.0.0.1:" in line
    assert complaints(caplog.records) == []


def test_where_the_keys_are_missing_the_port_for_all_says_so(tmp_path: Path, stub: StubNode, stack: ExitStack,
                                                             caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pool = stack.enter_context(running(make(tmp_path, stub, has_spec=False)))
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", pool.ports[ANY]), PATIENCE_S))
    sock.sendall(HELLO_OF["spec"]())
    assert is_hung_up(sock)
    until(lambda: bool(closed_lines(caplog)))
    assert "or the published profile of Stratum V2, which this port does not serve" in closed_lines(caplog)[0]


def test_a_stranger_finds_nothing_and_a_neighbour_mines_on(pool: LivePool, stack: ExitStack,
                                                           caplog: pytest.LogCaptureFixture) -> None:
    """Any 64 bytes are a key and get an answer: what comes after it, whole or cut, early or late, is worth nothing."""
    dice = random.Random(10)
    neighbour = stack.enter_context(BySocket(pool, SV2_SPEC))
    firmware = Firmware(machines()["bitaxe-extended"], SPEC, neighbour)
    firmware.begin()
    for number in range(80):
        sock = stack.enter_context(socket.create_connection(
            ("127.0.0.1", pool.ports[dice.choice((SV2_SPEC, ANY))]), PATIENCE_S))
        words = dice.randbytes(dice.choice((1, 33, 34, 63, 64, 64, 64)))
        at = dice.randrange(len(words) + 1)
        with suppress(ConnectionError):
            sock.sendall(words[:at])
            sock.sendall(words[at:])
            if len(words) == 64 and dice.random() < 0.7:
                assert len(sock.recv(65_536)) <= 234              # act two, and no word more
                sock.sendall(dice.randbytes(dice.choice((22, 300))))
                assert is_hung_up(sock)
            elif dice.random() < 0.5:
                sock.shutdown(socket.SHUT_WR)
        if number % 20 == 0:
            firmware._do_share({})
            firmware._do_expect("accepted")
    assert len(pool.booked()) == 4
    assert [line for line in complaints(caplog.records) if "event=user.unpaid" not in line] == []


# --- the end ----------------------------------------------------------------------------------------------------------

def test_at_its_end_the_pool_hangs_up_and_asks_nobody_to_come_back(tmp_path: Path, stub: StubNode) -> None:
    """SRI's translator and its mining device end themselves at a Reconnect."""
    pool = make(tmp_path, stub)
    with running(pool), BySocket(pool, SV2_SPEC) as way:
        firmware = Firmware(machines()["bitaxe-extended"], SPEC, way)
        firmware.begin()
        pool.daemon.service.stop()
        frames = list(FrameReader(SPEC.max_payload).feed(way.rest()))
    assert {type(SPEC.decode(Subprotocol.MINING, frame)) for frame in frames} <= {
        mining.NewExtendedMiningJob, mining.SetNewPrevHash, mining.SetTarget}
