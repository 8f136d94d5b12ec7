"""What a template server has given to its clients and may still be asked for: templates by their ids.

A template stays as long as its tip lasts, and ten seconds longer, since blocks on it are on their way then. Ids are the
process's and not a connection's, so that a client which comes again may still hand in what it has found.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from warppool.mining.shorter import Shorter, ShortTemplate
from warppool.mining.template import Template, Tip

GRACE_S = 10.0
"""How long a template is kept after its tip."""

MAX_KEPT = 256
"""Templates that are kept at most. Beyond, the oldest one goes that is not the first of its tip for some client: a
client may start its machines on that one."""


class KeptTemplate(NamedTuple):
    """A template that was given out, and when it goes (monotonic seconds)."""

    short: ShortTemplate
    until: float


class TemplateStore:
    """Owned by one worker. `first_id` is above all ids of earlier starts; ids go up in steps of `step`, so that no two
    workers of a process ever use one.
    """

    def __init__(self, first_id: int, step: int = 1) -> None:
        self._first_id = first_id
        self._step = step
        self._next_id = first_id
        self._kept: dict[int, KeptTemplate] = {}            # in the order of the ids
        self._pinned: Counter[int] = Counter()      # ids, with the number of connections that may come back to each
        self._tip: Tip | None = None
        self._shorter = Shorter()
        self._newest: Template | None = None
        self._ids: dict[ShortTemplate, int] = {}    # of the newest template: the last id of each form of it

    def __len__(self) -> int:
        return len(self._kept)

    def short(self, template: Template, size_class: int) -> ShortTemplate | None:
        """The template for clients of that class; None if it cannot be made."""
        if template is not self._newest:
            self._newest, self._ids = template, {}
        return self._shorter.of(template, size_class)

    def move(self, tip: Tip, now: float) -> None:
        """This is the tip now: those of another one have their last ten seconds."""
        if tip != self._tip:
            self._tip = tip
            for template_id, kept in self._kept.items():
                if kept.until == math.inf:
                    self._kept[template_id] = kept._replace(until=now + GRACE_S)

    def give(self, short: ShortTemplate, above: int, now: float) -> int:
        """The id under which a client gets `short`, of the present tip: higher than `above`, the last that it got."""
        self._forget(now)
        template_id = self._ids.get(short, 0)
        if template_id <= above or template_id not in self._kept:
            template_id, self._next_id = self._next_id, self._next_id + self._step
            self._kept[template_id] = KeptTemplate(short, math.inf)
            self._ids[short] = template_id
        return template_id

    def get(self, template_id: int, now: float) -> ShortTemplate | None:
        """The template with that id, if it is kept."""
        kept = self._kept.get(template_id)
        return None if kept is None or kept.until <= now else kept.short

    def was_given(self, template_id: int) -> bool:
        """Whether that id was ever given out in this process, by this worker."""
        return self._first_id <= template_id < self._next_id and (template_id - self._first_id) % self._step == 0

    def pin(self, template_id: int) -> None:
        """A client may come back to this one as long as its tip lasts."""
        self._pinned[template_id] += 1

    def unpin(self, template_id: int) -> None:
        """That client will not, or is gone."""
        self._pinned[template_id] -= 1
        if self._pinned[template_id] <= 0:
            del self._pinned[template_id]

    def _forget(self, now: float) -> None:
        over = len(self._kept) - MAX_KEPT + 1
        for template_id, kept in list(self._kept.items()):
            if kept.until > now and (over <= 0 or template_id in self._pinned):
                if over <= 0 and kept.until == math.inf:
                    break                           # all behind it are of the same tip
                continue
            del self._kept[template_id]
            over -= 1
