"""The charts of the pages: a day of the pool, of a user or of a worker, by ten minutes, from the books."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from warppool.errors import LedgerError
from warppool.page.view import Point
from warppool.web.books import DAY_SLOTS
from warppool.web.tokens import TokenBucket
from warppool.web.view import WebView

SLOT_S: Final = 600

MAX_CHARTS: Final = 256
"""Charts of users and workers that are kept, those that were asked for last."""

ASKED_PER_S: Final = 5.0
"""Questions to the books for these: who asks for page after page gets pages without a chart."""

SHARE: Final = 0.1
"""Of the time, so much may go into these questions; that of a user with a thousand machines takes a while."""

RETRY_S: Final = 10
"""After books that could not be read; and the longest wait after a question that took long."""


class Charts:
    """Asks the books once in ten minutes for each name, so that a page which keeps itself fresh costs them nothing. The
    thread `web-task` owns it.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kept: dict[str | None, tuple[int, tuple[Point, ...]]] = {}    # and the slot of then
        self._bucket = TokenBucket(ASKED_PER_S, ASKED_PER_S, 0.0)
        self._retry_at = 0                      # a number of a snapshot: these count seconds, and never go back

    def of(self, view: WebView, name: str | None = None) -> tuple[Point, ...] | None:
        """Of one name, or of the pool; an older one while there can be no new one, and None where there is neither."""
        slot = int(view.stats.at) // SLOT_S
        kept = self._kept.pop(name, None)
        if kept is None or kept[0] != slot:
            points = self._asked(view, name)
            kept = kept if points is None else (slot, points)
        if kept is None:
            return None
        self._kept[name] = kept                 # as the newest
        if len(self._kept) > MAX_CHARTS:
            del self._kept[next(each for each in self._kept if each is not None)]
        return kept[1]

    def _asked(self, view: WebView, name: str | None) -> tuple[Point, ...] | None:
        number = view.stats.number
        if number < self._retry_at or (name is not None and not self._bucket.take(float(number))):
            return None
        began = self._monotonic()
        try:
            points = view.books.history(view.stats.at, SLOT_S, DAY_SLOTS, name)
        except LedgerError:                     # the log has it from the thread that writes them
            self._retry_at = number + RETRY_S
            return None
        if name is not None:
            took_s = self._monotonic() - began
            self._bucket.spend(float(number), ASKED_PER_S * min(float(RETRY_S), took_s / SHARE))
        return tuple(Point(point.time, point.hashrate) for point in points)
