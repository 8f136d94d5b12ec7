"""Snapshots over real books, without threads: the test is the ledger, the node and the clock."""

from __future__ import annotations

import queue
from collections import deque
from pathlib import Path

from tests.ledger.books import START, share
from tests.ledger.test_payoutbooks import begun
from tests.mining.makers import make_tip
from tests.payout.makers import make_rules
from warppool.ledger.payoutitems import Booked, Booking, SharesBooked, Unbooked
from warppool.ledger.sqlitereader import SqliteReader
from warppool.node.snapshotitems import Mining, SnapshotReady
from warppool.payout.rules import PayoutRules
from warppool.rewards.making import SnapshotMaker
from warppool.rewards.reading import BooksReading
from warppool.rewards.snapshots import Neighbours, Snapshots


class Balances:
    """What is owed, as the test says."""

    def __init__(self) -> None:
        self.payable: dict[str, int] = {}
        self.settled = 0
        self.first_share: int | None = None
        self.cleared = b""

    def may_pay(self, tip: bytes) -> bool:
        return tip == self.cleared


class Rig:
    """`jobs` is what thread `jobs` was told, `bookings` what waits for the ledger."""

    def __init__(self, path: Path, *, has_headers: bool = False, start: int = 1, mode: str = "pplns",
                 rules: PayoutRules | None = None) -> None:
        self.now = 1000.0
        self.owed = Balances()
        self.books = begun(path, mode, start=start)
        self._jobs: queue.Queue[SnapshotReady] = queue.Queue()
        self._ledger: queue.Queue[Booking] = queue.Queue()
        self.headers: queue.Queue[object] | None = queue.Queue() if has_headers else None
        self.own: queue.Queue[object] = queue.Queue()
        self.bookings: deque[Booking] = deque()
        self.reading = BooksReading(lambda: SqliteReader(path))
        self.snapshots = Snapshots(SnapshotMaker(rules or make_rules(), self.reading), self.owed,
                                   Neighbours(self._jobs, self._ledger, self.headers, self.own))
        with SqliteReader(path) as reader:
            self.snapshots.start(reader, self.now)

    def close(self) -> None:
        self.reading.drop()
        self.books.close()

    def mine(self, number: int, height: int = 101) -> None:
        """A job goes out on tip `number`, or waits."""
        self.tip = make_tip(number, nbits=0x1D00FFFF, height=height)
        newest = self.snapshots.use.newest
        self.snapshots.mining(Mining(0, self.tip, START + self.now, 1, b"" if newest is None else newest.id, False),
                              self.now)
        self.look()

    def work(self, *accounts: str, difficulty: float = 0.5) -> None:
        """Each account brings a share, which is booked."""
        first_id = self.books.next_id
        shares = tuple(share(first_id + n, time=START + self.now, difficulty=difficulty)._replace(account=account)
                       for n, account in enumerate(accounts))
        self.books.write(shares, {}, [])
        self.snapshots.add(SharesBooked(first_id, shares))

    def look(self, after_s: float = 0.0) -> None:
        """Time passes, and what is due is done."""
        self.now += after_s
        self.snapshots.look(self.now)
        while not self._ledger.empty():
            self.bookings.append(self._ledger.get())

    def book(self, is_taken: bool = True) -> None:
        """The ledger takes what waits, or never will."""
        while self.bookings:
            booking = self.bookings.popleft()
            assert not is_taken or self.books.write([], {}, [booking]) == []
            self.snapshots.booked(Booked(booking) if is_taken else Unbooked(booking, "lost"), self.now)
            self.look()

    @property
    def told(self) -> list[SnapshotReady]:
        """What thread `jobs` has heard since the last call."""
        told = []
        while not self._jobs.empty():
            told.append(self._jobs.get())
        return told

