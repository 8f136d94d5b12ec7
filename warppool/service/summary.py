"""The line of each minute in the journal, of the numbers that all faces show."""

from __future__ import annotations

from typing import Final

from warppool.stats.snapshot import StatsSnapshot

SUMMARY_S: Final = 2.0
"""How long the line of each minute waits for a snapshot of now."""


def fields_of(snapshot: StatsSnapshot) -> dict[str, object]:
    """Machines, hash rates (hashes a second), accepted, refused by reason, blocks, the best share and the effort."""
    pool = snapshot.pool
    return {
        "miners": snapshot.machines, "hashrate_1m": pool.rates.m1, "hashrate_5m": pool.rates.m5,
        "hashrate_1h": pool.rates.h1, "accepted": pool.accepted, "refused": pool.refused,
        **{f"refused_{reason}": count for reason, count in snapshot.refused},
        "blocks": snapshot.blocks_found, "best": pool.best, "effort": round(snapshot.round.effort, 4)}
