"""The pages as they are without a script: whole, readable, and nothing of a stranger's name in their markup."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.page import made
from tests.page.reading import Reading, plain
from tests.page.test_markup import NASTY
from warppool.page.assets import ASSETS
from warppool.page.markup import visible
from warppool.page.minerpage import miner_page, unknown_page
from warppool.page.poolpage import next_block, pool_page
from warppool.page.view import FoundBlockRow, PageLink, PaidOutput, PoolView, ShareSums, State
from warppool.stats.snapshot import Rates

PAGES = {
    "pool": pool_page(made.pool()),
    "new pool": pool_page(PoolView(made.SITE, State("bad", "No work.", "No node has given any yet."), Rates(), (), 0, 0,
                                   0.0, 0.0, 0.0, ShareSums())),
    "user": miner_page(made.user()),
    "worker": miner_page(made.worker()),
    "unknown": unknown_page(made.SITE, "bc1qnobody"),
}


@pytest.fixture(params=PAGES, name="reading")
def _reading(request):
    return Reading(PAGES[request.param])


def test_nothing_is_loaded_from_elsewhere_and_nothing_stands_inline(reading):
    for element in reading.elements:
        names = element.attributes.keys()
        assert not [name for name in names if name == "style" or name.startswith("on")]
        for name in names & {"src", "href", "action"}:
            assert re.match(r"[/#](?!/)", element.attributes[name])
            place = element.attributes[name].split("?")[0]
            assert not place.startswith("/static/") or place in ASSETS
    assert reading.all("style") == [] and all("src" in script for script in reading.all("script"))


def test_a_screen_reader_finds_its_way(reading):
    ids = [element.attributes["id"] for element in reading.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert reading.all("html") == [{"lang": "en"}] and len(reading.all("h1")) <= 1 and len(reading.all("main")) == 1
    for section in reading.all("section"):
        assert section["aria-labelledby"] in ids
    for label in reading.all("label"):
        assert label["for"] in ids
    assert all("scope" in head for head in reading.all("th"))
    assert len(reading.all("caption")) == len(reading.all("table"))
    assert all("alt" in image for image in reading.all("img"))
    assert all("aria-label" in element.attributes for element in reading.elements
               if element.attributes.get("role") in ("img", "region"))


def test_ten_seconds_are_enough():
    """Whether it works, how fast, when a block may come, who is paid: in this order, before all else."""
    text = Reading(PAGES["pool"]).text
    asked = ["Working. 31 machines mine on fresh work", "Hash rate 12.3 TH/s", "Next block in about 1,600 years",
             "Machines 31 of 12 users: 20 V1, 8 V1 over TLS, 3 V2", "Best share ever 4.4 T 3.1 % of what a block needs",
             "Blocks found 2", "Work since the last block 34 %", "Who is paid Each block pays its whole reward"]
    places = [text.index(words) for words in asked]
    assert places == sorted(places)


def test_the_pool_page_has_what_an_operator_looks_for():
    text = Reading(PAGES["pool"]).text
    for words in ("stratum2+tcp://pool.example:34254/", "stale-share 321 0.26 %", "Accepted 123,456 (99.7 %)",
                  "7 days 10.2 TH/s", "924,990", "120 %", "The 3 of 31 with the most work",
                  "133 confirmations: settled", "not in the chain", made.ADDRESS,
                  "3.14512345 BTC", "/warppool/",
                  "12 blocks behind", "New block to last machine 4 ms", "Window 8 x the work of a block"):
        assert words in text


def test_a_pool_without_anything_says_so():
    text = Reading(PAGES["new pool"]).text
    assert "nan" not in text.lower() and "inf" not in text.replace("information", "").lower()
    for words in ("No work. No node has given any yet.", "Hash rate 0 H/s", "not yet known", "No block yet",
                  "none yet"):
        assert words in text


def test_a_miners_page_names_him_whole_and_his_machines():
    reading = Reading(PAGES["user"])
    assert f"Miner {made.ADDRESS}" in reading.text and "Balance 0.0012 BTC" in reading.text
    assert f"/user/{made.ADDRESS}/{made.ADDRESS}.attic" in [link["href"] for link in reading.all("a")]
    reading = Reading(PAGES["worker"])
    assert f"Machine {made.ADDRESS}.attic" in reading.text and "V1 over TLS" in reading.text
    assert f"/user/{made.ADDRESS}" in [link["href"] for link in reading.all("a")]


@pytest.mark.parametrize("nasty", NASTY)
def test_whatever_strangers_call_themselves_is_shown_as_text(nasty):
    job = made.pool().job
    assert job is not None
    view = made.pool(
        miners=(made.miner(nasty, agent=nasty), made.miner("x", who=PageLink(nasty, "/user/x"))),
        blocks=(FoundBlockRow(1, "00", 1.0, nasty, None, nasty),),
        job=replace(job, tag=nasty, outputs=(PaidOutput(nasty, 1),)))
    for page, body in (("pool", pool_page(view)), ("user", miner_page(made.user(nasty))),
                       ("worker", miner_page(made.worker(nasty))), ("unknown", unknown_page(made.SITE, nasty))):
        reading, plain = Reading(body), Reading(PAGES[page])
        assert " ".join(visible(nasty).split()) in reading.text
        assert {element.tag for element in reading.elements} <= {element.tag for element in plain.elements}
        assert len(reading.all("script")) == 2


def test_a_block_may_come_never_soon_or_late():
    assert next_block(0, 1e14) == next_block(1e12, 0) == "not yet known"
    assert plain(next_block(2**32 * 100 / 86_400, 100)) == "in about 24 h"
    assert next_block(1e-300, 1e14) == "in more than a billion years"
