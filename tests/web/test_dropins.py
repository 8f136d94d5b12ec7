"""Programs that people have for other pools read this one. Their rules are written out here from what they do, and not
from what we write.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.stats.made import ADDRESS, AT, HOSTILE, snapshot, tally, user, worker
from tests.web.asking import ask
from tests.web.test_apiv1 import app
from warppool.stats.snapshot import StatsSnapshot
from warppool.web.dropins import iso

KEY = bytes(range(32))


def read(target: str, **settings: Any) -> Any:
    """The JSON of an answer of the made-up pool."""
    reply = ask(app(snapshot(), **settings), target)
    assert reply.status == 200
    return json.loads(reply.body)


def display(body: bytes) -> tuple[float, int, float]:
    """A small machine's display, as NerdMiner's: it takes the first two as numbers, and adds up the rates of workers.

    It shows 0 for what is not as it expects, silently; this reader raises. It has 2 kB for what it reads, which some
    thirty workers fill: on a farm's address what comes behind `workers` is lost.
    """
    answer = json.loads(body)
    assert [*answer].index("workers") > max([*answer].index(key) for key in ("bestDifficulty", "workersCount"))
    best, count = answer["bestDifficulty"], answer["workersCount"]
    assert type(best) in (int, float)
    assert type(count) is int
    rates = [each["hashRate"] for each in answer["workers"]]
    assert all(type(rate) in (int, float) for rate in rates)
    return best, count, sum(rates)


def test_the_display_of_a_small_machine_shows_its_pool() -> None:
    best, count, rate = display(ask(app(snapshot()), f"/api/client/{ADDRESS}").body)
    assert (best, count) == (tally().best_ever, 2)
    assert rate == 2 * tally().rates.m5
    assert ask(app(snapshot()), "/api/client/nobody").status == 404


def test_rows_of_workers_are_as_public_pool_has_them() -> None:
    answer = read(f"/api/client/{ADDRESS}", key=KEY)
    for row in answer["workers"]:
        assert set(row) == {"sessionId", "name", "bestDifficulty", "hashRate", "startTime", "lastSeen"}
        assert re.fullmatch("[0-9a-f]{8}", row["sessionId"])
        assert re.fullmatch(r"\d+\.\d\d", row["bestDifficulty"])
        assert datetime.fromisoformat(row["startTime"]).timestamp() == AT - 86_400
    assert [row["name"] for row in answer["workers"]] == ["rig", "idle"]
    session = answer["workers"][0]["sessionId"]
    whole = read(f"/api/client/{ADDRESS}/rig/{session}", key=KEY)
    assert (whole["sessionId"], whole["name"]) == (session, "rig")
    assert type(whole["bestDifficulty"]) is int
    assert ask(app(snapshot(), key=KEY), f"/api/client/{ADDRESS}/rig/00000000").status == 404
    assert read(f"/api/client/{ADDRESS}/rig", key=KEY)["name"] == "rig"


def test_where_rewards_go_in_a_way_that_public_pool_has_its_newer_fields_are_there() -> None:
    for payout, has_fields in (("solo", True), ("pplns", True), ("pool", False), ("", False)):
        answer = json.loads(ask(app(snapshot(), payout=payout), f"/api/client/{ADDRESS}").body)
        assert ("expectedPayout" in answer) is has_fields and answer.get("expectedPayout") is None
        assert {row.get("payoutMode", "") for row in answer["workers"]} == {payout if has_fields else ""}


def test_an_id_of_a_session_says_nothing_without_the_key() -> None:
    of = [read(f"/api/client/{ADDRESS}", key=key)["workers"][0]["sessionId"] for key in (KEY, KEY, bytes(32))]
    assert of[0] == of[1] != of[2]


def test_a_machine_that_is_gone_is_no_session() -> None:
    assert read("/api/client/bob") == {"bestDifficulty": tally().best_ever, "workersCount": 0, "workers": []}
    nameless = ask(app(snapshot(user("bob", worker("bob")))), "/api/client/bob").body
    assert json.loads(nameless)["workers"][0]["name"] == "worker"
    assert json.loads(ask(app(snapshot(user("bob", worker("bob")))), "/api/client/bob/worker").body)["name"] == "worker"


def test_a_user_with_very_many_machines_has_an_answer_of_bounded_size() -> None:
    many = snapshot(user("farm", *(worker(f"farm.{index}") for index in range(3000))))
    answer = json.loads(ask(app(many), "/api/client/farm").body)
    assert (answer["workersCount"], len(answer["workers"])) == (3000, 1000)


def test_info_is_as_public_pools_own_page_reads_it() -> None:
    answer = read("/api/info")
    assert datetime.fromisoformat(answer["uptime"]).timestamp() == AT - 100_000
    for agent in answer["userAgents"]:
        assert type(agent["userAgent"]) is str
        assert int(agent["count"]) > 0
        assert float(agent["totalHashRate"]) > 0
        assert agent["bestDifficulty"] > 0
    assert len(answer["highScores"]) <= 10
    best = [row["bestDifficulty"] for row in answer["highScores"]]
    assert best == sorted(best, reverse=True)
    assert {"height", "minerAddress", "worker", "sessionId"} == set(answer["blockData"][0])


def test_charts_are_texts_and_numbers_of_ten_minutes() -> None:
    for target in ("/api/info/chart", f"/api/client/{ADDRESS}/chart"):
        chart = read(target)
        assert len(chart) == 4
        times = [datetime.fromisoformat(point["label"]).timestamp() for point in chart]
        assert [later - one for one, later in pairwise(times)] == [600.0] * 3
        assert all(type(point["data"]) is float for point in chart)
        assert times[-1] + 600 <= AT < times[-1] + 1200             # the ten minutes that run are not there


def test_agents_beyond_twenty_are_one_row() -> None:
    many = snapshot(user("farm", *(worker(f"farm.{index}", agent=f"agent/{index}") for index in range(50))))
    agents = json.loads(ask(app(many), "/api/info").body)["userAgents"]
    assert len(agents) == 21
    assert sum(int(row["count"]) for row in agents) == 50


def umbrel(answer: Any) -> list[str]:
    """What Umbrel's widget server makes of `/api/pool`: four texts."""
    assert type(answer["totalHashRate"]) in (int, float)
    assert type(answer["totalMiners"]) is int
    assert type(answer["blockHeight"]) is int
    return [f"{answer['totalHashRate']:.0f}", str(answer["totalMiners"]), str(len(answer["blocksFound"])),
            str(answer["blockHeight"])]


