"""The choice of node, by values alone: what nodes say goes in, what is mined comes out, and time is the test's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mining.makers import make_template, make_tip
from warppool.events import Now
from warppool.mining.template import Template
from warppool.node.choice import EndWork, LogLine, Mine, NodeChoice, Rules, Step, TipWork
from warppool.node.items import NodeAnswered, NodeLost, TemplateReady

UNIX = 1_800_000_000
BLOCK_WORK = 2**256 // (make_tip().target + 1)


def names(*nodes: int) -> dict[int, str]:
    return {number: f"node-{number}" for number in nodes}


class Table:
    """A choice, a clock, and all that came out."""

    def __init__(self, nodes: int = 2, *, rules: Rules | None = None) -> None:
        self.now = 1000.0
        self.jump = 0.0                         # of our own clock
        self.offsets = [0.0] * nodes            # of the nodes' clocks
        self.choice = NodeChoice(names(*range(nodes)), rules or Rules(), self._now())
        self.steps: list[Step] = []
        self.mined: list[Mine] = []

    def _now(self) -> Now:
        return Now(self.now, UNIX + self.now + self.jump)

    def _follow(self, steps: Sequence[Step]) -> list[Step]:
        self.steps += steps
        self.mined += [step for step in steps if isinstance(step, Mine)]
        return list(steps)

    def template(self, node: int, height: int, branch: int = 1, *, work: int | None = -1, is_reorg: bool = False,
                 is_embedded: bool = False) -> Template:
        """The node has a tip at `height`; its work is the height's, unless told."""
        template = replace(make_template(make_tip(branch * 16 + height % 16, height=height + 1)), source=f"node-{node}")
        chainwork = height * BLOCK_WORK if work == -1 else work
        self._follow(self.choice.hear(TemplateReady(
            node, template, chainwork, None if is_embedded else self._curtime(node), None if is_embedded else self.now,
            is_reorg), self._now()))
        return template

    def _curtime(self, node: int) -> int:
        return int(UNIX + self.now + self.offsets[node])

    def again(self, node: int) -> None:
        self._follow(self.choice.hear(NodeAnswered(node, self._curtime(node), self.now), self._now()))

    def reconfigure(self, *nodes: int, rules: Rules | None = None) -> None:
        self.offsets += [0.0] * (1 + max(nodes) - len(self.offsets))
        self._follow(self.choice.reconfigure(names(*nodes), rules or Rules(), self._now()))

    def lose(self, node: int) -> None:
        self._follow(self.choice.hear(NodeLost(node, "it hung up"), self._now()))

    def wait(self, seconds: float, *alive: int, step_s: float = 0.5) -> None:
        """Let time pass in small steps; these nodes answer every ten seconds."""
        for step in range(1, max(1, round(seconds / step_s)) + 1):
            self.now += step_s
            if step % round(10 / step_s) == 0:
                for node in alive:
                    self.again(node)
            self._follow(self.choice.tick(self._now()))

    @property
    def where(self) -> tuple[int, int]:
        """The node that is mined, and the height of its tip."""
        assert self.choice.node is not None and self.choice.template is not None
        return self.choice.node, self.choice.template.tip.height - 1

    def notes(self, event: str) -> list[dict[str, object]]:
        return [dict(step.fields) | {"level": step.level} for step in self.steps
                if isinstance(step, LogLine) and step.event == event]


# --- the start --------------------------------------------------------------------------------------------------------

def test_the_first_node_of_the_file_has_five_seconds():
    table = Table()
    table.template(1, 50)
    table.wait(4.5)
    assert not table.mined
    table.template(0, 50)
    assert table.where == (0, 50)
    assert [note["node"] for note in table.notes("template.source")] == ["node-0"]


def test_after_five_seconds_another_one_is_mined():
    table = Table(3)
    table.template(2, 50)
    table.template(1, 50)
    table.wait(5)
    assert table.where == (1, 50)


