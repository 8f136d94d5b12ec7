"""From a request to its answer, on the thread `web-task`: what is refused, what is at hand, what is to be made.

A WSGI application, which any server of that standard could call. It is called by one thread at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from warppool.errors import LedgerError
from warppool.page.refusalpage import refusal_page
from warppool.say import say
from warppool.web.answers import HTML, BadField, HttpAnswer, SentAnswer, error, not_found
from warppool.web.requests import Asked, HttpRequest, is_address
from warppool.web.routes import FoundRoute, RouteTable
from warppool.web.tokens import TokenBucket
from warppool.web.view import WebView

log = logging.getLogger(__name__)

ANSWERS_PER_S: Final = 30.0
"""For all visitors together: a page needs seven at first, and then one each five seconds."""

WATCHED_PER_S: Final = 10.0             # for `/health` and `/metrics`: some programs that ask each second
BOOKS_PER_S: Final = 10.0
"""Questions to the books: whoever asks for another machine's history each time costs a disk and not only a thread."""

BOOKS_SHARE: Final = 0.2
"""Of the time, so much may go into such questions. A week of a user with a thousand machines takes half a second, so
whoever asks for that again and again, each time in other words, is told to wait."""

LONGEST_WAIT_S: Final = 30.0            # after one question, however long it took

MAX_KEPT: Final = 512                   # answers kept until the next snapshot ...
MAX_KEPT_BYTES: Final = 8 * 1024 * 1024         # ... and how much they hold in all

Start = Callable[[str, list[tuple[str, str]]], object]


