"""Books that are killed in each gap of what they do beside the shares: roll-ups and what is above the mark equal these.

A child books shares by a clock of its own, an hour a commit, keeps them for two days, and dies at a fault point or at
any moment. Which shares the books have ever had follows from the next id, since a share's number is its id.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.ledger.books import share
from tests.ledger.test_rollups import AT, all_sums
from warppool.ledger import sqliteslots
from warppool.ledger.slots import HOUR
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitecoarse import Coarse
from warppool.ledger.sqliteretention import Retention
from warppool.ledger.sqliteshares import ShareRows
from warppool.payout.weight import weight_of

SHARES = 40                 # of one commit
DIFFICULTIES = (0.1, 7.3, 1024.0)
RANDOM_KILLS = 20
POINTS: dict[str, tuple[Any, str]] = {
    "inserted, not committed": (ShareRows, "insert"),
    "committed": (SqliteBooks, "write"),
    "some rows of a slot written, mark not moved": (sqliteslots, "write_rows"),
    "slot closed, mark not moved": (sqliteslots, "write_slot"),
    "mark moved, not committed": (sqliteslots, "set_marks"),
    "some of an hour or a day summed": (Coarse, "sum_up"),
    "finer rows deleted, not committed": (Coarse, "prune"),
    "bite taken, not committed": (Retention, "_delete"),
    "chore done": (SqliteBooks, "tend"),
}
"""What has happened when the child dies: the function has returned something."""


def difficulty_of(number: int) -> float:
    return DIFFICULTIES[number % 3]


def live(path: Path, point: str | None, nth: int, out: int) -> None:
    """Book for ever, or until the `nth` time at `point`; write a byte for each commit."""
    left = nth
    if point is not None:
        owner, name = POINTS[point]
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **more: Any) -> Any:
            nonlocal left
            result = original(*args, **more)
            if result or name in ("write", "write_rows", "write_slot", "set_marks"):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, wrapped)
    sqliteslots.ROWS_A_STEP = 3
    hour = 0
    books = SqliteBooks(path, lambda: AT + hour * HOUR, keep_days=2)
    books.open()
    while True:
        first = books.next_id
        hour = first // SHARES
        rigs = 2 + hour % 2 * 5                 # few close within the commit, many in steps between two commits
        books.write([share(number, user=f"rig{number % rigs}", time=AT + hour * HOUR, difficulty=difficulty_of(number))
                     for number in range(first, first + SHARES)], {}, [])
        os.write(out, b".")
        while books.tend():
            pass


def killed(path: Path, point: str | None, nth: int, commits: int = 0) -> None:
    """Let a child live until it dies; without a point it is killed after so many commits, wherever it is then."""
    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.close(read_end)
            live(path, point, nth, write_end)
        finally:
            os._exit(1)
    os.close(write_end)
    with os.fdopen(read_end, "rb", buffering=0) as alive:
        if point is None:
            while commits and alive.read(1):
                commits -= 1
            os.kill(child, signal.SIGKILL)
        while alive.read(4096):
            pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, (point, nth)


def rounds(path: Path) -> None:
    """All of it, in a process without threads, which may be forked."""
    dice = random.Random(12)
    turns: list[tuple[str | None, int, int]] = [(None, 0, 80)]             # retention has begun then
    turns += [(point, nth, 0) for point in POINTS for nth in (1, dice.randrange(2, 5))]
    turns += [(None, 0, dice.randrange(60)) for _ in range(RANDOM_KILLS)]
    for point, nth, commits in turns:
        killed(path, point, nth, commits)
        with closing(SqliteBooks(path)) as books:
            books.open()
            booked = range(1, books.next_id)
        assert all_sums(path) == (len(booked), sum(weight_of(difficulty_of(number)) for number in booked)), (point, nth)
        print(f"{point}: {len(booked)} shares")


def test_roll_ups_and_the_rest_equal_the_shares_after_each_kill(tmp_path):
    run = "import pathlib, sys; from tests.ledger.test_rollup_kill import rounds; rounds(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", run, str(tmp_path / "s.db")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f"{point}: " in done.stdout for point in POINTS), done.stdout
    assert len(done.stdout.splitlines()) == 1 + 2 * len(POINTS) + RANDOM_KILLS
