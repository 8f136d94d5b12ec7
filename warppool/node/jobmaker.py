"""The job maker: thread `jobs` hears all nodes, mines the template that `choice.py` chooses, and makes the jobs.

A fresh job (new id, header time now) goes out with every template, and when `FRESH_JOB_S` have passed without one:
silence makes machines leave, and old header times make them waste what they could roll. A node that is away does not
stop the jobs at once: the work it left is mined on, for a block on it may still count. Where no node has answered for
`work_max_age_s`, that work is taken for dead and nothing goes out until a node is back.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from warppool.bitcoin.hashes import to_display
from warppool.events import Now
from warppool.loop import Loop, Report
from warppool.mining.job import Job, JobFactory
from warppool.mining.template import Template
from warppool.node.choice import NodeChoice, Rules
from warppool.node.items import NodeAnswered, NodeLost, TemplateReady
from warppool.node.jobsnapshots import JobSnapshots
from warppool.node.snapshotitems import SnapshotReady
from warppool.node.steps import EndWork, LogLine, Mine, Step
from warppool.say import say

log = logging.getLogger("warppool")

FRESH_JOB_S = 30.0
"""The longest time between two jobs: the strictest machines leave after 60 s of silence."""

SAME_TIP_JOB_S = 1.0
"""The least time between two jobs of one tip: every job costs each machine some work, and a new template on the same
tip is worth only what its fees are more. So a fresh job and a refreshed template do not go out together."""

TICK_S = 1.0
"""The longest sleep: the choice of node hears of the time so often."""


def _nothing(*_: object) -> None:
    """For who wants to hear nothing."""


@dataclass(frozen=True, slots=True)
class JobMakerReport(Report):
    """What is mined, and how fresh it is; times are monotonic seconds, None before the first."""

    jobs: int                           # made since the start
    height: int                         # of the blocks that are mined; 0 before the first job
    node: str                           # whose template is mined; empty while there is no work
    answered_at: float | None           # infinite for the embedded chain, which is always fresh
    template_at: float | None
    lagging: tuple[str, ...]
    is_out_of_work: bool


@dataclass(frozen=True, slots=True)
class JobMakerSettings:
    """What a reload may change: the rules, the nodes' names by their numbers in the order of the file, and the tag."""

    rules: Rules
    nodes: Mapping[int, str]
    tag: bytes


