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
    assert may_leave(HEIGHT, final, (FRESH, other), best, now=1000.0) is leaves


@given(st.lists(st.tuples(st.sampled_from([None, BURIED, REFUSED]), st.floats(0, 2 * SILENT_S), st.integers(80, 120)),
                min_size=1, max_size=4), st.data())
def test_no_entry_leaves_that_nobody_has_buried(said: list[tuple[Verdict | None, float, int]], data: st.DataObject
                                               ) -> None:
    final = {number: verdict for number, (verdict, _, _) in enumerate(said) if verdict is not None}
    nodes = tuple(NodeState(heard_at, height) for _, heard_at, height in said)
    best = data.draw(st.sampled_from([None, *range(len(said))]))
    leaves = may_leave(HEIGHT, final, nodes, best, now=2 * SILENT_S)
    if leaves:
        assert BURIED in final.values()
        assert (best is not None and final.get(best) is BURIED) or len(final) == len(said)
    assert not (leaves and is_lost(final, len(said)))
