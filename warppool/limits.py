"""What one connection may use, for each kind of connection; and the token bucket for the calls of one.

Why there are bounds everywhere: docs/decisions.rst#decision-bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

SHARE_WORK: Final = 1
CALL_WORK: Final = 8
"""How much of a turn's work one message takes: a call costs the worker several times as much as a share."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one kind of connection.

    `bytes_per_turn` and `work_per_turn`: what a worker does for one connection before it goes on to the next one.
    `calls`: how many calls (messages that are no shares) may come at once; 0 for no bound. `calls_per_s`: how many more
    are allowed each second. `calls_per_s_each`: how many more each second for each open channel or authorized worker.
    `unsent`: how many bytes may wait for the peer; `unsent_each`: how many more for each channel or worker.
    """

    bytes_per_turn: int
    work_per_turn: int
    calls: int
    calls_per_s: float
    calls_per_s_each: float
    unsent: int
    unsent_each: int


V1: Final = Limits(
    bytes_per_turn=8 * 1024,            # some 30 shares of a farm's proxy; a machine sends 150 bytes at a time
    work_per_turn=64,
    calls=2000,                         # a proxy may authorize its 1,000 workers all at once, and has room left
    calls_per_s=20.0,                   # who has used up all calls has the next one within 50 ms
    calls_per_s_each=1.0,
    unsent=128 * 1024,                  # dozens of jobs of 2 KiB
    unsent_each=4 * 1024,               # a job of an extended channel has 1 KiB
)
V2_MINING: Final = V1
TEMPLATE: Final = replace(V1, calls=500, calls_per_s=50.0, calls_per_s_each=0.0)
"""A client of a template server makes a call a minute, two for each template and one for each block: on a test network
that is dozens a second. Its connection also says how large the largest message is that it asked for (`events.Holds`).
"""

UPSTREAM: Final = replace(V1, bytes_per_turn=64 * 1024, work_per_turn=1 << 30, calls=0, unsent=1024 * 1024)
"""The translator's connection to a pool. It brings the jobs of up to 1,000 machines. Calls are not bounded, since it is
we who make them."""

FREE_CALLS: Final = 64
"""So many calls of a connection are not counted. A machine makes a handful in its life, so most need no bucket."""


_ONE: Final = 1.0 - 1e-6         # a little less, so that at `due` there is a token in spite of rounding


class Bucket:
    """Tokens for the calls of one connection. It is made after `FREE_CALLS` calls. Times are monotonic seconds.

    `each` is the number of the connection's open channels or authorized workers.
    """

    __slots__ = ("_at", "_left", "_limits")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._left = float(limits.calls - FREE_CALLS)
        self._at = now

    def take(self, now: float, each: int) -> None:
        """One call was made."""
        self._fill(now, each)
        self._left -= 1.0

    def has_one(self, now: float, each: int) -> bool:
        """Whether another call may be made."""
        self._fill(now, each)
        return self._left >= _ONE

    def due(self, now: float, each: int) -> float:
        """When another call may be made."""
        self._fill(now, each)
        return now + max(0.0, 1.0 - self._left) / self._rate(each)

    def _fill(self, now: float, each: int) -> None:
        self._left = min(float(self._limits.calls), self._left + (now - self._at) * self._rate(each))
        self._at = now

    def _rate(self, each: int) -> float:
        return self._limits.calls_per_s + self._limits.calls_per_s_each * each
