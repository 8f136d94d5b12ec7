"""What books of 10^7 shares, 10,000 workers of 5,000 users, cost at a start, to ask, and to roll up.

    python -m bench.bigbooks [--shares N] [--workers N] [--days N] [DIRECTORY]

makes the books in DIRECTORY (a temporary one unless given; some 2 GB, a minute or two) and prints one JSON line a case;
bench/README.rst says what each figure means.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.server import Server
from warppool.events import ShareAccepted
from warppool.ledger.beginning import Beginning
from warppool.ledger.opening import open_reader
from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqliteslots import KEPT_DAYS, OpenSlot
from warppool.mining.job import START_ID_SIZE
from warppool.rewards.past import read_past as read_rewards
from warppool.service.pastnumbers import read_past

RUNS = 5
URL = "sqlite:///shares.db"
MOST_READY_S = 5.0
MOST_CPU_MS = 50.0
OPEN_SHARES = 120_000           # above the mark: ten minutes at 200 shares a second
BLOCKS = 100
A_RUN = 512                     # shares of one half of a pair
PAIRS = 60
COMMIT = 32
MOST_SLICES = 1_500             # of old books: not all of them, which takes some minutes

_SHARES = """
    WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)
    INSERT INTO shares (id, time_ms, worker, protocol, channel, difficulty, job, height, hash)
    SELECT i, :time_ms + (i - :first) * :step_us / 1000, 1 + abs(random()) % :workers, 'sv1', 3,
        CAST(256 << (i % 4) AS REAL), 17, 900000, CAST(randomblob(28) || x'00000000' AS BLOB) FROM n"""
_SUM_SHARES = """
    INSERT INTO rollups
    SELECT :resolution, :slot, worker, count(*), CAST(sum(difficulty) AS INTEGER), 0, max(difficulty) FROM
    shares WHERE id BETWEEN :first AND :last GROUP BY worker"""
_SUM_HOURS = """
    INSERT INTO rollups SELECT 86400, :day, worker, sum(accepted), sum(whole), 0, max(best) FROM rollups
    WHERE resolution = 3600 AND slot >= :day * 24 AND slot < :day * 24 + 24 GROUP BY worker"""
_SLOT = """
    INSERT INTO slots SELECT resolution, slot, :first, :last, sum(accepted), sum(whole), 0, max(best) FROM rollups
    WHERE resolution = :resolution AND slot = :slot"""


@dataclass(frozen=True)
class BigBooks:
    """So many `shares` in so many `days` up to now, and OPEN_SHARES more in the slot that is open (a tenth, where that
    is less). Two workers a user.
    """

    folder: Path
    shares: int
    workers: int
    days: int

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "shares.db"

    @property
    def open_shares(self) -> int:
        """In no roll-up."""
        return min(OPEN_SHARES, self.shares // 10)

    def make(self, now: float) -> None:
        """Write them, with the roll-ups that a pool would have."""
        slots = self.days * DAY // TEN_MINUTES
        open_slot = int(now) // TEN_MINUTES
        first_slot = open_slot - slots
        edges = [1 + number * self.shares // slots for number in range(slots + 1)]
        books = SqliteBooks(self.path)
        books.open()
        books.close()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA cache_size = -200000")
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO workers (id, name, user) VALUES (?, ?, ?)", (
                (number, f"{user_of(number)}.rig{number}", user_of(number)) for number in range(1, self.workers + 1)))
            self._fill(connection, first_slot, edges)
            self._roll_up(connection, first_slot, edges)
            self._mark(connection, open_slot, edges)
            connection.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?, 1e14, 'accepted', '', 0)", (
                (number.to_bytes(32, "big"), 800_000 + number, 1 + number, int(now - (BLOCKS - number) * 9_000) * 1000)
                for number in range(BLOCKS)))
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")

    def _fill(self, connection: sqlite3.Connection, first_slot: int, edges: Sequence[int]) -> None:
        ends = [*edges[1:], edges[-1] + self.open_shares]
        for number, (first, end) in enumerate(zip(edges, ends, strict=True)):
            if first == end:
                continue
            unix = (first_slot + number) * TEN_MINUTES
            connection.execute(_SHARES, {
                "first": first, "last": end - 1, "time_ms": unix * 1000, "workers": self.workers,
                "step_us": 1_000_000 * TEN_MINUTES // (end - first)})
            connection.executemany("INSERT INTO minutes VALUES (?, ?)", (
                (unix // 60 + minute, first + minute * (end - first) // 10) for minute in range(10)))

    def _roll_up(self, connection: sqlite3.Connection, first_slot: int, edges: Sequence[int]) -> None:
        today = (first_slot + len(edges) - 1) * TEN_MINUTES // DAY
        for resolution in (TEN_MINUTES, HOUR):
            kept = (today - KEPT_DAYS[resolution]) * DAY // resolution
            a_slot = resolution // TEN_MINUTES
            end_slot = (first_slot + len(edges) - 1) // a_slot
            for slot in range(max(first_slot // a_slot, kept), end_slot):
                first, end = (edges[max(0, each * a_slot - first_slot)] for each in (slot, slot + 1))
                values = {"resolution": resolution, "slot": slot, "first": first, "last": end - 1}
                if first < end:
                    connection.execute(_SUM_SHARES, values)
                    connection.execute(_SLOT, values)
        for day in range(first_slot * TEN_MINUTES // DAY, today):
            first, end = (edges[max(0, each * DAY // TEN_MINUTES - first_slot)] for each in (day, day + 1))
            if first == end:
                continue
            connection.execute(_SUM_HOURS, {"day": day})
            connection.execute(_SLOT, {"resolution": DAY, "slot": day, "first": first, "last": end - 1})

    def _mark(self, connection: sqlite3.Connection, open_slot: int, edges: Sequence[int]) -> None:
        day = open_slot * TEN_MINUTES // DAY
        pruned = day - KEPT_DAYS[TEN_MINUTES], day - KEPT_DAYS[HOUR]
        connection.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", {
            "open_slot": open_slot, "rolled_id": edges[-1], "live_id": 1, "backlog_id": 1,
            "live_slot": open_slot - len(edges) + 1, "hour": open_slot // 6, "day": day, "pruned_600": pruned[0] * 144,
            "pruned_3600": pruned[1] * 24, "refused_hour": 0, "refused_day": 0}.items())

    def forget_roll_ups(self) -> None:
        """As books that are older than roll-ups are after their migration."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for table in ("rollups", "slots", "marks"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("INSERT INTO marks SELECT 'rolled_id', max(id) + 1 FROM shares")
            connection.execute("INSERT INTO marks SELECT 'live_id', value FROM marks WHERE name = 'rolled_id'")
            connection.execute("INSERT INTO marks SELECT 'backlog_id', min(id) FROM shares")