class WebApp:
    """Answers requests from `table`. `view` gives what answers are made of, a new one for each snapshot; None while
    there are no numbers yet.

    `hosts` are the names by which browsers may call this server. Others are refused: a page from elsewhere, whose name
    its owner lets point to this address, could read the pool in the browser of somebody who may. With `any_address` an
    IP address in the place of a name is let pass, which no such page can use.
    """

    def __init__(self, table: RouteTable, view: Callable[[], WebView | None], hosts: frozenset[str], *,
                 any_address: bool = False, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._view = view
        self._hosts = hosts
        self._any_address = any_address
        self._monotonic = monotonic
        now = monotonic()
        self._visitors = TokenBucket(ANSWERS_PER_S, ANSWERS_PER_S, now)
        self._watchers = TokenBucket(WATCHED_PER_S, WATCHED_PER_S, now)
        self._books = TokenBucket(BOOKS_PER_S, BOOKS_PER_S, now)
        self._kept = _Kept()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request; never raises."""
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        try:
            etag, sent = self._answer(environ)
        except Exception:                               # a bug costs this answer and nothing else
            log.exception("event=web.failed path=%s", ascii(environ.get("REQUEST_URI", ""))[:200])
            etag, sent = "", SentAnswer.of(error(500, "a bug: the log has it"))
        if etag and sent.etag in etag and sent.status.startswith("200"):
            start("304 Not Modified", list(sent.unchanged))
            return ()
        start(sent.status, list(sent.headers))
        return () if is_head else (sent.body,)

    def _answer(self, environ: dict[str, Any]) -> tuple[str, SentAnswer]:
        """If-None-Match of the request, and its answer."""
        try:
            request = HttpRequest.read(environ)
            found = self._table.find(request.segments)
        except ValueError:
            request, found = None, None
        now = self._monotonic()
        bucket = self._watchers if found is not None and found.route.is_watched else self._visitors
        if not bucket.take(now):
            return "", _TOO_MANY.to(request)
        if request is None:
            return "", _UNREADABLE
        if request.method not in ("GET", "HEAD"):
            return "", _WRONG_METHOD
        if not (found is not None and found.route.any_host) and not self._is_ours(request.host):
            return "", _MISDIRECTED
        if found is None:
            return "", _NOT_FOUND.to(request)
        return request.etag, self._made(request, found)

    def _is_ours(self, host: str) -> bool:
        return host in self._hosts or (self._any_address and is_address(host))

    def _made(self, request: HttpRequest, found: FoundRoute) -> SentAnswer:
        """The answer of a route, made at most once per snapshot."""
        route = found.route
        try:
            fields = request.fields() if request.query and route.query else {}
        except ValueError:
            return _UNREADABLE
        query = {key: fields[key] for key in route.query if key in fields}
        wants_html = route.has_html and request.wants_html
        view = self._view()
        if view is None:
            return _NO_NUMBERS.to(request)
        key = (request.segments, tuple(query.items()), wants_html)
        if route.is_kept and (kept := self._kept.get(view, key)) is not None:
            return kept
        asked_at = self._monotonic()
        if route.reads_books and not self._books.take(asked_at):
            return _TOO_MANY.to(request)
        answer = _of_route(route.answer, Asked(found.names, query, wants_html), view)
        if route.reads_books:
            now = self._monotonic()
            self._books.spend(now, BOOKS_PER_S * min(LONGEST_WAIT_S, (now - asked_at) / BOOKS_SHARE))
        sent = SentAnswer.of(answer)
        return self._kept.put(key, sent) if route.is_kept else sent


def _of_route(answer: Callable[[Asked, WebView], HttpAnswer], asked: Asked, view: WebView) -> HttpAnswer:
    try:
        return answer(asked, view)
    except BadField as exc:
        return error(400, str(exc))
    except LedgerError as exc:                          # its text names a path of this machine: for the log alone
        say(log, logging.WARNING, "web.unread", reason=str(exc))
        return error(503, "the books cannot be read now")


class _Kept:
    """Answers that were made of one view."""

    def __init__(self) -> None:
        self._view: WebView | None = None
        self._answers: dict[object, SentAnswer] = {}
        self._bytes = 0

    def get(self, view: WebView, key: object) -> SentAnswer | None:
        """What was made of this view; what was made of an older one is forgotten."""
        if view is not self._view:
            self._view = view
            self._answers.clear()
            self._bytes = 0
        return self._answers.get(key)

    def put(self, key: object, sent: SentAnswer) -> SentAnswer:
        """Keep it, as far as there is room: who asks for many different things gets each of them made."""
        if len(self._answers) < MAX_KEPT and self._bytes + len(sent.body) <= MAX_KEPT_BYTES:
            self._answers[key] = sent
            self._bytes += len(sent.body)
        return sent


class _Refusal(NamedTuple):
    """The same for a program and for a person."""

    json: SentAnswer
    html: SentAnswer

    @classmethod
    def of(cls, answer: HttpAnswer, word: str, sentence: str, after: str) -> _Refusal:
        body = refusal_page(word, sentence, after)
        headers = (*answer.headers, ("Refresh", "5")) if answer.headers else ()         # a browser without scripts
        return cls(SentAnswer.of(answer), SentAnswer.of(HttpAnswer(body, HTML, answer.status, headers=headers)))

    def to(self, request: HttpRequest | None) -> SentAnswer:
        return self.html if request is not None and request.wants_html else self.json


_AGAIN: Final = (("Retry-After", "1"),)
_TOO_MANY: Final = _Refusal.of(
    error(429, "too many requests: ask again in a second", _AGAIN), "Too many visitors.",
    "The page is asked for more often than it is answered. No machine notices that.", "It comes by itself, soon.")
_UNREADABLE: Final = SentAnswer.of(error(400, "this is no request that can be read"))
_WRONG_METHOD: Final = SentAnswer.of(error(405, "GET and HEAD alone", [("Allow", "GET, HEAD")]))
_MISDIRECTED: Final = SentAnswer.of(error(421, "this server has no such name: see web.hosts of its configuration"))
_NOT_FOUND: Final = _Refusal.of(
    not_found(), "Not found.", "There is no such page here.",
    "The name at the top leads to the first page, and the field beside it to that of a machine.")
_NO_NUMBERS: Final = _Refusal.of(
    error(503, "no numbers yet: the pool has just started", _AGAIN), "Starting.",
    "The pool has just been started. Its numbers come within seconds.", "This page comes by itself, soon.")
