"""The status socket: one line each way, eight at a time, a second each, and nobody else is kept waiting."""

from __future__ import annotations

import errno
import json
import os
import queue
import selectors
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from warppool.errors import WarppoolError
from warppool.loop import Report
from warppool.status.client import NoDaemon, ask
from warppool.status.place import MAX_ADDRESS, NAME, address_of, known_path, socket_path
from warppool.status.server import MAX_PEERS, MAX_REQUEST, PEER_S, StatusSocket, open_socket, remove_socket


class Clock:
    """Monotonic seconds; a test puts it forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 0.05                    # each look, so that new peers may come
        return self.now


def echo(line: bytes) -> bytes:
    return b'{"asked": ' + json.dumps(line.decode("latin-1")).encode() + b"}"


@contextmanager
def served(folder: Path, answer: Callable[[bytes], bytes] = echo) -> Iterator[Path]:
    """A thread that serves a socket in `folder`."""
    path = folder / NAME
    listener = open_socket(path, folder)
    assert listener is not None
    server = StatusSocket(listener, answer)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield path
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()


def connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(60)
    with address_of(path) as address:
        sock.connect(address)
    return sock


def read_all(sock: socket.socket) -> bytes:
    parts = []
    try:
        while part := sock.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_a_line_is_answered_by_a_line(tmp_path: Path) -> None:
    with served(tmp_path) as path:
        assert ask(path, "health", limit=3) == {"asked": '{"ask": "health", "limit": 3}'}
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_who_waits_is_answered_while_eight_say_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as path:
        silent = [connect(path) for _ in range(MAX_PEERS * 2)]
        with connect(path) as sock:
            sock.sendall(b"x\n")
            assert read_all(sock) == b'{"asked": "x"}\n'        # once the silent ones before it were cut
        for each in silent:
            each.close()


def test_a_peer_that_dribbles_is_cut(tmp_path: Path) -> None:
    listener = open_socket(tmp_path / NAME, tmp_path)
    assert listener is not None
    clock = Clock()
    server = StatusSocket(listener, echo, clock)
    sock = connect(tmp_path / NAME)
    sock.sendall(b"a")
    server._turn()                          # accepted
    server._turn()                          # one byte is there
    clock.now += PEER_S / 2
    sock.sendall(b"b")
    server._turn()
    clock.now += PEER_S / 2                 # bytes do not renew its second
    sock.sendall(b"c")
    server._turn()
    assert read_all(sock) == b""
    sock.close()
    server.close()


def test_a_peer_that_does_not_read_is_cut(tmp_path: Path) -> None:
    listener = open_socket(tmp_path / NAME, tmp_path)
    assert listener is not None
    clock = Clock()
    server = StatusSocket(listener, lambda _line: b"x" * (8 << 20), clock)
    sock = connect(tmp_path / NAME)
    sock.sendall(b"all\n")
    for _ in range(3):
        server._turn()
    clock.now += PEER_S
    server._turn()
    assert len(read_all(sock)) < 8 << 20
    sock.close()
    server.close()


def test_more_than_a_line_may_have_is_refused(tmp_path: Path) -> None:
    with served(tmp_path) as path, connect(path) as sock:
        sock.sendall(b"x" * (MAX_REQUEST + 1))
        assert json.loads(read_all(sock))["error"]


def test_an_answer_that_fails_costs_its_peer_alone(tmp_path: Path) -> None:
    def answer(line: bytes) -> bytes:
        if line == b"bad":
            raise ValueError("a bug")
        return b"{}"

    with served(tmp_path, answer) as path:
        with connect(path) as sock:
            sock.sendall(b"bad\n")
            assert read_all(sock) == b""
        assert ask(path, "health") == {}


def test_the_thread_answers_the_main_thread(tmp_path: Path) -> None:
    listener = open_socket(tmp_path / NAME, tmp_path)
    assert listener is not None
    server = StatusSocket(listener, echo)
    reply: queue.SimpleQueue[Report] = queue.SimpleQueue()
    thread = threading.Thread(target=server.run)
    thread.start()
    server.ask(reply)
    assert reply.get(timeout=60).name == "status"
    server.stop()
    thread.join(60)
    server.ask(reply)
    assert reply.get(timeout=60).name == "status"


# --- the socket as a file ---------------------------------------------------------------------------------------------

def test_systemd_says_where_it_lies(tmp_path: Path) -> None:
    assert socket_path(tmp_path, {}) == tmp_path / NAME
    assert socket_path(tmp_path, {"RUNTIME_DIRECTORY": "/run/warppool:/run/more"}) == Path("/run/warppool") / NAME


def test_the_data_folder_leads_to_it(tmp_path: Path) -> None:
    runtime, data = tmp_path / "run", tmp_path / "data"
    runtime.mkdir()
    data.mkdir()
    path = runtime / NAME
    listener = open_socket(path, data)
    assert listener is not None
    assert known_path(data).readlink() == path
    listener.close()
    remove_socket(path, data)
    assert list(runtime.iterdir()) == list(data.iterdir()) == []


def test_what_a_killed_daemon_left_makes_room(tmp_path: Path) -> None:
    listener = open_socket(tmp_path / NAME, tmp_path)
    assert listener is not None
    listener.close()                        # the file stays
    with pytest.raises(NoDaemon, match="start it"):
        ask(tmp_path / NAME, "health")
    with served(tmp_path) as path:
        assert ask(path, "health")


def test_a_socket_that_answers_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with served(tmp_path) as path:
        assert open_socket(path, tmp_path) is None
        assert "status.unserved" in caplog.text and "another program answers" in caplog.text
        assert ask(path, "health")


def test_a_file_of_that_name_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAME).write_text("mine")
    assert open_socket(tmp_path / NAME, tmp_path) is None
    assert "move it away" in caplog.text
    assert (tmp_path / NAME).read_text() == "mine"


def test_a_long_path_serves(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * MAX_ADDRESS)
    folder.mkdir()
    descriptors = len(os.listdir("/proc/self/fd"))
    with served(folder) as path:
        assert ask(path, "health")
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_no_daemon_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoDaemon, match=r"no daemon answers at .*: start it"):
        ask(tmp_path / NAME, "health")


@pytest.mark.parametrize(("answer", "words"), [
    (b"no json", "no JSON"), (b"[1]", "no JSON object"), (b'{"error": "no such question"}', "no such question"),
])
def test_a_strange_answer_is_said_in_one_line(tmp_path: Path, answer: bytes, words: str) -> None:
    with served(tmp_path, lambda _line: answer) as path, pytest.raises(WarppoolError, match=words):
        ask(path, "health")


def test_the_unforeseen_ends_neither_the_thread_nor_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                               caplog: pytest.LogCaptureFixture) -> None:
    real, failed = StatusSocket._watch_listener, threading.Event()

    def watch(self: StatusSocket, is_wanted: bool) -> None:
        if not is_wanted and not failed.is_set():
            failed.set()
            raise RuntimeError("never foreseen")
        real(self, is_wanted)

    monkeypatch.setattr("warppool.status.server.AFTER_FAULT_S", 0.0)
    monkeypatch.setattr(StatusSocket, "_watch_listener", watch)
    with served(tmp_path) as path:
        assert ask(path, "health") == {"asked": '{"ask": "health"}'}
    assert failed.is_set() and "event=thread.failed thread=status" in caplog.text


def test_a_peer_that_the_system_cannot_watch_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failed = selectors.DefaultSelector.register, threading.Event()

    def register(self: selectors.DefaultSelector, fileobj: Any, events: int, data: Any = None) -> Any:
        if isinstance(fileobj, socket.socket) and data is not fileobj and not failed.is_set():
            failed.set()
            raise OSError(errno.ENOSPC, "no more can be watched")
        return real(self, fileobj, events, data)

    with served(tmp_path) as path:
        monkeypatch.setattr(selectors.DefaultSelector, "register", register)
        assert ask(path, "health") == {"asked": '{"ask": "health"}'}           # the second try of the client
    assert failed.is_set()
