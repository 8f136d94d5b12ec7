"""The pages for a browser, and the files beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from warppool.page.about import About
from warppool.page.assets import ASSETS, Asset
from warppool.page.fromstats import SLOT_S, SLOTS, Names, points_of, pool_view, site_of, user_view, worker_view
from warppool.page.markup import path
from warppool.page.minerpage import miner_page, unknown_page
from warppool.page.poolpage import pool_page
from warppool.page.view import Point
from warppool.stats.snapshot import StatsSnapshot
from warppool.web.answers import HTML, HttpAnswer, see_other
from warppool.web.requests import Asked
from warppool.web.routes import WebRoute
from warppool.web.view import WebView

ASSET_AGE_S: Final = 31_536_000
"""A browser keeps them for a year: another content has another name."""

History = Callable[[int, int, str | None], Mapping[int, float] | None]
"""The credited difficulty by slot of ten minutes, from the first slot to the last, of the pool (None) or of a user or a
worker. None: the books cannot be read now.
"""


def no_history(first: int, last: int, name: str | None) -> Mapping[int, float] | None:
    """For a service without books to read."""
    return None


class Pages:
    """Makes the answers; the thread `web-task` owns it."""

    def __init__(self, about: About, history: History = no_history) -> None:
        self._about = about
        self._history = history
        self._pools: tuple[int, tuple[Point, ...]] | None = None        # the open slot, and the chart before it

    def routes(self) -> tuple[WebRoute, ...]:
        """All paths of the page."""
        return (
            WebRoute("/", self.pool), WebRoute("/find", self.find, query=("name",)),
            WebRoute("/user/{user}", self.user, reads_books=True),
            WebRoute("/user/{user}/{worker}", self.worker, reads_books=True),
            *(WebRoute(place, partial(_file, asset)) for place, asset in ASSETS.items()),
        )

    def pool(self, asked: Asked, view: WebView) -> HttpAnswer:
        """The first page. The books are asked once in ten minutes, so that it costs no more than it must."""
        slot = int(view.stats.at) // SLOT_S
        if self._pools is None or self._pools[0] != slot:
            points = self._chart(view.stats, None)
            self._pools = None if points is None else (slot, points)
        names = Names(view.settings.listed, is_linked=not view.settings.is_short)
        chart = None if self._pools is None else self._pools[1]
        return _page(pool_page(pool_view(view.stats, self._about, names, chart)))

    def user(self, asked: Asked, view: WebView) -> HttpAnswer:
        """The page of a user, by the whole name."""
        found = view.stats.users_by_name.get(asked.names["user"])
        if found is None:
            return self._unknown(asked.names["user"], view)
        return _page(miner_page(user_view(view.stats, self._about, found, self._chart(view.stats, found.name))))

    def worker(self, asked: Asked, view: WebView) -> HttpAnswer:
        """The page of a worker, by the whole name, beneath its user."""
        found = view.stats.workers_by_name.get(asked.names["worker"])
        if found is None or found.user != asked.names["user"]:
            return self._unknown(asked.names["worker"], view)
        return _page(miner_page(worker_view(view.stats, self._about, found, self._chart(view.stats, found.name))))

    def find(self, asked: Asked, view: WebView) -> HttpAnswer:
        """From the field of the page to the page of whoever is named there."""
        name = asked.query.get("name", "").strip()
        if not name:
            return see_other("/")
        worker = view.stats.workers_by_name.get(name)
        if worker is not None and worker.user and worker.user != name:
            return see_other(path("user", worker.user, name))
        return see_other(path("user", name))

    def _unknown(self, name: str, view: WebView) -> HttpAnswer:
        return HttpAnswer(unknown_page(site_of(view.stats, self._about), name), HTML, 404)

    def _chart(self, stats: StatsSnapshot, name: str | None) -> tuple[Point, ...] | None:
        last = int(stats.at) // SLOT_S - 1
        work = self._history(last - SLOTS + 1, last, name)
        return None if work is None else points_of(work, stats.at)


def _page(body: bytes) -> HttpAnswer:
    return HttpAnswer(body, HTML)


def _file(asset: Asset, asked: Asked, view: WebView) -> HttpAnswer:
    return HttpAnswer(asset.body, asset.content_type, max_age_s=ASSET_AGE_S)
