"""The weight that each account earned in an hour, summed as the shares are booked (mode pplns).

An hour is a run of share ids. It ends before the first share of a later hour, or of one that lies more than an hour
back (a clock that was put back). A share that is a little late stays in the hour that is open, so that workers whose
clocks were read a moment apart do not end an hour twice.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from warppool.payout.weight import halves, weight_of

HOUR_MS: Final = 3_600_000
_NOTHING: Final = (0, 0, 0)


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
    """The sums of the hour that is not over. Shares come in the order of their ids, from `first_id` on."""

    def __init__(self, first_id: int) -> None:
        self._first_id = first_id
        self._hour: int | None = None
        self._sums: dict[int, tuple[int, int, int]] = {}        # weight in 2^-48, count, newest id

    def add(self, share_id: int, time_ms: int, account: int, difficulty: float) -> list[HourSum]:
        """Count a share. If the open hour ends before it: its sums, by account."""
        hour = time_ms // HOUR_MS
        closed: list[HourSum] = []
        if hour != self._hour and (self._hour is None or hour > self._hour or hour < self._hour - 1):
            closed = self.close(share_id - 1)
            self._hour = hour
        weight, count, _ = self._sums.get(account, _NOTHING)
        self._sums[account] = weight + weight_of(difficulty), count + 1, share_id
        return closed

    def close(self, last_id: int) -> list[HourSum]:
        """End the hour with `last_id`: its sums by account; none if it has no share."""
        hour, first_id, sums = self._hour, self._first_id, self._sums
        self._first_id, self._hour, self._sums = last_id + 1, None, {}
        if hour is None:
            return []
        return [HourSum(hour, first_id, last_id, account, *halves(weight), count, newest)
                for account, (weight, count, newest) in sorted(sums.items())]
