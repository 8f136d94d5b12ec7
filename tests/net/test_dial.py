"""Sessions that own two connections: reactor, resolver and workers over real sockets, then one worker alone."""

from __future__ import annotations

import math
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.net.conftest import LogLines
from tests.net.far import closed_port, far, silent
from tests.net.lines import LineConnection
from tests.net.pools import Pool, pool, until
from tests.net.relay import Above, Downstream
from tests.net.test_listener import needs_ipv6
from tests.net.test_resolver import System
from tests.net.test_worker import Scene
from tests.net.tlsends import client_context, server_context
from warppool.errors import LocalProtocolError
from warppool.events import Close, Connection, Dial, Event, Now, Nudge, Send
from warppool.net import dials as module
from warppool.net.clients import Stack
from warppool.net.inbox import Connected, ConnectFailed, Drain, FromReactor, Gone, JobReady, Opened, Received
from warppool.net.resolver import Connect
from warppool.net.tls import Tls
from warppool.net.worker import Worker
from warppool.transport import PLAIN

RELAY, ECHO = "kind-0", "kind-1"


@contextmanager
def relays(host: str = "127.0.0.1", port: int = 0, workers: int = 2, max_unanswered: int = 1024,
           **options: Any) -> Iterator[Pool]:
    """A shell that relays what it accepts to `host` and `port`; 0 is a second listener of its own, with an echo."""
    listeners = ["127.0.0.1:0", "[::1]:0" if host == "::1" else "127.0.0.1:0"]

    def connect(opened: Opened, now: Now) -> Connection:
        if opened.listener == ECHO:
            return LineConnection(opened.conn_id)
        return Downstream(opened.conn_id, host, port or running.listeners[1].port, now, max_unanswered)

    with pool(listeners, workers=workers, connect=connect, **options) as running:
        yield running


def below(running: Pool, conn_id: int = 1) -> Downstream:
    until(lambda: conn_id in running.connections)
    connection = running.connections[conn_id]
    assert isinstance(connection, Downstream)
    return connection


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", pytest.param("::1", marks=needs_ipv6)])
def test_lines_go_up_and_come_back(host: str) -> None:
    with relays(host) as running:
        client = running.client()
        client.send(b"echo one\necho two\n")                    # before there is an upstream
        assert client.lines(2) == [b"one", b"two"]
        client.send(b"echo three\n")
        assert client.line() == b"three"


def test_a_dialled_connection_belongs_to_the_worker_that_asked_and_accepted_ones_go_round() -> None:
    with far() as end, relays(port=end.port, max_connections=20) as running:
        clients = []
        for _ in range(20):                     # each with its upstream, before the next one comes
            clients.append(running.client())
            there = end.take()
            clients[-1].send(b"hello\n")
            there.send(there.line() + b"\n")
            assert clients[-1].line() == b"hello"
        assert [(stats.connections, stats.upstreams) for stats in running.ask()] == [(10, 10), (10, 10)]
        for conn_id, connection in running.connections.items():
            assert isinstance(connection, Downstream)
            assert connection.above.threads == {running.owners[conn_id]}
        assert running.client().rest() == b""                   # 20 is the limit, of accepted ones


def test_two_hundred_at_once_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System()
    system.known["pool.example"] = ["127.0.0.1"]
    monkeypatch.setattr(socket, "getaddrinfo", system.getaddrinfo)
    with relays("pool.example") as running:
        clients = [running.client() for _ in range(200)]
        for number, client in enumerate(clients):
            client.send(b"echo %d\n" % number)
        assert [client.line() for client in clients] == [b"%d" % number for number in range(200)]
        assert sum(stats.upstreams for stats in running.ask()) == 200
    system.let_go()


def test_another_thread_may_have_something_dialled_by_a_worker() -> None:
    with far() as end, relays() as running:
        below = Downstream(0, end.host, end.port, Now(0.0, 0.0))
        running.inboxes[1].put(Dial(0, end.host, end.port, below.above))
        end.take().send(b"hello\n")
        until(lambda: below.above.calls[1:] == ["receive"])
        assert below.above.threads == {"worker-1"}
        assert [(stats.connections, stats.upstreams) for stats in running.ask()] == [(0, 0), (0, 1)]


def test_a_closed_port_is_told_to_the_session() -> None:
    port = closed_port()
    with relays(port=port) as running:
        assert running.client().rest() == b"failed: 127.0.0.1:%d: Connection refused\n" % port
        assert below(running).above.calls == [f"failed 127.0.0.1:{port}: Connection refused"]


def test_a_silent_address_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DIAL_S", 0.1)
    with silent() as hole, relays(port=hole.port) as running:
        assert running.client().rest() == b"failed: 127.0.0.1:%d: timed out\n" % hole.port


