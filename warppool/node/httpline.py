"""One HTTP connection to a node: a request goes out, a whole answer comes in before a deadline, or it is a NodeError.

The standard library parses the answers; what it lacks is here: a deadline for the whole answer and not for each read, a
cap on its size, and a way for another thread to end a read that blocks.
"""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import Any, Protocol, cast

from warppool.addresses import NodeAddress
from warppool.errors import NodeError

MAX_ANSWER = 32 << 20       # bytes: a template of 4 MB of transactions is 8 MB of hex and at most that much around it
CONNECT_TIMEOUT_S = 5.0     # a node that is there accepts at once; a packet filter that drops says nothing for minutes


class NodeSilent(NodeError):
    """No whole answer came in time."""


class NodeAway(NodeError):
    """Nobody listens at the node's port: it is stopped, or not up yet."""


class NodeHungUp(NodeError):
    """The connection ended before the first byte of an answer, as an idle one does when the node tires of it."""


class HasFileno(Protocol):
    """What can be watched for reading."""

    def fileno(self) -> int:
        """Its descriptor; -1 where it has none."""


class HttpLine:
    """A keep-alive connection that posts to one address, one request at a time.

    It belongs to one thread. `close` alone may come from any other: it shuts the socket down, and whatever blocks on it
    raises NodeError at once. The lock is there for that: no descriptor is closed while another thread shuts it down.
    """

    def __init__(self, address: NodeAddress) -> None:
        self.address = address
        self.is_reused = False                      # the request in flight went out on a connection that served before
        self.endings = 0                            # connections that the node ended, and not we: it may have restarted
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._is_busy = False                       # the owner may be using the socket: only the owner closes it
        self._is_closed = False

    def post(self, body: bytes, authorization: str, deadline: float) -> None:
        """Send one request; `deadline` is in monotonic seconds."""
        with self._blame("cannot send to"):
            sock = self._take()
            self.is_reused = sock is not None
            if sock is None:
                sock = self._connect(deadline)
            head = (
                f"POST {self.address.path} HTTP/1.1\r\nHost: {self.address}\r\nAuthorization: {authorization}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            sock.settimeout(_left(deadline))
            sock.sendall(head.encode("latin-1") + body)

    def is_answered(self, timeout_s: float) -> bool:
        """Wait until `read` has something to read, be it the end; False if `timeout_s` goes by first."""
        return self._sock is None or _is_readable(self._sock, timeout_s)

    def fileno(self) -> int:
        """The socket, for `first_readable`; -1 where there is none."""
        sock = self._sock
        return -1 if sock is None else sock.fileno()

    def read(self, deadline: float) -> tuple[int, bytes]:
        """The status and the body of the answer, whole, before `deadline` in monotonic seconds."""
        with self._blame("no answer from"):
            if self._sock is None:
                raise NodeHungUp(f"no request is on its way to {self.address}")
            # It asks of its socket nothing but makefile().
            response = HTTPResponse(cast(socket.socket, _DeadlineReader(self._sock, deadline)), method="POST")
            try:
                response.begin()
                body = _whole_body(response)
            finally:
                response.close()
            if response.will_close:
                self.hang_up()
            with self._lock:
                self._is_busy = False
            return response.status, body

    def hang_up(self) -> None:
        """Drop the connection, and with it an answer that is still due; the next `post` makes a new one."""
        with self._lock:
            sock, self._sock = self._sock, None
            self._is_busy = False
            if sock is not None:
                sock.close()

    def close(self) -> None:
        """Any thread: no more requests; one that waits for its answer raises NodeError at once."""
        with self._lock:
            self._is_closed = True
            if self._sock is None:
                return
            with suppress(OSError):                 # not connected yet, or not any more
                self._sock.shutdown(socket.SHUT_RDWR)
            if not self._is_busy:
                self._sock.close()
                self._sock = None

    def _take(self) -> socket.socket | None:
        """The connection that is up, if it still is: a node that hung up in the meantime made it readable."""
        with self._lock:
            self._refuse_if_closed()
            self._is_busy = True
            sock = self._sock
        if sock is not None and _is_readable(sock, 0):
            self.endings += 1
            self.hang_up()
            return None
        return sock

    def _connect(self, deadline: float) -> socket.socket:
        error: OSError | None = None
        for family, kind, proto, _, where in socket.getaddrinfo(
            self.address.host, self.address.port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, proto)
            try:
                self._begin_connect(sock, where)
                self._await_connect(sock, min(_left(deadline), CONNECT_TIMEOUT_S))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as exc:
                error = exc
                self.hang_up()
            else:
                return sock
        fault = NodeAway if isinstance(error, ConnectionRefusedError) else NodeError
        raise fault(f"cannot connect to {self.address}: {_words(error)}: {_cure(error)}") from error

    def _begin_connect(self, sock: socket.socket, where: Any) -> None:
        """Make `sock` known and have it connect in one step: `close` finds either nothing or what it can end."""
        with self._lock:
            if self._is_closed:
                sock.close()
            self._refuse_if_closed()
            self._sock = sock
            self._is_busy = True
            sock.setblocking(False)
            code = sock.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))

    def _await_connect(self, sock: socket.socket, timeout_s: float) -> None:
        """Wait until `sock` stands; OSError says why it does not."""
        if not _is_ready(sock, select.POLLOUT, timeout_s):
            raise TimeoutError
        self._refuse_if_closed()
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        sock.settimeout(timeout_s)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise NodeError(f"the connection to {self.address} is closed")

    @contextmanager
    def _blame(self, what: str) -> Iterator[None]:
        """Turn whatever goes wrong into a NodeError; a connection that it went wrong on is of no more use."""
        try:
            yield
        except Exception as exc:
            self.hang_up()
            if self._is_closed:
                raise NodeError(f"the connection to {self.address} is closed") from exc
            match exc:
                case NodeError():
                    raise
                case TimeoutError():
                    raise NodeSilent(f"no whole answer from {self.address} in time") from exc
                case RemoteDisconnected() | ConnectionError():
                    self.endings += 1
                    raise NodeHungUp(f"{what} {self.address}: {_words(exc)}") from exc
                case socket.gaierror() | UnicodeError():
                    raise NodeError(f"cannot look up {self.address.host}: {_words(exc)}: mend the name in node.url"
                                    ) from exc
                case IncompleteRead():
                    self.endings += 1
                    raise NodeError(f"{self.address} hung up in the middle of an answer") from exc
                case OSError():
                    raise NodeError(f"{what} {self.address}: {_words(exc)}") from exc
                case HTTPException() | ValueError():
                    raise NodeError(f"what {self.address} says is not HTTP: {str(exc)[:100]!r}") from exc
            raise


