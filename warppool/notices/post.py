"""A notice over HTTPS: one request on one connection, ten seconds for all of it, and no redirect followed.

The standard library's client has a time-out for each read, so that a server that sends a byte now and then could hold
it for ever, and it follows redirects, which would take the token to another host.
"""

from __future__ import annotations

import math
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from warppool.notices.delivery import DELIVERY_S, NotDelivered
from warppool.notices.kinds import Notice
from warppool.notices.url import NoticeUrl
from warppool.notices.words import NoticeBody, message_of

MAX_HEAD = 4096
"""Bytes that are read of an answer: its first line is in them, and nothing else counts."""

MAX_LOOKUPS = 4
"""Names looked up at once, of all places: a lookup that hangs cannot be ended, and keeps its thread for a while."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r\n]")
_AGAIN = frozenset({408, 425, 429})     # Request Timeout, Too Early, Too Many Requests: all other 4xx are for good
_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)


class Poster:
    """Posts to one address. `context` verifies its certificate; the default trusts the system's authorities."""

    def __init__(self, url: NoticeUrl, form: str, program: str, context: ssl.SSLContext | None = None,
                 timeout_s: float = DELIVERY_S) -> None:
        self.url = url
        self._form = form
        self._program = program
        self._context = context
        self._timeout_s = timeout_s
        self._lock = threading.Lock()               # held where the socket is made known, shut down or closed
        self._sock: socket.socket | None = None
        self._is_closed = False

    @property
    def place(self) -> str:
        """The host alone: path and query hold the token."""
        return self.url.host

    def deliver(self, notice: Notice) -> None:
        """Post it; NotDelivered unless the answer is 2xx."""
        deadline = time.monotonic() + self._timeout_s
        message = message_of(notice, self._form, self._program)
        try:
            status = self._exchange(_request(self.url, message), deadline)
        except TimeoutError:
            raise NotDelivered(f"no answer within {self._timeout_s:.0f} s") from None
        except ssl.SSLCertVerificationError as exc:
            raise NotDelivered(f"its certificate is not good: {exc.verify_message}") from None
        except (OSError, UnicodeError) as exc:
            raise NotDelivered(f"cannot be reached: {getattr(exc, 'strerror', None) or exc}") from None
        finally:
            self._drop()
        _judge(status)

    def close(self) -> None:
        """Any thread: end what is on its way."""
        with self._lock:
            self._is_closed = True
            if self._sock is not None:
                with suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self, request: bytes, deadline: float) -> int:
        sock = self._connect(deadline)
        view = memoryview(request)
        while view:
            sock.settimeout(_left(deadline))
            view = view[sock.send(view):]
        head = b""
        while b"\n" not in head and len(head) < MAX_HEAD:
            sock.settimeout(_left(deadline))
            part = sock.recv(MAX_HEAD)
            if not part:
                break
            head += part
        found = _STATUS.match(head)
        if found is None:
            raise NotDelivered("its answer is not HTTP")
        return int(found[1])

    def _connect(self, deadline: float) -> socket.socket:
        error: OSError = OSError("no address")
        for family, kind, proto, where in self._addresses(deadline):
            sock = socket.socket(family, kind, proto)
            try:
                self._make_known(sock)
                sock.settimeout(_left(deadline))
                sock.connect(where)
                return self._secured(sock, deadline) if self.url.is_tls else sock
            except (TimeoutError, ssl.SSLCertVerificationError):
                raise
            except OSError as exc:
                error = exc
                self._drop()
        raise error

    def _secured(self, sock: socket.socket, deadline: float) -> socket.socket:
        """The TLS end of `sock`, whose peer has proved to be the host."""
        if self._context is None:
            self._context = ssl.create_default_context()
        secured = self._context.wrap_socket(sock, server_hostname=self.url.host, do_handshake_on_connect=False)
        self._make_known(secured)
        secured.settimeout(_left(deadline))
        secured.do_handshake()
        return secured

    def _addresses(self, deadline: float) -> list[tuple[Any, Any, int, Any]]:
        """Of the host. The system's resolver knows no deadline, so a thread asks it that may be left behind."""
        if not _lookups.acquire(blocking=False):
            raise NotDelivered("names are still being looked up, and the resolver does not answer")
        reply: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_look_up, args=(self.url, reply.put), name="lookup", daemon=True).start()
        try:
            found = reply.get(timeout=_left(deadline))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(found, Exception):
            raise found
        return [(family, kind, proto, where) for family, kind, proto, _, where in found]

    def _make_known(self, sock: socket.socket) -> None:
        with self._lock:
            if self._is_closed:
                sock.close()
                raise NotDelivered("the daemon stops")
            self._sock = sock

    def _drop(self) -> None:
        with self._lock:
            sock, self._sock = self._sock, None
            if sock is not None:
                sock.close()


def _request(url: NoticeUrl, message: NoticeBody) -> bytes:
    """One whole request. `title` is ASCII of ours, so no header can be forged by it."""
    lines = [f"POST {url.target} HTTP/1.1", f"Host: {url.authority}", "User-Agent: warppool",
             f"Content-Type: {message.content_type}", f"Content-Length: {len(message.body)}", "Connection: close"]
    if message.title:
        lines.append(f"Title: {message.title}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + message.body


def _judge(status: int) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise NotDelivered(f"it answers {status}, a redirect, which is not followed since the address holds a token: "
                           "write the address that it names", is_final=True)
    raise NotDelivered(f"it answers {status}", is_final=400 <= status < 500 and status not in _AGAIN)


def _look_up(url: NoticeUrl, reply: Callable[[Any], None]) -> None:
    """Ask the system and always answer."""
    answer: Any = OSError("lookup failed")
    try:
        answer = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        answer = exc
    finally:
        _lookups.release()
        reply(answer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0 or not math.isfinite(left):
        raise TimeoutError
    return left
