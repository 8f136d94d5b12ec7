"""Which block a node gets next, and what follows from its answers: decisions alone, on a clock of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warppool.node.items import SubmitBlock, Verdict
from warppool.node.nodeblocks import (
    LONGEST_RESUBMIT_S,
    MAX_PUT_OFF_S,
    SUBMITS_PER_LOOK,
    WATCH_S,
    BlockStatus,
    Case,
    NodeBlocks,
    Said,
    Step,
)

ACTIVE = BlockStatus(True, True, 0)
BESIDE = BlockStatus(True, False, 0)
UNKNOWN = BlockStatus(False, False, None)
OUTSIDE = b"\x00" * 32          # a parent that is none of ours


def block(height: int, parent: bytes = OUTSIDE, number: int = 0, *, is_replay: bool = False, is_known: bool = False
          ) -> SubmitBlock:
    raw = b"\x04\x00\x00\x00" + parent + number.to_bytes(40, "little") + height.to_bytes(4, "little")
    return SubmitBlock(hashlib.sha256(raw).digest(), height, raw, is_replay, is_known)


def chain(heights: Iterable[int], *, is_replay: bool = False) -> list[SubmitBlock]:
    blocks: list[SubmitBlock] = []
    for height in heights:
        parent = blocks[-1].block_hash if blocks else OUTSIDE
        blocks.append(block(height, parent, is_replay=is_replay))
    return blocks


class Node:
    """`NodeBlocks` and its clock; `turn` takes the next step and answers it."""

    def __init__(self, *blocks: SubmitBlock) -> None:
        self.blocks = NodeBlocks()
        self.now = 1000.0
        self.said: list[Said] = []
        self.handed: list[SubmitBlock] = []
        self.put(*blocks)

    def put(self, *blocks: SubmitBlock) -> None:
        for each in blocks:
            self.blocks.add(each, self.now)

    def next(self) -> Case:
        case = self.blocks.next(self.now)
        assert case is not None
        return case

    def submit(self, word: str = "") -> SubmitBlock:
        """The next step is a submit, and this is the answer."""
        case = self.next()
        assert case.step is Step.SUBMIT
        self.handed.append(case.block)
        self.said += self.blocks.answered(case, word, self.now)
        return case.block

    def look(self, status: BlockStatus = ACTIVE) -> SubmitBlock:
        case = self.next()
        assert case.step is Step.LOOK_UP
        self.said += self.blocks.looked_up(case, status, self.now)
        return case.block

    def ask_parent(self, is_known: bool | None) -> SubmitBlock:
        case = self.next()
        assert case.step is Step.ASK_PARENT
        self.said += self.blocks.parent_answered(case, is_known, self.now)
        return case.block

    def wait(self) -> float:
        """Let pass what `until_due` says; how long that was."""
        wait_s = self.blocks.until_due(self.now)
        assert wait_s is not None
        self.now += wait_s
        return wait_s

    def heard(self) -> list[tuple[bytes, Verdict]]:
        said, self.said = self.said, []
        return [each[:2] for each in said]


# The order.

def test_the_highest_of_the_new_blocks_comes_first() -> None:
    low, high, middle = block(5), block(9), block(7)
    node = Node(low, high, middle)
    assert [node.submit() for _ in range(3)] == [high, middle, low]


def test_a_flood_at_one_height_does_not_keep_the_next_height_waiting() -> None:
    """A CPU miner on regtest: its rivals at height 5 come by the hundred, and the next block builds on one of them."""
    flood = [block(5, number=number) for number in range(500)]
    node = Node(*flood)
    for _ in range(3):
        node.submit()
    ahead = block(6, flood[250].block_hash)
    node.put(ahead)
    assert [node.submit("duplicate"), node.submit()] == [flood[250], ahead]      # first what it needs


def test_a_block_on_a_parent_that_the_node_has_told_to_have_waits_for_no_replay() -> None:
    replays = [block(height, number=height, is_replay=True, is_known=True) for height in range(1, 51)]
    node = Node(*replays)
    fresh = block(51, replays[-1].block_hash)
    node.put(fresh)
    assert node.submit() == fresh


def test_replays_come_in_ascending_height_behind_new_blocks() -> None:
    replays = chain(range(1, 6), is_replay=True)
    node = Node(*reversed(replays))
    fresh = block(3, number=7)
    node.put(fresh)
    assert [node.submit() for _ in range(6)] == [fresh, *replays]


def test_one_look_up_for_every_ten_submits() -> None:
    node = Node(*(block(5, number=number) for number in range(100)))
    steps = []
    while len(steps) < 55:
        case = node.next()
        steps.append(case.step)
        if case.step is Step.SUBMIT:
            node.blocks.answered(case, "inconclusive", node.now)
        else:
            node.blocks.looked_up(case, BESIDE, node.now)
    assert steps == ([Step.SUBMIT] * SUBMITS_PER_LOOK + [Step.LOOK_UP]) * 5


@st.composite
def forests(draw: st.DrawFn) -> list[SubmitBlock]:
    """Blocks of ours on each other and on others', in any order of coming, new ones and replays."""
    made: list[SubmitBlock] = []
    for number in range(draw(st.integers(1, 12))):
        at = draw(st.integers(-1, len(made) - 1))
        parent, height = (OUTSIDE, draw(st.integers(1, 6))) if at < 0 else (made[at].block_hash, made[at].height + 1)
        made.append(block(height, parent, number, is_replay=draw(st.booleans())))
    return draw(st.permutations(made))


