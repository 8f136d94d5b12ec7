"""What the books cost: a share by mode and size of its commit, through the thread, beside a busy one, and to read.

    python -m bench.ledger [DIRECTORY]

prints one JSON line a case, medians of several runs; DIRECTORY (a temporary one unless given) decides the disk. CPU is
that of the whole process: the kernel's part for writing and syncing is in it, and where shares go through the thread
also that of whoever posts them.
"""

from __future__ import annotations

import io
import json
import queue
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from warppool.commands.shares import write_shares
from warppool.events import ShareAccepted
from warppool.ledger.beginning import Beginning
from warppool.ledger.items import Shares
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitereader import SqliteReader
from warppool.ledger.thread import LedgerThread
from warppool.mining.job import START_ID_SIZE
from warppool.threads import STOP, spawn

RUNS = 3
SHARES = 20_000                                 # a run, at most COMMITS commits
COMMITS = 400
WORKERS = 100
BATCHES = (1, 5, 32, 100, 256, 1_000)


def shares(count: int) -> list[ShareAccepted]:
    dice, began = random.Random(1), time.time()
    return [
        ShareAccepted(
            number % WORKERS, number, began + number / 1_000, "sv2", 1, f"alice.rig{number % WORKERS}", 1024.0,
            17 + number // 10_000, 900_000, dice.randbytes(32),
        )
        for number in range(count)
    ]


def tell(case: str, per: int, runs: list[tuple[float, float]], **fields: object) -> None:
    """Print one case: medians of CPU and wall seconds, each divided by `per`."""
    cpu, wall = (round(statistics.median(run[one] for run in runs) / per * 1e6, 2) for one in (0, 1))
    line = {"bench": "ledger", "case": case, **fields, "cpu_us": cpu, "wall_us": wall, "runs": RUNS}
    print(json.dumps(line), flush=True)


def measured(directory: Path, run: Callable[[SqliteBooks], None]) -> list[tuple[float, float]]:
    """CPU and wall seconds of each run, on books that begin empty."""
    costs = []
    for _ in range(RUNS):
        for file in directory.glob("bench.db*"):
            file.unlink()
        books = SqliteBooks(directory / "bench.db")
        books.open()
        cpu, wall = time.process_time(), time.perf_counter()
        run(books)
        costs.append((time.process_time() - cpu, time.perf_counter() - wall))
        books.close()
    return costs


def write_in_batches(directory: Path, size: int, mode: str = "pool") -> None:
    count = min(SHARES, size * COMMITS)
    every = shares(count)
    if mode != "pool":
        every = [share._replace(account=f"bc1q{share.conn_id}") for share in every]

    def run(books: SqliteBooks) -> None:
        books.begin(Beginning(mode, 0, bytes(START_ID_SIZE), time.time()))
        for at in range(0, count, size):
            books.write(every[at:at + size], {}, [])

    tell("share", count, measured(directory, run), batch=size, mode=mode)


def close_hours(directory: Path, accounts: int, hours: int) -> None:
    """The commit that ends an hour, with a share of each account in it."""
    began = time.time() // 3600 * 3600
    every = [[share._replace(time=began + 3600 * hour, account=f"bc1q{number}")
              for number, share in enumerate(shares(accounts))] for hour in range(hours + 1)]
    ends: list[tuple[float, float]] = []

    def run(books: SqliteBooks) -> None:
        books.begin(Beginning("pplns", 0, bytes(START_ID_SIZE), began))
        books.write(every[0], {}, [])
        cpu, wall = 0.0, 0.0
        for first, *rest in every[1:]:
            cpu, wall = cpu - time.process_time(), wall - time.perf_counter()
            books.write([first], {}, [])
            cpu, wall = cpu + time.process_time(), wall + time.perf_counter()
            books.write(rest, {}, [])
        ends.append((cpu, wall))

    measured(directory, run)
    tell("end of an hour", hours, ends, accounts=accounts)


def write_beside_a_busy_thread(directory: Path, size: int, commits: int) -> None:
    """Wall time of a commit while another thread never gives up the GIL of its own accord."""
    every, stop = shares(size * commits), threading.Event()

    def run(books: SqliteBooks) -> None:
        for at in range(0, size * commits, size):
            books.write(every[at:at + size], {}, [])

    def burn() -> None:
        while not stop.is_set():
            sum(range(200))

    burner = threading.Thread(target=burn)
    burner.start()
    runs = measured(directory, run)
    stop.set()
    burner.join()
    tell("commit beside a busy thread", commits, runs, batch=size)


def through_the_thread(directory: Path, size: int, items: int, gap_s: float) -> None:
    """Items of `size` shares, one every `gap_s`, or all at once for 0."""
    every, answers = shares(size * items), queue.Queue()
    commits = []

    def run(books: SqliteBooks) -> None:
        inbox: queue.Queue[object] = queue.Queue()
        ledger = LedgerThread(books, inbox, "commit")
        thread = spawn("ledger", ledger.run, print)
        for at in range(0, size * items, size):
            inbox.put(Shares(tuple(every[at:at + size]), answers))
            if gap_s:
                time.sleep(gap_s)
        inbox.put(STOP)
        thread.join()
        commits.append(ledger.commits)

    runs = measured(directory, run)
    tell("share through the thread", size * items, runs, item=size, gap_ms=gap_s * 1e3,
         shares_a_commit=round(size * items / statistics.median(commits), 1))


def read_and_verify(directory: Path, count: int) -> None:
    def fill(books: SqliteBooks) -> None:
        every = shares(count)
        for at in range(0, count, 1_000):
            books.write(every[at:at + 1_000], {}, [])

    measured(directory, fill)
    path = directory / "bench.db"
    print(json.dumps({"bench": "ledger", "case": "size", "bytes_a_share": round(path.stat().st_size / count, 1)}))

    def export(_: SqliteBooks, form: str) -> None:
        with SqliteReader(path) as reader:
            write_shares(reader, io.StringIO(), form, None, None)

    def sum_up(_: SqliteBooks) -> None:
        with SqliteReader(path) as reader:
            reader.totals()

    books = SqliteBooks(path)
    books.open()
    for case, act in (
        ("jsonl", lambda books: export(books, "jsonl")), ("csv", lambda books: export(books, "csv")),
        ("totals", sum_up), ("verify", SqliteBooks.verify),
    ):
        runs = []
        for _ in range(RUNS):
            cpu, wall = time.process_time(), time.perf_counter()
            act(books)
            runs.append((time.process_time() - cpu, time.perf_counter() - wall))
        tell(f"share: {case}", count, runs)
    books.close()


def main(directory: Path) -> None:
    for size in BATCHES:
        write_in_batches(directory, size)
    for mode in ("solo", "pplns"):
        write_in_batches(directory, 100, mode)
    close_hours(directory, 1_000, 10)
    write_beside_a_busy_thread(directory, 100, 20)
    through_the_thread(directory, 100, 200, 0.0)
    through_the_thread(directory, 1, 1_000, 0.001)
    read_and_verify(directory, 200_000)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
