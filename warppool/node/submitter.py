"""The submitter: a found block goes to every node first, then to the journal, and to log and books once it is safe.

One thread, `submitter`, hears `Found` from the workers, `Outcome` from the nodes and `Kept` from the journal's thread.
It waits for no disk and for no node. A block is safe once the disk has it for good, or a real node has said that it
took the block and the journal's file is written (`OpenBlock.safe_at`). Only then it is said as found, and only then its
share may be booked. So a crash at any moment, ours or ours and the node's, costs nothing that was said: the journal
keeps the block, or the node does, and `replay` hands all of the journal to the nodes again.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from warppool.bitcoin.hashes import to_display
from warppool.loop import Loop, Report, Takes
from warppool.node.blocklines import (
    say_completed,
    say_entrusted,
    say_found,
    say_outcome,
    say_partial,
    say_stranded,
    say_submitted,
    say_unjournaled,
)
from warppool.node.books import Books
from warppool.node.chainitems import JournalTold
from warppool.node.items import BestNode, Found, HasBlock, NodeHeard, Outcome, Verdict
from warppool.node.journal import Told
from warppool.node.journalthread import Forget, JournalThread, Keep, Kept, NoteOutcome, SetAside, Unkept, Written
from warppool.node.kepttransactions import KeptTransactions, TransactionsDropped, TransactionsKept, key_of
from warppool.node.openblock import OpenBlock, WaitingShare, make_entry, own_block, refuse
from warppool.node.takers import BlockTakers, NodeInbox
from warppool.say import say

log = logging.getLogger("warppool")

SHARE_PATIENCE_S = 10.0         # a share whose block is not safe by then is refused, as the ledger does
SWEEP_EVERY_S = 60.0            # between two looks for entries that may go because a node has been silent for long
_TICK_S = 1e-6                  # between two entries at least, so that a replay keeps their order


SubmitterItem = (Found | Outcome | HasBlock | NodeHeard | TransactionsKept | TransactionsDropped | BestNode | Written
                 | Kept | Unkept)
"""From workers, nodes, the job maker and the journal."""


@dataclass(frozen=True, slots=True)
class SubmitterReport(Report):
    """Blocks since the start, the replayed ones too; `open` ones are still watched, `unsafe` ones can be lost yet."""

    blocks: int
    open: int
    unsafe: int
    unkept: int                         # the disk refuses them
    best_node: int | None


class Submitter(Loop[SubmitterItem]):
    """The thread `submitter`; `nodes` are known by their numbers.

    `inbox` is also where `journal` answers. Stopping, in this order: the workers end; an answer to Ask proves that
    their blocks are handed on to the nodes and to the journal; the nodes end and report what they have flushed; STOP
    goes to `inbox`; the journal ends after this thread, and the ledger last.
    """

    most_items = 256

    def __init__(
        self,
        inbox: queue.Queue[Any],
        journal: JournalThread,
        nodes: Mapping[int, NodeInbox],
        books: Books,
        *,
        payout: Takes | None = None,
        unix: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("submitter", inbox, monotonic)
        now = monotonic()
        self._journal = journal
        self._takers = BlockTakers(nodes, now)
        self._kept_transactions = KeptTransactions()
        self._books = books
        self._payout = payout                               # hears of each own block before any node; None: nobody asks
        self._unix = unix
        self._blocks = 0
        self._open: dict[bytes, OpenBlock] = {}
        self._unsafe: dict[bytes, OpenBlock] = {}           # a part of `_open`, in the order of the finds
        self._found_at = 0.0                                # Unix: of the newest entry; entries never share a time
        self._sweep_at = now + SWEEP_EVERY_S

    def replay(self) -> int:
        """Hand every entry of the journal to every node and name it to the books again; how many there are.

        Called once, before this thread, the journal's and those of the nodes start, so that an embedded chain is whole
        before it makes a template. ConfigError if the journal's directory cannot be used.
        """
        entries = self._journal.load()
        for entry in entries:                               # in ascending height
            block = OpenBlock(entry, is_safe=True)
            block.latest.update((told.node, told.verdict) for told in entry.told)
            self._open[entry.block_hash] = block
            self._blocks += 1
            self._book_block(block)
            self._book_outcome(block, entry.told[-1].reason if entry.told else "")
            self.guard(self._tell_payout, block, True)
            if not self._takers.hand(block, is_replay=True):
                say_stranded(entry)
            self._found_at = max(self._found_at, entry.time)
        if entries:
            say(log, logging.INFO, "journal.replayed", blocks=len(entries), directory=self._journal.directory)
        if self._payout is not None:
            self._payout.put(JournalTold())
        return len(entries)

    def reconfigure(self, nodes: Mapping[int, NodeInbox]) -> None:
        """From now on these are the nodes: a new one gets every open block, and one that is gone is not waited for."""
        added, gone = self._takers.reconfigure(nodes, self._monotonic())
        for number in gone:
            self._kept_transactions.leave(number)
        for block in self._open.values():
            for number in gone:
                block.final.pop(number, None)       # should it come back, it is asked anew
            self._takers.hand(block, is_replay=True, to=added)
        self._sweep()

    def report(self) -> SubmitterReport:
        """How many blocks there were, and where those stand that are open."""
        return SubmitterReport(
            *self.vitals(), blocks=self._blocks, open=len(self._open), unsafe=len(self._unsafe),
            unkept=sum(block.is_unkept for block in self._open.values()), best_node=self._takers.best)

    def finish(self) -> None:
        """Refuse the shares whose blocks are not safe."""
        self._give_up_shares(at_latest=math.inf)

    def turn(self, items: list[SubmitterItem]) -> float:
        """Blocks first, as one group: what the others say can only be of earlier ones."""
        found: list[Found] = []
        rest: list[SubmitterItem] = []
        for item in items:
            if isinstance(item, Found):
                found.append(item)
            else:
                rest.append(item)
        if found:
            self.guard(self._found, found)
        for item in rest:
            self.guard(self._hear, item)
        for step in (self._look_who_is_safe, self._give_up_shares):
            self.guard(step, self._monotonic())
        if self._monotonic() >= self._sweep_at:
            self.guard(self._sweep)
        return self._due()

    def _due(self) -> float:
        """When a block is safe, a share is given up, or the next sweep is. What failed is not tried again at once."""
        until = next((block.shares[0].until for block in self._unsafe.values() if block.shares), math.inf)
        safe_at = min((block.safe_at for block in self._unsafe.values()), default=math.inf)
        return max(min(until, safe_at, self._sweep_at), self._monotonic() + 0.001)

    def _hear(self, item: SubmitterItem) -> None:
        match item:
            case Outcome():
                self._outcome(item)
            case HasBlock(block_hash, node):
                self._node_has(block_hash, node)
            case NodeHeard(node, height):
                self._takers.has_heard(node, self._monotonic(), height)
            case TransactionsKept() | TransactionsDropped():
                self._kept_transactions.hear(item)
                if isinstance(item, TransactionsKept):
                    self._complete(item)
            case BestNode(node):
                self._takers.best = node
                self._sweep()
            case Written(block_hash):
                if (block := self._unsafe.get(block_hash)) is not None:
                    block.is_written = True
            case Kept(hashes):
                self._kept(hashes)
            case Unkept(block_hash, reason):
                self._not_kept(block_hash, reason)

    # What was found.

    def _found(self, found: Sequence[Found]) -> None:
        """Put each block on the queue of every node, then on the journal's; nothing is waited for.

        Who follows what blocks pay hears of it first, so that no balance is paid by a second block.
        """
        for item in found:
            block = self._open.get(item.block.block_hash)
            if block is None and (block := self._new_block(item)) is not None:
                self.guard(self._tell_payout, block, False)
                reached = self._takers.hand(block)
                self._journal.inbox.put(Keep(block.entry))
                self._say_handed(block, reached)
            if block is not None:
                self._take_share(block, item)

    def _new_block(self, item: Found) -> OpenBlock | None:
        """Open a block, or None for what cannot be made one: a bug of ours, which must not cost the others."""
        self._found_at = max(self._unix(), self._found_at + _TICK_S)
        template = item.block.template
        transactions = template.transactions
        if transactions is None:
            transactions = self._kept_transactions.get(key_of(template))
        node = self._takers.number_of(template.source)
        try:
            block = OpenBlock(make_entry(item.block, self._found_at, transactions, node), item.block.conn_id,
                              key=key_of(template))
        except ValueError:
            log.exception("event=block.unmade hash=%s", to_display(item.block.block_hash))
            refuse(item.block.share, item.reply_to)
            return None
        self._blocks += 1
        self._open[item.block.block_hash] = self._unsafe[item.block.block_hash] = block
        return block

    def _tell_payout(self, block: OpenBlock, is_replay: bool) -> None:
        if self._payout is not None:
            self._payout.put(own_block(block.entry, is_replay))

    def _take_share(self, block: OpenBlock, item: Found) -> None:
        share = item.block.share
        if share is None:
            return
        block.shares.append(WaitingShare(share, item.reply_to, self._monotonic() + SHARE_PATIENCE_S))
        if block.is_safe:
            self._book_shares(block)

    def _look_who_is_safe(self, now: float) -> None:
        """A node has them, and the journal has them too, or has had its time."""
        for block in [block for block in self._unsafe.values() if block.safe_at <= now]:
            self._make_safe(block)

    def _make_safe(self, block: OpenBlock) -> None:
        """The block survives a crash of ours: only now is it said as found, and only now may its share be booked."""
        if block.is_safe:
            return
        block.is_safe = True
        self._unsafe.pop(block.entry.block_hash, None)
        say_found(block)
        self._book_block(block)
        self._book_shares(block)
        self._say_early(block)

    def _say_handed(self, block: OpenBlock, reached: int) -> None:
        if not reached:
            say_stranded(block.entry)
            return
        say_submitted(block.entry, reached)
        if not block.entry.is_whole:
            say_partial(block.entry)
        elif self._takers.is_entrusted(block):
            say_entrusted(block.entry)

    def _complete(self, kept: TransactionsKept) -> None:
        """Make whole what was found before these transactions came: the journal has it so, and every node gets it."""
        for block in self._open.values():
            if block.key == kept.key and not block.entry.is_whole:
                block.complete(kept.transactions)
                reached = self._takers.hand(block)
                self._journal.inbox.put(Keep(block.entry))
                say_completed(block.entry, reached)

    # What the journal says.

    def _kept(self, hashes: Iterable[bytes]) -> None:
        recovered = 0
        for block_hash in hashes:
            if (block := self._open.get(block_hash)) is not None:
                recovered += block.is_unkept
                block.is_unkept = False
                self._make_safe(block)
        if recovered and not any(block.is_unkept for block in self._open.values()):
            say(log, logging.WARNING, "journal.recovered", blocks=recovered)

    def _not_kept(self, block_hash: bytes, reason: str) -> None:
        if (block := self._open.get(block_hash)) is None:
            return
        block.is_unkept = True
        say_unjournaled(block, reason)
        self._say_early(block)

    def _give_up_shares(self, at_latest: float) -> None:
        """Refuse the shares whose block is not safe in time: their miners have waited long enough."""
        for block in self._unsafe.values():
            block.refuse_shares(at_latest)

    # What became of it.

    def _node_has(self, block_hash: bytes, node: int) -> None:
        """A node took the block. What an embedded chain has, it forgets with this process, until it has flushed."""
        block = self._open.get(block_hash)
        if self._takers.has_heard(node, self._monotonic()) and block is not None and self._takers.is_real(node):
            self._stands_at(block)

    def _stands_at(self, block: OpenBlock) -> None:
        """A real node has the block."""
        block.at_node_since = min(block.at_node_since, now := self._monotonic())
        if block.safe_at <= now:
            self._make_safe(block)

    def _outcome(self, outcome: Outcome) -> None:
        block = self._open.get(outcome.block_hash)
        if not self._takers.has_heard(outcome.node, self._monotonic()):
            return
        if block is None:
            self._outcome_of_buried(outcome)
            return
        node, verdict, is_embedded = outcome.node, outcome.verdict, not self._takers.is_real(outcome.node)
        if verdict is Verdict.BURIED:
            self._make_safe(block)
        elif verdict is not Verdict.REFUSED and not is_embedded:
            self._stands_at(block)
        if not block.is_safe and not block.is_unkept and (is_embedded or verdict is not Verdict.REFUSED):
            block.early.append(outcome)
            return
        if verdict is not Verdict.BURIED:
            if block.is_news(node, verdict):
                self._tell(block, Told(node, verdict, outcome.reason))
            self._book_outcome(block, outcome.reason)
        if verdict in (Verdict.BURIED, Verdict.REFUSED):
            block.final[node] = verdict
            self._close_if_final(block)

    def _say_early(self, block: OpenBlock) -> None:
        """What a node said before the block was safe: an outcome comes after `block.found`."""
        early, block.early = block.early, []
        for outcome in early:
            self._outcome(outcome)

    def _tell(self, block: OpenBlock, told: Told) -> None:
        """Log what a node says of the block each time it changes, and let the journal hold it."""
        block.tell(told)
        say_outcome(told, block.entry.block_hash, self._takers.refuse(block), height=block.entry.height)
        self._journal.inbox.put(NoteOutcome(block.entry.block_hash, told))

    def _outcome_of_buried(self, outcome: Outcome) -> None:
        """A block whose entry is gone changed its status, as in a deep reorganization: no replay, so no journal."""
        if outcome.verdict is not Verdict.BURIED:
            say_outcome(Told(outcome.node, outcome.verdict, outcome.reason), outcome.block_hash, is_lost=False)
            self._books.block_outcome(outcome.block_hash, outcome.verdict.value, outcome.reason, self._unix())

    def _sweep(self) -> None:
        """Let go of what may leave by now, for another node has the best tip or one has been silent for long."""
        self._sweep_at = self._monotonic() + SWEEP_EVERY_S      # first, so that a fault below does not repeat at once
        for block in list(self._open.values()):
            if block.final:
                self._close_if_final(block)

    def _close_if_final(self, block: OpenBlock) -> None:
        """Let the entry go if the rule of node/retention.py lets it; set aside what every node refused."""
        if self._takers.is_lost(block):
            self._give_up(block)
            self._journal.inbox.put(SetAside(block.entry))
        elif self._takers.may_leave(block, self._monotonic()):
            self._give_up(block)
            self._journal.inbox.put(Forget(block.entry.block_hash))
            self._takers.drop(block)

    def _give_up(self, block: OpenBlock) -> None:
        """No node is waited for any more; the shares of a block that no node wants are refused."""
        block.refuse_shares()
        del self._open[block.entry.block_hash]
        self._unsafe.pop(block.entry.block_hash, None)

    # What the books hear.

    def _book_block(self, block: OpenBlock) -> None:
        entry = block.entry
        self._books.block(entry.block_hash, entry.height, entry.user, entry.time, block.difficulty)

    def _book_shares(self, block: OpenBlock) -> None:
        for share, reply_to, _ in block.shares:
            self._books.shares((share,), reply_to)
        block.shares.clear()

    def _book_outcome(self, block: OpenBlock, reason: str) -> None:
        """The best that any node says, each time it changes; nothing before the first."""
        best = block.best
        if best is not None and best is not block.booked:
            block.booked = best
            self._books.block_outcome(block.entry.block_hash, best.value, reason, self._unix())
