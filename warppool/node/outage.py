"""What is said of a template source that fails, and when it is back."""

from __future__ import annotations

import logging

from warppool.say import say

log = logging.getLogger("warppool")


class Outage:
    """Says `node.lost` and `node.back` once each, and what else went wrong in between once for each reason."""

    _MOST_REASONS = 8       # a node that finds ever new words is not listened to

    def __init__(self, node: str, now: float) -> None:
        self._node = node
        self._since = now
        self._tries = 0
        self._reasons: list[str] = []
        self._has_served = False

    def add(self, reason: str, now: float) -> bool:
        """One more failure; True for the first."""
        self._tries += 1
        if self._tries == 1:
            self._since = now
            say(log, logging.WARNING, "node.lost", node=self._node, reason=reason)
        elif reason not in self._reasons and len(self._reasons) < self._MOST_REASONS:
            say(log, logging.WARNING, "node.missed", node=self._node, reason=reason)
        if len(self._reasons) < self._MOST_REASONS:
            self._reasons.append(reason)
        return self._tries == 1

    def end(self, now: float) -> bool:
        """The node gave a template; True if it did not before."""
        was_lost = self._tries > 0
        if was_lost:
            say(log, logging.INFO, "node.back", node=self._node, after_s=round(now - self._since), tries=self._tries)
        elif not self._has_served:
            say(log, logging.INFO, "node.found", node=self._node)
        is_first, self._has_served = not self._has_served, True
        self._tries = 0
        self._reasons.clear()
        return was_lost or is_first
