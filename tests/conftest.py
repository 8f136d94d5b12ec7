"""What all tests share: where other programs are required, a test that would skip for want of one fails.

`WARPPOOL_REQUIRE_PEERS=1` stands in `.ci/run` and in `tox -e peers`, so that a peer that is not installed, or no longer
starts, cannot pass for one that agreed.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# No test is timed: a machine that does other things besides makes any example slow.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    is_required = os.environ.get("WARPPOOL_REQUIRE_PEERS") == "1" and item.get_closest_marker("peer") is not None
    if is_required and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"WARPPOOL_REQUIRE_PEERS=1, and this peer is missing: {reason}"
    return report
