"""The page in a browser: it keeps itself fresh, and what its reader has done stays, whatever the pool answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.page import made
from tests.page.test_markup import NASTY
from tests.peers.chromium import Browser, browser, has_chromium
from warppool.page.assets import ASSETS
from warppool.page.minerpage import miner_page
from warppool.page.poolpage import pool_page
from warppool.page.refusalpage import refusal_page
from warppool.page.view import PageLink, Point, State

pytestmark = [pytest.mark.peer, pytest.mark.skipif(not has_chromium(), reason="no chromium: tests/peers/get_chromium")]

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
TAB, ENTER = "\ue004", "\ue007"
ASK_NOW = "document.dispatchEvent(new Event('visibilitychange'))"


class Site:
    """Serves pages of tests as the pool does; `status` is what it answers instead, while it is not 200."""

    def __init__(self) -> None:
        self.status = 200
        self.pages = {"/": pool_page(made.pool()), "/user": miner_page(made.user()),
                      "/worker": miner_page(made.worker())}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                asset = ASSETS.get(path)
                body = asset.body if asset else site.pages.get(path, b"")
                if body and not asset and site.status != 200:
                    body = refusal_page("Too many visitors.", "Nobody notices.", "It comes by itself.")
                self.send_response(200 if asset else site.status if body else 404)
                self.send_header("Content-Type", asset.content_type if asset else "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", POLICY)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def served(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


@pytest.fixture(scope="module")
def window(tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as each:
        yield each


@pytest.fixture
def site(window) -> Iterator[Site]:
    site = Site()
    with site.served():
        yield site
        complaints, asked = window.complaints(), window.requests()
        assert [each for each in complaints if site.status == 200] == []
        assert [each for each in asked if not each.startswith((site.url, "data:", "chrome:", "about:"))] == []
        window.open("about:blank")


def test_it_keeps_itself_fresh_and_what_the_reader_did_stays(window, site):
    window.open(site.url)
    window.run("document.querySelector('details').open = true; document.querySelectorAll('.copy button')[2].focus()")
    window.run("window.sameWindow = true; window.sameChart = document.querySelector('.plot canvas')")
    history = (*made.HISTORY, Point(made.NOW, 99e12))
    site.pages["/"] = pool_page(made.pool(rates=made.RATES._replace(h1=77e12), history=history, blocks=(), connect=(
        made.pool().connect[2],)))
    window.run(ASK_NOW)
    window.wait_for("document.querySelector('dd.number').textContent === '77\\u00a0TH/s'")
    assert window.run("return document.title") == "77\u00a0TH/s · Hashes of the Hill"
    assert window.run("return [window.sameWindow, document.querySelector('details').open,"
                      "document.activeElement.textContent,"
                      "document.querySelector('.plot canvas') === window.sameChart]") == [True, True, "Copy", True]
    assert window.run("return document.querySelectorAll('figure .scroll tbody tr').length") == 145
    assert window.run("return document.getElementById('blocks').textContent.includes('No block yet')")
    assert window.run("return [...document.querySelectorAll('.copy code')].map(each => each.textContent)") == [
        made.V2_URL]
    assert window.run("return document.querySelectorAll('.copy button').length") == 1


def test_a_new_row_on_top_takes_neither_the_focus_nor_the_place_of_another(window, site):
    rows = [made.miner(who=PageLink(name, f"/user/{name}")) for name in "abcd"]
    site.pages["/"] = pool_page(made.pool(miners=(rows[1], rows[2])))
    window.open(site.url)
    window.run("document.querySelector('#miners tbody tr:last-child a').focus(); window.c = document.activeElement")
    for order in ("abc", "cadb", "dcb"):
        site.pages["/"] = pool_page(made.pool(miners=tuple(rows["abcd".index(name)] for name in order)))
        window.run(ASK_NOW)
        window.wait_for(f"[...document.querySelectorAll('#miners tbody a')].map(a => a.textContent).join('') === "
                        f"'{order}'")
        assert window.run("return [document.activeElement === window.c, window.c.textContent]") == [True, "c"]


def test_a_chart_stays_while_the_pool_has_none_at_hand(window, site):
    window.open(site.url)
    window.run("window.sameChart = document.querySelector('.plot canvas')")
    site.pages["/"] = pool_page(made.pool(history=None, blocks_found=77))
    window.run(ASK_NOW)
    window.wait_for("document.querySelector('.tiles').textContent.includes('77')")
    assert window.run("return document.querySelector('.plot canvas') === window.sameChart")
    window.open(site.url)
    assert window.run("return document.querySelector('#hash-rate p').textContent.includes('not at hand')")


def test_numbers_that_get_old_are_said_to_be_old_and_come_back(window, site):
    window.open(site.url)
    assert window.run("return document.getElementById('offline').hidden")
    site.status = 429
    window.run(ASK_NOW)
    window.wait_for("!document.getElementById('offline').hidden")
    assert "No answer from the pool for " in window.run("return document.getElementById('offline').textContent")
    said = window.run("return document.querySelector('#offline [role=status]').textContent")
    assert said == "No answer from the pool"                        # once, and not each second
    assert "too many visitors" in window.run("return document.getElementById('offline').textContent")
    assert window.run("return document.querySelector('dd.number').textContent") == "12.3\u00a0TH/s"
    assert any("429" in each for each in window.complaints())       # the browser's own line
    site.status = 200
    window.run(ASK_NOW)
    window.wait_for("document.getElementById('offline').hidden")


def test_who_is_refused_at_first_gets_the_page_as_soon_as_there_is_one(window, site):
    site.status = 429
    window.open(site.url)
    assert "Too many visitors." in window.run("return document.body.innerText")
    assert any("429" in each for each in window.complaints())
    site.status = 200
    window.run(ASK_NOW)
    window.wait_for("document.querySelectorAll('.plot canvas').length === 1")
    assert window.run("return document.title") == "12.3\u00a0TH/s \u00b7 Hashes of the Hill"
    assert window.run("return document.getElementById('offline').hidden")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_it_fits_every_screen_in_both_themes(window, site, width, theme):
    window.show(width, 900, theme)
    for path in site.pages:
        window.open(site.url + path)
        assert window.run("return document.documentElement.scrollWidth") <= width
        assert window.run("return document.querySelectorAll('.plot canvas').length") == 1
        place = window.run("const {left, right} = document.querySelector('canvas').getBoundingClientRect();"
                           "return [left, right]")
        assert 0 <= place[0] < place[1] <= width
        background = window.run("return getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(246, 246, 243)" if theme == "light" else "rgb(22, 21, 19)")
    assert window.picture().startswith(b"\x89PNG")


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_a_long_word_in_any_text_stays_within_the_screen(window, site, width):
    word = 30 * "longer"
    at = replace(made.SITE, paid=f"All is paid to {word}.", pool=word)
    state = State("bad", f"{word[:20]}.", f"{word} does not answer.")
    rows = tuple(made.miner(each, agent=word[:20]) for each in (f"{word}.{word}", "short.name"))
    blocks = tuple(block._replace(finder=word) for block in made.pool().blocks)
    site.pages = {"/": pool_page(made.pool(site=at, state=state, miners=rows, blocks=blocks)),
                  "/user": miner_page(replace(made.user(f"{word}.{word}"), site=at, state=state))}
    window.show(width, 900, "light")
    for path in site.pages:
        window.open(site.url + path)
        assert window.run("return document.documentElement.scrollWidth") <= width
        hidden = window.run("return [...document.querySelectorAll('.scroll')].map(each => "
                            "each.scrollWidth - each.clientWidth)")
        assert max(hidden) <= 0
        for place in window.run("return [...document.querySelectorAll('h1, p, dd, section')].map(each => "
                                "each.getBoundingClientRect().right)"):
            assert place <= width


def test_the_keyboard_alone_is_enough(window, site):
    window.open(site.url)
    window.press(TAB)
    assert window.run("return document.activeElement.className") == "skip"
    assert window.run("return document.activeElement.getBoundingClientRect().left") >= 0        # it is seen now
    window.press(ENTER)
    assert window.run("return document.activeElement.id") == "content"
    reached = []
    for _ in range(12):
        window.press(TAB)
        reached.append(window.run("const at = document.activeElement;"
                                  "return at.getAttribute('aria-label') || at.textContent"))
    for name in ("The chart as a table", "Copy Stratum V1", "The 3 of 31 with the most work of the last seven days"):
        assert name in reached


def test_a_url_to_mine_at_is_copied(window, site):
    window.open(site.url)
    window.run("document.querySelector('.copy button').focus()")
    window.press(ENTER)
    window.wait_for("document.querySelector('.copy button').textContent === 'Copied'")


def test_it_can_be_read_without_its_script(window, site):
    window.without_script(True)
    try:
        window.open(site.url)
    finally:
        window.without_script(False)
    assert window.run("return [document.querySelectorAll('canvas').length, document.querySelectorAll('button').length]"
                      ) == [0, 1]
    assert window.run("return document.body.innerText.includes('12.3\\u00a0TH/s')")


def test_names_of_strangers_do_nothing(window, site):
    site.pages["/"] = pool_page(made.pool(miners=tuple(made.miner(nasty, agent=nasty) for nasty in NASTY)))
    site.pages["/user"] = miner_page(replace(made.user(NASTY[1]), state=State("good", NASTY[0], NASTY[1])))
    for path in ("/", "/user"):
        window.open(site.url + path)
        assert window.run("return [document.scripts.length, document.images.length]") == [2, 1]
