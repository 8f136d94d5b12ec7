"""The window: the newest work, as much of it as is paid by one block.

Shares have an order, that of their ids in the ledger, and no time is looked at here: clocks differ. The window begins
at the newest share and goes back until enough work is in it. The share that crosses that bound is cut to fit, so the
window holds exactly the weight that is wanted, unless work ran out before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from warppool.payout.rules import PayoutRules
from warppool.payout.weight import network_weight


class WindowEnd(StrEnum):
    """Why no older share is in a window."""

    WEIGHT = "weight"               # the window has all the work that it may have
    DAYS = "days"                   # what is older is older than `window_days`
    EPOCH = "epoch"                 # what is older was mined while the pool paid in another way
    BEGINNING = "beginning"         # there is nothing older


def weight_wanted(rules: PayoutRules, highest_nbits: int, blocks_settled: int) -> int:
    """How much work a window may hold.

    `highest_nbits` is the hardest compact target of the last 2,016 tips. While the pool is young a window is at most
    one network difficulty more than there are `blocks_settled` since the pool first paid by weights: what a block paid
    is not paid again by the next ones, and those who came first do not live on the work of those who follow.
    """
    if blocks_settled < 0:
        raise ValueError(f"{blocks_settled} blocks cannot be settled")
    difficulties = min(rules.window, Decimal(blocks_settled + 1)) if rules.window_rampup else rules.window
    numerator, denominator = difficulties.as_integer_ratio()
    return network_weight(highest_nbits) * numerator // denominator


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """What a snapshot says of its window, besides the weights; ValueError for what no window can be.

    The shares `first_id` to `last_id` are in it; both are 0 in a window without shares. Where the window ended by
    weight, its first share is cut and counts with `cut_weight`, which may be all that it weighs; otherwise no share is
    cut and `cut_weight` is 0. `wanted` is what `weight_wanted` makes of the last two.
    """

    first_id: int
    last_id: int
    cut_weight: int
    wanted: int
    ended_by: WindowEnd
    blocks_settled: int
    highest_nbits: int

    def __post_init__(self) -> None:
        if not (0 < self.first_id <= self.last_id or self.first_id == self.last_id == 0):
            raise ValueError(f"no window has the shares {self.first_id} to {self.last_id}")
        if self.wanted <= 0:
            raise ValueError("a window has room for work")
        is_full = self.ended_by is WindowEnd.WEIGHT
        if not (0 < self.cut_weight <= self.wanted and self.first_id if is_full else self.cut_weight == 0):
            raise ValueError(f"the first share of a window of {self.wanted} that ended by {self.ended_by.value} cannot "
                             f"count {self.cut_weight}")


class WorkPart(NamedTuple):
    """Some shares whose ids follow each other, and what they weigh: an hour, a minute, or a single share."""

    first_id: int
    last_id: int
    weights: Mapping[str, int]      # by account

    @property
    def weight(self) -> int:
        """What all its shares weigh together."""
        return sum(self.weights.values())


@dataclass(frozen=True, slots=True)
class TakenWork:
    """What `take` found: weights by account (none of them 0), and the fields of `WindowFacts`."""

    weights: Mapping[str, int]
    first_id: int
    last_id: int
    cut_weight: int
    ended_by: WindowEnd

    @property
    def weight(self) -> int:
        """All the work of the window."""
        return sum(self.weights.values())


def take(parts: Iterable[WorkPart], wanted: int, open_part: Callable[[WorkPart], Iterable[WorkPart]],
         otherwise: WindowEnd) -> TakenWork:
    """Take the newest work until `wanted` is reached; `parts` has the newest part first.

    A part that would reach the bound is opened: `open_part` gives its single shares, the newest first. `otherwise` says
    why there are no more parts, where these run out. ValueError where the parts are not in order.
    """
    if wanted <= 0:
        raise ValueError("a window has room for work")
    weights: dict[str, int] = {}
    left, first_id, last_id = wanted, 0, 0
    waiting = [iter(parts)]
    while waiting:
        part = next(waiting[-1], None)
        if part is None:
            waiting.pop()
            continue
        if not part.first_id <= part.last_id or (first_id and part.last_id >= first_id):
            raise ValueError(f"the shares {part.first_id} to {part.last_id} are not older than share {first_id}")
        weight = part.weight
        if weight >= left and part.first_id != part.last_id:
            waiting.append(iter(open_part(part)))
            continue
        first_id, last_id = part.first_id, last_id or part.last_id
        for account, each in part.weights.items():
            if each:
                weights[account] = weights.get(account, 0) + min(each, left)
        if weight >= left:
            return TakenWork(weights, first_id, last_id, left, WindowEnd.WEIGHT)
        left -= weight
    return TakenWork(weights, first_id, last_id, 0, otherwise)
