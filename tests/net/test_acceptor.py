"""The acceptor: limits, and what `accept` can fail with."""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
from collections.abc import Iterator

import pytest

from tests.net.conftest import LogLines
from warppool.addresses import Net, parse_net
from warppool.net.acceptor import ACCEPTS_PER_TURN, PAUSE_S, Accepted, Acceptor
from warppool.net.limits import MAX_UNANNOUNCED, AcceptLimits
from warppool.net.listener import Listener, listen


class Scene:
    """An acceptor without a reactor."""

    def __init__(self, max_connections: int, max_per_ip: int, proxy_from: tuple[Net, ...] = ()) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = listen("sv2", "127.0.0.1:0", "stratum.sv2_listen")
        self.acceptor = Acceptor([self.listener], self.selector,
                                 AcceptLimits(max_connections, max_per_ip, proxy_from))
        self._clients: list[socket.socket] = []
        self._accepted: list[Accepted] = []

    def knock(self, count: int, source: str = "127.0.0.1") -> list[socket.socket]:
        clients = [socket.create_connection(("127.0.0.1", self.listener.port), 10, (source, 0)) for _ in range(count)]
        self._clients += clients
        return clients

    def accept(self, now: float = 0.0, listener: Listener | None = None) -> list[Accepted]:
        accepted = list(self.acceptor.accept(listener or self.listener, now))
        self._accepted += accepted
        return accepted

    def close(self) -> None:
        self.acceptor.close()
        self.selector.close()
        for sock in (*self._clients, *(each.sock for each in self._accepted)):
            sock.close()


@pytest.fixture
def scenes() -> Iterator[list[Scene]]:
    opened: list[Scene] = []
    yield opened
    for scene in opened:
        scene.close()


def make(scenes: list[Scene], max_connections: int = 1000, max_per_ip: int = 0,
         proxy_from: tuple[Net, ...] = ()) -> Scene:
    scenes.append(Scene(max_connections, max_per_ip, proxy_from))
    return scenes[-1]


def is_closed(client: socket.socket) -> bool:
    return bool(select.select([client], [], [], 0)[0]) and client.recv(1) == b""


def test_who_is_accepted_comes_with_its_address(scenes: list[Scene]) -> None:
    scene = make(scenes)
    client, = scene.knock(1)
    each, = scene.accept()
    assert (each.ip, each.peer) == ("127.0.0.1", f"127.0.0.1:{client.getsockname()[1]}")
    assert not each.sock.getblocking()
    assert scene.accept() == []


def test_those_over_the_cap_are_closed_at_once_and_said_once(scenes: list[Scene], log_lines: LogLines) -> None:
    scene = make(scenes, max_connections=3)
    clients = scene.knock(5)
    accepted = scene.accept(now=100.0)
    assert len(accepted) == 3
    assert [is_closed(client) for client in clients] == [False] * 3 + [True] * 2
    line, = log_lines.having("event=connection.refused")
    assert "count=1" in line and "limit=3" in line
    accepted[0].sock.close()
    scene.acceptor.release(accepted[0].origin)
    scene.knock(2)
    assert len(scene.accept(now=101.0)) == 1                    # one left, one comes in
    scene.acceptor.turn(200.0)
    assert "count=2" in log_lines.having("event=connection.refused")[1]


def test_one_address_has_its_share(scenes: list[Scene], log_lines: LogLines) -> None:
    scene = make(scenes, max_per_ip=2)
    crowd, other = scene.knock(4), scene.knock(1, source="127.0.0.2")
    accepted = scene.accept()
    assert [each.ip for each in accepted] == ["127.0.0.1"] * 2 + ["127.0.0.2"]
    assert [is_closed(client) for client in crowd + other] == [False, False, True, True, False]
    assert "peer=127.0.0.1 limit=2" in log_lines.having("event=address.refused")[0]
    assert [each.origin for each in accepted] == [each.ip for each in accepted]
    scene.acceptor.release("127.0.0.1")
    scene.knock(2)
    assert len(scene.accept()) == 1
    for ip in ("127.0.0.1", "127.0.0.1", "127.0.0.2"):
        scene.acceptor.release(ip)
    assert not scene.acceptor._open_per_ip                        # nobody inside, nothing remembered


