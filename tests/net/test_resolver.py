"""The resolver alone; the system's own is replaced, and hangs where the test wants it to."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.net.conftest import LogLines
from tests.net.pools import PATIENCE_S, until
from warppool.loop import ask_all
from warppool.net.inbox import ConnectFailed
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ConnectTo, ReactorItem, SocketAddress
from warppool.net.resolver import MAX_LOOKUPS, Connect, Resolver, numeric_address
from warppool.threads import spawn

V4, V6 = socket.AF_INET, socket.AF_INET6
SOON_S = 0.05


class System:
    """Stands for the system's resolver: what it knows, and the names for which it hangs until `let_go`."""

    def __init__(self) -> None:
        self.known: dict[str, list[str] | Exception] = {}
        self.hanging: set[str] = set()
        self.asked: list[str] = []
        self._released = threading.Event()

    def getaddrinfo(self, host: str, port: None, type: int) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:
        assert type == socket.SOCK_STREAM
        self.asked.append(host)
        if host in self.hanging:
            self._released.wait(PATIENCE_S)
        found = self.known.get(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if isinstance(found, Exception):
            raise found
        return [(V6, type, 6, "", (ip, 0, 0, 3)) if ":" in ip else (V4, type, 6, "", (ip, 0)) for ip in found]

    def let_go(self) -> None:
        self._released.set()
        until(lambda: not any(thread.name == "lookup" for thread in threading.enumerate()))


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    made = System()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.let_go()


class Scene:
    """A running resolver for two workers; `to_reactor` and `to_worker` say what comes out."""

    def __init__(self) -> None:
        self.mailbox: Mailbox[ReactorItem] = Mailbox()
        self.inboxes: list[queue.Queue[Any]] = [queue.Queue(), queue.Queue()]
        self.resolver = Resolver(self.mailbox, self.inboxes)
        self.died: list[str] = []
        self._orders: list[ReactorItem] = []
        self._thread = spawn("resolver", self.resolver.run, self.died.append)

    def ask(self, host: str, dial_id: int = 1, worker: int = 0, seconds: float = 60.0) -> float:
        deadline = time.monotonic() + seconds
        self.resolver.dial(Connect(worker, dial_id, host, 3333, deadline))
        return deadline

    def to_reactor(self) -> ConnectTo:
        def is_there() -> bool:
            self._orders += self.mailbox.drain()
            return bool(self._orders)

        until(is_there)
        order = self._orders.pop(0)
        assert isinstance(order, ConnectTo)
        return order

    def to_worker(self, worker: int = 0) -> ConnectFailed:
        failed = self.inboxes[worker].get(timeout=PATIENCE_S)
        assert isinstance(failed, ConnectFailed)
        return failed

    def stop(self) -> None:
        self.resolver.stop()
        self._thread.join(PATIENCE_S)
        self.mailbox.close()
        assert not self._thread.is_alive() and self.died == []


@pytest.fixture
def scene(system: System) -> Iterator[Scene]:
    running = Scene()
    yield running
    running.stop()


@pytest.mark.parametrize(("host", "address"), [
    ("192.0.2.7", SocketAddress(V4, ("192.0.2.7", 0))), ("2001:db8::7", SocketAddress(V6, ("2001:db8::7", 0, 0, 0))),
    ("pool.example", None), ("fe80::1%eth0", None), ("127.1", None), ("", None), ("[::1]", None)])
def test_what_needs_no_lookup(host: str, address: SocketAddress | None) -> None:
    assert numeric_address(host) == address


def test_an_address_goes_straight_on(scene: Scene, system: System) -> None:
    deadline = scene.ask("192.0.2.7", dial_id=5, worker=1)
    assert scene.mailbox.drain() == [ConnectTo(1, 5, (SocketAddress(V4, ("192.0.2.7", 3333)),), deadline)]
    assert system.asked == []


def test_a_name_becomes_addresses_of_both_families_by_turns(scene: Scene, system: System) -> None:
    system.known["pool.example"] = ["2001:db8::1", "2001:db8::2", "2001:db8::2", "2001:db8::3", "192.0.2.1"]
    deadline = scene.ask("pool.example", dial_id=5, worker=1)
    assert scene.to_reactor() == ConnectTo(1, 5, (
        SocketAddress(V6, ("2001:db8::1", 3333, 0, 3)), SocketAddress(V4, ("192.0.2.1", 3333)),
        SocketAddress(V6, ("2001:db8::2", 3333, 0, 3)), SocketAddress(V6, ("2001:db8::3", 3333, 0, 3))), deadline)
    system.known["pool.example"] = [f"192.0.2.{number}" for number in range(9)]
    scene.ask("pool.example")
    assert [address.sockaddr[0] for address in scene.to_reactor().addresses] == [
        "192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3"]


@pytest.mark.parametrize(("answer", "reason"), [
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
    (OSError("odd"), "lookup failed"), (UnicodeError("label too long"), "not a name"), (RuntimeError("a bug"),
                                                                                       "lookup failed"),
    ([], "no address")])
def test_a_name_that_leads_nowhere(scene: Scene, system: System, answer: list[str] | Exception, reason: str) -> None:
    system.known["pool.example"] = answer
    scene.ask("pool.example", dial_id=5, worker=1)
    assert scene.to_worker(1) == ConnectFailed(5, f"pool.example: {reason}")
    system.known["pool.example"] = ["192.0.2.1"]                # and it is asked again next time
    scene.ask("pool.example", dial_id=6)
    assert scene.to_reactor().dial_id == 6


def test_one_lookup_serves_all_who_wait(scene: Scene, system: System) -> None:
    system.known["pool.example"] = ["192.0.2.1"]
    system.hanging.add("pool.example")
    for dial_id in range(200):
        scene.ask("pool.example", dial_id, worker=dial_id % 2)
    until(lambda: len(scene.resolver._waiting.get("pool.example", ())) == 200)
    system.let_go()
    assert [(order.worker, order.dial_id) for order in (scene.to_reactor() for _ in range(200))] == [
        (dial_id % 2, dial_id) for dial_id in range(200)]
    assert system.asked == ["pool.example"]


def test_a_name_that_hangs_holds_nobody_up_and_ends_in_time(scene: Scene, system: System) -> None:
    system.known["pool.example"] = ["192.0.2.1"]
    system.hanging.add("slow.example")
    scene.ask("slow.example", 1, seconds=SOON_S)
    scene.ask("slow.example", 2)                                # who has more time waits on
    scene.ask("pool.example", 3)
    assert scene.to_reactor().dial_id == 3
    assert scene.to_worker() == ConnectFailed(1, "slow.example: no answer from the resolver")
    system.known["slow.example"] = ["192.0.2.2"]
    system.let_go()
    assert scene.to_reactor().dial_id == 2
    assert system.asked.count("slow.example") == 1


def test_so_many_names_hang_at_once_and_the_next_wait_their_turn(scene: Scene, system: System) -> None:
    names = [f"slow{number}.example" for number in range(MAX_LOOKUPS)]
    system.hanging.update(names)
    for name in names:
        scene.ask(name)
    scene.ask("late.example", 7, seconds=SOON_S)
    assert scene.to_worker() == ConnectFailed(7, "late.example: no answer from the resolver")
    assert sorted(system.asked) == sorted(names)
    system.known["next.example"] = ["192.0.2.1"]
    scene.ask("next.example", 8)
    system.let_go()
    assert scene.to_reactor().dial_id == 8
    assert {scene.to_worker().reason for _ in names} == {f"{name}: Name or service not known" for name in names}


def test_a_stop_waits_for_no_answer(system: System) -> None:
    system.hanging.add("slow.example")
    scene = Scene()
    scene.ask("slow.example")
    until(lambda: system.asked)
    scene.stop()                                                # while the lookup hangs
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "lookup"] == [True]
    assert scene.inboxes[0].empty()


def test_a_bug_costs_that_turn(scene: Scene, system: System, log_lines: LogLines,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    system.known["pool.example"] = ["192.0.2.1"]
    real = threading.Thread.start
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda self: 1 / 0)
        scene.ask("pool.example")
        assert "event=thread.failed thread=resolver" in log_lines.wait_for("thread.failed")
        log_lines.wait_for("ZeroDivisionError")
    assert threading.Thread.start is real
    scene.ask("pool.example", 2)
    assert {scene.to_reactor().dial_id, scene.to_reactor().dial_id} == {1, 2}


def test_it_reports_what_became_of_names(scene: Scene, system: System) -> None:
    system.known["pool.example"] = ["192.0.2.1"]
    system.hanging.add("slow.example")
    scene.ask("pool.example")
    scene.to_reactor()
    scene.ask("none.example")
    scene.to_worker()
    scene.ask("slow.example")
    until(lambda: "slow.example" in system.asked)
    report, = ask_all([scene.resolver], PATIENCE_S)
    assert (report.name, report.resolved, report.failed, report.waiting_dials, report.lookups) == (
        "resolver", 1, 1, 1, 1)
    system.let_go()
