"""The desk: thread `jobs` takes the templates of all nodes, chooses whose to mine, and makes the jobs.

Templates come from the first node that answers, and from it until it is lost; then from the next one, of those that are
not behind. A fresh job (new id, header time now) goes out with every template, and when `FRESH_JOB_S` have passed
without one: silence makes machines leave, and old header times make them waste what they could roll. A node that is
away does not stop the jobs: the work it left is mined on, for a block on it may still count.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable
from typing import Any

from warppool.bitcoin.hashes import to_display
from warppool.mining.job import Job, JobFactory
from warppool.mining.template import Template
from warppool.node.items import NodeLost, TemplateReady
from warppool.say import say
from warppool.threads import STOP

log = logging.getLogger("warppool")

FRESH_JOB_S = 30.0
"""The longest time between two jobs: the strictest machines leave after 60 s of silence."""

BEAT_S = 5.0
"""The longest wait, so that `beat` shows a thread that lives."""


class Desk:
    """Owns the job factory and the choice of node. `run` is the body of thread `jobs`; its queue is `inbox`.

    `broadcast` gets every job; `clock` and `unix` are the monotonic and the wall clock, in seconds. `beat` is the
    monotonic time of the last turn.
    """

    def __init__(self, factory: JobFactory, inbox: queue.Queue[Any], broadcast: Callable[[Job], None], *,
                 clock: Callable[[], float] = time.monotonic, unix: Callable[[], float] = time.time) -> None:
        self.beat = clock()
        self._factory = factory
        self._inbox = inbox
        self._broadcast = broadcast
        self._clock = clock
        self._unix = unix
        self._latest: dict[int, Template] = {}      # of each node that answers
        self._node: int | None = None               # whose templates are mined; None while none answers
        self._job: Job | None = None
        self._fresh_at = math.inf                   # monotonic

    def run(self) -> None:
        """Serve until STOP."""
        while (item := self._next()) is not STOP:
            match item:
                case TemplateReady(node, template):
                    self._ready(node, template)
                case NodeLost(node, reason):
                    self._lost(node, reason)
            if self._job is not None and self._clock() >= self._fresh_at:
                self._give_out(self._job.template)

    def _next(self) -> object:
        """The next item, or None after a while without one."""
        self.beat = now = self._clock()
        try:
            return self._inbox.get(timeout=max(0.0, min(BEAT_S, self._fresh_at - now)))
        except queue.Empty:
            return None

    def _ready(self, node: int, template: Template) -> None:
        self._latest[node] = template
        if self._node is None:
            self._node = node
            say(log, logging.INFO, "template.source", node=template.source)
        if node == self._node:
            self._give_out(template)

    def _lost(self, node: int, reason: str) -> None:
        self._latest.pop(node, None)
        if node != self._node:
            return
        self._node = min(self._latest, key=lambda node: (-self._latest[node].tip.height, node), default=None)
        if self._node is None:
            say(log, logging.WARNING, "template.lost", reason=reason,
                meaning="no node gives templates; miners go on with the last one")
            return
        template = self._latest[self._node]
        say(log, logging.WARNING, "template.source", node=template.source, reason=reason)
        self._give_out(template)

    def _give_out(self, template: Template) -> None:
        old = self._job
        self._job = job = self._factory.make(template, self._unix())
        self._broadcast(job)                        # the job first, everything else later
        self._fresh_at = self._clock() + FRESH_JOB_S
        if old is None or job.tip is not old.tip:
            say(log, logging.INFO, "tip.moved", height=job.tip.height, prev_hash=to_display(job.tip.prev_hash),
                job=job.job_id, node=template.source)
        else:
            say(log, logging.DEBUG, "job.made", job=job.job_id, height=job.tip.height, node=template.source)
