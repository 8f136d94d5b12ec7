"""The embedded chain as a template source: a whole regtest node inside the daemon, for tests, demos and tinkering.

One thread, `node-N`, owns the kernel. It takes `SubmitBlock` from its inbox, makes templates, and tells the submitter
what became of each block. What lies in the inbox when it starts is what the journal held, and goes in before the first
template; so the submitter's `replay` is called before this thread is started.

On regtest the kernel checks its whole block tree at every block: some 0.5 µs for each block that it knows, more where
many have one parent. So a flood of blocks costs more the longer it lasts, and is taken in tip first.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from warppool.bitcoin.block import block_subsidy
from warppool.bitcoin.coinbase import (
    INPUT_SEQUENCE,
    commitment_output,
    height_push,
    locktime_of,
    witness_commitment,
)
from warppool.bitcoin.target import target_from_nbits
from warppool.errors import NodeError
from warppool.events import Now
from warppool.loop import Loop, prompt
from warppool.mining.template import Template, Tip
from warppool.node.chainitems import AskChain
from warppool.node.items import DropBlock, NodeLost, NodeReport, Outcome, SubmitBlock, TemplateReady, Verdict
from warppool.node.kernel import ChainTip, Kernel
from warppool.node.kernelanswers import answer_of
from warppool.say import say
from warppool.stats.snapshot import EMPTY

log = logging.getLogger("warppool")

FLUSH_EVERY = 1000              # blocks that a killed process has to replay at most; a flush takes some 40 ms
TEMPLATE_EVERY_S = 0.2          # regtest finds blocks faster than miners can be told of them
TURN_LIMIT_S = 60.0             # for the watchdog: to open a kernel with many blocks, or to flush it, takes long
_FIRST_PAUSE_S = 0.5            # before the kernel is opened again, doubled up to ...
_LONGEST_PAUSE_S = 5.0
STOP_PATIENCE_S = 1.0           # for the backlog at a stop; the journal keeps the rest for the next start
_TURN_S = 0.02                  # of blocks, then a look at inbox and clock
_PREV_HASH = slice(4, 36)       # of a header
_VERSION = 0x20000000           # BIP9 with no bit set
_COINBASE_VERSION = 2
_EMPTY_COMMITMENT = commitment_output(witness_commitment(()))    # over no transactions: the same in every block


def _read_clocks() -> Now:
    return Now(time.monotonic(), time.time())


class RegtestSource(Loop[SubmitBlock | DropBlock | AskChain]):
    """Node number `node` on a chain of its own in `data_dir/regtest/`; MissingExtra if the kernel is not installed."""

    limits = prompt(TURN_LIMIT_S)
    requests = EMPTY                            # nobody waits for an answer of it

    def __init__(
        self,
        node: int,
        data_dir: Path,
        job_maker: queue.Queue[Any],
        submitter: queue.Queue[Any],
        *,
        flush_every: int = FLUSH_EVERY,
        now: Callable[[], Now] = _read_clocks,
    ) -> None:
        super().__init__(f"node-{node}", monotonic=lambda: now().monotonic)
        self.is_misplaced = False
        self.trouble = ""                                   # why there is no template now
        self._node = node
        self._job_maker = job_maker
        self._submitter = submitter
        self._flush_every = flush_every
        self._now = now
        self._kernel = Kernel(data_dir / "regtest")
        self._template_ids = itertools.count(1)
        self._backlog = Backlog()
        self._question: AskChain | None = None              # the newest about own blocks on the chain
        self._held: dict[bytes, SubmitBlock] = {}           # in the order they came; not on the kernel's disk yet
        self._since_flush = 0
        self._offered: bytes | None = None                  # the parent of the newest template
        self._height = 0                                    # ... and that of its block
        self._templates = 0
        self._offer_at = 0.0                                # monotonic: no template before
        self._pause_s = 0.0                                 # the last wait for a kernel; 0.0 while it works
        self._open_at = 0.0                                 # monotonic: the kernel is not opened before
        self._is_open = False
        self._is_restored = False                           # what the journal held is in the chain
        self._stop_at = math.inf                            # monotonic: the backlog is left alone
        self._has_ended = False                             # the last flush is done

    def turn(self, items: list[SubmitBlock | DropBlock | AskChain]) -> float:
        """Serve while the kernel works, else say so once and open it again, later each time."""
        for item in items:
            if isinstance(item, SubmitBlock):
                self._backlog.add(item)
            elif isinstance(item, AskChain):
                self._question = item
        self._is_restored = self._is_restored or not self._backlog
        if self.is_stopping and self._stop_at == math.inf:
            self._stop_at = self._monotonic() + STOP_PATIENCE_S
        try:
            return self._serve()
        except NodeError as exc:
            self._lose(str(exc))
        except Exception:               # the chain is in the journal, so it can begin again
            log.exception("event=node.failed node=%s", self.name)
            self._lose("the embedded chain failed by a fault of ours; the traceback is in the log")
        return self._open_at

    def is_done(self) -> bool:
        """After STOP: what was in the inbox, or a second of it, is in the chain and flushed, and that is told."""
        return self._has_ended or not self._is_open

    def finish(self) -> None:
        """Leave the chain to others."""
        self._kernel.close()

    def report(self) -> NodeReport:
        """Whether there is a chain, and how high it is."""
        return NodeReport(*self.vitals(), trouble=self.trouble, is_misplaced=False, templates=self._templates,
                          height=self._height)

    def _serve(self) -> float:
        """Some blocks, and a template if one is due; when to go on."""
        if not self._is_open:
            if self._monotonic() < self._open_at:
                return self._open_at
            self._kernel.open()
            self._is_open = True
            self._submit_again()
        if self.is_stopping and (not self._backlog or self._monotonic() >= self._stop_at):
            self._flush()
            self._has_ended = True
            return -math.inf
        self._submit_some()
        if self._since_flush >= self._flush_every:
            self._flush()
        self._offer_if_due()
        self._answer_question()
        if self._backlog or not self._is_restored or self.is_stopping:
            return -math.inf
        return math.inf if self._kernel.tip_hash() == self._offered else self._offer_at

    def _submit_some(self) -> None:
        """Submit for a while: what stands on the tip first, so that a flood of rivals delays no template."""
        until = self._monotonic() + _TURN_S
        while self._backlog and self._since_flush < self._flush_every:
            self._submit(self._backlog.take(self._kernel.tip_hash()))
            if self._monotonic() >= until:
                break

    def _submit(self, block: SubmitBlock) -> None:
        self._held[block.block_hash] = block            # first: if the kernel fails now, it is submitted again
        judged = self._kernel.submit(block.raw_block)
        for each in judged:
            self._submitter.put(Outcome(each.block_hash, self._node, each.verdict, each.reason))
        if judged[0].verdict is Verdict.REFUSED:
            del self._held[block.block_hash]
        self._since_flush += 1

    def _submit_again(self) -> None:
        """Give a kernel that was opened again what it may have lost."""
        for block in list(self._held.values()):
            self._submit(block)

    def _flush(self) -> None:
        """Flush the kernel and give free what it is seen to have kept; what it lost goes in again."""
        self._kernel.flush()
        self._since_flush = 0
        for block_hash in [each for each in self._held if self._kernel.knows(each)]:
            del self._held[block_hash]
            self._submitter.put(Outcome(block_hash, self._node, Verdict.BURIED, ""))
        if self._held:
            say(log, logging.WARNING, "chain.unflushed", node=self.name, blocks=len(self._held),
                cure="free space on the disk of data_dir; the blocks are in the journal")
            self._submit_again()

    def _offer_if_due(self) -> None:
        """A template on a new tip, unless the last one is younger than 200 ms; the next turn finds the newest tip."""
        now = self._now()
        if self._is_restored and now.monotonic >= self._offer_at and self._kernel.tip_hash() != self._offered:
            tip = self._kernel.tip()
            self._offered, self._offer_at = tip.block_hash, now.monotonic + TEMPLATE_EVERY_S
            template = make_template(next(self._template_ids), tip, int(now.unix), self.name)
            self._job_maker.put(TemplateReady(self._node, template))
            self._height = tip.height + 1
            self._templates += 1
            self._pause_s = 0.0
            self.trouble = ""

    def _answer_question(self) -> None:
        """Say where own blocks stand, behind the blocks that are to go in."""
        if self._is_restored and self._question is not None:
            question, self._question = self._question, None
            question.reply_to.put(answer_of(self._kernel, question, self._node))

    def _lose(self, reason: str) -> None:
        """Say once that no templates come, and have the kernel opened again later; the next template ends it."""
        if not self._pause_s:
            self._job_maker.put(NodeLost(self._node, reason))
        self.trouble = reason
        self._kernel.close()
        self._is_open = False
        self._offered = None
        self._pause_s = min(2 * self._pause_s or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._open_at = self._monotonic() + self._pause_s


class Backlog:
    """Blocks that wait for the kernel, by parent: those on the tip come first, the others parent by parent.

    No block comes before its parent, since it is found, and replayed, after it.
    """

    def __init__(self) -> None:
        self._by_parent: dict[bytes, deque[SubmitBlock]] = {}

    def add(self, block: SubmitBlock) -> None:
        """Behind those with the same parent."""
        self._by_parent.setdefault(block.raw_block[_PREV_HASH], deque()).append(block)

    def take(self, tip: bytes) -> SubmitBlock:
        """The next one; StopIteration if there is none."""
        parent = tip if tip in self._by_parent else next(iter(self._by_parent))
        waiting = self._by_parent[parent]
        block = waiting.popleft()
        if not waiting:
            del self._by_parent[parent]
        return block

    def __bool__(self) -> bool:
        return bool(self._by_parent)


def make_template(template_id: int, tip: ChainTip, unix: int, source: str) -> Template:
    """The template of an empty block on `tip`: the embedded chain has no mempool.

    `unix` is the time now; the block may not be dated before it, nor at or before the median of the last blocks.
    """
    height = tip.height + 1
    return Template(
        template_id=template_id,
        tip=Tip(
            prev_hash=tip.block_hash,
            nbits=tip.nbits,                            # regtest never retargets
            target=target_from_nbits(tip.nbits),
            min_ntime=max(tip.median_time + 1, unix),
            height=height,
        ),
        version=_VERSION,
        coinbase_tx_version=_COINBASE_VERSION,
        coinbase_prefix=height_push(height),
        coinbase_tx_input_sequence=INPUT_SEQUENCE,
        coinbase_tx_value_remaining=block_subsidy(height, "regtest"),
        coinbase_tx_outputs_count=1,
        coinbase_tx_outputs=_EMPTY_COMMITMENT,
        coinbase_tx_locktime=locktime_of(height),
        merkle_path=(),
        transactions=(),
        source=source,
    )
