"""How soon miners hear of a new tip: from the node's answer to the first send, and from the tip to the last of 500.

    python -m bench.tips

prints one JSON line a case, each figure the median of the tips of all runs, in milliseconds of the wall: it needs a
quiet machine. All processes share the monotonic clock of the machine.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.command import Figures, run_cases
from bench.miners import Crowd
from bench.node import TRANSACTIONS
from bench.pool import SETTLE_S, Case
from bench.provider import ProvidedServer
from bench.server import Server
from warppool.sv2.profile import SPEC, WARP, Profile

TIPS = 7                    # of one run
MS = 1e3


@contextmanager
def served(make: Callable[[], Server], miners: int) -> Iterator[tuple[Server, Crowd]]:
    """A pool with so many miners, at rest, which has read its template once."""
    with make() as server, Crowd(server, miners) as crowd:
        time.sleep(SETTLE_S)
        yield server, crowd


def answer_to_send(transactions: int) -> Callable[[float], Figures]:
    """From the last byte of the node's answer to a miner that has the job; the transactions are known by then."""

    def measure(scale: float) -> Figures:
        found = []
        with served(lambda: Server(transactions, profile=SPEC), 1) as (server, crowd):
            for _ in range(max(2, round(TIPS * scale))):
                server.move_tip()
                (arrived,) = crowd.arrivals()
                found.append((arrived - server.times()["answered_at"]) * MS)
                time.sleep(SETTLE_S / TIPS)
        return {"transactions": transactions, "answer_to_send_ms": statistics.median(found), "worst_ms": max(found)}

    return measure


def tip_to_last(make: Callable[[], Server], miners: int = 500) -> Callable[[float], Figures]:
    """From the tip at the node to the first and to the last of so many miners, each on a connection of its own."""

    def measure(scale: float) -> Figures:
        count = max(2, round(miners * scale))
        firsts, lasts = [], []
        with served(make, count) as (server, crowd):
            for _ in range(max(2, round(TIPS * scale))):
                server.move_tip()
                arrived = crowd.arrivals()
                moved_at = server.times()["moved_at"]
                firsts.append((arrived[0] - moved_at) * MS)
                lasts.append((arrived[-1] - moved_at) * MS)
                time.sleep(SETTLE_S / TIPS)
        return {"connections": count, "tip_to_first_ms": statistics.median(firsts),
                "tip_to_last_ms": statistics.median(lasts), "worst_ms": max(lasts)}

    return measure


def direct(profile: Profile) -> Callable[[], Server]:
    """The pool on its node."""
    return lambda: Server(TRANSACTIONS, profile=profile)


CASES = [
    Case("answer-to-send-1000", answer_to_send(1_000), {"answer_to_send_ms": 50}),
    Case("answer-to-send-2047", answer_to_send(TRANSACTIONS)),
    Case("tip-to-last-500-spec", tip_to_last(direct(SPEC))),
    Case("tip-to-last-500-warp", tip_to_last(direct(WARP))),
    Case("tip-to-last-500-spec-tdp", tip_to_last(lambda: ProvidedServer(TRANSACTIONS, profile=SPEC))),
]


def main() -> int:
    """Run what the command line says; 1 if a case failed."""
    return run_cases("tips", __doc__, CASES, lambda case, scale, _: case.measure(scale))


if __name__ == "__main__":
    sys.exit(main())
