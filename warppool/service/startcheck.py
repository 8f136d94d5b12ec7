"""Whether the translator has an upstream, before a machine asks for one: each is greeted, and left again."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from typing import Any

from warppool.addresses import PoolUrl
from warppool.errors import WarppoolError, WrongServerKey
from warppool.events import Dial
from warppool.miner.greeting import HealthCheck
from warppool.say import say
from warppool.threads import STOP

log = logging.getLogger("warppool")

PATIENCE_S = 10.0
"""How long the start waits for an upstream: without one the translator serves, too, and machines wait in its place."""

AGAIN_S = 1.0
"""From a failed check to the next: the pool may be starting just now, as we are."""

NOBODY = 0
"""The connection that asks for the dial: none does."""


class StartCheck:
    """Greets all upstreams at once, each again and again, until one has answered or the patience is over.

    `dial` hands a dial to a worker, from this thread; `report` hears, once, the upstream that answered first, or None.
    Where it `is_quiet`, each is greeted once, and the log hears of it at DEBUG alone.
    """

    def __init__(self, urls: Sequence[PoolUrl], dial: Callable[[Dial], None],
                 report: Callable[[PoolUrl | None], None], patience_s: float, *, is_quiet: bool = False) -> None:
        self._urls = urls
        self._dial = dial
        self._report = report
        self._patience_s = patience_s
        self._is_quiet = is_quiet
        self._inbox: queue.Queue[Any] = queue.Queue()

    def stop(self) -> None:
        """End `run` at once, without a report."""
        self._inbox.put(STOP)

    def run(self) -> None:
        """The body of the thread; it ends with the report."""
        until = time.monotonic() + self._patience_s
        due = dict.fromkeys(self._urls, 0.0)        # monotonic seconds of the next check; none while one is out
        left = len(due)                             # of those that may answer still
        while left and (now := time.monotonic()) < until:
            for url in [url for url, at in due.items() if at <= now]:
                del due[url]
                self._check(url)
            try:
                item = self._inbox.get(timeout=max(0.0, min([until, *due.values()]) - time.monotonic()))
            except queue.Empty:
                continue
            if item is STOP:
                return
            url, error = item
            if error is None:
                say(log, logging.DEBUG if self._is_quiet else logging.INFO, "upstream.answered", upstream=url.place)
                self._report(url)
                return
            if self._is_quiet:
                say(log, logging.DEBUG, "upstream.failed", upstream=url.place, reason=str(error))
                left -= 1
                continue
            _say_failure(url, error)
            if not isinstance(error, WrongServerKey):
                due[url] = time.monotonic() + AGAIN_S
        self._report(None)

    def _check(self, url: PoolUrl) -> None:
        def tell(error: WarppoolError | None) -> None:
            self._inbox.put((url, error))

        self._dial(Dial(NOBODY, url.host, url.port, HealthCheck(url, tell)))


def _say_failure(url: PoolUrl, error: WarppoolError) -> None:
    if isinstance(error, WrongServerKey):
        say(log, logging.ERROR, "upstream.refused", upstream=url.place, reason=str(error),
            meaning="it is not used, since it proves another key than the one in its url: compare the two")
    else:
        say(log, logging.WARNING, "upstream.failed", upstream=url.place, reason=str(error))
