"""Which target a channel is granted (docs/decisions.rst#decision-difficulty)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache

from warppool.bitcoin.target import (
    DIFF1,
    MAX_TARGET,
    difficulty_from_target,
    target_from_difficulty,
    target_from_hash_rate,
)
from warppool.mining.throttle import Throttle


@lru_cache(maxsize=1024)
def difficulty_number(target: int) -> float:
    """The difficulty of a target as the books and the log have it; most channels share a few targets."""
    return float(difficulty_from_target(target))


def whole_below(target: int) -> int:
    """The target of the greatest whole difficulty that is not above that of `target`; up to 1, `target` itself."""
    return DIFF1 // (DIFF1 // target) if target < DIFF1 else target


@dataclass
class DifficultyPolicy:
    """The operator's `[difficulty]` section. `maximum` of 0 means none but the network's.

    Its targets are worked out once: every channel asks for them several times as it opens. Each worker has one of its
    own, which all its channels share. `follow` gives it other numbers, and then `version` says to channels that their
    targets were granted under earlier ones.
    """

    start: Fraction
    minimum: Fraction
    maximum: Fraction
    shares_per_minute: Fraction
    max_shares_per_minute: Fraction = Fraction(0)       # accepted ones of a channel; 0: no limit
    version: int = field(default=0, compare=False)

    def follow(self, other: DifficultyPolicy) -> None:
        """Take over the numbers of `other`; nothing happens where they are the same."""
        if other == self:
            return
        self.start, self.minimum, self.maximum = other.start, other.minimum, other.maximum
        self.shares_per_minute, self.max_shares_per_minute = other.shares_per_minute, other.max_shares_per_minute
        for name in ("shares_per_second", "_start_target", "_easiest_target", "_hardest_target"):
            self.__dict__.pop(name, None)               # worked out anew
        self.version += 1

    def throttle(self, now: float, before: Throttle | None = None) -> Throttle | None:
        """What bounds the shares of a channel; None where nothing does. `now` is monotonic seconds.

        `before` is what bounded the channel until now: it goes on, under the bound as it is now.
        """
        if not self.max_shares_per_minute:
            return None
        most = math.ceil(self.max_shares_per_minute)
        if before is None:
            return Throttle(most, now)
        before.bound(most)
        return before

    @cached_property
    def shares_per_second(self) -> float:
        """What `shares_per_minute` is to a clock."""
        return float(self.shares_per_minute) / 60

    @cached_property
    def _start_target(self) -> int:
        return whole_below(target_from_difficulty(self.start))

    @cached_property
    def _easiest_target(self) -> int:
        return min(target_from_difficulty(self.minimum), MAX_TARGET)

    @cached_property
    def _hardest_target(self) -> int:
        return target_from_difficulty(self.maximum) if self.maximum else 1

    def wanted_at_open(self, hash_rate: float) -> int:
        """The target for a new channel that declares `hash_rate` (hashes a second; 0.0 for unknown), without bounds."""
        return self.target_for_hash_rate(hash_rate) if hash_rate > 0 else self._start_target

    def target_for_hash_rate(self, hash_rate: float) -> int:
        """The target that a machine of `hash_rate` (> 0) meets `shares_per_minute` times a minute."""
        return whole_below(max(1, target_from_hash_rate(hash_rate, self.shares_per_minute)))

    def granted(self, wanted: int, max_target: int, network_target: int, ceiling: int = MAX_TARGET) -> int:
        """`wanted` within the operator's bounds, the throttle's `ceiling` over those, then the network's difficulty,
        and the channel's floor over all.

        A difficulty above 1 is a whole number, since there is firmware that reads it into a uint32: the next one below,
        unless only the next one above is within the bounds. Without a template yet, `network_target` is 1: nothing is
        known to be too hard.
        """
        target = min(max(min(wanted, self._easiest_target), self._hardest_target), ceiling)
        target = min(max(target, network_target), max_target)
        if target >= DIFF1:
            return target
        easier, harder = whole_below(target), DIFF1 // (DIFF1 // target + 1)
        if easier == target:
            return target
        hardest = max(network_target, min(self._hardest_target, ceiling))
        is_above_least = easier > self._easiest_target and harder >= hardest
        return max(1, harder) if easier > max_target or is_above_least else easier
