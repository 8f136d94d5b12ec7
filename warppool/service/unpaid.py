"""Users whose names are, or look like, Bitcoin addresses, although the coinbase pays them nothing.

On other pools a name of that kind is where the coins go. In mode pool it is an account in the books, and its owner may
wait for coins that never come.
"""

from __future__ import annotations

from warppool.bitcoin.address import AddressError, looks_like_address, script_of
from warppool.service.onceperuser import OncePerUser


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
