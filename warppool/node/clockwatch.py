"""The nodes' clocks: whose is believed, and what is said of one that is off. Pure; used by node/choice.py."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from warppool.events import Now
from warppool.node.candidate import Candidate
from warppool.node.clocks import FAR_OFFSET_S, WARN_OFFSET_S, refused_clocks
from warppool.node.steps import LogLine, Step

CLOCK_PLAY_S = 10.0
"""So much nearer than WARN_OFFSET_S a clock has to come to be right again: nodes tell whole seconds, and are late."""

REPEAT_S = 60.0
"""From one line about a trouble that lasts to the next."""


class ClockWatch:
    """`distrusted` are the numbers of the nodes whose clock is not believed."""

    def __init__(self) -> None:
        self.distrusted: frozenset[int] = frozenset()

    def judge(self, nodes: Mapping[int, Candidate], now: Now, steps: list[Step]) -> None:
        """Compare the clocks of `nodes`, which are those whose word counts now."""
        times = {number: node.time(now) for number, node in nodes.items() if node.curtime is not None}
        distrusted = refused_clocks(times, now.unix) if len(times) > 1 else frozenset()
        for number in sorted(distrusted - self.distrusted):
            if now.monotonic - nodes[number].refused_at < REPEAT_S:
                continue
            nodes[number].refused_at = now.monotonic
            steps.append(LogLine(logging.ERROR, "node.refused", (
                ("node", nodes[number].name), ("reason", _words(times[number] - now.unix)),
                ("meaning", "its templates are not used, since the clocks of the other nodes stand against its own"))))
        self.distrusted = distrusted


def look_at_clock(node: Candidate, now: Now, steps: list[Step]) -> None:
    """Say how far a node's clock and ours are apart: once from two minutes on, each minute from two hours on."""
    if node.curtime is None:
        return
    offset = node.time(now) - now.unix
    grade = (abs(offset) > WARN_OFFSET_S) + (abs(offset) > FAR_OFFSET_S)
    if now.monotonic - node.clock_said_at < REPEAT_S:
        return                              # a clock that wavers about a border says no more than that either
    if not grade and node.clock_off and abs(offset) > WARN_OFFSET_S - CLOCK_PLAY_S:
        return
    if not grade and node.clock_off:
        node.clock_said_at = now.monotonic
        steps.append(LogLine(logging.INFO, "clock.right", (("node", node.name), ("offset_s", round(offset)))))
    if grade == 2 or grade > node.clock_off:
        node.clock_said_at = now.monotonic
        steps.append(LogLine(logging.ERROR if grade == 2 else logging.WARNING, "clock.off", (
            ("node", node.name), ("offset_s", round(offset)), ("reason", _words(offset)),
            ("meaning", "jobs carry the node's time: look at NTP here and on the node's machine"))))
    node.clock_off = grade


def _words(offset: float) -> str:
    return f"its clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} ours"