WORDS = ["", "", "", "duplicate", "inconclusive", "prev-blk-not-found", "high-hash", "time-too-new", "fault", "silent"]


@settings(deadline=None)
@given(forests(), st.data())
def test_whatever_the_node_says_a_parent_goes_first_and_every_block_is_handed_in(
    forest: list[SubmitBlock], data: st.DataObject
) -> None:
    """And nothing is told after the last word, no verdict twice in a row, and the queue never stands still."""
    node, last = Node(*forest), dict[bytes, Verdict]()
    of_hash = {each.block_hash: each for each in forest}
    for _ in range(80):
        case = node.blocks.next(node.now)
        if case is None:
            if node.blocks.until_due(node.now) is None:
                assert len(node.blocks) == 0
                break
            node.wait()
            continue
        if case.step is Step.SUBMIT:
            due = [each for each in node.blocks._cases.values()
                   if each.step is Step.SUBMIT and each.due_at <= node.now and each.beaten_by is None]
            ready = [each for each in due if not node.blocks._waits_for_parent(each)]
            assert not ready or case in ready
            said = answer(node, case, data.draw(st.sampled_from(WORDS)))
        elif case.step is Step.LOOK_UP:
            said = node.blocks.looked_up(case, data.draw(st.sampled_from(
                [ACTIVE, BESIDE, UNKNOWN, BlockStatus(True, True, 6), BlockStatus(None, None, None)])), node.now)
        else:
            said = node.blocks.parent_answered(case, data.draw(st.sampled_from([True, False, None])), node.now)
        for block_hash, verdict, _ in said:
            assert last.get(block_hash) not in (verdict, Verdict.BURIED, Verdict.REFUSED)
            last[block_hash] = verdict
            if verdict in (Verdict.BURIED, Verdict.REFUSED):
                assert of_hash[block_hash] in node.handed, "the node never had it in hands"


def answer(node: Node, case: Case, word: str) -> list[Said]:
    if word == "fault":
        node.blocks.troubled(case, node.now)
        return []
    node.handed.append(case.block)
    if word == "silent":
        node.blocks.unreached(case, True, node.now)
        return []
    return node.blocks.answered(case, word, node.now)


def test_a_first_verdict_waits_for_no_watch() -> None:
    watched, fresh = chain([5, 6])
    node = Node(watched)
    node.submit()
    node.look()
    node.now += WATCH_S
    node.put(fresh)
    node.submit()
    assert [node.look(), node.look()] == [fresh, watched]


# When tries and look-ups end.

def test_rivals_end_once_one_of_them_stands_on_the_chain_and_each_is_handed_in_once() -> None:
    rivals = [block(5, number=number) for number in range(30)]
    node = Node(*rivals)
    for _ in range(10):
        node.submit("" if not node.handed else "inconclusive")
    assert node.look() == rivals[0]
    assert node.heard() == [(rivals[0].block_hash, Verdict.ACCEPTED)] + [
        (each.block_hash, Verdict.SIDE) for each in rivals[1:10]]
    for _ in range(20):
        node.submit("inconclusive")
    assert node.handed == rivals
    assert len(node.heard()) == 20
    looked = {node.wait() and node.look().block_hash for _ in range(5)}
    assert looked == {rivals[0].block_hash}                     # nobody looks at the others any more
    node.wait()
    node.look(BlockStatus(True, True, 6))
    assert node.heard() == [(each.block_hash, Verdict.BURIED) for each in rivals] and len(node.blocks) == 0


