"""What the thread `stats` looks at in a translator each second: its upstreams, their work, and the books.

Each worker knows of the upstreams what its own machines have met. Here that is put together: one is up that is up for
any worker. Nothing is asked of anybody, and nothing of it is on the way of a share.

An upstream that has died is lost after `translator.silence_s`, and then there is no work. While it is well it may have
nothing new for an hour, as the published profile lets it: so no work of an upstream is stale by its age.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from warppool.bitcoin.hashes import to_display
from warppool.bitcoin.target import difficulty_from_target, target_from_nbits
from warppool.config.translatoroptions import PROGRAM
from warppool.ledger.items import LedgerReport
from warppool.service.numbers import Looked
from warppool.stats.snapshot import LedgerStats, NodeStats, WorkStats
from warppool.sv2.work import Work
from warppool.translate.jobs import height_at
from warppool.translate.upstream import Health, Upstream

UP: Final = "up"
LOST: Final = "lost"
UNTRIED: Final = "untried"
"""No machine has needed it yet, and it was not the first to answer."""

NO_ANSWER: Final = "no upstream answers"


class IdleWatch(Protocol):
    """Who looks for an upstream while no machine does."""

    def word(self) -> str | None:
        """The name of the upstream that answered last, "" where none has; None where machines know better, and before
        the start has found out.
        """


class TranslatorBooks(Protocol):
    """The ledger's thread."""

    def report(self) -> LedgerReport: ...


class _Found(NamedTuple):
    """An upstream as all workers together know it."""

    name: str
    state: str
    reason: str
    is_mined: bool
    work: Work | None
    worked_at: float


class TranslatorSources:
    """Owned by the thread `stats`. `upstreams` gives, for each worker, its upstreams in the order of preference."""

    program: Final = PROGRAM
    network: Final = ""                         # an upstream does not say it

    def __init__(self, upstreams: Sequence[Callable[[], Sequence[Upstream]]], watch: IdleWatch,
                 ledger: TranslatorBooks, drops: Mapping[str, int] | None = None) -> None:
        self._upstreams = upstreams
        self._watch = watch
        self._ledger = ledger
        self._drops = {} if drops is None else drops    # of the reactor
        self._shown = WorkStats()
        self._tip = b""
        self._tip_at = 0.0                              # monotonic
        self._since: dict[str, tuple[str, float]] = {}  # by upstream: its state, and since when (Unix)

    def look(self, now: float, unix: float) -> Looked:
        """What is there now, by the monotonic clock and by the wall's."""
        found = self._found()
        report = self._ledger.report()
        return Looked(self._work(found, now), self._nodes(found, unix), LedgerStats(
            is_troubled=report.is_troubled, waiting_shares=report.waiting_shares, rows=report.rows,
            commits=report.commits), dropped=dict(self._drops))

    def _found(self) -> list[_Found]:
        known: dict[str, list[Upstream]] = {}
        for of_worker in self._upstreams:
            for upstream in of_worker():
                known.setdefault(upstream.config.name, []).append(upstream)
        word = self._watch.word()
        return [_together(name, parts, word) for name, parts in known.items()]

    def _nodes(self, found: list[_Found], unix: float) -> tuple[NodeStats, ...]:
        before, self._since = self._since, {}
        for each in found:
            known = before.get(each.name)
            self._since[each.name] = known if known is not None and known[0] == each.state else (each.state, unix)
        return tuple(NodeStats(each.name, each.state, each.reason, each.is_mined, self._since[each.name][1])
                     for each in found)

    def _work(self, found: list[_Found], now: float) -> WorkStats:
        """That of the best upstream which machines mine on. Where no machine is here there is none to show, and yet
        work for who comes while any upstream is not lost.
        """
        is_known = any(each.state != UNTRIED for each in found)
        has_work = is_known and any(each.state != LOST for each in found)
        mined = next((each for each in found if each.is_mined and each.work is not None), None)
        if not has_work:
            return replace(self._shown, has_work=False, template_age_s=None, tip_age_s=None)
        if mined is None or mined.work is None:
            return WorkStats(has_work=True)
        work = mined.work
        if work.prev_hash != self._tip:
            self._tip, self._tip_at = work.prev_hash, now
        self._shown = WorkStats(
            has_work=True, height=height_at(work.coinbase_tx_prefix), prev_hash=to_display(work.prev_hash),
            job_id=work.job_id, node=mined.name, template_age_s=_age(mined.worked_at, now),
            tip_age_s=_age(self._tip_at, now),
            network_difficulty=_difficulty(work.nbits))
        return self._shown


def _together(name: str, parts: list[Upstream], word: str | None) -> _Found:
    """One upstream as all workers know it, and as an idle translator has found it, where `word` is what that found."""
    states = {_STATES[part.health] for part in parts}
    trouble = next((part.log.trouble for part in parts if part.log.trouble), "")
    state = UP if UP in states else LOST if LOST in states else UNTRIED
    if word == name:
        state = UP
    elif word == "":
        state, trouble = LOST, trouble or NO_ANSWER
    newest = max((part.newest for part in parts), key=lambda each: each.at)
    return _Found(name, state, trouble if state == LOST else "", state == UP and any(part.alive for part in parts),
                  newest.work, newest.at)


def _difficulty(nbits: int) -> float:
    """Of the network, as the upstream says it; 0.0 where that is none, which costs nothing of the other numbers."""
    try:
        return float(difficulty_from_target(target_from_nbits(nbits)))
    except ValueError:
        return 0.0


def _age(since: float, now: float) -> float | None:
    return None if since == -math.inf else max(0.0, now - since)


_STATES: Final = {Health.UNKNOWN: UNTRIED, Health.UP: UP, Health.ANSWERING: UP, Health.DOWN: LOST}
