"""`/api/v1`: our own numbers as JSON. `openapi.json` says what each answer holds, and a test compares the two.

Times are Unix seconds, 0 for never; ages seconds; rates hashes a second; difficulties bdiff; amounts satoshi.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from warppool.stats.snapshot import (
    WINDOWS,
    Histogram,
    NodeStats,
    Rates,
    ShareTally,
    StatsSnapshot,
    UserStats,
    WorkerStats,
)
from warppool.web import apibooks
from warppool.web.answers import HttpAnswer, json_answer, not_found, shown
from warppool.web.paging import PAGED, Json, page_of
from warppool.web.requests import Asked
from warppool.web.routes import WebRoute
from warppool.web.view import WebView


def pool(asked: Asked, view: WebView) -> HttpAnswer:
    """The pool as a whole."""
    stats = view.stats
    return json_answer({
        "at": stats.at, "started": stats.started, "program": stats.program, "version": stats.version,
        "network": stats.network, "is_whole": stats.is_whole, "users": len(stats.users),
        "workers": len(stats.workers), "machines": stats.machines, "idle": stats.idle, "gone": stats.gone,
        "connections": dict(stats.connections), **_tally(stats.pool),
        "refused_by_reason": dict(stats.refused),
        "shares_per_second": dict(zip(("1m", "5m", "15m", "1h"), stats.shares_per_second, strict=True)),
        "round": {"since": stats.round.since, "difficulty": stats.round.difficulty, "effort": stats.round.effort},
        "blocks_found": stats.blocks_found, "work": _work(view), "ledger": _ledger(stats),
        "latency": {"tip_to_last_notify": _latency(stats.tip_to_notify),
                    "share_to_answer": _latency(stats.share_to_answer), "commit": _latency(stats.commit)}})


def users(asked: Asked, view: WebView) -> HttpAnswer:
    """Users, those with the most work of seven days first."""
    return page_of(asked, view.stats.users, lambda user: _user(user, view.settings.listed(user.name)))


def user(asked: Asked, view: WebView) -> HttpAnswer:
    """One user by the whole name."""
    found = view.stats.users_by_name.get(asked.names["user"])
    return not_found() if found is None else json_answer(_user(found, found.name))


def workers_of_user(asked: Asked, view: WebView) -> HttpAnswer:
    """The workers of one user: whoever knows the user's whole name may read theirs."""
    found = view.stats.users_by_name.get(asked.names["user"])
    return not_found() if found is None else page_of(asked, found.workers, lambda worker: _worker(worker, worker.name))


def workers(asked: Asked, view: WebView) -> HttpAnswer:
    """Workers, those with the most work of seven days first."""
    return page_of(asked, view.stats.workers, lambda worker: _worker(worker, view.settings.listed(worker.name)))


def worker(asked: Asked, view: WebView) -> HttpAnswer:
    """One worker by the whole name."""
    found = view.stats.workers_by_name.get(asked.names["worker"])
    return not_found() if found is None else json_answer(_worker(found, found.name))


def nodes(asked: Asked, view: WebView) -> HttpAnswer:
    """The nodes that give work."""
    return page_of(asked, view.stats.nodes, _node)


def rejects(asked: Asked, view: WebView) -> HttpAnswer:
    """Refused shares by reason, since the program started."""
    stats = view.stats
    return json_answer({"since": stats.started, "accepted": stats.pool.accepted, "refused": stats.pool.refused,
                        "by_reason": dict(stats.refused)})


def openapi(asked: Asked, view: WebView) -> HttpAnswer:
    """The description of all this."""
    return HttpAnswer(OPENAPI)


OPENAPI: Final = (files("warppool.web") / "openapi.json").read_bytes()

ROUTES: Final = (
    WebRoute("/api/v1/pool", pool),
    WebRoute("/api/v1/users", users, query=PAGED),
    WebRoute("/api/v1/users/{user}", user),
    WebRoute("/api/v1/users/{user}/workers", workers_of_user, query=PAGED),
    WebRoute("/api/v1/workers", workers, query=PAGED),
    WebRoute("/api/v1/workers/{worker}", worker),
    WebRoute("/api/v1/nodes", nodes, query=PAGED),
    WebRoute("/api/v1/rejects", rejects),
    *apibooks.ROUTES,
    WebRoute("/api/v1/openapi.json", openapi),
)


def rates(given: Rates) -> dict[str, float]:
    """By the name of the window."""
    return {name: rate for (name, _), rate in zip(WINDOWS, given, strict=True)}


def _tally(tally: ShareTally) -> Json:
    return {"hashrate": rates(tally.rates), "accepted": tally.accepted, "refused": tally.refused,
            "difficulty": tally.difficulty, "total_accepted": tally.total_accepted,
            "total_difficulty": tally.total_difficulty, "round_difficulty": tally.round_difficulty,
            "best": tally.best, "best_ever": tally.best_ever, "last_share": tally.last_share}


def _user(user: UserStats, name: str) -> Json:
    return {"name": shown(name), "machines": user.machines, "idle": user.idle, "workers": len(user.workers),
            "since": user.since, **_tally(user.tally)}


def _worker(worker: WorkerStats, name: str) -> Json:
    return {"name": shown(name), "machines": worker.machines, "is_idle": worker.is_idle, "agent": shown(worker.agent),
            "protocol": worker.protocol, "since": worker.since, "gone_at": worker.gone_at,
            "refused_by_reason": dict(worker.refused), **_tally(worker.tally)}


def _node(node: NodeStats) -> Json:
    return {"name": shown(node.name), "state": node.state, "is_mined": node.is_mined, "since": node.since}


def _work(view: WebView) -> Json:
    work, listed = view.stats.work, view.settings.listed
    return {"has_work": work.has_work, "height": work.height, "prev_hash": work.prev_hash, "node": shown(work.node),
            "template_age": work.template_age_s, "tip_age": work.tip_age_s, "value_sat": work.value_sat,
            "transactions": work.transactions, "network_difficulty": work.network_difficulty, "tag": shown(work.tag),
            "outputs": [{"to": shown(listed(output.to) if output.is_miner else output.to), "sat": output.sat}
                        for output in work.outputs]}


def _ledger(stats: StatsSnapshot) -> Json:
    return {"is_troubled": stats.ledger.is_troubled, "waiting_shares": stats.ledger.waiting_shares}


def _latency(values: Histogram) -> Json:
    """Seconds that half and 99 of 100 values do not exceed; null while there are none."""
    return {"count": values.count, "p50": values.quantile(0.5), "p99": values.quantile(0.99)}
