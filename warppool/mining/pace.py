"""How often a machine hears of new jobs."""

from __future__ import annotations

from typing import NamedTuple


class JobPace(NamedTuple):
    """The pace of jobs on one and the same tip, in seconds.

    Some machines throw work away at each job, and some leave a pool that is silent.
    """

    least_s: float          # from one job to the next
    most_s: float           # the newest job comes again after so much silence
    settling_s: float       # a channel's first time: another target brings a job of its own at once
