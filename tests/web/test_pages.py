"""The pages by HTTP: which path gives which page, and how often the books are asked for it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from tests.ledger.test_rollups import AT, OurBooks
from tests.page.reading import Reading
from tests.stats.made import ADDRESS, HOSTILE, snapshot, user, worker
from tests.web.asking import Hand, ask
from warppool.errors import LedgerError
from warppool.ledger.opening import open_reader
from warppool.page.about import About
from warppool.page.assets import ASSETS, address
from warppool.page.markup import path, visible
from warppool.web.app import WebApp
from warppool.web.books import HistoryPoint, WebBooks
from warppool.web.charts import MAX_CHARTS, Charts
from warppool.web.pages import Pages
from warppool.web.routes import RouteTable
from warppool.web.view import WebSettings, WebView, WebViews

ABOUT = About("Hill", "The finder is paid.")


class _Pool:
    """An application with the pages, whose books say what they were asked."""

    def __init__(self, *, is_short: bool = True) -> None:
        self.stats = snapshot()
        self.asked: list[str | None] = []
        self.rates: tuple[float, ...] | None = (1e12, 2e12)             # None: the books cannot be read
        views = WebViews(lambda: self.stats, WebSettings(is_short=is_short), self)      # type: ignore[arg-type]
        routes = Pages(ABOUT, lambda: 0.0).routes()
        self.app = WebApp(RouteTable(routes), views, frozenset({"localhost"}), monotonic=lambda: 0.0)

    def history(self, at: float, resolution: int, slots: int, name: str | None = None) -> list[HistoryPoint]:
        """In the place of the books."""
        assert (at, resolution, slots) == (self.stats.at, 600, 144)
        self.asked.append(name)
        if self.rates is None:
            raise LedgerError("/secret/shares.db: no such file")
        return [HistoryPoint(600 * slot, rate, 1, 1.0, 1.0) for slot, rate in enumerate(self.rates)]

    def later(self, seconds: float) -> None:
        """The snapshot of then."""
        self.stats = replace(self.stats, at=self.stats.at + seconds, number=self.stats.number + int(seconds))


def test_the_first_page_asks_the_books_once_in_ten_minutes():
    pool = _Pool()
    pool.stats = replace(pool.stats, at=600.0 * 10_000)
    for later_s, asked in ((0, 1), (1, 1), (599, 2), (1, 2)):
        pool.later(later_s)
        reply = ask(pool.app, "/")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert pool.asked == asked * [None]
    assert "data-plot" in ask(pool.app, "/").body.decode()


def test_books_that_cannot_be_read_leave_the_chart_away_and_are_asked_again_soon():
    pool = _Pool()
    pool.rates = None
    for _ in range(5):
        assert b"The chart is not at hand now" in ask(pool.app, "/").body
        pool.later(1)
    assert pool.asked == [None]
    pool.rates = ()
    pool.later(10)
    assert b"The chart begins" in ask(pool.app, "/").body and len(pool.asked) == 2


def test_a_chart_that_cannot_be_made_anew_is_the_older_one():
    pool = _Pool()
    assert b"data-plot" in ask(pool.app, "/").body
    pool.rates = None
    pool.later(600)
    assert b"data-plot" in ask(pool.app, "/").body and len(pool.asked) == 2


def test_a_storm_of_names_gets_pages_without_charts_and_costs_the_books_little():
    pool = _Pool()
    pool.stats = snapshot(*(user(f"miner{number}") for number in range(20)))
    found = [b"data-plot" in ask(pool.app, f"/user/miner{number}").body for number in range(20)]
    assert found == 5 * [True] + 15 * [False] and len(pool.asked) == 5
    assert b"data-plot" in ask(pool.app, "/").body              # the pool's own is no part of it
    pool.later(1)
    assert b"data-plot" in ask(pool.app, "/user/miner19").body and b"data-plot" in ask(pool.app, "/user/miner0").body
    assert len(pool.asked) == 7


def test_a_question_that_takes_long_is_followed_by_a_pause():
    clock, pool = Hand(), _Pool()
    charts = Charts(clock)

    def chart(name: str) -> bool:
        return charts.of(WebView(pool.stats, WebSettings(), Slow), name) is not None        # type: ignore[arg-type]

    class Slow:
        @staticmethod
        def history(at: float, resolution: int, slots: int, name: str | None = None) -> list[HistoryPoint]:
            clock.now += 0.5
            return []

    assert chart("a") and not chart("b")
    pool.later(4)
    assert not chart("b")
    pool.later(2)
    assert chart("b") and chart("a")            # which is kept


def test_charts_that_are_kept_have_a_bound():
    charts, pool = Charts(lambda: 0.0), _Pool()
    for number in range(2 * MAX_CHARTS):
        pool.later(1)
        pool.stats = replace(pool.stats, at=1e9)
        view = WebView(pool.stats, WebSettings(), pool)         # type: ignore[arg-type]
        assert charts.of(view) is not None and charts.of(view, str(number)) is not None
    assert len(charts._kept) == MAX_CHARTS and None in charts._kept and str(number) in charts._kept


def test_the_chart_has_what_the_books_have(tmp_path):
    our, slot = OurBooks(tmp_path / "shares.db"), int(AT) // 600
    our.book("alice.1", difficulty=4.0, at=AT)
    our.book("alice.2", difficulty=0.5, at=AT + 1)
    our.book("bob", difficulty=8.0, at=AT + 1300)
    our.tend()
    books = WebBooks(partial(open_reader, f"sqlite:///{our.path}", tmp_path))
    view = WebView(replace(snapshot(), at=AT + 2600), WebSettings(), books)
    for name, first, difficulties in ((None, slot, [4.5, 0, 8, 0]), ("alice", slot, [4.5, 0, 0, 0]),
                                      ("alice.2", slot, [0.5, 0, 0, 0]), ("nobody", slot, [])):
        points = Charts().of(view, name)
        assert points is not None
        assert [point.time for point in points[:4]] == [600 * (first + at) for at in range(len(difficulties))]
        assert [point.rate for point in points[:4]] == pytest.approx(
            [difficulty * 2**48 / 0xFFFF / 600 for difficulty in difficulties])
    our.books.close()


@pytest.mark.parametrize("is_short", [True, False])
def test_a_page_of_a_whole_name_is_full_and_lists_are_as_the_operator_says(is_short):
    pool = _Pool(is_short=is_short)
    assert (f"{ADDRESS}.rig" in ask(pool.app, "/").body.decode()) is not is_short
    assert f"Miner {ADDRESS}" in Reading(ask(pool.app, f"/user/{ADDRESS}").body).text
    assert f"Machine {ADDRESS}.rig" in Reading(ask(pool.app, f"/user/{ADDRESS}/{ADDRESS}.rig").body).text
    assert pool.asked == [None, ADDRESS, f"{ADDRESS}.rig"]


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


def test_long_lists_have_pages_that_lead_to_each_other():
    pool = _Pool(is_short=False)
    pool.stats = snapshot(user(ADDRESS, *(worker(f"{ADDRESS}.{number:03}") for number in range(230))))
    assert "All 230 machines" in Reading(ask(pool.app, "/").body).text
    for first in ("/machines", f"/user/{ADDRESS}"):
        place, seen, steps = first, [], []
        while place:
            reply = ask(pool.app, place)
            links = Reading(reply.body).all("a")
            seen += [link["href"] for link in links if link["href"].startswith(f"/user/{ADDRESS}/")]
            place = next((link["href"] for link in links if link.get("rel") == "next"), "")
            steps.append(next((link["href"] for link in links if link.get("rel") == "prev"), ""))
        assert seen == [f"/user/{ADDRESS}/{ADDRESS}.{number:03}" for number in range(230)]
        assert steps == ["", f"{first}?offset=0", f"{first}?offset=100"]
    assert "231 to 230" not in Reading(ask(pool.app, "/machines?offset=999").body).text
    assert ask(pool.app, "/machines?offset=-1").status == ask(pool.app, "/blocks?offset=x").status == 400
    assert "840,001" in Reading(ask(pool.app, "/blocks").body).text
    pool = _Pool()
    assert f"{ADDRESS}.rig" not in ask(pool.app, "/machines").body.decode()


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