def test_names_that_lead_nowhere_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DIAL_S", 0.1)
    system = System()
    system.hanging.add("slow.example")
    monkeypatch.setattr(socket, "getaddrinfo", system.getaddrinfo)
    with relays("nowhere.example", port=1) as running:
        assert running.client().rest() == b"failed: nowhere.example: Name or service not known\n"
    with relays("slow.example", port=1) as running:
        assert running.client().rest() == b"failed: slow.example: no answer from the resolver\n"
    system.let_go()


def test_the_upstream_closes() -> None:
    with far() as end, relays(port=end.port) as running:
        client = running.client()
        there = end.take()
        there.send(b"last words\n")
        there.close()
        assert client.rest() == b"last words\nlost\n"
        assert below(running).above.calls[1:] == ["receive", "closed"]


def test_the_machine_closes_first() -> None:
    with far() as end, relays(port=end.port) as running:
        client, there = running.client(), end.take()
        client.send(b"hello\n")
        assert there.line() == b"hello"
        client.reset()
        until(lambda: not below(running).is_open)
        there.send(b"verdict\n")                # still heard: the session waits for it
        assert there.rest() == b""              # and then hangs up
        until(lambda: not any(stats.connections or stats.upstreams for stats in running.ask()))
        assert below(running).unanswered == 0


def test_the_machine_leaves_before_the_upstream_stands() -> None:
    with relays("slow.example") as running, pytest.MonkeyPatch.context() as patch:
        system = System()
        system.known["slow.example"] = ["127.0.0.1"]
        system.hanging.add("slow.example")
        patch.setattr(socket, "getaddrinfo", system.getaddrinfo)
        client = running.client()
        until(lambda: system.asked)
        client.close()
        until(lambda: not below(running).is_open)
        system.let_go()
        until(lambda: "closed" in below(running).above.calls)   # opened, and at once given up
        until(lambda: not any(stats.connections or stats.upstreams for stats in running.ask()))


def test_what_is_held_back_goes_on_when_the_upstream_answers() -> None:
    """The steps that make room are the upstream's; the lines that wait are the machine's."""
    with relays(max_unanswered=1) as running:
        client = running.client()
        client.send(b"".join(b"echo %d\n" % number for number in range(500)))
        assert client.lines(500) == [b"%d" % number for number in range(500)]


def test_what_comes_from_above_goes_through_the_tls_below() -> None:
    """A session's other connection has no way around it, neither for answers nor for the goodbye."""
    with far() as end:
        def serve(opened: Opened, now: Now) -> Stack:
            return Stack(Tls(server_context(), now.monotonic), Downstream(opened.conn_id, end.host, end.port, now))

        with pool(serve=serve) as running:
            client = running.client()
            there = end.take()
            there.send(b"early\n")              # before the handshake below
            client.sock = client_context().wrap_socket(client.sock)
            assert client.line() == b"early"
            client.send(b"up\n")
            assert there.line() == b"up"
            there.send(b"down\n")
            assert client.line() == b"down"
            there.close()
            assert client.line() == b"lost"
            assert client.line() == b""         # with close_notify, or this would raise


def test_a_flood_upwards_is_taken_in_portions() -> None:
    with far() as end, relays(port=end.port, max_unanswered=4) as running:
        client, there = running.client(), end.take()
        line = b"x" * 1023
        sender = threading.Thread(target=client.send, args=((line + b"\n") * 2000,))
        sender.start()
        for number in range(2000):
            assert there.line() == line
            there.send(b"%d\n" % number)
        assert client.lines(2000) == [b"%d" % number for number in range(2000)]
        sender.join()