def test_a_first_node_that_is_behind_at_the_start_is_not_mined():
    table = Table()
    table.template(1, 50)
    table.template(0, 40)
    assert table.where == (1, 50)


# --- the best tip -----------------------------------------------------------------------------------------------------

def test_the_tip_of_most_work_is_mined_at_once_and_equal_work_changes_nothing():
    table = Table()
    table.template(0, 50)
    table.template(1, 50, branch=2)
    assert table.where == (0, 50)
    table.template(1, 51, branch=2)
    assert table.where == (1, 51)
    table.template(0, 51)
    assert table.where == (1, 51)
    table.template(0, 51)                           # a newer template, of the same work
    assert table.where == (1, 51)
    assert len(table.mined) == 2


def test_work_counts_and_not_height():
    table = Table()
    table.template(0, 50, work=50 * BLOCK_WORK)
    table.template(1, 52, branch=2, work=49 * BLOCK_WORK)
    assert table.where == (0, 50)
    table.template(1, 53, branch=2, work=50 * BLOCK_WORK + 1)
    assert table.where == (1, 53)


def test_heights_count_where_one_node_tells_no_work():
    table = Table()
    table.template(0, 50, work=10**30)
    table.template(1, 50, work=None)
    assert table.where == (0, 50)
    table.template(1, 51, work=None)
    assert table.where == (1, 51)


def test_every_newer_template_of_the_node_that_is_mined_replaces_the_one_before():
    table = Table()
    first = table.template(0, 50)
    second = table.template(0, 50)
    assert [step.template for step in table.mined] == [first, second]
    table.again(0)
    assert len(table.mined) == 2


def test_the_pool_does_not_follow_a_node_without_peers():
    """It stopped at height 50 and answers well; the other one moves on."""
    table = Table()
    table.template(0, 50)
    for height in range(50, 60):
        table.template(1, height)
        assert table.where == ((0, 50) if height == 50 else (1, height))
        table.wait(30, 0, 1)
    assert table.where == (1, 59)
    (note,) = table.notes("node.lagging")
    assert (note["node"], note["level"]) == ("node-0", logging.WARNING)
    assert table.choice.lagging == ("node-0",)


# --- the mark ---------------------------------------------------------------------------------------------------------

def test_a_lagging_node_is_not_mined_when_the_other_one_stops():
    """From height 31 to 20 went the pool, when its node stopped and never came back."""
    table = Table()
    table.template(0, 31)
    table.template(1, 20)
    table.lose(0)
    table.wait(100, 1)
    assert table.where == (0, 31)
    assert not table.choice.is_out_of_work
    table.wait(90, 1)
    assert table.choice.is_out_of_work                  # whose tip may not be mined counts as one that is silent
    assert sum(isinstance(step, EndWork) for step in table.steps) == 1
    (note,) = table.notes("work.missing")
    assert "node-0: it hung up" in str(note["reason"]) and "11 blocks below" in str(note["reason"])
    table.template(1, 29)
    assert table.choice.is_out_of_work
    table.template(1, 30)                               # one block below the mark is allowed
    assert table.where == (1, 30) and not table.choice.is_out_of_work


@pytest.mark.parametrize("behind_blocks", [1, 2, 6])
def test_how_far_below_the_mark_is_mined(behind_blocks):
    table = Table(rules=Rules(behind_blocks=behind_blocks))
    table.template(0, 50)
    table.template(1, 50 - behind_blocks - 1)
    table.lose(0)
    assert table.where == (0, 50)
    table.template(1, 50 - behind_blocks)
    assert table.where == (1, 50 - behind_blocks)


@pytest.mark.parametrize("depth", [1, 2, 100])
def test_a_reorganisation_of_the_node_that_is_mined_is_obeyed_at_any_depth(depth):
    table = Table(1)
    table.template(0, 200)
    table.template(0, 200 - depth, branch=2, is_reorg=True)
    assert table.where == (0, 200 - depth)
    table.template(0, 201 - depth, branch=2)
    assert table.where == (0, 201 - depth)


