"""Other pools' interfaces, so that what people have for those reads this pool: public-pool's `/api`, ckpool's files by
HTTP, and Umbrel's widget. The forms are theirs, down to which number is a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from warppool.stats.ckpool import is_shown, pool_status, suffixed, user_status
from warppool.stats.snapshot import BlockStats, StatsSnapshot, UserStats, WorkerStats
from warppool.web.answers import TEXT, HttpAnswer, json_answer, not_found, see_other, shown
from warppool.web.books import DAY_SLOTS, RESOLUTIONS
from warppool.web.requests import Asked
from warppool.web.routes import WebRoute
from warppool.web.view import WebView

BLOCK_S: Final = 600.0                  # between two blocks, on average
WORK: Final = 2**32                     # hashes for a share of difficulty 1, as `networkhashps` counts them
MOST_WORKERS: Final = 1000              # rows of one user: those with the most work
TOP: Final = 10                         # rows of the list of best shares
MOST_AGENTS: Final = 20


def iso(unix_s: float) -> str:
    """`2026-01-31T12:00:00.000Z`, as JavaScript writes a time."""
    whole = datetime.fromtimestamp(min(max(unix_s, 0.0), 253_402_300_799.0), UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{whole.microsecond // 1000:03d}Z"


# --- public-pool ------------------------------------------------------------------------------------------------------

def info(asked: Asked, view: WebView) -> HttpAnswer:
    """`/api/info`."""
    stats, settings = view.stats, view.settings
    best = sorted(stats.workers, key=lambda worker: -worker.tally.best_ever)[:TOP]
    return json_answer({
        "blockData": [_block(block, view) for block in stats.blocks],
        "userAgents": _agents(stats.workers),
        "highScores": [{"updatedAt": iso(worker.tally.last_share), "bestDifficulty": worker.tally.best_ever,
                        "bestDifficultyUserAgent": shown(worker.agent)} for worker in best],
        "uptime": iso(stats.started), "fee": settings.fee_percent})


def pool(asked: Asked, view: WebView) -> HttpAnswer:
    """`/api/pool`, which Umbrel's widget server reads too."""
    stats = view.stats
    return json_answer({
        "totalHashRate": stats.pool.rates.m5, "blockHeight": tip_height(stats), "totalMiners": stats.machines,
        "blocksFound": [_block(block, view) for block in stats.blocks], "fee": view.settings.fee_percent})


def network(asked: Asked, view: WebView) -> HttpAnswer:
    """`/api/network`: what a node says of its chain by getmininginfo, as far as a template tells."""
    work = view.stats.work
    return json_answer({
        "blocks": tip_height(view.stats), "difficulty": work.network_difficulty,
        "networkhashps": work.network_difficulty * WORK / BLOCK_S, "pooledtx": work.transactions or 0,
        "chain": view.stats.network, "warnings": ""})


def info_chart(asked: Asked, view: WebView) -> HttpAnswer:
    """`/api/info/chart`: the last day."""
    return json_answer(_chart(view, None))


def client_chart(asked: Asked, view: WebView) -> HttpAnswer:
    """`/api/client/<address>/chart`: the last day of one user."""
    return json_answer(_chart(view, asked.names["address"]))


def _chart(view: WebView, name: str | None) -> list[dict[str, Any]]:
    """Ten minutes each; the ten minutes that run are left out."""
    return [{"label": iso(point.time), "data": point.hashrate}
            for point in view.books.history(view.stats.at, RESOLUTIONS[0], DAY_SLOTS, name)]


def client(asked: Asked, view: WebView) -> HttpAnswer:
    """`/api/client/<address>`: displays of small machines read bestDifficulty, workersCount and workers[].hashRate."""
    found = view.stats.users_by_name.get(asked.names["address"])
    if found is None:
        return not_found()
    present = [worker for worker in found.workers if worker.machines][:MOST_WORKERS]
    return json_answer({
        "bestDifficulty": found.tally.best_ever, "workersCount": found.machines, **_as_paid(view, expectedPayout=None),
        "workers": [_session(found, worker, view) for worker in present]})


def client_worker(asked: Asked, view: WebView) -> HttpAnswer:
    """`/api/client/<address>/<worker>`."""
    found = _worker_of(asked, view)
    if found is None:
        return not_found()
    return json_answer({"name": shown(asked.names["worker"]), "bestDifficulty": int(found.tally.best_ever),
                        "chartData": _chart(view, found.name)})


def client_session(asked: Asked, view: WebView) -> HttpAnswer:
    """`/api/client/<address>/<worker>/<session>`, by the id that the list of workers gave."""
    found = _worker_of(asked, view)
    if found is None or asked.names["session"] != view.settings.session_of(found.name):
        return not_found()
    return json_answer({
        "sessionId": asked.names["session"], "name": shown(asked.names["worker"]),
        "bestDifficulty": int(found.tally.best_ever), "chartData": _chart(view, found.name),
        "startTime": iso(found.since)})


