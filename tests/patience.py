"""How long tests wait for what must come, and what they ask of a machine that does other things besides."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

PATIENCE_S = 300.0
"""For an event that must come; never reached when all is well, however busy the machine is."""


def until(is_true: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait for what another thread or process brings about and nothing announces."""
    deadline = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def is_busy() -> bool:
    """Whether more runs on this machine than it has processors: what is promised in seconds does not hold then."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)
