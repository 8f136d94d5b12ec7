"""Thread `journal`: blocks are written before any wait for the disk, and nothing is said that a crash could undo."""

from __future__ import annotations

import errno
import math
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.node.test_journal import entry
from tests.patience import PATIENCE_S
from warppool.node.items import Verdict
from warppool.node.journal import Entry, Journal, Told
from warppool.node.journalthread import (
    LOG_LOOK_S,
    STOP_PATIENCE_S,
    Forget,
    JournalThread,
    Keep,
    Kept,
    NoteOutcome,
    SetAside,
    Unkept,
    Written,
)
from warppool.threads import STOP

pytestmark = pytest.mark.usefixtures("all_levels")


class Rig:
    """The thread's object, whose turns the test calls, and a clock that stands still."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "blocks"
        self.now = 1000.0
        self.log = (0, 0)                       # bytes given to the log, bytes written by it
        self.answers: queue.Queue[Any] = queue.Queue()
        self.written: list[bytes] = []
        self.thread = JournalThread(Journal(self.directory), self.answers, monotonic=lambda: self.now,
                                    log_progress=lambda: self.log)
        self.thread.load()

    def turn(self, *items: object) -> None:
        self.thread.turn(list(items))

    def finish(self) -> None:
        """As many turns as the disk has something to do."""
        while self.thread._due() == -math.inf:
            self.turn()

    def heard(self) -> list[object]:
        """What it said since the last question, but for the files that were written."""
        said = [self.answers.get_nowait() for _ in range(self.answers.qsize())]
        self.written += [each.block_hash for each in said if isinstance(each, Written)]
        return [each for each in said if not isinstance(each, Written)]

    def on_disk(self) -> list[Entry]:
        return Journal(self.directory).load()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_group_is_written_at_once_and_shares_one_fsync_of_the_directory(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def noted_rename(source: Path, target: Path) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_rename)
    blocks = [entry(5), entry(6), entry(7)]
    rig.turn(*map(Keep, blocks))
    assert steps == ["rename"] * 3 + ["file"] and rig.heard() == []
    assert rig.written == [block.block_hash for block in blocks]
    rig.finish()
    assert steps == ["rename"] * 3 + ["file"] * 3 + ["directory"]
    assert rig.heard() == [Kept(tuple(block.block_hash for block in blocks))]


def test_a_block_that_comes_during_an_fsync_is_written_before_the_next(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = entry(5), entry(6)
    rig.turn(Keep(first), Keep(second))
    late = entry(7)
    seen: list[bool] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(late in rig.on_disk()), fsync(descriptor)))
    rig.turn(Keep(late))
    assert seen == [True]
    rig.finish()
    assert rig.heard() == [Kept((first.block_hash, second.block_hash)), Kept((late.block_hash,))]


def test_a_disk_that_refuses_is_said_once_for_each_block_and_tried_every_second(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = entry()
    with monkeypatch.context() as patch:
        def write(descriptor: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "write", write)
        for _ in range(3):
            rig.turn(*([Keep(block)] if rig.now == 1000.0 else []))
            rig.now += 1.0
        rig.turn(NoteOutcome(block.block_hash, told := Told(0, Verdict.ACCEPTED, "")))
    assert rig.heard() == [Unkept(block.block_hash, "No space left on device")]
    rig.now += 1.0
    rig.turn()
    rig.finish()
    assert rig.heard() == [Kept((block.block_hash,))]
    assert [each.told for each in rig.on_disk()] == [(told,)]           # what was said meanwhile, too


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_fsync_keeps_nothing_until_one_works(rig: Rig, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    block, calls = entry(), []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing:                       # 1: of the file, 2: of the directory
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    rig.turn(Keep(block))
    rig.finish()
    assert rig.heard() == [Unkept(block.block_hash, "Input/output error")]
    rig.now += 1.0
    rig.turn()
    rig.finish()
    assert rig.heard() == [Kept((block.block_hash,))] and rig.on_disk() == [block]


def test_a_block_that_is_forgotten_or_set_aside_before_the_disk_has_it(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    gone, aside = entry(5), entry(6)
    rig.turn(Keep(gone), Keep(aside), Forget(gone.block_hash), SetAside(aside))
    rig.finish()
    assert rig.heard() == [] and rig.on_disk() == []
    assert [path.suffix for path in rig.directory.iterdir()] == [".refused"]
    assert "event=block.set_aside" in caplog.text


def test_nothing_is_noted_as_told_before_the_log_has_written_it(rig: Rig) -> None:
    """A killed process takes the lines with it that wait for whoever reads them: the next one is to say them again."""
    first, second = entry(5), entry(6)
    rig.turn(Keep(first), Keep(second))
    rig.finish()
    rig.log = (100, 60)
    rig.turn(NoteOutcome(first.block_hash, told := Told(0, Verdict.ACCEPTED, "")))
    rig.log = (130, 99)
    rig.turn(NoteOutcome(second.block_hash, told), Forget(first.block_hash))
    assert [each.told for each in rig.on_disk()] == [(), ()]
    assert rig.thread._due() <= rig.now + LOG_LOOK_S                        # it looks again, and does not spin
    rig.log = (200, 100)
    rig.turn()
    assert [(each.block_hash, each.told) for each in rig.on_disk()] == [
        (first.block_hash, (told,)), (second.block_hash, ())]
    rig.log = (200, 130)
    rig.turn()
    assert [(each.block_hash, each.told) for each in rig.on_disk()] == [(second.block_hash, (told,))]
    assert rig.thread._due() == math.inf


def test_a_log_that_nobody_reads_holds_no_block_up_and_no_stop(rig: Rig) -> None:
    rig.log = (1, 0)
    rig.turn(Keep(block := entry(5)), NoteOutcome(block.block_hash, Told(0, Verdict.ACCEPTED, "")))
    rig.finish()
    assert rig.heard() == [Kept((block.block_hash,))]
    rig.thread.is_stopping = True
    rig.turn()
    assert not rig.thread.is_done()
    rig.now += STOP_PATIENCE_S
    rig.turn()
    assert rig.thread.is_done()
    assert [each.told for each in rig.on_disk()] == [()]


def test_housekeeping_that_fails_is_said_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    block = entry()
    rig.turn(Keep(block))

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        rig.turn(*[NoteOutcome(block.block_hash, Told(0, Verdict.ACCEPTED, ""))] * 3)
    assert caplog.text.count("event=journal.refused") == 1


# Killed between any two steps.

class Killed(BaseException):
    """kill -9: nothing after it happens."""


STEPS = ("open", "write", "fsync", "replace", "close")


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> list[int]:
    """Every call of the system that the journal makes counts; call number `step` is the last one, and does nothing."""
    count = [0]
    for name in STEPS:
        real = getattr(os, name)

        def call(*args: Any, real: Any = real) -> Any:
            count[0] += 1
            if count[0] >= step:
                raise Killed
            return real(*args)

        monkeypatch.setattr(os, name, call)
    return count


def test_a_kill_between_any_two_steps_loses_no_block_that_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                   ) -> None:
    """Whatever step is the last: what the submitter heard `Kept` of is there, and so is all that has its name."""
    step = 0
    while True:
        step += 1
        rig = Rig(tmp_path / str(step))
        blocks = [entry(5), entry(6), entry(7)]
        with monkeypatch.context() as patch:
            die_at(patch, step)
            try:
                rig.turn(Keep(blocks[0]), Keep(blocks[1]))
                rig.turn(Keep(blocks[2]), NoteOutcome(blocks[0].block_hash, Told(0, Verdict.ACCEPTED, "")))
                rig.finish()
                died = False
            except Killed:
                died = True
        there = {each.block_hash for each in rig.on_disk()}
        said = {block_hash for answer in rig.heard() if isinstance(answer, Kept) for block_hash in answer.hashes}
        named = {each.block_hash for each in blocks if each.block_hash in rig.thread._journal}
        assert said <= there and named <= there, step
        if not died:
            assert said == {block.block_hash for block in blocks}
            break
    assert step > 20


# In its thread.

def running(thread: JournalThread) -> threading.Thread:
    runner = threading.Thread(target=thread.run, name="journal")
    runner.start()
    return runner


def test_it_syncs_what_a_killed_process_had_only_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "blocks")
    journal.load()
    block = entry()
    journal.write(block)
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor)))
    thread = JournalThread(Journal(tmp_path / "blocks"), answers := queue.Queue())
    assert thread.load() == [block]
    runner = running(thread)
    assert answers.get(timeout=PATIENCE_S) == Kept((block.block_hash,)) and len(synced) == 2
    thread.inbox.put(STOP)
    runner.join(PATIENCE_S)


def test_a_stop_writes_all_and_leaves_a_slow_disk_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand blocks wait for a disk whose fsync takes its time: they are written, and the thread ends."""
    blocks = [entry(height) for height in range(1, 1001)]
    thread = JournalThread(Journal(tmp_path / "blocks"), queue.Queue())
    thread.load()
    monkeypatch.setattr(os, "fsync", lambda descriptor: time.sleep(0.05))
    for block in blocks:
        thread.inbox.put(Keep(block))
    thread.inbox.put(STOP)
    runner = running(thread)
    runner.join(PATIENCE_S)                             # not after 50 s
    assert not runner.is_alive()
    assert Journal(tmp_path / "blocks").load() == blocks


def test_its_beat_shows_a_step_that_hangs_and_nothing_while_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                     ) -> None:
    released, entered = threading.Event(), threading.Event()
    thread = JournalThread(Journal(tmp_path / "blocks"), answers := queue.Queue())
    thread.load()
    assert thread.beat == float("inf")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (entered.set(), released.wait(PATIENCE_S)))
    runner = running(thread)
    thread.inbox.put(Keep(entry()))
    assert entered.wait(PATIENCE_S)
    assert thread.beat <= time.monotonic()
    released.set()
    answers.get(timeout=PATIENCE_S)
    thread.inbox.put(STOP)
    runner.join(PATIENCE_S)
    assert thread.beat == float("inf")


def test_a_fault_in_one_item_costs_the_blocks_beside_it_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    first, second = entry(5), entry(6)
    rig.turn(Keep(first), Keep(None), NoteOutcome(None, None), Keep(second))       # type: ignore[arg-type]
    rig.finish()
    assert rig.heard() == [Kept((first.block_hash, second.block_hash))]
    assert "event=thread.failed thread=journal step=_do" in caplog.text
    assert (rig.thread.report().kept, rig.thread.report().unsynced, rig.thread.report().unwritten) == (2, 0, 0)
