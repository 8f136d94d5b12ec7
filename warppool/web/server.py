"""Thread `web` and its one task thread: HTTP by waitress, within bounds of our own.

Waitress parses requests and writes answers. What is done here besides, and why: `select()` ends at descriptor 1,023, so
`poll()` is used. Waitress renews its time-out with each byte, so each connection has an end here that no byte moves.
Waitress closes a connection once its socket can be written, which the socket of who does not read never can, so the
thread `web` closes it. A connection is closed after one answer, since pipelined requests could pile up answers without
end. This is the one module that imports waitress.
"""

from __future__ import annotations

import logging
import math
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, WSGITask

from warppool.loop import AFTER_FAULT_S, Ask, Loop, Report, unawaited
from warppool.net.haste import HASTE
from warppool.net.listener import Listener
from warppool.net.repeats import Repeats
from warppool.threads import STOP
from warppool.web.admission import ANSWER_S, REQUEST_S, Admission
from warppool.web.answers import HEADERS, TEXT

log = logging.getLogger(__name__)

BACKLOG: Final = 128                    # what waits here is accepted within two seconds
MAX_HEADER: Final = 8 * 1024            # bytes of request line and headers
LOOK_EVERY_S: Final = 1.0               # how often the ends of connections are looked at
SLOW: Final = unawaited(30.0)
PIECE_S: Final = 0.001
"""A pause for each piece of a request that is not whole with it. Whoever sends byte by byte wakes the thread no more
than a thousand times a second with all his connections together; bytes that came meanwhile are read at once. A request
in one piece, as everybody else sends it, waits for nothing.
"""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WebServer:
    """The thread `web`: accepts, reads requests, writes answers. `tasks` is the thread that makes the answers.

    `listeners` are bound sockets, which stay the caller's to close. `application` is called on `tasks` alone.
    """

    name = "web"
    limits = SLOW

    def __init__(self, listeners: Sequence[Listener], application: Application,
                 monotonic: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self.beat = math.inf
        self.tasks = WebTasks()
        self.admission = Admission(monotonic())
        self.pieces = 0                         # that the last turn has read of requests which are not whole
        self._monotonic = monotonic
        self._sleep = sleep
        self._orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._map: dict[int, Any] = {}
        self._turned_away = Repeats(log, "web.turned_away")
        self._unaccepted = Repeats(log, "web.unaccepted")
        adjustments = Adjustments(
            asyncore_use_poll=True, threads=1, backlog=BACKLOG, max_request_header_size=MAX_HEADER,
            max_request_body_size=1, log_socket_errors=False, ident="", clear_untrusted_proxy_headers=False,
            outbuf_overflow=1 << 30)            # an answer is bounded by us, and never goes to a temporary file
        quiet_waitress()
        self._servers = [_Server(self, listener.sock.dup(), application, adjustments) for listener in listeners]

    def ask(self, reply: queue.SimpleQueue[Report]) -> None:
        """Any thread: have a report put into `reply`."""
        self._order(Ask(reply))

    def stop(self) -> None:
        """Any thread: end both threads; answers that are not out yet are cut."""
        self._order(STOP)
        self.tasks.stop()

    def run(self) -> None:
        """The body of the thread."""
        try:
            while not self._obey():
                try:
                    self._turn()
                except Exception:           # the unforeseen must not end the pool: only pages wait
                    log.exception("event=thread.failed thread=%s", self.name)
                    time.sleep(AFTER_FAULT_S)
        finally:
            self.beat = math.inf
            self.close()

    def close(self) -> None:
        """Close all that is open here; for the thread itself, and for one that was never started."""
        for channel in self.channels:
            channel.handle_close()
        for server in self._servers:
            with suppress(OSError):
                server.close()
        self._map.clear()

    def turn_away(self, host: str, now: float) -> None:
        """One address has too many connections: say so, at most once a minute with a count."""
        self._turned_away.add(now, address=host, meaning="more connections of one address than the web port allows")

    def could_not_accept(self, error: OSError, now: float) -> None:
        """The system refuses a connection, as it does each second while descriptors are short: said once a minute."""
        self.admission.pause(now)
        self._unaccepted.add(now, reason=error.strerror)

    @property
    def channels(self) -> list[_Channel]:
        """The connections that are open."""
        return [served for served in self._map.values() if isinstance(served, _Channel)]

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens."""
        return tuple(int(server.effective_port) for server in self._servers)

    def now(self) -> float:
        """Monotonic seconds."""
        return self._monotonic()

    @property
    def map(self) -> dict[int, Any]:
        """By descriptor, what the loop of waitress serves."""
        return self._map

    def _order(self, order: object) -> None:
        self._orders.put(order)
        for server in self._servers[:1]:
            server.pull_trigger()

    def _turn(self) -> None:
        self.beat = math.inf
        if self.pieces:
            self._sleep(PIECE_S * self.pieces)
            self.pieces = 0
        wasyncore.loop(self._timeout_s(), True, self._map, 1)
        self.beat = self._monotonic()
        self._cut_late()
        self._turned_away.flush(self.beat)
        self._unaccepted.flush(self.beat)

    def _obey(self) -> bool:
        """Do what was ordered; True to end."""
        is_over = False
        while not self._orders.empty():
            order = self._orders.get_nowait()
            if order is STOP:
                is_over = True
            else:
                order.reply.put(Report(self.name, self.beat, self._orders.qsize()))
        return is_over

    def _timeout_s(self) -> float:
        """How long nothing need be done; whole milliseconds, since poll() takes no less and would not wait at all."""
        now = self._monotonic()
        due = self.admission.due(now)
        return LOOK_EVERY_S if due <= now else math.ceil(min(LOOK_EVERY_S, due - now) * 1e3) / 1e3

    def _cut_late(self) -> None:
        for channel in self.channels:
            if self.beat >= channel.ends_at:
                channel.handle_close()


class WebTasks(Loop[HTTPChannel]):
    """The thread `web-task`: makes one answer after the other. Waitress hands it connections whose request is whole."""

    limits = SLOW
    most_items = 8

    def __init__(self) -> None:
        super().__init__("web-task")

    def turn(self, items: list[HTTPChannel]) -> float:
        """Answer the requests of these connections."""
        for channel in items:
            with HASTE.giving_way():            # no machine waits for a page that is being made
                self.guard(channel.service)
        return math.inf

    # --- what waitress asks of its dispatcher of tasks ----------------------------------------------------------------

    def add_task(self, task: HTTPChannel) -> None:
        """The thread `web`: the request of a connection is whole."""
        self.put(task)

    def set_thread_count(self, count: int) -> None:
        """There is one thread, and the service starts and ends it."""

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> None:
        """The service does it."""


class _Task(WSGITask):  # type: ignore[misc]
    """One answer, after which the connection is closed."""

    def build_response_header(self) -> bytes:
        """The head of the answer, which says so."""
        self.set_close_on_finish()
        return bytes(super().build_response_header())


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    """The answer to what is no request. Nothing of what came is said back."""

    def execute(self) -> None:
        """Write the answer."""
        error = self.request.error
        self.status = f"{error.code} {error.reason}"
        body = f"{error.reason}\n".encode()
        self.response_headers += [("Content-Type", TEXT), *HEADERS]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """One request."""

    path = ""                           # waitress names it of one whose sender has gone, also where none was read

    def parse_header(self, header_plus: bytes) -> None:
        """ParsingError also for what `urlsplit` and `int` refuse, which waitress would take for a bug of its own."""
        try:
            super().parse_header(header_plus)
        except ValueError as exc:
            raise ParsingError("no request") from exc


class _Channel(HTTPChannel):  # type: ignore[misc]
    """One connection, which has to be over at `ends_at`, monotonic seconds."""

    task_class = _Task
    error_task_class = _ErrorTask
    parser_class = _Parser

    def __init__(self, server: _Server, sock: socket.socket, addr: Any, origin: str) -> None:
        self.born = server.owner.now()
        self.origin: str | None = origin
        self.admission = server.owner.admission
        super().__init__(server, sock, addr, server.adj, map=server.owner.map)

    @property
    def ends_at(self) -> float:
        """When it is cut: a request that is whole gets more time, for its answer."""
        return self.born + (ANSWER_S if self.requests or self.close_when_flushed else REQUEST_S)

    def received(self, data: bytes) -> bool:
        """Bytes came."""
        is_taken = bool(super().received(data))
        if not (self.requests or self.close_when_flushed):
            self.server.owner.pieces += 1
        return is_taken

    def del_channel(self, map: dict[int, Any] | None = None) -> None:  # noqa: A002 - waitress names it so
        """It is closed."""
        super().del_channel(map)
        if self.origin is not None:
            self.admission.leave(self.origin)
            self.origin = None


class _Server(TcpWSGIServer):  # type: ignore[misc]
    """One listening socket in waitress' loop."""

    def __init__(self, owner: WebServer, sock: socket.socket, application: Application, adjustments: Adjustments
                 ) -> None:
        self.owner = owner
        self._lock = threading.Lock()
        self._is_closed = False
        super().__init__(application, owner.map, True, sock, dispatcher=owner.tasks, adj=adjustments,
                         sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()), bind_socket=False)

    def pull_trigger(self) -> None:
        """Any thread: wake the thread `web`, unless it has ended.

        Waitress would write into the descriptor of the closed pipe, which another file may have by then.
        """
        with self._lock:
            if not self._is_closed:
                super().pull_trigger()

    def close(self) -> None:
        """Close the socket and the pipe."""
        with self._lock:
            self._is_closed = True
            super().close()

    def readable(self) -> bool:
        """Whether a connection may be accepted now."""
        now = self.owner.now()
        return self.owner.admission.due(now) <= now

    def handle_accept(self) -> None:
        """Accept one connection, or close it where its address has too many."""
        now, admission = self.owner.now(), self.owner.admission
        try:
            accepted = self.accept()
        except OSError as exc:
            self.owner.could_not_accept(exc, now)
            return
        if accepted is None:                    # it has gone again
            return
        conn, addr = accepted
        origin = admission.take(addr[0], now)
        if origin is None:
            conn.close()
            self.owner.turn_away(addr[0], now)
            return
        try:
            _Channel(self, conn, addr, origin)
        except OSError:                         # gone before its options were set
            conn.close()
            admission.leave(origin)


class _WaitressLog(logging.Handler):
    """What waitress has to say of one connection is no line of ours, and its bugs are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say an error in our form; JournalHandler counts what repeats."""
        if record.levelno >= logging.ERROR:
            log.error("event=web.failed", exc_info=record.exc_info)


def quiet_waitress() -> None:
    """Waitress logs to the process' log otherwise, in words that anybody from outside may choose."""
    logger = logging.getLogger("waitress")
    logger.propagate = False
    if not any(isinstance(handler, _WaitressLog) for handler in logger.handlers):
        logger.addHandler(_WaitressLog())
