"""What the tests of the ledger share: shares to book, and a queue with a clock of its own."""

import math
import queue
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from warppool.events import ShareAccepted
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitereader import SqliteReader
from warppool.ledger.thread import LedgerThread
from warppool.threads import STOP

START = 1_795_341_600.123       # 2026-11-22T10:00:00.123Z


def share(number: int, *, user: str = "alice.rig1", time: float = START, difficulty: float = 1e-9) -> ShareAccepted:
    """Share `number`: its id, its channel and its hash tell which it is."""
    return ShareAccepted(
        conn_id=number % 7, share_id=number, time=time, protocol="sv2", channel_id=1, user=user, difficulty=difficulty,
        job_id=17, height=5, share_hash=sha256(b"%d" % number).digest(),
    )


def ids(*shares: ShareAccepted) -> tuple[tuple[int, int], ...]:
    return tuple((one.conn_id, one.share_id) for one in shares)


def booked(path: Path) -> list[bytes]:
    """The hashes in the books, in their order."""
    with SqliteReader(path) as reader:
        return [row.hash for row in reader.shares()]


def opened(path: Path) -> SqliteBooks:
    books = SqliteBooks(path)
    books.open()
    return books


def book(path: Path, *shares: ShareAccepted) -> None:
    with closing(opened(path)) as books:
        books.write(shares, {}, [])


class Simulation:
    """An inbox whose waits take no time: items arrive at their moment of a clock that only waiting moves.

    What arrives is an item for the ledger, or something to do at that moment. STOP comes last, at `ends_at`.
    """

    def __init__(self, arrivals: list[tuple[float, object]], ends_at: float) -> None:
        self.now = 0.0
        self._arrivals = [*sorted(arrivals, key=lambda arrival: arrival[0]), (ends_at, STOP)]

    def also(self, arrivals: list[tuple[float, object]]) -> None:
        self._arrivals = sorted([*arrivals, *self._arrivals], key=lambda arrival: arrival[0])

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def qsize(self) -> int:
        return sum(moment <= self.now and not callable(item) for moment, item in self._arrivals)

    def get_nowait(self) -> object:
        return self.get(timeout=0.0)

    def put(self, item: object) -> None:
        self._arrivals.append((self.now, item))

    def get(self, timeout: float | None) -> object:
        assert timeout is None or timeout >= 0
        until = math.inf if timeout is None else self.now + timeout
        while self._arrivals and self._arrivals[0][0] <= until:
            moment, item = self._arrivals.pop(0)
            self.now = max(self.now, moment)
            if not isinstance(item, Callable):
                return item
            item()
        self.now = until
        raise queue.Empty


def simulate(database, arrivals, ends_at, durability="commit") -> LedgerThread:
    """Let a ledger live through all of it, on this thread."""
    simulation = Simulation(arrivals, ends_at)
    ledger = LedgerThread(database, simulation, durability, simulation.monotonic, simulation.sleep)
    ledger.run()
    return ledger


def taken(answers: queue.Queue) -> list[object]:
    return [answers.get_nowait() for _ in range(answers.qsize())]
