"""The snapshot itself: its histograms, and that faces are given one that fits together."""

from __future__ import annotations

import math

from tests.stats.made import snapshot
from warppool.stats.snapshot import BOUNDS, EMPTY, WINDOWS, Histogram, Rates


def test_there_is_a_rate_for_each_window():
    assert len(Rates._fields) == len(WINDOWS)


def test_a_quantile_is_the_bound_that_is_not_exceeded():
    assert EMPTY.quantile(0.99) is None and EMPTY.count == 0
    counts = [0] * (len(BOUNDS) + 1)
    counts[0], counts[3], counts[-1] = 98, 1, 1
    histogram = Histogram(BOUNDS, tuple(counts))
    assert histogram.quantile(0.5) == BOUNDS[0]
    assert histogram.quantile(0.99) == BOUNDS[3]
    assert histogram.quantile(1.0) == BOUNDS[-1] and math.isfinite(BOUNDS[-1])


def test_the_made_up_snapshot_fits_together():
    made = snapshot()
    assert made.machines == sum(user.machines for user in made.users)
    assert set(made.users_by_name) == {worker.user for worker in made.workers}
    assert made.users[0].idle == made.idle == 1
