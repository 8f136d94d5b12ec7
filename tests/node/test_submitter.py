"""The submitter: nodes before the journal before log before books; outcomes told when they change; nothing lost."""

from __future__ import annotations

import errno
import logging
import math
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.node.books import RecordingBooks
from tests.node.chainblocks import mine, raw, submission
from tests.patience import PATIENCE_S
from warppool.bitcoin.hashes import to_display
from warppool.events import BlockFound
from warppool.loop import ask_all
from warppool.mining.payee import POOL, Payee, Terms
from warppool.net.inbox import NotRecorded
from warppool.node import blocklines, journalthread
from warppool.node import submitter as module
from warppool.node.chainitems import JournalTold, OwnBlock
from warppool.node.items import (
    BestNode,
    DropBlock,
    Found,
    HasBlock,
    NodeHeard,
    Outcome,
    SubmitBlock,
    Verdict,
)
from warppool.node.journal import Journal
from warppool.node.journalthread import JournalThread, Kept, Written
from warppool.node.kernel import ChainTip
from warppool.node.openblock import WRITE_PATIENCE_S
from warppool.node.regtest import make_template
from warppool.node.submitter import NodeInbox, Submitter
from warppool.threads import STOP

pytestmark = pytest.mark.usefixtures("all_levels")


def found(height: int = 5, user: str = "alice.rig1") -> BlockFound:
    tip = ChainTip(height - 1, b"\x01" * 32, 0x207FFFFF, 0)
    return mine(make_template(9, tip, 1_700_000_000, "node-0"), user=user)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """Submitter and journal whose turns the test calls itself, between queues that keep what they are given.

    The disk works at once, unless `is_disk_slow`: then the journal takes nothing until `let_disk_work`.
    """

    def __init__(self, data_dir: Path, embedded: tuple[bool, ...] = (False,)) -> None:
        self.is_disk_slow = False
        self.inboxes = [NodeInbox(queue.Queue(), is_embedded) for is_embedded in embedded]
        self.books = RecordingBooks()
        self.replies: queue.Queue[Any] = queue.Queue()
        self.clock = Clock()
        inbox: queue.Queue[Any] = queue.Queue()
        self.journal = JournalThread(Journal(data_dir / "blocks"), inbox, monotonic=self.clock)
        self.submitter = Submitter(inbox, self.journal, dict(enumerate(self.inboxes)), self.books,
                                   unix=lambda: 1_700_000_123.5, monotonic=self.clock)
        self.replayed = self.submitter.replay()

    def turn(self, *items: object) -> None:
        self.submitter.turn(list(items))
        if not self.is_disk_slow:
            self.let_disk_work()

    def let_disk_work(self) -> None:
        """The journal does all that it can do now, and the submitter hears of it."""
        is_idle = False
        while not is_idle:
            for _ in range(3):                              # a file, its directory, and what came meanwhile
                self.journal.turn(_all_of(self.journal.inbox))
            answers = _all_of(self.submitter.inbox)
            self.submitter.turn(answers)
            is_idle = not answers and self.journal.inbox.empty() and self.journal._due() > -math.inf

    def found(self, *blocks: BlockFound) -> None:
        self.turn(*(Found(block, self.replies) for block in blocks))

    def outcome(self, block: BlockFound, verdict: Verdict, reason: str = "", node: int = 0) -> None:
        self.turn(Outcome(block.block_hash, node, verdict, reason))

    def handed(self, node: int = 0) -> list[SubmitBlock]:
        return _all_of(self.inboxes[node].inbox)

    def booked(self) -> list[tuple[Any, ...]]:
        """What the books heard since the last question, in short."""
        told, self.books.told[:] = list(self.books.told), []
        return [(each[0], each[1][0].share_hash) if each[0] == "shares" else each[:3] if each[0] == "outcome"
                else each[:2] for each in told]


