"""The pages by HTTP: which path gives which page, and how often the books are asked for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.page.reading import Reading
from tests.stats.made import ADDRESS, HOSTILE, snapshot
from tests.web.asking import NO_BOOKS, ask
from warppool.page.about import About
from warppool.page.assets import ASSETS, address
from warppool.page.markup import path, visible
from warppool.web.app import WebApp
from warppool.web.pages import Pages
from warppool.web.routes import RouteTable
from warppool.web.view import WebSettings, WebViews

ABOUT = About("Hill", "The finder is paid.")


class _Pool:
    """An application with the pages, whose books say what they were asked."""

    def __init__(self, *, is_short: bool = True) -> None:
        self.stats = snapshot()
        self.asked: list[tuple[int, int, str | None]] = []
        self.work: dict[int, float] | None = {int(self.stats.at) // 600 - 5: 1e6}
        views = WebViews(lambda: self.stats, WebSettings(is_short=is_short), NO_BOOKS)
        self.app = WebApp(RouteTable(Pages(ABOUT, self._history).routes()), views, frozenset({"localhost"}),
                          monotonic=lambda: 1e6 * len(self.asked))

    def _history(self, first: int, last: int, name: str | None) -> dict[int, float] | None:
        self.asked.append((first, last, name))
        return self.work


def test_the_first_page_asks_the_books_once_in_ten_minutes():
    pool = _Pool()
    slot = int(pool.stats.at) // 600
    for later_s, asked in ((0, 1), (1, 1), (600, 2), (601, 2)):
        pool.stats = replace(snapshot(), at=slot * 600.0 + later_s)
        reply = ask(pool.app, "/")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert len(pool.asked) == asked
    assert pool.asked[0] == (slot - 144, slot - 1, None)
    assert "data-plot" in ask(pool.app, "/").body.decode()


def test_without_books_the_page_has_no_chart_and_asks_again():
    pool = _Pool()
    pool.work = None
    assert "hash-rate" not in ask(pool.app, "/").body.decode()
    pool.work = {}
    pool.stats = replace(pool.stats, number=8)
    assert "The chart begins" in ask(pool.app, "/").body.decode()


@pytest.mark.parametrize("is_short", [True, False])
def test_a_page_of_a_whole_name_is_full_and_lists_are_as_the_operator_says(is_short):
    pool = _Pool(is_short=is_short)
    assert (f"{ADDRESS}.rig" in ask(pool.app, "/").body.decode()) is not is_short
    assert f"Miner {ADDRESS}" in Reading(ask(pool.app, f"/user/{ADDRESS}").body).text
    assert f"Machine {ADDRESS}.rig" in Reading(ask(pool.app, f"/user/{ADDRESS}/{ADDRESS}.rig").body).text
    assert [name for _, _, name in pool.asked] == [None, ADDRESS, f"{ADDRESS}.rig"]


def test_every_link_of_every_page_leads_to_a_page():
    pool = _Pool(is_short=False)
    seen, todo = set(), ["/"]
    while todo:
        reply = ask(pool.app, todo[-1])
        assert reply.status == 200, todo[-1]
        seen.add(todo.pop())
        if reply.headers["content-type"].startswith("text/html"):
            links = [link["href"].partition("#")[0] for link in Reading(reply.body).all("a")]
            todo += [link for link in links if link and link not in seen and link not in todo]
    assert path("user", HOSTILE, f"{HOSTILE}.{HOSTILE}") in seen and path("user", "bob", "bob") in seen


@pytest.mark.parametrize("target", ["/user/nobody", f"/user/bob/{ADDRESS}.rig", "/user/..", "/user/%2e%2e",
                                    "/user/%3Cscript%3E", "/user/a%2Fb", "/user/%FF%00"])
def test_who_is_not_there_is_said_to_be_not_there(target):
    reply = ask(_Pool().app, target)
    assert reply.status == 404 and "Not found." in Reading(reply.body).text
    assert len(Reading(reply.body).all("script")) == 2


@pytest.mark.parametrize(("name", "place"), [
    ("bob", "/user/bob"), (f"{ADDRESS}.rig", f"/user/{ADDRESS}/{ADDRESS}.rig"), ("%20bob+", "/user/bob"), ("", "/"),
    ("//evil.example", "/user/%2F%2Fevil.example"), ("a%0d%0aSet-Cookie:x", "/user/a%0D%0ASet-Cookie%3Ax"),
])
def test_the_field_leads_to_the_page_of_who_is_named(name, place):
    reply = ask(_Pool().app, f"/find?name={name}")
    assert (reply.status, reply.headers["location"]) == (303, place)


def test_a_hostile_name_is_found_and_shown_as_text():
    reply = ask(_Pool().app, path("user", HOSTILE))
    assert reply.status == 200 and f"Miner {visible(HOSTILE)}" in Reading(reply.body).text


def test_the_files_are_kept_by_browsers():
    app = _Pool().app
    for place, asset in ASSETS.items():
        reply = ask(app, address(place.removeprefix("/static/")))
        assert (reply.status, reply.body, reply.headers["content-type"]) == (200, asset.body, asset.content_type)
        assert "max-age=31536000" in reply.headers["cache-control"]
    assert ask(app, "/static/../page.html").status == ask(app, "/static/page.html").status == 404
