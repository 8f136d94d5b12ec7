"""The web server within its bounds: slow requests, slow readers, floods, and what is no request."""

from __future__ import annotations

import errno
import os
import queue
import socket
import threading
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from tests.web.asking import Hand, app_of, connect, exchange, get, parse, read_all, said, serving
from warppool.loop import Report, ask_all
from warppool.net.listener import listen
from warppool.web.admission import (
    ACCEPTED_PER_S,
    AFTER_FAULT_S,
    ANSWER_S,
    MAX_CONNECTIONS,
    MAX_OF_LOOPBACK,
    MAX_PER_ADDRESS,
    REQUEST_S,
    Admission,
)
from warppool.web.routes import WebRoute

pytest.importorskip("waitress")

from waitress.channel import ClientDisconnected, HTTPChannel

from warppool.web.server import PIECE_S, WebServer

FILES = 2000
PAGE = WebRoute("/page", said(b"a page"))
BIG = WebRoute("/big", said(b"x" * 4_000_000))


def test_a_page_is_served_and_the_connection_is_closed() -> None:
    with serving(app_of([PAGE])) as (_, address):
        reply = get(address, "/page")
    assert (reply.status, reply.body) == (200, b"a page")
    assert reply.headers["connection"] == "close"
    assert "server" not in reply.headers
    assert "default-src 'none'" in reply.headers["content-security-policy"]


