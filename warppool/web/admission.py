"""Who may connect to the web port, and for how long: the bounds that keep strangers from costing the miners anything.

A connection brings one request and is closed after its answer. So what is accepted in a second bounds all that the web
costs in a second.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from warppool.addresses import plain_ip
from warppool.net.limits import is_loopback, origin_of
from warppool.web.tokens import TokenBucket

MAX_CONNECTIONS: Final = 64
MAX_PER_ADDRESS: Final = 8              # a browser opens 6 at once; of IPv6 a /64 counts as one address
MAX_OF_LOOPBACK: Final = 32             # a proxy on this machine stands for many browsers

REQUEST_S: Final = 10.0
"""Within this time of its connection a request must be whole, however steadily its bytes come."""

ANSWER_S: Final = 30.0
"""Within this time of its connection the answer must have been read: a page of 100 KiB by 4 KiB/s."""

ACCEPTED_PER_S: Final = 100.0
"""More than the answers of a second, so that who gets too many is told so (429). A request of a storm, be it answered
or refused, costs 1 ms of CPU on a busy machine (bench.web), so a storm takes a tenth of a core; the rest of it waits in
the kernel."""

TURNED_AWAY_COST: Final = 0.1           # a connection that is closed at once costs a tenth of one that is answered
AFTER_FAULT_S: Final = 1.0              # no descriptor is left: the next try


class Admission:
    """Counts the connections that are open, by address. The thread `web` owns it; times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._pace = TokenBucket(ACCEPTED_PER_S, ACCEPTED_PER_S / 4, now)
        self._of: Counter[str] = Counter()
        self._open = 0
        self._not_before = -math.inf

    def due(self, now: float) -> float:
        """When the next connection may be accepted; infinity while all places are taken."""
        if self._open >= MAX_CONNECTIONS:
            return math.inf
        return max(self._not_before, self._pace.due(now))

    def take(self, host: str, now: float) -> str | None:
        """A connection of the IP address `host` was accepted: its address for `leave`, or None to close it at once."""
        origin = origin_of(plain_ip(host))
        limit = MAX_OF_LOOPBACK if is_loopback(origin) or is_loopback(plain_ip(host)) else MAX_PER_ADDRESS
        if self._of[origin] >= limit:
            self._pace.spend(now, TURNED_AWAY_COST)
            return None
        self._pace.spend(now, 1.0)
        self._of[origin] += 1
        self._open += 1
        return origin

    def leave(self, origin: str) -> None:
        """A connection that `take` counted under `origin` is closed."""
        self._open -= 1
        self._of[origin] -= 1
        if not self._of[origin]:
            del self._of[origin]

    def pause(self, now: float) -> None:
        """The system refused to accept: without a pause the listening socket would wake the thread at once, again and
        again.
        """
        self._not_before = now + AFTER_FAULT_S

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._open
