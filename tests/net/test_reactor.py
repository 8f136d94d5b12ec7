"""The reactor alone: the test plays the workers."""

from __future__ import annotations

import math
import os
import queue
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from unittest.mock import ANY

import pytest

from tests.net.conftest import LogLines
from tests.net.pools import PATIENCE_S, Client, until
from tests.net.test_listener import needs_ipv6
from warppool.addresses import Net, parse_net
from warppool.limits import V1
from warppool.loop import ask_all
from warppool.net import reactor as module
from warppool.net import slowpeers
from warppool.net.inbox import Emptied, Ended, FromReactor, Full, Gone, Opened, Part, Received
from warppool.net.limits import AcceptLimits
from warppool.net.listener import KERNEL_UNSENT, listen
from warppool.net.outbox import FlushAndStop, Output, StopAccepting, TurnAway
from warppool.net.reactor import UNREAD_LIMIT, Reactor
from warppool.net.slowpeers import UNSENT_BUDGET
from warppool.threads import spawn


class Scene:
    """A running reactor with one inbox, which the test reads part by part."""

    def __init__(self, addresses: tuple[str, ...] = ("127.0.0.1:0",), max_connections: int = 100,
                 max_per_ip: int = 0, unsent_budget: int = UNSENT_BUDGET, proxy_from: tuple[Net, ...] = ()) -> None:
        self.listeners = [listen(f"kind-{number}", text, "stratum.listen") for number, text in enumerate(addresses)]
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.reactor = Reactor(self.listeners, [self.inbox],
                               accept_limits=AcceptLimits(max_connections, max_per_ip, proxy_from),
                               unsent_budget=unsent_budget)
        self.died: list[str] = []
        self._parts: list[Part] = []
        self._clients: list[Client] = []
        self._thread = spawn("reactor", self.reactor.run, self.died.append)

    def client(self, host: str = "127.0.0.1", listener: int = 0, receive_buffer: int = 0) -> Client:
        client = Client(host, self.listeners[listener].port, receive_buffer)
        self._clients.append(client)
        return client

    def part(self) -> Part:
        """The next thing that the worker is told."""
        while not self._parts:
            item = self.inbox.get(timeout=PATIENCE_S)
            assert isinstance(item, FromReactor) and item.items
            self._parts += item.items
        return self._parts.pop(0)

    def received(self, count: int) -> bytes:
        """What arrives until it is `count` bytes."""
        data = b""
        while len(data) < count:
            part = self.part()
            assert isinstance(part, Received)
            data += part.data
        return data

    def open(self, is_narrow: bool = False) -> tuple[Client, int]:
        """A client, and its conn_id; a narrow one has a kernel that keeps next to nothing for it."""
        client = self.client(receive_buffer=4096 if is_narrow else 0)
        opened = self.part()
        assert isinstance(opened, Opened)
        if is_narrow:
            self.reactor._peers[opened.conn_id].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return client, opened.conn_id

    def post(self, *sends: tuple[int, bytes], closes: tuple[int, ...] = (),
             consumed: tuple[tuple[int, int], ...] = ()) -> None:
        self.reactor.mailbox.post(Output(sends, closes, consumed))

    def stop(self, seconds: float = 0.0) -> None:
        self.reactor.mailbox.post(FlushAndStop(time.monotonic() + seconds))
        self.join()

    def join(self) -> None:
        self._thread.join(PATIENCE_S)
        for client in self._clients:
            client.close()
        assert not self._thread.is_alive() and self.died == []

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()


@pytest.fixture
def scene() -> Iterator[Scene]:
    running = Scene()
    yield running
    running.stop()


def test_bytes_go_both_ways_in_order(scene: Scene) -> None:
    client = scene.client()
    assert scene.part() == Opened(1, "kind-0", f"127.0.0.1:{client.sock.getsockname()[1]}")
    client.send(b"hello")
    assert scene.part() == Received(1, b"hello")
    scene.post((1, b"one\n"))
    scene.post((99, b"nobody is 99"), (1, b"two\n"))
    assert client.lines(2) == [b"one", b"two"]


