"""The submitter: a found block goes to the journal first, then to the log, the books and every node.

One thread, `submitter`, owns the journal and hears `Found` from the workers and `Outcome` from the nodes. A crash at
any moment costs no block: what was logged as found lies in the journal until every node has answered for good, and
`replay` hands all of it to the nodes again.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from warppool.bitcoin.hashes import to_display
from warppool.events import ShareAccepted
from warppool.net.inbox import NotRecorded
from warppool.node.items import BestNode, Found, Outcome, SubmitBlock, Verdict
from warppool.node.journal import Entry, Journal, Told
from warppool.node.openblock import OpenBlock, WaitingShare, make_entry
from warppool.say import say
from warppool.threads import STOP

log = logging.getLogger("warppool")

SHARE_PATIENCE_S = 10.0         # a share whose block cannot be journaled is refused after it, as the ledger does
RETRY_S = 1.0                   # between two tries to journal what the disk refused
LONGEST_WAIT_S = 5.0            # so that `beat` shows a living thread
_LEVELS = {Verdict.ACCEPTED: logging.INFO, Verdict.SIDE: logging.WARNING, Verdict.REFUSED: logging.ERROR}
_TICK_S = 1e-6                  # between two entries at least, so that a replay keeps their order
_BATCH = 256                    # items of one turn: the blocks among them share one fsync of the directory
_CURE = "free space on the disk of data_dir or mend its permissions; the journal is tried again every second"


class Books(Protocol):
    """The ledger as the submitter sees it: each call puts one item on the ledger's queue and returns at once."""

    def shares(self, shares: tuple[ShareAccepted, ...], reply_to: queue.Queue[Any] | None) -> None:
        """Accepted shares to record; `reply_to` hears `Recorded` or `NotRecorded`."""

    def block(self, block_hash: bytes, height: int, user: str, time: float, difficulty: float) -> None:
        """A found block; a replay may say it again."""

    def block_outcome(self, block_hash: bytes, outcome: str, detail: str, time: float) -> None:
        """What became of a block that `block` named; the last one said stands."""


class NodeDoor(NamedTuple):
    """Where a node's blocks go. What an embedded chain accepted dies with this process until it is buried."""

    inbox: queue.Queue[Any]             # takes SubmitBlock
    is_embedded: bool


@dataclass(frozen=True, slots=True)
class Settle:
    """Answer once all that was put before this is journaled, or has failed to be, and is handed to the nodes."""

    reply: queue.SimpleQueue[None]


