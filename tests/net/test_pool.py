"""Reactor, workers and executor together, over real sockets."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress

import pytest

from tests.net.conftest import LogLines
from tests.net.lines import LineConnection
from tests.net.pools import PATIENCE_S, Client, pool, until
from warppool.net.hasher import EXECUTOR_MIN_BATCH
from warppool.net.inbox import JobReady, Recorded
from warppool.net.reactor import READ_SIZE, UNREAD_LIMIT

HELLO = b"echo one\necho two\nquit\n"


@pytest.mark.parametrize("cut", range(1, len(HELLO)))
def test_answers_do_not_depend_on_where_tcp_cuts(cut: int) -> None:
    with pool(workers=1) as running:
        client = running.client()
        client.send(HELLO[:cut])
        running.ask()
        client.send(HELLO[cut:])
        assert client.rest() == b"one\ntwo\nbye\n"


def test_connections_go_round_the_workers_and_stay() -> None:
    with pool(workers=2) as running:
        clients = [running.client() for _ in range(20)]
        for _ in range(3):
            for number, client in enumerate(clients):
                client.send(b"echo %d\n" % number)
            assert [client.line() for client in clients] == [b"%d" % number for number in range(20)]
        assert [stats.connections for stats in running.ask()] == [10, 10]
        assert [running.owners[conn_id] for conn_id in (1, 2, 3, 4)] == ["worker-1", "worker-0"] * 2


@pytest.mark.parametrize("shares", [1, EXECUTOR_MIN_BATCH - 1, EXECUTOR_MIN_BATCH, 500])
def test_verdicts_keep_the_order_of_the_shares(shares: int) -> None:
    """Alone they are weighed by the worker, in a burst by the executor; later ones wait for the burst."""
    with pool() as running:
        client = running.client()
        client.send(b"".join(b"bad %d\n" % number for number in range(shares)))
        client.send(b"".join(b"bad %d\n" % number for number in range(shares, shares + 5)))
        assert client.lines(shares + 5) == [b"no %d" % number for number in range(shares + 5)]


def test_a_share_is_answered_once_it_is_recorded() -> None:
    with pool() as running:
        running.is_recording = False
        client = running.client()
        client.send(b"share 7\nshare 8\nbad 9\n")
        assert client.line() == b"no 9"
        running.answer()
        assert client.lines(2) == [b"ok 7", b"ok 8"]


def test_a_share_that_cannot_be_recorded_is_refused() -> None:
    with pool() as running:
        running.is_recording = False
        client = running.client()
        client.send(b"share 7\nbad 9\n")
        assert client.line() == b"no 9"
        running.answer(is_recorded=False)
        assert client.line() == b"lost 7"


def test_a_new_job_reaches_everyone() -> None:
    with pool(workers=2) as running:
        clients = [running.client() for _ in range(300)]
        for client in clients:
            client.send(b"echo here\n")
        assert {client.line() for client in clients} == {b"here"}
        for inbox in running.inboxes:
            inbox.put(JobReady("J"))    # type: ignore[arg-type]
        assert {client.line() for client in clients} == {b"job J"}


def test_a_flood_of_shares_is_taken_in_portions() -> None:
    """The worker holds back what is too much, the reactor stops reading, and still every share is answered."""
    with pool(workers=1, max_unanswered=8) as running:
        running.is_recording = False
        client = running.client()
        flood = b"".join(b"share %d\n" % number for number in range(20_000))
        sender = threading.Thread(target=client.send, args=(flood,))
        sender.start()
        other = running.client()
        other.send(b"bad 1\n")
        assert other.line() == b"no 1"                          # nobody else waits
        running.answer()
        assert client.lines(20_000) == [b"ok %d" % number for number in range(20_000)]
        sender.join()
        assert running.ask()[0].accepted == 20_000


def test_reading_stops_at_the_limit_and_goes_on_below_it() -> None:
    with pool(workers=1, max_unanswered=1) as running:
        running.is_recording = False
        client = running.client()
        client.send(b"share 1\n")
        until(lambda: running.booked)
        peer = running.reactor._peers[1]
        client.sock.setblocking(False)
        sent = 0
        while peer.watching:
            with suppress(BlockingIOError):
                sent += client.sock.send((b"echo " + b"y" * 58 + b"\n") * 64)      # 4 KiB
        unread = peer.unread
        assert UNREAD_LIMIT < unread <= UNREAD_LIMIT + READ_SIZE
        with suppress(BlockingIOError):
            while True:                                         # into the kernel's buffers, which nobody empties
                sent += client.sock.send(b"echo " + b"y" * 58 + b"\n")
        running.ask()
        assert peer.unread == unread
        client.sock.settimeout(PATIENCE_S)
        running.answer()
        assert client.line() == b"ok 1"
        for _ in range(sent // 64):
            assert client.line() == b"y" * 58


def test_a_connection_whose_step_raises_is_the_only_one_that_ends(log_lines: LogLines) -> None:
    with pool(workers=1) as running:
        good, bad, later = running.client(), running.client(), running.client()
        good.send(b"echo before\n")
        assert good.line() == b"before"
        bad.send(b"echo mine\nboom\n")
        assert bad.rest() == b""                                # what the failed step would have sent is lost with it
        late = running.client()
        late.send(b"late 1\n")
        assert late.rest() == b""
        for client in (good, later):
            client.send(b"share 5\n")
            assert client.line() == b"ok 5"
        assert len(log_lines.having("event=conn.failed")) == 2
        assert "a bug of this connection" in log_lines.having("event=conn.failed")[0]


def test_a_connection_that_cannot_be_made_is_closed(log_lines: LogLines) -> None:
    def connect(opened: object, now: object) -> LineConnection:
        raise RuntimeError("no connection today")

    with pool(connect=connect) as running:
        assert running.client().rest() == b""
        assert "no connection today" in log_lines.wait_for("event=conn.failed")


def test_a_close_lets_the_last_answer_out() -> None:
    with pool() as running:
        client = running.client(receive_buffer=4096)
        client.send(b"send 900000\nquit\necho never\n")
        assert client.rest() == b"x" * 900_000 + b"bye\n"


def test_a_wanted_tick_comes() -> None:
    with pool() as running:
        first, second = running.client(), running.client()
        first.send(b"wake 0.05\n")
        second.send(b"wake 1000\nwake 0.02\n")
        assert first.line() == second.line() == b"tick"
        first.send(b"wake -5\n")                                # a time that has passed is due at once
        assert first.line() == b"tick"


def test_a_closed_connection_is_kept_until_its_shares_are_settled() -> None:
    with pool(workers=1) as running:
        running.is_recording = False
        client = running.client()
        client.send(b"share 1\nblock 2\nbad 3\n")
        assert client.lines(2) == [b"found 2", b"no 3"]
        client.reset()
        connection = running.connections[1]
        assert isinstance(connection, LineConnection)
        until(lambda: ("closed", None) in connection.calls)
        assert running.ask()[0].connections == 1                # mute, and still there
        running.inboxes[0].put_nowait(Recorded(((1, 2),)))
        assert running.ask()[0].connections == 1
        running.inboxes[0].put_nowait(Recorded(((1, 1),)))
        assert running.ask()[0].connections == 0
        assert connection.calls[-3:] == [("closed", None), ("recorded", (2,)), ("recorded", (1,))]


def test_a_client_that_shuts_down_its_sending_side_gets_every_answer() -> None:
    """As health checks and `nc -N` do; what it asked is answered, shares too, and then the pool closes."""
    with pool(workers=1, max_unanswered=2) as running:
        running.is_recording = False
        client = running.client()
        client.send(b"echo hello\nshare 1\nbad 2\nshare 3\nshare 4\nhalf a li")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.lines(2) == [b"hello", b"no 2"]
        assert running.ask()[0].connections == 1, "its shares are not recorded yet"
        running.answer()
        assert client.lines(4) == [b"ok 1", b"ok 3", b"ok 4", b""]
        until(lambda: not running.ask()[0].connections and not running.reactor._peers)


def test_a_client_that_leaves_with_nothing_in_flight_is_gone_at_once() -> None:
    with pool(workers=1) as running:
        client = running.client()
        client.send(b"echo hello\n")
        assert client.line() == b"hello"
        client.close()
        until(lambda: not running.ask()[0].connections and not running.reactor._peers)


def test_shares_before_the_end_of_the_stream_count() -> None:
    with pool(workers=1) as running:
        client = running.client()
        client.send(b"block 1\nshare 2\n")
        client.close()
        until(lambda: running.found and running.booked)
        until(lambda: not running.ask()[0].connections)
        assert [block.conn_id for block in running.found] == [1]


def test_a_graceful_stop_answers_what_is_in_flight() -> None:
    with pool(workers=2) as running:
        running.is_recording = False
        clients = [running.client() for _ in range(10)]
        for client in clients:
            client.send(b"bad 1\nshare 2\nshare 3\n")
        assert {client.line() for client in clients} == {b"no 1"}
        stopper = threading.Thread(target=running.stop_gracefully)
        answers: list[bytes] = []
        readers = [threading.Thread(target=lambda client=client: answers.append(_read_and_close(client)))
                   for client in clients]
        for thread in (stopper, *readers):
            thread.start()
        until(lambda: running.listeners[0].sock.fileno() == -1)     # the stop is under way
        running.answer()
        for thread in (*readers, stopper):
            thread.join()
        assert answers == [b"ok 2\nok 3\n"] * 10


def test_a_stop_does_not_wait_for_peers_that_never_hang_up() -> None:
    with pool() as running:
        client = running.client()
        client.send(b"echo here\n")
        assert client.line() == b"here"
        running.stop(seconds=0.2)


def test_refusals_are_counted_for_the_books() -> None:
    with pool(workers=1) as running:
        client = running.client()
        client.send(b"bad 1\nbad 2\nbad 3\n")
        assert client.lines(3) == [b"no 1", b"no 2", b"no 3"]
        assert running.ask()[0].refused == (("invalid-share", 3),)
        running.stop()
        assert sum(count for _, _, _, count in running.refusals) == 3
        assert {(user, reason, minute % 60) for user, reason, minute, _ in running.refusals} == \
            {("user-1", "invalid-share", 0)}


def test_junk_does_not_disturb_the_honest(log_lines: LogLines) -> None:
    """Five hundred connections of every bad manner beside ten that mine."""
    dice = random.Random(7)
    with pool(workers=2) as running:
        honest = [running.client() for _ in range(10)]
        errors: list[BaseException] = []
        miners = [threading.Thread(target=_mine, args=(client, errors)) for client in honest]
        for miner in miners:
            miner.start()
        for number in range(500):
            _misbehave(Client("127.0.0.1", running.listeners[0].port), number, dice)
        for miner in miners:
            miner.join()
        assert errors == []
        assert sum(stats.accepted for stats in running.ask()) == 10 * 100
        until(lambda: sum(stats.connections for stats in running.ask()) == 10)     # the junk is forgotten
        assert log_lines.having("failed") == []


def _misbehave(client: Client, number: int, dice: random.Random) -> None:
    """Send garbage and leave, in one of several ways."""
    try:
        client.send(dice.randbytes(dice.randrange(2000)) + b"\n" * (number % 2))
        match number % 5:
            case 0:
                client.reset()
            case 1:
                client.sock.shutdown(1)
            case 2:
                client.send(b"send 100000\n" * 5)               # and never read it
    except (ConnectionResetError, BrokenPipeError):
        pass
    client.close()


def _mine(client: Client, errors: list[BaseException]) -> None:
    try:
        for number in range(100):
            client.send(b"share %d\n" % number)
            assert client.line() == b"ok %d" % number
    except BaseException as exc:    # noqa: BLE001 - handed to the test
        errors.append(exc)


def _read_and_close(client: Client) -> bytes:
    data = client.rest()
    client.close()
    return data
