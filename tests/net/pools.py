"""A whole shell for a test: reactor, workers and executor on loopback, with a book-keeper that answers at once."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.net.lines import LineConnection
from tests.patience import PATIENCE_S
from warppool.events import BlockFound, Connection, Now, ShareAccepted
from warppool.loop import Ask
from warppool.net.clients import Stack
from warppool.net.hasher import Hasher
from warppool.net.inbox import Drain, NotRecorded, Opened, Recorded
from warppool.net.limits import AcceptLimits
from warppool.net.listener import Listener, listen
from warppool.net.outbox import FlushAndStop, StopAccepting
from warppool.net.reactor import Reactor
from warppool.net.reports import WorkerReport
from warppool.net.resolver import Resolver
from warppool.net.worker import Worker
from warppool.threads import STOP, spawn
from warppool.transport import PLAIN, Transport


def until(condition: Callable[[], object]) -> None:
    """Wait for what other threads bring about and nothing announces."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


class Client:
    """A blocking client that speaks the lines of `LineConnection`."""

    def __init__(self, host: str, port: int, receive_buffer: int = 0) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE_S)
        try:
            self.sock.connect((host, port))
        except OSError:
            self.sock.close()
            raise
        self._held = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        """The next line without its end; b"" at the end of the stream."""
        while b"\n" not in self._held:
            data = self.sock.recv(65536)
            if not data:
                assert not self._held
                return b""
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return line

    def lines(self, count: int) -> list[bytes]:
        return [self.line() for _ in range(count)]

    def rest(self) -> bytes:
        """All that comes until the stream ends, however it ends."""
        data, self._held = self._held, b""
        try:
            while more := self.sock.recv(65536):
                data += more
        except ConnectionResetError:
            pass
        return data

    def reset(self) -> None:
        """Leave with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Pool:
    """The threads and what came out of them. `is_recording` off holds every share until `answer` is called."""

    def __init__(self, listeners: Sequence[Listener], workers: int, connect: Callable[[Opened, Now], Stack],
                 max_connections: int, max_per_ip: int) -> None:
        self.listeners = listeners
        self.died: list[str] = []
        self.inboxes: list[queue.Queue[Any]] = [queue.Queue() for _ in range(workers)]
        self.connections: dict[int, Connection] = {}
        self.transports: dict[int, Transport] = {}
        self.owners: dict[int, str] = {}
        self.booked: list[tuple[ShareAccepted, ...]] = []
        self.found: list[BlockFound] = []
        self.refusals: list[tuple[str, str, int, int]] = []
        self.is_recording = True
        self.reactor = Reactor(listeners, self.inboxes, accept_limits=AcceptLimits(max_connections, max_per_ip))
        self.resolver = Resolver(self.reactor.mailbox, self.inboxes)
        self.hasher = Hasher(workers)
        self._connect = connect
        self._clients: list[Client] = []
        self._threads = [spawn("reactor", self.reactor.run, self.died.append),
                         spawn("resolver", self.resolver.run, self.died.append)]
        self.workers = [self._start_worker(index) for index in range(workers)]

    def _start_worker(self, index: int) -> Worker:
        inbox = self.inboxes[index]

        def connect(opened: Opened, now: Now) -> Stack:
            stack = self._connect(opened, now)
            self.connections[opened.conn_id], self.transports[opened.conn_id] = stack.connection, stack.transport
            self.owners[opened.conn_id] = threading.current_thread().name
            return stack

        def record(shares: tuple[ShareAccepted, ...]) -> None:
            self.booked.append(shares)
            if self.is_recording:
                inbox.put(Recorded(tuple((share.conn_id, share.share_id) for share in shares)))

        def found(block: BlockFound) -> None:
            self.found.append(block)
            if self.is_recording and block.share is not None:
                inbox.put(Recorded(((block.conn_id, block.share.share_id),)))

        worker = Worker(index, inbox, self.reactor.mailbox, self.hasher, connect, record=record,
                        refused=self.refusals.extend, found=found, dial=self.resolver.dial)
        self._threads.append(spawn(f"worker-{index}", worker.run, self.died.append))
        return worker

    def client(self, host: str = "127.0.0.1", listener: int = 0, receive_buffer: int = 0) -> Client:
        client = Client(host, self.listeners[listener].port, receive_buffer)
        self._clients.append(client)
        return client

    def answer(self, is_recorded: bool = True) -> None:
        """Answer every share that is booked, and all that will be."""
        self.is_recording = True
        for inbox, ids in self._booked_by_inbox():
            inbox.put(Recorded(ids) if is_recorded else NotRecorded(ids))

    def _booked_by_inbox(self) -> Iterator[tuple[queue.Queue[Any], tuple[tuple[int, int], ...]]]:
        for shares in self.booked:
            inbox = self.inboxes[int(self.owners[shares[0].conn_id].removeprefix("worker-"))]
            yield inbox, tuple((share.conn_id, share.share_id) for share in shares)

    def ask(self) -> list[WorkerReport]:
        """The counts of every worker; what was in their inboxes has been handled."""
        reply: queue.SimpleQueue[WorkerReport] = queue.SimpleQueue()
        for inbox in self.inboxes:
            inbox.put(Ask(reply))
        return sorted((reply.get(timeout=PATIENCE_S) for _ in self.inboxes), key=lambda stats: stats.worker)

    @property
    def is_running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def stop_gracefully(self) -> None:
        """As the daemon does it: no more bytes in, answers out, then the threads, the reactor last."""
        reply: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.reactor.mailbox.post(StopAccepting())
        for inbox in self.inboxes:
            inbox.put(Drain(reply))
        for _ in self.inboxes:
            reply.get(timeout=PATIENCE_S)
        self.stop(seconds=PATIENCE_S)

    def stop(self, seconds: float = 0.0) -> None:
        """End every thread, give the last bytes `seconds`."""
        for inbox in self.inboxes:
            inbox.put(STOP)
        self.resolver.stop()
        for thread in self._threads[1:]:
            thread.join(PATIENCE_S)
        self.reactor.mailbox.post(FlushAndStop(time.monotonic() + seconds))
        self._threads[0].join(PATIENCE_S)
        self.hasher.stop()
        for client in self._clients:
            client.close()
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.died == []
        assert [listener.sock.fileno() for listener in self.listeners] == [-1] * len(self.listeners)


@contextmanager
def pool(addresses: Sequence[str] = ("127.0.0.1:0",), workers: int = 2, max_connections: int = 10_000,
         max_per_ip: int = 0, max_unanswered: int = 1024,
         connect: Callable[[Opened, Now], Connection] | None = None,
         serve: Callable[[Opened, Now], Stack] | None = None) -> Iterator[Pool]:
    """A running shell, stopped at the end unless the test has done that; `connect` makes plain connections."""
    listeners = [listen(f"kind-{number}", address, "stratum.listen") for number, address in enumerate(addresses)]
    made = connect or (lambda opened, now: LineConnection(opened.conn_id, max_unanswered))
    running = Pool(listeners, workers, serve or (lambda opened, now: Stack(PLAIN, made(opened, now))),
                   max_connections, max_per_ip)
    try:
        yield running
    finally:
        if running.is_running:
            running.stop()
