"""What a V1 machine says about difficulty, in a password, a suggestion or its configuration; and how we say it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING
from fractions import Fraction
from functools import lru_cache

from warppool.bitcoin.target import MAX_TARGET, difficulty_from_target, target_from_difficulty
from warppool.sv1.messages import number

_SEPARATORS = re.compile("[,; ]")
_HEX = re.compile("[0-9a-fA-F]+")
_MOST_TERA_HASHES = 10**18
"""Far above all machines of the world; within this bound hash rates and targets fit a float."""
_EXACT_FLOAT = 1 << 53
"""Whole numbers up to here are exact in the floats that machines read them into."""


@dataclass(frozen=True, slots=True)
class Preference:
    """What the machine prefers. `start`, `floor` and `minimum` are targets.

    `start` is where the difficulty begins, None where the machine said nothing; with `is_fixed` the difficulty stays
    there. No target is easier than `floor` (from a password) and `minimum` (from `mining.configure`). `hash_rate`, in
    hashes a second, says where to begin if `start` is None; 0.0 where the machine did not say it.
    """

    start: int | None = None
    floor: int = MAX_TARGET
    minimum: int = MAX_TARGET
    is_fixed: bool = False
    hash_rate: float = 0.0

    def with_password(self, password: str) -> Preference:
        """`d=1024` sets start and floor, `fd=1024` fixes them, `th=100` is a machine of 100 TH/s; `x` and unknown words
        mean nothing. The last one wins. Firmware and rentals write `D=` and `diff=` for `d=`.
        """
        preference = self
        for word in _SEPARATORS.split(password):
            name, _, value = word.partition("=")
            name = name.lower()
            if name == "th":
                rate = _tera_hashes(value)
                if rate is not None:
                    preference = replace(preference, start=None, is_fixed=False, hash_rate=rate)
                continue
            target = wanted_target(value) if name in ("d", "diff", "fd") else None
            if target is not None:
                preference = replace(self, start=target, floor=target, is_fixed=name == "fd", hash_rate=0.0)
        return preference

    def over(self, older: Preference) -> Preference:
        """This preference, and of an older one whatever this one does not speak of."""
        words = self if self.start is not None or self.hash_rate else older
        minimum = self.minimum if self.minimum != MAX_TARGET else older.minimum
        return replace(words, minimum=minimum)

    @property
    def easiest(self) -> int:
        """The easiest target that the machine takes."""
        return min(self.floor, self.minimum)


NO_PREFERENCE = Preference()


def wanted_target(value: object) -> int | None:
    """The target of a difficulty that a machine names, None if that is no number above 0.

    A difficulty above 1 that is no whole number counts as the next whole one: only whole ones are granted there, and
    some machines mean the least difficulty that they take.
    """
    difficulty = number(value)
    if difficulty is None or difficulty <= 0:
        return None
    return target_from_difficulty(difficulty.to_integral_value(ROUND_CEILING) if difficulty > 1 else difficulty)


def _tera_hashes(value: str) -> float | None:
    """Hashes a second of so many TH/s, None if that is no number above 0."""
    rate = number(value)
    return float(rate) * 1e12 if rate is not None and 0 < rate <= _MOST_TERA_HASHES else None


def hex_number(value: object, digits: int) -> int | None:
    """The number of up to so many hex digits, None if the value is no such text, or 0."""
    if not isinstance(value, str) or len(value) > digits or not _HEX.fullmatch(value):
        return None
    return int(value, 16) or None


@lru_cache(maxsize=1024)
def difficulty_text(target: int) -> str:
    """The difficulty of `target` as a JSON number, never above the exact one: a machine would throw away shares that
    count.

    Exact where a decimal number of float's length can be; else the nearest below.
    """
    exact = difficulty_from_target(target)
    if exact.denominator == 1 and exact <= _EXACT_FLOAT:
        return str(exact.numerator)
    nearest = float(exact)
    while Fraction(text := _compact(nearest)) > exact:
        nearest = math.nextafter(nearest, 0.0)
    return text


def _compact(value: float) -> str:
    text = repr(value)
    if value >= _EXACT_FLOAT:
        return str(int(value))
    return text.removesuffix(".0")
