"""A post ends within its time whatever the other end does, trusts no wrong certificate and follows no redirect."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.net.tlsends import fresh_server_context
from tests.patience import PATIENCE_S
from warppool.notices.delivery import NotDelivered
from warppool.notices.kinds import BLOCK_FOUND, Notice
from warppool.notices.post import Poster
from warppool.notices.url import NoticeUrl
from warppool.notices.words import JSON, TEXT

NOTICE = Notice(BLOCK_FOUND, 1_800_000_000.0, (("machine", "x\r\nEvil: header"),))
Serve = Callable[[socket.socket], None]


class Server:
    """Takes connections one after the other and hands each to `serve`; `asked` is what each of them sent."""

    def __init__(self, serve: Serve, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        self.came = threading.Semaphore(0)
        self._serve = serve
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.came.release()
                with suppress(OSError), sock:
                    if self._context is not None:
                        sock = self._context.wrap_socket(sock, server_side=True)
                    with sock:
                        self._serve(sock)

    def read(self, sock: socket.socket) -> None:
        """One whole request."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        size = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        while len(body) < size:
            body += sock.recv(65536)
        self.asked.append(head + b"\r\n\r\n" + body)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@contextmanager
def serving(serve: Serve, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(serve, context)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def answering(answer: bytes, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    def serve(sock: socket.socket) -> None:
        server.read(sock)
        sock.sendall(answer)

    server = Server(serve, context)
    try:
        yield server
    finally:
        server.close()


def post(server: Server, *, form: str = JSON, timeout_s: float = PATIENCE_S, scheme: str = "http",
         context: ssl.SSLContext | None = None) -> None:
    url = NoticeUrl.parse(f"{scheme}://127.0.0.1:{server.port}/t0ken?a=b")
    Poster(url, form, "warppool", context, timeout_s).deliver(NOTICE)


def refusal(server: Server, **more: object) -> NotDelivered:
    with pytest.raises(NotDelivered) as failure:
        post(server, **more)
    assert "t0ken" not in str(failure.value)
    return failure.value


def test_it_is_one_whole_request():
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        post(server)
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /t0ken?a=b HTTP/1.1", b"Host: 127.0.0.1:%d" % server.port, b"User-Agent: warppool",
        b"Content-Type: application/json", b"Content-Length: %d" % len(body), b"Connection: close"]
    assert json.loads(body)["event"] == BLOCK_FOUND


def test_plain_text_has_its_title_in_a_header_that_no_name_can_forge():
    with answering(b"HTTP/1.0 200 OK\r\n\r\n") as server:
        post(server, form=TEXT)
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    assert b"\r\nTitle: warppool: Block found" in head and b"Evil" not in head
    assert b"Evil: header" in body and body.count(b"\n") == 1


@pytest.mark.parametrize(("status", "is_final"), [(400, True), (401, True), (404, True), (410, True), (408, False),
                                                  (429, False), (500, False), (503, False), (100, False)])
def test_an_answer_that_is_no_success_is_a_failure(status, is_final):
    with answering(b"HTTP/1.1 %d Words of a stranger\r\n\r\n" % status) as server:
        failure = refusal(server)
    assert str(failure) == f"it answers {status}" and failure.is_final is is_final


def test_a_redirect_is_not_followed():
    with serving(lambda sock: None) as elsewhere, answering(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\n\r\n" % elsewhere.port) as server:
        failure = refusal(server)
        assert failure.is_final and "a redirect, which is not followed" in str(failure)
        assert len(server.asked) == 1
        assert not elsewhere.came.acquire(blocking=False)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 2000 OK\r\n", b"\0" * 9000])
def test_what_is_not_http_is_no_success(answer):
    with answering(answer) as server:
        assert str(refusal(server)) in ("its answer is not HTTP", "cannot be reached: Connection reset by peer")


def test_one_that_never_answers_is_left_after_the_time():
    left = threading.Event()

    def serve(sock: socket.socket) -> None:
        server.read(sock)
        left.wait(PATIENCE_S)

    server = Server(serve)
    try:
        assert "no answer within" in str(refusal(server, timeout_s=0.3))
    finally:
        left.set()
        server.close()


def test_one_that_answers_byte_by_byte_has_no_longer_than_that():
    done = threading.Event()

    def serve(sock: socket.socket) -> None:
        server.read(sock)
        while not done.wait(0.02):
            sock.sendall(b"H")

    server = Server(serve)
    try:
        assert "no answer within" in str(refusal(server, timeout_s=0.4))
    finally:
        done.set()
        server.close()


def test_a_stop_ends_it_at_once():
    done = threading.Event()

    def serve(sock: socket.socket) -> None:
        server.read(sock)
        asked.set()
        done.wait(PATIENCE_S)

    asked, server, failures = threading.Event(), Server(serve), []
    delivery = Poster(NoticeUrl.parse(f"http://127.0.0.1:{server.port}/"), JSON, "warppool", None, PATIENCE_S)

    def deliver() -> None:
        with pytest.raises(NotDelivered) as failure:
            delivery.deliver(NOTICE)
        failures.append(failure.value)

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        assert asked.wait(PATIENCE_S)
        delivery.close()
        thread.join(PATIENCE_S)
        assert len(failures) == 1
        with pytest.raises(NotDelivered, match="the daemon stops"):
            delivery.deliver(NOTICE)
    finally:
        done.set()
        server.close()


def test_nobody_there_is_said():
    with serving(lambda sock: None) as server:
        pass
    assert str(refusal(server)) == "cannot be reached: Connection refused"


def test_a_certificate_that_nobody_vouches_for_gets_nothing():
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", fresh_server_context()) as server:
        assert "its certificate is not good" in str(refusal(server, scheme="https"))
        assert server.asked == []


def test_a_certificate_that_is_trusted_gets_the_notice(tmp_path):
    from warppool.commands.democert import self_signed

    certificate, key = self_signed().write(tmp_path)
    serving_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving_context.load_cert_chain(certificate, key)
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", serving_context) as server:
        post(server, scheme="https", context=ssl.create_default_context(cafile=str(certificate)))
    assert server.asked[0].startswith(b"POST /t0ken?a=b")
