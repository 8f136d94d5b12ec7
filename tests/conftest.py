"""What all tests share: where other programs are required, a test that would skip for want of one fails.

`WARPPOOL_REQUIRE_PEERS=1` stands in `.ci/run` and in `tox -e peers`, so that a peer that is not installed, or no longer
starts, cannot pass for one that agreed.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from warppool.status import client

# No test is timed: a machine that does other things besides makes any example slow. The examples are the same in every
# run, so that a change is judged by what it changed; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")

# A daemon gives who asks it one second. No test is about a machine that lets a second pass three times.
client.ATTEMPTS = 100

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def process_stays_as_it_was() -> Iterator[None]:
    """Put back what a command changes for its whole process, so that no test depends on those before it."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    root, umask = logging.getLogger(), os.umask(0o022)
    os.umask(umask)
    logs, level, raises, interval = list(root.handlers), root.level, logging.raiseExceptions, sys.getswitchinterval()
    yield
    os.umask(umask)
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    for added in [handler for handler in root.handlers if handler not in logs]:
        root.removeHandler(added)
        added.close()                           # with it ends the thread that writes the log
    root.setLevel(level)
    logging.raiseExceptions = raises
    sys.setswitchinterval(interval)


@pytest.fixture(autouse=True, scope="module")
def leftovers_fail_where_they_were_made() -> Iterator[None]:
    """Collect garbage at the end of a file: an unclosed socket of one would fail any test of another otherwise."""
    yield
    gc.collect()


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
