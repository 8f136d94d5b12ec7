"""The ratio rule: a coinbase that pays too little of what a larger one would pay is made larger.

A size class that holds few outputs leaves much unpaid. That is not lost, but it is owed by the operator, and whoever
wants to hold the money of users in his own hands would only have to choose small classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple


class GivenClass(NamedTuple):
    """The size class that a machine gets, and whether it still pays less than `min_paid_ratio` asks for."""

    size: int               # bytes of a stripped coinbase
    is_below_ratio: bool


def given_class(paid: Sequence[tuple[int, int]], usual: int, most: int, least_ratio: Decimal) -> GivenClass | None:
    """Which size class a machine gets that usually has `usual`, and can hold `most` bytes.

    `paid` has (class, sat paid to accounts) of each class for which the template has room, the smallest class first.
    The template's room counts before all, then what the machine can hold, then the ratio. None where not even the
    smallest class of `paid` is within both bounds.
    """
    held = [(size, sat) for size, sat in paid if size <= most]
    if not held:
        return None
    numerator, denominator = least_ratio.as_integer_ratio()
    most_paid = paid[-1][1]
    at = max((index for index, (size, _) in enumerate(held) if size <= usual), default=0)
    while held[at][1] * denominator < most_paid * numerator and at + 1 < len(held):
        at += 1
    return GivenClass(held[at][0], held[at][1] * denominator < most_paid * numerator)
