"""How often an upstream can make us say one thing: whoever is at the other end must not fill the journal."""

from __future__ import annotations

from warppool.events import Happened, Now
from warppool.translate.pace import Pace

SAID_EVERY_S = 60.0
"""The least time between two lines of one kind; those between are counted, and stand in the log at DEBUG."""


BLOCKS_AT_ONCE, BLOCK_EVERY_S = 64, 10.0
"""Blocks on jobs of one upstream that the books take at once, and how fast more may come: an upstream that says that
the network is easy makes every share a block."""


class UpstreamLog:
    """Owned by one worker; one for each upstream, so that one does not silence another. Kinds are the names of events,
    of which there are few."""

    __slots__ = ("_blocks", "_counts", "_silent_until", "trouble")

    def __init__(self) -> None:
        self.trouble = ""                           # why the last connection to it ended, or could not be made
        self._blocks = Pace(BLOCKS_AT_ONCE, BLOCK_EVERY_S)
        self._silent_until: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def may_count_block(self, now: Now) -> bool:
        """Whether a block on a job of this upstream may go into the books."""
        return self._blocks.take(now.monotonic)

    def say(self, conn_id: int, level: str, name: str, fields: tuple[tuple[str, object], ...], now: Now) -> Happened:
        """The event as it is to be said: at its level once a minute, with the count of those since the last line."""
        count = self._counts.get(name, 0) + 1
        if now.monotonic < self._silent_until.get(name, 0.0):
            self._counts[name] = count
            return Happened(conn_id, "debug", name, fields)
        self._silent_until[name] = now.monotonic + SAID_EVERY_S
        self._counts[name] = 0
        return Happened(conn_id, level, name, fields if count == 1 else (*fields, ("count", count)))
