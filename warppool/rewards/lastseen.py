"""When each account brought its last share, so that those who are gone are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from warppool.ledger.payoutrows import LastShare

HOUR_MINUTES = 60


class _Seen(NamedTuple):
    share_id: int
    minute: int                                     # Unix seconds // 60


class SeenReader(Protocol):
    """What is asked of the ledger (`ledger.database.Reader`)."""

    def last_shares(self) -> list[LastShare]: ...


class LastSeen:
    """The last share of each account; owned by one thread."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def load(self, reader: SeenReader) -> None:
        """Take what the ledger knows of closed hours."""
        for account, share_id, hour in reader.last_shares():
            self.note(account, share_id, hour * HOUR_MINUTES)

    def note(self, account: str, share_id: int, minute: int) -> None:
        """`account` has brought this share."""
        known = self._seen.get(account)
        if known is None or share_id >= known.share_id:
            self._seen[account] = _Seen(share_id, minute)

    def gone(self, accounts: Iterable[str], oldest_minute: int) -> Mapping[str, int]:
        """Those of `accounts` without a share since `oldest_minute`, with the id of the last one, 0 if none is known.
        """
        gone = {}
        for account in accounts:
            seen = self._seen.get(account)
            if seen is None or seen.minute < oldest_minute:
                gone[account] = 0 if seen is None else seen.share_id
        return gone
