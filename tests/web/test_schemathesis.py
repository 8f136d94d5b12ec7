"""Another program's reader of OpenAPI asks the real server what it likes, and finds what `openapi.json` says.

It needs schemathesis, which is a tool of its own with many packages: `tox -e schema`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.stats.made import snapshot
from tests.web.asking import serving
from tests.web.test_apiv1 import BOOKS, SHARED
from warppool.web import apiv1
from warppool.web.app import WebApp
from warppool.web.routes import RouteTable
from warppool.web.view import WebSettings, WebViews

schemathesis: Any = pytest.importorskip("schemathesis")
pytest.importorskip("waitress")

from schemathesis.specs.openapi.checks import negative_data_rejection  # noqa: E402

EXAMPLES = 20                   # of each path; they are the same in each run
PATHS = sorted(json.loads(apiv1.OPENAPI)["paths"])


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    """The document as the server gives it. The clock of the application goes on a second with each look at it."""
    clock = itertools.count()
    views = WebViews(lambda: snapshot(payout=SHARED), WebSettings(), BOOKS)
    app = WebApp(RouteTable(apiv1.ROUTES), views, frozenset({"127.0.0.1"}), monotonic=lambda: float(next(clock)))
    with serving(app) as (_, (host, port)):
        yield schemathesis.openapi.from_url(f"http://{host}:{port}/api/v1/openapi.json")


@pytest.mark.parametrize("is_wrong", [False, True], ids=["as the document says", "otherwise"])
@pytest.mark.parametrize("path", PATHS)
def test_the_server_answers_as_the_document_says(api: Any, path: str, is_wrong: bool) -> None:
    mode = schemathesis.GenerationMode.NEGATIVE if is_wrong else schemathesis.GenerationMode.POSITIVE
    operation = api[path]["GET"]
    if is_wrong and not operation.query:
        pytest.skip("nothing of it can be wrong")

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
              suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        # A number beyond its bound is brought within it, and a field that nobody knows is left out.
        case.call_and_validate(excluded_checks=[negative_data_rejection] if is_wrong else [])

    ask()
