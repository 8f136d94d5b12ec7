"""What the web of a large pool shows, made up: a snapshot of 10,000 workers, and books with a day of their work."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from warppool.ledger.slots import TEN_MINUTES
from warppool.ledger.sqlite import SqliteBooks
from warppool.stats.snapshot import (
    BlockStats,
    NodeStats,
    OutputStats,
    PayoutStats,
    Rates,
    ShareTally,
    StatsSnapshot,
    UserStats,
    WorkerStats,
    WorkStats,
)

AT = 1_800_000_000.0
SLOTS = 250                     # a day of ten minutes before each moment that a bench asks at
DIFFICULTY = 65_536
FARM = "bc1q" + "f" * 35 + "arm"        # a user with a tenth of all workers
AGENTS = ("bitaxe/BM1370/v2.9.0", "cgminer/4.12.1", "bosminer-plus-tuner 0.9", "NerdMinerV2")


@dataclass(frozen=True)
class WebPool:
    """So many workers of half as many users. The first user has a tenth of the workers, the others one or two each."""

    workers: int

    def names(self) -> Iterator[tuple[str, str]]:
        """User and worker."""
        farm, users = self.workers // 10, self.workers // 2
        for number in range(farm):
            yield FARM, f"{FARM}.rig{number}"
        for number in range(self.workers - farm):
            user = f"bc1q{number % (users - 1):038x}"
            yield user, f"{user}.rig{number // (users - 1)}"

    def snapshot(self) -> StatsSnapshot:
        """All connected and busy."""
        by_user: dict[str, list[WorkerStats]] = {}
        for number, (user, name) in enumerate(self.names()):
            by_user.setdefault(user, []).append(WorkerStats(
                name, user, _tally(number), machines=1, agent=AGENTS[number % len(AGENTS)], protocol="v1",
                since=AT - number, refused=(("duplicate-share", 1), ("stale-share", 4))))
        users = tuple(UserStats(user, _tally(len(workers)), tuple(workers), len(workers), AT - 90_000)
                      for user, workers in by_user.items())
        workers = tuple(worker for user in users for worker in user.workers)
        blocks = tuple(BlockStats(f"{number:064x}", 900_000 - number, workers[number].name, AT - 9_000 * number, 1e14,
                                  "accepted", 3 * number) for number in range(100))
        return StatsSnapshot(
            number=1, at=AT, started=AT - 1e6, network="main", pool=_tally(self.workers), users=users, workers=workers,
            shares_per_second=(200.0,) * 4, machines=len(workers), connections=(("v1", len(workers)),),
            refused=(("stale-share", 4 * len(workers)),), blocks=blocks, blocks_found=len(blocks),
            work=WorkStats(has_work=True, height=900_001, prev_hash="00" * 32, node="node-0", template_age_s=1.0,
                           tip_age_s=60.0, value_sat=312_500_000, transactions=2_500, network_difficulty=1e14,
                           outputs=(OutputStats(FARM, 312_500_000),)),
            nodes=(NodeStats("node-0", "up", is_mined=True, since=AT - 1e6),),
            payout=PayoutStats(is_shared=True, window_percent=88.0, accounts=len(users), payable_sat=10_000_000),
            users_by_name=MappingProxyType({user.name: user for user in users}),
            workers_by_name=MappingProxyType({worker.name: worker for worker in workers}))

    def write_books(self, path: Path) -> None:
        """Each worker has a row in each slot of ten minutes."""
        books = SqliteBooks(path)
        books.open()
        books.close()
        last = int(AT) // TEN_MINUTES
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany("INSERT INTO workers (id, name, user) VALUES (?, ?, ?)", (
                (number, name, user) for number, (user, name) in enumerate(self.names(), 1)))
            connection.executemany("INSERT INTO rollups VALUES (?, ?, ?, 12, ?, 0, 1e9)", (
                (TEN_MINUTES, last - ago, number, 12 * DIFFICULTY)
                for ago in range(SLOTS, 0, -1) for number in range(1, self.workers + 1)))
            connection.executemany("INSERT INTO slots VALUES (?, ?, 1, 1, ?, ?, 0, 1e9)", (
                (TEN_MINUTES, last - ago, 12 * self.workers, 12 * self.workers * DIFFICULTY)
                for ago in range(SLOTS, 0, -1)))
            connection.execute("INSERT OR REPLACE INTO marks VALUES ('open_slot', ?)", (last,))


def _tally(number: int) -> ShareTally:
    return ShareTally(
        rates=Rates(*(1e14 + number,) * 7), accepted=1_000 + number, refused=5, difficulty=6.5e7, total_accepted=50_000,
        total_difficulty=3e9, round_difficulty=1e8, best=1e9 + number, best_ever=1e12 - number, last_share=AT - 5.0)