class Submitter:
    """The thread's state and its inbox; `nodes` stand in the order of their numbers.

    Stopping, in this order: the workers end; `settle` proves that their blocks are handed on; the nodes end and report
    what they have flushed; STOP goes to `inbox`; the ledger ends last.
    """

    def __init__(
        self,
        inbox: queue.Queue[Any],
        journal: Journal,
        nodes: Sequence[NodeDoor],
        books: Books,
        *,
        unix: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inbox = inbox                                  # Found, Outcome, BestNode, Settle, STOP
        self.beat = monotonic()                             # monotonic seconds; read by the watchdog
        self._journal = journal
        self._nodes = tuple(nodes)
        self._books = books
        self._unix = unix
        self._monotonic = monotonic
        self._open: dict[bytes, OpenBlock] = {}
        self._unjournaled: dict[bytes, OpenBlock] = {}     # a part of `_open`, in the order of the finds
        self._found_at = 0.0                                # Unix: of the newest entry; entries never share a time
        self._retry_at = 0.0                                # monotonic
        self._is_housekeeping_refused = False
        self._best_node: int | None = None                 # by its number; None while nobody has told

    def replay(self) -> int:
        """Hand every entry of the journal to every node and name it to the books again; how many there are.

        Called once, before this thread and those of the nodes start, so that an embedded chain is whole before it makes
        a template. ConfigError if the journal's directory cannot be used.
        """
        entries = self._journal.load()
        for entry in entries:
            block = OpenBlock(entry, is_safe=True)
            block.latest.update((told.node, told.verdict) for told in entry.told)
            self._open[entry.block_hash] = block
            self._book_block(block)
            self._book_outcome(block, entry.told[-1].reason if entry.told else "")
            self._hand_over(entry)
            self._found_at = max(self._found_at, entry.time)
        if entries:
            say(log, logging.INFO, "journal.replayed", blocks=len(entries), directory=str(self._journal.directory))
        return len(entries)

    def settle(self, timeout_s: float) -> bool:
        """Any thread: wait until all that was put before is journaled and handed on; False if that takes longer."""
        reply: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.inbox.put(Settle(reply))
        try:
            reply.get(timeout=timeout_s)
        except queue.Empty:
            return False
        return True

    def run(self) -> None:
        """The thread: until STOP, and all that stands before it."""
        is_stopping = False
        while not is_stopping:
            self.beat = self._monotonic()
            items = self._take()
            is_stopping = STOP in items
            self._turn(items)
        self._give_up_shares(at_latest=float("inf"))

    def _take(self) -> list[object]:
        """All items that wait, up to a batch or a STOP; empty if none comes before something is due."""
        items: list[object] = []
        try:
            items.append(self.inbox.get(timeout=self._wait_s()))
            while len(items) < _BATCH and items[-1] is not STOP:
                items.append(self.inbox.get_nowait())
        except queue.Empty:
            pass
        return items

    def _wait_s(self) -> float:
        if not self._unjournaled:
            return LONGEST_WAIT_S
        return min(max(self._retry_at - self._monotonic(), 0.001), RETRY_S)

    def _turn(self, items: Iterable[object]) -> None:
        """Blocks first, as one group: what the nodes said can only be of earlier ones."""
        settled: list[Settle] = []
        outcomes: list[Outcome] = []
        found: list[Found] = []
        for item in items:
            match item:
                case Found():
                    found.append(item)
                case Outcome():
                    outcomes.append(item)
                case BestNode(node):
                    self._best_node = node
                case Settle():
                    settled.append(item)
        try:
            if found:
                self._found(found)
            for outcome in outcomes:
                self._outcome(outcome)
            if self._unjournaled and self._monotonic() >= self._retry_at:
                self._journal_again()
            self._give_up_shares(at_latest=self._monotonic())
        except Exception:       # unforeseen: the next turn may do better
            log.exception("event=submitter.failed")
        for each in settled:
            each.reply.put(None)

    # What was found.

    def _found(self, found: Sequence[Found]) -> None:
        """Journal a group of blocks, with one fsync of the directory; then say, book and hand on each in its order."""
        fresh: list[OpenBlock] = []
        for item in found:
            block = self._open.get(item.block.block_hash)
            if block is None and (block := self._new_block(item)) is not None:
                fresh.append(block)
            if block is not None:
                self._take_share(block, item)
        stored = self._journal.add([block.entry for block in fresh])
        for block in fresh:
            if block.entry.block_hash in stored.hashes:
                self._make_safe(block)
            else:
                self._unjournaled[block.entry.block_hash] = block
                self._retry_at = self._monotonic() + RETRY_S
                self._say_unjournaled(block, stored.error)
            if self._hand_over(block.entry):
                say(log, logging.INFO, "block.submitted", height=block.entry.height,
                    hash=to_display(block.entry.block_hash), nodes=len(self._nodes))

    def _new_block(self, item: Found) -> OpenBlock | None:
        """Open a block, or None for what cannot be made one: a bug of ours, which must not cost the others."""
        self._found_at = max(self._unix(), self._found_at + _TICK_S)
        try:
            block = OpenBlock(make_entry(item.block, self._found_at), item.block.conn_id)
        except ValueError:
            log.exception("event=block.unmade hash=%s", to_display(item.block.block_hash))
            _refuse(item.block.share, item.reply_to)
            return None
        self._open[item.block.block_hash] = block
        return block

    def _take_share(self, block: OpenBlock, item: Found) -> None:
        share = item.block.share
        if share is None:
            return
        block.shares.append(WaitingShare(share, item.reply_to, self._monotonic() + SHARE_PATIENCE_S))
        if block.is_safe:
            self._book_shares(block)

    def _make_safe(self, block: OpenBlock) -> None:
        """The block survives a crash of ours: only now is it said as found, and only now may its share be booked."""
        if block.is_safe:
            return
        block.is_safe = True
        entry = block.entry
        say(log, logging.INFO, "block.found", height=entry.height, hash=to_display(entry.block_hash), user=entry.user,
            conn=block.conn_id)
        self._book_block(block)
        self._book_shares(block)

    def _hand_over(self, entry: Entry) -> bool:
        if not entry.is_whole:
            say(log, logging.CRITICAL, "block.stranded", height=entry.height, hash=to_display(entry.block_hash),
                template=entry.template_id, reason="only the node that made its template has its transactions")
            return False
        for node in self._nodes:
            node.inbox.put(SubmitBlock(entry.block_hash, entry.height, entry.data))
        return True

    # When the disk refuses.

    def _journal_again(self) -> None:
        stored = self._journal.add([block.entry for block in self._unjournaled.values()])
        for block_hash in stored.hashes:
            self._make_safe(self._unjournaled.pop(block_hash))
        self._retry_at = self._monotonic() + RETRY_S
        if not self._unjournaled:
            say(log, logging.WARNING, "journal.recovered", blocks=len(stored.hashes))

    def _say_unjournaled(self, block: OpenBlock, error: OSError | None) -> None:
        entry = block.entry
        say(log, logging.CRITICAL, "block.unjournaled", height=entry.height, hash=to_display(entry.block_hash),
            user=entry.user, conn=block.conn_id, reason=error and error.strerror, cure=_CURE)

    def _give_up_shares(self, at_latest: float) -> None:
        """Refuse the shares whose block is not safe in time: their miners have waited long enough."""
        for block in self._unjournaled.values():
            late = [each for each in block.shares if each.until <= at_latest]
            block.shares = [each for each in block.shares if each.until > at_latest]
            for share, reply_to, _ in late:
                _refuse(share, reply_to)

    def _try_on_disk(self, work: Callable[[], object]) -> None:
        """Do what is only housekeeping in the journal; a refusal is said once, until it works again."""
        try:
            work()
        except OSError as exc:
            if not self._is_housekeeping_refused:
                say(log, logging.WARNING, "journal.refused", reason=exc.strerror,
                    consequence="a restart tells outcomes again", cure=_CURE)
            self._is_housekeeping_refused = True
        else:
            self._is_housekeeping_refused = False

    # What became of it.

    def _outcome(self, outcome: Outcome) -> None:
        block = self._open.get(outcome.block_hash)
        if block is None:
            self._outcome_of_buried(outcome)
            return
        node, verdict = outcome.node, outcome.verdict
        if verdict is Verdict.BURIED or (verdict is not Verdict.REFUSED and not self._nodes[node].is_embedded):
            self._make_safe(block)
        if verdict is not Verdict.BURIED:
            block.latest[node] = verdict
            if not block.is_told(node, verdict):
                self._tell(block, Told(node, verdict, outcome.reason))
            self._book_outcome(block, outcome.reason)
        if verdict in (Verdict.BURIED, Verdict.REFUSED):
            block.final[node] = verdict
            self._close_if_final(block)

    def _tell(self, block: OpenBlock, told: Told) -> None:
        """Log an outcome that the journal does not hold yet, and let it hold it."""
        _say_outcome(told, block.entry.block_hash, block.is_lost(len(self._nodes)), height=block.entry.height)
        block.tell(told)
        self._try_on_disk(lambda: self._journal.tell(block.entry.block_hash, told))

    def _outcome_of_buried(self, outcome: Outcome) -> None:
        """A block whose entry is gone changed its standing, as in a deep reorganization: no replay, so no journal."""
        if outcome.verdict is not Verdict.BURIED:
            _say_outcome(Told(outcome.node, outcome.verdict, outcome.reason), outcome.block_hash, is_lost=False)
            self._books.block_outcome(outcome.block_hash, outcome.verdict.value, outcome.reason, self._unix())

    def _close_if_final(self, block: OpenBlock) -> None:
        """Let the entry go once every node has the block for good or will never take it, and at least one has it."""
        if len(block.final) < len(self._nodes):
            return
        block_hash = block.entry.block_hash
        del self._open[block_hash]
        if Verdict.BURIED in block.final.values():
            self._try_on_disk(lambda: self._journal.remove(block_hash))
        else:
            self._give_up_shares(at_latest=float("inf"))
            self._try_on_disk(lambda: self._set_aside(block.entry))
        self._unjournaled.pop(block_hash, None)

    def _set_aside(self, entry: Entry) -> None:
        if (path := self._journal.set_aside(entry.block_hash)) is not None:
            say(log, logging.WARNING, "block.set_aside", height=entry.height, hash=to_display(entry.block_hash),
                file=str(path))

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


def _refuse(share: ShareAccepted | None, reply_to: queue.Queue[Any] | None) -> None:
    if share is not None and reply_to is not None:
        reply_to.put(NotRecorded(((share.conn_id, share.share_id),)))


def _say_outcome(told: Told, block_hash: bytes, is_lost: bool, **fields: object) -> None:
    """`block.accepted`, `block.side` or `block.refused`; a block that every node refused is CRITICAL."""
    level = _LEVELS[told.verdict] if not is_lost else logging.CRITICAL
    reason = {"reason": told.reason} if told.reason else {}
    say(log, level, f"block.{told.verdict.value}", **fields, hash=to_display(block_hash), node=told.node, **reason)