class JobMaker(Loop[TemplateReady | NodeAnswered | NodeLost | SnapshotReady]):
    """Owns the job factory and the choice of node: the thread `jobs`.

    `nodes` are the nodes' names in the log by their numbers, in the order of the file. `broadcast` gets every job;
    `end_work` is told when no work is to be done until the next job; `best` hears which node has the best tip, None
    while none answers. `snapshots` says by what jobs pay, where rewards are shared. `clock` and `unix` are the
    monotonic and the wall clock, in seconds.

    For others to read: `answered_at` and `template_at` are the monotonic times of the last answer of the node that is
    mined and of its template, None before the first (`answered_at` is inf for the embedded chain, which is always
    fresh); `lagging` has the names of nodes that are behind; `is_out_of_work` says that machines are sent away.
    """

    def __init__(self, factory: JobFactory, inbox: queue.Queue[Any], broadcast: Callable[[Job], None], *,
                 nodes: Mapping[int, str] = MappingProxyType({0: "node-0"}), rules: Rules | None = None,
                 snapshots: JobSnapshots | None = None,
                 end_work: Callable[[], None] = _nothing, best: Callable[[int | None], None] = _nothing,
                 clock: Callable[[], float] = time.monotonic, unix: Callable[[], float] = time.time) -> None:
        super().__init__("jobs", inbox, clock)
        self.answered_at: float | None = None
        self.template_at: float | None = None
        self.lagging: tuple[str, ...] = ()
        self.is_out_of_work = False
        self._factory = factory
        self._snapshots = snapshots or JobSnapshots()
        self._broadcast = broadcast
        self._end_work = end_work
        self._tell_best = best
        self._unix = unix
        self._choice = NodeChoice(nodes, rules or Rules(), self._now())
        self._best: int | None = None
        self._template: Template | None = None      # what the next job is made of
        self._job: Job | None = None
        self._jobs = 0
        self._job_at = -math.inf                    # monotonic, of the last job
        self._due_at = math.inf                     # monotonic, of the next one

    def turn(self, items: list[TemplateReady | NodeAnswered | NodeLost | SnapshotReady]) -> float:
        """A job that is due goes out after each item: a tip that is heard of first is mined at once."""
        for item in items or (None,):
            self.guard(self._hear, item)
        return min(self._monotonic() + TICK_S, self._due_at)

    def reconfigure(self, settings: JobMakerSettings) -> None:
        """Other nodes and rules count at once; the tag stands in the jobs that are made from now on."""
        self._factory.set_tag(settings.tag)
        now = self._now()
        self._follow(self._choice.reconfigure(settings.nodes, settings.rules, now), now)
        self._show()

    @property
    def work_max_age_s(self) -> float:
        """Any thread: seconds without an answer after which machines are sent away, as the newest rules have it."""
        return self._choice.work_max_age_s

    def report(self) -> JobMakerReport:
        """What is mined, and how fresh it is."""
        return JobMakerReport(
            *self.vitals(), jobs=self._jobs, height=0 if self._job is None else self._job.tip.height,
            node="" if self._template is None else self._template.source, answered_at=self.answered_at,
            template_at=self.template_at, lagging=self.lagging, is_out_of_work=self.is_out_of_work)

    def _hear(self, item: TemplateReady | NodeAnswered | NodeLost | SnapshotReady | None) -> None:
        """What a node says, or who is to be paid; None where only time has passed."""
        now = self._now()
        if isinstance(item, SnapshotReady):
            self._take_snapshot(item, now)
            item = None
        self._follow(self._choice.tick(now) if item is None else self._choice.hear(item, now), now)
        self._show()
        if isinstance(item, TemplateReady):
            tip = item.template.tip
            say(log, logging.DEBUG, "template.received", node=item.template.source, height=tip.height,
                prev_hash=to_display(tip.prev_hash))
        if self._template is not None and now.monotonic >= self._due_at:
            self._give_out(self._template, now)

    def _take_snapshot(self, ready: SnapshotReady, now: Now) -> None:
        """Others are paid from now on: at once where nothing is out yet or machines are to drop what they have, soon
        where balances are paid from now on or no more, else with the next job.
        """
        is_other = self._snapshots.take(ready)
        if self._template is None:
            return
        if self._job is None:
            self._due_at = now.monotonic
        elif ready.replaces == self._job.tip.prev_hash:
            self._factory.begin_era()
            self._due_at = now.monotonic
        elif is_other:
            self._due_at = min(self._due_at, max(now.monotonic, self._job_at + SAME_TIP_JOB_S))

    def _now(self) -> Now:
        return Now(self._monotonic(), self._unix())

    def _follow(self, steps: Sequence[Step], now: Now) -> None:
        for step in steps:
            match step:
                case Mine(_, template):
                    self._mine(template, now)
                case EndWork():
                    self._template = self.template_at = None
                    self._due_at = math.inf
                    self._end_work()
                case LogLine(level, event, fields):
                    say(log, level, event, **dict(fields))

    def _mine(self, template: Template, now: Now) -> None:
        """Make a job at once where tip or node is another one, or there is no work; else not too soon after the last.

        A block on the template of a node that is gone may find nobody who takes it.
        """
        before = self._template
        is_same_tip = before is not None and template.tip == before.tip and template.source == before.source
        self._template = template
        self.template_at = now.monotonic
        self._due_at = max(now.monotonic, self._job_at + SAME_TIP_JOB_S) if is_same_tip else now.monotonic

    def _show(self) -> None:
        """What other threads read, and who has the best tip."""
        choice = self._choice
        self.answered_at = math.inf if choice.is_fed_by_embedded else choice.answered_at
        self.lagging = choice.lagging
        self.is_out_of_work = choice.is_out_of_work
        if choice.best_node != self._best:
            self._best = choice.best_node
            self._tell_best(self._best)

    def _give_out(self, template: Template, now: Now) -> None:
        old, node, unix = self._job, self._choice.node, self._choice.job_time(now)
        assert node is not None                     # whose template it is
        self._due_at = now.monotonic + TICK_S       # tried again then, if this fails
        job = self._snapshots.make(self._factory, template, unix)
        if job is None:
            self._due_at = math.inf
            self._snapshots.has_waited(node, template.tip, unix)
            return
        self._job = job
        self._jobs += 1
        self._broadcast(job)                        # the job first, everything else later
        self._snapshots.has_given(node, job, unix)
        self._job_at = now.monotonic
        self._due_at = now.monotonic + FRESH_JOB_S
        if old is not None and job.tip.era != old.tip.era and job.tip.prev_hash == old.tip.prev_hash:
            say(log, logging.INFO, "jobs.replaced", height=job.tip.height, job=job.job_id)
        elif old is None or job.tip is not old.tip:
            say(log, logging.INFO, "tip.moved", height=job.tip.height, prev_hash=to_display(job.tip.prev_hash),
                job=job.job_id, node=template.source)
        else:
            say(log, logging.DEBUG, "job.made", job=job.job_id, height=job.tip.height, node=template.source)
        known = {_cause(fault) for fault in old.faults} if old is not None else set()
        for fault in job.faults:
            if _cause(fault) in known:              # it is said once, while it lasts
                continue
            say(log, logging.ERROR, "coinbase.unproven", job=job.job_id, rule=fault, node=template.source,
                consequence="channels that would have this coinbase get no work")


def _cause(fault: str) -> str:
    """Which coinbase it is, and the rule that is broken; the numbers behind that change with each template."""
    return ":".join(fault.split(":")[:2])