def _all_of(inbox: queue.Queue[Any]) -> list[Any]:
    return [inbox.get_nowait() for _ in range(inbox.qsize())]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The names of the lines since the last question."""
    names = [record.getMessage().split()[0].removeprefix("event=") for record in caplog.records]
    caplog.clear()
    return names


def full_disk(patch: pytest.MonkeyPatch) -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "write", write)


def test_nodes_then_journal_and_what_is_said_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    rig = Rig(tmp_path, (False, True))
    rig.is_disk_slow = True

    class Steps(list[Any]):
        def append(self, told: Any) -> None:
            steps.append(f"books.{told[0]}")

    monkeypatch.setattr(blocklines, "say", lambda log, level, event, **fields: steps.append(event))
    rig.books.told = Steps()
    put = rig.journal.inbox.put
    monkeypatch.setattr(rig.journal.inbox, "put", lambda item: (steps.append("journal"), put(item)))
    for number, node_inbox in enumerate(rig.inboxes):
        monkeypatch.setattr(node_inbox.inbox, "put", lambda item, number=number: steps.append(f"node-{number}"))
    rig.found(found(), found())
    assert steps == ["node-0", "node-1", "journal", "block.submitted"] * 2
    steps.clear()
    rig.let_disk_work()
    assert steps == ["block.found", "books.block", "books.shares"] * 2


def test_a_found_block_is_said_booked_and_handed_to_every_node(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, (False, False))
    block = found(user='bob "x"')
    rig.found(block)
    shown = to_display(block.block_hash)
    assert [record.getMessage() for record in caplog.records] == [
        f"event=block.submitted height=5 hash={shown} nodes=2",
        f'event=block.found height=5 hash={shown} user="bob \\"x\\"" conn=7',
    ]
    assert rig.handed(0) == rig.handed(1) == [submission(block)]
    assert rig.books.told == [
        ("block", block.block_hash, 5, 'bob "x"', 1_700_000_123.5, pytest.approx(4.6565423739e-10)),
        ("shares", (block.share,), rig.replies),
    ]
    (entry,) = Journal(tmp_path / "blocks").load()
    assert (entry.block_hash, entry.data) == (block.block_hash, raw(block))
    assert (entry.user, entry.template_id, entry.is_whole) == (block.user, 9, True)


def test_a_block_whose_share_was_refused_books_no_share(rig: Rig) -> None:
    block = replace(found(), share=None)
    rig.found(block)
    assert rig.booked() == [("block", block.block_hash)]
    assert rig.handed() == [submission(block)]


def test_the_same_block_again_is_neither_said_nor_handed_on_but_its_share_is(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    block = found()
    rig.found(block, block)
    rig.found(block)
    assert events(caplog) == ["block.submitted", "block.found"]
    assert rig.handed() == [submission(block)]
    assert rig.booked() == [("block", block.block_hash), *[("shares", block.block_hash)] * 3]


def test_a_template_without_transactions_is_journaled_for_its_own_node(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    block = found()
    block = replace(block, template=replace(block.template, transactions=None))
    rig.found(block)
    assert events(caplog) == ["block.stranded", "block.found"]
    assert rig.handed() == []
    (entry,) = Journal(tmp_path / "blocks").load()
    assert (entry.is_whole, entry.data) == (False, block.header + block.coinbase_tx)


def test_outcomes_are_said_booked_and_end_the_entry(rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    block = found()
    rig.found(block)
    caplog.clear()
    rig.booked()
    rig.outcome(block, Verdict.SIDE, "inconclusive")
    rig.outcome(block, Verdict.ACCEPTED)
    rig.outcome(block, Verdict.ACCEPTED, "duplicate")
    shown = to_display(block.block_hash)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, f"event=block.side height=5 hash={shown} node=node-0 reason=inconclusive"),
        (logging.INFO, f"event=block.accepted height=5 hash={shown} node=node-0"),
    ]
    assert rig.booked() == [("outcome", block.block_hash, "side"), ("outcome", block.block_hash, "accepted")]
    assert len(Journal(tmp_path / "blocks").load()) == 1
    caplog.clear()
    rig.outcome(block, Verdict.BURIED)
    assert Journal(tmp_path / "blocks").load() == [] and events(caplog) == [] and rig.booked() == []


def test_an_entry_waits_for_the_node_that_is_away(tmp_path: Path) -> None:
    rig = Rig(tmp_path, (False, False))
    block = found()
    rig.found(block)
    rig.outcome(block, Verdict.ACCEPTED, node=0)
    rig.outcome(block, Verdict.BURIED, node=0)
    assert len(Journal(tmp_path / "blocks").load()) == 1
    rig.outcome(block, Verdict.REFUSED, "bad-prevblk", node=1)
    assert Journal(tmp_path / "blocks").load() == []


def test_a_block_is_critical_and_set_aside_only_when_every_node_refused_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, (False, False))
    block = found()
    rig.found(block)
    caplog.clear()
    rig.outcome(block, Verdict.REFUSED, "high-hash", node=1)
    rig.outcome(block, Verdict.REFUSED, "bad-cb-amount", node=0)
    assert [(record.levelno, record.getMessage().split()[0]) for record in caplog.records] == [
        (logging.ERROR, "event=block.refused"),
        (logging.CRITICAL, "event=block.refused"),
        (logging.WARNING, "event=block.set_aside"),
    ]
    assert "reason=bad-cb-amount" in caplog.text
    assert Journal(tmp_path / "blocks").load() == []
    assert [path.suffix for path in (tmp_path / "blocks").iterdir()] == [".refused"]


def test_one_node_that_accepts_is_enough_for_the_books(tmp_path: Path) -> None:
    rig = Rig(tmp_path, (False, False))
    block = found()
    rig.found(block)
    rig.booked()
    rig.outcome(block, Verdict.REFUSED, "bad-prevblk", node=1)
    rig.outcome(block, Verdict.ACCEPTED, node=0)
    rig.outcome(block, Verdict.SIDE, "inconclusive", node=1)
    assert rig.booked() == [("outcome", block.block_hash, "refused"), ("outcome", block.block_hash, "accepted")]


def test_a_replay_hands_all_on_in_order_and_says_only_what_is_new(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = Rig(tmp_path, (False, False))
    blocks = [found(6), found(5), found(6), found(6)]
    before.found(*blocks)
    before.outcome(blocks[0], Verdict.ACCEPTED, node=0)
    caplog.clear()

    rig = Rig(tmp_path, (False, False))
    in_order = [blocks[1], blocks[0], blocks[2], blocks[3]]         # by height, then as they were found
    assert rig.replayed == 4 and events(caplog) == ["journal.replayed"]
    replays = [replace(submission(block), is_replay=True) for block in in_order]
    assert rig.handed(0) == [replay if replay.block_hash != blocks[0].block_hash else replace(replay, is_known=True)
                             for replay in replays]
    assert rig.handed(1) == replays
    assert rig.booked() == [
        ("block", blocks[1].block_hash), ("block", blocks[0].block_hash),
        ("outcome", blocks[0].block_hash, "accepted"),
        ("block", blocks[2].block_hash), ("block", blocks[3].block_hash),
    ]
    rig.outcome(blocks[0], Verdict.ACCEPTED, "duplicate", node=0)
    assert events(caplog) == [] and rig.booked() == []
    rig.outcome(blocks[0], Verdict.ACCEPTED, "duplicate", node=1)
    rig.outcome(blocks[1], Verdict.ACCEPTED, "duplicate", node=0)
    assert events(caplog) == ["block.accepted", "block.accepted"]
    assert rig.booked() == [("outcome", blocks[1].block_hash, "accepted")]
    later = found(6)
    rig.found(later)
    assert Journal(tmp_path / "blocks").load()[-1].block_hash == later.block_hash


def test_a_full_disk_costs_no_block_and_its_share_waits_for_the_journal(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    block = found()
    with monkeypatch.context() as patch:
        full_disk(patch)
        rig.found(block)
        critical = caplog.records[1]
        assert critical.levelno == logging.CRITICAL
        assert 'reason="No space left on device" cure="free space on the disk of data_dir' in critical.getMessage()
        assert events(caplog) == ["block.submitted", "block.unjournaled"]
        assert rig.handed() == [submission(block)]
        rig.clock.now += journalthread.RETRY_S
        rig.turn()
        assert events(caplog) == [] and rig.booked() == []
    rig.turn()
    assert events(caplog) == []                     # not before the next try is due
    rig.clock.now += journalthread.RETRY_S
    rig.turn()
    assert events(caplog) == ["block.found", "journal.recovered"]
    assert rig.booked() == [("block", block.block_hash), ("shares", block.block_hash)]
    assert [each.block_hash for each in Journal(tmp_path / "blocks").load()] == [block.block_hash]
    assert rig.handed() == [] and rig.replies.empty()


def test_a_node_that_took_the_block_stands_in_for_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, (True, False))
    block = found()
    with monkeypatch.context() as patch:
        full_disk(patch)
        rig.found(block)
        caplog.clear()
        rig.outcome(block, Verdict.ACCEPTED, node=0)        # the embedded chain forgets it if this process dies
        assert events(caplog) == ["block.accepted"]
        assert [each[0] for each in rig.booked()] == ["outcome"]
        rig.outcome(block, Verdict.ACCEPTED, node=1)
    assert events(caplog) == ["block.found", "block.accepted"]
    assert rig.booked() == [("block", block.block_hash), ("shares", block.block_hash)]
    rig.clock.now += journalthread.RETRY_S
    rig.turn()
    (entry,) = Journal(tmp_path / "blocks").load()          # late, and with what was said meanwhile
    assert [(told.node, told.verdict) for told in entry.told] == [(0, Verdict.ACCEPTED), (1, Verdict.ACCEPTED)]


def test_the_embedded_chain_stands_in_once_it_has_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, (True,))
    block = found()
    full_disk(monkeypatch)
    rig.found(block)
    caplog.clear()
    rig.outcome(block, Verdict.BURIED)
    assert events(caplog) == ["block.found"]
    assert rig.booked() == [("block", block.block_hash), ("shares", block.block_hash)]
    rig.clock.now += journalthread.RETRY_S
    rig.turn()
    assert events(caplog) == []                             # there is nothing left to journal


def test_a_share_is_refused_when_its_block_is_not_safe_in_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    block = found()
    assert block.share is not None
    with monkeypatch.context() as patch:
        full_disk(patch)
        rig.found(block)
        rig.clock.now += module.SHARE_PATIENCE_S - 0.1
        rig.turn()
        assert rig.replies.empty()
        rig.clock.now += 0.1
        rig.turn()
    assert rig.replies.get_nowait() == NotRecorded(((block.share.conn_id, block.share.share_id),))
    rig.clock.now += journalthread.RETRY_S
    rig.turn()
    assert rig.booked() == [("block", block.block_hash)]    # the block counts, its share is gone for good
    assert rig.replies.empty()


def test_a_disk_that_refuses_outcomes_is_said_once_and_costs_nothing(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = [found(5), found(6)]
    rig.found(*blocks)
    caplog.clear()
    with monkeypatch.context() as patch:
        full_disk(patch)
        for block in blocks:
            rig.outcome(block, Verdict.ACCEPTED)
    assert events(caplog) == ["block.accepted", "journal.refused", "block.accepted"]
    assert [each.told for each in Journal(tmp_path / "blocks").load()] == [(), ()]


def test_a_reorganization_of_a_buried_block_is_said_and_booked(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    block = found()
    rig.found(block)
    rig.outcome(block, Verdict.BURIED)
    caplog.clear()
    rig.booked()
    rig.outcome(block, Verdict.SIDE, "reorganized")
    assert events(caplog) == ["block.side"]
    assert rig.booked() == [("outcome", block.block_hash, "side")]


# A slow disk, and what makes a block safe.

def test_a_disk_that_needs_eight_seconds_delays_no_node_and_a_nodes_word_records_the_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In their threads: the fsync stands until the test lets go."""
    rig, block = Rig(tmp_path, (False, False)), found()
    released, entered = threading.Event(), threading.Event()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (entered.set(), released.wait(PATIENCE_S)))
    journal = threading.Thread(target=rig.journal.run, name="journal")
    journal.start()
    try:
        with running(rig) as submitter:
            submitter.inbox.put(Found(block, rig.replies))
            assert entered.wait(PATIENCE_S) and ask_all([submitter], PATIENCE_S)
            assert rig.handed(0) == rig.handed(1) == [submission(block)]
            assert rig.booked() == [] and events(caplog) == ["block.submitted"]
            submitter.inbox.put(HasBlock(block.block_hash, 1))
            assert ask_all([submitter], PATIENCE_S)
            assert rig.booked() == [("block", block.block_hash), ("shares", block.block_hash)]
            assert events(caplog) == ["block.found"]
            assert [each.block_hash for each in Journal(tmp_path / "blocks").load()] == [block.block_hash]
    finally:
        released.set()
        rig.journal.inbox.put(STOP)
        journal.join(PATIENCE_S)