def _worker_of(asked: Asked, view: WebView) -> WorkerStats | None:
    user, name = asked.names["address"], asked.names["worker"]
    by_name = view.stats.workers_by_name
    return by_name.get(f"{user}.{name}") or (by_name.get(user) if name == NAMELESS else None)


PAYOUT_MODES: Final = frozenset({"solo", "pplns"})        # that its readers know
NAMELESS: Final = "worker"              # how public-pool calls a machine whose name is the address alone


def _session(user: UserStats, worker: WorkerStats, view: WebView) -> dict[str, Any]:
    return {"sessionId": view.settings.session_of(worker.name),
            "name": shown(worker.name[len(user.name) + 1:]) or NAMELESS,
            "bestDifficulty": f"{worker.tally.best:.2f}", "hashRate": worker.tally.rates.m5,
            "startTime": iso(worker.since), "lastSeen": iso(worker.tally.last_share),
            **_as_paid(view, payoutMode=view.settings.payout)}


def _as_paid(view: WebView, **fields: object) -> dict[str, object]:
    """Fields that public-pool has since it pays in more ways than one; none where its words have none for ours."""
    return fields if view.settings.payout in PAYOUT_MODES else {}


def _block(block: BlockStats, view: WebView) -> dict[str, Any]:
    user, _, name = block.worker.partition(".")
    return {"height": block.height, "minerAddress": shown(view.settings.listed(user)),
            "worker": shown(view.settings.listed(name)) or NAMELESS,
            "sessionId": view.settings.session_of(block.worker)}


def _agents(workers: tuple[WorkerStats, ...]) -> list[dict[str, Any]]:
    """Machines by their agent; the rarest together as `Other`. Counts and rates are texts, as public-pool has them."""
    rows: dict[str, _Agent] = {}
    for worker in workers:
        if worker.machines:
            rows.setdefault(worker.agent, _Agent(shown(worker.agent))).add(
                worker.machines, worker.tally.best_ever, worker.tally.rates.m5)
    ranked = sorted(rows.values(), key=lambda row: -row.count)
    named, rest = ranked[:MOST_AGENTS], ranked[MOST_AGENTS:]
    if rest:
        other = _Agent("Other")
        for row in rest:
            other.add(row.count, row.best, row.rate)
        named.append(other)
    return [{"userAgent": row.name, "count": str(row.count), "bestDifficulty": row.best,
             "totalHashRate": str(row.rate)} for row in named]


@dataclass(slots=True)
class _Agent:
    """Machines of one kind."""

    name: str
    count: int = 0
    best: float = 0.0
    rate: float = 0.0

    def add(self, count: int, best: float, rate: float) -> None:
        """There are more of them."""
        self.count += count
        self.best = max(self.best, best)
        self.rate += rate


# --- ckpool -----------------------------------------------------------------------------------------------------------

def ckpool_pool(asked: Asked, view: WebView) -> HttpAnswer:
    """`/pool/pool.status`: the bytes of the file."""
    return HttpAnswer(pool_status(view.stats), TEXT)


def ckpool_user(asked: Asked, view: WebView) -> HttpAnswer:
    """`/users/<user>`: the bytes of the file; a browser is shown the page, since firmware links here."""
    name = asked.names["user"]
    found = view.stats.users_by_name.get(name)
    if asked.wants_html:
        raw = name.encode("utf-8", "surrogateescape")
        return see_other(f"/user/{quote(raw, safe='')}")
    if found is None or not is_shown(found, view.stats.at):
        return HttpAnswer(b"not found\n", TEXT, 404)
    return HttpAnswer(user_status(found))


# --- Umbrel -----------------------------------------------------------------------------------------------------------

def widget(asked: Asked, view: WebView) -> HttpAnswer:
    """`/widget`: four numbers for Umbrel's home screen."""
    stats = view.stats
    items = [("Hash rate", suffixed(stats.pool.rates.m5), "H/s"), ("Machines", str(stats.machines), ""),
             ("Best share", suffixed(stats.pool.best_ever), ""), ("Blocks found", str(stats.blocks_found), "")]
    return json_answer({"type": "four-stats", "refresh": "5s", "link": "",
                        "items": [{"title": title, "text": text, "subtext": unit} for title, text, unit in items]})


def tip_height(stats: StatsSnapshot) -> int:
    """The height of the newest block of the chain."""
    return max(0, stats.work.height - 1)


ROUTES: Final = (
    WebRoute("/api/info", info),
    WebRoute("/api/pool", pool),
    WebRoute("/api/network", network),
    WebRoute("/api/info/chart", info_chart, reads_books=True),
    WebRoute("/api/client/{address}", client),
    WebRoute("/api/client/{address}/chart", client_chart, reads_books=True),
    WebRoute("/api/client/{address}/{worker}", client_worker, reads_books=True),
    WebRoute("/api/client/{address}/{worker}/{session}", client_session, reads_books=True),
    WebRoute("/pool/pool.status", ckpool_pool),
    WebRoute("/users/{user}", ckpool_user, has_html=True),
    WebRoute("/widget", widget),
)