def test_the_mark_goes_down_with_it():
    table = Table()
    table.template(0, 50)
    table.template(1, 30)
    table.template(0, 30, branch=2, is_reorg=True)
    assert table.where == (0, 30)
    table.lose(0)
    assert table.where == (1, 30)


def test_a_node_that_comes_back_without_its_blocks_is_not_followed():
    table = Table(1)
    table.template(0, 50)
    table.lose(0)
    table.wait(3)
    table.template(0, 20, is_reorg=True)            # it was lost in between, so its word on its old tip counts not
    assert table.where == (0, 50)
    table.wait(181, 0)
    assert table.choice.is_out_of_work
    assert "restart warppool" in str(table.notes("work.missing")[0]["reason"])
    table.template(0, 49)
    assert table.where == (0, 49)


def test_a_reorganisation_below_the_mark_is_not_obeyed_of_a_node_that_was_lost():
    """It came back without its blocks, is not mined, and catches up on a chain that has forks of its own."""
    table = Table(1)
    table.template(0, 50)
    table.lose(0)
    table.template(0, 20)
    assert table.where == (0, 50)
    table.template(0, 19, branch=2, is_reorg=True)
    assert table.where == (0, 50)
    table.template(0, 51)
    table.template(0, 30, branch=2, is_reorg=True)      # now it is the node that is mined, and was not lost since
    assert table.where == (0, 30)


def test_a_reorganisation_that_the_node_tells_of_late_is_obeyed():
    table = Table(1)
    table.template(0, 50)
    table.template(0, 40, branch=2)
    assert table.where == (0, 50)
    table.template(0, 40, branch=2, is_reorg=True)
    assert table.where == (0, 40)


def test_the_mark_goes_down_to_the_tip_of_the_reorganisation_and_not_below():
    table = Table()
    table.template(0, 50)
    table.template(1, 10)
    table.offsets[0] = 86_400                           # and at the same moment its clock goes wrong
    table.template(0, 45, branch=2, is_reorg=True)
    assert table.where == (0, 45)


def test_an_absurd_chainwork_of_a_tip_that_others_know_ends_with_its_node():
    """It would be the mark, below which no other node is mined until a restart."""
    table = Table()
    table.template(0, 50, work=2**255)
    table.template(1, 50)
    assert [note["level"] for note in table.notes("work.doubted")] == [logging.WARNING]
    table.template(0, 51, work=2**255 + 1)
    assert table.where == (0, 51)
    table.lose(0)
    table.template(1, 51)
    assert table.where == (1, 51)
    table.template(1, 52)
    table.wait(200, 1)
    assert table.where == (1, 52) and not table.choice.is_out_of_work
    assert len(table.notes("work.doubted")) == 1


def test_it_is_noticed_when_another_node_comes_to_the_tip_of_the_one_that_is_gone():
    table = Table()
    table.template(0, 50, work=2**255)
    table.lose(0)
    table.template(1, 49)
    assert table.where == (0, 50)
    table.template(1, 50)
    assert table.where == (1, 50)
    table.template(1, 51)
    assert table.where == (1, 51)


def test_work_that_is_doubted_is_compared_by_height():
    table = Table(3)
    table.template(0, 50, work=2**255)
    table.template(1, 50)
    table.template(2, 51, work=5)
    assert table.where == (2, 51)


def test_nodes_that_agree_of_each_block_are_not_doubted():
    table = Table()
    for height in (50, 51, 52):
        table.template(0, height)
        table.template(1, height)
        table.template(1, height, work=None)            # too busy to tell
        table.template(1, height)
    assert not table.notes("work.doubted")


def test_a_reorganisation_of_another_node_moves_nothing():
    table = Table()
    table.template(0, 50)
    table.template(1, 50)
    table.template(1, 20, branch=2, is_reorg=True)
    table.lose(0)
    assert table.where == (0, 50)


