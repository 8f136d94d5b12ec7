"""When a block's journal entry may go: the rule, over what each node has said. Nothing here acts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from warppool.node.items import Verdict
from warppool.node.nodeblocks import BURIED_UNDER

SILENT_S = 24 * 3600.0
"""A node that answered nothing for so long is not waited for."""


@dataclass(slots=True)
class NodeState:
    """What is known of a node; `heard_at` is the monotonic time of its last answer, at first that of our start."""

    heard_at: float
    height: int | None = None           # of its best tip, as last told


def is_lost(final: Mapping[int, Verdict], nodes: Collection[int]) -> bool:
    """True if every one of the nodes, by their numbers, refused the block for good."""
    return all(final.get(number) is Verdict.REFUSED for number in nodes)


def may_leave(height: int, final: Mapping[int, Verdict], nodes: Mapping[int, NodeState], best_node: int | None,
              now: float) -> bool:
    """True if a block at `height` needs no journal any more.

    `final` has BURIED or REFUSED by the numbers of the nodes that have said their last word; what a node said that is
    not among `nodes` any more does not count. Either every node has said it, and one has the block buried; or the node
    of the best tip has, and each of the others that said nothing final is silent for a day or more than six blocks
    behind.
    """
    said = {number: final[number] for number in nodes if number in final}
    if len(said) == len(nodes):
        return Verdict.BURIED in said.values()
    if best_node is None or said.get(best_node) is not Verdict.BURIED:
        return False
    best_height = max(nodes[best_node].height or 0, height + BURIED_UNDER)
    return all(
        number in said or now - node.heard_at > SILENT_S or _is_behind(node, best_height)
        for number, node in nodes.items()
    )


def _is_behind(node: NodeState, best_height: int) -> bool:
    return node.height is not None and best_height - node.height > BURIED_UNDER
