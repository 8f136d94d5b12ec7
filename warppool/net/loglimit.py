"""What strangers may write into the journal: of each connection the first line of a kind, and of all together a few.

Whoever may open connections may otherwise write as many lines as he likes. So of each kind of line (`miner.refused`,
say) the first of a connection is said as it is, up to LINES of them in a minute; what else comes is counted, and a
minute later one line says how much of it came, and from where.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from dataclasses import dataclass, field

from warppool.net.limits import origin_of
from warppool.say import say

log = logging.getLogger(__name__)

LINES = 20
"""Lines of one kind in a minute that are said as they are: a small farm's machines all show when it comes back."""

CROWD = frozenset({"miner.opened", "miner.named", "miner.resumed", "miner.gone"})
"""Kinds of which LINES may be said in each second, whichever connection they are of: each machine that comes or goes is
one line. Once a second has had more of them, the rest of that minute is summed, since it is a crowd, or a stranger who
wants to fill the journal."""

MINUTE_S = 60.0

TOP = 3
"""Addresses that a sum names."""

MAX_ADDRESSES = 1000
"""Addresses that are counted apart; the rest counts as `others`, since whoever has many shall not fill the memory."""


@dataclass(slots=True)
class _Kind:
    """One kind of line in its present minute."""

    ends_at: float
    said: int = 0                   # within the minute; of a crowd's kind, within the second
    second: float = -math.inf       # in which a line of a crowd's kind was said last
    counts: Counter[str] = field(default_factory=Counter)


class LogLimit:
    """Shared by all workers, so it has a lock; only lines of the journal take it, never a share. Times: monotonic."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}
        self.due = math.inf
        """When `flush` has something to say; `inf` for nothing."""

    def allows(self, kind: str, peer: str, is_first: bool, now: float) -> bool:
        """Whether a line of this kind may be said; else it is counted. `is_first` of its connection."""
        with self._lock:
            self._flush(now)
            found = self._kinds.get(kind)
            if found is None:
                found = self._kinds[kind] = _Kind(now + MINUTE_S)
                self.due = min(self.due, found.ends_at)
            if kind in CROWD:
                is_first = True
                if now - found.second >= 1.0 and not found.counts:
                    found.second, found.said = now, 0
            if is_first and found.said < LINES:
                found.said += 1
                return True
            address = origin_of(peer.rpartition(":")[0].strip("[]"))
            if address not in found.counts and len(found.counts) >= MAX_ADDRESSES:
                address = "others"
            found.counts[address] += 1
            return False

    def flush(self, now: float) -> None:
        """Say the sums of the minutes that are over."""
        if now >= self.due:
            with self._lock:
                self._flush(now)

    def close(self) -> None:
        """Say all sums."""
        with self._lock:
            self._flush(math.inf)

    def _flush(self, now: float) -> None:
        if now < self.due:
            return
        for name, kind in list(self._kinds.items()):
            if kind.ends_at <= now:
                del self._kinds[name]
                if kind.counts:
                    say(log, logging.INFO, "lines.summed", kind=name, count=kind.counts.total(),
                        addresses=len(kind.counts), top=_top(kind.counts))
        self.due = min((kind.ends_at for kind in self._kinds.values()), default=math.inf)


def _top(counts: Counter[str]) -> str:
    return ",".join(f"{address}={count}" for address, count in counts.most_common(TOP))
