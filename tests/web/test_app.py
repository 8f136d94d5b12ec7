"""What the application refuses, keeps and counts, whatever its routes are."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.page.reading import Reading
from tests.stats.made import AT, snapshot
from tests.web.asking import NO_BOOKS, Hand, ask, said
from warppool.stats.snapshot import WorkStats
from warppool.web import healthroute
from warppool.web.answers import HttpAnswer, see_other, status_line
from warppool.web.app import ANSWERS_PER_S, BOOKS_PER_S, BOOKS_SHARE, MAX_KEPT, WATCHED_PER_S, WebApp
from warppool.web.requests import host_of
from warppool.web.routes import RouteTable, WebRoute
from warppool.web.view import WebSettings, WebViews


class Counted:
    """A route's answer that counts how often it is made."""

    def __init__(self, size: int = 1) -> None:
        self.made = 0
        self._size = size

    def __call__(self, asked: Any, view: Any) -> HttpAnswer:
        self.made += 1
        return HttpAnswer(b"x" * self._size)


def app_with(*routes: WebRoute, hosts: frozenset[str] = frozenset({"localhost"}), **values: Any) -> WebApp:
    stats = values.pop("stats", snapshot())
    latest = stats if callable(stats) else lambda: stats
    return WebApp(RouteTable(routes), WebViews(latest, WebSettings(), NO_BOOKS), hosts, **values)


def test_answers_of_a_second_are_bounded_for_all_together() -> None:
    clock = Hand()
    app = app_with(WebRoute("/a", said(b"a")), monotonic=clock)
    replies = [ask(app, "/a" if index % 2 else "/none") for index in range(200)]
    assert sum(reply.status != 429 for reply in replies) == ANSWERS_PER_S
    assert replies[-1].headers["retry-after"] == "1"
    clock.now += 1.0
    assert sum(ask(app, "/a").status == 200 for _ in range(200)) == ANSWERS_PER_S


def test_a_person_is_refused_in_words() -> None:
    app = app_with(monotonic=Hand())
    missing = ask(app, "/none", accept="text/html")
    assert missing.status == 404 and "There is no such page here." in Reading(missing.body).text
    assert "refresh" not in missing.headers and ask(app, "/none").body == b'{"error": "not found"}'
    while (reply := ask(app, "/none", accept="text/html")).status == 404:
        pass
    assert (reply.status, reply.headers["refresh"], reply.headers["content-type"]) == (
        429, "5", "text/html; charset=utf-8")
    assert "Too many visitors." in Reading(reply.body).text and 'id="content"' in reply.body.decode()
    assert ask(app, "/none").body.startswith(b'{"error": "too many')


def test_what_watches_the_pool_has_answers_that_visitors_cannot_use_up() -> None:
    app = app_with(WebRoute("/a", said(b"a")), WebRoute("/health", said(b"ok"), is_watched=True), monotonic=Hand())
    for _ in range(100):
        ask(app, "/a")
    assert sum(ask(app, "/health").status == 200 for _ in range(50)) == WATCHED_PER_S


def test_questions_to_the_books_are_fewer() -> None:
    app = app_with(WebRoute("/of/{name}", Counted(), reads_books=True), monotonic=Hand())
    statuses = [ask(app, f"/of/{index}").status for index in range(25)]
    assert statuses.count(200) == BOOKS_PER_S


def test_questions_that_take_long_are_fewer_still() -> None:
    clock = Hand()

    def slow(asked: Any, view: Any) -> HttpAnswer:
        clock.now += 0.5
        return HttpAnswer(b"x")

    app = app_with(WebRoute("/of/{name}", slow, reads_books=True), WebRoute("/a", said(b"a")), monotonic=clock)
    began, answered = clock.now, 0
    while clock.now < began + 100.0:
        answered += ask(app, f"/of/{clock.now}").status == 200
        assert ask(app, "/a").status == 200
        clock.now += 0.1
    assert 0.8 * 100.0 * BOOKS_SHARE <= 0.5 * answered <= 1.2 * 100.0 * BOOKS_SHARE


def test_a_body_is_made_once_per_snapshot() -> None:
    made, stats = Counted(), [snapshot()]
    app = app_with(WebRoute("/a", made, query=("q",)), stats=lambda: stats[0], monotonic=Hand())
    for target in ("/a", "/a", "/a?junk=1", "/a?junk=2", "/a?q=1", "/a?q=1"):
        ask(app, target)
    assert made.made == 2
    stats[0] = snapshot()
    ask(app, "/a")
    assert made.made == 3


