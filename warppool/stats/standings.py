"""All workers and users, and what happens to them: shares, refusals, machines that come and go. Owned by one thread.

Only those with news are worked out anew at a turn. Of the others a part has its turn each second, so that a rate falls
within SWEEP_TURNS seconds of a machine's silence, and who is gone for seven days is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from warppool.events import ShareAccepted
from warppool.mining.identity import user_of
from warppool.stats.accounts import ShareAccount, UserAccount, WorkerAccount
from warppool.stats.items import MachineCame, MachineGone, RefusedShares
from warppool.stats.past import NOTHING, PastShares, Sums, by_user, total
from warppool.stats.snapshot import UserStats, WorkerStats
from warppool.stats.windows import Moment, WorkWindows, places_of

MAX_WORKERS: Final = 100_000
"""Workers that are told apart, since whoever makes names up shall not fill the memory. Shares of others count for the
pool."""

SWEEP_TURNS: Final = 30
"""In so many turns each account is looked at once, news or not."""

SORT_TURNS: Final = 10
"""Between two looks at who has done more than whom."""


T = TypeVar("T", WorkerStats, UserStats)


class Standings:
    """`moment` is the first; `turn` brings later ones, and what came in between counts as of then."""

    def __init__(self, moment: Moment) -> None:
        self.pool = ShareAccount(moment, 0)
        self.round = 0
        self.refused: Counter[str] = Counter()
        self.protocols: Counter[str] = Counter()
        self._moment = moment
        self._workers: dict[str, WorkerAccount] = {}
        self._users: dict[str, UserAccount] = {}
        self._machines: dict[int, dict[int, tuple[WorkerAccount | None, str]]] = {}  # by connection and channel
        self._news: set[WorkerAccount] = set()
        self._order: list[WorkerAccount] = []       # as the snapshot has them; those that are new come last
        self._swept = 0                             # how far the sweep is in it
        self._turns = 0
        self._ever: dict[str, Sums] = {}            # of those that are not here
        self._ever_by_user: dict[str, Sums] = {}
        self._shares = WorkWindows(moment)          # counts them, of the pool
        self.lists = Lists()

    def take_past(self, past: PastShares) -> None:
        """What the books have from before this run; before anything happens. Who has done something within seven days
        is here from now on, and what others have is remembered for when they come.
        """
        self._ever = dict(past.ever)
        self._ever_by_user = by_user(past.ever)
        self.pool.take_past(*total(past.ever.values()))
        done = total(past.round.values())
        self.pool.take_round(done.difficulty, done.best)
        for piece in past.pieces:
            places = places_of(piece.start, piece.end, self._moment)
            for name, sums in piece.workers.items():
                self._fill(name, places, sums)
        for name, sums in past.round.items():
            worker = self._workers.get(name)
            if worker is not None:
                for account in (worker, worker.user):
                    account.take_round(sums.difficulty, sums.best)

    def _fill(self, name: str, places: list[tuple[int, int, float]], sums: Sums) -> None:
        self.pool.windows.fill(places, sums.difficulty)
        self._shares.fill(places, float(sums.accepted))
        worker = self._worker(name)
        if worker is not None:
            worker.windows.fill(places, sums.difficulty)
            worker.user.windows.fill(places, sums.difficulty)
            self._news.add(worker)

    # --- what happens -------------------------------------------------------------------------------------------------

    def take_shares(self, shares: Iterable[ShareAccepted]) -> None:
        """Shares that are in the books."""
        workers, news, pool = self._workers, self._news, self.pool
        for share in shares:
            worker = workers.get(share.user) or self._worker(share.user)
            if worker is None:
                pool.pending += share.difficulty
                pool.pending_shares += 1
                pool.lowest = min(pool.lowest, int.from_bytes(share.share_hash, "little"))
                continue
            worker.pending += share.difficulty
            worker.pending_shares += 1
            value = int.from_bytes(share.share_hash, "little")
            if value < worker.lowest:
                worker.lowest = value
            worker.last_share = share.time
            news.add(worker)

    def take_refused(self, item: RefusedShares) -> None:
        """Shares that were refused; who never had one accepted, and has no machine here, is not told apart."""
        for name, reason, _, count in item.counts:
            self.refused[reason] += count
            self.pool.refused += count
            worker = self._workers.get(name)
            if worker is not None:
                worker.refuse(reason, count)
                worker.user.refused += count
                self._news.add(worker)

    def come(self, item: MachineCame) -> None:
        """A machine has work; it may have had some before under this number."""
        self.go(MachineGone(item.conn_id, item.channel_id, item.at))
        worker = self._worker(item.name)
        self._machines.setdefault(item.conn_id, {})[item.channel_id] = worker, item.protocol
        self.protocols[item.protocol] += 1
        if worker is not None:
            if not worker.machines:
                worker.since = item.at
            worker.machines += 1
            worker.agent, worker.protocol = item.agent, item.protocol
            self._news.add(worker)

    def go(self, item: MachineGone) -> None:
        """It is gone, or all of its connection are."""
        channels = self._machines.get(item.conn_id)
        if channels is None:
            return
        going = list(channels.values()) if item.channel_id is None else (
            [channels.pop(item.channel_id)] if item.channel_id in channels else [])
        if item.channel_id is None or not channels:
            del self._machines[item.conn_id]
        for worker, protocol in going:
            self.protocols[protocol] -= 1
            if worker is not None:
                worker.machines -= 1
                if not worker.machines:
                    worker.gone_at = item.at
                self._news.add(worker)

    def begin_round(self) -> None:
        """An own block was found: what came before it is of the round before."""
        self.settle()
        self.round += 1

    @property
    def shares_per_second(self) -> tuple[float, float, float, float]:
        """Accepted shares a second, over 1m, 5m, 15m and 1h."""
        a, b, c, d = (count / span for count, span in zip(self._shares.sums[:4], self._moment.spans[:4], strict=True))
        return a, b, c, d

    @property
    def machines(self) -> int:
        """How many have work now."""
        return self.protocols.total()

    # --- what comes of it ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Count all that is pending."""
        moment, pool, number = self._moment, self.pool, self.round
        for worker in self._news:
            if worker.pending_shares:
                for above in (worker.user, pool):
                    above.pending += worker.pending
                    above.pending_shares += worker.pending_shares
                    above.lowest = min(above.lowest, worker.lowest)
                    above.last_share = max(above.last_share, worker.last_share)
            worker.settle(moment, number)
        self._shares.turn_to(moment)
        self._shares.add(float(pool.pending_shares))
        pool.settle(moment, number)

    def turn(self, moment: Moment) -> Lists:
        """A second or so has passed: all that people see."""
        self._moment = moment
        self.settle()
        self._turns += 1
        if self._turns % SORT_TURNS == 1:
            self._sort()
        news, self._news = self._news, set()
        self._sweep(news)
        users = {worker.user: None for worker in news}
        for worker in news:
            worker.settle(moment, self.round)
            self.lists.put_worker(worker.publish(moment))
        for user in users:
            user.settle(moment, self.round)
            self.lists.put_user(user.publish(moment))
        return self.lists

    def _sweep(self, news: set[WorkerAccount]) -> None:
        """Those whose turn it is besides."""
        end = self._swept + len(self._order) // SWEEP_TURNS + 1
        for worker in self._order[self._swept:end]:
            if not worker.is_asleep or worker.stats is None or worker.stats.is_idle != worker.is_idle(self._moment.at):
                news.add(worker)
        self._swept = 0 if end >= len(self._order) else end

    def _sort(self) -> None:
        """Who has done the most within seven days comes first; who is asleep and gone is forgotten."""
        for name in [name for name, worker in self._workers.items() if worker.is_asleep and not worker.machines]:
            self._forget(self._workers.pop(name))
        self._order = sorted(self._workers.values(), key=_work)
        for user in self._users.values():
            user.workers.sort(key=_work)
        self._swept = min(self._swept, len(self._order))
        users = sorted(self._users.values(), key=_work)
        self.lists.order([worker.stats for worker in self._order if worker.stats is not None],
                         [user.stats for user in users if user.stats is not None])

    def _worker(self, name: str) -> WorkerAccount | None:
        """The worker of that name, made now where there is none; None where there are too many."""
        found = self._workers.get(name)
        if found is not None or len(self._workers) >= MAX_WORKERS:
            return found
        user = self._users.get(user_of(name))
        if user is None:
            user = self._users[user_of(name)] = UserAccount(user_of(name), self._moment, self.round)
            user.take_past(*self._ever_by_user.pop(user.name, NOTHING))
        worker = self._workers[name] = WorkerAccount(name, user, self._moment, self.round)
        worker.take_past(*self._ever.pop(name, NOTHING))
        user.workers.append(worker)
        self._order.append(worker)
        return worker

    def _forget(self, worker: WorkerAccount) -> None:
        user = worker.user
        user.workers.remove(worker)
        self._news.discard(worker)
        self._remember(self._ever, worker.name, worker)
        if not user.workers:
            del self._users[user.name]
            self._remember(self._ever_by_user, user.name, user)

    def _remember(self, ever: dict[str, Sums], name: str, account: ShareAccount) -> None:
        """Who has been forgotten goes on where it was, should it come back."""
        sums = account.ever
        if sums.accepted and len(ever) < MAX_WORKERS:
            ever[name] = sums


