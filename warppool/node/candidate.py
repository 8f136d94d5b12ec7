"""A node as the choice of work sees it: its last template, how its tip compares, and since when it keeps up. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

from warppool.events import Now
from warppool.mining.template import Template
from warppool.node.items import NodeAnswered, TemplateReady


class TipWork(NamedTuple):
    """How much work stands in the chain that a template builds on; `block_work` is what one block adds."""

    height: int
    chainwork: int | None
    block_work: int

    def is_above(self, other: TipWork, blocks: int = 0) -> bool:
        """True if this tip has more work than `other` and `blocks` more blocks together."""
        if self.chainwork is None or other.chainwork is None:
            return self.height > other.height + blocks
        return self.chainwork > other.chainwork + blocks * max(self.block_work, other.block_work)

    def blocks_above(self, other: TipWork) -> int:
        """The difference in blocks, for people and for `behind_blocks`; never below 0."""
        if self.chainwork is None or other.chainwork is None:
            return max(0, self.height - other.height)
        return max(0, (self.chainwork - other.chainwork) // max(self.block_work, other.block_work))


class Candidate:
    """What is known of one node that may be mined; times are monotonic seconds."""

    __slots__ = ("answered_at", "behind_since", "chainwork", "clock_off", "clock_said_at", "curtime", "fell_behind_at",
                 "fresh_at", "is_embedded", "is_lagging", "is_lost", "is_steady", "keeps_up_since", "name", "reason",
                 "refused_at", "stranger_said_at", "template")

    def __init__(self, name: str) -> None:
        self.name = name
        self.template: Template | None = None
        self.chainwork: int | None = None
        self.curtime: int | None = None
        self.answered_at = -math.inf
        self.fresh_at = -math.inf                   # its silence counts from then on: its last answer, as a rule
        self.is_embedded = False
        self.is_lost = True
        self.is_steady = False                      # it was mined, and was not lost since then
        self.reason = "no answer yet"
        self.behind_since: float | None = None      # its tip has been below the mark since then
        self.is_lagging = False                     # and the log says so
        self.keeps_up_since: float | None = None    # since then it has had every new tip in time
        self.fell_behind_at: float | None = None    # another node has more work since then
        self.clock_off = 0                          # 0: near ours; 1: over two minutes off; 2: over two hours
        self.clock_said_at = -math.inf
        self.refused_at = -math.inf                 # the last line that says so of its clock
        self.stranger_said_at = -math.inf           # the last line that it is mined though it may be anybody

    def take(self, item: TemplateReady, now: Now) -> None:
        """The node gave a template."""
        self.template, self.chainwork, self.curtime = item.template, item.chainwork, item.curtime
        self.is_embedded = item.answered_at is None
        self.fresh_at = self.answered_at = now.monotonic if item.answered_at is None else item.answered_at
        self.is_lost = False

    def answer(self, item: NodeAnswered) -> None:
        """The node gave the template that it had given before."""
        self.curtime, self.is_lost = item.curtime, False
        self.fresh_at = self.answered_at = item.answered_at

    def lose(self, reason: str) -> None:
        """The node gives templates no more, until the next one comes."""
        self.is_lost, self.is_steady, self.reason = True, False, reason
        self.behind_since = self.keeps_up_since = self.fell_behind_at = None
        self.is_lagging = False

    @property
    def work(self) -> TipWork:
        """The work of the chain that its template builds on."""
        assert self.template is not None
        tip = self.template.tip
        return TipWork(tip.height, self.chainwork, 2**256 // (tip.target + 1))

    def time(self, now: Now) -> float:
        """The node's clock now, in Unix seconds, as far as its last answer tells."""
        return now.unix if self.curtime is None else self.curtime + now.monotonic - self.answered_at
