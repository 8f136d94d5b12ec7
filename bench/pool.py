"""What the whole pool costs: shares, set-ups, new tips and memory, of `warppool run` as an operator runs it.

    python -m bench.pool                    # every case, three runs each: some minutes
    python -m bench.pool --case tip-1000    # some of them
    python -m bench.pool --quick            # all of them, small and once: does it work at all?

prints one JSON line a case, each figure the median of the runs; bench/README.rst says what each means. Server CPU is
user and system time of all its threads from /proc, which alone is steady on a busy machine; times of the wall are not.
A case fails unless every share was accepted and booked.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.command import Figures, run_cases
from bench.miners import Crowd
from bench.node import TRANSACTIONS
from bench.server import BenchFailed, Server

WARM_UP = 20                # shares of each miner before the clock starts
TIPS = 3                    # new tips in one run, of which the median counts
SETTLE_S = 1.5              # until a pool that has just started, or has got work, is at rest


@dataclass(frozen=True)
class Case:
    """One line of output: `measure` makes the figures of one run, and `wanted` are the bounds set for them."""

    name: str
    measure: Callable[[float], Figures]         # takes the scale: 1.0, or less for a quick run
    wanted: Figures = field(default_factory=dict)


def share_cost(server: Server, crowd: Crowd, in_flight: int, shares_each: int) -> Figures:
    """Drive so many shares of each miner through the pool."""
    crowd.seal(shares_each)
    shares = shares_each * len(crowd.miners)
    before = server.cpu_s()
    wall_s = crowd.drive(in_flight)
    cpu_s = server.cpu_s() - before
    return {"shares": shares, "cpu_us_per_share": cpu_s / shares * 1e6, "wall_s": wall_s,
            "shares_per_s": shares / wall_s}


def check(server: Server, shares: int) -> None:
    """Every share is in the books, and the log has no complaint."""
    booked = server.shares_booked()
    if booked != shares:
        raise BenchFailed(f"{shares} shares were accepted, {booked} are in the books")
    if complaints := server.complaints():
        raise BenchFailed(f"the pool complains: {complaints[0]}")


def accepted(in_flight: int, shares_each: int, kind: str = "extended", miners: int = 100,
             transactions: int = TRANSACTIONS) -> Callable[[float], Figures]:
    """Shares of many miners, so many in flight on each connection."""

    def measure(scale: float) -> Figures:
        with Server(transactions) as server, Crowd(server, miners, (kind,)) as crowd:
            crowd.seal(WARM_UP)
            crowd.drive(in_flight)
            each = max(in_flight, round(shares_each * scale))
            figures = share_cost(server, crowd, in_flight, each)
            check(server, (WARM_UP + each) * miners)
        return figures

    return measure


def paced(shares_per_s: int, seconds: float, miners: int = 100) -> Callable[[float], Figures]:
    """Shares at a steady pace: what each costs while the pool is mostly idle, and how soon it is answered."""

    def measure(scale: float) -> Figures:
        shares = round(shares_per_s * seconds * scale)
        with Server() as server, Crowd(server, miners) as crowd:
            crowd.seal(WARM_UP)
            crowd.drive(1)
            crowd.seal(shares // miners + 1)
            before = server.cpu_s()
            latencies = sorted(crowd.pace(shares_per_s, shares))
            cpu_s = server.cpu_s() - before
            check(server, WARM_UP * miners + shares)
        return {"shares": shares, "cpu_us_per_share": cpu_s / shares * 1e6, "p50_ms": quantile(latencies, 0.5) * 1e3,
                "p99_ms": quantile(latencies, 0.99) * 1e3, "max_ms": latencies[-1] * 1e3}

    return measure


def quantile(ordered: list[float], part: float) -> float:
    """The value that `part` of them do not exceed."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def aged(scale: float) -> Figures:
    """120,000 shares on one job: what the last 20,000 cost against the first, and the memory of what was seen."""
    miners, in_flight, parts = 100, 8, 6
    each = max(in_flight, round(200 * scale))
    with Server() as server, Crowd(server, miners) as crowd:
        crowd.seal(WARM_UP)
        crowd.drive(in_flight)
        time.sleep(SETTLE_S)
        empty_kib = server.rss_kib()
        costs = [share_cost(server, crowd, in_flight, each)["cpu_us_per_share"] for _ in range(parts)]
        full_kib = server.rss_kib()
        server.move_tip()
        crowd.arrivals()
        time.sleep(SETTLE_S)
        freed_kib = full_kib - server.rss_kib()
        share_cost(server, crowd, in_flight, parts * each)
        refilled_kib = server.rss_kib() - full_kib
        check(server, (WARM_UP + 2 * parts * each) * miners)
    return {"shares": parts * each * miners, "first_cpu_us": costs[0], "last_cpu_us": costs[-1],
            "ratio": costs[-1] / costs[0], "seen_kib": full_kib - empty_kib, "freed_kib": freed_kib,
            "refilled_kib": refilled_kib}