def test_a_shallow_step_back_without_a_word_is_obeyed_and_a_deep_one_is_not():
    table = Table(1)
    table.template(0, 50)
    table.template(0, 49, branch=2)
    assert table.where == (0, 49)
    table.template(0, 40, branch=3)
    assert table.where == (0, 49)


# --- back to the first ------------------------------------------------------------------------------------------------

def test_the_first_is_used_again_when_it_has_kept_up_for_a_while():
    table = Table()
    table.template(0, 50)
    table.template(1, 50)
    table.lose(0)
    assert table.where == (1, 50)
    table.wait(20, 1)
    table.template(0, 50)
    for height in range(51, 80):
        table.template(1, height)
        table.wait(1.5)
        table.template(0, height)
        table.wait(8.5, 0, 1)
        assert table.where == (1, height)
    table.wait(20, 0, 1)
    assert table.where == (0, 79)
    assert [note["node"] for note in table.notes("template.source")] == ["node-0", "node-1", "node-0"]


def test_one_tip_that_came_late_begins_the_time_anew():
    table = Table()
    table.template(0, 50)
    table.template(1, 51)
    table.wait(10, 0, 1)
    table.template(0, 51)
    table.wait(290, 0, 1)
    table.template(1, 52)
    table.wait(3)
    table.template(0, 52)
    table.wait(290, 0, 1)
    assert table.where == (1, 52)
    table.wait(15, 0, 1)
    assert table.where == (0, 52)


def test_a_loss_begins_the_time_anew():
    table = Table()
    table.template(0, 50)
    table.template(1, 51)
    table.template(0, 51)
    table.wait(290, 0, 1)
    table.lose(0)
    table.wait(1)
    table.template(0, 51)
    table.wait(290, 0, 1)
    assert table.where == (1, 51)
    table.wait(15, 0, 1)
    assert table.where == (0, 51)


def test_it_does_not_return_to_a_fork_of_less_work():
    table = Table()
    table.template(0, 50)
    table.template(1, 51)
    table.wait(1000, 0, 1)
    assert table.where == (1, 51)


# --- work that is dead ------------------------------------------------------------------------------------------------

def test_the_same_template_again_keeps_the_work_alive_and_an_error_does_not():
    table = Table(1)
    table.template(0, 50)
    table.wait(1000, 0)
    assert not table.choice.is_out_of_work
    for _ in range(36):                                 # asked again and again it answers errors
        table.lose(0)
        table.wait(5)
    assert table.choice.is_out_of_work
    assert [note["level"] for note in table.notes("template.lost")] == [logging.WARNING]


def test_a_node_that_says_nothing_at_all_is_not_fresh_for_ever():
    table = Table(1)
    table.template(0, 50)
    table.wait(179)
    assert not table.choice.is_out_of_work
    table.wait(1.5)
    assert table.choice.is_out_of_work


def test_one_line_a_minute_while_work_is_missing_and_one_when_it_is_back():
    table = Table(1, rules=Rules(work_max_age_s=60))
    table.template(0, 50)
    table.lose(0)
    table.wait(59)
    assert not table.notes("work.missing")
    table.wait(601)
    assert len(table.notes("work.missing")) == 11
    assert all(note["level"] == logging.ERROR for note in table.notes("work.missing"))
    template = table.template(0, 50)
    assert table.mined[-1].template is template
    assert len(table.notes("work.back")) == 1
    table.wait(100, 0)
    assert len(table.notes("work.missing")) == 11


@pytest.mark.parametrize(("max_age_s", "patience_s"), [(180, 10), (4, 4)])
def test_before_the_first_template_machines_wait_ten_seconds_at_most(max_age_s, patience_s):
    table = Table(2, rules=Rules(work_max_age_s=max_age_s))
    table.wait(patience_s - 0.5)
    assert not table.choice.is_out_of_work
    table.wait(1)
    assert table.choice.is_out_of_work
    assert "no answer yet" in str(table.notes("work.missing")[0]["reason"])
    table.template(0, 50)
    assert table.where == (0, 50)