def test_the_peer_may_leave(scene: Scene) -> None:
    client, conn_id = scene.open()
    client.close()
    assert scene.part() == Ended(conn_id)
    scene.post((conn_id, b"too late"), closes=(conn_id,), consumed=((conn_id, 1),))
    client, _ = scene.open()                                    # and the reactor has not minded
    assert scene.reactor._peers.keys() == {conn_id + 1}


def test_the_peer_may_leave_with_a_reset(scene: Scene) -> None:
    client, conn_id = scene.open()
    client.send(b"last words")
    assert scene.part() == Received(conn_id, b"last words")
    client.reset()
    assert scene.part() == Gone(conn_id, "Connection reset by peer")


def test_words_before_the_end_are_heard_first(scene: Scene) -> None:
    client, conn_id = scene.open()
    client.send(b"last words")
    client.close()
    assert [scene.part(), scene.part()] == [Received(conn_id, b"last words"), Ended(conn_id)]


def test_a_peer_that_closed_one_half_gets_what_waits_for_it(scene: Scene) -> None:
    client, conn_id = scene.open(is_narrow=True)
    scene.post((conn_id, b"x" * 900_000))
    until(lambda: scene.reactor._peers[conn_id].unsent)
    client.sock.shutdown(socket.SHUT_WR)
    assert scene.part() == Ended(conn_id)
    scene.post((conn_id, b"y"), closes=(conn_id,))
    scene.post((conn_id, b"never"))
    assert client.rest() == b"x" * 900_000 + b"y"
    until(lambda: not scene.reactor._peers)


def test_what_does_not_fit_is_kept_in_order(scene: Scene) -> None:
    client, conn_id = scene.open(is_narrow=True)
    sent = b"".join(b"%06d\n" % number for number in range(100_000))
    for start in range(0, len(sent), 70_000):
        scene.post((conn_id, sent[start:start + 70_000]))
    assert client.lines(100_000) == [b"%06d" % number for number in range(100_000)]
    until(lambda: scene.reactor._peers[conn_id].unsent is None)             # and the buffer is given back


def test_a_peer_over_its_room_is_not_read_until_it_reads(scene: Scene) -> None:
    """Its worker hears of both ends; a burst alone, however large, drops nobody."""
    slow, conn_id = scene.open(is_narrow=True)
    peer = scene.reactor._peers[conn_id]
    scene.post((conn_id, b"x" * 4 * V1.unsent))
    assert scene.part() == Full(conn_id)
    slow.send(b"who reads this?")
    other, other_id = scene.open()
    scene.post((other_id, b"barrier\n"))
    assert other.line() == b"barrier" and scene.inbox.empty() and peer.unread == 0
    scene.post((conn_id, b"\n"))
    assert slow.line() == b"x" * 4 * V1.unsent
    assert [scene.part(), scene.part()] == [Emptied(conn_id), Received(conn_id, b"who reads this?")]
    until(lambda: scene.reactor._slow.unsent == 0 and scene.reactor._slow.peers == {})


def test_more_channels_give_more_room(scene: Scene) -> None:
    _, conn_id = scene.open(is_narrow=True)
    peer = scene.reactor._peers[conn_id]
    scene.reactor.mailbox.post(Output((), rooms=((conn_id, 900_000),)))
    scene.post((conn_id, b"x" * 900_000))
    until(lambda: peer.unsent)
    assert not peer.is_full
    scene.post((conn_id, b"x" * 50_000))
    assert scene.part() == Full(conn_id)


def test_a_peer_that_takes_nothing_for_a_while_is_dropped(scene: Scene, log_lines: LogLines,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowpeers, "STALLED_S", 3.0)
    slow, conn_id = scene.open(is_narrow=True)
    fast, other_id = scene.open(is_narrow=True)
    scene.post((conn_id, b"x" * 900_000), (other_id, b"x" * 900_000 + b"\n"))
    assert fast.line() == b"x" * 900_000
    parts = [scene.part() for _ in range(4)]
    assert parts[-1] == Gone(conn_id, "too slow") and Full(conn_id) in parts and Emptied(other_id) in parts
    assert f"event=miner.slow count=1 conn={conn_id} peer=127.0.0.1" in log_lines.wait_for("miner.slow")
    assert len(slow.rest()) < 900_000 and scene.reactor.drops == {"slow": 1}
    assert scene.reactor._peers.keys() == {other_id}
    assert scene.reactor._slow.peers == {} and scene.reactor._slow.unsent == 0


