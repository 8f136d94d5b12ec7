"""`warppool check` knows where no status file can be written, and whether a daemon answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.test_status import running
from tests.stats.made import snapshot
from warppool.commands.statuscheck import FOLDER_KEY, SOCKET_KEY, status_findings
from warppool.config.faceoptions import StatusConfig
from warppool.stats.snapshot import WorkStats
from warppool.status.place import NAME


def lines(data_dir: Path, folder: Path | None = None) -> dict[str, tuple[str, str]]:
    return {each.key: (each.grade, each.sentence) for each in status_findings(StatusConfig(dir=folder), data_dir)}


def test_all_is_well_before_the_first_start(tmp_path: Path) -> None:
    found = lines(tmp_path / "data")
    assert {grade for grade, _ in found.values()} == {"ok"}
    assert f"{tmp_path}/data/status, for the daemon's group" in found[FOLDER_KEY][1]
    assert "no daemon answers" in found[SOCKET_KEY][1]
    assert lines(tmp_path, tmp_path / "www")[FOLDER_KEY][1].endswith("www, for all users")


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    grade, sentence = lines(tmp_path, tmp_path / "file/status")[FOLDER_KEY]
    assert grade == "error" and "is no directory" in sentence and "name another folder" in sentence


def test_a_file_in_place_of_the_socket_is_an_error(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("")
    grade, sentence = lines(tmp_path)[SOCKET_KEY]
    assert grade == "error" and "move it away" in sentence


@pytest.mark.parametrize(("work", "grade"), [(snapshot().work, "ok"), (WorkStats(), "warn")])
def test_a_daemon_that_runs_is_asked(tmp_path: Path, work: WorkStats, grade: str) -> None:
    with running(tmp_path, snapshot(work=work)):
        assert lines(tmp_path)[SOCKET_KEY][0] == grade
