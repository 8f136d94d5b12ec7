"""When a journal entry may go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.node.items import Verdict
from warppool.node.retention import SILENT_S, NodeState, is_lost, may_leave

HEIGHT = 100
BURIED, REFUSED = Verdict.BURIED, Verdict.REFUSED
FRESH = NodeState(heard_at=1000.0, height=106)


@pytest.mark.parametrize(("final", "other", "best", "leaves"), [
    ({}, FRESH, 0, False),
    ({0: BURIED}, FRESH, 0, False),                                     # the other one may bury it any moment
    ({0: BURIED, 1: BURIED}, FRESH, 0, True),
    ({0: BURIED, 1: REFUSED}, FRESH, 0, True),
    ({0: REFUSED, 1: REFUSED}, FRESH, 0, False),                        # it is set aside
    ({0: BURIED}, replace(FRESH, heard_at=1000.0 - SILENT_S), 0, False),
    ({0: BURIED}, replace(FRESH, heard_at=999.0 - SILENT_S), 0, True),
    ({0: BURIED}, replace(FRESH, height=100), 0, False),                # six behind
    ({0: BURIED}, replace(FRESH, height=99), 0, True),
    ({0: BURIED}, replace(FRESH, height=99), 1, False),                 # buried at another than the best one
    ({0: BURIED}, replace(FRESH, height=99), None, False),
    ({1: BURIED}, FRESH, 0, False),
    ({0: BURIED}, replace(FRESH, height=None), 0, False),
])
def test_an_entry_of_two_nodes(final: dict[int, Verdict], other: NodeState, best: int | None, leaves: bool) -> None:
    assert may_leave(HEIGHT, final, {0: FRESH, 1: other}, best, now=1000.0) is leaves


@given(st.lists(st.tuples(st.sampled_from([None, BURIED, REFUSED]), st.floats(0, 2 * SILENT_S), st.integers(80, 120)),
                min_size=1, max_size=4), st.data())
def test_no_entry_leaves_that_nobody_has_buried(said: list[tuple[Verdict | None, float, int]], data: st.DataObject
                                               ) -> None:
    final = {number: verdict for number, (verdict, _, _) in enumerate(said) if verdict is not None}
    nodes = {number: NodeState(heard_at, height) for number, (_, heard_at, height) in enumerate(said)}
    best = data.draw(st.sampled_from([None, *range(len(said))]))
    leaves = may_leave(HEIGHT, final, nodes, best, now=2 * SILENT_S)
    if leaves:
        assert BURIED in final.values()
        assert (best is not None and final.get(best) is BURIED) or len(final) == len(said)
    assert not (leaves and is_lost(final, nodes))


def test_what_a_node_said_that_was_removed_does_not_count():
    nodes = {1: FRESH, 4: FRESH}
    assert not may_leave(HEIGHT, {0: BURIED, 1: REFUSED}, nodes, 1, now=1000.0)
    assert not may_leave(HEIGHT, {0: BURIED, 1: REFUSED, 4: REFUSED}, nodes, 1, now=1000.0)
    assert is_lost({0: BURIED, 1: REFUSED, 4: REFUSED}, nodes), "it is set aside, for people to look at"
    assert may_leave(HEIGHT, {0: REFUSED, 1: BURIED, 4: REFUSED}, nodes, None, now=1000.0)
    assert not is_lost({0: REFUSED, 1: REFUSED}, nodes), "the new node has not said its word"
