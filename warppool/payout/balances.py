"""What every account is owed: the entries of the books, added up by purse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from warppool.errors import LocalProtocolError
from warppool.payout.moves import BookEntry, Move, Purse


class Balances:
    """Owned by one thread. No purse is ever negative."""

    def __init__(self, entries: Iterable[BookEntry] = ()) -> None:
        self._purses: dict[Purse, dict[str, int]] = {purse: {} for purse in Purse}
        self._add(entries)

    def apply(self, moves: Iterable[Move]) -> None:
        """Book these moves, which are one transaction. LocalProtocolError, with nothing changed, if an account would
        owe.
        """
        self._add(entry for move in moves for entry in move.entries)

    @property
    def payable(self) -> Mapping[str, int]:
        """What the next block may pay out, by account; accounts without such a balance are missing."""
        return MappingProxyType(self._purses[Purse.PAYABLE])

    @property
    def unpaid(self) -> Mapping[str, int]:
        """What is payable or stands in a claim, by account: so much a block may have paid out."""
        sums = dict(self._purses[Purse.PAYABLE])
        for account, sat in self._purses[Purse.CLAIMED].items():
            sums[account] = sums.get(account, 0) + sat
        return sums

    def of(self, account: str, purse: Purse) -> int:
        """The satoshi in that purse."""
        return self._purses[purse].get(account, 0)

    def total(self, purse: Purse) -> int:
        """The satoshi in that purse of all accounts."""
        return sum(self._purses[purse].values())

    def can_bear(self, entries: Iterable[BookEntry]) -> bool:
        """Whether no account would owe after these entries."""
        return not any(sat < 0 for _, sat in self._sums(entries))

    def _add(self, entries: Iterable[BookEntry]) -> None:
        sums = self._sums(entries)
        for (account, purse), sat in sums:
            if sat < 0:
                raise LocalProtocolError(f"{account} would have {sat} sat {purse.value}")
        for (account, purse), sat in sums:
            if sat:
                self._purses[purse][account] = sat
            else:
                self._purses[purse].pop(account, None)

    def _sums(self, entries: Iterable[BookEntry]) -> list[tuple[tuple[str, Purse], int]]:
        """What the purses would hold that the entries touch."""
        sums: dict[tuple[str, Purse], int] = {}
        for account, purse, sat in entries:
            before = sums.get((account, purse))
            sums[account, purse] = sat + (self.of(account, purse) if before is None else before)
        return list(sums.items())
