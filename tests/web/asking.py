"""HTTP as tests ask it: whole requests over a socket, and requests straight into the application."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from warppool.errors import LedgerError
from warppool.net.listener import listen
from warppool.stats.snapshot import StatsSnapshot
from warppool.web.answers import HttpAnswer
from warppool.web.app import WebApp
from warppool.web.books import WebBooks
from warppool.web.requests import Asked
from warppool.web.routes import RouteTable, WebRoute
from warppool.web.view import WebSettings, WebView

PATIENCE_S = 60.0


def no_books() -> Any:
    """There is no file."""
    raise LedgerError("/secret/shares.db: no such file")


NO_BOOKS = WebBooks(no_books)


class Reply(NamedTuple):
    """An answer, taken apart; names of headers in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(app: WebApp, target: str, method: str = "GET", **headers: str) -> Reply:
    """Ask the application itself, as waitress would."""
    environ = {"REQUEST_METHOD": method, "REQUEST_URI": target, "HTTP_HOST": "localhost"}
    environ |= {f"HTTP_{key.upper()}": value for key, value in headers.items()}
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, sent: list[tuple[str, str]]) -> None:
        started.append((status, sent))

    body = b"".join(app(environ, start))
    ((status, sent),) = started
    return Reply(int(status[:3]), {key.lower(): value for key, value in sent}, body)


def parse(raw: bytes) -> Reply:
    """Take an answer apart that came over a socket."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Reply(int(first.split()[1]), {key.lower(): value for key, value in headers.items()}, body)


def connect(address: tuple[str, int]) -> socket.socket:
    """A connection; what is sent and read on it has a minute."""
    return socket.create_connection(address, timeout=PATIENCE_S)


def exchange(address: tuple[str, int], request: bytes) -> bytes:
    """Send `request`, and read until the server closes."""
    with connect(address) as sock:
        sock.sendall(request)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    """What comes until the other end closes, be it by a reset."""
    parts = []
    try:
        while data := sock.recv(65536):
            parts.append(data)
    except ConnectionError:
        pass
    return b"".join(parts)


def get(address: tuple[str, int], target: str, host: str = "localhost") -> Reply:
    """GET over a socket."""
    return parse(exchange(address, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")))


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def said(text: bytes, kind: str = "text/plain") -> Callable[[Asked, WebView], HttpAnswer]:
    """A route's answer that is always the same."""
    return lambda asked, view: HttpAnswer(text, kind)


@contextmanager
def serving(app: Any, monotonic: Callable[[], float] | None = None, **more: Any
            ) -> Iterator[tuple[Any, tuple[str, int]]]:
    """A server on loopback with its two threads; both have ended afterwards."""
    from warppool.web.server import WebServer

    listener = listen("web", "127.0.0.1:0", "web.listen")
    clock = {} if monotonic is None else {"monotonic": monotonic}
    server = WebServer([listener], app, **clock, **more)
    threads = [threading.Thread(target=server.run, name="web", daemon=True),
               threading.Thread(target=server.tasks.run, name="web-task", daemon=True)]
    for thread in threads:
        thread.start()
    try:
        yield server, listener.sock.getsockname()
    finally:
        server.stop()
        for thread in threads:
            thread.join(PATIENCE_S)
        listener.sock.close()
        assert not any(thread.is_alive() for thread in threads)


def app_of(routes: Iterable[WebRoute], **values: Any) -> WebApp:
    """An application with these routes and a view without numbers."""
    view = WebView(StatsSnapshot(number=0, at=0.0, started=0.0), WebSettings(), NO_BOOKS)
    return WebApp(RouteTable(routes), lambda: view, frozenset({"localhost"}), **values)
