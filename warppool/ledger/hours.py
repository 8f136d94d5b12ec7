"""The weight that each account earned in an hour, summed as the shares are booked (mode pplns).

An hour is a run of share ids. It ends before the first share of a later hour, or of one that lies more than an hour
back (a clock that was put back). A share that is a little late stays in the hour that is open, so that workers whose
clocks were read a moment apart do not end an hour twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from warppool.payout.weight import halves, weight_of

HOUR_MS: Final = 3_600_000
WEIGHTS_MAX: Final = 4_096
_NOTHING: Final = (0, 0, 0)

Credit = tuple[int, int, int | None, float]
"""A share's id, its Unix milliseconds, the id of its account (None: it counts for nobody), its difficulty."""


class HourSum(NamedTuple):
    """What the shares of one account from `first_id` to `last_id` weigh: `whole` + `fraction` / 2^48.

    `account` is the id of its row, `newest_id` its last share in this range, `hour` the Unix hour of the range's first
    share.
    """

    hour: int
    first_id: int
    last_id: int
    account: int
    whole: int
    fraction: int
    shares: int
    newest_id: int


class OpenHour:
    """The sums of the hour that is not over. Shares come in the order of their ids, all of them from `first_id` on."""

    def __init__(self, first_id: int) -> None:
        self._first_id = first_id
        self._hour: int | None = None
        self._sums: dict[int, tuple[int, int, int]] = {}        # weight in 2^-48, count, newest id
        self._weights: dict[float, int] = {}                    # by difficulty, of which channels have few

    def add(self, shares: Iterable[Credit]) -> list[HourSum]:
        """Count shares; the sums of the hours that ended before one of them."""
        closed: list[HourSum] = []
        sums, weights = self._sums, self._weights
        for share_id, time_ms, account, difficulty in shares:
            if account is None:
                continue
            hour = time_ms // HOUR_MS
            if hour != self._hour and self._ends_before(hour):
                closed += self.close(share_id - 1)
                self._hour, sums = hour, self._sums
            weight = weights.get(difficulty) or self._weight(difficulty)
            total, count, _ = sums.get(account, _NOTHING)
            sums[account] = total + weight, count + 1, share_id
        return closed

    def _ends_before(self, hour: int) -> bool:
        return self._hour is None or hour > self._hour or hour < self._hour - 1

    def _weight(self, difficulty: float) -> int:
        if len(self._weights) >= WEIGHTS_MAX:
            self._weights.clear()
        weight = self._weights[difficulty] = weight_of(difficulty)
        return weight

    def close(self, last_id: int) -> list[HourSum]:
        """End the hour with `last_id`: its sums by account; none if it has no share."""
        hour, first_id, sums = self._hour, self._first_id, self._sums
        self._first_id, self._hour, self._sums = last_id + 1, None, {}
        if hour is None:
            return []
        return [HourSum(hour, first_id, last_id, account, *halves(weight), count, newest)
                for account, (weight, count, newest) in sorted(sums.items())]
