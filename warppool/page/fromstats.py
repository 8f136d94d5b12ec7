"""From the snapshot to what the pages show.

`shown` shortens the names of lists, or leaves them whole; `is_linked` says whether a row of a list may lead to the page
of its machine, whose address tells the whole name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from warppool.page import words
from warppool.page.about import About
from warppool.page.markup import path
from warppool.page.poolstate import machine_state, pool_state, user_state
from warppool.page.view import (
    SHOWN_WORKERS,
    FoundBlockRow,
    JobView,
    ListView,
    MinerRow,
    MinerView,
    NodeRow,
    PageLink,
    PaidOutput,
    Point,
    PoolView,
    RefusedByReason,
    ShareSums,
    Site,
)
from warppool.page.wording import Wording
from warppool.stats.snapshot import (
    BlockStats,
    Histogram,
    NodeStats,
    PayoutStats,
    ShareTally,
    StatsSnapshot,
    UserStats,
    WorkerStats,
    WorkStats,
)

SHOWN_MACHINES: Final = 20
SHOWN_BLOCKS: Final = 10
"""Rows of the lists, so that a page stays small however large the pool is."""

CONFIRMATIONS: Final = 100
"""A coinbase can be spent after so many; then its block is settled."""

PROTOCOLS: Final = {"v1": "V1", "v1-tls": "V1 over TLS", "v2": "V2", "v2-spec": "V2 (published)"}

REASONS: Final = {
    "stale-share": "Too late: the network had a new block",
    "invalid-job-id": "Too late: the job is over",
    "duplicate-share": "Sent twice",
    "difficulty-too-low": "Below the difficulty asked for",
    "invalid-share": "Time out of range",
    "invalid-non-rollable-version-bit": "Version bits that may not be changed",
    "version-rolling-not-allowed": "Version bits without leave to change them",
    "bad-extranonce-size": "Extranonce of a wrong size",
    "malformed-submit": "Malformed",
    "unknown-user": "From a name that is not known",
    "invalid-channel-id": "On a channel that is not open",
    "not-recorded": "Not recorded: the books could not be written",
}
"""Reasons to refuse a share, in words for those who have never seen one."""

_NODE_STATES: Final = {"up": ("answers", "good"), "behind": ("behind", "warn"), "lost": ("does not answer", "bad"),
                       "untried": ("not needed yet", "")}


@dataclass(frozen=True, slots=True)
class Names:
    """How lists name machines."""

    shown: Callable[[str], str] = str
    is_linked: bool = True

    def link(self, worker: WorkerStats) -> PageLink:
        """The worker in a list. Who has no user in his name has no page."""
        is_linked = self.is_linked and bool(worker.user)
        return PageLink(self.shown(worker.name), path("user", worker.user, worker.name) if is_linked else "")


WHOLE: Final = Names()
"""Names as they are, each leading to its page."""

_OF_ONE_USER: Final = Names(lambda name: name.partition(".")[2] or name)
"""Under the user's name: what is behind it."""


def pool_view(stats: StatsSnapshot, about: About, names: Names, history: tuple[Point, ...] | None = None) -> PoolView:
    """What the first page shows."""
    return PoolView(
        site=site_of(stats, about), state=pool_state(stats, about.wording), rates=stats.pool.rates,
        machines=tuple((PROTOCOLS.get(each, each), count) for each, count in stats.connections),
        users=len(stats.users), idle=stats.idle, best_now=stats.pool.best, best_ever=stats.pool.best_ever,
        effort=stats.round.effort, work=_work(stats.pool, stats.refused), job=_job(stats.work, names),
        blocks_found=stats.blocks_found, history=history,
        miners=_rows(stats.workers[:SHOWN_MACHINES], names), workers=len(stats.workers), is_short=not names.is_linked,
        blocks=tuple(_block(each, names, about.wording) for each in stats.blocks[:SHOWN_BLOCKS]),
        all_blocks=len(stats.blocks),
        nodes=tuple(map(_node, stats.nodes)), timings=_timings(stats), connect=about.connect,
        window=_window(stats.payout))


def machines_view(stats: StatsSnapshot, about: About, names: Names, first: int) -> ListView:
    """A page of the list of all machines."""
    return ListView(site_of(stats, about), first, len(stats.workers), is_short=not names.is_linked,
                    miners=_rows(stats.workers[first:first + SHOWN_WORKERS], names))


def blocks_view(stats: StatsSnapshot, about: About, names: Names, first: int) -> ListView:
    """A page of the list of the newest blocks."""
    blocks = stats.blocks[first:first + SHOWN_WORKERS]
    return ListView(site_of(stats, about), first, len(stats.blocks), is_short=not names.is_linked,
                    blocks=tuple(_block(each, names, about.wording) for each in blocks))


def user_view(stats: StatsSnapshot, about: About, user: UserStats, history: tuple[Point, ...] | None = None,
              first: int = 0) -> MinerView:
    """What the page of a user shows, who was asked for by the whole name; `first` of its machines come before."""
    tally = user.tally
    refused: dict[str, int] = {}
    for worker in user.workers:
        for reason, count in worker.refused:
            refused[reason] = refused.get(reason, 0) + count
    return MinerView(
        site=site_of(stats, about), name=user.name, is_worker=False, state=user_state(user, stats.at),
        rates=tally.rates, best_now=tally.best, best_ever=tally.best_ever, work=_work(tally, refused.items()),
        network_difficulty=stats.work.network_difficulty, last_share=tally.last_share or None,
        history=history, miners=_rows(user.workers[first:first + SHOWN_WORKERS], _OF_ONE_USER),
        workers=len(user.workers), first=first, facts=_of_all_time(tally), payout=_payout_of(stats, user.name))