def memory_start(scale: float) -> Figures:
    """The pool at rest with a full template, and after some new tips."""
    with Server() as server:
        time.sleep(SETTLE_S)
        start_kib = server.rss_kib()
        for _ in range(TIPS):
            server.move_tip()
            time.sleep(SETTLE_S / TIPS)
        later_kib = server.rss_kib()
    return {"rss_mib": start_kib / 1024, "rss_mib_after_tips": later_kib / 1024}


def memory_idle(kind: str, miners: int = 5_000) -> Callable[[float], Figures]:
    """What a connection with an open channel holds, with its first job, and with that and the one of a new tip."""

    def measure(scale: float) -> Figures:
        count = round(miners * scale)
        with Server() as server:
            with Crowd(server, min(100, count)):
                pass                            # what the first miners cost is the pool's, not theirs
            time.sleep(SETTLE_S)
            alone_kib = server.rss_kib()
            with Crowd(server, count, (kind,)) as crowd:
                time.sleep(SETTLE_S)
                idle_kib = server.rss_kib() - alone_kib
                server.move_tip()
                crowd.arrivals()
                time.sleep(SETTLE_S)
                later_kib = server.rss_kib() - alone_kib
            check(server, 0)
        return {"connections": count, "kib_per_connection": idle_kib / count,
                "kib_per_connection_after_tip": later_kib / count}

    return measure


def new_tip(miners: int, kinds: tuple[str, ...]) -> Callable[[float], Figures]:
    """From the first miner that has the job of a new tip to the last."""

    def measure(scale: float) -> Figures:
        count = max(2, round(miners * scale))
        spreads, costs = [], []
        with Server() as server, Crowd(server, count, kinds) as crowd:
            for _ in range(TIPS):
                before = server.cpu_s()
                server.move_tip()
                arrived = crowd.arrivals()
                spreads.append((arrived[-1] - arrived[0]) * 1e3)
                costs.append((server.cpu_s() - before) * 1e3)
            check(server, 0)
        return {"connections": count, "first_to_last_ms": statistics.median(spreads),
                "cpu_ms_with_template": statistics.median(costs)}

    return measure


def set_up(scale: float) -> Figures:
    """Handshake, SetupConnection and an open channel with its first job."""
    count = round(1_000 * scale)
    with Server() as server, Crowd(server, 20):
        before, began = server.cpu_s(), time.perf_counter()
        with Crowd(server, count):
            wall_s = time.perf_counter() - began
            cpu_s = server.cpu_s() - before
        check(server, 0)
    return {"connections": count, "cpu_us_per_setup": cpu_s / count * 1e6, "setups_per_s": count / wall_s}


MIX = ("standard", "extended")
CASES = [
    Case("accepted-100x8", accepted(8, 400), {"cpu_us_per_share": 35}),
    Case("accepted-100x1", accepted(1, 200), {"cpu_us_per_share": 45}),
    Case("paced-1000", paced(1_000, 8), {"cpu_us_per_share": 140, "p99_ms": 10}),
    Case("accepted-100x8-standard", accepted(8, 400, "standard")),
    Case("accepted-100x8-1024-transactions", accepted(8, 400, transactions=1_024)),
    Case("accepted-100x8-0-transactions", accepted(8, 400, transactions=0)),
    Case("aged-120000", aged, {"ratio": 1.1}),
    Case("set-up", set_up, {"cpu_us_per_setup": 500}),
    Case("memory-start", memory_start, {"rss_mib": 45}),
    Case("memory-idle-5000-extended", memory_idle("extended"), {"kib_per_connection": 12}),
    Case("memory-idle-5000-standard", memory_idle("standard"), {"kib_per_connection": 12}),
    *(Case(f"tip-{miners}-{name}", new_tip(miners, kinds), {"first_to_last_ms": bound})
      for miners, bound in ((1_000, 30), (5_000, 150))
      for name, kinds in (("extended", MIX[1:]), ("standard", MIX[:1]), ("mixed", MIX))),
]


def main() -> int:
    """Run what the command line says; 1 if a case failed."""
    return run_cases("pool", __doc__, CASES, lambda case, scale, _: case.measure(scale))


if __name__ == "__main__":
    sys.exit(main())
