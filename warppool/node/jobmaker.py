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
from collections.abc import Callable, Sequence
from typing import Any

from warppool.bitcoin.hashes import to_display
from warppool.events import Now
from warppool.loop import prompt
from warppool.mining.job import Job, JobFactory
from warppool.mining.template import Template
from warppool.node.choice import EndWork, Mine, NodeChoice, Note, Rules, Step
from warppool.node.items import NodeAnswered, NodeLost, TemplateReady
from warppool.say import say
from warppool.threads import STOP

log = logging.getLogger("warppool")

FRESH_JOB_S = 30.0
"""The longest time between two jobs: the strictest machines leave after 60 s of silence."""

SAME_TIP_JOB_S = 1.0
"""The least time between two jobs of one tip: every job costs each machine some work, and a new template on the same
tip is worth only what its fees are more. So a fresh job and a refreshed template do not go out together."""

BEAT_S = 1.0
"""The longest wait: the choice of node hears of the time so often, and `beat` shows a thread that lives."""


def _nothing(*_: object) -> None:
    """For who wants to hear nothing."""


class JobMaker:
    """Owns the job factory and the choice of node. `run` is the body of thread `jobs`; its queue is `inbox`.

    `names` are the nodes' names in the log, in their order. `broadcast` gets every job; `end_work` is told when no work
    is to be done until the next job; `best` hears which node has the best tip, None while none answers. `clock` and
    `unix` are the monotonic and the wall clock, in seconds. `beat` is the monotonic time of the last turn.

    For others to read: `answered_at` and `template_at` are the monotonic times of the last answer of the node that is
    mined and of its template, None before the first (`answered_at` is inf for the embedded chain, which is always
    fresh); `lagging` has the names of nodes that are behind; `is_out_of_work` says that machines are sent away.
    """

    def __init__(self, factory: JobFactory, inbox: queue.Queue[Any], broadcast: Callable[[Job], None], *,
                 names: Sequence[str] = ("node-0",), rules: Rules | None = None,
                 end_work: Callable[[], None] = _nothing, best: Callable[[int | None], None] = _nothing,
                 clock: Callable[[], float] = time.monotonic, unix: Callable[[], float] = time.time) -> None:
        self.name = "jobs"
        self.limits = prompt()
        self.beat = clock()
        self.answered_at: float | None = None
        self.template_at: float | None = None
        self.lagging: tuple[str, ...] = ()
        self.is_out_of_work = False
        self._factory = factory
        self._inbox = inbox
        self._broadcast = broadcast
        self._end_work = end_work
        self._tell_best = best
        self._clock = clock
        self._unix = unix
        self._choice = NodeChoice(dict(enumerate(names)), rules or Rules(), self._now())
        self._best: int | None = None
        self._template: Template | None = None      # what the next job is made of
        self._job: Job | None = None
        self._job_at = -math.inf                    # monotonic, of the last job
        self._due_at = math.inf                     # monotonic, of the next one

    def run(self) -> None:
        """Serve until STOP."""
        while (item := self._next()) is not STOP:
            now = self._now()
            if isinstance(item, TemplateReady | NodeAnswered | NodeLost):
                self._follow(self._choice.hear(item, now), now)
            else:
                self._follow(self._choice.tick(now), now)
            self._show()
            if isinstance(item, TemplateReady):
                tip = item.template.tip
                say(log, logging.DEBUG, "template.received", node=item.template.source, height=tip.height,
                    prev_hash=to_display(tip.prev_hash))
            if self._template is not None and now.monotonic >= self._due_at:
                self._give_out(self._template, now)

    def _now(self) -> Now:
        return Now(self._clock(), self._unix())

    def _next(self) -> object:
        """The next item, or None after a while without one."""
        self.beat = now = self._clock()
        try:
            return self._inbox.get(timeout=max(0.0, min(BEAT_S, self._due_at - now)))
        except queue.Empty:
            return None

    def _follow(self, steps: Sequence[Step], now: Now) -> None:
        for step in steps:
            match step:
                case Mine(_, template):
                    self._mine(template, now)
                case EndWork():
                    self._template = self.template_at = None
                    self._due_at = math.inf
                    self._end_work()
                case Note(level, event, fields):
                    say(log, level, event, **dict(fields))

    def _mine(self, template: Template, now: Now) -> None:
        """Make a job at once where the tip is another one, or there is no work; else not too soon after the last."""
        is_same_tip = self._template is not None and template.tip == self._template.tip
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
        old = self._job
        self._job = job = self._factory.make(template, self._choice.job_time(now))
        self._broadcast(job)                        # the job first, everything else later
        self._job_at = now.monotonic
        self._due_at = now.monotonic + FRESH_JOB_S
        if old is None or job.tip is not old.tip:
            say(log, logging.INFO, "tip.moved", height=job.tip.height, prev_hash=to_display(job.tip.prev_hash),
                job=job.job_id, node=template.source)
        else:
            say(log, logging.DEBUG, "job.made", job=job.job_id, height=job.tip.height, node=template.source)
