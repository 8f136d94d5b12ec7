"""What the reactor dials, and how it treats what it has dialled; the test plays the workers and the resolver."""

from __future__ import annotations

import math
import os
import queue
import resource
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.net.conftest import LogLines
from tests.net.far import Far, closed_port, far, silent
from tests.net.pools import PATIENCE_S, Client, until
from tests.net.test_listener import needs_ipv6
from tests.net.test_reactor import Scene
from warppool.limits import UPSTREAM
from warppool.net import dialler as module
from warppool.net.dialler import Dialler
from warppool.net.inbox import Connected, ConnectFailed, Ended, Full, Gone, Received
from warppool.net.limits import AcceptLimits
from warppool.net.outbox import ConnectTo, SocketAddress, StopAccepting
from warppool.net.reactor import UNREAD_LIMIT, Reactor

PLENTY_S = 60.0


@pytest.fixture
def scene() -> Iterator[Scene]:
    running = Scene(max_connections=1, max_per_ip=1)
    yield running
    running.stop()


def at(port: int, host: str = "127.0.0.1") -> SocketAddress:
    if ":" in host:
        return SocketAddress(socket.AF_INET6, (host, port, 0, 0))
    return SocketAddress(socket.AF_INET, (host, port))


def dial(scene: Scene, *addresses: SocketAddress, seconds: float = PLENTY_S, dial_id: int = 7) -> None:
    scene.reactor.mailbox.post(ConnectTo(0, dial_id, addresses, time.monotonic() + seconds))


def reach(scene: Scene, end: Far) -> tuple[Client, int]:
    """Dial `end`: its side of the connection, and the conn_id of ours."""
    dial(scene, at(end.port, end.host))
    connected = scene.part()
    assert isinstance(connected, Connected)
    return end.take(), connected.conn_id


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_bytes_go_both_ways(scene: Scene, host: str) -> None:
    with far(host) as end:
        dial(scene, at(end.port, host))
        assert scene.part() == Connected(7, 1, f"[::1]:{end.port}" if host == "::1" else f"127.0.0.1:{end.port}")
        there = end.take()
        there.send(b"welcome")
        assert scene.part() == Received(1, b"welcome")
        scene.post((1, b"hello\n"))
        assert there.line() == b"hello"
        sock = scene.reactor._peers[1].sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        there.close()
        assert scene.part() == Gone(1, "closed by the peer")


def test_a_close_lets_the_last_bytes_out(scene: Scene) -> None:
    with far() as end:
        there, conn_id = reach(scene, end)
        scene.post((conn_id, b"bye\n"), closes=(conn_id,))
        assert there.rest() == b"bye\n"
        there.close()
        until(lambda: not scene.reactor._peers)
        assert scene.inbox.empty()


def test_a_closed_port_is_named(scene: Scene) -> None:
    port = closed_port()
    dial(scene, at(port))
    assert scene.part() == ConnectFailed(7, f"127.0.0.1:{port}: Connection refused")


@needs_ipv6
def test_the_next_address_is_tried_and_each_failure_told(scene: Scene) -> None:
    ports = closed_port(), closed_port("::1")
    with far() as end:
        dial(scene, at(ports[0]), at(ports[1], "::1"), at(end.port))
        assert scene.part() == Connected(7, 1, f"127.0.0.1:{end.port}")
    dial(scene, at(ports[0]), at(ports[1], "::1"), dial_id=8)
    assert isinstance(scene.part(), Gone)
    assert scene.part() == ConnectFailed(
        8, f"127.0.0.1:{ports[0]}: Connection refused; [::1]:{ports[1]}: Connection refused")


def test_an_address_that_swallows_packets_leaves_time_for_the_next(scene: Scene) -> None:
    with silent() as hole, far() as end:
        dial(scene, at(hole.port), at(end.port), seconds=0.4)
        assert scene.part() == Connected(7, 1, f"127.0.0.1:{end.port}")
        dial(scene, at(hole.port), at(hole.port), seconds=0.2)
        where = f"127.0.0.1:{hole.port}: timed out"
        assert scene.part() == ConnectFailed(7, f"{where}; {where}")
        assert scene.reactor._peers.keys() == {1} and not scene.reactor._dialler._attempts


def test_an_order_that_comes_too_late_fails(scene: Scene) -> None:
    with silent() as hole:
        dial(scene, at(hole.port), at(hole.port), seconds=-1.0)
        where = f"127.0.0.1:{hole.port}: timed out"
        assert scene.part() == ConnectFailed(7, f"{where}; {where}")


@pytest.fixture
def alone() -> Iterator[Dialler]:
    """A dialler whose clock is the test's."""
    with selectors.DefaultSelector() as selector:
        made = Dialler(selector)
        yield made
        made.close()


def order(*addresses: SocketAddress) -> ConnectTo:
    return ConnectTo(0, 7, addresses, 10.0)


def test_each_address_has_an_equal_share_of_the_time_that_is_left(alone: Dialler) -> None:
    with silent() as hole:
        assert alone.begin(order(*[at(hole.port)] * 4), 0.0) is None
        for now, due in [(2.5, 5.0), (6.0, 8.0), (8.0, 10.0)]:
            assert list(alone.expire(now)) == []
            assert alone.deadlines.first == due
        missed, = alone.expire(10.0)
        assert missed.reason.count("timed out") == 4
        assert alone.deadlines.first == math.inf


