"""docs/sight.rst names paths, metrics and bounds: they are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.stats.made import snapshot
from warppool.stats.ckpool import KEPT_S, MOST_USERS
from warppool.web import apiv1, dropins, healthroute
from warppool.web.admission import MAX_CONNECTIONS, MAX_OF_LOOPBACK, MAX_PER_ADDRESS
from warppool.web.app import ANSWERS_PER_S

PAGE = (Path(__file__).parents[2] / "docs/sight.rst").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
CLIENT = "/api/client/{address}"


def test_every_path_of_the_page_is_served_and_every_route_is_on_the_page() -> None:
    routes = {route.path for route in (*apiv1.ROUTES, *dropins.ROUTES, *healthroute.ROUTES)} | {"/metrics"}
    named = set(re.findall(r"``(/(?:api|pool|users|widget|health|metrics)[^`? ]*)``", PAGE))
    ends = re.search(f"``{re.escape(CLIENT)}``, with ``(.+?)``, ``(.+?)`` and ``(.+?)``", TEXT)
    assert ends is not None
    named |= {CLIENT + end for end in ends.groups()}
    named -= {"/api", "/api/v1", "/users/...", "/users/ADDRESS"}
    assert named == routes


def test_every_metric_of_the_page_is_there() -> None:
    pytest.importorskip("prometheus_client")
    from warppool.web.metrics import exposition

    families = set(re.findall(rb"^# TYPE (\S+)", exposition(snapshot()), re.MULTILINE))
    assert {name.encode() for name in re.findall(r"``(warppool_\w+)``", PAGE)} <= families


@pytest.mark.parametrize("words", [
    f"{MAX_CONNECTIONS} connections, {MAX_PER_ADDRESS} of one address ({MAX_OF_LOOPBACK} of this machine)",
    f"{ANSWERS_PER_S:.0f} answers a second, then 429",
    f"at most the {MOST_USERS:,} with the most work",
    f"away for {'seven' if KEPT_S == 7 * 86_400 else KEPT_S} days",
])
def test_the_bounds_of_the_page_are_those_of_the_code(words: str) -> None:
    assert words in TEXT
