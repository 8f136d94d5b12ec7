"""Views for tests: a pool with everything on it, and a user and a worker of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from warppool.page.view import (
    ConnectUrl,
    FoundBlockRow,
    JobView,
    MinerRow,
    MinerView,
    NodeRow,
    PageLink,
    PaidOutput,
    Point,
    PoolView,
    RefusedByReason,
    ShareSums,
    Site,
    State,
)
from warppool.stats.snapshot import Rates

NOW = 1_795_858_000.0
RATES = Rates(13.1e12, 12.4e12, 12.1e12, 12.3e12, 11.9e12, 12.0e12, 10.2e12)
SITE = Site("Hashes of the Hill", "main", "Each block pays its whole reward to the miner who finds it.", NOW,
            NOW - 4 * 86_400)
WORK = ShareSums(123_456, 8.9e9, (RefusedByReason("stale-share", 321), RefusedByReason("difficulty-too-low", 12)))
HISTORY = tuple(Point(NOW - 86_400 + 600 * at, 12e12 + 1e12 * ((at * 7) % 13 - 6) / 6) for at in range(144))
ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"

V2_URL = "stratum2+tcp://pool.example:34254/9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"


def miner(name: str = "bc1qw508…f3t4.attic", **changes: Any) -> MinerRow:
    return replace(MinerRow(PageLink(name), 5.2e12, 5.1e12, 9.8e9, NOW - 4, 1, "bitaxe/BM1370"), **changes)


def pool(**changes: Any) -> PoolView:
    view = PoolView(
        SITE, State("good", "Working.", "31 machines mine on fresh work from the node."), RATES,
        (("V1", 20), ("V1 over TLS", 8), ("V2", 3)), 12, 1, 9.8e9, 4.4e12, 0.34, WORK,
        JobView(925_123, 12.0, 340.0, 3_411, 314_512_345, 142e12,
                (PaidOutput(ADDRESS, 314_512_345), PaidOutput("data (witness commitment)", 0)), "/warppool/"),
        2, HISTORY, (miner(), miner("bc1qw508…f3t4.cellar", rate_5m=3.1e12), miner("alice.s9", last_share=None)), 31,
        (FoundBlockRow(924_990, "00" * 9 + "1f" * 23, NOW - 90_000, "bc1qw508…f3t4.attic", 1.2,
                  "133 confirmations: settled", "good"),
         FoundBlockRow(921_000, "00" * 9 + "2e" * 23, NOW - 2_000_000, "alice.s9", None, "not in the chain", "bad")),
        (NodeRow("127.0.0.1:8332", "mined", "good"), NodeRow("10.0.0.2:8332", "12 blocks behind", "warn")),
        (("New block to last machine", "4 ms (99 of 100)"), ("Share to answer", "3 ms (99 of 100)")),
        (ConnectUrl("Stratum V1", "stratum+tcp://pool.example:3333"),
         ConnectUrl("Stratum V1 over TLS", "stratum+ssl://pool.example:4333"),
         ConnectUrl("Stratum V2", V2_URL)),
        (("Window", "8 x the work of a block"), ("Filled", "71 %")))
    return replace(view, **changes)


def user(name: str = ADDRESS, **changes: Any) -> MinerView:
    view = MinerView(
        SITE, name, False, State("good", "Mining.", "2 machines, the last share 4 s ago."), RATES, 9.8e9, 4.4e12, WORK,
        142e12, NOW - 4, NOW - 3 * 86_400, None, HISTORY,
        (miner(who=PageLink(f"{name}.attic", f"/user/{name}/{name}.attic")),), 1, (("Balance", "0.0012 BTC"),))
    return replace(view, **changes)


def worker(name: str = f"{ADDRESS}.attic", **changes: Any) -> MinerView:
    view = replace(user(name), is_worker=True, miners=(), workers=0, user=PageLink(ADDRESS, f"/user/{ADDRESS}"),
                   facts=(("Program", "bitaxe/BM1370"), ("Protocol", "V1 over TLS")))
    return replace(view, **changes)
