"""The clocks of the nodes: which node's time is believed, and how far it is from ours. Pure.

A job's header time is the time of the node that gave the template: nodes refuse a block by their own clocks, and ours
may jump. So a node is refused for its clock only where other nodes stand against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

WARN_OFFSET_S = 120.0
"""Seconds between a node's clock and ours that an operator should hear of: NTP keeps any clock within one."""

FAR_OFFSET_S = 7200.0
"""Seconds that a header time may be ahead of a node's clock (consensus); clocks farther apart refuse blocks."""


def refused_clocks(times: Mapping[int, float], own: float) -> frozenset[int]:
    """The nodes whose time is not believed. `times` has the Unix time of each fresh node now, `own` is our clock's.

    A node is refused where two others agree within two hours and are both more than two hours off it. Of two nodes that
    disagree the one farther from our clock is refused. One node is always left.
    """
    nodes = sorted(times)
    if len(nodes) == 2:
        first, second = nodes
        if not _is_far(times[first], times[second]):
            return frozenset()
        is_second_farther = abs(times[second] - own) >= abs(times[first] - own)
        return frozenset((second if is_second_farther else first,))
    refused = frozenset(node for node in nodes if _is_outvoted(times[node], (times[n] for n in nodes if n != node)))
    if len(refused) < len(nodes):
        return refused
    # Two camps of the same standing, as 2 against 2: our own clock decides which one is believed.
    nearest = min((times[node] for node in nodes), key=lambda time: abs(time - own), default=own)
    return frozenset(node for node in nodes if _is_far(times[node], nearest))


def _is_outvoted(time: float, others: Iterable[float]) -> bool:
    against = [other for other in others if _is_far(time, other)]
    return any(not _is_far(one, another) for one, another in combinations(against, 2))


def _is_far(one: float, another: float) -> bool:
    return abs(one - another) > FAR_OFFSET_S
