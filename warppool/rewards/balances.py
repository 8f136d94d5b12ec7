"""What each account is owed, as the books say it."""

from __future__ import annotations

from collections import Counter

from warppool.ledger.database import Reader
from warppool.rewards.past import claims_of


def purses_of(reader: Reader) -> Counter[tuple[str, str]]:
    """Satoshi by account and purse (`Purse`). A claim takes out of what blocks have made payable. LedgerError."""
    sums: Counter[tuple[str, str]] = Counter()
    _, moves = claims_of(reader.claims())
    for account, purse, sat in (*reader.entry_sums(), *(entry for move in moves for entry in move.entries)):
        sums[account, purse] += sat
    return sums
