"""Which upstream one machine is to try next, and when: the board's choice, and what this machine has seen of each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from warppool.translate.standing import Standing

if TYPE_CHECKING:
    from warppool.translate.context import TranslatorContext
    from warppool.translate.upstreams import Upstream


class UpstreamChoice:
    """Owned by one machine's session; times are monotonic seconds."""

    __slots__ = ("_failures", "_shunned", "_shunned_until", "_context", "seek_at")

    def __init__(self, context: TranslatorContext) -> None:
        self.seek_at = -math.inf                    # when to look for an upstream, where one is wanted
        self._context = context
        self._failures = 0                          # of upstreams that are up for others, since the last work
        self._shunned: Upstream | None = None       # it refused this machine's channel, or failed it
        self._shunned_until = -math.inf

    def choose(self, now: float) -> Upstream | None:
        """The one to use or to try now; None where all there is to do is to wait."""
        if now >= self._shunned_until:
            self._shunned = None
        return self._context.board.choose(now, self._shunned)

    def has_worked(self) -> None:
        """The machine got work: what went wrong before is over."""
        self._failures = 0

    def has_failed(self, upstream: Upstream, now: float, *, is_shunned: bool) -> None:
        """Look again; later each time where the upstream is up for others, so that nothing else holds us back."""
        self.seek_at = now
        if upstream.standing is Standing.UP:
            self.seek_at += self._context.board.backoff(self._failures)
            self._failures += 1
        if is_shunned:
            self._shunned = upstream
            self._shunned_until = now + self._context.times.return_after_s