def test_the_embedded_chain_is_always_fresh():
    table = Table(1)
    table.template(0, 50, is_embedded=True)
    table.wait(10_000)
    assert not table.choice.is_out_of_work
    table.lose(0)                                       # its disk is full: nobody else adds to that chain
    table.wait(1000)
    assert not table.choice.is_out_of_work


def test_a_silent_node_gives_way_to_one_that_answers():
    table = Table()
    table.template(0, 50)
    table.template(1, 50)
    table.wait(181, 1)
    assert table.where == (1, 50)
    assert not table.choice.is_out_of_work


# --- lag --------------------------------------------------------------------------------------------------------------

def test_a_node_lags_when_it_was_behind_for_ten_seconds():
    table = Table()
    table.template(0, 50)
    table.template(1, 50)
    table.template(0, 51)
    table.wait(9.5, 0, 1)
    table.template(1, 51)
    assert not table.notes("node.lagging")
    table.template(0, 53)
    table.wait(60, 0, 1)
    (note,) = table.notes("node.lagging")
    assert (note["node"], note["blocks"]) == ("node-1", 2)
    table.template(1, 53)
    (note,) = table.notes("node.level")
    assert note["node"] == "node-1"
    assert table.choice.lagging == ()


def test_a_node_that_is_lost_does_not_lag():
    table = Table()
    table.template(0, 50)
    table.template(1, 40)
    table.wait(20, 0, 1)
    table.lose(1)
    table.wait(60, 0)
    assert table.choice.lagging == ()
    assert len(table.notes("node.lagging")) == 1


# --- clocks -----------------------------------------------------------------------------------------------------------

def test_a_job_has_the_nodes_time_wherever_our_own_clock_goes():
    table = Table(1)
    table.template(0, 50)
    for jump in (0, 86_400, -86_400):
        table.jump = jump
        table.wait(7)
        assert table.choice.job_time(table._now()) == pytest.approx(UNIX + table.now, abs=1)


@pytest.mark.parametrize(("offset", "level", "count"), [
    (119, None, 0), (-119, None, 0), (121, logging.WARNING, 1), (-121, logging.WARNING, 1), (7199, logging.WARNING, 1),
    (7201, logging.ERROR, 10), (-90_000, logging.ERROR, 10),
])
def test_an_offset_is_said(offset, level, count):
    table = Table(1)
    table.offsets[0] = offset
    table.template(0, 50)
    table.wait(599, 0)
    notes = table.notes("clock.off")
    assert len(notes) == count
    assert all(note["level"] == level and note["offset_s"] == pytest.approx(offset, abs=2) for note in notes)
    assert table.where == (0, 50)                       # its time is used all the same
    table.offsets[0] = 0
    table.wait(60, 0)
    assert len(table.notes("clock.right")) == bool(count)


@pytest.mark.parametrize(("offsets", "lines"), [((0, 121), 12), ((119, 121), 2), ((0, 8000), 21)])
def test_a_clock_that_wavers_says_a_line_a_minute_at_most(offsets, lines):
    table = Table(1)
    table.template(0, 50)
    for turn in range(300):
        table.offsets[0] = offsets[turn % 2]
        table.again(0)
        table.wait(2)
    assert len(table.notes("clock.off")) + len(table.notes("clock.right")) <= lines


def test_a_node_whose_clock_is_believed_now_and_then_is_refused_in_one_line_a_minute():
    table = Table(2)
    table.template(0, 50)
    table.template(1, 50)
    for turn in range(300):
        table.offsets[1] = (0, 9000)[turn % 2]
        table.again(1)
        table.again(0)
        table.wait(2)
    assert 1 <= len(table.notes("node.refused")) <= 11


def test_a_node_with_a_clock_against_all_others_is_not_mined():
    table = Table(3)
    for node in (0, 1, 2):
        table.template(node, 50)
    table.offsets[0] = 86_400
    table.again(0)
    assert table.where == (1, 50)
    assert [note["node"] for note in table.notes("node.refused")] == ["node-0"]
    table.template(0, 60)
    assert table.where == (1, 50)
    table.offsets[0] = 0
    table.again(0)
    assert table.where == (0, 60)