def test_rivals_are_looked_at_again_when_the_winner_is_reorganized_away() -> None:
    one, other = block(5, number=1), block(5, number=2)
    node = Node(one, other)
    node.submit()
    node.submit("inconclusive")
    node.look()
    assert node.heard() == [(one.block_hash, Verdict.ACCEPTED), (other.block_hash, Verdict.SIDE)]
    assert node.wait() == pytest.approx(WATCH_S)
    node.look(BESIDE)
    assert node.look(ACTIVE) == other
    assert node.heard() == [(one.block_hash, Verdict.SIDE), (other.block_hash, Verdict.ACCEPTED)]


def test_a_block_that_is_dropped_lets_its_rivals_go() -> None:
    one, other = block(5, number=1), block(5, number=2)
    node = Node(one, other)
    node.submit()
    node.submit("inconclusive")
    node.look()
    node.blocks.drop(one.block_hash, node.now)
    node.blocks.drop(one.block_hash, node.now)
    assert node.look(BESIDE) == other


# A node that lags, hangs, forgets, or repeats itself.

def test_a_lagging_node_gets_a_block_once_and_is_then_asked_for_the_parent() -> None:
    lagging = block(5)
    node = Node(lagging)
    node.submit("prev-blk-not-found")
    for _ in range(500):
        node.wait()
        node.ask_parent(False)
    assert node.handed == [lagging]
    node.wait()
    node.ask_parent(True)
    node.submit()
    assert node.look() == lagging and node.handed == [lagging] * 2


def test_a_node_that_lies_about_the_parent_gets_the_block_less_and_less_often() -> None:
    node = Node(block(5))
    while node.now < 1000.0 + 600:
        case = node.blocks.next(node.now)
        if case is None:
            node.wait()
        elif case.step is Step.SUBMIT:
            node.submit("prev-blk-not-found")
        else:
            node.ask_parent(True)
    assert len(node.handed) < 600 / LONGEST_RESUBMIT_S + 10


def test_a_lagging_node_is_asked_once_for_the_parent_of_many() -> None:
    flood = [block(5, number=number) for number in range(100)]
    node = Node(*flood)
    for _ in range(100):
        node.submit("prev-blk-not-found")
    began, asked = node.now, 0
    while node.now < began + 60:
        if node.blocks.next(node.now) is None:
            node.wait()
        else:
            node.ask_parent(False)
            asked += 1
    assert asked <= 60 / 2 * 3 and len(node.handed) == 100


def test_a_block_is_handed_in_when_its_parent_of_ours_is_taken() -> None:
    parent, child = chain([5, 6])
    node = Node(parent)
    node.submit("prev-blk-not-found")
    node.put(child)
    node.submit("prev-blk-not-found")
    node.wait()
    assert node.ask_parent(False) == parent                     # and nobody asks for the child's parent meanwhile
    node.wait()
    assert node.ask_parent(True) == parent
    assert node.submit() == parent
    assert node.submit() == child


def test_a_killed_node_gets_the_lost_parents_again_without_waiting_for_their_watch() -> None:
    *parents, child = chain([5, 6, 7, 8])
    node = Node()
    for parent in parents:
        node.put(parent)
        node.submit()
        node.look()
    node.heard()
    began = node.now
    node.put(child)
    assert node.submit("prev-blk-not-found") == child           # it has lost all of them
    looked = {node.look(UNKNOWN).block_hash for _ in parents}   # the watch is due in half a minute: not waited for
    assert looked == {parent.block_hash for parent in parents}
    assert node.now == began
    node.wait()
    for each in (*parents, child):
        assert node.submit() == each
    assert node.now - began < WATCH_S / 3


def test_a_node_that_stays_behind_for_two_hours_has_refused() -> None:
    lagging = block(5)
    node = Node(lagging)
    node.submit("prev-blk-not-found")
    began = node.now
    while not node.said:
        node.wait()
        node.ask_parent(False)
    assert node.now - began >= MAX_PUT_OFF_S
    assert node.said == [Said(lagging.block_hash, Verdict.REFUSED, "prev-blk-not-found")]


