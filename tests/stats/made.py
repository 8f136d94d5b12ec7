"""A made-up snapshot, on which every face is tested."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from warppool.stats.snapshot import (
    BOUNDS,
    BlockStats,
    Histogram,
    NodeStats,
    OutputStats,
    Rates,
    RoundStats,
    ShareTally,
    StatsSnapshot,
    TrafficStats,
    UserStats,
    WorkerStats,
    WorkStats,
)

AT = 1_764_267_000.0
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
HOSTILE = "<b>\"'&\u202egpj.exe\x7f"
"""A name that means to break a page, a file or a terminal."""


def tally(rate: float = 1.25e12, **changes: Any) -> ShareTally:
    """Of somebody who mines steadily."""
    given: dict[str, Any] = {
        "rates": Rates(*(rate * part for part in (1.0, 0.99, 0.98, 0.97, 0.96, 0.95, 0.94))), "accepted": 1234,
        "refused": 5, "difficulty": 2_500_000.5, "total_accepted": 98_765, "total_difficulty": 2e9,
        "round_difficulty": 7_654_321.75, "best": 4_567_890.5, "best_ever": 123_456_789.25, "last_share": AT - 3.5}
    return ShareTally(**given | changes)


def worker(name: str = f"{ADDRESS}.rig", **changes: Any) -> WorkerStats:
    """One machine, connected."""
    given: dict[str, Any] = {
        "user": name.partition(".")[0], "tally": tally(), "machines": 1, "agent": "bitaxe/BM1370/v2.9.0",
        "protocol": "v1", "since": AT - 86_400, "refused": (("stale-share", 4), ("duplicate-share", 1))}
    return WorkerStats(name=name, **given | changes)


def user(name: str = ADDRESS, *workers: WorkerStats, **changes: Any) -> UserStats:
    """With the workers that are given, else with one."""
    own = workers or (worker(f"{name}.rig"),)
    given: dict[str, Any] = {
        "tally": tally(), "machines": sum(each.machines for each in own), "since": AT - 90_000}
    return UserStats(name=name, workers=own, **given | changes)


def snapshot(*users: UserStats, **changes: Any) -> StatsSnapshot:
    """Of a pool with these users, else with three; one of them has a hostile name."""
    present = users or (
        user(ADDRESS, worker(f"{ADDRESS}.rig", protocol="v2", agent="sv2"), worker(f"{ADDRESS}.idle", is_idle=True)),
        user("bob", worker("bob", machines=0, gone_at=AT - 700)),
        user(HOSTILE, worker(f"{HOSTILE}.{HOSTILE}", user=HOSTILE)))
    workers = tuple(each for one in present for each in one.workers)
    given: dict[str, Any] = {
        "number": 7, "at": AT, "started": AT - 100_000, "version": "0.0", "network": "regtest", "pool": tally(3.7e12),
        "shares_per_second": (2.31, 2.29, 2.3, 2.28), "users": present, "workers": workers,
        "machines": sum(each.machines for each in workers), "idle": sum(each.is_idle for each in workers),
        "gone": sum(not each.machines for each in workers), "connections": (("v1", 2), ("v2", 1)),
        "refused": (("duplicate-share", 3), ("stale-share", 12)),
        "traffic": TrafficStats(
            shares=(("v1", 1000, 2_000_000.5), ("v2", 234, 500_000.0)),
            refused=(("", "stale-share", 2), ("v1", "duplicate-share", 3), ("v1", "stale-share", 10)),
            channels=(("extended", 1), ("standard", 2)),
            handshakes=(("v1-tls", "failed", 4), ("v2", "done", 3)),
            dropped=(("fault", 2), ("max_per_ip", 7))),
        "round": RoundStats(since=AT - 50_000, difficulty=7_654_321.75, effort=0.42),
        "blocks": (BlockStats("00" * 4 + "ab" * 28, 840_001, f"{ADDRESS}.rig", AT - 50_000, 18_000_000.0, "accepted",
                              confirmations=41, effort=1.2),
                   BlockStats("00" * 4 + "cd" * 28, 839_000, HOSTILE, AT - 900_000, 17_000_000.0, "settled", 1042)),
        "blocks_found": 2,
        "work": WorkStats(
            has_work=True, height=840_042, prev_hash="00" * 4 + "ef" * 28, job_id=99, node="node-0",
            template_age_s=3.2, tip_age_s=212.0, value_sat=312_500_000, transactions=2500,
            network_difficulty=18_224_576.0, outputs=(OutputStats(ADDRESS, 312_500_000), OutputStats("witnesses", 0)),
            tag="/warppool/"),
        "nodes": (NodeStats("node-0", "up", is_mined=True, since=AT - 100_000,
                            requests=Histogram(BOUNDS, (7, 2, 1) + (0,) * 11, 0.012)),
                  NodeStats("node-1", "lost", "connection refused", since=AT - 60)),
        "tip_to_notify": Histogram(BOUNDS, (5, 3, 2) + (0,) * 11, 0.021),
        "share_to_answer": Histogram(BOUNDS, (0, 10, 80, 10) + (0,) * 10, 0.5),
        "commit": Histogram(BOUNDS, (90, 10) + (0,) * 12, 0.07),
        "users_by_name": MappingProxyType({each.name: each for each in present}),
        "workers_by_name": MappingProxyType({each.name: each for each in workers})}
    return StatsSnapshot(**given | changes)