def test_of_two_nodes_the_one_farther_from_our_clock_is_not_mined_and_the_last_one_is():
    table = Table()
    table.template(0, 50)
    table.offsets[1] = 8000
    table.template(1, 60)
    assert table.where == (0, 50)
    table.lose(0)
    assert table.where == (1, 60)


def test_a_clock_is_judged_by_nodes_that_may_be_mined_alone():
    """A node that stopped long ago stood against the only one that has the tip: nothing would be mined."""
    table = Table()
    table.template(0, 50)
    table.template(1, 20)
    table.offsets[0] = 8000                             # the stopped one is nearer to our clock
    table.wait(400, 0, 1)
    assert not table.choice.is_out_of_work
    table.template(0, 51)
    assert table.where == (0, 51)
    assert not table.notes("node.refused")


# --- any history ------------------------------------------------------------------------------------------------------

NODES = st.integers(0, 3)
EVENTS = st.lists(st.one_of(
    st.tuples(st.just("grow"), NODES, st.integers(1, 3)),
    st.tuples(st.just("follow"), NODES, NODES),
    st.tuples(st.just("reorg"), NODES, st.integers(0, 30)),
    st.tuples(st.just("step back"), NODES, st.integers(1, 30)),
    st.tuples(st.just("again"), NODES, st.just(0)),
    st.tuples(st.just("lose"), NODES, st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 2.5, 5, 20, 200]), st.just(0)),
), max_size=60)


@given(st.integers(2, 4), st.integers(1, 3), st.booleans(), EVENTS)
@settings(deadline=None, max_examples=200)
def test_whatever_happens(nodes, behind_blocks, tells_work, events):
    """No history of two to four nodes makes the pool mine what it should not."""
    table = Table(nodes, rules=Rules(behind_blocks=behind_blocks))
    heights = [100] * nodes
    branches = [1] * nodes
    lost = [True] * nodes
    steady = [False] * nodes                            # mined, and not lost since
    mark = 0
    next_branch = 2
    for what, number, amount in events:
        before = table.choice.node if table.mined else None
        mined_height = table.where[1] if table.mined else 0
        count = len(table.mined)
        obeys = False
        if what == "wait":
            table.wait(number, *(n for n in range(nodes) if not lost[n]), step_s=min(number, 5.0))
        else:
            node = int(number) % nodes
            if what == "lose":
                lost[node], steady[node] = True, False
                table.lose(node)
            elif what == "again" and not lost[node]:
                table.again(node)
            elif what != "again":
                is_reorg = False
                if what == "grow":
                    heights[node] += amount
                elif what == "follow":
                    heights[node], branches[node] = heights[amount % nodes], branches[amount % nodes]
                else:
                    is_reorg = what == "reorg"
                    heights[node] = max(1, heights[node] - amount)
                    branches[node], next_branch = next_branch, next_branch % 14 + 1
                obeys = is_reorg and node == before and steady[node]
                table.template(node, heights[node], branches[node], is_reorg=is_reorg,
                               work=-1 if tells_work else None)
                lost[node] = False
        if obeys:
            mark = 0                                    # from here on the tip that it went to is the mark
        for mine in table.mined[count:]:
            height = mine.template.tip.height - 1
            assert not lost[mine.node]
            assert height == heights[mine.node]         # never an old template of that node
            assert height >= mark - behind_blocks
            mark, steady[mine.node] = max(mark, height), True
            if before is not None and mine.node != before and not lost[before] and what != "wait" and not obeys:
                fits = heights[before] >= mark - behind_blocks
                assert height > mined_height or not fits or height > heights[before]
        if table.mined and not lost[table.choice.node] and table.choice.best_node is not None:
            assert heights[table.choice.node] == max(
                heights[n] for n in range(nodes) if not lost[n])        # the best tip of all that answer
    if table.mined or any(not each for each in lost):   # and in the end it goes back to the first
        best = max(mark, *heights) + 1
        for node in range(nodes):
            table.template(node, best, 15)
        table.wait(320, *range(nodes), step_s=5.0)
        assert table.where == (0, best)
        assert not table.choice.is_out_of_work