def test_what_is_kept_is_bounded() -> None:
    clock, made = Hand(), Counted(100_000)
    app = app_with(WebRoute("/of/{name}", made), monotonic=clock)
    for index in range(2 * MAX_KEPT):
        clock.now += 0.1
        ask(app, f"/of/{index}")
    kept = app._kept
    assert kept._bytes <= 8 * 1024 * 1024
    assert len(kept._answers) <= MAX_KEPT


def test_who_has_the_body_is_not_sent_it_again() -> None:
    app = app_with(WebRoute("/a", said(b"a")))
    first = ask(app, "/a")
    again = ask(app, "/a", if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-length" not in again.headers


def test_head_is_get_without_a_body() -> None:
    app = app_with(WebRoute("/a", said(b"abc")))
    got, head = ask(app, "/a"), ask(app, "/a", "HEAD")
    assert (head.status, head.headers, head.body) == (200, got.headers, b"")
    assert head.headers["content-length"] == "3"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "BREW"])
def test_nothing_but_get_and_head(method: str) -> None:
    reply = ask(app_with(WebRoute("/a", said(b"a"))), "/a", method)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(("host", "any_address", "status"), [
    ("localhost", False, 200), ("LOCALHOST:8080", False, 200), ("localhost.", False, 200), ("[::1]:80", False, 200),
    ("evil.example", False, 421), ("", False, 421), ("localhost.evil.example", False, 421), ("10.0.0.7", False, 421),
    ("localhost@evil.example", False, 421), ("localhost, evil.example", False, 421), ("[::1].evil", True, 421),
    ("10.0.0.7:8080", True, 200), ("[2001:db8::1]", True, 200), ("evil.example", True, 421),
    ("1.2.3.4.evil", True, 421),
])
def test_only_who_calls_this_server_by_its_name_is_answered(host: str, any_address: bool, status: int) -> None:
    app = app_with(WebRoute("/a", said(b"a")), hosts=frozenset({"localhost", "::1"}), any_address=any_address)
    assert ask(app, "/a", host=host).status == status
    assert ask(app, f"http://{host}/a" if host else "/a", host="localhost" if host else host).status in (status, 400)


def test_a_health_check_may_call_it_as_it_likes() -> None:
    app = app_with(*healthroute.ROUTES, stats=snapshot(at=4e9))
    assert ask(app, "/health", host="10.0.0.7").status == 200


def test_health_is_bad_where_work_is_stale_and_says_why() -> None:
    app = app_with(*healthroute.ROUTES, stats=snapshot(at=4e9, work=WorkStats()))
    reply = ask(app, "/health")
    assert reply.status == 503
    assert b"no work yet" in reply.body
    old = app_with(*healthroute.ROUTES, stats=snapshot(at=AT))
    assert b"old" in ask(old, "/health").body


def test_a_redirect_has_no_body() -> None:
    reply = ask(app_with(WebRoute("/go", lambda asked, view: see_other("/there"))), "/go")
    assert (reply.status, reply.headers["location"], reply.body) == (303, "/there", b"")


def test_a_path_without_names_wins_and_an_empty_segment_is_no_name() -> None:
    app = app_with(WebRoute("/x/{name}", said(b"name")), WebRoute("/x/list", said(b"list")),
                   WebRoute("/", said(b"first")))
    assert [ask(app, target).body for target in ("/x/a", "/x/list", "/", "http://localhost?x")] == [
        b"name", b"list", b"first", b"first"]
    assert [ask(app, target).status for target in ("/x/", "/x", "//x/a", "/x//", "*", "x")] == [
        404, 404, 404, 404, 400, 400]


@given(st.text(st.characters(max_codepoint=255), max_size=80), st.text(max_size=30), st.text(max_size=30))
def test_any_request_gets_an_answer(target: str, host: str, accept: str) -> None:
    app = app_with(WebRoute("/{a}", said(b"a"), query=("q",)), WebRoute("/{a}/{b}", said(b"b")))
    for each in (target, f"/{target}", f"/?{target}"):
        assert ask(app, each, host=host, accept=accept).status in (200, 400, 404, 421)


@given(st.text(max_size=60))
def test_a_host_is_a_name_or_nothing(authority: str) -> None:
    assert not set(host_of(authority)) & set("/@[]")


@pytest.mark.parametrize("status", [200, 303, 304, 400, 404, 405, 421, 429, 500, 503])
def test_a_status_is_called_as_everybody_calls_it(status):
    assert status_line(status) == f"{status} {HTTPStatus(status).phrase}"
