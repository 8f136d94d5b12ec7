"""What the status socket answers: each question is a JSON object in a line, and so is each answer.

`{"ask": "health"}`, `"summary"`, `"blocks"`, and `"users"` or `"workers"` with `offset` and `limit`. Names are whole
here: who may open the socket may read the books.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from warppool.stats.health import health_of
from warppool.stats.snapshot import (
    WINDOWS,
    BlockStats,
    Histogram,
    Rates,
    ShareTally,
    StatsSnapshot,
    UserStats,
    WorkerStats,
)

PAGE: Final = 100
MOST_ON_PAGE: Final = 1_000
MOST_KEPT: Final = 64
"""Answers that are kept until the next snapshot."""


class NoSuchQuestion(Exception):
    """The line asks for nothing that there is; says what may be asked."""


class StatusAnswers:
    """Answers from the newest snapshot, by one thread. An answer to the same line is made once for each snapshot.

    `unix` is the clock, in seconds.
    """

    def __init__(self, latest: Callable[[], StatsSnapshot], unix: Callable[[], float] = time.time) -> None:
        self._latest = latest
        self._unix = unix
        self._kept_of = -1                      # the snapshot's number
        self._kept: dict[bytes, bytes] = {}

    def __call__(self, line: bytes) -> bytes:
        """The answer to `line`, without a newline."""
        snapshot = self._latest()
        if snapshot.number != self._kept_of:
            self._kept_of, self._kept = snapshot.number, {}
        if (kept := self._kept.get(line)) is not None:
            return kept
        question = None
        try:
            question = _read(line)
            answer = self._answer(question, snapshot)
        except NoSuchQuestion as exc:
            answer = {"error": str(exc)}
        encoded = json.dumps(answer, separators=(",", ":")).encode("ascii")
        # Health depends on the clock too: it is what tells that no snapshot comes any more.
        if question is not None and question["ask"] not in _OF_NOW and len(self._kept) < MOST_KEPT:
            self._kept[line] = encoded
        return encoded

    def _answer(self, question: Mapping[str, Any], snapshot: StatsSnapshot) -> Mapping[str, object]:
        match question["ask"]:
            case "health":
                return self._health(snapshot)
            case "summary":
                return self._health(snapshot) | summary(snapshot)
            case "blocks":
                return _page(question, [_block(block) for block in snapshot.blocks])
            case "users":
                return _page(question, snapshot.users, _user)
            case "workers":
                return _page(question, snapshot.workers, _worker)
        raise NoSuchQuestion(f"there is no such question: ask for {', '.join(QUESTIONS)}")

    def _health(self, snapshot: StatsSnapshot) -> dict[str, object]:
        health = health_of(snapshot, self._unix())
        return {"ok": health.is_ok, "reason": health.reason, "number": snapshot.number, "at": round(snapshot.at, 3)}


QUESTIONS: Final = ("health", "summary", "users", "workers", "blocks")
_OF_NOW: Final = frozenset(("health", "summary"))


def _read(line: bytes) -> dict[str, Any]:
    try:
        question = json.loads(line)
    except (ValueError, RecursionError):
        question = None
    if not isinstance(question, dict) or not isinstance(question.get("ask"), str):
        raise NoSuchQuestion('a question is a JSON object in one line, such as {"ask": "summary"}')
    return question


def _page(question: Mapping[str, Any], rows: Sequence[Any], form: Callable[[Any], object] = lambda row: row
          ) -> dict[str, object]:
    offset, limit = question.get("offset", 0), question.get("limit", PAGE)
    if type(offset) is not int or type(limit) is not int or offset < 0 or not 1 <= limit <= MOST_ON_PAGE:
        raise NoSuchQuestion(f"offset is a whole number from 0 on, limit one from 1 to {MOST_ON_PAGE}")
    return {"offset": offset, "limit": limit, "total": len(rows),
            "items": [form(row) for row in rows[offset:offset + limit]]}


def summary(snapshot: StatsSnapshot) -> dict[str, object]:
    """All but the lists of users and workers."""
    work = snapshot.work
    shown: dict[str, object] = {
        "program": snapshot.program, "version": snapshot.version, "network": snapshot.network,
        "started": round(snapshot.started, 3), "is_whole": snapshot.is_whole,
        "users": sum(1 for user in snapshot.users if user.machines), "machines": snapshot.machines,
        "idle": snapshot.idle, "gone": snapshot.gone, "connections": dict(snapshot.connections),
        "shares_per_second": dict(zip(("1m", "5m", "15m", "1h"), snapshot.shares_per_second, strict=True)),
        "pool": _tally(snapshot.pool), "refused": dict(snapshot.refused),
        "round": {"since": snapshot.round.since, "difficulty": snapshot.round.difficulty,
                  "effort": snapshot.round.effort},
        "work": {
            "has_work": work.has_work, "height": work.height, "prev_hash": work.prev_hash, "node": work.node,
            "template_age_s": work.template_age_s, "tip_age_s": work.tip_age_s, "value_sat": work.value_sat,
            "transactions": work.transactions, "network_difficulty": work.network_difficulty},
        "nodes": [{"name": node.name, "state": node.state, "reason": node.reason, "is_mined": node.is_mined,
                   "since": node.since} for node in snapshot.nodes],
        "blocks_found": snapshot.blocks_found,
        "newest_block": _block(snapshot.blocks[0]) if snapshot.blocks else None,
        "ledger": {"is_troubled": snapshot.ledger.is_troubled, "waiting_shares": snapshot.ledger.waiting_shares},
        "seconds": {"tip_to_notify": _histogram(snapshot.tip_to_notify), "commit": _histogram(snapshot.commit),
                    "share_to_answer": _histogram(snapshot.share_to_answer)}}
    if (payout := snapshot.payout) is not None:
        shown["payout"] = {"unsettled": payout.unsettled, "is_shared": payout.is_shared, "accounts": payout.accounts,
                           "window_percent": payout.window_percent, "payable_sat": payout.payable_sat,
                           "is_paying": payout.is_paying}
    return shown


def _rates(rates: Rates) -> dict[str, float]:
    return {name: rate for (name, _), rate in zip(WINDOWS, rates, strict=True)}


def _tally(tally: ShareTally) -> dict[str, object]:
    return {"hashrate": _rates(tally.rates), "accepted": tally.accepted, "refused": tally.refused,
            "difficulty": tally.difficulty, "total_accepted": tally.total_accepted,
            "total_difficulty": tally.total_difficulty, "round_difficulty": tally.round_difficulty,
            "best": tally.best, "best_ever": tally.best_ever, "last_share": tally.last_share}


def _user(user: UserStats) -> dict[str, object]:
    return {"user": user.name, "machines": user.machines, "workers": len(user.workers), "since": user.since
            } | _tally(user.tally)


def _worker(worker: WorkerStats) -> dict[str, object]:
    return {"worker": worker.name, "user": worker.user, "machines": worker.machines, "is_idle": worker.is_idle,
            "agent": worker.agent, "protocol": worker.protocol, "since": worker.since, "gone_at": worker.gone_at,
            "reasons": dict(worker.refused)} | _tally(worker.tally)


def _block(block: BlockStats) -> dict[str, object]:
    return {"height": block.height, "hash": block.hash, "time": block.time, "worker": block.worker,
            "state": block.state, "confirmations": block.confirmations, "difficulty": block.difficulty,
            "effort": block.effort}


def _histogram(histogram: Histogram) -> dict[str, object]:
    """Bounds that half and 99 of 100 values do not exceed, in seconds."""
    return {"count": histogram.count, "p50": histogram.quantile(0.5), "p99": histogram.quantile(0.99)}
