"""What is said once for each user. What a stranger calls himself costs us a bounded memory and a bounded number of
lines.

`UnpaidNames` are those that are, or look like, Bitcoin addresses, although the coinbase pays them nothing. On other
pools a name of that kind is where the coins go. In mode pool it is an account in the books, and its owner may wait for
coins that never come.
"""

from __future__ import annotations

import threading

from warppool.bitcoin.address import AddressError, looks_like_address, script_of

MAX_REMEMBERED = 4096
"""Users of whom something was said, the longest unseen forgotten first."""

BURST = 20
"""Lines that may come together, as when a pool of such users starts."""

REFILL_S = 10.0
"""One more line each so many seconds; of who is passed over it is said when he comes the next time."""


class OncePerUser:
    """Asked by every worker for each user that comes, so there is a lock around what it remembers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, None] = {}            # a set that keeps its order
        self._left = float(BURST)
        self._filled_at = 0.0

    def is_news(self, user: str, now: float) -> bool:
        """Whether the line is to be said of `user`, at monotonic `now`: true once."""
        with self._lock:
            if user in self._said:
                del self._said[user]
                self._said[user] = None             # seen again
                return False
            self._left = min(float(BURST), self._left + max(0.0, now - self._filled_at) / REFILL_S)
            self._filled_at = max(self._filled_at, now)
            if self._left < 1:
                return False
            self._left -= 1
            if len(self._said) >= MAX_REMEMBERED:
                del self._said[next(iter(self._said))]
            self._said[user] = None
            return True


class UnpaidNames(OncePerUser):
    """Users to be warned of. `payout_script` is what the coinbase pays on `network`: a name that is this address is
    paid.
    """

    def __init__(self, network: str, payout_script: bytes) -> None:
        super().__init__()
        self._network = network
        self._payout_script = payout_script

    def is_news(self, user: str, now: float) -> bool:
        """Whether `user` is to be warned of, at monotonic `now`: true once."""
        return looks_like_address(user) and not self._is_paid(user) and super().is_news(user, now)

    def _is_paid(self, user: str) -> bool:
        try:
            return script_of(user, self._network) == self._payout_script
        except AddressError:
            return False
