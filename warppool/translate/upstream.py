"""One upstream pool as one worker sees it: what the operator said of it, and what is known of its health."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

from warppool.bitcoin.target import target_from_nbits
from warppool.errors import RemoteProtocolError
from warppool.events import Happened, Now
from warppool.sv2.profile import Profile
from warppool.sv2.work import Work
from warppool.translate.pace import Pace
from warppool.translate.promptness import Promptness
from warppool.translate.upstreamlog import UpstreamLog

EXTRANONCES_AT_ONCE, EXTRANONCE_EVERY_S = 16, 60.0
"""Changes of extranonce for each machine that mines on an upstream, and how fast more may come. Most machines must
connect anew for each, so a pool that makes many is not mined on."""


_WRONG_KEY = ("meaning", "this upstream is not used: its URL has another key than the server; compare it with what the "
              "pool publishes")


class Unfit(RemoteProtocolError):
    """An upstream does what no pool does that wants to be mined on: for a while others are better."""


class Health(Enum):
    """What is known of an upstream."""

    UNKNOWN = auto()
    UP = auto()
    ANSWERING = auto()          # passes health checks, and not for long enough yet
    DOWN = auto()


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """One `[[upstream]]`: `pin` is the key that the pool is held to, `profile` the dialect that it speaks,
    `user_identity` the name of machines that must have work before they say theirs, and one that is `fallback_only` is
    used while none of the others is up.
    """

    name: str
    host: str
    port: int
    pin: bytes
    profile: Profile
    user_identity: str
    fallback_only: bool = False


class NewestWork:
    """The last work that an upstream gave, on whatever channel, and when, in monotonic seconds."""

    __slots__ = ("at", "network_target", "work")

    def __init__(self) -> None:
        self.work: Work | None = None
        self.at = -math.inf
        self.network_target = 1                     # 1 while that is unknown


class Upstream:
    """One upstream as this worker sees it; `rank` 0 is the best. All times are monotonic seconds.

    Any thread may read `health`, `alive`, `newest` and `log.trouble`, whose values are replaced as a whole.
    """

    __slots__ = ("_extranonces", "alive", "config", "failures", "health", "healthy_since", "host", "log",
                 "newest", "plain_until", "port", "promptness", "rank", "retry_at", "unfit_until")

    def __init__(self, config: UpstreamConfig, rank: int) -> None:
        self.config = config
        self.rank = rank
        self.host, self.port = config.host, config.port     # or where it asked us to move
        self.health = Health.UNKNOWN
        self.alive = 0                              # connections that are set up
        self.failures = 0                           # since it last gave work
        self.retry_at = -math.inf
        self.unfit_until = -math.inf
        self.plain_until = -math.inf                # until then the upstream is asked for no extensions
        self.newest = NewestWork()
        self.promptness = Promptness()
        self.log = UpstreamLog()
        self.healthy_since: float | None = None     # while it passes health checks
        self._extranonces = Pace(EXTRANONCES_AT_ONCE, EXTRANONCE_EVERY_S)

    def say(self, conn_id: int, level: str, name: str, now: Now, *fields: tuple[str, object]) -> Happened:
        """An event of this upstream for the log, at its level as often as one upstream may fill the log."""
        return self.log.say(conn_id, level, name, (("upstream", self.config.name), *fields), now)

    def say_refused(self, conn_id: int, reason: str, now: Now) -> Happened:
        """It has proved another key than its own."""
        self.log.trouble = "it proves another key than the one in its url"
        return self.say(conn_id, "error", "upstream.refused", now, ("reason", reason), _WRONG_KEY)

    def say_gone(self, conn_id: int, reason: str, now: Now, *, was_up: bool, is_news: bool) -> Happened:
        """A connection to it is over, or could not be made."""
        self.log.trouble = reason
        name = "upstream.lost" if was_up else "upstream.failed"
        if is_news:
            return self.say(conn_id, "warning", name, now, ("reason", reason))
        return Happened(conn_id, "debug", name, (("upstream", self.config.name), ("reason", reason)))

    def say_opened(self, conn_id: int, now: Now, *fields: tuple[str, object], is_again: bool) -> Happened:
        """A machine has a channel here; `is_again` after the loss of another one. One that has said no name yet is a
        machine once it has: `miner.named`.
        """
        if is_again:
            return self.say(conn_id, "info", "miner.reopened", now, *fields)
        level = "debug" if ("user", "") in fields else "info"
        return Happened(conn_id, level, "miner.opened", (("upstream", self.config.name), *fields))

    def changes_extranonce(self, now: float, channels: int) -> bool:
        """A channel on a connection with so many channels has another extranonce; False if that is too often."""
        return self._extranonces.take(now, max(1, channels, self.alive))


@lru_cache(maxsize=16)
def network_target_of(nbits: int) -> int:
    """The target of compact `nbits`; ValueError if that is none."""
    return target_from_nbits(nbits)
