"""Which node's template is mined: the best tip, a node's own reorganisation obeyed, and nothing that is dead. Pure.

What the nodes say goes in, with the time at which it came; what is to be done comes out: mine a template, stop handing
out work, say something in the log. Thread `jobs` (node/jobmaker.py) does what comes out.

Three words are used throughout. A node is *live* when it answers and its last answer is fresh. A live node is *usable*
when its clock is believed and its tip may be mined. The *mark* is the best tip that was mined in this run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from warppool.events import Now
from warppool.mining.template import Template
from warppool.node.candidate import Candidate, TipWork
from warppool.node.clockwatch import REPEAT_S, ClockWatch, look_at_clock
from warppool.node.items import NodeAnswered, NodeLost, TemplateReady
from warppool.node.steps import EndWork, LogLine, Mine, Step

FIRST_NODE_S = 5.0
"""How long the first node of the file is waited for at the start, before the template of another one is mined."""

START_PATIENCE_S = 10.0
"""How long machines may wait for the very first template; then they are sent away, to their own fail-over."""

KEEPS_UP_S = 2.0
"""A node keeps up with the others when it has each new tip within this time of the first that had it."""

REMOVED = "it is not in the configuration any more"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator says in [pool] about nodes; times in seconds, `behind_blocks` in blocks of the present work.

    `without_work` is what follows where no node answers, in words for the log. `insecure` are the numbers of nodes that
    may be anybody: they are mined only while no other node may be.
    """

    behind_blocks: int = 1
    behind_s: float = 10.0
    return_after_s: float = 300.0
    work_max_age_s: float = 180.0
    without_work: str = "mining connections are closed, so that machines go to their other pools"
    insecure: frozenset[int] = frozenset()


