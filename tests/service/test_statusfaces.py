"""Status files and socket, as a program has them: made of one snapshot, found by who reads them, gone at the end."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.node.stub import await_true
from tests.service.process import PoolProcess, write_config
from tests.stats.ckreaders import read_pool, read_user
from tests.stats.made import ADDRESS, HOSTILE, snapshot
from warppool.config.faceoptions import StatusConfig
from warppool.service.faces import Faces
from warppool.service.statusfaces import pages_of, status_faces
from warppool.service.threads import Threads
from warppool.stats.filenames import file_name
from warppool.status.client import NoDaemon, ask
from warppool.status.place import NAME, known_path


class Latest:
    """The newest snapshot, and a sign that it was read."""

    def __init__(self) -> None:
        self.snapshot = snapshot()
        self.was_read = threading.Event()

    def __call__(self):
        self.was_read.set()
        return self.snapshot


@pytest.mark.parametrize("is_named", [False, True])
def test_a_program_writes_files_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    data_dir, named = tmp_path / "data", tmp_path / "www"
    data_dir.mkdir()
    folder = named if is_named else data_dir / "status"
    latest, threads, resources = Latest(), Threads(), ExitStack()
    faces = Faces(*status_faces(StatusConfig(dir=named if is_named else None), data_dir, latest, resources))
    faces.start(threads)
    assert latest.was_read.wait(60)
    assert ask(known_path(data_dir), "summary")["machines"] == 3
    faces.stop(threads)                         # the turn that writes ends before its thread does
    threads.join(faces.names, 60)
    assert threads.alive() == []
    resources.close()
    assert read_pool((folder / "pool/pool.status").read_text())["Workers"] == 3
    assert {path.name for path in (folder / "users").iterdir()} == {ADDRESS, "bob", file_name(HOSTILE)}
    assert read_user((folder / "users" / ADDRESS).read_text())["workers"] == 2
    mode = stat.S_IMODE((folder / "users/bob").stat().st_mode)
    assert mode == (0o644 if is_named else 0o640)
    assert not os.path.lexists(known_path(data_dir))
    with pytest.raises(NoDaemon):
        ask(known_path(data_dir), "health")


def test_systemd_keeps_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, data_dir = tmp_path / "run", tmp_path / "data"
    runtime.mkdir()
    data_dir.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    with ExitStack() as resources:
        faces = status_faces(StatusConfig(), data_dir, Latest(), resources)
        assert [face.name for face in faces] == ["status-files", "status"]
        assert (runtime / NAME).is_socket() and known_path(data_dir).readlink() == runtime / NAME
    assert not os.path.lexists(runtime / NAME) and not os.path.lexists(known_path(data_dir))


def test_without_a_socket_the_files_are_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "missing"))
    with ExitStack() as resources:
        assert [face.name for face in status_faces(StatusConfig(), tmp_path, Latest(), resources)] == [
            "status-files"]


@pytest.mark.parametrize("changes", [{"is_whole": False}, {"number": 0}])
def test_numbers_of_a_start_that_reads_its_books_do_not_replace_whole_ones(changes: dict[str, Any]) -> None:
    latest = Latest()
    latest.snapshot = snapshot(**changes)
    assert pages_of(latest) is None


def test_a_pool_that_runs_is_asked_and_read(tmp_path: Path) -> None:
    pytest.importorskip("pbk")
    config = write_config(tmp_path, secret=bytes(range(1, 33)), node={"source": "regtest"})
    with PoolProcess(config) as pool:
        pool.ready()
        answer = ask(known_path(tmp_path / "data"), "summary")
        assert answer["network"] == "regtest" and answer["machines"] == 0
        await_true((tmp_path / "data/status/pool/pool.status").exists)
        assert read_pool((tmp_path / "data/status/pool/pool.status").read_text())["Workers"] == 0
        pool.terminate()
        assert pool.wait() == 0
    assert not os.path.lexists(known_path(tmp_path / "data"))
