"""Who takes a found block, and whose word on it counts.

A node that is asked by RPC, and the embedded chain, take whole blocks. A template provider takes what is found on its
own templates (SubmitSolution), for it has their transactions. Of a whole block the former have the word. Of a block
whose transactions never came, or where there is nobody else, the providers have the word: their tips show whether the
chain has the block. A provider whose key nobody has checked is believed only where no other provider is.

Owned by the submitter.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

from warppool.loop import Takes
from warppool.node.items import DropBlock, SubmitBlock
from warppool.node.openblock import OpenBlock, parts_of
from warppool.node.retention import NodeState, is_lost, may_leave
from warppool.node.solutions import OfferSolution


class NodeInbox(NamedTuple):
    """Where a node's blocks go. What an embedded chain accepted dies with this process until it is buried."""

    inbox: Takes                        # of SubmitBlock, a provider's of OfferSolution; and DropBlock
    is_embedded: bool
    is_provider: bool = False
    is_insecure: bool = False           # a provider that may be anybody


class BlockTakers:
    """All nodes by their numbers; `now` is in monotonic seconds."""

    def __init__(self, nodes: Mapping[int, NodeInbox], now: float) -> None:
        self._nodes = dict(nodes)
        self._states = {number: NodeState(now) for number in nodes}
        self._best: int | None = None               # by its number; None while nobody has told
        self._sort()

    def __contains__(self, node: int) -> bool:
        return node in self._nodes

    @property
    def best(self) -> int | None:
        """The node with the best tip."""
        return self._best

    @best.setter
    def best(self, node: int | None) -> None:
        self._best = node if node in self._nodes else None

    def reconfigure(self, nodes: Mapping[int, NodeInbox], now: float) -> tuple[Set[int], Set[int]]:
        """From now on these are the nodes; the numbers of those that are new, and of those that are gone."""
        added, gone = nodes.keys() - self._nodes.keys(), self._nodes.keys() - nodes.keys()
        self._nodes = dict(nodes)
        self._states = {number: self._states.get(number) or NodeState(now) for number in nodes}
        self.best = self._best
        self._sort()
        return added, gone

    def _sort(self) -> None:
        """Which nodes take whole blocks, and which providers are believed."""
        self._whole = {number for number, node in self._nodes.items() if not node.is_provider}
        providers = self._nodes.keys() - self._whole
        self._believed = {number for number in providers if not self._nodes[number].is_insecure} or providers

    def number_of(self, source: str) -> int | None:
        """The provider that calls itself `source` in the log; None for any other node."""
        return next((number for number in self._nodes.keys() - self._whole if source == f"node-{number}"), None)

    # --- what they are given ------------------------------------------------------------------------------------------

    def hand(self, block: OpenBlock, is_replay: bool = False, to: Set[int] | None = None) -> int:
        """Put the block on the queue of every node that can do something for it; how many can bring it to the chain.

        With `to` only on the queues of these.
        """
        judges, reached = self.judges(block), 0
        for number, node in self._nodes.items():
            if to is not None and number not in to:
                continue
            entry = block.entry
            if number in self._whole and entry.is_whole:
                node.inbox.put(SubmitBlock(entry.block_hash, entry.height, entry.data, is_replay, block.is_at(number)))
                reached += 1
            elif number not in self._whole and (entry.node == number or number in judges):
                header, coinbase_tx = parts_of(entry)
                is_own = entry.node == number
                node.inbox.put(OfferSolution(entry.block_hash, entry.height, header, coinbase_tx,
                                             entry.template_id if is_own else None, number in judges, block.key))
                reached += is_own
        return reached

    def drop(self, block: OpenBlock) -> None:
        """No more tries: the journal has let the block go."""
        for number, node in self._nodes.items():
            if number not in block.final:
                node.inbox.put(DropBlock(block.entry.block_hash))

    # --- what they say ------------------------------------------------------------------------------------------------

    def judges(self, block: OpenBlock) -> Set[int]:
        """Whose word on the block counts."""
        return self._whole if block.entry.is_whole and self._whole else self._believed

    def is_entrusted(self, block: OpenBlock) -> bool:
        """Whether the block depends on a provider alone."""
        return self.judges(block) is self._believed

    def is_real(self, node: int) -> bool:
        """Whether the node keeps what it has though this process dies."""
        return not self._nodes[node].is_embedded

    def has_heard(self, node: int, now: float, height: int | None = None) -> bool:
        """A node answered, and has a tip of `height`; False for the last words of one that was removed."""
        if (state := self._states.get(node)) is None:
            return False
        state.heard_at = now
        if height is not None:
            state.height = height
        return True

    def refuse(self, block: OpenBlock) -> bool:
        """Whether all whose word counts refuse the block, by what the log has told; the words of others count too."""
        return block.is_lost(self.judges(block))

    def is_lost(self, block: OpenBlock) -> bool:
        """Whether all of them refused it for good."""
        judges = self.judges(block)
        return bool(judges) and is_lost(block.final, judges)

    def may_leave(self, block: OpenBlock, now: float) -> bool:
        """Whether the block needs no journal any more."""
        judges = self.judges(block)
        states = {number: state for number, state in self._states.items() if number in judges}
        best = self._best
        if best not in judges:                  # of those who have the word, the one with the longest chain
            best = max(states, key=lambda number: states[number].height or -1, default=None)
        return bool(judges) and may_leave(block.entry.height, block.final, states, best, now)
