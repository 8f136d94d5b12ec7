"""The pages for a browser, and the files beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from warppool.page.about import About
from warppool.page.assets import ASSETS, Asset
from warppool.page.fromstats import Names, blocks_view, machines_view, pool_view, site_of, user_view, worker_view
from warppool.page.listpage import blocks_page, machines_page
from warppool.page.markup import path
from warppool.page.minerpage import miner_page, unknown_page
from warppool.page.poolpage import pool_page
from warppool.web.answers import HTML, HttpAnswer, number_of, see_other
from warppool.web.charts import Charts
from warppool.web.requests import Asked
from warppool.web.routes import WebRoute
from warppool.web.view import WebView

ASSET_AGE_S: Final = 31_536_000
"""A browser keeps them for a year: another content has another name."""


class Pages:
    """Makes the answers; the thread `web-task` owns it."""

    def __init__(self, about: About, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._about = about
        self._charts = Charts(monotonic)

    def routes(self) -> tuple[WebRoute, ...]:
        """All paths of the page."""
        return (
            WebRoute("/", self.pool), WebRoute("/find", self.find, query=("name",)),
            WebRoute("/machines", self.machines, query=("offset",)),
            WebRoute("/blocks", self.blocks, query=("offset",)),
            WebRoute("/user/{user}", self.user, query=("offset",)),
            WebRoute("/user/{user}/{worker}", self.worker),
            *(WebRoute(place, partial(_file, asset)) for place, asset in ASSETS.items()),
        )

    def pool(self, asked: Asked, view: WebView) -> HttpAnswer:
        """The first page."""
        return _page(pool_page(pool_view(view.stats, self._about, _names(view), self._charts.of(view))))

    def machines(self, asked: Asked, view: WebView) -> HttpAnswer:
        """A page of all machines."""
        return _page(machines_page(machines_view(view.stats, self._about, _names(view), _first(asked))))

    def blocks(self, asked: Asked, view: WebView) -> HttpAnswer:
        """A page of the newest blocks."""
        return _page(blocks_page(blocks_view(view.stats, self._about, _names(view), _first(asked))))

    def user(self, asked: Asked, view: WebView) -> HttpAnswer:
        """The page of a user, by the whole name."""
        found = view.stats.users_by_name.get(asked.names["user"])
        if found is None:
            return self._unknown(asked.names["user"], view)
        chart = self._charts.of(view, found.name)
        return _page(miner_page(user_view(view.stats, self._about, found, chart, _first(asked))))

    def worker(self, asked: Asked, view: WebView) -> HttpAnswer:
        """The page of a worker, by the whole name, beneath its user."""
        found = view.stats.workers_by_name.get(asked.names["worker"])
        if found is None or found.user != asked.names["user"]:
            return self._unknown(asked.names["worker"], view)
        return _page(miner_page(worker_view(view.stats, self._about, found, self._charts.of(view, found.name))))

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


def _names(view: WebView) -> Names:
    """As the operator wants them in lists."""
    return Names(view.settings.listed, is_linked=not view.settings.is_short)


def _first(asked: Asked) -> int:
    """How many rows come before those that are asked for; BadField."""
    return number_of(asked.query, "offset", 0, 0, 1 << 40)


def _page(body: bytes) -> HttpAnswer:
    return HttpAnswer(body, HTML)


def _file(asset: Asset, asked: Asked, view: WebView) -> HttpAnswer:
    return HttpAnswer(asset.body, asset.content_type, max_age_s=ASSET_AGE_S)
