"""Submitter and block journal as pool and template provider have them."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.node.books import RecordingBooks
from tests.node.test_journal import entry
from tests.patience import PATIENCE_S, until
from warppool.node.items import Verdict
from warppool.node.journal import Journal, Told
from warppool.node.journalthread import Keep, Kept, NoteOutcome, Written
from warppool.service import blockpath
from warppool.service.blockpath import BlockPath
from warppool.threads import STOP


class NoNodes:
    inboxes: dict[int, Any] = {}


def test_its_journal_notes_what_was_told_once_the_programs_log_has_written_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = [1, 0]                                            # bytes given to the log, bytes written
    monkeypatch.setattr(blockpath, "progress", lambda: tuple(log))
    outcomes: queue.Queue[Any] = queue.Queue()
    path = BlockPath(tmp_path, outcomes, NoNodes(), RecordingBooks(), None)     # type: ignore[arg-type]
    assert path.submitter.replay() == 0                     # which makes the folder
    thread = threading.Thread(target=path.journal.run, name="journal")
    thread.start()
    try:
        path.journal.inbox.put(Keep(block := entry(5)))
        path.journal.inbox.put(NoteOutcome(block.block_hash, told := Told(0, Verdict.ACCEPTED, "")))
        assert isinstance(outcomes.get(timeout=PATIENCE_S), Written)
        assert outcomes.get(timeout=PATIENCE_S) == Kept((block.block_hash,))
        assert [each.told for each in Journal(tmp_path / "blocks").load()] == [()]
        log[1] = 1
        until(lambda: [each.told for each in Journal(tmp_path / "blocks").load()] == [(told,)])
    finally:
        log[1] = 1
        path.journal.inbox.put(STOP)
        thread.join(PATIENCE_S)