def test_work_is_compared_with_a_block_of_the_present():
    high, low = TipWork(100, 1000, 10), TipWork(99, 990, 10)
    assert high.is_above(low) and not high.is_above(low, 1) and high.blocks_above(low) == 1
    assert not low.is_above(high) and low.blocks_above(high) == 0


# --- another configuration --------------------------------------------------------------------------------------------

def test_a_node_that_is_added_is_mined_once_its_tip_is_better():
    table = Table(1)
    table.template(0, 50)
    table.reconfigure(0, 7)
    assert table.where == (0, 50)
    table.template(7, 50)
    assert table.where == (0, 50)
    table.template(7, 51)
    assert table.where == (7, 51)


def test_the_new_order_counts_and_a_node_that_stays_is_still_known():
    table = Table(2, rules=Rules(return_after_s=5))
    table.template(0, 50)
    table.template(1, 50)
    table.wait(30, 0, 1)
    table.reconfigure(1, 0, rules=Rules(return_after_s=5))
    assert table.where == (1, 50), "it has kept up for longer than that, and stands first now"
    assert len(table.mined) == 2


def test_when_the_mined_node_is_removed_another_is_mined_at_once():
    table = Table(2)
    table.template(0, 51)
    table.template(1, 50)
    table.reconfigure(1)
    assert table.where == (1, 50)
    assert table.notes("template.source")[-1] == {
        "node": "node-1", "reason": "it is not in the configuration any more", "level": logging.WARNING}


def test_of_a_node_that_was_removed_nothing_is_heard_any_more():
    table = Table(2)
    table.template(1, 50)
    table.template(0, 50)
    table.reconfigure(1)
    assert table.where == (1, 50)
    table.template(0, 60)
    table.again(0)
    table.lose(0)
    table.wait(1)
    assert table.where == (1, 50) and table.choice.lagging == ()


def test_where_the_only_node_is_replaced_its_work_is_mined_until_the_new_one_answers():
    table = Table(1)
    old = table.template(0, 50)
    table.reconfigure(1)
    assert table.choice.template is old and not table.choice.is_out_of_work
    assert table.choice.job_time(table._now()) == int(UNIX + table.now)
    table.wait(170)
    assert not table.choice.is_out_of_work
    table.template(1, 50)
    assert table.where == (1, 50)
    table.reconfigure(1)
    assert table.where == (1, 50) and not table.choice.is_out_of_work


def test_where_none_answers_after_it_machines_are_sent_away_as_ever():
    table = Table(1)
    table.template(0, 50)
    table.reconfigure(1)
    table.wait(181)
    assert table.choice.is_out_of_work
    (note,) = table.notes("work.missing")
    assert "node-1: no answer yet" in str(note["reason"])


def test_a_node_that_lied_about_its_tip_is_forgotten_with_what_it_said():
    """Its mark would keep every other node from being mined, and the operator removes it for that."""
    table = Table(2)
    table.template(1, 50)
    table.template(0, 5000)
    table.reconfigure(1)
    assert table.where == (1, 50)


def test_a_node_that_comes_back_is_the_same_and_begins_anew():
    table = Table(2)
    table.template(0, 50)
    table.reconfigure(1)
    table.reconfigure(1, 0)
    assert table.choice.node == 0 and table.choice.best_node is None
    table.template(0, 51)
    assert table.where == (0, 51) and table.choice.best_node == 0


def test_a_shorter_patience_begins_with_the_reload_and_sends_nobody_away():
    table = Table(1)
    table.template(0, 50)
    table.wait(20)
    table.reconfigure(0, rules=Rules(work_max_age_s=5))
    table.wait(4)
    assert not table.choice.is_out_of_work and table.choice.best_node == 0
    table.again(0)
    table.wait(4)
    assert not table.choice.is_out_of_work
    table.wait(2)
    assert table.choice.is_out_of_work


