"""The block journal: whole or not there, whatever cuts it short; and no file of it stops a start."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.node.chainblocks import mine, raw
from warppool.errors import ConfigError
from warppool.mining.payee import Terms
from warppool.node.items import Verdict
from warppool.node.journal import Damaged, Entry, Journal, Told, _entry, _read, _serialize
from warppool.node.kernel import ChainTip
from warppool.node.regtest import make_template


def entry(height: int = 5, time: float = 1_700_000_000.25, user: str = "alice.rig1") -> Entry:
    block = mine(make_template(9, ChainTip(height - 1, b"\x01" * 32, 0x207FFFFF, 0), 1_700_000_000, "node-0"))
    return Entry(block.block_hash, height, user, time, 9, True, raw(block))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data" / "blocks"


@pytest.fixture
def journal(directory: Path) -> Journal:
    journal = Journal(directory)
    assert journal.load() == []
    return journal


def add(journal: Journal, *blocks: Entry) -> None:
    """Store blocks for good."""
    for block in blocks:
        journal.write(block)
    for block in blocks:
        journal.sync(block.block_hash)
    journal.sync_directory()


def path_of(directory: Path, block: Entry, suffix: str = ".block") -> Path:
    return directory / (block.name + suffix)


def test_entries_come_back_by_height_and_then_by_time(journal: Journal, directory: Path) -> None:
    later, earlier, lower = entry(7, 20.0), entry(7, 10.0), entry(6, 30.0)
    add(journal, later, earlier, lower)
    assert Journal(directory).load() == [lower, earlier, later]


@pytest.mark.parametrize("user", ["a", "Zoë.rig", "x\udcff\udc80y", 'q"\\\n', "a" * 255])
def test_any_worker_name_survives(journal: Journal, directory: Path, user: str) -> None:
    named = entry(user=user)
    add(journal, named)
    assert Journal(directory).load() == [named]


def test_a_solution_without_transactions_survives(journal: Journal, directory: Path) -> None:
    solution = replace(entry(), is_whole=False)
    add(journal, solution)
    assert Journal(directory).load() == [solution]


def test_outcomes_are_kept_in_their_order(journal: Journal, directory: Path) -> None:
    block = replace(entry(), told=(Told(0, Verdict.SIDE, "inconclusive"),))
    add(journal, block)
    journal.tell(block.block_hash, Told(1, Verdict.REFUSED, "bad\n{}"))
    journal.tell(block.block_hash, Told(0, Verdict.ACCEPTED, ""))
    journal.tell(b"\x07" * 32, Told(0, Verdict.ACCEPTED, ""))       # of an entry that is gone
    assert Journal(directory).load() == [replace(block, told=(
        Told(0, Verdict.SIDE, "inconclusive"), Told(1, Verdict.REFUSED, "bad\n{}"), Told(0, Verdict.ACCEPTED, "")))]


def test_adding_again_keeps_what_is_there(journal: Journal, directory: Path) -> None:
    block = entry()
    add(journal, block)
    journal.tell(block.block_hash, Told(0, Verdict.ACCEPTED, ""))
    add(journal, block)
    assert [each.told for each in Journal(directory).load()] == [(Told(0, Verdict.ACCEPTED, ""),)]


def test_a_removed_entry_is_gone_and_one_set_aside_is_not_replayed(journal: Journal, directory: Path) -> None:
    gone, refused = entry(5), entry(6)
    add(journal, gone, refused)
    journal.remove(gone.block_hash)
    journal.remove(gone.block_hash)
    assert gone.block_hash not in journal and refused.block_hash in journal
    assert journal.set_aside(refused.block_hash) == path_of(directory, refused, ".refused")
    assert journal.set_aside(refused.block_hash) is None
    assert Journal(directory).load() == []
    assert path_of(directory, refused, ".refused").read_bytes() == _serialize(refused)


def test_every_cut_and_every_flipped_byte_of_an_entry_is_noticed(journal: Journal, directory: Path) -> None:
    block = entry()
    content, path = _serialize(block), path_of(directory, block)
    cuts = [content[:size] for size in range(len(content))]
    flips = [content[:at] + bytes((content[at] ^ 0x10,)) + content[at + 1:] for at in range(len(content))]
    for damaged in cuts + flips:
        path.write_bytes(damaged)
        with pytest.raises(Damaged):
            _read(path)
    path.write_bytes(content)
    assert _read(path) == block


def test_a_damaged_entry_is_said_and_set_aside(
    journal: Journal, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    block = entry()
    path = path_of(directory, block)
    path.write_bytes(_serialize(block)[:-1])
    assert Journal(directory).load() == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f'event=journal.damaged file={path}.damaged reason="it ends before the block does"' in caplog.text
    assert not path.exists() and path_of(directory, block, ".block.damaged").exists()
    assert Journal(directory).load() == [] and len(caplog.records) == 1         # said once, not at every start


@pytest.mark.parametrize(("change", "reason"), [
    ({"height": 2**31}, "hash or height"),
    ({"block_hash": b"\x07" * 32}, "hash or height"),
    ({"data": b"short"}, "cannot be read"),
    ({"time": "yesterday"}, "cannot be read"),
    ({"height": None}, "cannot be read"),
])
def test_a_well_sealed_entry_that_makes_no_sense_is_set_aside(
    journal: Journal, directory: Path, caplog: pytest.LogCaptureFixture, change: dict[str, object], reason: str
) -> None:
    path = directory / f"{5:010d}-x.block"
    path.write_bytes(_serialize(replace(entry(), **change)))        # type: ignore[arg-type]
    assert Journal(directory).load() == []
    assert reason in caplog.text


def test_files_that_are_none_of_its_own(journal: Journal, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    block = entry()
    add(journal, block)
    (directory / "README").write_text("mine")
    (directory / "old.block.damaged").write_text("x")
    (directory / "1-2.block").write_bytes(_serialize(block))                    # its name lies
    (directory / "2-2.block").write_bytes(b"warppool-block 2 0 0 0\n")          # of a later version
    (directory / "3-2.block").mkdir()
    with path_of(directory, entry(9)).open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    assert Journal(directory).load() == [block]
    for reason in ("name does not fit", "this version knows only", "Is a directory", "more than 16777216 bytes"):
        assert reason in caplog.text


@given(st.binary(max_size=300))
def test_garbage_never_stops_a_start(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("blocks")
    (directory / "0000000001-00.block").write_bytes(b"warppool-block 1 " + data)
    assert Journal(directory).load() == []


def test_a_torn_outcome_is_as_if_never_told_and_the_next_one_counts(journal: Journal, directory: Path) -> None:
    block = entry()
    add(journal, block)
    with path_of(directory, block).open("ab") as file:
        file.write(b'\n{"node": 0, "verdict": "acc')
    for line in (b"7", b"[]", b'{"node": 0, "verdict": "eaten", "reason": ""}', b'{"node": null}'):
        with path_of(directory, block).open("ab") as file:
            file.write(b"\n" + line + b"\n")
    journal.tell(block.block_hash, Told(0, Verdict.SIDE, ""))
    assert [each.told for each in Journal(directory).load()] == [(Told(0, Verdict.SIDE, ""),)]


def test_a_crash_before_the_name_saves_the_block_if_it_is_whole(
    journal: Journal, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, torn = entry(5), entry(6)
    path_of(directory, whole, ".new").write_bytes(_serialize(whole))
    path_of(directory, torn, ".new").write_bytes(_serialize(torn)[:-1])
    again = Journal(directory)
    assert again.load() == [whole] and whole.block_hash in again
    assert path_of(directory, whole).exists()
    assert path_of(directory, torn, ".new.damaged").exists()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "event=journal.torn" in caplog.text


def test_an_entry_written_twice_counts_once(journal: Journal, directory: Path) -> None:
    block = entry()
    path_of(directory, block).write_bytes(_serialize(block))
    path_of(directory, block, ".new").write_bytes(_serialize(block))
    assert Journal(directory).load() == [block]


def test_a_directory_that_cannot_be_made_is_the_operators(tmp_path: Path) -> None:
    (tmp_path / "blocks").write_text("a file")
    with pytest.raises(ConfigError, match="blocks cannot be used"):
        Journal(tmp_path / "blocks").load()


class FullDisk:
    """`os.write` that has room for `room` bytes, then is full; a write may end in the middle."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, bytes(data)[:self.room])
        self.room -= written
        return written