def test_a_nodes_word_waits_for_the_journal_file_since_node_and_pool_may_die_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that is killed forgets what it had not flushed. What neither it nor a file has is not acknowledged."""
    rig, block = Rig(tmp_path), found()
    rig.is_disk_slow = True
    rig.found(block)
    rig.turn(HasBlock(block.block_hash, 0))
    rig.outcome(block, Verdict.ACCEPTED)
    assert rig.booked() == [] and events(caplog) == ["block.submitted"]
    assert Journal(tmp_path / "blocks").load() == []
    rig.journal.turn(_all_of(rig.journal.inbox))            # written, not synced
    (written,) = _all_of(rig.submitter.inbox)
    assert written == Written(block.block_hash) and len(Journal(tmp_path / "blocks").load()) == 1
    rig.turn(written)
    assert events(caplog) == ["block.found", "block.accepted"]
    assert rig.booked() == [("block", block.block_hash), ("shares", block.block_hash),
                            ("outcome", block.block_hash, "accepted")]


def test_a_disk_that_does_not_even_write_is_waited_for_two_seconds_where_a_node_has_the_block(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig, block = Rig(tmp_path), found()
    rig.is_disk_slow = True
    rig.found(block)
    rig.clock.now += 1
    rig.turn(HasBlock(block.block_hash, 0))
    rig.clock.now += WRITE_PATIENCE_S - 0.01
    rig.turn(HasBlock(block.block_hash, 0))                 # said again: the time counts from the first word
    assert rig.submitter._due() == pytest.approx(rig.clock.now + 0.01)
    assert rig.booked() == [] and events(caplog) == ["block.submitted"]
    rig.clock.now += 0.01
    rig.turn()
    assert rig.booked() == [("block", block.block_hash), ("shares", block.block_hash)]
    assert events(caplog) == ["block.found"]


def test_what_an_embedded_chain_has_makes_no_block_safe(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig, block = Rig(tmp_path, (True,)), found()
    rig.is_disk_slow = True
    rig.found(block)
    rig.turn(HasBlock(block.block_hash, 0))
    rig.outcome(block, Verdict.ACCEPTED)
    assert rig.booked() == [] and events(caplog) == ["block.submitted"]
    rig.let_disk_work()
    assert rig.booked() == [("block", block.block_hash), ("shares", block.block_hash),
                            ("outcome", block.block_hash, "accepted")]
    assert events(caplog) == ["block.found", "block.accepted"]


# Verdicts and the end of an entry.

def test_a_verdict_is_said_and_booked_whenever_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig, block = Rig(tmp_path), found()
    rig.found(block)
    caplog.clear()
    rig.booked()
    for verdict in (Verdict.ACCEPTED, Verdict.SIDE, Verdict.SIDE, Verdict.ACCEPTED, Verdict.SIDE, Verdict.ACCEPTED):
        rig.outcome(block, verdict)
    said = ["accepted", "side", "accepted", "side", "accepted"]
    assert events(caplog) == [f"block.{word}" for word in said]
    assert rig.booked() == [("outcome", block.block_hash, word) for word in said]
    again = Rig(tmp_path)                               # and a restart says only what is not the last word
    caplog.clear()
    again.outcome(block, Verdict.ACCEPTED)
    again.outcome(block, Verdict.SIDE)
    assert events(caplog) == ["block.side"]


def test_an_entry_leaves_when_the_best_node_has_buried_it_and_the_other_lags(tmp_path: Path) -> None:
    rig, block = Rig(tmp_path, (False, False)), found(50)
    rig.found(block)
    rig.handed(0), rig.handed(1)
    rig.turn(BestNode(0), NodeHeard(0, 56), NodeHeard(1, 50))
    rig.outcome(block, Verdict.ACCEPTED, node=0)
    rig.outcome(block, Verdict.BURIED, node=0)
    assert len(Journal(tmp_path / "blocks").load()) == 1            # the other one is only six behind
    rig.turn(NodeHeard(0, 57))
    rig.clock.now += module.SWEEP_EVERY_S
    rig.turn()
    assert Journal(tmp_path / "blocks").load() == []
    assert rig.handed(0) == [] and rig.handed(1) == [DropBlock(block.block_hash)]


def test_an_entry_waits_for_the_node_of_the_best_tip(tmp_path: Path) -> None:
    rig, block = Rig(tmp_path, (False, False)), found(50)
    rig.found(block)
    rig.turn(BestNode(1), NodeHeard(0, 20), NodeHeard(1, 56))
    rig.outcome(block, Verdict.BURIED, node=0)
    assert len(Journal(tmp_path / "blocks").load()) == 1
    rig.turn(BestNode(0))
    rig.turn(NodeHeard(1, None))
    assert len(Journal(tmp_path / "blocks").load()) == 1            # node 1 is well ahead of what 0 has
    rig.clock.now += 24 * 3600 + 1
    rig.turn()
    assert Journal(tmp_path / "blocks").load() == []                # and has been silent for a day


# In its thread.

@contextmanager
def running(rig: Rig) -> Iterator[Submitter]:
    before = threading.active_count()
    thread = threading.Thread(target=rig.submitter.run, name="submitter")
    thread.start()
    try:
        yield rig.submitter
    finally:
        rig.submitter.inbox.put(STOP)
        thread.join(PATIENCE_S)
    assert threading.active_count() == before


def test_an_answer_proves_that_all_before_it_is_handed_on(rig: Rig) -> None:
    blocks = [found(5) for _ in range(300)]             # more than one turn takes
    with running(rig) as submitter:
        for block in blocks:
            submitter.inbox.put(Found(block, rig.replies))
        assert ask_all([submitter], PATIENCE_S)
        assert rig.handed() == [submission(block) for block in blocks]
    report, = ask_all([submitter], PATIENCE_S)
    assert (report.name, report.blocks, report.open, report.unsafe) == ("submitter", 300, 300, 300)


def test_a_block_that_cannot_be_assembled_costs_only_its_own_share(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    broken, block = replace(found(), header=b"short"), found()
    assert broken.share is not None
    rig.found(broken, block)
    assert rig.handed() == [submission(block)]
    assert rig.replies.get_nowait() == NotRecorded(((broken.share.conn_id, broken.share.share_id),))
    assert "event=block.unmade" in caplog.text


def test_a_fault_in_one_turn_does_not_end_the_thread(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    block = found()
    with running(rig) as submitter:
        submitter.inbox.put(Found(block, None))
        submitter.inbox.put(Kept(None))         # type: ignore[arg-type]
        assert ask_all([submitter], PATIENCE_S)
        submitter.inbox.put(Written(block.block_hash))
        submitter.inbox.put(Outcome(block.block_hash, 0, Verdict.ACCEPTED, ""))
        assert ask_all([submitter], PATIENCE_S)
    assert "event=thread.failed thread=submitter" in caplog.text and "event=block.accepted" in caplog.text


def test_a_stop_refuses_the_shares_that_are_not_safe(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    block = found()
    assert block.share is not None
    full_disk(monkeypatch)
    with running(rig) as submitter:
        submitter.inbox.put(Found(block, rig.replies))
        assert ask_all([submitter], PATIENCE_S)
    assert rig.replies.get_nowait() == NotRecorded(((block.share.conn_id, block.share.share_id),))


# --- other nodes ------------------------------------------------------------------------------------------------------

def reconfigure(rig: Rig, *numbers: int) -> None:
    """From now on the nodes are those of these numbers."""
    while len(rig.inboxes) <= max(numbers):
        rig.inboxes.append(NodeInbox(queue.Queue(), False))
    rig.submitter.reconfigure({number: rig.inboxes[number] for number in numbers})
    rig.turn()


def test_a_node_that_is_added_gets_every_block_that_waits(rig: Rig) -> None:
    first, second = found(5), found(6)
    rig.found(first, second)
    rig.outcome(first, Verdict.ACCEPTED)
    reconfigure(rig, 0, 1)
    assert [(each.block_hash, each.is_replay, each.is_known) for each in rig.handed(1)] == [
        (first.block_hash, True, False), (second.block_hash, True, False)]
    rig.handed(0)
    rig.found(third := found(7))
    assert [each.block_hash for each in (*rig.handed(0), *rig.handed(1))] == [third.block_hash] * 2


def test_a_node_that_is_gone_gets_no_block_and_is_not_waited_for(tmp_path: Path) -> None:
    rig = Rig(tmp_path, (False, False))
    rig.found(block := found())
    rig.handed(1)
    rig.outcome(block, Verdict.ACCEPTED)
    rig.outcome(block, Verdict.BURIED)
    assert rig.submitter._open
    reconfigure(rig, 0)
    assert not rig.submitter._open, "the other one was all that the entry waited for"
    rig.found(found(6))
    assert rig.handed(1) == []


def test_what_a_node_says_after_it_is_gone_is_not_heard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(tmp_path, (False, False))
    rig.found(block := found())
    reconfigure(rig, 0)
    events(caplog)
    rig.turn(Outcome(block.block_hash, 1, Verdict.BURIED, ""), HasBlock(block.block_hash, 1), NodeHeard(1, 99),
             BestNode(1))
    assert events(caplog) == [] and rig.submitter._open
    assert rig.submitter._takers.best is None


def test_a_block_that_all_remaining_nodes_refuse_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(tmp_path, (False, False))
    rig.found(block := found())
    rig.outcome(block, Verdict.REFUSED, "high-hash", node=0)
    assert rig.submitter._open
    reconfigure(rig, 0)
    assert not rig.submitter._open and "block.set_aside" in events(caplog)


def test_no_order_of_reloads_loses_a_block_that_nobody_has_buried(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.found(block := found())
    for numbers in ((1,), (2, 1), (2,), (0, 3), (0,)):
        reconfigure(rig, *numbers)
        assert block.block_hash in rig.submitter._open
    assert len([each for each in rig.handed(0) if each.block_hash == block.block_hash]) == 2, "at first, and come back"
    assert [entry.block_hash for entry in Journal(tmp_path / "blocks").load()] == [block.block_hash]


def test_a_replay_tells_nothing_twice_whatever_place_a_node_has_now(tmp_path: Path, caplog: pytest.LogCaptureFixture
                                                                    ) -> None:
    rig = Rig(tmp_path)
    reconfigure(rig, 0, 4)
    rig.found(block := found())
    rig.outcome(block, Verdict.ACCEPTED, node=4)
    again = Rig(tmp_path)
    reconfigure(again, 4, 0)
    events(caplog)
    again.outcome(block, Verdict.ACCEPTED, node=4)
    assert "block.accepted" not in events(caplog)
    again.outcome(block, Verdict.ACCEPTED, node=0)
    assert "block.accepted" in events(caplog)


ACCOUNT = "bcrt1qaccount"
TERMS = Terms(ACCOUNT, b"", 0, 5_000_000_000, 0, b"\x51", False)


def test_who_follows_payouts_hears_of_a_block_before_any_node(tmp_path: Path) -> None:
    told: queue.Queue[Any] = queue.Queue()
    journal = JournalThread(Journal(tmp_path / "blocks"), queue.Queue())
    submitter = Submitter(queue.Queue(), journal, {0: NodeInbox(told, False)}, RecordingBooks(), payout=told,
                          unix=lambda: 1_700_000_123.5)
    submitter.replay()
    assert told.get_nowait() == JournalTold()
    block = replace(found(), payee=Payee(ACCOUNT, b"\x51", 0), terms=TERMS)
    submitter.turn([Found(block, None), Found(block, None)])
    own, handed = told.get_nowait(), told.get_nowait()
    assert own == OwnBlock(block.block_hash, 5, block.header, block.coinbase_tx, TERMS, ACCOUNT, 1_700_000_123.5)
    assert isinstance(handed, SubmitBlock) and told.empty()

    journal.turn([journal.inbox.get_nowait()])              # written: so the next start has it
    again: queue.Queue[Any] = queue.Queue()
    Submitter(queue.Queue(), JournalThread(Journal(tmp_path / "blocks"), queue.Queue()), {0: NodeInbox(again, False)},
              RecordingBooks(), payout=again).replay()
    assert again.get_nowait() == replace(own, is_replay=True)
    assert isinstance(again.get_nowait(), SubmitBlock)
    assert again.get_nowait() == JournalTold() and again.empty()


def test_a_block_of_mode_pool_has_no_terms(tmp_path: Path) -> None:
    told: queue.Queue[Any] = queue.Queue()
    submitter = Submitter(queue.Queue(), JournalThread(Journal(tmp_path / "blocks"), queue.Queue()), {},
                          RecordingBooks(), payout=told)
    submitter.turn([Found(replace(found(), payee=POOL, terms=replace(TERMS, account="")), None)])
    own = told.get_nowait()
    assert (own.terms, own.finder) == (None, "")