class _DeadlineReader(io.RawIOBase):
    """The reading end of a socket where every read has what is left until one deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)


def _whole_body(response: HTTPResponse) -> bytes:
    if response.length is not None and response.length > MAX_ANSWER:
        raise NodeError(f"an answer of {response.length} bytes; at most {MAX_ANSWER} are taken")
    body = response.read(MAX_ANSWER + 1)
    if len(body) > MAX_ANSWER:
        raise NodeError(f"an answer of more than {MAX_ANSWER} bytes")
    if response.length:                             # what Content-Length promised and the node kept back
        raise IncompleteRead(body, response.length)
    return body


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def first_readable(sources: Sequence[HasFileno], timeout_s: float) -> list[bool]:
    """Wait until one of several has something to read, and say which have; all False if `timeout_s` goes by first.

    One that has no socket any more counts as readable: whoever reads it learns why.
    """
    numbers = [source.fileno() for source in sources]
    poll = select.poll()
    for number in {number for number in numbers if number >= 0}:
        poll.register(number, select.POLLIN)
    ready = {number for number, _ in poll.poll(0 if -1 in numbers else timeout_s * 1000)}
    return [number < 0 or number in ready for number in numbers]


def _is_readable(sock: socket.socket, timeout_s: float) -> bool:
    return _is_ready(sock, select.POLLIN, timeout_s)


def _is_ready(sock: socket.socket, wish: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(sock, wish)
    return bool(poll.poll(timeout_s * 1000))


def _cure(exc: BaseException | None) -> str:
    """What an operator can do about a node that cannot be connected to."""
    if isinstance(exc, TimeoutError):
        return "does it listen there (rpcbind), and lets a firewall us through?"
    if isinstance(exc, ConnectionRefusedError):
        return "is the node running, with server=1, and is node.url its RPC port?"
    return "mend node.url, or the network between"


def _words(exc: BaseException | None) -> str:
    """What an operator can read of an error: `Connection refused`, without the number."""
    if isinstance(exc, TimeoutError):
        return "timed out"
    return getattr(exc, "strerror", None) or str(exc) or "no address"
