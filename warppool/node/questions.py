"""What a template provider is asked, and when: whether it lives, and the transactions of its templates. Pure.

One question at a time is on its way. Whether the provider lives is asked by an id that no template has. A provider that
answers as if there were one repeats what it knows, and does not show that its node lives. Times are monotonic seconds.
"""

from __future__ import annotations

import math

from warppool.mining.template import Template
from warppool.sv2.templateclient import NO_TEMPLATE

ASK_EVERY_S = 60.0              # whether the provider lives
LIFE_TIMEOUT_S = 30.0           # for the answer to that
DATA_TIMEOUT_S = 60.0           # for the transactions of a block, over any line that a pool should have
AGAIN_S = 5.0                   # after a refusal that may pass
REST = 4.0                      # times as long as an answer took to read, until the next transactions are asked for:
                                # a provider with ever new ones has a fifth of our time at most
MOST_WANTED = 16                # templates whose transactions have not come; of more the newest


class Questions:
    """Owned by the provider's thread; `ask_every_s` is how often the provider is asked whether it lives."""

    def __init__(self, ask_every_s: float) -> None:
        self.ask_every_s = ask_every_s
        self._wanted: dict[int, Template] = {}      # by id, the newest last
        self._asked: int | None = None
        self._late_at = math.inf                    # when the answer is too late
        self._alive_at = -math.inf                  # when the provider last showed life, or was last asked
        self._not_before = -math.inf                # for transactions: some were refused for a reason that may pass

    def reset(self, now: float) -> None:
        """A new connection: nothing is on its way, and ids may mean other templates."""
        self._wanted.clear()
        self._asked, self._late_at = None, math.inf
        self._alive_at, self._not_before = now, -math.inf

    def want(self, template: Template, now: float) -> None:
        """The provider has given a template, which shows that it lives; the transactions may be known."""
        self._alive_at = now
        if template.transactions is not None:
            return
        self._wanted[template.template_id] = template
        while len(self._wanted) > MOST_WANTED:
            del self._wanted[next(iter(self._wanted))]

    def next(self, now: float) -> int | None:
        """The id to ask for now; None for nothing. It is taken for asked."""
        if self._asked is not None:
            return None
        if now >= self._alive_at + self.ask_every_s:
            self._alive_at = now
            return self._ask(NO_TEMPLATE, now + LIFE_TIMEOUT_S)
        if not self._wanted or now < self._not_before:
            return None
        return self._ask(next(reversed(self._wanted)), now + DATA_TIMEOUT_S)

    def _ask(self, template_id: int, late_at: float) -> int:
        self._asked, self._late_at = template_id, late_at
        return template_id

    def answered(self, template_id: int, now: float, is_final: bool = True) -> Template | None:
        """An answer came: whose transactions they are. Without `is_final` they are asked for again."""
        self._asked, self._late_at = None, math.inf
        if is_final:
            return self._wanted.pop(template_id, None)
        self._not_before = now + AGAIN_S
        return self._wanted.get(template_id)

    def rest(self, took_s: float, now: float) -> None:
        """An answer with transactions took so long to read."""
        self._not_before = max(self._not_before, now + REST * took_s)

    def forget(self, height: int) -> None:
        """The tip has moved: what is wanted for another height comes too late for a block."""
        for template_id, template in list(self._wanted.items()):
            if template.tip.height != height and template_id != self._asked:
                del self._wanted[template_id]

    def is_late(self, now: float) -> bool:
        """Whether an answer is due and does not come."""
        return now >= self._late_at

    def due_at(self) -> float:
        """When `next` or `is_late` has something."""
        if self._asked is not None:
            return self._late_at
        return min(self._alive_at + self.ask_every_s, self._not_before if self._wanted else math.inf)