class NodeChoice:
    """Owned by one thread. `nodes` are the names in the log of the nodes, by their numbers, in the order of the file.

    `hear` takes what a node said, `tick` lets time pass and is to be called every second or so, and `reconfigure` takes
    other rules and nodes. All return steps.
    """

    def __init__(self, nodes: Mapping[int, str], rules: Rules, now: Now) -> None:
        self.node: int | None = None            # whose template is, or was last, mined
        self.template: Template | None = None
        self.is_out_of_work = False
        self.best_node: int | None = None       # the node that is mined; None while no node may be
        self._rules = rules
        self._nodes = {number: Candidate(name) for number, name in nodes.items()}   # in the order of the file
        self._former: Candidate | None = None   # the node that is mined on, where it is not in the file any more
        self._began_at = now.monotonic
        self._fed_at = now.monotonic            # the last answer of a node whose tip may be mined
        self._mark: TipWork | None = None
        self._marked_by: int | None = None      # the node whose tip the mark is
        self._is_work_doubted = False           # chainwork counts no more: nodes told two of one block
        self._clocks = ClockWatch()
        self._said_at = -math.inf               # the last line about work that is missing
        self._has_said_lost = False

    def reconfigure(self, nodes: Mapping[int, str], rules: Rules, now: Now) -> list[Step]:
        """Other rules, or other nodes: one that stays is known by its number, and what is known of it stays.

        A node that goes while it is mined is like a lost one: another is mined at once, and where none may be, its work
        is mined on as long as that may be.
        """
        for node in self._nodes.values():
            if self._is_live(node, now):
                node.fresh_at = now.monotonic       # a shorter patience begins now: nobody is sent away by it
        known = dict(self._nodes)
        if self.node is not None:
            known[self.node] = self._candidate(self.node)
            if self.node not in nodes and known[self.node] is not self._former:
                self._former = known[self.node]
                self._former.lose(REMOVED)
        if self._marked_by not in nodes:
            self._mark = self._marked_by = None     # whoever removes a node does not believe its tip either
        self._rules = rules
        self._nodes = {number: known.get(number) or Candidate(name) for number, name in nodes.items()}
        return self._decide(now)

    def _candidate(self, number: int) -> Candidate:
        """The node of that number: one of the file, or the one before that is mined on."""
        found = self._nodes.get(number) or self._former
        assert found is not None
        return found

    # --- what there is to read ----------------------------------------------------------------------------------------

    @property
    def lagging(self) -> tuple[str, ...]:
        """The names of nodes that answer and have been behind for `behind_s`."""
        return tuple(node.name for node in self._nodes.values() if node.is_lagging)

    @property
    def work_max_age_s(self) -> float:
        """Seconds without an answer after which work is dead."""
        return self._rules.work_max_age_s

    @property
    def answered_at(self) -> float | None:
        """Monotonic seconds of the last answer of the node that is mined; None before any template was mined."""
        return None if self.node is None else self._candidate(self.node).answered_at

    @property
    def is_fed_by_embedded(self) -> bool:
        """True if the node that is mined is the embedded chain, whose work is fresh as long as it lives."""
        return self.node is not None and self._candidate(self.node).is_embedded

    def job_time(self, now: Now) -> int:
        """The header time of a job made now, in Unix seconds: that of the node that is mined, not of our own clock."""
        return int(now.unix if self.node is None else self._candidate(self.node).time(now))

    # --- what happens -------------------------------------------------------------------------------------------------

    def hear(self, item: TemplateReady | NodeAnswered | NodeLost, now: Now) -> list[Step]:
        """A node said something; the last words of one that was removed are not heard."""
        node = self._nodes.get(item.node)
        if node is None:
            return self._decide(now)
        steps: list[Step] = []
        match item:
            case TemplateReady():
                self._compare_work(item, steps)
                node.take(item, now)
                if item.is_reorg and item.node == self.node and node.is_steady and item.node not in (
                        self._rules.insecure):
                    self._mark, self._marked_by = self._work_of(node), item.node    # it left its own branch
                look_at_clock(node, now, steps)
            case NodeAnswered() if node.template is not None:
                node.answer(item)
                look_at_clock(node, now, steps)
            case NodeLost():
                node.lose(item.reason)
        return steps + self._decide(now)

    def tick(self, now: Now) -> list[Step]:
        """Time has passed."""
        return self._decide(now)

    def _decide(self, now: Now) -> list[Step]:
        steps: list[Step] = []
        self._clocks.judge(self._trusted({number: node for number, node in self._nodes.items()
                                          if self._is_live(node, now) and not self._is_too_low(node)}), now, steps)
        usable = list(self._trusted({number: node for number, node in self._nodes.items()
                                     if self._is_usable(number, node, now)}))
        if usable:
            self._fed_at = max(self._fed_at, *(self._fresh_until_now(number, now) for number in usable))
        elif any(node.is_embedded for node in self._nodes.values()):
            self._fed_at = now.monotonic        # nobody else adds to the embedded chain: its work does not die
        self._watch_keeping_up(usable, now)
        chosen, reason = self._choose(usable, now)
        self.best_node = chosen
        if chosen is not None:
            self._mine(chosen, reason, steps)
            self._warn_of_stranger(self._nodes[chosen], chosen, now, steps)
        else:
            self._go_without(now, steps)
        self._watch_lag(now, steps)
        return steps

    # --- who may be mined ---------------------------------------------------------------------------------------------

    def _is_live(self, node: Candidate, now: Now) -> bool:
        if node.is_lost or node.template is None:
            return False
        return node.is_embedded or now.monotonic - node.fresh_at < self._rules.work_max_age_s

    def _trusted(self, nodes: dict[int, Candidate]) -> dict[int, Candidate]:
        """Those of `nodes` that are known; where there is none, all."""
        return {number: node for number, node in nodes.items() if number not in self._rules.insecure} or nodes

    def _is_usable(self, number: int, node: Candidate, now: Now) -> bool:
        if not self._is_live(node, now) or number in self._clocks.distrusted:
            return False
        return not self._is_too_low(node)

    def _is_too_low(self, node: Candidate) -> bool:
        return self._mark is not None and self._mark.is_above(self._work_of(node), self._rules.behind_blocks)

    def _work_of(self, node: Candidate) -> TipWork:
        return node.work._replace(chainwork=None) if self._is_work_doubted else node.work

    def _compare_work(self, item: TemplateReady, steps: list[Step]) -> None:
        """Heights count for the rest of this run where two answers tell different work of one block.

        One of them is wrong. A wrong work that is too great would stay the mark when its node is gone, and no other
        node would be mined.
        """
        told = {node.chainwork for node in self._nodes.values()
                if node.template is not None and node.template.tip.prev_hash == item.template.tip.prev_hash}
        told = (told | {item.chainwork}) - {None}
        if self._is_work_doubted or len(told) < 2:
            return
        self._is_work_doubted = True
        self._mark = self._mark and self._mark._replace(chainwork=None)
        steps.append(LogLine(logging.WARNING, "work.doubted", (
            ("node", self._nodes[item.node].name), ("height", item.template.tip.height - 1),
            ("meaning", "the nodes tell different chainwork of one block: until the next start heights are compared"))))

    def _fresh_until_now(self, number: int, now: Now) -> float:
        node = self._nodes[number]
        return now.monotonic if node.is_embedded else node.fresh_at

    def _is_better(self, one: int, other: int, usable: Iterable[int]) -> bool:
        """True if the tip of `one` has more work. Where one usable node tells no work, heights decide for all."""
        first, second = self._work_of(self._nodes[one]), self._work_of(self._nodes[other])
        if not self._is_work_doubted and all(self._nodes[number].chainwork is not None for number in usable):
            return first.is_above(second)
        return first.height > second.height

    def _choose(self, usable: list[int], now: Now) -> tuple[int | None, str]:
        """The node to mine and why it replaces the one before; None if no node may be mined."""
        if not usable or self._waits_for_first(usable, now):
            return None, ""
        best = usable[0]
        for number in usable[1:]:
            if self._is_better(number, best, usable):
                best = number
        mined = self.node
        if mined is None or mined not in usable:
            return best, "" if mined is None else self._why_not(mined, now)
        if self._is_better(best, mined, usable):
            return best, "its tip has more work"
        for number in usable[:usable.index(mined)]:         # those that stand before it in the file
            since = self._nodes[number].keeps_up_since
            is_steady = since is not None and now.monotonic - since >= self._rules.return_after_s
            if is_steady and not self._is_better(mined, number, usable):
                return number, f"it has kept up for {self._rules.return_after_s:g} s and stands before the other"
        return mined, ""

    def _waits_for_first(self, usable: list[int], now: Now) -> bool:
        first, insecure = next(iter(self._nodes)), self._rules.insecure
        is_worse = first not in usable or (insecure.issuperset(usable) and not insecure.issuperset(self._nodes))
        return self.node is None and is_worse and now.monotonic - self._began_at < FIRST_NODE_S

    def _why_not(self, number: int, now: Now) -> str:
        """Why that node may not be mined, in words for the log."""
        node = self._candidate(number)
        if node.is_lost:
            return node.reason
        if not self._is_live(node, now):
            return f"no answer for {now.monotonic - node.answered_at:.0f} s"
        if number in self._clocks.distrusted:
            return "its clock is more than two hours off those of the other nodes"
        if not self._is_too_low(node) and number in self._rules.insecure:
            return "it may be anybody, and other nodes are there"
        if self._mark is None or not self._is_too_low(node):
            return "it has 5 s to answer before other nodes"        # of another node than the first, at the start
        blocks = self._mark.blocks_above(self._work_of(node))
        return f"its tip is {blocks} blocks below the best tip mined in this run; if that is right, restart warppool"

    # --- what follows -------------------------------------------------------------------------------------------------

    def _mine(self, number: int, reason: str, steps: list[Step]) -> None:
        node = self._nodes[number]
        assert node.template is not None
        if number != self.node:
            level = logging.WARNING if self.node is not None and self._candidate(self.node).is_lost else logging.INFO
            fields = (("node", node.name), ("reason", reason)) if reason else (("node", node.name),)
            steps.append(LogLine(level, "template.source", fields))
        if number != self.node or node.template is not self.template or self.is_out_of_work:
            if number not in self._rules.insecure and (
                    self._mark is None or self._work_of(node).is_above(self._mark)):
                self._mark, self._marked_by = self._work_of(node), number
            if self.is_out_of_work:
                steps.append(LogLine(logging.INFO, "work.back", (("node", node.name),)))
            self.node, self.template, self.is_out_of_work = number, node.template, False
            node.is_steady = True
            steps.append(Mine(number, node.template))
        self._has_said_lost = False

    def _warn_of_stranger(self, node: Candidate, number: int, now: Now, steps: list[Step]) -> None:
        if number in self._rules.insecure and now.monotonic - node.stranger_said_at >= REPEAT_S:
            node.stranger_said_at = now.monotonic
            steps.append(LogLine(logging.WARNING, "template.insecure", (
                ("node", node.name), ("meaning", "no other node is fresh, and this provider may be anybody: give "
                                      "node.url its key"))))

    def _go_without(self, now: Now, steps: list[Step]) -> None:
        """No node may be mined: the work that is out goes on for a while, then it ends."""
        if self.node is not None and not self._has_said_lost:
            self._has_said_lost = True
            steps.append(LogLine(logging.WARNING, "template.lost", (
                ("node", self._candidate(self.node).name), ("reason", self._why_not(self.node, now)),
                ("meaning", "no node gives templates; miners go on with the last one"))))
        age_s = now.monotonic - self._fed_at
        limit_s = self._rules.work_max_age_s
        if self.node is None:
            limit_s = min(limit_s, START_PATIENCE_S)
        if age_s < limit_s:
            return
        if not self.is_out_of_work:
            self.is_out_of_work = True
            steps.append(EndWork())
        if now.monotonic - self._said_at >= REPEAT_S:
            self._said_at = now.monotonic
            reasons = "; ".join(f"{node.name}: {self._why_not(number, now)}"
                                for number, node in self._nodes.items())
            steps.append(LogLine(logging.ERROR, "work.missing", (
                ("age_s", round(age_s)), ("reason", reasons),
                ("meaning", self._rules.without_work))))

    # --- who keeps up, and who lags -----------------------------------------------------------------------------------

    def _watch_keeping_up(self, usable: list[int], now: Now) -> None:
        """Since when each node has had every new tip in time, of which its use again depends."""
        for number, node in self._nodes.items():
            if number not in usable:
                node.keeps_up_since = node.fell_behind_at = None
            elif any(self._is_better(other, number, usable) for other in usable):
                if node.fell_behind_at is None:
                    node.fell_behind_at = now.monotonic
                if now.monotonic - node.fell_behind_at > KEEPS_UP_S:
                    node.keeps_up_since = None
            else:
                was_late = node.fell_behind_at is not None and now.monotonic - node.fell_behind_at > KEEPS_UP_S
                node.fell_behind_at = None
                if node.keeps_up_since is None or was_late:
                    node.keeps_up_since = now.monotonic

    def _watch_lag(self, now: Now, steps: list[Step]) -> None:
        """Say which nodes answer and stay behind, and when one has caught up."""
        for node in self._nodes.values():
            if self._mark is None or not self._is_live(node, now):
                continue
            blocks = self._mark.blocks_above(self._work_of(node))
            if blocks < self._rules.behind_blocks:
                if node.is_lagging and node.behind_since is not None:
                    steps.append(LogLine(logging.INFO, "node.level", (
                        ("node", node.name), ("after_s", round(now.monotonic - node.behind_since)))))
                node.behind_since, node.is_lagging = None, False
                continue
            if node.behind_since is None:
                node.behind_since = now.monotonic
            if not node.is_lagging and now.monotonic - node.behind_since >= self._rules.behind_s:
                node.is_lagging = True
                steps.append(LogLine(logging.WARNING, "node.lagging", (
                    ("node", node.name), ("blocks", blocks), ("height", node.work.height - 1),
                    ("meaning", "its tip is behind the best one: is it in sync, and has it peers?"))))
