"""Strangers at the web port of a running pool: they take every place, drip, storm and lie, and no machine notices."""

from __future__ import annotations

import gc
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle, islice
from typing import Any
from urllib.parse import quote

import pytest

from tests.node.stub import HARD_NBITS, StubNode
from tests.page.reading import Reading
from tests.patience import PATIENCE_S, until
from tests.peers.foreign_v1 import Machine
from tests.service.livepool import LivePool, running, v1_config
from tests.web.asking import Reply, connect, exchange, parse, read_all
from warppool.addresses import Address
from warppool.config.faceoptions import WebConfig
from warppool.page.markup import visible
from warppool.status import client
from warppool.status.place import known_path
from warppool.web import server
from warppool.web.admission import MAX_CONNECTIONS, MAX_OF_LOOPBACK, REQUEST_S
from warppool.web.app import MAX_KEPT

pytest.importorskip("waitress")
pytest.importorskip("prometheus_client")

EASY = {"start": 1e-8, "min": 1e-8, "max": 1e-8}
SOURCES = ("127.0.0.1", "127.0.0.2")    # of loopback one address alone may not take every place
USER = "<b>\"'&\u202egpj</b>\udcff"
NAME = f"{USER}.</td><script>alert(1)</script>"
AGENT = "<i>\n\r\"\u2066'x\u2028</i>"
STORM = 400


class Stopped:
    """A clock that moves when the test says so: how slow the machine is decides nothing."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


class Strangers:
    """A pool with one machine, and its web port."""

    def __init__(self, pool: LivePool, machine: Machine, clock: Stopped) -> None:
        self.pool = pool
        self.machine = machine
        self.clock = clock
        (self.server,) = (each for each in pool.daemon.web if each.name == "web")
        self.address = ("127.0.0.1", self.server.ports[0])      # type: ignore[attr-defined]

    def mines(self, shares: int = 3) -> None:
        """The machine's shares are answered."""
        for _ in range(shares):
            assert self.machine.submit(self.machine.find()) == [None]

    def dial(self, source: str) -> socket.socket:
        """A connection from that address of loopback, which the server may accept at once."""
        self.clock.now += 0.02
        return socket.create_connection(self.address, PATIENCE_S, source_address=(source, 0))

    def send(self, request: bytes) -> bytes:
        """One request, and all that comes back."""
        self.clock.now += 0.02
        return exchange(self.address, request)

    def get(self, target: str, accept: str = "text/html") -> Reply:
        """A page, asked for again while there are too many questions."""
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode("latin-1")
        found: list[Reply] = []

        def is_answered() -> bool:
            found.append(parse(self.send(request)))
            return found[-1].status != 429

        until(is_answered)
        return found[-1]

    def open(self) -> int:
        """How many places are taken."""
        return self.server.admission.open       # type: ignore[attr-defined,no-any-return]


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strangers]:
    folder = tmp_path_factory.mktemp("web")
    clock = Stopped()
    with StubNode(nbits=HARD_NBITS, cookie=folder / "cookie") as stub:
        config = replace(v1_config(folder, stub, **EASY), web=WebConfig(listen=(Address("127.0.0.1", 0),)))
        pool = LivePool(config, stub)
        pool.daemon.web[0]._monotonic = clock    # type: ignore[attr-defined]
        with running(pool), pool.machine(worker=NAME) as machine:
            machine.subscribed(machine.call("mining.subscribe", AGENT))
            assert machine.call("mining.authorize", NAME, "x").result is True
            machine.until(lambda: bool(machine.jobs))
            until(lambda: pool.daemon.numbers.latest().work.has_work)
            yield Strangers(pool, machine, clock)