def test_by_default_an_address_has_its_share_and_loopback_none(scenes: list[Scene], log_lines: LogLines,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warppool.net.limits.LEAST_PER_IP", 2)
    scene = make(scenes, max_connections=4, max_per_ip=-1)
    scene.knock(4)
    assert len(scene.accept()) == 4                             # a proxy on this machine stands for many
    monkeypatch.setattr("warppool.net.acceptor.is_loopback", lambda ip: False)
    other = make(scenes, max_connections=4, max_per_ip=-1)
    clients = other.knock(4)
    assert len(other.accept()) == 2 and [is_closed(client) for client in clients] == [False, False, True, True]
    assert "peer=127.0.0.1 limit=2" in log_lines.having("event=address.refused")[0]


def test_a_storm_is_let_in_by_portions(scenes: list[Scene]) -> None:
    scene = make(scenes)
    scene.knock(ACCEPTS_PER_TURN + 5)
    assert [len(scene.accept()) for _ in range(3)] == [ACCEPTS_PER_TURN, 5, 0]


class Scripted:
    """A listening socket whose `accept` fails as told, and then goes on."""

    def __init__(self, real: socket.socket, *numbers: int) -> None:
        self._real, self._numbers = real, list(numbers)

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self._numbers:
            number = self._numbers.pop(0)
            raise OSError(number, os.strerror(number))
        return self._real.accept()


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN])
def test_one_that_left_while_waiting_does_not_stop_the_others(scenes: list[Scene], number: int) -> None:
    scene = make(scenes)
    scene.knock(1)
    scripted = Listener("sv2", Scripted(scene.listener.sock, number), "")    # type: ignore[arg-type]
    assert len(scene.accept(listener=scripted)) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_accepting_pauses_when_the_system_has_no_more(scenes: list[Scene], log_lines: LogLines, number: int) -> None:
    scene = make(scenes)
    scene.knock(1)
    scripted = Listener("sv2", Scripted(scene.listener.sock, number), "")    # type: ignore[arg-type]
    assert scene.selector.select(0)
    assert scene.accept(now=50.0, listener=scripted) == []
    assert scene.selector.select(0) == []                       # nobody looks at the listener ...
    assert scene.acceptor.resumes_at == 50.0 + PAUSE_S
    scene.acceptor.turn(50.0 + PAUSE_S / 2)
    assert scene.selector.select(0) == []
    scene.acceptor.turn(50.0 + PAUSE_S)                             # ... until the pause is over
    assert scene.selector.select(0)
    assert len(scene.accept(now=52.0, listener=scripted)) == 1
    line, = log_lines.having("event=accept.paused")
    assert "count=1" in line and "seconds=1" in line


def test_an_acceptor_may_be_closed_in_its_pause(scenes: list[Scene]) -> None:
    scene = make(scenes)
    scene.accept(listener=Listener("sv2", Scripted(scene.listener.sock, errno.EMFILE), ""))    # type: ignore[arg-type]
    scene.acceptor.close()
    scene.acceptor.turn(1e9)
    assert scene.listener.sock.fileno() == -1 and not scene.selector.get_map()


# --- proxies ----------------------------------------------------------------------------------------------------------

PROXY = (parse_net("127.0.0.2"),)


def test_what_comes_from_a_proxy_is_nobodys_until_its_header_is_read(scenes: list[Scene]) -> None:
    scene = make(scenes, max_per_ip=1, proxy_from=PROXY)
    scene.knock(3, source="127.0.0.2")
    scene.knock(1)
    accepted = scene.accept()
    assert [each.origin for each in accepted] == [None, None, None, "127.0.0.1"]
    assert dict(scene.acceptor._open_per_ip) == {"127.0.0.1": 1}
    assert scene.acceptor.announce("192.0.2.1", 0.0) == "192.0.2.1"
    assert scene.acceptor.announce("2001:db8::1", 0.0) == "2001:db8::/64"
    assert scene.acceptor.announce("", 0.0) == ""               # a health check
    for origin in ("192.0.2.1", "2001:db8::/64", "", "127.0.0.1"):
        scene.acceptor.release(origin)
    assert not scene.acceptor._open_per_ip and not scene.acceptor._open and not scene.acceptor._unannounced


def test_the_announced_address_has_its_share_with_whatever_came_straight_from_it(scenes: list[Scene],
                                                                                 log_lines: LogLines) -> None:
    scene = make(scenes, max_per_ip=2, proxy_from=PROXY)
    scene.knock(1)
    scene.knock(3, source="127.0.0.2")
    scene.accept()
    announced = [scene.acceptor.announce("127.0.0.1", 5.0) for _ in range(3)]
    assert announced == ["127.0.0.1", None, None]
    assert "peer=127.0.0.1 limit=2" in log_lines.having("event=address.refused")[0]
    assert scene.knock(1) and scene.accept() == []              # straight, too
    for origin in ("127.0.0.1", "127.0.0.1", "", ""):
        scene.acceptor.release(origin)
    assert not scene.acceptor._open_per_ip and not scene.acceptor._open


