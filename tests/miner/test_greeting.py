"""The first words with an upstream: over a socket of their own, and in a worker."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.over import Over
from tests.patience import PATIENCE_S, until
from warppool.addresses import PoolUrl
from warppool.errors import RemoteProtocolError, WrongServerKey
from warppool.events import Close, Dial, Now, Send
from warppool.miner.greeting import GREETING_S, HealthCheck, greet
from warppool.miner.link import PoolGone
from warppool.noise.primitives import new_buffer, public_key
from warppool.noise.transport import ResponderTransport
from warppool.service.startcheck import StartCheck
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.common import SetupConnectionError, SetupConnectionSuccess
from warppool.sv2.profile import WARP

SECRET = bytes(range(1, 33))
NOW = Now(100.0, 1_790_000_000.0)
WELL = SetupConnectionSuccess(used_version=2, flags=0)


class Pool:
    """The pool's end of a greeting, bytes in and bytes out; `answer` is what it says to SetupConnection."""

    def __init__(self, answer: object = WELL, secret: bytes = SECRET) -> None:
        self._transport = ResponderTransport(WARP.suite, WARP.suite.key_pair(secret), os.urandom(32), new_buffer(), 0.0)
        self._frames = FrameReader(4096)
        self._answer = answer

    def hear(self, data: bytes) -> bytes:
        frames = [*self._frames.feed(self._transport.open(data, 0.0))]
        return self._transport.seal(WARP.encode(self._answer) * len(frames))


def url(port: int = 34254, secret: bytes = SECRET, host: str = "127.0.0.1") -> PoolUrl:
    return PoolUrl(host, port, public_key(secret))


@contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port whose first visitor is given to `talk`."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        def serve() -> None:
            sock, _ = door.accept()
            with sock:
                talk(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        yield door.getsockname()[1]
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def talking(pool: Pool) -> Callable[[socket.socket], None]:
    def talk(sock: socket.socket) -> None:
        while data := sock.recv(4096):
            sock.sendall(pool.hear(data))

    return talk


# --- over a socket ----------------------------------------------------------------------------------------------------

def test_a_pool_that_takes_us_is_named_by_its_address():
    with listening(talking(Pool())) as port:
        assert greet(url(port)) == "127.0.0.1"


def test_a_pool_with_another_key_is_found_out():
    with listening(talking(Pool(secret=bytes(31) + b"\x09"))) as port, pytest.raises(WrongServerKey):
        greet(url(port))


def test_a_pool_that_refuses_says_why():
    refusal = SetupConnectionError(flags=0, error_code="protocol-version-mismatch")
    with listening(talking(Pool(refusal))) as port, pytest.raises(PoolGone, match="protocol-version-mismatch"):
        greet(url(port))


def after_hearing(answer: bytes) -> Callable[[socket.socket], None]:
    """Read what we say, so that the end is no reset, then say this and hang up."""
    return lambda sock: sock.sendall(answer) if sock.recv(4096) else None


def test_what_is_no_pool_is_found_out():
    with listening(after_hearing(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9)) as port, pytest.raises(RemoteProtocolError):
        greet(url(port))
    with listening(after_hearing(b"")) as port, pytest.raises(PoolGone, match="closed the connection"):
        greet(url(port))


def test_a_pool_that_is_silent_or_not_there_is_given_up():
    def say_nothing(sock: socket.socket) -> None:
        while sock.recv(4096):
            pass

    with listening(say_nothing) as port, pytest.raises(PoolGone, match="no answer within 0 s"):
        greet(url(port), 0.05)
    with pytest.raises(PoolGone, match="refused"):
        greet(url(port))
    with pytest.raises(PoolGone):
        greet(url(port, host="\udcff.example"))


# --- in a worker ------------------------------------------------------------------------------------------------------

@pytest.fixture
def told() -> list[object]:
    return []


@pytest.fixture
def check(told):
    return HealthCheck(url(), told.append)


def play(check: HealthCheck, pool: Pool) -> list[object]:
    """Open it, and let the two talk until one has nothing to say."""
    check.conn_id = 7
    over = Over(check.transport(NOW), check)
    events = over.sealed(check.opened(7, "127.0.0.1:34254", NOW), NOW)
    assert check.wakes_at == NOW.monotonic + GREETING_S
    while len(events) == 1 and isinstance(events[0], Send):
        events = over.receive(pool.hear(events[0].data), NOW)
        if over.transport.end is not None:
            events = check.broken(over.transport.end, NOW)
    return events


def test_a_check_that_is_taken_says_so_once_and_leaves(check, told):
    assert play(check, Pool()) == [Close(7, "the health check is over")]
    assert told == [None]
    assert check.closed(NOW) == [] and check.receive(b"more", NOW) == []
    assert told == [None] and check.wakes_at == float("inf")


def test_a_check_tells_of_each_way_to_fail(told):
    check = HealthCheck(url(), told.append)
    assert check.failed("127.0.0.1:34254: Connection refused", NOW) == []
    assert isinstance(told[-1], PoolGone) and "refused" in str(told[-1])
    assert isinstance(play(HealthCheck(url(), told.append), Pool(secret=bytes(31) + b"\x09"))[0], Close)
    assert isinstance(told[-1], WrongServerKey)
    play(HealthCheck(url(), told.append), Pool(SetupConnectionError(flags=0, error_code="no")))
    assert isinstance(told[-1], PoolGone) and "no" in str(told[-1])
    silent = HealthCheck(url(), told.append)
    silent.conn_id = 8
    silent.opened(8, "", NOW)
    assert silent.tick(NOW) == [Close(8, "the health check is over")]
    assert "no answer within 10 s" in str(told[-1])
    gone = HealthCheck(url(), told.append)
    gone.opened(9, "", NOW)
    assert gone.closed(NOW) == [] and "closed the connection" in str(told[-1])
    assert len(told) == 5


# --- the check at the start -------------------------------------------------------------------------------------------

class Checking:
    """A check whose dials the test answers."""

    def __init__(self, *urls: PoolUrl, patience_s: float = 30.0) -> None:
        self.dials: list[Dial] = []
        self.reports: list[PoolUrl | None] = []
        self.check = StartCheck(urls, self.dials.append, self.reports.append, patience_s)
        self.thread = threading.Thread(target=self.check.run)
        self.thread.start()

    def wait_for_dials(self, count: int) -> None:
        until(lambda: len(self.dials) >= count)

    def end(self) -> None:
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


FIRST, SECOND = url(1), url(2)


def test_all_upstreams_are_asked_and_the_first_that_answers_counts():
    checking = Checking(FIRST, SECOND)
    checking.wait_for_dials(2)
    assert [(dial.host, dial.port) for dial in checking.dials] == [("127.0.0.1", 1), ("127.0.0.1", 2)]
    play(checking.dials[1].upstream, Pool())
    checking.end()
    assert checking.reports == [SECOND]


def test_one_that_fails_is_asked_again_unless_its_key_is_another(monkeypatch, caplog):
    monkeypatch.setattr("warppool.service.startcheck.AGAIN_S", 0.01)
    checking = Checking(FIRST, SECOND)
    checking.wait_for_dials(2)
    play(checking.dials[0].upstream, Pool(secret=bytes(31) + b"\x09"))
    checking.dials[1].upstream.failed("no route", NOW)
    checking.wait_for_dials(3)
    checking.dials[2].upstream.failed("no route", NOW)
    checking.wait_for_dials(4)
    assert [dial.port for dial in checking.dials] == [1, 2, 2, 2]
    play(checking.dials[3].upstream, Pool())
    checking.end()
    assert checking.reports == [SECOND]
    said = [record.getMessage() for record in caplog.records]
    assert sum("event=upstream.refused upstream=127.0.0.1:1 " in line and "key" in line for line in said) == 1
    assert sum("event=upstream.failed upstream=127.0.0.1:2 " in line and "no route" in line for line in said) == 2


def test_without_an_answer_the_patience_ends():
    checking = Checking(FIRST, patience_s=0.05)
    checking.end()
    assert checking.reports == [None]


def test_a_stop_ends_it_without_a_report():
    checking = Checking(FIRST)
    checking.wait_for_dials(1)
    checking.check.stop()
    checking.end()
    assert checking.reports == []
