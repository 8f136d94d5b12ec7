"""Blocks for a template provider, which answers nothing: when they go out, and what its tips show of them."""

from __future__ import annotations

from dataclasses import replace

from tests.node.test_kepttransactions import template_with
from tests.sv2.templates import EASY_NBITS, raw_transactions
from warppool.mining.template import Tip
from warppool.node.items import Verdict
from warppool.node.kepttransactions import key_of
from warppool.node.nodeblocks import BURIED_UNDER, Said
from warppool.node.solutions import AGAIN_S, OfferSolution, Solutions

OURS, OTHER = b"\x01" * 32, b"\x02" * 32


def solution(height: int = 10, template_id: int | None = 7, is_watched: bool = True,
             block_hash: bytes = OURS) -> OfferSolution:
    return OfferSolution(block_hash, height, bytes(80), b"coinbase", template_id, is_watched)


def tip(prev_hash: bytes, height: int) -> Tip:
    """The tip below blocks of `height`."""
    return Tip(prev_hash, EASY_NBITS, 1 << 255, 0, height)


def sent(solutions: Solutions, now: float) -> int:
    return len(solutions.due(now))


def at_height(height: int, offered: OfferSolution, now: float = 0.0) -> Solutions:
    solutions = Solutions()
    solutions.tip_moved(tip(OTHER, height))
    solutions.add(offered, now)
    return solutions


def test_a_block_goes_out_at_once_and_each_minute_until_the_tip_moves():
    solutions = at_height(10, solution())
    assert [solutions.due(now) for now in (0.0, 1.0, AGAIN_S - 1)] == [[(solution(), 0)], [], []]
    assert solutions.until_due(20.0) == AGAIN_S - 20.0
    assert solutions.due(AGAIN_S) == [(solution(), 1)]
    assert solutions.tip_moved(tip(OURS, 11)).said == [Said(OURS, Verdict.ACCEPTED, "")]
    assert sent(solutions, 10_000.0) == 0 and solutions.until_due(0.0) == float("inf")


def test_a_block_that_the_chain_is_not_seen_to_have_goes_out_once_on_each_connection():
    solutions = at_height(10, solution())
    assert sent(solutions, 0.0) == 1
    solutions.tip_moved(tip(OTHER, 13))
    sent(solutions, AGAIN_S)
    assert sent(solutions, 10 * AGAIN_S) == 0
    solutions.reconnected(1000.0)
    assert [sent(solutions, 1000.0 + second) for second in (0, 1, 2 * AGAIN_S)] == [1, 0, 0]
    solutions.tip_moved(tip(OURS, 11))
    solutions.reconnected(1300.0)
    assert sent(solutions, 1300.0) == 0


def test_tips_show_what_becomes_of_a_block():
    solutions = at_height(10, solution())
    assert solutions.tip_moved(tip(OTHER, 11)).said == [Said(OURS, Verdict.SIDE, "")]
    assert solutions.tip_moved(tip(OURS, 11)).said == [Said(OURS, Verdict.ACCEPTED, "")]
    for above in range(1, BURIED_UNDER):
        assert solutions.tip_moved(tip(OTHER, 11 + above)) == ([], [])
    assert solutions.tip_moved(tip(OTHER, 11 + BURIED_UNDER)).said == [Said(OURS, Verdict.BURIED, "")]
    assert len(solutions) == 0


def test_a_block_that_no_tip_ever_showed_stays_and_is_told_once():
    solutions = at_height(10, solution())
    assert solutions.tip_moved(tip(OTHER, 11 + BURIED_UNDER)) == ([], [solution()])
    assert solutions.tip_moved(tip(OTHER, 12 + BURIED_UNDER)) == ([], [])
    assert len(solutions) == 1
    solutions.drop(OURS)
    assert len(solutions) == 0


def test_a_block_that_others_look_after_goes_out_and_is_not_watched():
    solutions = at_height(10, solution(is_watched=False))
    assert sent(solutions, 0.0) == 1
    assert solutions.tip_moved(tip(OURS, 11)) == ([], [])
    assert len(solutions) == 0


def test_a_block_on_somebody_elses_template_is_watched_and_never_sent():
    solutions = at_height(10, solution(template_id=None))
    solutions.reconnected(0.0)
    assert sent(solutions, 10_000.0) == 0 and solutions.until_due(0.0) == float("inf")
    assert solutions.tip_moved(tip(OURS, 11)).said == [Said(OURS, Verdict.ACCEPTED, "")]


def test_a_restarted_provider_is_offered_the_block_by_the_new_id_of_the_same_template():
    template = template_with((), 500, height=10)
    header = bytes(4) + template.tip.prev_hash + bytes(44)
    offered = replace(solution(), header=header, key=key_of(template))
    solutions = at_height(10, offered)
    assert sent(solutions, 0.0) == 1
    solutions.given(template, 1.0)                          # on the same connection the first id is right
    assert sent(solutions, 1.0) == 0
    solutions.reconnected(2.0)
    assert [each.template_id for each, _ in solutions.due(2.0)] == [7]
    solutions.given(replace(template, tip=replace(template.tip, prev_hash=OTHER)), 3.0)
    solutions.given(template_with(raw_transactions(1), 501, height=10), 3.0)
    assert sent(solutions, 3.0) == 0
    solutions.given(template, 3.0)
    assert [each.template_id for each, _ in solutions.due(3.0)] == [500]
    solutions.given(replace(template, template_id=502), 4.0)
    assert sent(solutions, 4.0) == 0


def test_a_block_that_is_made_whole_need_not_be_watched_any_more():
    solutions = at_height(10, solution())
    assert sent(solutions, 0.0) == 1
    solutions.add(solution(is_watched=False), 1.0)
    assert sent(solutions, 2.0) == 0
    assert solutions.tip_moved(tip(OTHER, 11)).said == []