def test_a_peer_that_takes_a_little_now_and_then_stays(scene: Scene) -> None:
    slow, conn_id = scene.open(is_narrow=True)
    peer = scene.reactor._peers[conn_id]
    scene.post((conn_id, b"x" * 900_000))
    assert scene.part() == Full(conn_id)
    began = peer.moved_at
    while peer.moved_at == began:
        assert slow.sock.recv(4096)
    due, = {due for due, _ in scene.reactor._slow._stalls._heap}
    assert began + slowpeers.STALLED_S == due, "an entry that is found out of date when it comes, and renewed"


def test_all_together_have_a_budget_and_the_largest_go_first(log_lines: LogLines) -> None:
    scene = Scene(unsent_budget=1_500_000)
    try:
        (_, modest_id), (_, greedy_id), (_, large_id) = [scene.open(is_narrow=True) for _ in range(3)]
        scene.reactor.mailbox.post(Output((), rooms=((large_id, 1_000_000),)))      # it has channels
        scene.post((large_id, b"x" * 800_000), (modest_id, b"x" * 100_000), (greedy_id, b"x" * 500_000))
        assert scene.part() == Full(greedy_id)
        assert scene.reactor._slow.unsent < 1_500_000
        scene.post((modest_id, b"x" * 200_000))
        assert {scene.part(), scene.part()} == {Full(modest_id), Gone(greedy_id, "too slow")}
        assert scene.reactor._peers.keys() == {modest_id, large_id}
        assert log_lines.having("too many bytes wait for all peers together")
    finally:
        scene.stop()


def test_of_those_within_their_room_the_longest_silent_goes() -> None:
    scene = Scene(unsent_budget=200_000)
    try:
        (_, first_id), (_, second_id) = [scene.open(is_narrow=True) for _ in range(2)]
        scene.post((first_id, b"x" * 100_000))
        until(lambda: scene.reactor._slow.unsent)
        scene.post((second_id, b"x" * 90_000))
        until(lambda: len(scene.reactor._slow.peers) == 2)
        scene.post((second_id, b"x" * 30_000))
        assert scene.part() == Gone(first_id, "too slow")
    finally:
        scene.stop()


def test_the_kernel_keeps_little_for_a_peer_that_reads_nothing(scene: Scene) -> None:
    _, conn_id = scene.open()
    peer = scene.reactor._peers[conn_id]
    scene.post((conn_id, b"x" * 20_000_000))
    assert scene.part() == Full(conn_id)
    # what its own kernel takes is not ours to bound; on loopback that is up to tcp_rmem, 6 MiB
    assert peer.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == KERNEL_UNSENT


def test_a_flood_is_read_up_to_the_limit_until_it_is_consumed(scene: Scene) -> None:
    client, conn_id = scene.open()
    peer = scene.reactor._peers[conn_id]
    client.sock.setblocking(False)
    sent = 0

    def is_stopped() -> bool:
        nonlocal sent
        with suppress(BlockingIOError):
            sent += client.sock.send(bytes(4096))
        return not peer.watching

    until(is_stopped)
    got = len(scene.received(peer.unread))
    assert got == peer.unread > UNREAD_LIMIT
    scene.post(consumed=((conn_id, got - UNREAD_LIMIT - 1),))   # one byte too many is still there
    other, other_id = scene.open()
    scene.post((other_id, b"barrier\n"))
    assert other.line() == b"barrier"
    assert scene.inbox.empty() and not peer.watching
    client.sock.setblocking(True)
    client.send(b"the end")
    scene.post(consumed=((conn_id, UNREAD_LIMIT + 1),))
    part: Part = Received(conn_id, b"")
    while got < sent + len(b"the end"):
        part = scene.part()
        assert isinstance(part, Received) and part.conn_id == conn_id
        got += len(part.data)
        scene.post(consumed=((conn_id, len(part.data)),))
    assert isinstance(part, Received) and part.data.endswith(b"the end")


