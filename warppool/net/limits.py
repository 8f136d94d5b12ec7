"""How many connections there may be: what the operator allows, within what the system allows."""

from __future__ import annotations

import logging
import resource

from warppool.say import say

log = logging.getLogger(__name__)

RESERVED_FDS = 64
"""File descriptors kept back for all that is no miner: listeners, nodes, ledger, journal, log, and some slack."""

_PLENTY = 1 << 20
"""Stands for a limit that is infinite: the kernel's own default bound (fs.nr_open)."""


def connection_cap(configured: int, fds_each: int = 1) -> int:
    """The most connections to accept: `configured`, or with 0 all that the file-descriptor limit leaves.

    `fds_each` is 2 where one is dialled for each that is accepted. Looks at the soft limit as it is now, so raise that
    first. A configured number that cannot be had is lowered, which the log says.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = _PLENTY if soft == resource.RLIM_INFINITY else max(1, (soft - RESERVED_FDS) // fds_each)
    if configured > possible:
        say(log, logging.WARNING, "limit.lowered", max_connections=configured, possible=possible,
            reason=f"the limit of open files is {soft}: raise LimitNOFILE= of the unit")
    return min(configured or possible, possible)
