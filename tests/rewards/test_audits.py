"""Each settled block has its export in data_dir/audits, whenever the daemon was killed."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace

from tests.ledger.books import opened
from tests.payout.exports import HEIGHT
from tests.rewards.world import BLOCK, mine, some_shares
from warppool import files
from warppool.errors import LedgerError
from warppool.ledger.payoutitems import Booking, KeepSnapshot
from warppool.ledger.sqlitereader import SqliteReader
from warppool.payout.audit import audit
from warppool.payout.moves import find, settle
from warppool.rewards.audits import AuditWriter, WriteAudit, audit_file


def writer(path) -> AuditWriter:
    return AuditWriter(path.parent, lambda: SqliteReader(path))


def test_a_settled_block_has_a_file_that_the_audit_takes(path, caplog):
    caplog.set_level("INFO")
    mine(path, some_shares(), is_settled=False)
    thread = writer(path)
    assert thread.turn([]) == math.inf
    assert not (path.parent / "audits").exists(), "it is not settled yet"
    assert thread.turn([WriteAudit(BLOCK)]) == math.inf
    file = audit_file(path.parent, HEIGHT, BLOCK)
    assert audit(file.read_text().splitlines()).claim.block_hash == BLOCK
    assert [each.name for each in file.parent.iterdir()] == [f"0000840000-{'0a' * 32}.jsonl"]
    assert "event=audit.written height=840000" in caplog.text


def test_a_file_that_is_missing_at_a_start_is_written_and_one_that_is_there_stays(path):
    mine(path, some_shares())
    writer(path).turn([])
    file = audit_file(path.parent, HEIGHT, BLOCK)
    first = file.read_bytes()
    file.write_bytes(b"kept")
    thread = writer(path)
    thread.turn([])
    assert thread.turn([WriteAudit(BLOCK), WriteAudit(BLOCK), WriteAudit(b"\x01" * 32)]) == -math.inf
    assert thread.turn([]) == math.inf
    assert file.read_bytes() == b"kept"
    file.unlink()
    writer(path).turn([])
    assert file.read_bytes() == first


def test_a_disk_that_refuses_is_said_once_and_asked_again(path, monkeypatch, caplog):
    mine(path, some_shares())
    thread = writer(path)
    refusing = True

    def sync(folder):
        if refusing:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", sync)
    monkeypatch.setattr(files, "sync_folder", sync)
    assert thread.turn([]) < math.inf
    assert thread.turn([]) < math.inf
    assert caplog.text.count("event=audit.failed") == 1 and "No space left" in caplog.text
    assert list((path.parent / "audits").iterdir()) == []
    refusing = False
    assert thread.turn([]) == math.inf
    assert audit_file(path.parent, HEIGHT, BLOCK).exists()


def test_books_that_cannot_be_read_are_asked_again(path):
    def refuse():
        raise LedgerError("it hangs")

    thread = AuditWriter(path.parent, refuse)
    assert thread.turn([WriteAudit(BLOCK)]) < math.inf
    mine(path, some_shares())
    thread._open_reader = lambda: SqliteReader(path)
    assert thread.turn([]) == math.inf
    assert audit_file(path.parent, HEIGHT, BLOCK).exists()


def test_one_damaged_snapshot_keeps_no_other_block_waiting(path, caplog):
    mined = mine(path, some_shares())
    other = replace(mined.block, hash=b"\x01" * 32, height=HEIGHT - 1, snapshot_id=b"\x02" * 16)
    position, found = find(other.hash, ())
    with closing(opened(path)) as books:
        kept = KeepSnapshot(b"\x02" * 16, b"\x09" * 32, 1.0, b"no snapshot")
        assert books.write([], {}, [Booking((kept, other, found, settle(position)[1]))]) == []
    thread = writer(path)
    assert [thread.turn([]) == -math.inf for _ in range(2)] == [True, False]        # a file a turn
    assert audit_file(path.parent, HEIGHT, BLOCK).exists()
    assert "is damaged" in caplog.text
    assert thread.turn([]) < math.inf and caplog.text.count("event=audit.failed") == 1


def test_a_block_that_paid_one_account_has_no_file_and_takes_no_turn(path):
    mined = mine(path, some_shares())
    alone = replace(mined.block, hash=b"\x01" * 32, mode="solo", account=mined.block.finder, snapshot_id=b"", room=0)
    position, found = find(alone.hash, ())
    with closing(opened(path)) as books:
        assert books.write([], {}, [Booking((alone, found, settle(position)[1]))]) == []
    thread = writer(path)
    assert thread.turn([]) == math.inf
    assert thread.turn([WriteAudit(alone.hash)]) == math.inf
    assert [each.name for each in (path.parent / "audits").iterdir()] == [f"0000840000-{'0a' * 32}.jsonl"]


def test_a_stop_amid_a_file_leaves_it_to_the_next_start(path):
    mine(path, some_shares())
    thread = writer(path)
    thread.stop()
    thread.turn([])
    assert list((path.parent / "audits").iterdir()) == []
    writer(path).turn([])
    assert audit_file(path.parent, HEIGHT, BLOCK).exists()
