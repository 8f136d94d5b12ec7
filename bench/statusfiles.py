"""What the writer of the status files costs in a minute.

    python -m bench.statusfiles [--users N] [--workers M] [--dir FOLDER]

makes a pool of N users (default 10,000) with M workers each (default 2), lets the writer write some minutes of it, and
prints one JSON line a case, each the median of several minutes. `new` is a minute in which every user has had a share,
`same` one in which nobody had. `cpu_s` is the CPU of one minute, `core_percent` that beside the minute itself.
`python_s` is the part that keeps other threads waiting; the rest is the file system's. FOLDER is where the files go,
best on the disk that is meant.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from warppool.service.statusfaces import pages_of
from warppool.stats.snapshot import Rates, ShareTally, StatsSnapshot, UserStats, WorkerStats
from warppool.status.files import EVERY_S, OWN, StatusFiles

MINUTES = 5
AT = 1_795_341_600.0
WANTED_PYTHON_S = 0.6           # a hundredth of a core


def snapshot_of(users: int, workers: int, minute: int) -> StatsSnapshot:
    """The pool in that minute; each user has done a little more than in the one before."""
    made = tuple(user_of(f"bc1q{number:038d}", workers, minute) for number in range(users))
    return StatsSnapshot(number=1 + minute, at=AT + 60 * minute, started=AT, users=made, is_whole=True)


def user_of(name: str, workers: int, minute: int) -> UserStats:
    """One who mines steadily, as all do."""
    rate = 1.2e12 + 1e9 * minute
    tally = ShareTally(Rates(*(rate * part for part in (1.0, 0.99, 0.98, 0.97, 0.96, 0.95, 0.94))), 1000 + minute, 5,
                       2.5e6, 98_765, 2e9 + minute, 7.6e6, 4.5e6, 1.2e8, AT + 60 * minute)
    own = tuple(WorkerStats(f"{name}.rig{number}", name, tally, machines=1, since=AT) for number in range(workers))
    return UserStats(name, tally, own, machines=workers, since=AT)


class Minutes:
    """The writer with a clock of its own, so that a minute takes no longer than its work."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.snapshot = StatsSnapshot(number=0, at=AT, started=AT)
        self.writer = StatusFiles(folder, OWN, lambda: pages_of(lambda: self.snapshot), monotonic=lambda: self.now)

    def pass_one(self, snapshot: StatsSnapshot) -> tuple[float, float, float, int]:
        """CPU, its part in Python, and wall in seconds; and the files that were written."""
        self.snapshot, self.now = snapshot, self.now + 2 * EVERY_S
        written, before, wall = self.writer.report().written, os.times(), time.perf_counter()
        while self.writer.turn([]) < self.now + EVERY_S / 2:
            pass
        wall, after = time.perf_counter() - wall, os.times()
        user = after.user - before.user
        return user + after.system - before.system, user, wall, self.writer.report().written - written


def tell(case: str, minutes: list[tuple[float, float, float, int]], **more: object) -> None:
    """Print one case."""
    cpu, user, wall, files = (statistics.median(each) for each in zip(*minutes, strict=True))
    print(json.dumps({"bench": "statusfiles", "case": case, "cpu_s": round(cpu, 3), "python_s": round(user, 3),
                      "wall_s": round(wall, 3), "core_percent": round(100 * cpu / EVERY_S, 2), "files": files,
                      "minutes": len(minutes), **more, "wanted": {"python_s": WANTED_PYTHON_S}}), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments and print all cases."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=10_000, help="(default 10,000)")
    parser.add_argument("--workers", type=int, default=2, help="of each user (default 2)")
    parser.add_argument("--dir", help="the disk to write to (default: where temporary files go)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="warppool-bench-", dir=args.dir) as folder:
        minutes = Minutes(Path(folder) / "status")
        pools = [snapshot_of(args.users, args.workers, minute) for minute in range(MINUTES + 1)]
        minutes.pass_one(pools[0])
        tell("new", [minutes.pass_one(pool) for pool in pools[1:]], users=args.users, workers=args.workers)
        same = [replace(pools[-1], number=100 + minute) for minute in range(MINUTES)]
        tell("same", [minutes.pass_one(pool) for pool in same], users=args.users, workers=args.workers)


if __name__ == "__main__":
    main()
