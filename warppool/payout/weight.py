"""Weights: what a share, or a network's difficulty, counts for, as an exact number.

A weight is an int in units of 2^-48 of a difficulty. All that is computed of weights is computed in ints, so that
whoever has the same shares gets the same numbers. A float is read here, where a share's difficulty comes in, and
nowhere else in this package: a float is a fraction of a power of two, so its weight does not depend on the machine.
"""

from __future__ import annotations

import re

from warppool.bitcoin.target import DIFF1, target_from_nbits

FRACTION_BITS = 48
"""Bits of a weight below difficulty 1. A share of the easiest target that there is has a weight of 65,536."""

_ONE = 1 << FRACTION_BITS
_WHOLE_NUMBER = re.compile(r"0|[1-9]\d{0,99}", re.ASCII)        # no difficulty of 256 bits has so many


def weight_of(difficulty: float) -> int:
    """The weight of a share that was credited with `difficulty`, rounded down; ValueError for less than 0, and for what
    is not finite.
    """
    try:
        numerator, denominator = difficulty.as_integer_ratio()
    except OverflowError:
        raise ValueError(f"a share has a finite difficulty, not {difficulty}") from None
    if numerator < 0:
        raise ValueError(f"a share has a difficulty of at least 0, not {difficulty}")
    return (numerator << FRACTION_BITS) // denominator


def network_weight(nbits: int) -> int:
    """The difficulty of `nbits` (compact target, U32) as a weight, rounded down; ValueError where no block can meet it.

    Nothing but integers: the difficulty that a node prints is a float.
    """
    target = target_from_nbits(nbits)
    if not target:
        raise ValueError(f"nbits {nbits:08x} is no target that a block can meet")
    return (DIFF1 << FRACTION_BITS) // target


def halves(weight: int) -> tuple[int, int]:
    """(whole, fraction) of a weight: two numbers that a column of SQLite can hold, the fraction below 2^48."""
    return weight >> FRACTION_BITS, weight & (_ONE - 1)


def joined(whole: int, fraction: int) -> int:
    """The weight of what `halves` gave, or of two sums of these, whose fraction may be above 2^48."""
    return (whole << FRACTION_BITS) + fraction


def weight_of_text(text: str) -> int:
    """A weight as snapshots and exports write it: decimal digits, without sign and leading zeros. ValueError else."""
    if not isinstance(text, str) or not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError(f"{str(text)[:40]!r} is no weight")
    return int(text)