def user_of(worker: int) -> str:
    """The user of the worker with this number."""
    return f"bc1q{worker // 2:038x}"


def tell(case: str, **figures: object) -> None:
    """Print one case."""
    print(json.dumps({"bench": "bigbooks", "case": case, **{
        name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()}}), flush=True)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall milliseconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return (time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3


def tell_times(case: str, runs: Sequence[tuple[float, float]], **more: object) -> float:
    """Medians; the wall's."""
    cpu, wall = (statistics.median(each[at] for each in runs) for at in (0, 1))
    tell(case, cpu_ms=cpu, wall_ms=wall, **more)
    return wall


# --- a start ----------------------------------------------------------------------------------------------------------

def start(books: BigBooks) -> None:
    """What a start does with the books, part by part."""
    opened = partial(open_reader, URL, books.folder)
    sqlite = SqliteBooks(books.path)

    def rewards() -> None:
        with opened() as reader:
            read_rewards(reader)

    parts: dict[str, Callable[[], object]] = {
        "open": sqlite.open, "verify": sqlite.verify,
        "begin": lambda: sqlite.begin(Beginning("pplns", 0, os.urandom(START_ID_SIZE), time.time())),
        "rewards": rewards, "numbers": lambda: read_past(opened, time.time()), "close": sqlite.close}
    runs = [{name: timed(run) for name, run in parts.items()} for _ in range(RUNS)]
    for name in parts:
        tell_times(f"start: {name}", [run[name] for run in runs])


def ready(books: BigBooks) -> None:
    """A whole pool from its command to its being ready."""
    found = []
    for _ in range(RUNS):
        with BigServer(books) as server:
            found.append(server.ready_s)
    tell("ready", wall_s=statistics.median(found), wanted={"wall_s": MOST_READY_S})


class BigServer(Server):
    """A pool with these books. `ready_s` is how long it took from its command to its being ready."""

    def __init__(self, books: BigBooks) -> None:
        super().__init__()
        self._books = books
        self._began = 0.0
        self.ready_s = 0.0

    def __enter__(self) -> BigServer:
        super().__enter__()
        self.ready_s = time.perf_counter() - self._began
        return self

    def _start(self, closing: ExitStack, command: Sequence[str], log: Path | None = None) -> subprocess.Popen[str]:
        if "warppool" in command:
            data = self._folder / "data"
            data.mkdir()
            os.link(self._books.path, data / "shares.db")
        self._began = time.perf_counter()
        return super()._start(closing, command, log)


# --- an answer --------------------------------------------------------------------------------------------------------

def answers(books: BigBooks, now: float) -> None:
    """What is asked of the books, each time by a reader that has just been opened."""
    last = int(now) // TEN_MINUTES - 1
    user = user_of(2)
    since_ms = round((now - HOUR) * 1000)

    def asked(case: str, ask: Callable[..., object], *args: object) -> None:
        def run() -> None:
            with open_reader(URL, books.folder) as reader:
                rows = ask(reader, *args)
                found.append(len(rows))     # type: ignore[arg-type]

        found: list[int] = []
        tell_times(f"answer: {case}", [timed(run) for _ in range(RUNS)], rows=found[0], wanted={"cpu_ms": MOST_CPU_MS})

    asked("history of a day", lambda reader: reader.history(TEN_MINUTES, last - 143, last))
    asked("history of a day of a user", lambda reader: reader.history(TEN_MINUTES, last - 143, last, user))
    asked("history of a day of a worker", lambda reader: reader.history(TEN_MINUTES, last - 143, last, f"{user}.rig2"))
    asked("history of six weeks", lambda reader: reader.history(HOUR, last // 6 - 1_008, last // 6 - 1))
    asked("history of six weeks of a user", lambda reader: reader.history(HOUR, last // 6 - 1_008, last // 6 - 1, user))
    asked("history of all days of a user", lambda reader: reader.history(DAY, 0, last // 144 - 1, user))
    asked("workers of a user", lambda reader: reader.workers(user))
    asked("workers", lambda reader: reader.workers())
    asked("blocks", lambda reader: reader.blocks(100))
    asked("refusals of a week", lambda reader: reader.refusal_sums(now - 7 * DAY))
    asked("shares of a user in the last hour", lambda reader: list(reader.shares(since_ms, user)))


# --- what is booked ---------------------------------------------------------------------------------------------------

def shares(workers: int, count: int, now: float) -> list[ShareAccepted]:
    """Of any workers, at random."""
    dice = random.Random(12)
    return [ShareAccepted(number % 100, number, now, "sv2", 1, f"{user_of(worker)}.rig{worker}",
                          float(256 << worker % 4), 17, 900_000, dice.randbytes(28) + bytes(4))
            for number, worker in enumerate(dice.choices(range(1, workers + 1), k=count))]


def a_share(folder: Path, workers: int, now: float) -> None:
    """What roll-ups add to a share, by pairs of runs with and without them in the same books."""
    every = shares(workers, A_RUN * PAIRS, now)
    turn, committed = OpenSlot.turn, OpenSlot.committed
    books = SqliteBooks(folder / f"pairs-{workers}.db", lambda: now)
    books.open()
    for at in range(0, len(every), 1_000):
        books.write(every[at:at + 1_000], {}, [])

    def book(part: Sequence[ShareAccepted], *, rolls_up: bool) -> float:
        if rolls_up:
            OpenSlot.turn, OpenSlot.committed = turn, committed         # type: ignore[method-assign]
            books._slot._open.next_id = books.next_id                   # type: ignore[union-attr]
        else:
            OpenSlot.turn = OpenSlot.committed = lambda *_: False       # type: ignore[method-assign,assignment]
        cpu = time.thread_time()
        for at in range(0, len(part), COMMIT):
            books.write(part[at:at + COMMIT], {}, [])
        return (time.thread_time() - cpu) / len(part) * 1e6

    pairs = []
    for number in range(PAIRS):
        part = every[number * A_RUN:(number + 1) * A_RUN]
        first = book(part, rolls_up=bool(number % 2))
        second = book(part, rolls_up=not number % 2)
        pairs.append((first, second) if number % 2 else (second, first))
    OpenSlot.turn, OpenSlot.committed = turn, committed                 # type: ignore[method-assign]
    books.close()
    tell("a share", workers=workers, commit=COMMIT, without_us=statistics.median(each[1] for each in pairs),
         adds_us=statistics.median(each[0] - each[1] for each in pairs), wanted={"adds_us": 0.5})


def close_a_slot(folder: Path, workers: int, now: float) -> None:
    """The commit that finds a slot of so many workers over, the steps that follow, and a usual commit beside them."""
    clock = [now]
    books = SqliteBooks(folder / "slots.db", lambda: clock[0])
    books.open()
    every = shares(workers, 12 * workers, now)
    usual, turning, steps = [], [], []
    for _ in range(RUNS + 1):
        for at in range(0, len(every), COMMIT):
            cost = timed(lambda at=at: books.write(every[at:at + COMMIT], {}, []))       # type: ignore[misc]
            (usual if at else turning).append(cost)
            if not at:
                steps += tended(books)
        clock[0] += TEN_MINUTES
    books.close()
    tell_times("a usual commit", usual, shares=COMMIT)
    tell_times("a commit that ends a slot", turning[1:], workers=workers)
    tell_times("a step of its rows", steps, worst_cpu_ms=max(cpu for cpu, _ in steps))


def tended(books: SqliteBooks) -> list[tuple[float, float]]:
    """What each step of the chores costs, until none is left."""
    steps, is_busy = [], [True]

    def step() -> None:
        is_busy.append(books.tend())

    while is_busy[-1]:
        steps.append(timed(step))
    return steps


# --- books of before --------------------------------------------------------------------------------------------------

def roll_up_old(books: BigBooks, now: float) -> None:
    """Old books are rolled up in slices, while commits go on between them."""
    books.forget_roll_ups()
    sqlite = SqliteBooks(books.path)
    opening = timed(sqlite.open)
    every = shares(books.workers, 10 * COMMIT, now)
    began, cpu = time.perf_counter(), time.process_time()
    slices, commits, is_busy = [], [], [True]

    def step() -> None:
        is_busy.append(sqlite.tend())

    while is_busy[-1] and len(slices) < MOST_SLICES:
        if len(slices) % 100 == 0:
            at = len(commits) % 10 * COMMIT
            commits.append(timed(lambda at=at: sqlite.write(every[at:at + COMMIT], {}, [])))      # type: ignore[misc]
        slices.append(timed(step))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - began
    with closing(sqlite3.connect(books.path)) as connection:
        (done,) = connection.execute("SELECT value - 1 FROM marks WHERE name = 'backlog_id'").fetchone()
    sqlite.close()
    tell_times("old books: a step", slices, worst_cpu_ms=max(each[0] for each in slices), steps=len(slices))
    tell_times("old books: a commit between", commits, worst_wall_ms=max(each[1] for each in commits))
    tell("old books", open_ms=opening[1], busy_s=wall, cpu_us_a_share=cpu / max(1, done) * 1e6, shares=done,
         is_whole=not is_busy[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments and print all cases."""
    parser = argparse.ArgumentParser(prog="python -m bench.bigbooks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shares", type=int, default=10_000_000, help="(default 10^7)")
    parser.add_argument("--workers", type=int, default=10_000, help="two a user (default 10,000)")
    parser.add_argument("--days", type=int, default=30, help="that the shares come from (default 30)")
    parser.add_argument("directory", type=Path, nargs="?", help="where the files lie")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="warppool-bench-", dir=args.directory) as folder:
        now = time.time() // TEN_MINUTES * TEN_MINUTES + 300
        books = BigBooks(Path(folder), args.shares, args.workers, args.days)
        cost = timed(lambda: books.make(now))
        tell("making the books", wall_s=cost[1] / 1e3, shares=args.shares, mb=books.path.stat().st_size // 10**6)
        for workers in (100, args.workers):
            a_share(books.folder, workers, now)
        close_a_slot(books.folder, args.workers, now)
        answers(books, now)
        start(books)
        ready(books)
        roll_up_old(books, now)


if __name__ == "__main__":
    main()