def test_a_close_waits_for_the_peer_and_not_for_ever(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.1)
    polite, polite_id = scene.open()
    stubborn, stubborn_id = scene.open()
    scene.post((polite_id, b"bye\n"), (stubborn_id, b"bye\n"), closes=(polite_id, stubborn_id))
    assert polite.rest() == stubborn.rest() == b"bye\n"
    polite.send(b"this goes nowhere")
    polite.close()
    until(lambda: not scene.reactor._peers)                     # the stubborn one too, which never closes
    assert scene.inbox.empty()                                  # who closes is not told that it is closed
    stubborn.sock.setblocking(False)
    until(lambda: _is_refused(stubborn))


def _is_refused(client: Client) -> bool:
    try:
        client.send(b"anybody there?")
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def test_a_close_ends_a_connection_whose_peer_reads_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.1)
    _, conn_id = scene.open(is_narrow=True)
    scene.post((conn_id, b"x" * 900_000), closes=(conn_id,))
    until(lambda: not scene.reactor._peers)


def test_the_cap_counts_those_that_are_here() -> None:
    scene = Scene(max_connections=2)
    try:
        (first, first_id), _ = scene.open(), scene.open()
        assert scene.client().rest() == b""
        first.close()
        assert scene.part() == Ended(first_id)
        scene.post(closes=(first_id,))
        until(lambda: first_id not in scene.reactor._peers)
        _, conn_id = scene.open()
        assert conn_id == 3
    finally:
        scene.stop()


def test_an_address_may_have_so_many() -> None:
    scene = Scene(max_per_ip=1)
    try:
        first, first_id = scene.open()
        assert scene.client().rest() == b""
        first.close()
        assert scene.part() == Ended(first_id)
        scene.post(closes=(first_id,))
        until(lambda: first_id not in scene.reactor._peers)
        scene.open()
    finally:
        scene.stop()


def test_no_descriptors_left_is_said_and_waited_for(scene: Scene, log_lines: LogLines,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warppool.net.acceptor.PAUSE_S", 0.05)
    here, conn_id = scene.open()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    late, taken = socket.socket(), list[int]()
    resource.setrlimit(resource.RLIMIT_NOFILE, (late.fileno() + 1, limits[1]))
    try:
        with suppress(OSError):
            while True:                                         # until every descriptor below the limit is taken
                taken.append(os.dup(late.fileno()))
        late.connect(("127.0.0.1", scene.listeners[0].port))
        assert 'reason="Too many open files"' in log_lines.wait_for("event=accept.paused")
        scene.post((conn_id, b"still served\n"))
        assert here.line() == b"still served"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)
        late.close()
    assert scene.part() == Opened(conn_id + 1, "kind-0", ANY)


@needs_ipv6
def test_several_listeners_of_both_families() -> None:
    scene = Scene(addresses=("127.0.0.1:0", "[::1]:0", "[::]:0"))
    try:
        for listener, host, name in [(0, "127.0.0.1", "127.0.0.1"), (1, "::1", "[::1]"), (2, "::1", "[::1]"),
                                     (2, "127.0.0.1", "127.0.0.1")]:
            client = scene.client(host, listener)
            opened = scene.part()
            assert isinstance(opened, Opened)
            assert opened[1:3] == (f"kind-{listener}", f"{name}:{client.sock.getsockname()[1]}")
            scene.post((opened.conn_id, b"welcome\n"))
            assert client.line() == b"welcome"
    finally:
        scene.stop()


