"""Healthy is who has work that is worth mining."""

from __future__ import annotations

import pytest

from tests.stats.made import AT, snapshot
from warppool.stats.health import health_of
from warppool.stats.snapshot import WorkStats


@pytest.mark.parametrize(("work", "now", "reason"), [
    (WorkStats(has_work=True, height=1, template_age_s=179.0, stale_after_s=180.0), AT, ""),
    (WorkStats(has_work=True, height=1, template_age_s=181.0, stale_after_s=180.0), AT,
     "the newest template is 181 s old"),
    (WorkStats(has_work=True, height=1, template_age_s=1e6), AT, ""),             # an upstream may be quiet
    (WorkStats(), AT, "no work yet"),
    (WorkStats(height=1), AT, "no work"),
    (WorkStats(has_work=True, height=1, template_age_s=1.0), AT + 31, "the numbers are 31 s old"),
    (WorkStats(has_work=True), AT - 3600, ""),                     # the clock was put back
])
def test_health_is_fresh_work(work: WorkStats, now: float, reason: str) -> None:
    assert health_of(snapshot(work=work), now) == (not reason, reason)
