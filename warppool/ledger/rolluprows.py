"""What the books tell of work and refusals by slots of time (`slots.py`), a row each.

All of it has what is not rolled up yet, too, so that it is whole right after a start. Only what is older than roll-ups
may lack shares for the first minutes of a new release. Weights are ints in 2^-48 of a difficulty, times are Unix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from warppool.ledger.slots import DAY, HOUR, TEN_MINUTES


class WorkerSum(NamedTuple):
    """What was accepted of the worker with this whole name; `best` is the difficulty that its best hash met."""

    worker: str
    accepted: int
    weight: int
    best: float


class SlotSum(NamedTuple):
    """What was accepted in a slot."""

    slot: int
    accepted: int
    weight: int
    best: float


class RefusalSum(NamedTuple):
    """How many shares of a worker were refused for a reason; "" stands for all that have no share in the books."""

    worker: str
    reason: str
    shares: int


class SlotRefusals(NamedTuple):
    """How many shares were refused for a reason in a slot."""

    slot: int
    reason: str
    shares: int


class BookedBlock(NamedTuple):
    """A found block: `hash` has 32 bytes in header order, `difficulty` is the network's, `outcome` "" until known."""

    hash: bytes
    height: int
    worker: str
    time: float
    difficulty: float
    outcome: str
    detail: str


class RollupReader(Protocol):
    """Reading what was done, and when. LedgerError from any method."""

    def worker_sums(self, since: float) -> list[WorkerSum]:
        """What each worker has in the slots that were not over at `since`, by the finest that are still there.

        Those of the last 7 days are known to ten minutes, those of 90 days to an hour, older ones to a day.
        """

    def history(self, resolution: int, first_slot: int, last_slot: int, name: str | None = None) -> list[SlotSum]:
        """The slots from `first_slot` to `last_slot` that have a share: of all, or of a user or a worker.

        `resolution` is 600, 3600 or 86400 s. Of slots whose rows have gone there is none.
        """

    def refusal_sums(self, since: float) -> list[RefusalSum]:
        """What was refused in the slots that were not over at `since`."""

    def refusal_history(self, resolution: int, first_slot: int, last_slot: int, name: str | None = None
                        ) -> list[SlotRefusals]:
        """What was refused in these slots, as in `history`."""

    def workers(self, user: str | None = None) -> list[str]:
        """The whole names of all workers that have a share or a block, or of those of one user."""

    def blocks(self, limit: int | None = None) -> list[BookedBlock]:
        """The found blocks, the newest first."""


class Segment(NamedTuple):
    """Slots of one resolution, from `first` on and below `end`; None: up to now."""

    resolution: int
    first: int
    end: int | None


def segments_of(since: float, marks: Mapping[str, int], hour: str = "hour", day: str = "day") -> list[Segment]:
    """Which slots have all that happened since a time, each share once, by as few rows as there are."""
    hours, days = marks.get(hour, 0), marks.get(day, 0)
    at = int(max(0.0, since)) // TEN_MINUTES * TEN_MINUTES
    if at < marks.get("pruned_600", 0) * TEN_MINUTES:
        at = at // HOUR * HOUR
    if at < marks.get("pruned_3600", 0) * HOUR:
        at = at // DAY * DAY
    first_hour, first_day = -(-at // HOUR), -(-at // DAY)
    ten = at // TEN_MINUTES
    found = [Segment(TEN_MINUTES, max(ten, hours * 6), None), Segment(TEN_MINUTES, ten, min(first_hour, hours) * 6)]
    if first_day < days:
        found += [Segment(HOUR, first_hour, first_day * 24), Segment(DAY, first_day, days),
                  Segment(HOUR, days * 24, hours)]
    else:
        found += [Segment(HOUR, first_hour, hours)]
    return [each for each in found if each.end is None or each.first < each.end]


def segments_for(resolution: int, first_slot: int, last_slot: int, marks: Mapping[str, int], hour: str = "hour",
                 day: str = "day") -> list[Segment]:
    """Which slots make up those of one resolution: coarse ones that are not made yet come from finer ones."""
    hours, days = marks.get(hour, 0), marks.get(day, 0)
    end = last_slot + 1
    if resolution == TEN_MINUTES:
        return [Segment(TEN_MINUTES, first_slot, end)]
    if resolution == HOUR:
        found = [Segment(HOUR, first_slot, min(end, hours)), Segment(TEN_MINUTES, max(first_slot, hours) * 6, end * 6)]
    else:
        found = [Segment(DAY, first_slot, min(end, days)),
                 Segment(HOUR, max(first_slot, days) * 24, min(end * 24, hours)),
                 Segment(TEN_MINUTES, max(first_slot * 24, days * 24, hours) * 6, end * 144)]
    return [each for each in found if each.end is None or each.first < each.end]
