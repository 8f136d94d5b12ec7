"""Whether an upstream is there while no machine asks for one: at the start, and whenever the translator stands idle.

Machines find out for themselves. Without any, a load balancer that was told of a lost upstream would send none, and
none would find out that it is back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from warppool.addresses import PoolUrl
from warppool.events import Dial
from warppool.service.startcheck import PATIENCE_S, StartCheck
from warppool.service.threads import Threads

UPSTREAM_CHECK: Final = "upstream-check"
"""The thread that looks whether an upstream is there."""

EVERY_S: Final = 60.0
"""Between two looks while no machine is here: two messages to each upstream."""


class UpstreamWatch:
    """The part before the workers. `urls` are the upstreams of now, `dial` hands a dial to a worker, and `is_idle` says
    whether no machine is on an upstream or waits for one.

    `found` is the upstream that answered first at the start, set before `is_ready`; None if none has for a while.
    """

    def __init__(self, urls: Callable[[], Sequence[PoolUrl]], dial: Callable[[Dial], None], is_idle: Callable[[], bool],
                 is_ready: threading.Event) -> None:
        self.found: PoolUrl | None = None
        self._word: str | None = None
        self._urls = urls
        self._dial = dial
        self._is_idle = is_idle
        self._is_ready = is_ready
        self._stopping = threading.Event()
        self._check = StartCheck(urls(), dial, self._begin, PATIENCE_S)

    def word(self) -> str | None:
        """The name of the upstream that answered last while no machine was here, "" where none has. None where machines
        have found out for themselves since then, and before the start has. Asked each second, by the thread `stats`.
        """
        if not self._is_idle():
            self._word = None
        return self._word

    def start(self, threads: Threads) -> None:
        """Start to look."""
        threads.spawn(UPSTREAM_CHECK, self._run)

    def stop(self, threads: Threads) -> None:
        """End it at once."""
        self._stopping.set()
        self._check.stop()
        threads.join([UPSTREAM_CHECK])

    def _run(self) -> None:
        self._check.run()
        while not self._stopping.wait(EVERY_S):
            if self._is_idle():
                self._check = StartCheck(self._urls(), self._dial, self._say, PATIENCE_S, is_quiet=True)
                if not self._stopping.is_set():     # else the stop has not seen this check
                    self._check.run()

    def _begin(self, upstream: PoolUrl | None) -> None:
        self.found = upstream
        self._say(upstream)
        self._is_ready.set()

    def _say(self, upstream: PoolUrl | None) -> None:
        self._word = "" if upstream is None else upstream.place
