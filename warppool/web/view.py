"""What answers are made of: the newest numbers, the books, and what the operator says of the web."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from warppool.stats.masked import masked
from warppool.stats.snapshot import StatsSnapshot
from warppool.web.books import WebBooks
from warppool.web.shortname import shorten

NO_KEY: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What the operator says, and what is the same for the whole run.

    `is_short`: lists shorten names. `user_metrics`: `/metrics` has series for each user. `payout` is how
    rewards go: pool, solo or pplns; "" where that is another's matter. `key` makes ids that stand for names (32 random
    bytes of this run).
    """

    is_short: bool = True
    user_metrics: bool = False
    fee_percent: float = 0.0
    payout: str = ""
    key: bytes = field(default=NO_KEY, repr=False)

    def listed(self, name: str) -> str:
        """A name as lists show it."""
        return shorten(name) if self.is_short else name

    def session_of(self, name: str) -> str:
        """Eight hex digits that stand for the worker `name`, where a format wants an id."""
        return masked(self.key, name)


@dataclass(frozen=True, slots=True)
class WebView:
    """What an answer is made of; a new one for each snapshot."""

    stats: StatsSnapshot
    settings: WebSettings
    books: WebBooks


class WebViews:
    """The newest view; the thread `web-task` owns it. `latest` gives the newest snapshot of the numbers."""

    def __init__(self, latest: Callable[[], StatsSnapshot], settings: WebSettings, books: WebBooks) -> None:
        self._latest = latest
        self._settings = settings
        self._books = books
        self._view = WebView(latest(), settings, books)

    def __call__(self) -> WebView:
        """Of the newest snapshot; the same object while that is the same."""
        stats = self._latest()
        if stats is not self._view.stats:
            self._view = WebView(stats, self._settings, self._books)
        return self._view
