"""Names that are, or look like, Bitcoin addresses, although the coinbase pays them nothing: said once for each user.

On other pools a name of that kind is where the coins go. Here it is an account in the books, and its owner may wait for
coins that never come. What a stranger calls himself costs us a bounded memory and a bounded number of lines.
"""

from __future__ import annotations

import threading

from warppool.bitcoin.address import AddressError, looks_like_address, script_of

MAX_REMEMBERED = 4096
"""Users that were warned of, the longest unseen forgotten first."""

BURST = 20
"""Warnings that may come together, as when a pool of such users starts."""

REFILL_S = 10.0
"""One more warning each so many seconds; who is passed over is warned of when he comes the next time."""


class UnpaidNames:
    """Asked by every worker for each user that comes, so there is a lock around what it remembers.

    `payout_script` is what the coinbase pays on `network`: a name that is this address is paid.
    """

    def __init__(self, network: str, payout_script: bytes) -> None:
        self._network = network
        self._payout_script = payout_script
        self._lock = threading.Lock()
        self._warned: dict[str, None] = {}          # a set that keeps its order
        self._left = float(BURST)
        self._filled_at = 0.0

    def is_news(self, user: str, now: float) -> bool:
        """Whether `user` is to be warned of, at monotonic `now`: true once."""
        if not looks_like_address(user) or self._is_paid(user):
            return False
        with self._lock:
            if user in self._warned:
                del self._warned[user]
                self._warned[user] = None           # seen again
                return False
            self._left = min(float(BURST), self._left + max(0.0, now - self._filled_at) / REFILL_S)
            self._filled_at = max(self._filled_at, now)
            if self._left < 1:
                return False
            self._left -= 1
            if len(self._warned) >= MAX_REMEMBERED:
                del self._warned[next(iter(self._warned))]
            self._warned[user] = None
            return True

    def _is_paid(self, user: str) -> bool:
        try:
            return script_of(user, self._network) == self._payout_script
        except AddressError:
            return False
