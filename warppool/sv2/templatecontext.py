"""What the template connections of one worker share, and when transactions may be sent to them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from warppool.mining.job import Job
from warppool.sv2.templatestore import TemplateStore

NOT_FRESH_S = 30.0
"""A node that has not answered for so long may be dead, and the work that it gave with it."""

BYTES_PER_S_EACH: Final = 4_000_000
BYTES_PER_S: Final = 20_000_000
"""Transactions that are sent to one client, and to all of a worker. A block has up to 4 MB, and to encode and to seal
that takes some 50 ms, in which this worker serves nobody else."""

MAX_SOLVED = 4096
"""Hashes of solutions that are remembered, for one may come again."""


@dataclass(frozen=True, slots=True)
class TemplateRules:
    """When a later template of a tip is worth sending: it pays `fee_delta_sat` more, and at most every `interval_s`."""

    fee_delta_sat: int
    interval_s: float


@dataclass(frozen=True, slots=True)
class TemplateCounts:
    """Since the start; `clients` are those that are served now."""

    clients: int
    templates: int
    answers: int            # requests for transactions that were answered with them
    solutions: int
    spoiled: int


class TemplateContext:
    """Owned by one worker. `fresh_at` is the monotonic time at which the node that is mined answered last, None before
    the first answer; it may be asked on this thread.
    """

    def __init__(self, store: TemplateStore, rules: TemplateRules, fresh_at: Callable[[], float | None],
                 max_clients: int) -> None:
        self.store = store
        self.rules = rules
        self.max_clients = max_clients
        self.clients = 0
        self.templates = 0
        self.answers = 0
        self.solutions = 0
        self.spoiled = 0
        self.job: Job | None = None                 # the newest one
        self.data_at = -math.inf                    # monotonic: when transactions may be sent again, to whomever
        self._fresh_at = fresh_at
        self._solved: dict[bytes, None] = {}

    def take(self, job: Job, now: float) -> None:
        """There is a new job. Whoever is served from now on, and why ever, gets its template: one whom the job itself
        reaches late, since it reads too slowly, must not bring an old tip back.
        """
        if job is not self.job:
            self.job = job
            self.store.move(job.tip, now)

    @property
    def has_room(self) -> bool:
        """Whether one more client may be served."""
        return self.clients < self.max_clients

    def is_fresh(self, now: float) -> bool:
        """Whether the node has answered a short time ago."""
        fresh_at = self._fresh_at()
        return fresh_at is not None and now - fresh_at < NOT_FRESH_S

    def is_first(self, block_hash: bytes) -> bool:
        """Whether this solution comes for the first time; from now on it does not."""
        if block_hash in self._solved:
            return False
        self._solved[block_hash] = None
        if len(self._solved) > MAX_SOLVED:
            del self._solved[next(iter(self._solved))]
        return True

    def report(self) -> TemplateCounts:
        """What was counted."""
        return TemplateCounts(self.clients, self.templates, self.answers, self.solutions, self.spoiled)


class DataQueue:
    """The templates whose transactions one client has asked for, and when the next ones may go. Times are monotonic.

    A client whose own pace lets it have the next ones takes a slot behind all who took theirs before, so that no client
    that asks all the time keeps another one waiting for longer than its own turn lasts.
    """

    __slots__ = ("_context", "_free_at", "_has_slot", "_waiting", "wakes_at")

    def __init__(self, context: TemplateContext) -> None:
        self.wakes_at = math.inf
        self._context = context
        self._waiting: deque[tuple[int, int]] = deque()         # ids of templates, and the bytes of each
        self._free_at = -math.inf                   # when this client may have more
        self._has_slot = False                      # the next ones go at `wakes_at`

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, template_id: int, size: int, now: float) -> None:
        """The client asks. It is not answered at once, so that the reactor hears first how much may wait for it."""
        self._waiting.append((template_id, size))
        if len(self._waiting) == 1:
            self.wakes_at = max(now, self._free_at)

    def take(self, now: float) -> int | None:
        """Whose transactions go now; None where others come first."""
        context, (template_id, size) = self._context, self._waiting[0]
        if not self._has_slot:
            slot = max(now, context.data_at)
            context.data_at = slot + size / BYTES_PER_S
            if slot > now:
                self._has_slot, self.wakes_at = True, slot
                return None
        self._has_slot = False
        self._waiting.popleft()
        self._free_at = now + size / BYTES_PER_S_EACH
        self.wakes_at = self._free_at if self._waiting else math.inf
        return template_id

    def clear(self) -> None:
        """The client is gone."""
        self._waiting.clear()
        self.wakes_at = math.inf
