"""Whether the program serves: what `/health` and `warppool status` say, in one word and a reason."""

from __future__ import annotations

from typing import Final, NamedTuple

from warppool.stats.snapshot import StatsSnapshot

NUMBERS_S: Final = 30.0
"""A snapshot is made each second. One that is older by so much says that thread `stats` hangs."""


class ServiceHealth(NamedTuple):
    """`reason` says why it is not well, "" where it is."""

    is_ok: bool
    reason: str = ""


def health_of(snapshot: StatsSnapshot, now: float) -> ServiceHealth:
    """How the program is at Unix time `now`. Work is stale whose template no node has answered with for so long.

    It says whether machines have work that is worth mining, and so whether to send them here. Restarting the program
    does not help where it is not well.
    """
    work = snapshot.work
    if now - snapshot.at > NUMBERS_S:
        return ServiceHealth(False, f"the numbers are {now - snapshot.at:.0f} s old")
    if not work.has_work:
        return ServiceHealth(False, "no work" if work.height else "no work yet")
    age_s, stale_after_s = work.template_age_s, work.stale_after_s
    if age_s is not None and stale_after_s is not None and age_s > stale_after_s:
        return ServiceHealth(False, f"the newest template is {age_s:.0f} s old")
    return ServiceHealth(True)
