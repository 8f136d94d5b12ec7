"""What is known of one worker, one user, or the whole pool, while it changes; owned by the thread `stats`."""

from __future__ import annotations

from collections import Counter
from typing import Final

from warppool.stats.past import Sums
from warppool.stats.snapshot import IDLE_S, ShareTally, UserStats, WorkerStats
from warppool.stats.windows import Moment, WorkWindows

NEVER: Final = -1
"""The turn and the place of who was not published yet."""

SORT_S: Final = 60.0
"""Between two looks at which of a user's workers has done more."""


class ShareAccount:
    """Shares that were credited, and what came of them.

    The round of `best` and of the round's work is that of the last `settle`: a newer one begins both anew.
    """

    __slots__ = ("_accepted", "_difficulty", "_round", "best", "best_ever", "last_share", "place", "refused",
                 "round_difficulty", "total_accepted", "total_difficulty", "windows")

    def __init__(self, moment: Moment, number: int) -> None:
        self.windows = WorkWindows(moment)
        self.refused = 0
        self.total_accepted = 0                     # of before this run
        self.total_difficulty = 0.0
        self.best = self.best_ever = self.last_share = 0.0
        self.round_difficulty = 0.0
        self.place = NEVER                          # in the list that people see
        self._accepted = 0                          # of this run
        self._difficulty = 0.0
        self._round = number

    def settle(self, moment: Moment, number: int) -> None:
        """It is round `number`: let go of what is too old."""
        self.windows.turn_to(moment)
        if self.last_share > moment.at:             # the wall's clock was set back
            self.last_share = moment.at
        if number != self._round:
            self._round, self.round_difficulty, self.best = number, 0.0, 0.0

    def credit(self, shares: int, difficulty: float, best: float, at: float) -> None:
        """So many shares with this difficulty in all, the newest at `at`, the best of which met `best`; `settle` comes
        first.
        """
        self.windows.add(difficulty)
        self._accepted += shares
        self._difficulty += difficulty
        self.round_difficulty += difficulty
        self.reach(best)
        if at > self.last_share:
            self.last_share = at

    def reach(self, best: float) -> None:
        """A hash met this difficulty."""
        if best > self.best:
            self.best = best
            self.best_ever = max(best, self.best_ever)

    def take_past(self, accepted: int, difficulty: float, best_ever: float) -> None:
        """What the books have from before this run."""
        self.total_accepted, self.total_difficulty = accepted, difficulty
        self.best_ever = max(self.best_ever, best_ever)

    def take_round(self, difficulty: float, best: float) -> None:
        """What of that belongs to the round that goes on."""
        self.round_difficulty += difficulty
        self.best = max(self.best, best)

    @property
    def ever(self) -> Sums:
        """All that it has done, of all time."""
        return Sums(self.total_accepted + self._accepted, self.total_difficulty + self._difficulty, self.best_ever)

    @property
    def is_asleep(self) -> bool:
        """No work of seven days."""
        return not self.windows.longest

    def tally(self, moment: Moment) -> ShareTally:
        """As it was settled."""
        accepted, difficulty = self._accepted, self._difficulty
        return ShareTally(self.windows.rates(moment), accepted, self.refused, difficulty,
                          self.total_accepted + accepted, self.total_difficulty + difficulty, self.round_difficulty,
                          self.best, self.best_ever, self.last_share)


class UserAccount(ShareAccount):
    """A user, by the part of a worker's name before its first dot."""

    __slots__ = ("_sort_at", "name", "since", "stats", "workers")

    def __init__(self, name: str, moment: Moment, number: int) -> None:
        super().__init__(moment, number)
        self.name = name
        self.since = moment.at
        self.workers: list[WorkerAccount] = []
        self._sort_at = 0.0                         # Unix seconds
        self.stats: UserStats | None = None

    def publish(self, moment: Moment) -> UserStats:
        """Itself as it was settled, with its workers as they were published."""
        if len(self.workers) > 1 and moment.now >= self._sort_at:
            self._sort_at = moment.now + SORT_S
            self.workers.sort(key=by_work)
        workers = tuple([worker.stats for worker in self.workers if worker.stats is not None])
        self.stats = UserStats(self.name, self.tally(moment), workers, sum([each.machines for each in workers]),
                               self.since)
        return self.stats


class WorkerAccount(ShareAccount):
    """A worker by its whole name, whose user is `user`."""

    __slots__ = ("agent", "gone_at", "machines", "name", "protocol", "reasons", "since", "stats", "turn", "user")

    def __init__(self, name: str, user: UserAccount, moment: Moment, number: int) -> None:
        super().__init__(moment, number)
        self.name = name
        self.user = user
        self.machines = 0
        self.agent = self.protocol = ""
        self.since = self.gone_at = 0.0
        self.turn = NEVER                           # in which it was published
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
        """Itself as it was settled: the same object as before where nothing has changed."""
        reasons = tuple(sorted(self.reasons.items())) if self.reasons is not None else ()
        stats = WorkerStats(self.name, self.user.name, self.tally(moment), self.machines, self.is_idle(moment.at),
                            self.agent, self.protocol, self.since, self.gone_at, reasons)
        if self.stats is None or stats != self.stats:
            self.stats = stats
        return self.stats


def by_work(account: ShareAccount) -> float:
    """Sorts those with the most work of seven days first."""
    return -account.windows.longest
