"""How soon a thread that computes gives the interpreter's lock to one that waits for it.

A share needs the lock in reactor, worker and ledger, and in each again after every system call: some ten times. Under a
flood one of the other threads has it every time, so ten times Python's own 5 ms were most of a share's answer. Where
nobody floods, a shorter interval only costs: each change of threads costs what it interrupts its caches.

Who computes for people, such as a page, has no haste at all and gives way sooner still.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

HURRIED_S = 0.001
LASTS_S = 1.0
"""So long after the last sign of a flood the interval stays short."""

GIVING_WAY_S = 0.0002
"""A page of 10 ms made shares wait for 27 ms in the worst of a hundred cases, and for 9 ms with this."""


class Haste:
    """The interval of this process. Any thread may call; two at once do no harm that the next turn does not mend."""

    def __init__(self) -> None:
        self.until = math.inf                   # monotonic seconds: when it ends; `inf` where there is none
        self._calm_s = sys.getswitchinterval()
        self._givers: list[None] = []           # one for each thread that gives way now

    def begin(self, now: float) -> None:
        """A worker has more to do than a turn takes."""
        is_new, self.until = self.until == math.inf, now + LASTS_S
        if is_new:
            self._set()

    def end(self) -> None:
        """`until` is over."""
        self.until = math.inf
        self._set()

    @contextmanager
    def giving_way(self) -> Iterator[None]:
        """What the caller computes within has time: whoever waits for the lock gets it soon."""
        self._givers.append(None)
        self._set()
        try:
            yield
        finally:
            self._givers.pop()
            self._set()

    def _set(self) -> None:
        wanted = GIVING_WAY_S if self._givers else HURRIED_S if self.until < math.inf else self._calm_s
        sys.setswitchinterval(min(wanted, self._calm_s))


HASTE = Haste()
"""There is one interpreter's lock in a process."""