def test_who_takes_every_place_is_cut_and_meanwhile_machines_and_the_status_socket_are_answered(
        strangers: Strangers) -> None:
    socket_path = known_path(strangers.pool.config.pool.data_dir)
    with ExitStack() as closing:
        held = []
        for source in islice(cycle(SOURCES), MAX_CONNECTIONS):
            held.append(closing.enter_context(strangers.dial(source)))
            held[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
            until(lambda: strangers.open() == len(held))
        assert MAX_OF_LOOPBACK * len(SOURCES) == MAX_CONNECTIONS == strangers.open()
        late = closing.enter_context(connect(strangers.address))
        late.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(3):
            strangers.mines()
            until(lambda: client.ask(socket_path, "health")["ok"])
            for slow in held:
                slow.sendall(b"x")                              # a byte renews nothing
        assert strangers.open() == MAX_CONNECTIONS
        strangers.clock.now += REQUEST_S
        assert [read_all(slow) for slow in held] == [b""] * MAX_CONNECTIONS
        strangers.clock.now += 1.0
        assert parse(read_all(late)).status == 200              # it waited in the kernel
    until(lambda: strangers.open() == 0)


HOSTILE: list[tuple[bytes, set[int]]] = [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 8200 + b"\r\n\r\n", {431}),
    (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", {431}),
    (b"GET /../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
    (b"GET /static/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
    (b"GET /static/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
    (b"GET /users/..%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
    (b"GET /user/%2e%2e%2f%2e%2e%2fsecrets.toml HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
    (b"GET /users/\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 404}),
    (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", {421}),
    (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", {421}),
    (b"GET / HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", {421}),
    (b"POST /api/v1/pool HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", {413}),
    (b"DELETE /api/v1/pool HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
    (b"GET /find?name=" + b"%0d%0aSet-Cookie:x" * 9 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {303}),
    (b"GET /api/v1/users?" + b"&".join([b"a=b"] * 99) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40, {200}),
    (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", {400}),
]


def test_a_storm_of_lies_costs_its_own_answers_and_nothing_is_left_of_it(
        strangers: Strangers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for number, (request, allowed) in enumerate(islice(cycle(HOSTILE), STORM)):
        raw = strangers.send(request)
        reply = parse(raw)
        assert reply.status in allowed | {429}, request[:60]
        assert raw.count(b"HTTP/1.") == 1
        assert b"root:" not in raw and b"evil" not in raw and "set-cookie" not in reply.headers
        if number % 40 == 0:
            strangers.mines(1)
    for number in range(STORM):                                 # answers that are all different
        strangers.send(b"GET /api/v1/history?user=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
    strangers.mines()
    until(lambda: strangers.open() == 0)
    assert strangers.server.channels == []                      # type: ignore[attr-defined]
    application: Any = strangers.server._servers[0].application     # type: ignore[attr-defined]
    assert len(application._kept._answers) <= MAX_KEPT
    assert _alive() <= 8                                        # what the last turn of a loop still names
    assert len([each for each in caplog.records if "event=web." in each.getMessage()]) <= 10
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


def _alive() -> int:
    """Connections of the web that are objects yet."""
    gc.collect()
    return sum(type(each) in (server._Channel, server._Parser) for each in gc.get_objects())


def test_names_that_mean_harm_are_text_on_every_face(strangers: Strangers) -> None:
    strangers.mines()
    until(lambda: strangers.pool.daemon.numbers.latest().pool.accepted > 0)
    raw_user, raw_name = (quote(name.encode("utf-8", "surrogateescape"), safe="") for name in (USER, NAME))
    for target in ("/", f"/user/{raw_user}", f"/user/{raw_user}/{raw_name}", "/find?name=%3Cscript%3E"):
        page = strangers.get(target)
        assert b"<script>alert" not in page.body and b"<b>" not in page.body and b"\xe2\x80\xae" not in page.body
        assert "default-src 'none'" in page.headers["content-security-policy"]
        if page.status == 200:
            assert all("src" in script for script in Reading(page.body).all("script"))
    assert f"Miner {visible(USER)}" in Reading(strangers.get(f"/user/{raw_user}").body).text
    for target in ("/api/v1/workers", "/api/v1/users", f"/api/v1/users/{raw_user}", f"/api/client/{raw_user}",
                   "/api/info", "/widget"):
        reply = strangers.get(target, accept="*/*")
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), target
        assert reply.body.isascii() and isinstance(json.loads(reply.body), dict | list)
    metrics = strangers.get("/metrics", accept="*/*")
    assert metrics.status == 200 and b"<b>" not in metrics.body
    files = strangers.get("/pool/pool.status", accept="*/*")
    assert len(files.body.splitlines()) == 3


def test_no_session_id_extranonce_or_address_of_a_machine_leaves_the_daemon(strangers: Strangers) -> None:
    strangers.mines()
    machine, data_dir = strangers.machine, strangers.pool.config.pool.data_dir
    host, port = machine._sock.getsockname()
    secret = {machine.session, machine.extranonce1.hex(), f"{host}:{port}"}
    assert all(len(each) >= 8 for each in secret)
    user, name = (quote(each.encode("utf-8", "surrogateescape"), safe="") for each in (USER, NAME))
    worker = quote(NAME.partition(".")[2], safe="")
    (row,) = json.loads(strangers.get(f"/api/client/{user}").body)["workers"]
    fill = {"user": user, "address": user, "account": user, "worker": worker, "session": row["sessionId"],
            "block": "0" * 64}
    application: Any = strangers.server._servers[0].application     # type: ignore[attr-defined]
    routes = [route for route, _ in application._table._routes.values()]
    assert len(routes) > 30
    said = [strangers.get(route.path.format_map(fill)).body for route in routes]
    said += [strangers.get(f"/user/{user}/{name}").body, strangers.get(f"/api/v1/workers/{name}").body]
    said += [json.dumps(client.ask(known_path(data_dir), what)).encode()
             for what in ("health", "summary", "users", "workers", "blocks")]
    assert sum(b"alert(1)" in each for each in said) > 5, "the machine is shown"
    for text in said:
        assert not [each for each in secret if each.encode() in text]
