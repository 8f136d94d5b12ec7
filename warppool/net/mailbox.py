"""The reactor's mailbox: a queue whose reader sleeps in `select`, not on the queue."""

from __future__ import annotations

import queue
import select
import socket
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Any thread posts; the reactor, its only reader, drains. Posting never blocks.

    Between two drains one byte wakes the reader however many items were posted, since every system call may hand the
    interpreter to another thread. No item is ever left without a byte: a poster puts its item and then looks at the
    bell; the reader stills the bell and then takes the items. So a poster that finds the bell rung put its item before
    the reader looks, and one that finds it still rings.
    """

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._is_rung = False
        self.rounds = 0                         # how often the reader went to sleep
        self.is_reader_asleep = False           # it waits for something to happen; any thread may look at these two
        self._read_end, self._write_end = socket.socketpair()
        self._read_end.setblocking(False)
        self._write_end.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._read_end, select.POLLIN)

    def fileno(self) -> int:
        """What the selector watches for reading."""
        return self._read_end.fileno()

    def post(self, item: T) -> None:
        """Leave `item` for the reader; after `close` it goes nowhere."""
        self._items.put(item)
        if not self._is_rung:
            self._is_rung = True
            with suppress(OSError):             # full: the reader is already due to wake; or closed
                self._write_end.send(b"\0")

    @property
    def waiting(self) -> int:
        """Items that the reader has not taken."""
        return self._items.qsize()

    def wait(self, seconds: float) -> None:
        """Until there is mail, or for so long, rounded up to the next millisecond; for the reader alone."""
        self._poll.poll(seconds * 1000)

    def drain(self) -> list[T]:
        """Everything posted so far, in order; for the reader alone."""
        with suppress(BlockingIOError):         # bytes first, the bell second: a later post leaves a fresh one
            self._read_end.recv(4096)
        self._is_rung = False
        return [self._items.get_nowait() for _ in range(self._items.qsize())]

    def close(self) -> None:
        """The reader reads no more."""
        self._read_end.close()
        self._write_end.close()
