"""How long tests wait for what must come, and what they ask of a machine that does other things besides."""

from __future__ import annotations

import os

PATIENCE_S = 300.0
"""For an event that must come; never reached when all is well, however busy the machine is."""


def is_busy() -> bool:
    """Whether more runs on this machine than it has processors: what is promised in seconds does not hold then."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)
