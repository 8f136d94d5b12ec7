"""`/health`: whether machines should be sent here. It says when work is stale; a restart would not mend that."""

from __future__ import annotations

import time
from typing import Final

from warppool.stats.health import health_of
from warppool.web.answers import HttpAnswer, json_answer
from warppool.web.requests import Asked
from warppool.web.routes import WebRoute
from warppool.web.view import WebView


def health(asked: Asked, view: WebView) -> HttpAnswer:
    """200, or 503 with the reason."""
    now = time.time()
    found = health_of(view.stats, now)
    return json_answer({"status": "ok" if found.is_ok else "stale", "reason": found.reason, "time": now},
                       200 if found.is_ok else 503)


ROUTES: Final = (WebRoute("/health", health, is_watched=True, any_host=True, is_kept=False),)