@pytest.mark.parametrize("step", ["opened", "receive", "closed"])
def test_an_upstream_whose_step_raises_is_closed_alone(step: str, log_lines: LogLines,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> list[Event]:
        raise ValueError(f"{step} is broken")

    with far() as end, relays(port=end.port) as running:
        other, other_end = running.client(), end.take()
        other.send(b"one\n")
        assert other_end.line() == b"one"
        with monkeypatch.context() as patch:
            patch.setattr(Above, step, fail)
            client, there = running.client(), end.take()
            there.send(b"x\n")
            if step == "closed":
                assert client.line() == b"x"
                there.close()
            else:
                assert there.rest() == b""
                assert client.rest() == b"lost\n"
            assert f"{step} is broken" in log_lines.wait_for("event=conn.failed")
        other_end.send(b"two\n")
        assert other.line() == b"two"


def _stop_in_background(running: Pool) -> threading.Thread:
    stopping = threading.Thread(target=running.stop_gracefully)
    stopping.start()
    until(lambda: running.listeners[0].sock.fileno() == -1)
    until(lambda: all(worker._is_draining for worker in running.workers))
    return stopping


def test_a_drain_waits_for_the_upstreams_word() -> None:
    with far() as end, relays(port=end.port) as running:
        client, there = running.client(), end.take()
        client.send(b"share\n")
        assert there.line() == b"share"
        stopping = _stop_in_background(running)
        client.send(b"too late\n")
        there.send(b"accepted\n")
        assert client.rest() == b"accepted\n"
        assert there.rest() == b""
        client.close()
        there.close()
        stopping.join()
        assert not running.is_running


def test_a_stop_waits_for_no_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for the network nor for a name server; what is pending hears so, and nothing is left open."""
    system = System()
    system.hanging.add("slow.example")
    monkeypatch.setattr(socket, "getaddrinfo", system.getaddrinfo)
    with silent() as hole, relays(port=hole.port) as running:
        clients = [running.client() for _ in range(20)]
        until(lambda: len(running.reactor._dialler._attempts) == 20)
        running.resolver.dial(Connect(0, 99, "slow.example", 1, math.inf))
        until(lambda: system.asked)
        for client in clients:
            client.sock.shutdown(socket.SHUT_WR)
        running.stop_gracefully()
        assert [below(running, conn_id).above.calls for conn_id in range(1, 21)] == [["failed stopping"]] * 20
    system.let_go()


# --- one worker alone -------------------------------------------------------------------------------------------------


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene()
    monkeypatch.setattr(made.worker, "_connect", lambda opened, now: _relay(made, opened, now))
    yield made
    made.mailbox.close()


def _relay(scene: Scene, opened: Opened, now: Now) -> Stack:
    made = Downstream(opened.conn_id, "pool.example", 3333, now)
    scene.connections[opened.conn_id] = made    # type: ignore[assignment]
    return Stack(PLAIN, made)


def _of(scene: Scene, conn_id: int = 1) -> Downstream:
    made = scene.connections[conn_id]
    assert isinstance(made, Downstream)
    return made


def test_a_wish_goes_to_the_resolver_once_with_its_deadline(scene: Scene) -> None:
    before = time.monotonic()
    scene.open(1, 2)
    first, second = scene.asked
    assert first[:4] == (4, 1, "pool.example", 3333) and second[:4] == (4, 2, "pool.example", 3333)
    assert before + module.DIAL_S <= first.deadline <= time.monotonic() + module.DIAL_S


def test_held_lines_leave_with_the_opening(scene: Scene) -> None:
    scene.open(1)
    assert scene.turn(Received(1, b"early\n")) == []
    assert scene.turn(Connected(1, 17, "198.51.100.1:3333")) == []      # what was held goes on in its turn
    output, = scene.turn()
    assert output.sends == ((17, b"early\n"),)
    assert _of(scene).above.conn_id == 17
    assert _of(scene).above.calls == ["opened 198.51.100.1:3333"]
    output, = scene.turn(Received(17, b"back\n"))
    assert output.sends == ((1, b"back\n"),)
    stats = scene.stats()
    assert (stats.connections, stats.upstreams) == (1, 1)


@pytest.mark.parametrize("wrap", [lambda part: FromReactor((part,)), lambda part: part])
def test_a_failure_may_come_from_the_reactor_or_the_resolver(scene: Scene, wrap: Callable[[Any], Any]) -> None:
    scene.open(1)
    output, = scene.turn(wrap(ConnectFailed(1, "no route")))
    assert output.sends == ((1, b"failed: no route\n"),) and output.closes == (1,)
    assert scene.turn(wrap(ConnectFailed(1, "again"))) == []    # and is told once
    assert _of(scene).above.calls == ["failed no route"]


def test_a_failed_that_raises_costs_nobody_else(scene: Scene, log_lines: LogLines,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open(1, 2)
    monkeypatch.setattr(_of(scene).above, "failed", lambda *_: 1 / 0)
    output, = scene.turn(FromReactor((ConnectFailed(1, "no route"), ConnectFailed(2, "no route"))))
    assert output.sends == ((2, b"failed: no route\n"),)
    assert "ZeroDivisionError" in log_lines.having("event=dial.broken worker=4 dial=1")[0]


def test_a_drain_gives_dials_up_and_takes_no_new_ones(scene: Scene) -> None:
    reply: queue.SimpleQueue[int] = queue.SimpleQueue()
    scene.open(1)
    output, = scene.turn(Drain(reply))
    assert output.sends == ((1, b"failed: stopping\n"),)
    assert reply.get_nowait() == 4
    assert scene.turn(Connected(1, 17, "late"))[0].closes == (17,)
    assert _of(scene).above.calls == ["failed stopping"]
    assert scene.stats().upstreams == 0


def test_a_drain_hears_all_that_an_upstream_says_in_its_turns(scene: Scene) -> None:
    """What did not fit into one turn comes in the next. What machines sent is passed over."""
    scene.open(1)
    scene.turn(Connected(1, 17, "198.51.100.1:3333"))
    scene.turn()
    outputs = scene.turn(Received(1, b"a share\n"), Received(1, b"too much\n"), Drain(queue.SimpleQueue()),
                         Received(17, b"one\n"), Received(17, b"two\n"))
    assert [output.sends for output in outputs] == [((17, b"a share\n"), (1, b"one\ntwo\n"))]
    assert not scene.worker._turns.has_more, "the thread may sleep"


def test_no_dial_once_a_drain_has_begun(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open(1, 2)
    for conn_id in (1, 2):
        monkeypatch.setattr(_of(scene, conn_id).above, "failed",
                            lambda reason, now: [Dial(1, "next.example", 1, Above(_of(scene)))])
    scene.turn(ConnectFailed(1, "no route"), Drain(queue.SimpleQueue()))
    assert [connect.host for connect in scene.asked] == ["pool.example"] * 2 + ["next.example"]


def test_a_dial_of_a_pool_that_dials_nobody_is_a_bug_of_that_connection(log_lines: LogLines) -> None:
    other = Scene()
    other.worker = Worker(0, other.inbox, other.mailbox, other.hasher, lambda opened, now: _relay(other, opened, now),
                          record=lambda _: None, refused=lambda _: None, found=lambda _: None)
    try:
        output, = other.turn(Opened(1, "kind", "peer-1"))
        assert output.closes == (1,)
        assert LocalProtocolError.__name__ in log_lines.having("event=conn.failed conn=1")[0]
    finally:
        other.mailbox.close()


def test_jobs_and_gone_reach_an_upstream_like_any_other(scene: Scene) -> None:
    scene.open(1)
    scene.turn(Connected(1, 17, "far"))
    assert scene.turn(JobReady("J")) == []      # type: ignore[arg-type]
    output, = scene.turn(Gone(17, "reset"))
    assert output.sends == ((1, b"lost\n"),) and output.closes == (1,)
    assert scene.turn(Received(17, b"never\n"), Gone(17, "again")) == []
    assert _of(scene).above.calls == ["opened far", "closed"]


def test_a_mute_machine_is_forgotten_when_the_upstream_has_answered(scene: Scene) -> None:
    scene.open(1)
    scene.turn(Connected(1, 17, "far"), Received(1, b"share\n"), Gone(1, "left"))
    assert scene.stats().connections == 1
    output, = scene.turn(Received(17, b"verdict\n"))
    assert output.closes == (17,)
    stats = scene.stats()
    assert (stats.connections, stats.upstreams) == (0, 0)


def test_a_nudge_asks_for_a_tick_in_the_same_wake_up_and_takes_over_its_deadline(
        scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open(1, 2)
    ticks: list[int] = []

    def tick(now: Now) -> list[Event]:
        ticks.append(2)
        _of(scene, 2).wakes_at = now.monotonic + 1000.0
        return [Send(2, b"nudged\n")]

    monkeypatch.setattr(_of(scene, 2), "tick", tick)
    monkeypatch.setattr(_of(scene, 1), "receive", lambda *_: [Nudge(2), Nudge(2), Nudge(99), Send(1, b"done\n")])
    output, = scene.turn(Received(1, b"x"))
    assert output.sends == ((1, b"done\n"), (2, b"nudged\n")) and ticks == [2]
    assert time.monotonic() + 900.0 < scene.worker._deadlines.first < math.inf


def test_two_that_nudge_each_other_for_ever_do_not_hold_the_thread(scene: Scene,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open(1, 2)
    for conn_id in (1, 2):
        monkeypatch.setattr(_of(scene, conn_id), "tick", lambda now, other=3 - conn_id: [Nudge(other)])
    monkeypatch.setattr(_of(scene, 1), "receive", lambda *_: [Nudge(2)])
    scene.turn(Received(1, b"x"))
    assert scene.wake() == -math.inf                    # the rest comes in a wake-up of its own, at once
    monkeypatch.setattr(_of(scene, 1), "tick", lambda now: [Close(1, "tired")])
    monkeypatch.setattr(_of(scene, 2), "tick", lambda now: [Nudge(1)])
    closes: list[int] = []
    for _ in range(2):
        closes += [conn_id for output in scene.turn() for conn_id in output.closes]
    assert closes == [1]
