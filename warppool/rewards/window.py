"""The window of shares in memory: the weight of each account, and where the window begins.

The ledger has the shares; here are sums alone. A start adds up the hours that the ledger has summed, newest first, and
reads single shares only of the open hour and of the hour at the old end. From then on each booked share is added to the
sum of its account. What leaves at the old end is read again from the ledger, a slice of ids at a time, and taken off.
So no template waits for a scan, and the middle of the window takes no memory.

The order is that of the ledger's ids, never of a time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import count as count_up
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from warppool.ledger.payoutitems import SharesBooked
from warppool.ledger.payoutrows import CreditRow, Epoch, HourRow, MinuteRow
from warppool.payout.weight import joined, weight_of
from warppool.payout.window import WindowEnd
from warppool.rewards.lastseen import LastSeen

SLICE_IDS: Final = 5_000
"""Ids that are read at a time at the old end, some 1 MiB of shares."""

MINUTE_MS: Final = 60_000

ANY_MINUTE: Final = 1 << 62
"""Later than any clock says."""

_ACCOUNT = attrgetter("account")
_ACCOUNT_AND_DIFFICULTY = attrgetter("account", "difficulty")


class WindowReader(Protocol):
    """What the window asks of the ledger (`ledger.database.Reader`)."""

    def closed_id(self) -> int: ...
    def epochs(self) -> list[Epoch]: ...
    def first_id_since(self, minute: int) -> int | None: ...
    def minutes(self) -> list[MinuteRow]: ...
    def hours(self, first_id: int = 1, last_id: int | None = None, *, newest_first: bool = False
              ) -> Iterator[HourRow]: ...
    def credits(self, first_id: int, last_id: int) -> Iterator[CreditRow]: ...


class Span(NamedTuple):
    """Which shares count: the ids of the oldest and the newest, 0 where none counts.

    Where the window ended by its weight, the oldest share counts with `cut_weight`, and `over` is what it weighs
    beyond. Else no share is cut, and both are 0.
    """

    first_id: int
    last_id: int
    cut_weight: int
    over: int
    ended_by: WindowEnd


class _Old(NamedTuple):
    """A share at the old end."""

    share_id: int
    minute: int                                     # Unix seconds // 60
    account: str
    weight: int


class Window:
    """Sums of the newest shares of the present pplns epoch, the newest of all epochs; owned by one thread.

    `last_id` is the newest share that the sums know of. `seen` hears of every share that is added.
    """

    def __init__(self, seen: LastSeen) -> None:
        self.last_id = 0
        self._newest = 0                            # ... and that counts for somebody
        self.floor = 1                              # no share below this id counts, for its epoch or its age
        self._seen = seen
        self._sums: dict[str, int] = {}             # of all shares from the old end on, the oldest one whole
        self._total = 0
        self._old: deque[_Old] = deque()            # the oldest shares of the sums ...
        self._next_old = 1                          # ... and the id from which the later ones are read
        self._end = WindowEnd.BEGINNING             # why no older share counts, where the weight is not reached
        self._is_cut = False                        # older shares would count if more weight were wanted

    def rebuild(self, reader: WindowReader, wanted: int, oldest_minute: int, last_id: int,
                newest_minute: int = ANY_MINUTE) -> None:
        """Read the sums from the ledger: hours until they reach the weight `wanted`, none beyond epoch and days.

        `oldest_minute` (Unix seconds // 60) is the first one that counts. Shares above `last_id` are left to `add`:
        what a commit in doubt has written may be taken out of the ledger again. `newest_minute` is the present one. A
        share of a later minute got its time from a clock that was ahead. Its age is not known, so it counts for as long
        as the shares that follow it.
        """
        self.last_id = last_id
        self._find_floor(reader, oldest_minute, newest_minute)
        self._sums, self._total, self._old, self._is_cut, self._newest = {}, 0, deque(), False, 0
        begin = max(reader.closed_id() + 1, self.floor)
        self._add_credits(reader, begin, last_id)
        for first_id, rows in groupby(reader.hours(self.floor, last_id, newest_first=True), attrgetter("first_id")):
            if self._total >= wanted:
                self._is_cut = True
                break
            hour = list(rows)
            begin = max(first_id, self.floor)
            if begin > first_id or hour[0].last_id > last_id:
                self._add_credits(reader, begin, min(hour[0].last_id, last_id))
            else:
                self._newest = max(self._newest, hour[0].last_id)
                for row in hour:
                    self._add(row.account, joined(row.whole, row.fraction))
        self._next_old = begin

    def add(self, booked: SharesBooked) -> None:
        """These shares are in the ledger, and stay there. What the sums have already is left out."""
        first_id = max(booked.first_id, self.last_id + 1)
        shares = booked.shares[first_id - booked.first_id:]
        for (account, difficulty), count in Counter(map(_ACCOUNT_AND_DIFFICULTY, shares)).items():
            if account:
                self._add(account, count * weight_of(difficulty))
        last_ids = dict(zip(map(_ACCOUNT, shares), count_up(first_id)))     # of each account its last one
        last_ids.pop("", None)
        for account, share_id in last_ids.items():
            self._seen.note(account, share_id, int(shares[share_id - first_id].time) // 60)
            self._newest = max(self._newest, share_id)
        self.last_id = max(self.last_id, booked.first_id + len(booked.shares) - 1)

    def fit(self, reader: WindowReader, wanted: int, oldest_minute: int, newest_minute: int = ANY_MINUTE) -> Span:
        """Let go of what is older than `oldest_minute` or beyond the weight `wanted`, and say what counts.

        Where more is wanted than before, the window is read anew from the ledger.
        """
        if self._is_cut and self._total < wanted:
            self.rebuild(reader, wanted, oldest_minute, self.last_id, newest_minute)
        young = 0                                   # the first id that is young enough, once a clock was ahead
        while (oldest := self._oldest(reader)) is not None:
            is_ahead = oldest.minute > newest_minute
            if is_ahead and not young:
                young = self._young(reader, oldest_minute, newest_minute)
            if oldest.share_id < young if is_ahead else oldest.minute < oldest_minute:
                self._end = WindowEnd.DAYS
                self.floor = oldest.share_id + 1
            elif self._total - oldest.weight >= wanted:
                self._is_cut = True
            else:
                break
            self._old.popleft()
            self._add(oldest.account, -oldest.weight)
        if oldest is None:
            return Span(0, 0, 0, 0, self._end)
        over = self._total - wanted
        if over < 0:
            return Span(oldest.share_id, self._newest, 0, 0, self._end)
        return Span(oldest.share_id, self._newest, oldest.weight - over, over, WindowEnd.WEIGHT)

    def weights(self, span: Span) -> Mapping[str, int]:
        """The weight of each account in `span`, which was fitted last; no account with 0."""
        weights = dict(self._sums)
        if span.over:
            account = self._old[0].account
            weights[account] -= span.over
            if not weights[account]:
                del weights[account]
        return weights

    # --- inside -------------------------------------------------------------------------------------------------------

    def _find_floor(self, reader: WindowReader, oldest_minute: int, newest_minute: int) -> None:
        epoch = reader.epochs()[-1].first_id
        young = self._young(reader, oldest_minute, newest_minute)
        self.floor = max(epoch, young)
        if young > epoch:
            self._end = WindowEnd.DAYS
        else:
            self._end = WindowEnd.EPOCH if epoch > 1 else WindowEnd.BEGINNING

    def _young(self, reader: WindowReader, oldest_minute: int, newest_minute: int) -> int:
        """The first id that counts by its age."""
        recent = reader.first_id_since(oldest_minute)
        if reader.first_id_since(newest_minute + 1) is not None:
            recent = _first_recent(reader.minutes(), oldest_minute, newest_minute)
        return self.last_id + 1 if recent is None else recent

    def _add_credits(self, reader: WindowReader, first_id: int, last_id: int) -> None:
        for credit in reader.credits(first_id, last_id):
            self._add(credit.account, weight_of(credit.difficulty))
            self._seen.note(credit.account, credit.share_id, credit.time_ms // MINUTE_MS)
            self._newest = max(self._newest, credit.share_id)

    def _add(self, account: str, weight: int) -> None:
        left = self._sums.get(account, 0) + weight
        self._total += weight
        if left:
            self._sums[account] = left
        else:
            self._sums.pop(account, None)

    def _oldest(self, reader: WindowReader) -> _Old | None:
        """The oldest share of the sums, None if they have none."""
        while not self._old and self._next_old <= self.last_id:
            last_id = min(self._next_old + SLICE_IDS - 1, self.last_id)
            self._old.extend(_Old(share_id, time_ms // MINUTE_MS, account, weight_of(difficulty))
                             for share_id, time_ms, account, difficulty in reader.credits(self._next_old, last_id))
            self._next_old = last_id + 1
        return self._old[0] if self._old else None


def _first_recent(minutes: Iterable[MinuteRow], oldest_minute: int, newest_minute: int) -> int | None:
    """The id from which shares count by their age; None for none. `minutes` are in the order of their ids."""
    ahead = None                                    # from this id on the clock was ahead
    for minute, first_id in minutes:
        if minute < oldest_minute:
            ahead = None
        elif minute > newest_minute:
            ahead = first_id if ahead is None else ahead
        else:
            return first_id if ahead is None else ahead
    return ahead