def test_the_time_that_one_address_did_not_need_is_the_next_ones(alone: Dialler) -> None:
    with silent() as hole:
        assert alone.begin(order(at(closed_port()), at(hole.port)), 0.0) is None
        (key, _), = alone._selector.select(PATIENCE_S)
        assert alone.proceed(key.data, 1.0) is None
        assert list(alone.expire(5.0)) == []                    # the first one's share
        assert list(alone.expire(9.9)) == []
        missed, = alone.expire(10.0)
        assert "Connection refused; " in missed.reason and "timed out" in missed.reason


def test_a_reactor_wakes_for_its_dials_and_closes_them_when_it_dies() -> None:
    reactor = Reactor([], [queue.Queue()], accept_limits=AcceptLimits(1))
    try:
        with silent() as hole:
            reactor._obey(ConnectTo(0, 7, (at(hole.port),), time.monotonic() + 1.0))
            assert reactor._patience() <= 1.0
    finally:
        reactor.close()                         # and no descriptor is left, which the fixture of this package holds


def test_what_cannot_be_tried_at_all(scene: Scene) -> None:
    dial(scene)
    assert scene.part() == ConnectFailed(7, "no address")
    dial(scene, at(70_000))
    assert scene.part() == ConnectFailed(7, "127.0.0.1:70000: connect_ex(): port must be 0-65535.")
    dial(scene, at(1, "255.255.255.255"))       # the kernel says no at once
    failed = scene.part()
    assert isinstance(failed, ConnectFailed) and failed.reason.startswith("255.255.255.255:1: ")


def test_no_connection_to_itself(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it befalls who dials a closed port of its own machine often enough."""
    port = closed_port()

    def unlucky(address: SocketAddress) -> socket.socket:
        sock = new_socket(address)
        sock.bind(("127.0.0.1", port))
        return sock

    new_socket = module._new_socket
    monkeypatch.setattr(module, "_new_socket", unlucky)
    dial(scene, at(port))
    assert scene.part() == ConnectFailed(7, f"127.0.0.1:{port}: Connection refused")


def test_no_descriptors_left(scene: Scene) -> None:
    here, conn_id = scene.open()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest, taken = os.dup(0), list[int]()
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    try:
        with suppress(OSError):
            while True:                                         # until every descriptor below the limit is taken
                taken.append(os.dup(highest))
        dial(scene, at(1))
        assert scene.part() == ConnectFailed(7, "127.0.0.1:1: Too many open files")
        scene.post((conn_id, b"still served\n"))
        assert here.line() == b"still served"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in [highest, *taken]:
            os.close(descriptor)


def test_what_is_dialled_is_no_visitor(scene: Scene) -> None:
    """It neither takes a place at the acceptor nor gives one back, in a pool of one place and one an address."""
    with far() as end:
        ends = [reach(scene, end) for _ in range(3)]
        here, here_id = scene.open()
        assert scene.client().rest() == b""
        for there, conn_id in ends:
            there.close()
            assert scene.part() == Gone(conn_id, "closed by the peer")
        assert scene.client().rest() == b""
        here.close()
        assert scene.part() == Ended(here_id)
        scene.post(closes=(here_id,))
        until(lambda: not scene.reactor._peers)
        scene.open()


def test_a_slow_reader_is_dropped(scene: Scene, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warppool.net.slowpeers.STALLED_S", 0.3)
    with far() as end:
        _, conn_id = reach(scene, end)
        for _ in range(20):                     # of which the kernel takes a few
            scene.post((conn_id, b"x" * UPSTREAM.unsent))
        assert [scene.part(), scene.part()] == [Full(conn_id), Gone(conn_id, "too slow")]
        assert f"event=upstream.slow conn={conn_id} peer=127.0.0.1" in log_lines.wait_for("upstream.slow")


def test_a_flood_is_read_up_to_the_limit_until_it_is_consumed(scene: Scene) -> None:
    with far() as end:
        there, conn_id = reach(scene, end)
        peer = scene.reactor._peers[conn_id]
        there.sock.setblocking(False)

        def is_stopped() -> bool:
            with suppress(BlockingIOError):
                there.sock.send(bytes(4096))
            return not peer.watching

        until(is_stopped)
        got = len(scene.received(peer.unread))
        assert got > UNREAD_LIMIT
        scene.post(consumed=((conn_id, got),))
        until(lambda: peer.watching)


def test_after_the_acceptor_is_closed_nothing_is_dialled_and_what_stands_is_still_read(scene: Scene) -> None:
    with far() as end, silent() as hole:
        there, conn_id = reach(scene, end)
        here, here_id = scene.open()
        dial(scene, at(hole.port), dial_id=8)
        scene.reactor.mailbox.post(StopAccepting())
        assert scene.part() == ConnectFailed(8, "stopping")
        dial(scene, at(end.port), dial_id=9)
        assert scene.part() == ConnectFailed(9, "stopping")
        here.send(b"nobody reads this")
        there.send(b"the last verdict")
        assert scene.part() == Received(conn_id, b"the last verdict")
        scene.post((here_id, b"accepted\n"))
        assert here.line() == b"accepted"
        assert scene.inbox.empty()


def test_the_end_closes_what_is_not_connected_yet(scene: Scene) -> None:
    with silent() as hole:
        for dial_id in range(5):
            dial(scene, at(hole.port), dial_id=dial_id)
        until(lambda: len(scene.reactor._dialler._attempts) == 5)
        scene.stop()                            # and no descriptor is left, which the fixture of this package holds


def test_many_at_once(scene: Scene) -> None:
    with far() as end:
        for dial_id in range(200):
            dial(scene, at(end.port), dial_id=dial_id)
        parts = [scene.part() for _ in range(200)]
        assert {part.dial_id for part in parts if isinstance(part, Connected)} == set(range(200))
        assert {part.conn_id for part in parts if isinstance(part, Connected)} == set(range(1, 201))