def test_a_node_that_was_silent_too_long_is_not_alive_again_by_a_reload():
    table = Table(2)
    table.template(0, 50)
    table.template(1, 50)
    table.wait(185, 1)
    assert table.where == (1, 50)
    table.reconfigure(0, 1, rules=Rules(work_max_age_s=100))
    table.lose(1)
    assert table.choice.best_node is None


def test_other_rules_for_nodes_that_are_behind_count_at_once():
    table = Table(2)
    table.template(0, 50)
    table.template(1, 48)
    table.wait(11, 0, 1)
    assert table.choice.lagging == ("node-1",)
    table.reconfigure(0, 1, rules=Rules(behind_blocks=3))
    assert table.choice.lagging == ()
    table.lose(0)
    assert table.where == (1, 48), "two blocks below are not too many now"


@given(st.lists(st.tuples(st.sampled_from("tarlw"), st.integers(0, 3), st.integers(45, 55)), max_size=40))
@settings(deadline=None)
def test_whatever_comes_and_goes_the_best_that_may_be_mined_is_of_a_node_in_the_file(events):
    table, inside = Table(4), [0, 1, 2, 3]
    for kind, node, height in events:
        match kind:
            case "t":
                table.template(node, height)
            case "a":
                table.again(node)
            case "l":
                table.lose(node)
            case "w":
                table.wait(height)
            case "r":
                inside = [number for number in inside if number != node] or [node]
                if height % 2:
                    inside = [node, *(number for number in inside if number != node)]
                table.reconfigure(*inside)
        assert table.choice.best_node is None or table.choice.best_node in inside
        assert not table.mined or table.choice.job_time(table._now()) > UNIX


# --- providers that may be anybody ------------------------------------------------------------------------------------

STRANGER = Rules(insecure=frozenset({0}))


def insecure_lines(table: Table) -> int:
    return sum(isinstance(step, LogLine) and step.event == "template.insecure" for step in table.steps)


def test_a_provider_that_may_be_anybody_is_mined_only_while_no_other_node_is_fresh():
    table = Table(2, rules=STRANGER)
    table.template(0, 1000)
    assert not table.mined                          # the other node has a moment to come
    table.wait(6.0, 0)
    assert [step.node for step in table.mined] == [0]
    ours = table.template(1, 10)                    # far below, and known
    assert table.mined[-1] == Mine(1, ours) and table.choice.best_node == 1
    table.template(0, 2000)
    assert table.mined[-1] == Mine(1, ours)
    table.lose(1)
    assert table.mined[-1].node == 0
    table.template(1, 11)
    assert table.mined[-1].node == 1                # what it showed meanwhile is no mark for the others


def test_that_such_a_provider_is_mined_is_said_each_minute():
    table = Table(2, rules=STRANGER)
    table.template(0, 10)
    table.wait(6.0, 0)
    assert insecure_lines(table) == 1
    table.wait(121.0, 0)
    assert insecure_lines(table) == 3
    table.template(1, 10)
    table.wait(121.0, 0, 1)
    assert insecure_lines(table) == 3


def test_such_a_provider_alone_is_mined_at_once():
    table = Table(1, rules=STRANGER)
    table.template(0, 10)
    assert len(table.mined) == 1


def test_two_such_providers_do_not_outvote_the_clock_of_a_node_that_is_known():
    table = Table(3, rules=Rules(insecure=frozenset({0, 1})))
    table.offsets = [86_400.0, 86_400.0, 0.0]
    for node in (2, 0, 1):
        table.template(node, 10)
    table.wait(10.0, 0, 1, 2)
    assert table.choice.node == 2


def test_a_known_provider_is_followed_as_any_other_node():
    table = Table(2)
    table.template(0, 10, work=None)
    table.template(1, 11)
    assert table.mined[-1].node == 1
    table.template(0, 12, work=None)
    assert table.mined[-1].node == 0