def test_addresses_of_one_net_count_together_whoever_announces_them(scenes: list[Scene]) -> None:
    scene = make(scenes, max_per_ip=1, proxy_from=PROXY)
    scene.knock(2, source="127.0.0.2")
    scene.accept()
    assert scene.acceptor.announce("2001:db8::1", 0.0) == "2001:db8::/64"
    assert scene.acceptor.announce("2001:db8::2", 0.0) is None


def test_a_proxy_that_announces_an_address_of_proxies_is_counted_all_the_same(scenes: list[Scene]) -> None:
    """Where everybody is a proxy (0.0.0.0/0), the limit per address holds nevertheless."""
    scene = make(scenes, max_per_ip=1, proxy_from=(parse_net("0.0.0.0/0"),))
    scene.knock(2)
    scene.accept()
    assert [scene.acceptor.announce("192.0.2.1", 0.0) for _ in range(2)] == ["192.0.2.1", None]


def test_at_most_so_many_are_before_their_header(scenes: list[Scene], log_lines: LogLines,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_UNANNOUNCED == 1000
    monkeypatch.setattr("warppool.net.acceptor.MAX_UNANNOUNCED", 2)
    scene = make(scenes, proxy_from=PROXY)
    clients = scene.knock(4, source="127.0.0.2")
    assert len(scene.accept()) == 2
    assert [is_closed(client) for client in clients] == [False, False, True, True]
    assert "count=1 peer=127.0.0.2 limit=2" in log_lines.having("event=proxy.refused")[0]
    scene.knock(1)
    assert len(scene.accept()) == 1                             # others come in
    scene.acceptor.announce("192.0.2.1", 0.0)
    scene.acceptor.release(None)                                   # one gave up before its header
    scene.knock(3, source="127.0.0.2")
    assert len(scene.accept()) == 2
    scene.acceptor.turn(100.0)
    assert "count=2" in log_lines.having("event=proxy.refused")[1]


def test_proxies_connections_count_towards_all(scenes: list[Scene]) -> None:
    scene = make(scenes, max_connections=2, proxy_from=PROXY)
    scene.knock(3, source="127.0.0.2")
    assert len(scene.accept()) == 2


def test_other_limits_are_for_those_who_come_from_then_on(scenes: list[Scene]) -> None:
    scene = make(scenes, max_per_ip=1)
    scene.knock(2)
    accepted = scene.accept()
    assert len(accepted) == 1
    scene.acceptor.limit(AcceptLimits(1000, 0, PROXY))
    scene.knock(2)
    scene.knock(1, source="127.0.0.2")
    accepted += scene.accept()
    assert [each.origin for each in accepted] == ["127.0.0.1", "", "", None]
    scene.acceptor.limit(AcceptLimits(1000, 2))
    for each in accepted:
        scene.acceptor.release(each.origin)
    assert not scene.acceptor._open_per_ip and not scene.acceptor._open and not scene.acceptor._unannounced


def test_where_all_are_turned_away_those_of_the_listeners_that_let_past_come_in(scenes: list[Scene]) -> None:
    scene = make(scenes)
    scene.acceptor.turns_away = True
    away, = scene.knock(1)
    assert scene.accept() == [] and is_closed(away)
    scene.acceptor.let_past = frozenset({"sv2-spec"})
    away, = scene.knock(1)
    assert scene.accept() == [] and is_closed(away), "another kind of listener"
    scene.acceptor.let_past = frozenset({"sv2"})
    client, = scene.knock(1)
    assert len(scene.accept()) == 1 and not is_closed(client)


def test_those_who_are_closed_are_counted_by_reason(scenes: list[Scene]) -> None:
    scene = make(scenes, max_connections=3, max_per_ip=1)
    drops = scene.acceptor._drops
    scene.knock(3)
    assert len(scene.accept()) == 1 and drops == {"max_per_ip": 2}
    scene.knock(1, "127.0.0.2")
    scene.knock(1, "127.0.0.3")
    scene.knock(2, "127.0.0.4")
    assert len(scene.accept()) == 2 and drops == {"max_per_ip": 2, "max_connections": 2}
    scene.acceptor.turns_away = True
    scene.knock(1)
    assert scene.accept() == [] and drops["no_work"] == 1
