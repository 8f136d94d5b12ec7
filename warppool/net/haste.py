"""How soon a thread that computes gives the interpreter's lock to one that waits for it.

A share needs the lock in reactor, worker and ledger, and in each again after every system call: some ten times. Under a
flood one of the other threads has it every time, so ten times Python's own 5 ms were most of a share's answer. Where
nobody floods, a shorter interval only costs: each change of threads costs what it interrupts its caches.
"""

from __future__ import annotations

import math
import sys

HURRIED_S = 0.001
LASTS_S = 1.0
"""So long after the last sign of a flood the interval stays short."""


class Haste:
    """The interval of this process. Any thread may call; two at once do no harm that the next turn does not mend."""

    def __init__(self) -> None:
        self.until = math.inf                   # monotonic seconds: when it ends; `inf` where there is none
        self._calm_s = sys.getswitchinterval()

    def begin(self, now: float) -> None:
        """A worker has more to do than a turn takes."""
        if self.until == math.inf:
            sys.setswitchinterval(min(HURRIED_S, self._calm_s))
        self.until = now + LASTS_S

    def end(self) -> None:
        """`until` is over."""
        self.until = math.inf
        sys.setswitchinterval(self._calm_s)


HASTE = Haste()
"""There is one interpreter's lock in a process."""