def test_while_it_gathers_mail_is_obeyed_and_ends_that(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the reactor would gather for an hour: only mail can wake it."""
    clients = [scene.open() for _ in range(3)]
    monkeypatch.setattr("warppool.net.gather.GATHER_S", 3600.0)
    monkeypatch.setattr("warppool.net.gather.BUSY_S", 3600.0)
    clients[0][0].send(b"at once")
    assert scene.part() == Received(clients[0][1], b"at once")
    until(lambda: scene.reactor._bags.rest_until > time.monotonic())
    for client, _ in clients:
        client.send(b"meanwhile")
    assert scene.inbox.empty()
    for conn_id in (clients[0][1], clients[1][1], clients[2][1]):
        scene.post((conn_id, b"answer\n"))
    assert [client.line() for client, _ in clients] == [b"answer"] * 3
    assert sorted(scene.part() for _ in clients) == [Received(conn_id, b"meanwhile") for _, conn_id in clients]


def test_stop_accepting_closes_the_acceptor_and_lets_answers_out(scene: Scene) -> None:
    client, conn_id = scene.open()
    scene.reactor.mailbox.post(StopAccepting())
    scene.post((conn_id, b"answer\n"))
    assert client.line() == b"answer"
    client.send(b"nobody reads this")
    with pytest.raises(ConnectionRefusedError):
        scene.client()
    scene.post((conn_id, b"more\n"))
    assert client.line() == b"more"
    assert scene.inbox.empty()


def test_the_stop_flushes_and_ends_early_when_all_have_left(scene: Scene) -> None:
    client, conn_id = scene.open(is_narrow=True)
    client.send(b"unread at the end")
    scene.received(len(b"unread at the end"))
    scene.post((conn_id, b"x" * 900_000))
    scene.reactor.mailbox.post(FlushAndStop(time.monotonic() + 1000))
    assert client.rest() == b"x" * 900_000
    client.close()
    scene.join()                                                # long before the deadline
    assert scene.reactor._peers == {} and scene.listeners[0].sock.fileno() == -1


def test_the_stop_ends_at_its_deadline(scene: Scene) -> None:
    client, conn_id = scene.open(is_narrow=True)
    scene.post((conn_id, b"x" * 900_000))
    scene.reactor.mailbox.post(FlushAndStop(time.monotonic() + 0.05))
    until(lambda: not scene.is_running)
    assert len(client.rest()) < 900_000
    scene.join()


def test_a_bug_in_one_connections_service_costs_that_one(scene: Scene, monkeypatch: pytest.MonkeyPatch,
                                                         log_lines: LogLines) -> None:
    client, conn_id = scene.open()
    good, good_id = scene.open()
    read = Reactor._read
    monkeypatch.setattr(Reactor, "_read", lambda self, peer: 1 / 0 if peer.conn_id == conn_id else read(self, peer))
    client.send(b"x")
    assert scene.part() == Gone(conn_id, "reactor failed")
    assert client.rest() == b""
    good.send(b"still here")
    assert scene.part() == Received(good_id, b"still here")
    assert "ZeroDivisionError" in log_lines.having("event=conn.failed")[0]


def test_a_bug_in_one_order_costs_that_one(scene: Scene, log_lines: LogLines) -> None:
    client, conn_id = scene.open()
    scene.reactor.mailbox.post(Output(sends=((conn_id, None),)))    # type: ignore[arg-type]
    scene.post((conn_id, b"well\n"))
    assert client.line() == b"well"
    assert log_lines.having("event=reactor.failed item=Output")


def test_a_reactor_that_never_ran_can_be_closed_and_again() -> None:
    opened = listen("sv2", "127.0.0.1:0", "stratum.sv2_listen")
    reactor = Reactor([opened], [queue.Queue()], accept_limits=AcceptLimits(10))
    reactor.close()
    reactor.close()
    assert opened.sock.fileno() == -1


def test_those_who_come_while_there_is_no_work_are_closed_without_a_byte(scene: Scene) -> None:
    here = scene.client()
    opened = scene.part()
    assert isinstance(opened, Opened)
    scene.reactor.mailbox.post(TurnAway(True))
    until(lambda: scene.reactor._acceptor.turns_away)
    for _ in range(3):
        assert scene.client().rest() == b""
    here.send(b"still here")                    # whom of those inside to close the workers say
    assert scene.part() == Received(opened.conn_id, b"still here")
    scene.reactor.mailbox.post(TurnAway(False))
    until(lambda: not scene.reactor._acceptor.turns_away)
    scene.client()
    assert isinstance(scene.part(), Opened)     # of those in between nobody heard


# --- proxies ----------------------------------------------------------------------------------------------------------

@pytest.fixture
def proxied() -> Iterator[Scene]:
    """A reactor for which this machine is a proxy."""
    running = Scene(max_per_ip=1, proxy_from=(parse_net("127.0.0.0/8"),))
    yield running
    running.stop()


def announce(scene: Scene, *announced: tuple[int, str], sends: tuple[tuple[int, bytes], ...] = ()) -> None:
    scene.reactor.mailbox.post(Output(sends, announced=announced))


def test_the_worker_is_told_that_a_header_comes(proxied: Scene) -> None:
    client = proxied.client()
    assert proxied.part() == Opened(1, "kind-0", f"127.0.0.1:{client.sock.getsockname()[1]}", is_proxied=True)
    client.send(b"PROXY ")
    assert proxied.part() == Received(1, b"PROXY ")             # the reactor does not read it


def test_an_announced_address_that_has_too_many_is_closed_without_a_byte(proxied: Scene) -> None:
    (first, one), (second, other), (third, local) = proxied.open(), proxied.open(), proxied.open()
    announce(proxied, (one, "192.0.2.1"), sends=((one, b"hello\n"),))
    assert first.line() == b"hello"
    announce(proxied, (local, ""), (other, "192.0.2.1"), sends=((other, b"secret"), (local, b"well\n")))
    assert proxied.part() == Gone(other, "max_per_ip reached")
    assert second.rest() == b"" and third.line() == b"well"
    first.close()
    assert proxied.part() == Ended(one)
    proxied.post(closes=(one,))
    until(lambda: one not in proxied.reactor._peers)
    fourth, last = proxied.open()
    announce(proxied, (last, "192.0.2.1"), sends=((last, b"now\n"),))
    assert fourth.line() == b"now"


def test_an_address_is_announced_once_and_for_proxies_alone(scene: Scene, proxied: Scene) -> None:
    _, conn_id = proxied.open()
    announce(proxied, (conn_id, "192.0.2.1"), (conn_id, "192.0.2.2"), (99, "192.0.2.3"))
    until(lambda: proxied.reactor._peers[conn_id].origin)
    assert proxied.reactor._peers[conn_id].origin == proxied.reactor._peers[conn_id].ip == "192.0.2.1"
    client, plain = scene.open()
    announce(scene, (plain, "192.0.2.1"), sends=((plain, b"x\n"),))
    assert client.line() == b"x" and scene.reactor._peers[plain].ip == "127.0.0.1"


def test_lines_about_a_slow_peer_name_the_announced_address(proxied: Scene, log_lines: LogLines,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowpeers, "STALLED_S", 0.3)
    _, conn_id = proxied.open(is_narrow=True)
    announce(proxied, (conn_id, "192.0.2.1"), sends=((conn_id, b"x" * 900_000),))
    assert "peer=192.0.2.1" in log_lines.wait_for("miner.slow")


def test_nothing_is_left_in_the_counts(proxied: Scene) -> None:
    pairs = [proxied.open() for _ in range(4)]
    announce(proxied, (pairs[0][1], "192.0.2.1"), (pairs[1][1], ""), (pairs[2][1], "192.0.2.1"))
    for client, conn_id in pairs:
        client.close()
        proxied.post(closes=(conn_id,))
    acceptor = proxied.reactor._acceptor
    until(lambda: not proxied.reactor._peers)
    assert (acceptor._open, acceptor._unannounced, dict(acceptor._open_per_ip)) == (0, 0, {})


def test_it_answers_who_asks_while_it_runs_and_after(scene: Scene) -> None:
    scene.open()
    report, = ask_all([scene.reactor], PATIENCE_S)
    assert (report.name, report.connections, report.unsent) == ("reactor", 1, 0)
    assert report.beat <= time.monotonic() and report.rounds > 0
    scene.stop()
    report, = ask_all([scene.reactor], PATIENCE_S)
    assert (report.connections, report.beat) == (0, math.inf)


def test_a_reactor_that_sleeps_does_not_hang(scene: Scene) -> None:
    scene.open()
    until(lambda: scene.reactor.beat == math.inf)
