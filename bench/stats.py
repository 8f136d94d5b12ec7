"""What the numbers that people see cost the thread `stats`.

    python -m bench.stats [--workers N] [--rate N] [--turns N] [--case NAME]

has many workers, each with a machine and two to a user (default: 10,000), and shares by chance among them. It prints
one JSON line a case. `turns` are the thread's turns of a second each with `--rate` shares (default: 200), `busy` the
same with 5,000 shares a second, both in ms of CPU a turn and in us of CPU a share. `block` has a block of ours found in
the midst of it, which begins the round of all anew. `heard` is what it costs to hear of one share, of all the workers
by turns, so that each is far from the processor's caches. `hand_over` is what the ledger's thread pays for one share.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.command import machine_ns
from warppool.events import ShareAccepted
from warppool.ledger.items import BlockRow
from warppool.ledger.payoutitems import SharesBooked
from warppool.service.numbers import Ear, Fork, Looked, StatsThread
from warppool.stats.items import MachineCame
from warppool.stats.snapshot import NodeStats, WorkStats

UNIX = 1_764_267_000.0
WARM_S = 120
BUSY_RATE = 5000
WANTED_TURN_MS = 15.0
WANTED_SHARE_US = 1.0
COMMIT = 32                     # shares of one commit


class CannedSources:
    """A pool with one node."""

    program, network = "warppool", "regtest"

    def look(self, now: float, unix: float) -> Looked:
        """The same work all the time."""
        return Looked(WorkStats(has_work=True, height=101, network_difficulty=1e12),
                      (NodeStats("node-0", "up", since=UNIX),))


class CrowdedPool:
    """The thread, run by hand, with a clock of its own."""

    def __init__(self, workers: int) -> None:
        self.now = 0.0
        self.ear = Ear()
        self.fork = Fork(self.ear, None)
        self.thread = StatsThread(self.ear, CannedSources(), monotonic=lambda: self.now, unix=lambda: UNIX)
        self.names = [f"user{number // 2}.rig{number % 2}" for number in range(workers)]
        self.chance = random.Random(12)
        for number, name in enumerate(self.names):
            self.ear.put(MachineCame(number, 1, name, "cgminer", "sv1", UNIX))
        self.run(workers // 50, WARM_S)

    def shares(self, names: Sequence[str]) -> list[ShareAccepted]:
        """One of each of these workers."""
        at, random_bytes = UNIX + self.now, self.chance.randbytes
        return [ShareAccepted(number, 0, at, "sv1", 1, name, 1024.0, 1, 100, random_bytes(28) + bytes(4))
                for number, name in enumerate(names)]

    def commits(self, names: Sequence[str]) -> list[SharesBooked]:
        """The same, as the books tell of them."""
        shares = self.shares(names)
        return [SharesBooked(1, tuple(shares[first:first + COMMIT])) for first in range(0, len(shares), COMMIT)]

    def run(self, rate: int, turns: int, then: Callable[[int], None] = lambda turn: None) -> list[float]:
        """CPU of each of so many turns, in ms; each hears of `rate` shares."""
        costs = []
        for turn in range(turns):
            self.now += 1.0
            for item in self.commits(self.chance.choices(self.names, k=rate)):
                self.fork.put(item)
            then(turn)
            began = time.thread_time()
            self.thread.turn([])
            costs.append((time.thread_time() - began) * 1e3)
        return costs


def turns(pool: CrowdedPool, rate: int, count: int) -> dict[str, object]:
    """Nothing but shares."""
    return _turns(pool.run(rate, count), rate) | {"wanted": {"median_ms": WANTED_TURN_MS, "mean_ms": WANTED_TURN_MS}}


def busy(pool: CrowdedPool, rate: int, count: int) -> dict[str, object]:
    """Very many of them."""
    del rate
    return _turns(pool.run(BUSY_RATE, count), BUSY_RATE)


def block(pool: CrowdedPool, rate: int, count: int) -> dict[str, object]:
    """A block amid the shares."""
    def find(turn: int) -> None:
        if turn == count // 2:
            pool.ear.put(BlockRow(b"\xab" * 32, 101, pool.names[0], UNIX + pool.now, 1e12))

    return _turns(pool.run(rate, count, find), rate)


def heard(pool: CrowdedPool, rate: int, count: int) -> dict[str, object]:
    """One share of each worker, by turns."""
    del rate
    costs = []
    for _ in range(max(1, count // 6)):
        items = pool.commits(pool.chance.sample(pool.names, len(pool.names)))
        began = time.thread_time()
        for item in items:
            pool.thread._hear(item)
        costs.append((time.thread_time() - began) / len(pool.names) * 1e6)
        pool.run(0, 20)
    return {"share_us": round(statistics.median(costs), 2), "wanted": {"share_us": WANTED_SHARE_US}}


def hand_over(pool: CrowdedPool, rate: int, count: int) -> dict[str, object]:
    """Leave what was committed for the thread."""
    del rate
    costs = []
    for _ in range(count):
        items = pool.commits(pool.names)
        began = time.thread_time()
        for item in items:
            pool.fork.put(item)
        costs.append((time.thread_time() - began) / len(pool.names) * 1e6)
        pool.ear.drain()
    return {"share_us": round(statistics.median(costs), 3)}


CASES: dict[str, Callable[[CrowdedPool, int, int], dict[str, object]]] = {
    "turns": turns, "busy": busy, "block": block, "heard": heard, "hand_over": hand_over}


def _turns(costs: list[float], rate: int) -> dict[str, object]:
    return {"median_ms": round(statistics.median(costs), 2), "mean_ms": round(statistics.mean(costs), 2),
            "longest_ms": round(max(costs), 2), "share_us": round(sum(costs) / len(costs) / rate * 1e3, 2)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(prog="bench.stats", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=10_000, help="[%(default)s]")
    parser.add_argument("--rate", type=int, default=200, help="shares a second [%(default)s]")
    parser.add_argument("--turns", type=int, default=60, help="that are measured [%(default)s]")
    parser.add_argument("--case", action="append", default=[], choices=list(CASES), help="repeatable")
    args = parser.parse_args(arguments)
    gc.set_threshold(50_000, 20, 50)            # as the daemon has it
    pool = CrowdedPool(args.workers)
    gc.collect()
    gc.freeze()
    for name in args.case or CASES:
        line: dict[str, Any] = {"bench": "stats", "case": name, "workers": args.workers}
        line |= CASES[name](pool, args.rate, args.turns)
        print(json.dumps(line | {"sha256d_ns": round(machine_ns())}), flush=True)


if __name__ == "__main__":
    main()
