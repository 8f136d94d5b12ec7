"""The file of start ids: what was added is read, whatever a crash or a person left in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.node import startids
from warppool.node.startids import FILE_NAME, StartIds


def test_ids_are_read_at_the_next_start(tmp_path: Path) -> None:
    assert StartIds(tmp_path).read() == frozenset()
    StartIds(tmp_path).add(b"\x01\x02\x03\x04", 1_700_000_000.5)
    StartIds(tmp_path).add(b"\xff\x00\xff\x00", 1_700_000_001.0)
    assert StartIds(tmp_path).read() == {b"\x01\x02\x03\x04", b"\xff\x00\xff\x00"}
    assert (tmp_path / FILE_NAME).read_text() == "01020304 1700000000\nff00ff00 1700000001\n"
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o640


def test_an_id_is_on_the_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.path.isdir(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", noted)
    StartIds(tmp_path).add(b"1234", 1.0)
    assert synced == [False, True]                          # the file, and its name


@given(st.binary(max_size=200))
def test_whatever_stands_in_the_file_a_new_id_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("data")
    (folder / FILE_NAME).write_bytes(content)
    StartIds(folder).add(b"\x01\x02\x03\x04", 1.0)
    assert b"\x01\x02\x03\x04" in StartIds(folder).read()
    assert all(len(each) == 4 for each in StartIds(folder).read())


def test_the_oldest_go_where_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startids, "MAX_KEPT", 10)
    ids = [number.to_bytes(4, "big") for number in range(100)]
    for each in ids:
        StartIds(tmp_path).add(each, 1.0)
    kept = StartIds(tmp_path).read()
    assert 5 <= len(kept) <= 10 and set(ids[-len(kept):]) == kept


def test_a_disk_that_refuses_is_the_callers(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    assert StartIds(tmp_path).read() == frozenset()
    with pytest.raises(OSError, match="directory"):
        StartIds(tmp_path).add(b"1234", 1.0)