def test_umbrel_reads_the_pool_and_our_own_widget() -> None:
    assert umbrel(read("/api/pool")) == [f"{3.7e12 * 0.99:.0f}", "3", "2", "840041"]
    widget = read("/widget")
    assert widget["type"] == "four-stats"
    assert len(widget["items"]) == 4
    for item in widget["items"]:
        assert {key: type(text) for key, text in item.items()} == {"title": str, "text": str, "subtext": str}


def test_the_network_is_as_a_node_says_it() -> None:
    answer = read("/api/network")
    assert answer["blocks"] == 840_041
    assert answer["networkhashps"] == pytest.approx(18_224_576.0 * 2**32 / 600)


@pytest.mark.parametrize("target", ["/api/info", "/api/pool", "/api/network", "/widget", "/pool/pool.status"])
def test_a_pool_that_has_just_started_is_read_too(target: str) -> None:
    assert ask(app(StatsSnapshot(number=0, at=AT, started=AT)), target).status == 200


def test_ckpools_files_are_the_same_by_http() -> None:
    from warppool.stats.ckpool import pool_status, user_status

    stats = snapshot()
    assert ask(app(stats), "/pool/pool.status").body == pool_status(stats)
    assert ask(app(stats), f"/users/{ADDRESS}").body == user_status(stats.users[0])
    unknown = ask(app(stats), "/users/nobody")
    assert (unknown.status, unknown.body.strip()) == (404, b"not found")


def test_a_browser_that_asks_for_a_user_is_shown_the_page() -> None:
    reply = ask(app(snapshot()), "/users/%3Cb%3E%2F..%0D%0Aa%FF", accept="text/html,*/*")
    assert (reply.status, reply.headers["location"]) == (303, "/user/%3Cb%3E%2F..%0D%0Aa%FF")


def test_a_hostile_name_is_text() -> None:
    from urllib.parse import quote

    for target in ("/api/client/", "/users/"):
        reply = ask(app(snapshot()), target + quote(HOSTILE, safe=""))
        assert reply.status == 200
        assert reply.body.isascii()
        assert reply.headers["content-type"] == "application/json"


def test_times_are_as_javascript_writes_them() -> None:
    assert iso(0.0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_764_267_000.5) == "2025-11-27T18:10:00.500Z"
    assert iso(1e18) == "9999-12-31T23:59:59.000Z"
