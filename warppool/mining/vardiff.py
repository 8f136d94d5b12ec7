"""Variable difficulty: the target under which a channel finds as many shares a minute as the operator wants.

Shares are a Poisson process, and those whose hash meets the channel's current target arrive at `hash rate * target`
whatever easier target their job was assigned with. So only those are counted, and shares in flight over a change
mislead nobody.

A change needs evidence: the count of a window must lie outside what chance explains of the wanted rate, and a margin
beyond. Then the target moves by the power of two nearest to the estimate, and a new window begins.

    up      asked after every few shares: seconds in a flood, a minute or two for a machine that doubled
    down    asked by timer: before the first share 16 times easier every 10 s, unless the machine declared its hash
            rate; later when nothing came for longer than chance explains, or when a window's count is too low


The channel owns its Vardiff (`channel.vardiff`; None fixes the difficulty, as `fd=` does). `ShareValidator` counts
accepted shares. `Course` asks `wanted` for each channel of `ShareValidator.due` and for each whose `wakes_at` has come,
and gives the channel the new target. On a tip with other nbits, or with a new max_target, it asks `granted` in the same
way. All times are monotonic seconds.
"""

from __future__ import annotations

import math

from warppool.bitcoin.target import MAX_TARGET
from warppool.mining.difficulty import DifficultyPolicy

FIRST_SHARE_S = 10.0
"""Silence before the first share after which the target gets easier; the least time between two reviews."""

SILENCE_OCTAVES = 4
"""Silence makes the target 16 times easier: with no share there is nothing to measure by."""

QUIET_SHARES = 10.0
"""Shares that a machine must owe before its silence is no chance: once in 22,000 reviews of a steady machine."""

WINDOW_SHARES = 32.0
WINDOW_S = 60.0
"""A window holds what so many shares take at the wanted rate, and no less than so many seconds; older is forgotten."""

ASK_EVERY = 8
"""Shares between two reviews; the first one can tell a rate 5 times too high from chance."""

DEVIATIONS = 2.6
"""Standard deviations that a count may lie off its mean by chance: about one test in 200, before the margin."""

MARGIN = 1.4
"""A rate that is too high or low by this factor is near enough: the next power of two would be no nearer."""

LEAST_SPAN_S = 0.25
"""No window counts as shorter: all shares that one wake-up reads have one time, however long they took to be mined."""


