"""What the thread `stats` looks at in a pool each second, by plain values of other threads: work, nodes, books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from warppool.config.options import PoolConfig
from warppool.ledger.items import LedgerReport
from warppool.mining.job import Job
from warppool.service.numbers import Looked
from warppool.stats.snapshot import Histogram, LedgerStats, NodeStats, PayoutStats, WorkStats
from warppool.stats.workstats import work_of

NO_WORK: Final = WorkStats()


class NewestJob(Protocol):
    """The newest job."""

    latest: Job | None


class Maker(Protocol):
    """The job maker, as any thread may read it."""

    answered_at: float | None
    lagging: tuple[str, ...]
    is_out_of_work: bool

    @property
    def work_max_age_s(self) -> float: ...


class NodeThread(Protocol):
    """What makes templates."""

    @property
    def name(self) -> str: ...
    @property
    def trouble(self) -> str: ...
    @property
    def requests(self) -> Histogram: ...


class AllNodes(Protocol):
    """Those that are in the file."""

    @property
    def sources(self) -> Sequence[NodeThread]: ...


class LedgerReporter(Protocol):
    """The ledger's thread."""

    def report(self) -> LedgerReport: ...


class Payees(Protocol):
    """Who is paid, where that is followed."""

    @property
    def stats(self) -> PayoutStats | None: ...


class PoolSources:
    """Owned by the thread `stats`."""

    program: Final = "warppool"

    def __init__(self, pool: PoolConfig, work: NewestJob, maker: Maker, nodes: AllNodes, ledger: LedgerReporter,
                 payees: Payees, drops: Mapping[str, int] | None = None) -> None:
        self.network = pool.network
        self._names = {pool.payout_script: pool.payout_address, pool.fallback_script: pool.fallback_address}
        self._names.pop(b"", None)
        self._work = work
        self._maker = maker
        self._nodes = nodes
        self._ledger = ledger
        self._payees = payees
        self._drops = {} if drops is None else drops    # of the reactor
        self._job: Job | None = None                    # of which `_shown` is
        self._shown = NO_WORK
        self._tip_at = 0.0                              # monotonic
        self._since: dict[str, tuple[str, float]] = {}  # by node: its state, and since when (Unix)

    def look(self, now: float, unix: float) -> Looked:
        """What is there now, by the monotonic clock and by the wall's."""
        report = self._ledger.report()
        return Looked(self._look_at_work(now), self._look_at_nodes(unix), LedgerStats(
            is_troubled=report.is_troubled, waiting_shares=report.waiting_shares, rows=report.rows,
            commits=report.commits), self._payees.stats, dict(self._drops))

    def _look_at_work(self, now: float) -> WorkStats:
        job, maker = self._work.latest, self._maker
        if job is None:
            return NO_WORK
        if job is not self._job:
            if self._job is None or self._job.tip != job.tip:
                self._tip_at = now
            self._job, self._shown = job, work_of(job, self._names, self.network)
        answered_at = maker.answered_at
        has_work = not maker.is_out_of_work
        age = None if answered_at is None or not has_work else max(0.0, now - min(answered_at, now))
        return replace(self._shown, has_work=has_work, template_age_s=age, tip_age_s=now - self._tip_at,
                       stale_after_s=maker.work_max_age_s)

    def _look_at_nodes(self, unix: float) -> tuple[NodeStats, ...]:
        lagging, since = self._maker.lagging, {}
        found = []
        for source in self._nodes.sources:
            name, trouble = source.name, source.trouble
            state = "lost" if trouble else "behind" if name in lagging else "up"
            known = self._since.get(name)
            since[name] = known if known is not None and known[0] == state else (state, unix)
            found.append(NodeStats(name, state, trouble, self._shown.node == name, since[name][1],
                                   source.requests))
        self._since = since
        return tuple(found)