def worker_view(stats: StatsSnapshot, about: About, worker: WorkerStats, history: tuple[Point, ...] | None = None
                ) -> MinerView:
    """What the page of a worker shows, which was asked for by the whole name."""
    tally = worker.tally
    facts = [("Program", worker.agent), ("Protocol", PROTOCOLS.get(worker.protocol, worker.protocol))]
    return MinerView(
        site=site_of(stats, about), name=worker.name, is_worker=True, state=machine_state(worker, stats.at),
        rates=tally.rates, best_now=tally.best, best_ever=tally.best_ever, work=_work(tally, worker.refused),
        network_difficulty=stats.work.network_difficulty, last_share=tally.last_share or None,
        since=worker.since if worker.machines else None,
        user=PageLink(worker.user, path("user", worker.user)) if worker.user else None,
        history=history, facts=tuple(fact for fact in facts if fact[1]) + _of_all_time(tally))


def site_of(stats: StatsSnapshot, about: About) -> Site:
    """What all pages have in common."""
    return Site(about.pool, stats.network, about.paid, stats.at, stats.started, about.wording)


def _work(tally: ShareTally, refused: Iterable[tuple[str, int]]) -> ShareSums:
    most_first = sorted(refused, key=lambda each: (-each[1], each[0]))
    return ShareSums(tally.accepted, tally.difficulty, tuple(
        RefusedByReason(REASONS.get(reason, reason), count) for reason, count in most_first))


def _payout_of(stats: StatsSnapshot, user: str) -> tuple[tuple[str, str], ...]:
    """What a user has in the window, and what he is owed, where that is followed."""
    payout = stats.payout
    if payout is None or not payout.is_shared:
        return ()
    found = payout.part_of(user)
    if found is None:
        return (("Part of the window", "none now"),)
    return (("Part of the window", words.percent(found.part, 1.0)),
            ("Of a block found now, before the fee", f"about {words.coins(round(found.part * stats.work.value_sat))}"),
            ("Owed until a later block pays", words.coins(found.owed_sat)))


def _of_all_time(tally: ShareTally) -> tuple[tuple[str, str], ...]:
    return (("Shares of all time", words.count(tally.total_accepted)),
            ("Work of all time", words.scaled(tally.total_difficulty)))


def _rows(workers: Iterable[WorkerStats], names: Names) -> tuple[MinerRow, ...]:
    return tuple(MinerRow(names.link(each), each.tally.rates.m5, each.tally.rates.d1, each.tally.best_ever,
                          each.tally.last_share or None, each.machines, each.agent) for each in workers)


def _block(block: BlockStats, names: Names, wording: Wording) -> FoundBlockRow:
    state, level = {"found": (wording.is_sent, ""), "settled": ("settled: its coins can be spent", "good"),
                    "side": ("not in the chain", "warn"), "refused": (wording.is_refused, "bad")
                    }.get(block.state, (block.state, ""))
    if block.state == "accepted":
        state = (f"in the chain: {block.confirmations} of {CONFIRMATIONS} confirmations" if block.confirmations
                 else "in the chain")
    return FoundBlockRow(block.height, block.hash, block.time, names.shown(block.worker), block.effort, state, level)


def _job(work: WorkStats, names: Names) -> JobView | None:
    if not work.has_work or not work.height:
        return None
    outputs = tuple(PaidOutput(names.shown(each.to) if each.is_miner else each.to, each.sat) for each in work.outputs)
    return JobView(work.height, work.template_age_s, work.tip_age_s, work.transactions, work.value_sat,
                   work.network_difficulty, outputs, work.tag)


def _node(node: NodeStats) -> NodeRow:
    state, level = _NODE_STATES.get(node.state, (node.state, ""))
    if node.is_mined:
        state = f"{state}, and its work is mined"
    return NodeRow(node.name, state, level)             # its reason names addresses and files of the operator's


def _timings(stats: StatsSnapshot) -> tuple[tuple[str, str], ...]:
    return tuple((label, quick) for label, quick in (
        ("New block to last machine", _quick(stats.tip_to_notify)), ("Share to answer", _quick(stats.share_to_answer)),
        ("Commit of the books", _quick(stats.commit))) if quick)


def _quick(histogram: Histogram) -> str:
    """Within what time 99 of 100 were done; "" where there was none."""
    bound = histogram.quantile(0.99)
    if bound is None:
        return ""
    if 100 * histogram.counts[-1] > histogram.count:
        return f"often more than {bound:g} s"
    return f"within {1000 * bound:g} ms, 99 of 100"


def _window(payout: PayoutStats | None) -> tuple[tuple[str, str], ...]:
    if payout is None or not payout.is_shared:
        return ()
    filled = "is being read" if payout.window_percent is None else words.percent(payout.window_percent, 100)
    return (("Window filled", filled), ("Addresses in it", words.count(payout.accounts)),
            ("Owed until a later block pays", words.coins(payout.payable_sat)))
