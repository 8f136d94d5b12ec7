"""Workers and users as people see them, in their order: those with the most work of seven days first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from warppool.stats.accounts import NEVER, UserAccount, WorkerAccount
from warppool.stats.snapshot import UserStats, WorkerStats
from warppool.stats.windows import Moment

A = TypeVar("A", UserAccount, WorkerAccount)
S = TypeVar("S", UserStats, WorkerStats)


class ByName(Mapping[str, S]):
    """Those of a snapshot by their names: nobody makes the index before somebody asks."""

    def __init__(self, stats: tuple[S, ...]) -> None:
        self._stats: tuple[S, ...] = stats
        self._index: dict[str, S] | None = None

    def __getitem__(self, name: str) -> S:
        index = self._index
        if index is None:                           # two threads may both make it, which harms nobody
            index = self._index = {stats.name: stats for stats in self._stats}
        return index[name]

    def __iter__(self) -> Iterator[str]:
        return (stats.name for stats in self._stats)

    def __len__(self) -> int:
        return len(self._stats)


class Ranking(Generic[A, S]):
    """All that were published of one kind. What was handed out is never changed.

    One that is new stands last until the next `sort`.
    """

    def __init__(self) -> None:
        self._accounts: list[A] = []
        self._stats: list[S] = []                   # of the account at the same place
        self._out: tuple[tuple[S, ...], ByName[S]] | None = None

    def put(self, account: A, stats: S) -> None:
        """It was published, perhaps for the first time."""
        self._out = None
        if account.place == NEVER:
            account.place = len(self._stats)
            self._accounts.append(account)
            self._stats.append(stats)
        else:
            self._stats[account.place] = stats

    def drop(self, account: A) -> None:
        """It is forgotten; the last one has its place until the next `sort`."""
        if account.place == NEVER:
            return
        self._out = None
        last, stats = self._accounts.pop(), self._stats.pop()
        if last is not account:
            last.place = account.place
            self._accounts[last.place], self._stats[last.place] = last, stats
        account.place = NEVER

    def sort(self) -> None:
        """Bring them in order."""
        self._out = None
        accounts, stats = self._accounts, self._stats
        work = [each.tally.rates.d7 for each in stats]
        order = sorted(range(len(work)), key=work.__getitem__, reverse=True)
        self._accounts, self._stats = [accounts[place] for place in order], [stats[place] for place in order]
        for place, account in enumerate(self._accounts):
            account.place = place

    def out(self) -> tuple[tuple[S, ...], ByName[S]]:
        """All, and all by their names: frozen."""
        if self._out is None:
            stats = tuple(self._stats)
            self._out = stats, ByName(stats)
        return self._out


class Lists:
    """Both of them, and how many workers are idle or gone."""

    def __init__(self) -> None:
        self.idle = 0                               # workers that are connected and idle
        self.gone = 0                               # ... that have no machine here
        self.workers: Ranking[WorkerAccount, WorkerStats] = Ranking()
        self.users: Ranking[UserAccount, UserStats] = Ranking()

    def publish(self, worker: WorkerAccount, moment: Moment) -> bool:
        """Show a worker as it was settled; whether anything of it is new."""
        before = worker.stats
        now = worker.publish(moment)
        if now is before:
            return False
        if before is not None:
            self._uncount(before)
        self.idle += now.is_idle
        self.gone += not now.machines
        self.workers.put(worker, now)
        return True

    def drop(self, worker: WorkerAccount) -> None:
        """It is forgotten."""
        if worker.stats is not None:
            self._uncount(worker.stats)
        self.workers.drop(worker)

    def out(self) -> tuple[tuple[WorkerStats, ...], tuple[UserStats, ...], Mapping[str, WorkerStats],
                           Mapping[str, UserStats]]:
        """Workers, users, and both by their names: frozen."""
        workers, workers_by_name = self.workers.out()
        users, users_by_name = self.users.out()
        return workers, users, workers_by_name, users_by_name

    def _uncount(self, stats: WorkerStats) -> None:
        self.idle -= stats.is_idle
        self.gone -= not stats.machines

