"""The numbers that people look at: a summary a minute, worked out of what the workers have counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from warppool.net.reports import WorkerReport
from warppool.stats.snapshot import StatsSnapshot

WINDOWS_S = {"1m": 60.0, "5m": 300.0, "1h": 3600.0}
"""The windows of the hash rate, by the name in the log."""

SUMMARY_S: Final = 2.0
"""How long the line of each minute waits for a snapshot of now."""

HASHES_PER_DIFFICULTY = 2**48 / 0xFFFF
"""Expected hashes for a share of difficulty 1 (bdiff)."""


class Summary:
    """Turns running totals into the fields of a summary line; `now` is monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, float]] = deque([(now, 0.0)])     # time, difficulty accepted until then

    def fields(self, reports: Iterable[WorkerReport], now: float) -> dict[str, object]:
        """Miners, hash rates (hashes a second), accepted, refused by reason, blocks and the best share."""
        reports = list(reports)
        difficulty = sum(worker.difficulty for worker in reports)
        self._samples.append((now, difficulty))
        while len(self._samples) > 2 and self._samples[1][0] <= now - max(WINDOWS_S.values()):
            self._samples.popleft()
        refused: Counter[str] = Counter()
        for worker in reports:
            refused.update(dict(worker.refused))
        fields: dict[str, object] = {"miners": sum(worker.machines for worker in reports)}
        for name, window_s in WINDOWS_S.items():
            fields[f"hashrate_{name}"] = self.hash_rate(window_s, now)
        fields["accepted"] = sum(worker.accepted for worker in reports)
        fields["refused"] = sum(refused.values())
        fields |= {f"refused_{reason}": count for reason, count in sorted(refused.items())}
        fields["blocks"] = sum(worker.blocks for worker in reports)
        fields["best"] = max((worker.best_difficulty for worker in reports), default=0.0)
        return fields

    def hash_rate(self, window_s: float, now: float) -> float:
        """Hashes a second over the last `window_s`, or since the start if that is shorter; 0.0 before any time passed.

        The sample nearest before the window's begin is its start, so that a window is never shorter than it says.
        """
        last_time, last = self._samples[-1]
        first_time, first = self._samples[0]
        for when, difficulty in self._samples:
            if when > now - window_s:
                break
            first_time, first = when, difficulty
        elapsed = last_time - first_time
        return (last - first) * HASHES_PER_DIFFICULTY / elapsed if elapsed > 0 else 0.0


def fields_of(snapshot: StatsSnapshot) -> dict[str, object]:
    """The same fields, of the numbers that all faces show."""
    pool = snapshot.pool
    return {
        "miners": snapshot.machines, "hashrate_1m": pool.rates.m1, "hashrate_5m": pool.rates.m5,
        "hashrate_1h": pool.rates.h1, "accepted": pool.accepted, "refused": pool.refused,
        **{f"refused_{reason}": count for reason, count in snapshot.refused},
        "blocks": snapshot.blocks_found, "best": pool.best, "effort": round(snapshot.round.effort, 4)}


def human_rate(rate: float) -> str:
    """`12.3 MH/s` for 12,300,000 hashes a second."""
    for unit in ("H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s"):
        if rate < 1000:
            return f"{rate:.1f} {unit}"
        rate /= 1000
    return f"{rate:.1f} EH/s"
