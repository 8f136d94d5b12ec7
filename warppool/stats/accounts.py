"""What is known of one worker, one user, or the whole pool, while it changes; owned by the thread `stats`."""

from __future__ import annotations

from collections import Counter
from typing import Final

from warppool.bitcoin.target import DIFF1
from warppool.stats.past import Sums
from warppool.stats.snapshot import IDLE_S, ShareTally, UserStats, WorkerStats
from warppool.stats.windows import Moment, WorkWindows

NO_HASH: Final = 1 << 256
"""Higher than any hash."""


class ShareAccount:
    """Shares that were credited, and what came of them. What came since the last `settle` is pending.

    The round of `best` and of the round's work is that of the last `settle`: a newer one begins both anew.
    """

    __slots__ = ("_accepted", "_difficulty", "_round", "_round_difficulty", "best", "best_ever", "last_share", "lowest",
                 "pending", "pending_shares", "refused", "total_accepted", "total_difficulty", "windows")

    def __init__(self, moment: Moment, number: int) -> None:
        self.windows = WorkWindows(moment)
        self.pending = 0.0                          # credited difficulty
        self.pending_shares = 0
        self.lowest = NO_HASH                       # hash among the pending shares
        self.refused = 0
        self.total_accepted = 0                     # of before this run
        self.total_difficulty = 0.0
        self.best = self.best_ever = self.last_share = 0.0
        self._accepted = 0                          # of this run
        self._difficulty = 0.0
        self._round = number
        self._round_difficulty = 0.0

    def settle(self, moment: Moment, number: int) -> None:
        """Count what is pending, in round `number`, and let go of what is too old."""
        self.windows.turn_to(moment)
        if number != self._round:
            self._round, self._round_difficulty, self.best = number, 0.0, 0.0
        if self.pending_shares:
            self.windows.add(self.pending)
            self._accepted += self.pending_shares
            self._difficulty += self.pending
            self._round_difficulty += self.pending
            self.pending, self.pending_shares = 0.0, 0
            if self.lowest < NO_HASH:
                best = DIFF1 / max(1, self.lowest)
                self.best, self.best_ever, self.lowest = max(self.best, best), max(self.best_ever, best), NO_HASH

    def take_past(self, accepted: int, difficulty: float, best_ever: float) -> None:
        """What the books have from before this run."""
        self.total_accepted, self.total_difficulty = accepted, difficulty
        self.best_ever = max(self.best_ever, best_ever)

    def take_round(self, difficulty: float, best: float) -> None:
        """What of that belongs to the round that goes on."""
        self._round_difficulty += difficulty
        self.best = max(self.best, best)

    @property
    def ever(self) -> Sums:
        """All that it has done, of all time."""
        return Sums(self.total_accepted + self._accepted, self.total_difficulty + self._difficulty, self.best_ever)

    @property
    def round_difficulty(self) -> float:
        """Work of the round."""
        return self._round_difficulty

    @property
    def is_asleep(self) -> bool:
        """No work of seven days."""
        return not self.windows.sums[-1] and not self.pending_shares

    def tally(self, moment: Moment) -> ShareTally:
        """As it was settled."""
        return ShareTally(self.windows.rates(moment), self._accepted, self.refused, self._difficulty,
                     self.total_accepted + self._accepted, self.total_difficulty + self._difficulty,
                     self._round_difficulty, self.best, self.best_ever, self.last_share)


class UserAccount(ShareAccount):
    """A user, by the part of a worker's name before its first dot."""

    __slots__ = ("name", "since", "stats", "workers")

    def __init__(self, name: str, moment: Moment, number: int) -> None:
        super().__init__(moment, number)
        self.name = name
        self.since = moment.at
        self.workers: list[WorkerAccount] = []
        self.stats: UserStats | None = None

    def publish(self, moment: Moment) -> UserStats:
        """Itself as it was settled, with its workers as they were published."""
        workers = tuple([worker.stats for worker in self.workers if worker.stats is not None])
        self.stats = UserStats(self.name, self.tally(moment), workers, sum([each.machines for each in workers]),
                               self.since)
        return self.stats


class WorkerAccount(ShareAccount):
    """A worker by its whole name, whose user is `user`."""

    __slots__ = ("agent", "gone_at", "machines", "name", "protocol", "reasons", "since", "stats", "user")

    def __init__(self, name: str, user: UserAccount, moment: Moment, number: int) -> None:
        super().__init__(moment, number)
        self.name = name
        self.user = user
        self.machines = 0
        self.agent = self.protocol = ""
        self.since = self.gone_at = 0.0
        self.reasons: Counter[str] | None = None
        self.stats: WorkerStats | None = None

    def is_idle(self, now: float) -> bool:
        """It is here, and has had no share for long."""
        return self.machines > 0 and now - max(self.last_share, self.since) > IDLE_S

    def refuse(self, reason: str, count: int) -> None:
        """So many of its shares were refused."""
        self.refused += count
        if self.reasons is None:
            self.reasons = Counter()
        self.reasons[reason] += count

    def publish(self, moment: Moment) -> WorkerStats:
        """Itself as it was settled."""
        reasons = tuple(sorted(self.reasons.items())) if self.reasons is not None else ()
        self.stats = WorkerStats(self.name, self.user.name, self.tally(moment), self.machines,
                                 self.is_idle(moment.at), self.agent, self.protocol, self.since, self.gone_at, reasons)
        return self.stats
