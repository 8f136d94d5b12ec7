"""The bench of the web works: every answer is made of a large pool, and a storm is answered. No times."""

from __future__ import annotations

import pytest

from bench.web import CASES, TARGETS, LargeWeb
from bench.webstorm import storm
from tests.web.asking import app_of, said, serving
from warppool.web.routes import WebRoute


def test_every_answer_is_made_of_numbers_and_books(tmp_path):
    pytest.importorskip("prometheus_client")
    web = LargeWeb(tmp_path, 200)
    sizes = {name: web.cost(name)[1] for name in TARGETS}
    assert min(sizes.values()) > 300
    assert sizes["metrics-of-users"] > sizes["metrics"] and sizes["history-of-farm"] > 10_000
    assert {case.name.removeprefix("answer-") for case in CASES} > set(TARGETS)


@pytest.mark.parametrize("kind", ["ask", "drip"])
def test_a_storm_is_begun_and_counted(kind):
    pytest.importorskip("waitress")
    with serving(app_of([WebRoute("/", said(b"a page"))])) as (_, (_, port)):
        told = storm(port, 0.5, kind)
    assert told["begun"] >= 64 and isinstance(told["answers"], dict)