def test_a_block_whose_answer_is_lost_is_looked_up_before_it_is_sent_again() -> None:
    sent = block(5)
    node = Node(sent)
    node.blocks.unreached(node.next(), True, node.now)
    node.wait()
    assert node.look() == sent and node.heard() == [(sent.block_hash, Verdict.ACCEPTED)]
    lost = block(6)
    node.put(lost)
    node.blocks.unreached(node.next(), True, node.now)
    node.wait()
    assert node.look(UNKNOWN) == lost
    assert node.submit() == lost


def test_a_node_that_answers_submits_and_no_look_ups_still_gets_the_block() -> None:
    sent = block(5)
    node = Node(sent)
    node.blocks.unreached(node.next(), True, node.now)
    node.wait()
    node.blocks.not_seen(node.next(), node.now)
    node.wait()
    assert node.submit() == sent


def test_a_node_that_lost_one_block_is_asked_for_all_others_at_once() -> None:
    blocks = chain([5, 6, 7])
    node = Node()
    for each in blocks:
        node.put(each)
        node.submit()
        node.look()
    node.now += WATCH_S - 1.0
    node.blocks._cases[blocks[1].block_hash].due_at = node.now
    assert node.look(UNKNOWN) == blocks[1]
    assert {node.look(UNKNOWN).block_hash, node.look(UNKNOWN).block_hash} == {
        blocks[0].block_hash, blocks[2].block_hash}
    node.now += 1.0
    assert [node.submit() for _ in range(3)] == blocks          # each after its parent


def test_a_node_that_forgets_what_it_takes_gets_it_less_and_less_often() -> None:
    node = Node(block(5))
    for _ in range(60):
        node.submit()
        node.look(UNKNOWN)
        node.wait()
    assert node.now - 1000.0 > 50 * LONGEST_RESUBMIT_S


def test_a_node_that_says_duplicate_for_ever_has_refused_after_two_hours() -> None:
    node = Node(block(5))
    while not node.said:
        case = node.blocks.next(node.now)
        if case is None:
            node.wait()
        elif case.step is Step.SUBMIT:
            node.submit("duplicate")
        elif case.step is Step.LOOK_UP:
            node.look(UNKNOWN)
        else:
            node.ask_parent(True)
    assert node.said[0][1:] == (Verdict.REFUSED, "duplicate, yet not found: the node holds it invalid")
    assert len(node.handed) < MAX_PUT_OFF_S / 20


def test_while_the_node_is_away_nothing_is_tried_but_a_new_best_block() -> None:
    node = Node(*(block(5, number=number) for number in range(50)))
    node.blocks.unreached(node.next(), False, node.now)
    assert node.blocks.next(node.now) is None
    node.put(block(5, number=99))
    assert node.blocks.next(node.now) is None
    node.put(best := block(6))
    assert node.next().block == best
    node.blocks.unreached(node.next(), False, node.now)
    assert 0.5 <= node.wait() <= 2.5
    assert node.next().block == best


def test_look_ups_that_fail_hold_up_no_submit() -> None:
    node = Node(*(block(5, number=number) for number in range(40)))
    submits = looks = 0
    while submits < 40:
        case = node.next()
        if case.step is Step.SUBMIT:
            node.blocks.answered(case, "", node.now)
            submits += 1
        else:
            node.blocks.not_seen(case, node.now)
            looks += 1
    assert looks == 1                                           # the pause after it is one for all


# Without look-ups.

@pytest.mark.parametrize(("word", "verdict"), [
    ("", Verdict.ACCEPTED), ("inconclusive", Verdict.SIDE), ("duplicate", None)])
def test_where_the_chain_cannot_be_seen_the_answer_to_the_submit_is_the_verdict(
    word: str, verdict: Verdict | None
) -> None:
    node = Node(blind := block(5))
    node.submit(word)
    node.look(BlockStatus(None, None, None))
    assert node.heard() == ([] if verdict is None else [(blind.block_hash, verdict)])
    node.wait()
    node.look(BlockStatus(None, None, 6))                          # the height alone is told
    assert node.heard() == [(blind.block_hash, Verdict.BURIED)]
