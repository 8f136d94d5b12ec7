"""Workers and users as people see them, in their order: those with the most work of seven days first."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from warppool.stats.accounts import NEVER, UserAccount, WorkerAccount, by_work
from warppool.stats.snapshot import UserStats, WorkerStats
from warppool.stats.windows import Moment

A = TypeVar("A", UserAccount, WorkerAccount)


class Ranking(Generic[A]):
    """All that were published of one kind. What was handed out is never changed.

    One that is new stands last until the next `sort`.
    """

    def __init__(self) -> None:
        self._accounts: list[A] = []
        self._stats: list[Any] = []                 # of the account at the same place
        self._by_name: dict[str, Any] = {}
        self._out: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None

    def put(self, account: A) -> None:
        """It was published, perhaps for the first time."""
        self._out = None
        stats = account.stats
        self._by_name[account.name] = stats
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
        del self._by_name[account.name]
        last, stats = self._accounts.pop(), self._stats.pop()
        if last is not account:
            last.place = account.place
            self._accounts[last.place], self._stats[last.place] = last, stats
        account.place = NEVER

    def sort(self) -> None:
        """Bring them in order."""
        self._out = None
        self._accounts.sort(key=by_work)
        for place, account in enumerate(self._accounts):
            account.place = place
        self._stats = [account.stats for account in self._accounts]

    def out(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """All, and all by their names: frozen."""
        if self._out is None:
            self._out = tuple(self._stats), MappingProxyType(self._by_name.copy())
        return self._out


class Lists:
    """Both of them, and how many workers are idle or gone."""

    def __init__(self) -> None:
        self.idle = 0                               # workers that are connected and idle
        self.gone = 0                               # ... that have no machine here
        self.workers: Ranking[WorkerAccount] = Ranking()
        self.users: Ranking[UserAccount] = Ranking()

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
        self.workers.put(worker)
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

