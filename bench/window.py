"""What the window of a large pool costs at a start, at each tip, and as an export.

    python -m bench.window [--shares N] [--accounts N]

makes books with the hours of 90 days and the single shares of the hours at both ends (default: 1.5 x 10^8 shares of
100 accounts), and prints one JSON line a case, each the median of several runs. `rebuild` reads the window as a start
does; `snapshot` is what thread `payout` does at a tip, with 5,000 new shares; `export` writes what can be audited.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from bench.division import VALUE_SAT, account
from bench.modes import NBITS, WINDOW_DAYS, rules_of
from warppool.bitcoin.target import target_from_nbits
from warppool.events import ShareAccepted
from warppool.ledger.beginning import Beginning
from warppool.ledger.payoutitems import Booking, KeepSnapshot, PayoutBlock, SharesBooked
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitereader import SqliteReader
from warppool.mining.template import Tip
from warppool.payout.snapshot import Snapshot
from warppool.rewards.export import export_lines
from warppool.rewards.making import SnapshotMaker

RUNS = 5
HOUR_MS = 3_600_000
DIFFICULTY = 65_536.75
REBUILD_S = 3.0
EXPORT_MB = 50
NEW_SHARES = 5_000
ROOM = 600                      # bytes for outputs
BEGIN_HOUR = 480_000


class LargeBooks:
    """Books of a pool with so many shares; the window begins and ends in the middle of an hour."""

    def __init__(self, path: Path, shares: int, accounts: int) -> None:
        self.path = path
        self.names = [account(number) for number in range(accounts)]
        self.hourly = shares // (WINDOW_DAYS * 24)
        self.hours = WINDOW_DAYS * 24 + 1                   # half of the first is too old, and the last one is open
        books = SqliteBooks(path)
        books.open()
        books.begin(Beginning("pplns", 0, b"\x00\x00\x00\x01", BEGIN_HOUR * 3600.0))
        books.close()
        with closing(sqlite3.connect(path)) as connection, connection:
            self._fill(connection)
        self.unix = (BEGIN_HOUR + self.hours) * 3600.0 - 1800

    def _fill(self, connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO accounts (id, address, last_id, last_hour) VALUES (?, ?, 1, 0)",
                               enumerate(self.names, 1))
        connection.execute("INSERT INTO workers (id, name, user) VALUES (1, 'one', 'one')")
        each = self.hourly // len(self.names)
        whole, half = divmod(int(each * DIFFICULTY * 4), 4)
        fraction = half << 46
        connection.executemany(
            "INSERT INTO window_hours VALUES (0, ?, ?, ?, ?, ?, ?)",
            ((1 + hour * self.hourly, (hour + 1) * self.hourly, number, whole, fraction, each)
             for hour in range(self.hours - 1) for number in range(1, len(self.names) + 1)))
        for hour in (0, self.hours - 1):
            first = 1 + hour * self.hourly
            share_hash = bytes(32)
            connection.executemany(
                "INSERT INTO shares VALUES (?, ?, 1, 'v1', 1, ?, 1, 800000, ?, ?)",
                ((first + n, (BEGIN_HOUR + hour) * HOUR_MS + n * HOUR_MS // self.hourly, DIFFICULTY, share_hash,
                  1 + n % len(self.names)) for n in range(self.hourly)))
        connection.executemany(
            "INSERT INTO minutes VALUES (?, ?)",
            ((BEGIN_HOUR * 60 + minute, 1 + minute * self.hourly // 60) for minute in range(self.hours * 60)))
        connection.execute("UPDATE meta SET next_share_id = ?", (1 + self.hours * self.hourly,))

    def maker(self, reader: SqliteReader) -> SnapshotMaker:
        """Of snapshots of a window that 90 days do not fill."""
        maker = SnapshotMaker(rules_of(account(10_000), window=1_000), lambda: reader)
        maker.begin(reader.last_id())
        maker.tips.note(TIP.height, TIP.nbits)
        return maker


TIP = Tip(bytes(32), NBITS, target_from_nbits(NBITS), 0, 800_000)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall, in seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def tell(case: str, costs: list[tuple[float, float]], **more: object) -> None:
    """Print one case."""
    cpu, wall = (statistics.median(each) for each in zip(*costs, strict=True))
    print(json.dumps({"bench": "window", "case": case, "cpu_s": round(cpu, 3), "wall_s": round(wall, 3),
                      "runs": len(costs), **more}), flush=True)


def rebuild(books: LargeBooks, reader: SqliteReader) -> SnapshotMaker:
    """What a start does."""
    costs = []
    for _ in range(RUNS):
        maker = books.maker(reader)
        costs.append(timed(partial(maker.build, TIP, books.unix, 100)))
    tell("rebuild", costs, hours=books.hours, accounts=len(books.names), wanted={"wall_s": REBUILD_S})
    return maker


def snapshots(books: LargeBooks, maker: SnapshotMaker) -> Snapshot:
    """What a tip does, with the shares of half a minute before it."""
    costs, unix = [], books.unix
    next_id = maker.last_id + 1
    made = maker.make(TIP, unix, {}, 100)
    for _ in range(RUNS):
        unix += 30
        shares = tuple(ShareAccepted(1, n, unix, "v1", 1, "one", DIFFICULTY, 1, 800_000, bytes(32),
                                     books.names[n % len(books.names)]) for n in range(NEW_SHARES))
        booked = SharesBooked(next_id, shares)
        next_id += NEW_SHARES
        costs.append(timed(partial(_tip, maker, booked, unix)))
    tell("snapshot", costs, new_shares=NEW_SHARES)
    return made


def _tip(maker: SnapshotMaker, booked: SharesBooked, unix: float) -> None:
    maker.add(booked)
    maker.make(TIP, unix, {}, 100)


def export(books: LargeBooks, reader: SqliteReader, snapshot: Snapshot) -> None:
    """One block of this snapshot."""
    block = PayoutBlock(bytes([7]) * 32, bytes(32), 800_000, books.unix, "pplns", books.names[0], "", snapshot.id, ROOM,
                        VALUE_SAT, VALUE_SAT // 100, False, b"", NBITS)
    writer = SqliteBooks(books.path)
    writer.open()
    assert writer.write([], {}, [Booking((
        KeepSnapshot(snapshot.id, snapshot.tip, books.unix, snapshot.blob), block))]) == []
    writer.close()
    size = 0

    def measure() -> None:
        nonlocal size
        position = reader.payout_block(block.hash)
        assert position is not None
        size = sum(len(line) + 1 for line in export_lines(reader, position))

    tell("export", [timed(measure)], mb=round(size / 1e6, 1), wanted={"mb": EXPORT_MB})


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments and print all cases."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shares", type=int, default=150_000_000, help="in 90 days (default 1.5e8)")
    parser.add_argument("--accounts", type=int, default=100, help="(default 100)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="warppool-bench-") as folder:
        books = LargeBooks(Path(folder) / "shares.db", args.shares, args.accounts)
        with SqliteReader(books.path) as reader:
            maker = rebuild(books, reader)
            export(books, reader, snapshots(books, maker))


if __name__ == "__main__":
    main()