def _work(account: ShareAccount) -> float:
    return -account.windows.sums[-1]


class Lists:
    """Workers and users as people see them, in their order. What was handed out is never changed."""

    def __init__(self) -> None:
        self.idle = 0                               # workers that are connected and idle
        self.gone = 0                               # ... that have no machine here
        self._workers: list[WorkerStats] = []
        self._users: list[UserStats] = []
        self._worker_places: dict[str, int] = {}
        self._user_places: dict[str, int] = {}
        self._workers_by_name: dict[str, WorkerStats] = {}
        self._users_by_name: dict[str, UserStats] = {}
        self._out: tuple[tuple[WorkerStats, ...], tuple[UserStats, ...], Mapping[str, WorkerStats],
                         Mapping[str, UserStats]] | None = None

    def put_worker(self, stats: WorkerStats) -> None:
        """A worker as it is now."""
        self._out = None
        before = self._workers_by_name.get(stats.name)
        if before is not None:
            self.idle -= before.is_idle
            self.gone -= not before.machines
        self.idle += stats.is_idle
        self.gone += not stats.machines
        _put(stats, self._workers, self._worker_places, self._workers_by_name)

    def put_user(self, stats: UserStats) -> None:
        """A user as it is now."""
        self._out = None
        _put(stats, self._users, self._user_places, self._users_by_name)

    def order(self, workers: list[WorkerStats], users: list[UserStats]) -> None:
        """From now on these, in this order."""
        self._out = None
        self._workers, self._users = workers, users
        self.idle = sum([stats.is_idle for stats in workers])
        self.gone = sum([not stats.machines for stats in workers])
        self._workers_by_name = {stats.name: stats for stats in workers}
        self._users_by_name = {stats.name: stats for stats in users}
        self._worker_places = {name: place for place, name in enumerate(self._workers_by_name)}
        self._user_places = {name: place for place, name in enumerate(self._users_by_name)}

    def out(self) -> tuple[tuple[WorkerStats, ...], tuple[UserStats, ...], Mapping[str, WorkerStats],
                           Mapping[str, UserStats]]:
        """Workers, users, and both by their names: frozen."""
        if self._out is None:
            self._out = (tuple(self._workers), tuple(self._users), MappingProxyType(self._workers_by_name.copy()),
                         MappingProxyType(self._users_by_name.copy()))
        return self._out


def _put(stats: T, items: list[T], places: dict[str, int], by_name: dict[str, T]) -> None:
    by_name[stats.name] = stats
    place = places.get(stats.name)
    if place is None:
        places[stats.name] = len(items)
        items.append(stats)
    else:
        items[place] = stats