def test_requests_in_one_piece_after_the_first_are_not_answered() -> None:
    with serving(app_of([BIG])) as (_, address):
        raw = exchange(address, b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300)
    assert raw.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(("request_", "status"), [
    (b"GET /page HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 8200 + b"\r\n\r\n", 431),
    (b"GET /" + b"x" * 9000, 431),
    (b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    (b"POST /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 413),
    (b"POST /page HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 413),
    (b"POST /page HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    (b"GET /page HTTP/1.1\r\n\r\n", 421),
    (b"GET /page HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /page%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
    (b"get /page HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
])
def test_what_is_no_request_is_refused_and_not_said_back(request_: bytes, status: int, caplog: Any) -> None:
    with serving(app_of([PAGE])) as (_, address):
        raw = exchange(address, request_)
        assert get(address, "/page").status == 200
    reply = parse(raw)
    assert reply.status == status
    assert b"waitress" not in raw
    assert b"evil" not in raw
    assert b"passwd" not in raw
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def until(question: Any) -> None:
    """Wait for something that other threads do."""
    pause = threading.Event()
    for _ in range(6000):
        if question():
            return
        pause.wait(0.01)
    raise AssertionError("it never came")


def test_a_request_that_drips_is_cut_ten_seconds_after_its_connection() -> None:
    clock = Hand()
    with serving(app_of([PAGE]), clock) as (server, address), connect(address) as slow:
        slow.sendall(b"GET /page HTTP/1.1\r\n")
        until(lambda: server.channels)
        clock.now += REQUEST_S - 0.1
        slow.sendall(b"Host: localhost\r\nX: y")                # a byte renews nothing
        assert get(address, "/page").status == 200
        clock.now += 0.2
        assert read_all(slow) == b""
        until(lambda: server.admission.open == 0)


def _is_longer(found: list[float], length: int) -> bool:
    return len(found) > length


def test_who_sends_piece_by_piece_is_read_slowly_and_nobody_else_is() -> None:
    slept: list[float] = []
    with serving(app_of([PAGE]), sleep=slept.append) as (server, address):
        assert get(address, "/page").status == 200
        assert slept == []
        with connect(address) as slow:
            for number in range(5):
                slow.sendall(b"\r\n" if number % 2 else b"G")
                until(partial(_is_longer, slept, number))
            until(lambda: server.pieces == 0)
        assert slept == [PIECE_S] * 5


def test_a_connection_that_says_nothing_is_cut_too() -> None:
    clock = Hand()
    with serving(app_of([PAGE]), clock) as (server, address), connect(address) as slow:
        until(lambda: server.channels)
        clock.now += REQUEST_S
        assert read_all(slow) == b""


def test_who_does_not_read_is_cut_and_holds_up_nobody() -> None:
    clock = Hand()
    with serving(app_of([PAGE, BIG]), clock) as (server, address), connect(address) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: any(channel.total_outbufs_len for channel in server.channels))
        assert get(address, "/page").status == 200              # the one task thread is free
        clock.now += ANSWER_S
        until(lambda: server.admission.open == 0)


def test_one_address_has_its_share_of_connections_and_others_theirs() -> None:
    with serving(app_of([PAGE])) as (server, address):
        held = [connect(address) for _ in range(MAX_OF_LOOPBACK)]
        until(lambda: server.admission.open == MAX_OF_LOOPBACK)
        assert exchange(address, b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
        held.pop().close()
        until(lambda: server.admission.open < MAX_OF_LOOPBACK)
        assert get(address, "/page").status == 200
        for sock in held:
            sock.close()


def test_the_places_are_counted_by_address() -> None:
    admission = Admission(0.0)
    taken = [admission.take("192.0.2.1", 0.0) for _ in range(MAX_PER_ADDRESS + 1)]
    assert taken == ["192.0.2.1"] * MAX_PER_ADDRESS + [None]
    assert admission.take("::ffff:192.0.2.1", 0.0) is None
    net = [admission.take(f"2001:db8::{index:x}", 0.0) for index in range(MAX_PER_ADDRESS + 1)]
    assert net[-1] is None
    assert admission.take("2001:db8:0:1::1", 0.0) is not None
    admission.leave("192.0.2.1")
    assert admission.take("192.0.2.1", 0.0) == "192.0.2.1"


def test_descriptors_above_1023_are_served() -> None:
    """Where `select()` would end."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < FILES + 200:
        pytest.skip("the limit of open files is low here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES + 200), hard))
    with ExitStack() as closing:
        closing.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        null = os.open(os.devnull, os.O_RDONLY)
        closing.callback(os.close, null)
        for _ in range(FILES):
            closing.callback(os.close, os.dup(null))
        with serving(app_of([PAGE])) as (server, address), connect(address) as held:
            until(lambda: server.channels)
            assert min(held.fileno(), *server.map) > 1023
            assert [get(address, "/page").status for _ in range(3)] == [200] * 3


def test_when_all_places_are_taken_the_rest_waits_in_the_kernel() -> None:
    admission = Admission(0.0)
    origins = [admission.take(f"192.0.2.{index}", 0.0) for index in range(MAX_CONNECTIONS)]
    assert admission.due(1000.0) == float("inf")
    admission.leave(origins[0] or "")
    assert admission.due(1000.0) <= 1000.0


def test_no_more_is_accepted_in_a_second_than_miners_can_spare() -> None:
    admission, now, accepted = Admission(0.0), 0.0, 0
    while now < 10.0:
        due = admission.due(now)
        now = max(now, due) + 1e-6
        admission.leave(admission.take("192.0.2.1", now) or "")
        accepted += 1
    assert accepted <= 10.5 * ACCEPTED_PER_S


def test_without_descriptors_accepting_pauses() -> None:
    admission = Admission(0.0)
    admission.pause(5.0)
    assert admission.due(5.0) == 6.0


def test_the_threads_report_and_a_stop_cuts_what_is_open() -> None:
    with serving(app_of([PAGE])) as (server, address):
        assert {report.name for report in ask_all([server, server.tasks], 60.0)} == {"web", "web-task"}
        open_ = connect(address)
        until(lambda: server.channels)
    assert read_all(open_) == b""
    open_.close()
    reply: queue.SimpleQueue[Report] = queue.SimpleQueue()
    server.ask(reply)                                           # wakes nobody, and writes into no closed descriptor


@pytest.mark.parametrize("request_", [b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\r\n\r\n"])
def test_who_goes_before_the_answer_leaves_nothing_behind(request_: bytes, caplog: Any, monkeypatch: Any) -> None:
    def gone(channel: Any, data: Any) -> int:
        raise ClientDisconnected

    monkeypatch.setattr(HTTPChannel, "write_soon", gone)
    with serving(app_of([PAGE])) as (server, address):
        assert exchange(address, request_) == b""
        until(lambda: server.admission.open == 0)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_bug_costs_one_answer(caplog: Any) -> None:
    def broken(asked: Any, view: Any) -> Any:
        raise RuntimeError("a bug")

    with serving(app_of([PAGE, WebRoute("/bug", broken)])) as (_, address):
        assert get(address, "/bug").status == 500
        assert get(address, "/page").status == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "event=web.failed path='/bug'"]


def test_that_no_descriptor_is_left_is_said_once_a_minute(caplog: Any, monkeypatch: Any) -> None:
    def accept(_: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    clock, listener = Hand(), listen("web", "127.0.0.1:0", "web.listen")
    server = WebServer([listener], app_of([PAGE]), monotonic=clock)
    monkeypatch.setattr(type(server._servers[0]), "accept", accept)
    for _ in range(3):
        assert server._servers[0].readable()
        server._servers[0].handle_accept()
        assert not server._servers[0].readable()
        clock.now += AFTER_FAULT_S
    server.close()
    listener.sock.close()
    assert caplog.text.count("event=web.unaccepted") == 1
