"""A warning that repeats."""

from __future__ import annotations

import logging

from tests.net.conftest import LogLines
from warppool.net.repeats import REPEAT_S, Repeats


def test_the_first_is_said_at_once_and_the_rest_with_a_count(log_lines: LogLines) -> None:
    repeats = Repeats(logging.getLogger("warppool.net.test"), "limit.reached")
    repeats.flush(0.0)
    assert log_lines.having("limit.reached") == []
    for second in range(10):
        repeats.add(float(second), peer=f"p{second}")
    assert log_lines.having("limit.reached") == ["WARNING event=limit.reached count=1 peer=p0"]
    repeats.flush(REPEAT_S - 0.1)
    assert len(log_lines.having("limit.reached")) == 1
    repeats.flush(REPEAT_S)
    assert log_lines.having("limit.reached")[1:] == ["WARNING event=limit.reached count=9 peer=p9"]
    repeats.flush(3 * REPEAT_S)
    assert len(log_lines.having("limit.reached")) == 2
    repeats.add(3 * REPEAT_S, peer="late")
    assert log_lines.having("limit.reached")[2:] == ["WARNING event=limit.reached count=1 peer=late"]
