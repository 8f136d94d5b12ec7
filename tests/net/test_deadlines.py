"""The heap of deadlines, against a list."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from warppool.net.deadlines import Deadlines

TIMES = st.integers(0, 20).map(float)


@given(st.lists(st.tuples(st.sampled_from(["enter", "take"]), TIMES), max_size=60))
def test_entries_come_when_they_are_due_earliest_first(steps: list[tuple[str, float]]) -> None:
    deadlines, entries = Deadlines(), list[tuple[float, int]]()
    for conn_id, (step, time) in enumerate(steps):
        if step == "enter":
            deadlines.enter(time, conn_id)
            entries.append((time, conn_id))
        else:
            came = sorted(entry for entry in entries if entry[0] <= time)
            if conn_id % 2:
                assert [deadlines.pop(time) for _ in range(len(came) + 1)] == [*came, None]
            else:
                assert deadlines.take(time) == came
            entries = [entry for entry in entries if entry[0] > time]
        assert deadlines.first == min((time for time, _ in entries), default=math.inf)


def test_waste_is_noticed_and_dropped() -> None:
    deadlines = Deadlines()
    for conn_id in range(100):
        deadlines.enter(600.0 - conn_id, conn_id)
    assert deadlines.has_waste(10) and not deadlines.has_waste(50)
    deadlines.renew([(600.0, 0), (599.0, 1)])
    assert deadlines.take(1000.0) == [(599.0, 1), (600.0, 0)]
