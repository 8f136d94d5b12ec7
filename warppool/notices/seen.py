"""The view of notices, taken out of the snapshot of all numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from warppool.notices.kinds import Fact
from warppool.notices.view import (
    ACCEPTED,
    BEHIND,
    FOUND,
    LOST,
    ORPHANED,
    SETTLED,
    UP,
    SeenCertificate,
    SeenMachine,
    SeenNode,
    SeenOwnBlock,
    View,
)
from warppool.notices.watching import DAY_S
from warppool.stats.ratewords import human_rate
from warppool.stats.snapshot import StatsSnapshot, WorkerStats

BOOKS_REFUSE: Final = "the database refuses to commit; the journal of the daemon says why"

_STATES: Final = MappingProxyType({
    "found": FOUND, "accepted": ACCEPTED, "side": ORPHANED, "refused": ORPHANED, "settled": SETTLED})

_NODE_STATES: Final = MappingProxyType({"lost": LOST, "behind": BEHIND})
"""Of any other state there is nothing to tell."""


class Around(NamedTuple):
    """What is not in the snapshot: certificates that machines verify, and a version that is installed and does not run.
    """

    certificates: tuple[SeenCertificate, ...] = ()
    other_version: str = ""


class Machines:
    """The workers of a snapshot as machines; made one by one, and only for who goes through them."""

    def __init__(self, workers: Sequence[WorkerStats]) -> None:
        self._workers = workers

    def __iter__(self) -> Iterator[SeenMachine]:
        for worker in self._workers:
            seen_at = max(worker.gone_at, worker.tally.last_share)
            if worker.machines or seen_at:
                yield SeenMachine(worker.name, worker.machines > 0, seen_at, worker.agent)


def view_of(snapshot: StatsSnapshot, around: Around) -> View:
    """What notices look at of `snapshot`."""
    work, ledger = snapshot.work, snapshot.ledger
    return View(
        at=snapshot.at,
        has_work=None if not work.has_work and not work.height else work.has_work,
        nodes=tuple(SeenNode(node.name, _NODE_STATES.get(node.state, UP), node.reason) for node in snapshot.nodes),
        blocks=tuple(SeenOwnBlock(block.hash, block.height, block.worker, _STATES.get(block.state, FOUND))
                     for block in snapshot.blocks),
        machines=Machines(snapshot.workers),
        certificates=around.certificates,
        trouble=BOOKS_REFUSE if ledger.is_troubled else "",
        other_version=around.other_version)


class Day:
    """What a digest says: the numbers now, and how far the counters went since the digest before."""

    def __init__(self) -> None:
        self._before: tuple[float, int, int] | None = None      # start of the program, accepted and refused

    def begin(self, snapshot: StatsSnapshot) -> None:
        """Count from here, unless something was counted before."""
        if self._before is None:
            self._before = _counters(snapshot)

    def facts(self, snapshot: StatsSnapshot) -> tuple[tuple[str, Fact], ...]:
        """The digest; the next one counts from here."""
        now, before = _counters(snapshot), self._before
        self._before = now
        if before is None or before[0] != now[0]:
            before = (now[0], 0, 0)
        pool, since = snapshot.pool, snapshot.at - DAY_S
        accepted, refused = now[1] - before[1], now[2] - before[2]
        return (
            ("hash_rate", human_rate(pool.rates.d1)), ("hash_rate_of_7_days", human_rate(pool.rates.d7)),
            ("machines", snapshot.machines), ("users", len(snapshot.users)),
            ("accepted_shares", accepted), ("refused_shares", refused),
            ("refused_percent", round(100 * refused / max(1, accepted + refused), 2)),
            ("best_share", pool.best), ("best_share_ever", pool.best_ever),
            ("blocks", sum(block.time > since and _STATES.get(block.state) != ORPHANED for block in snapshot.blocks)),
            ("effort_of_the_round_percent", round(100 * snapshot.round.effort, 1)),
            ("height", snapshot.work.height),
        )


def _counters(snapshot: StatsSnapshot) -> tuple[float, int, int]:
    return snapshot.started, snapshot.pool.accepted, snapshot.pool.refused