def test_a_full_disk_leaves_no_half_of_an_entry_and_takes_it_later(
    journal: Journal, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = entry(5), entry(6)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(len(_serialize(first)) + 100))
        journal.write(first)
        with pytest.raises(OSError, match="No space left"):
            journal.write(second)
    assert [path.name for path in directory.iterdir()] == [path_of(directory, first).name]
    assert first.block_hash in journal and second.block_hash not in journal
    add(journal, first, second)
    assert Journal(directory).load() == [first, second]


def test_an_entry_whose_fsync_failed_is_written_anew(
    journal: Journal, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the kernel may have thrown the bytes away, and the next fsync says that all is well."""
    block = entry()

    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal.write(block)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="Input/output"):
            journal.sync(block.block_hash)
    assert block.block_hash not in journal
    path_of(directory, block).write_bytes(b"")
    add(journal, block)
    assert Journal(directory).load() == [block]


def test_an_entry_is_written_and_named_before_any_wait_for_the_disk(
    journal: Journal, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise AssertionError("it waits for the disk")

    monkeypatch.setattr(os, "fsync", fsync)
    block = entry()
    journal.write(block)
    assert _read(path_of(directory, block)) == block


WRITING = """
import os, sys
from pathlib import Path
from tests.node.test_journal import entry
from warppool.node.items import Verdict
from warppool.node.journal import Journal, Told

journal, height = Journal(Path(sys.argv[1])), 0
journal.load()
write = os.write
while True:
    height += 1
    blocks = [entry(height) for _ in range(3)]
    os.write = lambda descriptor, data: write(descriptor, bytes(data)[:100])    # many places to die at
    for block in blocks:
        journal.write(block)
        journal.tell(block.block_hash, Told(0, Verdict.ACCEPTED, ""))
    os.write = write
    for block in blocks:
        write(1, block.block_hash.hex().encode() + b"\\n")
"""


@pytest.mark.parametrize("lines", [1, 8, 20])
def test_a_kill_at_any_moment_loses_nothing_that_was_said(directory: Path, lines: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITING, str(directory)], stdout=subprocess.PIPE, text=True)
    said: list[str] = []
    assert writer.stdout is not None
    with writer, writer.stdout:
        for line in writer.stdout:
            said.append(line.strip())
            if len(said) == lines:
                writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    kept = {each.block_hash.hex(): each for each in Journal(directory).load()}
    assert [each for each in said if each not in kept] == []
    assert {kept[each].told for each in said} == {(Told(0, Verdict.ACCEPTED, ""),)}
    assert sorted(path.suffix for path in directory.iterdir() if path.suffix not in (".block", ".damaged")) == []


@pytest.mark.parametrize("terms", [
    Terms("bcrt1qaccount", b"", 0, 5_000_000_000, 50_000_000, b"\x00\x14" + bytes(20), False),
    Terms("", bytes(range(16)), 612, 312_500_000, 0, b"\x51", True)])
def test_an_entry_keeps_whom_its_block_pays(journal: Journal, directory: Path, terms: Terms) -> None:
    block = replace(entry(), finder="bcrt1qfinder", terms=terms)
    add(journal, block)
    assert Journal(directory).load() == [block]


def test_an_entry_that_pays_no_account_is_written_as_ever(journal: Journal, directory: Path) -> None:
    assert b"terms" not in _serialize(entry()) and b"finder" not in _serialize(entry())


@pytest.mark.parametrize("terms", ['"odd"', "{}", '{"account": 1}', "[]"])
def test_terms_that_cannot_be_read_are_damage(directory: Path, terms: str) -> None:
    with pytest.raises(Damaged, match="its description cannot be read"):
        _entry(b'{"height": 5, "hash": "%b", "user": "", "time": 1, "template_id": 1, "is_whole": true, "terms": %b}'
               % (bytes(64).replace(b"\0", b"0"), terms.encode()), bytes(80))