class Vardiff:
    """The estimate for one channel; thousands of them idle, so it is small and sleeps where nothing can get easier.

    `goal` is the wanted target before any bounds: of the declared hash rate (`is_declared`) or of the operator's start.
    `easiest` is the machine's own floor (V1 `d=`), which the network's target overrides. `wakes_at` is when to ask
    `wanted` next without a share; `inf` for never.
    """

    __slots__ = ("_ask_at", "_base", "_count", "_easiest", "_heard", "_is_declared", "_policy", "_reviewed_at",
                 "_since", "ceiling", "goal", "target", "wakes_at")

    def __init__(self, policy: DifficultyPolicy, goal: int, now: float, *, is_declared: bool = False,
                 easiest: int = MAX_TARGET, ceiling: int = MAX_TARGET) -> None:
        self._policy = policy
        self._easiest = easiest
        self.ceiling = ceiling                  # the throttle's
        self.target = goal                      # the channel's; `granted` and `wanted` keep it so
        self.restart(goal, now, is_declared=is_declared)

    def restart(self, goal: int, now: float, *, is_declared: bool = False) -> None:
        """Forget all: the machine declared another hash rate, or comes back after a drop. Ask `granted` next."""
        self.goal = goal
        self._is_declared = is_declared
        self._count = 0                         # shares that met the target of their time
        self._begin(now)

    def follow(self, policy: DifficultyPolicy, ceiling: int) -> None:
        """Other bounds, or another worker's policy: what was measured stays. Ask `granted` next."""
        self._policy = policy
        self.ceiling = ceiling

    def _begin(self, now: float) -> None:
        """A new window."""
        self._base: float = self._count         # the count at its start; a fraction once it is trimmed
        self._since = now
        self._ask_at: float = self._count + ASK_EVERY
        self._listen(now)

    def _listen(self, now: float) -> None:
        """Wait for a share; when none has come until `wakes_at`, that is silence."""
        self._heard = self._count
        self._reviewed_at = now
        is_unknown = self._count == 0 and not self._is_declared
        patience = 0.0 if is_unknown else QUIET_SHARES / self._policy.shares_per_second
        self.wakes_at = now + max(FIRST_SHARE_S, patience)

    def shared(self, value: int) -> bool:
        """Count an accepted share by its hash (as a number); True when `wanted` is to be asked, and then only once."""
        if value > self.target:
            return False                        # mined under an easier target than the one that is measured
        self._count += 1
        if self._count < self._ask_at:
            return False
        self._ask_at = math.inf
        return True

    def granted(self, max_target: int, network_target: int) -> int:
        """The goal within the bounds as they are now: the target that the channel is to have."""
        target = self._policy.granted(min(self.goal, self._easiest), max_target, network_target, self.ceiling)
        self._rescale(target)
        return target

    def is_easiest(self, max_target: int, network_target: int) -> bool:
        """Whether the target cannot get easier within the bounds as they are now."""
        return self._policy.granted(self._easiest, max_target, network_target, self.ceiling) <= self.target

    def _rescale(self, target: int) -> None:
        """Count on under another target, as if the shares had come under that one."""
        if target != self.target:
            self._base = self._count - (self._count - self._base) * (target / self.target)
            self._ask_at = self._count + ASK_EVERY
            self.wakes_at = min(self.wakes_at, self._reviewed_at + FIRST_SHARE_S)
            self.target = target

    def wanted(self, max_target: int, network_target: int, now: float) -> tuple[int, str] | None:
        """The target that the channel should have from now on, with the reason for the log, or None for no change."""
        found = self._evidence(now)
        if found is None:
            self._go_on(now)
            return None
        octaves, reason = found
        self.goal = min(self.target << octaves, MAX_TARGET) if octaves > 0 else max(1, self.target >> -octaves)
        target = self._policy.granted(min(self.goal, self._easiest), max_target, network_target, self.ceiling)
        if target == self.target:
            self._go_on(now)
            if octaves > 0:
                self.wakes_at = math.inf        # it cannot get easier than this
            return None
        self.target = target
        self._begin(now)
        return target, reason

    def _evidence(self, now: float) -> tuple[int, str] | None:
        """By how many powers of two the target must get easier (below 0: harder), and why."""
        span = max(now - self._since, LEAST_SPAN_S)
        count = self._count - self._base
        expected = self._policy.shares_per_second * span
        if max(0.0, math.sqrt(count) - DEVIATIONS / 2) ** 2 > expected * MARGIN:
            # the window ends with a share, so the last interval's share is one too many
            return -max(1, round(math.log2((count - 1) / expected))), f"{count:.0f} shares in {span:.1f} s"
        if now < self.wakes_at:
            return None
        if self._count == self._heard:
            if self._count == 0:
                self._is_declared = False       # what it declared is not so
            return SILENCE_OCTAVES, f"no share for {now - self._reviewed_at:.0f} s"
        if (math.sqrt(count + 1) + DEVIATIONS / 2) ** 2 * MARGIN < expected:
            return max(1, round(math.log2(expected / (count + 1)))), f"{count:.0f} shares in {span:.0f} s"
        return None

    def _go_on(self, now: float) -> None:
        """Nothing changes: keep the window, but not what is too old in it."""
        count, span = self._count - self._base, now - self._since
        longest = max(WINDOW_S, WINDOW_SHARES / self._policy.shares_per_second)
        if span > longest:
            count *= longest / span
            self._base = self._count - count
            self._since = now - longest
        if self._ask_at <= self._count or self._ask_at == math.inf:
            self._ask_at = self._count + max(ASK_EVERY, count / 4)
        if now >= self.wakes_at:
            self._listen(now)
