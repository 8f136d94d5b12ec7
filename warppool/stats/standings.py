"""All workers and users, and what happens to them: shares, refusals, machines that come and go. Owned by one thread.

Only those with news are worked out anew at a turn, and who has had none for SWEEP_TURNS, so that a rate falls soon
after a machine's silence, and who is gone for seven days is forgotten. A turn takes so many of them at most that it
stays cheap, whatever strangers do; the others come in the next turns. The pool itself is exact at each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice, takewhile
from typing import Final

from warppool.events import ShareAccepted
from warppool.mining.identity import user_of
from warppool.stats.accounts import ShareAccount, UserAccount, WorkerAccount
from warppool.stats.heard import HeardShares, met
from warppool.stats.items import MachineCame, MachineGone, RefusedShares
from warppool.stats.lists import Lists
from warppool.stats.past import NOTHING, PastShares, Piece, Sums, by_user, total
from warppool.stats.traffic import CHANNEL_TYPES, Traffic
from warppool.stats.windows import Moment, WorkWindows, spread_of

MAX_WORKERS: Final = 100_000
"""Workers that are told apart, since whoever makes names up shall not fill the memory. Shares of others count for the
pool."""

MOST_A_TURN: Final = 400
"""Workers that are worked out anew in a turn; that costs some 20 us each, with its user."""

SWEEP_TURNS: Final = 90
"""After so many turns a worker is worked out anew, news or not; sooner where there are few."""

ALONG_TURNS: Final = 45
"""After so many turns it goes along where another worker of its user has its turn, who is made anew then anyway ..."""

ALONG_WORKERS: Final = 8
"""... if that user has so few."""

SORT_TURNS: Final = 60
"""Between two looks at who has done more than whom; fewer where there are few workers."""


class Standings:
    """`moment` is the first; `turn` brings later ones, and what came in between counts as of then."""

    def __init__(self, moment: Moment) -> None:
        self.pool = ShareAccount(moment, 0)
        self.round = 0
        self.refused: Counter[str] = Counter()
        self.protocols: Counter[str] = Counter()
        self.traffic = Traffic()
        self.lists = Lists()
        self._moment = moment
        self._turns = 0
        self._workers: dict[str, WorkerAccount] = {}
        self._users: dict[str, UserAccount] = {}
        self._machines: dict[int, dict[int, tuple[WorkerAccount | None, str, str]]] = {}     # by connection and channel
        self._heard = HeardShares()
        self._shares = WorkWindows(moment)          # counts them, of the pool
        self._news: dict[WorkerAccount, None] = {}         # beside shares; in the order in which they wait
        self._published: dict[WorkerAccount, None] = {}     # who was published longest ago comes first
        self._ever: dict[str, Sums] = {}            # of those that are not here
        self._ever_by_user: dict[str, Sums] = {}

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
            self._fill(piece)
        for name, sums in past.round.items():
            worker = self._workers.get(name)
            if worker is not None:
                for account in (worker, worker.user):
                    account.take_round(sums.difficulty, sums.best)

    def _fill(self, piece: Piece) -> None:
        spread = spread_of(piece.start, piece.end, self._moment)
        of_all = total(piece.workers.values())
        self.pool.windows.fill(spread, of_all.difficulty)
        self._shares.fill(spread, float(of_all.accepted))
        found: dict[str, Sums] = {}
        for name, sums in piece.workers.items():
            worker = self._worker(name)
            if worker is not None:
                found[name] = sums
                worker.windows.fill(spread, sums.difficulty)
                self._news[worker] = None
        for name, sums in by_user(found).items():
            self._users[name].windows.fill(spread, sums.difficulty)

    # --- what happens -------------------------------------------------------------------------------------------------

    def take_shares(self, shares: Sequence[ShareAccepted]) -> None:
        """Shares that are in the books."""
        self._heard.take(shares, self._workers, self._worker)

    def take_refused(self, item: RefusedShares) -> None:
        """Shares that were refused; who never had one accepted, and has no machine here, is not told apart."""
        for name, reason, _, count in item.counts:
            self.refused[reason] += count
            self.pool.refused += count
            worker = self._workers.get(name)
            self.traffic.refuse("" if worker is None else worker.protocol, reason, count)
            if worker is not None:
                worker.refuse(reason, count)
                worker.user.refused += count
                self._news[worker] = None

    def come(self, item: MachineCame) -> None:
        """A machine has work; it may have had some before under this number."""
        self.go(MachineGone(item.conn_id, item.channel_id, item.at))
        worker = self._worker(item.name, MAX_WORKERS // 2)      # the rest is for those who have shares
        self._machines.setdefault(item.conn_id, {})[item.channel_id] = worker, item.protocol, item.type
        self.protocols[item.protocol] += 1
        if item.type in CHANNEL_TYPES:
            self.traffic.channels[item.type] += 1
        if worker is not None:
            if not worker.machines:
                worker.since = item.at
            worker.machines += 1
            worker.agent, worker.protocol = item.agent, item.protocol
            self._news[worker] = None

    def go(self, item: MachineGone) -> None:
        """It is gone, or all of its connection are."""
        channels = self._machines.get(item.conn_id)
        if channels is None:
            return
        going = list(channels.values()) if item.channel_id is None else (
            [channels.pop(item.channel_id)] if item.channel_id in channels else [])
        if item.channel_id is None or not channels:
            del self._machines[item.conn_id]
        for worker, protocol, kind in going:
            self.protocols[protocol] -= 1
            if kind in CHANNEL_TYPES:
                self.traffic.channels[kind] -= 1
            if worker is not None:
                worker.machines -= 1
                if not worker.machines:
                    worker.gone_at = item.at
                self._news[worker] = None

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
        """Count all shares that were heard of."""
        self._settle_pool()
        for name in list(self._heard.by_name):
            self._news[self._credit(name)] = None

    def turn(self, moment: Moment) -> Lists:
        """A second or so has passed: all that people see."""
        self._moment = moment
        self._turns += 1
        self._settle_pool()
        self._fall_due()
        users: dict[UserAccount, None] = {}
        for worker in self._next(MOST_A_TURN if self._turns > 1 else 2 * MAX_WORKERS):
            if self._publish(worker):
                users[worker.user] = None
        for user in users:
            if 1 < len(user.workers) <= ALONG_WORKERS:
                for worker in user.workers:
                    if self._turns - worker.turn >= ALONG_TURNS:
                        worker.settle(moment, self.round)
                        if not worker.is_asleep:
                            self._publish(worker)
            user.settle(moment, self.round)
            self.lists.users.put(user, user.publish(moment))
        self._sort()
        return self.lists

    def _publish(self, worker: WorkerAccount) -> bool:
        """Show a worker, which is settled; whether anything of it is new."""
        worker.turn = self._turns
        self._published.pop(worker, None)
        self._published[worker] = None
        return self.lists.publish(worker, self._moment)

    def _settle_pool(self) -> None:
        pool, moment, heard = self.pool, self._moment, self._heard
        pool.settle(moment, self.round)
        self._shares.turn_to(moment)
        if heard.shares:
            for protocol, (shares, difficulty) in heard.by_protocol.items():
                self.traffic.accept(protocol, shares, difficulty)
            pool.credit(heard.shares, heard.difficulty, heard.best, heard.at)
            self._shares.add(float(heard.shares))
            heard.begin_anew()

    def _credit(self, name: str) -> WorkerAccount:
        """Count what was heard of a worker."""
        shares, difficulty, lowest, at = self._heard.pop(name)
        worker, best = self._workers[name], met(lowest)
        for account in (worker, worker.user):
            account.settle(self._moment, self.round)
            account.credit(shares, difficulty, best, at)
        self.pool.reach(best)
        return worker

    def _next(self, most: int) -> dict[WorkerAccount, None]:
        """Those whose turn it is, settled. Neither who has shares nor who comes and goes keeps the others waiting for
        ever.
        """
        heard, news = self._heard.by_name, self._news
        with_shares = max(most // 2, most - len(news))
        found = {self._credit(name): None for name in list(islice(heard, with_shares))}
        for worker in list(islice(news, most - len(found))):
            del news[worker]
            worker.settle(self._moment, self.round)
            found[worker] = None
        return found

    def _fall_due(self) -> None:
        """Who was published long ago and not since then has its turn, behind those who wait, or is forgotten."""
        last = self._turns - min(SWEEP_TURNS, 1 + len(self._workers) // 2)
        due = list(islice(takewhile(lambda worker: worker.turn <= last, self._published), MOST_A_TURN))
        forgotten: dict[WorkerAccount, None] = {}
        for worker in due:
            del self._published[worker]
            worker.settle(self._moment, self.round)
            if worker.machines or not worker.is_asleep or worker.name in self._heard.by_name:
                self._news[worker] = None
            else:
                forgotten[worker] = None
        if forgotten:
            self._forget(forgotten)

    def _sort(self) -> None:
        """Who has done the most within seven days comes first."""
        step = self._turns % min(SORT_TURNS, 10 + len(self._workers) // 100)
        if step == 1:
            self.lists.workers.sort()
        if step == 2 or self._turns == 1:
            self.lists.users.sort()

    def _worker(self, name: str, most: int | None = None) -> WorkerAccount | None:
        """The worker of that name, made now where there is none; None where there are so many."""
        found = self._workers.get(name)
        if found is not None or len(self._workers) >= (MAX_WORKERS if most is None else most):
            return found
        user = self._users.get(user_of(name))
        if user is None:
            user = self._users[user_of(name)] = UserAccount(user_of(name), self._moment, self.round)
            user.take_past(*self._ever_by_user.pop(user.name, NOTHING))
        worker = self._workers[name] = WorkerAccount(name, user, self._moment, self.round)
        worker.take_past(*self._ever.pop(name, NOTHING))
        user.workers.append(worker)
        return worker

    def _forget(self, workers: dict[WorkerAccount, None]) -> None:
        for worker in workers:
            del self._workers[worker.name]
            self._news.pop(worker, None)
            self.lists.drop(worker)
            self._remember(self._ever, worker.name, worker)
        for user in {worker.user: None for worker in workers}:
            user.workers = [each for each in user.workers if each not in workers]
            if not user.workers:
                del self._users[user.name]
                self.lists.users.drop(user)
                self._remember(self._ever_by_user, user.name, user)

    def _remember(self, ever: dict[str, Sums], name: str, account: ShareAccount) -> None:
        """Who has been forgotten goes on where it was, should it come back."""
        sums = account.ever
        if sums.accepted and len(ever) < MAX_WORKERS:
            ever[name] = sums


