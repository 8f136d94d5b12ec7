"""What the published profile costs beside `warp`: the same pool, the same miners, one right after the other.

    python -m bench.dialects

prints one JSON line a case. Each run measures both, so that the machine's mood is the same for both; `ratio` is the
median of what `spec` cost in `warp`'s cost of that run.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.command import Figures, run_cases
from bench.miners import Crowd
from bench.pool import SETTLE_S, TIPS, WARM_UP, check, share_cost
from bench.server import Server
from warppool.sv2.profile import SPEC, WARP, Profile


@dataclass(frozen=True)
class Case:
    """One line of output: `measure` makes the figures of a run in one dialect, of which `compared` makes the ratio."""

    name: str
    measure: Callable[[Profile, float], Figures]
    compared: str
    wanted: Figures = field(default_factory=dict)


def accepted(in_flight: int, shares_each: int, kind: str = "extended",
             miners: int = 100) -> Callable[[Profile, float], Figures]:
    """Shares of many miners, so many in flight on each connection."""

    def measure(profile: Profile, scale: float) -> Figures:
        with Server(profile=profile) as server, Crowd(server, miners, (kind,)) as crowd:
            crowd.seal(WARM_UP)
            crowd.drive(in_flight)
            each = max(in_flight, round(shares_each * scale))
            figures = share_cost(server, crowd, in_flight, each)
            check(server, (WARM_UP + each) * miners)
        return {name: figures[name] for name in ("cpu_us_per_share", "shares_per_s")}

    return measure


def set_up(profile: Profile, scale: float) -> Figures:
    """Handshake, SetupConnection and an open channel with its first job."""
    count = round(1_000 * scale)
    with Server(profile=profile) as server, Crowd(server, 20):
        before, began = server.cpu_s(), time.perf_counter()
        with Crowd(server, count):
            wall_s = time.perf_counter() - began
            cpu_s = server.cpu_s() - before
        check(server, 0)
    return {"cpu_us_per_setup": cpu_s / count * 1e6, "setups_per_s": count / wall_s}


def memory_idle(profile: Profile, scale: float, miners: int = 2_000) -> Figures:
    """What a connection with an open channel and the jobs of two tips holds."""
    count = round(miners * scale)
    with Server(profile=profile) as server:
        with Crowd(server, min(100, count)):
            pass                                # what the first miners cost is the pool's, not theirs
        time.sleep(SETTLE_S)
        alone_kib = server.rss_kib()
        with Crowd(server, count) as crowd:
            server.move_tip()
            crowd.arrivals()
            time.sleep(SETTLE_S)
            held_kib = server.rss_kib() - alone_kib
    return {"kib_per_connection": held_kib / count}


def new_tip(profile: Profile, scale: float, miners: int = 1_000) -> Figures:
    """From the first miner that has the job of a new tip to the last."""
    count = max(2, round(miners * scale))
    spreads, costs = [], []
    with Server(profile=profile) as server, Crowd(server, count) as crowd:
        for _ in range(TIPS):
            before = server.cpu_s()
            server.move_tip()
            arrived = crowd.arrivals()
            spreads.append((arrived[-1] - arrived[0]) * 1e3)
            costs.append((server.cpu_s() - before) * 1e3)
    return {"first_to_last_ms": statistics.median(spreads), "cpu_ms_with_template": statistics.median(costs)}


DEARER = 1.1                # what a share may cost in `spec`, where it costs 1 in `warp`
CASES = [
    Case("accepted-100x8", accepted(8, 400), "cpu_us_per_share", {"ratio": DEARER}),
    Case("accepted-100x1", accepted(1, 200), "cpu_us_per_share", {"ratio": DEARER}),
    Case("accepted-100x8-standard", accepted(8, 400, "standard"), "cpu_us_per_share", {"ratio": DEARER}),
    Case("set-up", set_up, "cpu_us_per_setup"),
    Case("tip-1000-extended", new_tip, "cpu_ms_with_template"),
    Case("memory-idle-2000-extended", memory_idle, "kib_per_connection"),
]


def compare(case: Case, scale: float, number: int) -> Figures:
    """Measure both dialects, one after the other; another one goes first in each run."""
    figures: dict[str, Figures] = {}
    for profile in (WARP, SPEC) if number % 2 == 0 else (SPEC, WARP):
        gc.collect()
        figures[profile.name] = case.measure(profile, scale)
    one = {f"{name}_{key}": value for name in (WARP.name, SPEC.name) for key, value in figures[name].items()}
    return {**one, "ratio": figures[SPEC.name][case.compared] / figures[WARP.name][case.compared]}


def main() -> int:
    """Run what the command line says; 1 if a case failed."""
    return run_cases("dialects", __doc__, CASES, compare)


if __name__ == "__main__":
    sys.exit(main())
