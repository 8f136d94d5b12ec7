"""Sessions that a drop cut off: kept for a while, so that a machine goes on where it was.

What a machine takes up again is its channel: extranonce1, jobs, seen-set and difficulty. The id that it names is half
chance, so that nobody takes what is another's.
"""

from __future__ import annotations

from dataclasses import dataclass

from warppool.mining.channel import Channel
from warppool.mining.extranonce import PrefixPool
from warppool.sv1.words import Wish

RESUMABLE_S = 600.0
"""How long a dropped session is kept."""

MAX_RESUMABLE = 4096
"""Sessions kept at a time, the oldest given up first: a storm of reconnects must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What is kept of a session. The channel is whoever's resumes it: a session that closed never touches it again,
    but for the shares that were in flight, which the channel must know.
    """

    channel: Channel
    wish: Wish
    expires_at: float                   # monotonic seconds


class ResumableSessions:
    """The dropped sessions of one worker, by their ids; gives their prefixes back when their time is over."""

    def __init__(self, prefixes: PrefixPool) -> None:
        self._prefixes = prefixes
        self._dropped: dict[bytes, Dropped] = {}            # in the order in which they expire

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._dropped)

    def keep(self, session_id: bytes, channel: Channel, wish: Wish, now: float) -> None:
        """The connection of this session is gone; `now` is monotonic."""
        self.expire(now)
        if len(self._dropped) >= MAX_RESUMABLE:
            self._give_up(next(iter(self._dropped)))
        self._dropped[session_id] = Dropped(channel, wish, now + RESUMABLE_S)

    def take(self, session_id: bytes, now: float) -> Dropped | None:
        """The session of that id, which is no longer kept then; None if there is none."""
        self.expire(now)
        return self._dropped.pop(session_id, None)

    def expire(self, now: float) -> None:
        """Give up what has been kept long enough."""
        while self._dropped:
            first = next(iter(self._dropped))
            if self._dropped[first].expires_at > now:
                break
            self._give_up(first)

    def _give_up(self, session_id: bytes) -> None:
        self._prefixes.release(self._dropped.pop(session_id).channel.extranonce_prefix)
