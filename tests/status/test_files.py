"""Status files: whole or not at all, for whom they are meant, and none that a stranger made grow without end."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from warppool.status.files import (
    BITE,
    BITE_S,
    EVERY_S,
    OWN,
    PUBLIC,
    FilesOfMinute,
    Modes,
    StatusFiles,
    UserFile,
    is_writable,
)
from warppool.threads import STOP


def content(text: str) -> bytes:
    return f'{{\n "hashrate1m": "{text}"\n}}\n'.encode()


class Bench:
    """The writer with a clock in hand, and the users that it is to show."""

    def __init__(self, folder: Path, modes: Modes = OWN) -> None:
        self.now = 1000.0
        self.users: dict[str, str] | None = {}
        self.folder = folder
        self.rendered: list[str] = []
        self.files = StatusFiles(folder, modes, self._pages, monotonic=lambda: self.now)

    def _pages(self) -> FilesOfMinute | None:
        if self.users is None:
            return None
        users = (UserFile(name, partial(self._render, name, text)) for name, text in self.users.items())
        return FilesOfMinute(b"pool\n", users)

    def _render(self, name: str, text: str) -> bytes:
        self.rendered.append(name)
        return content(text)

    def minute(self) -> None:
        """Turn until the writer sleeps for the rest of the minute."""
        self.now += EVERY_S
        while self.files.turn([]) < self.now + 1:
            self.now += 0.1

    def there(self) -> Mapping[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / "users").iterdir()}


def test_a_minute_writes_the_pool_and_its_users(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "status")
    bench.users = {f"u{number}": str(number) for number in range(3 * BITE + 1)}
    bench.minute()
    assert (bench.folder / "pool/pool.status").read_bytes() == b"pool\n"
    assert bench.there() == {name: content(text) for name, text in bench.users.items()}


def test_nothing_is_written_before_there_are_numbers(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "status")
    bench.users = None
    bench.files.turn([])
    assert not bench.folder.exists()


@pytest.mark.parametrize(("modes", "file", "folder"), [(OWN, 0o640, 0o750), (PUBLIC, 0o644, 0o755)])
def test_the_modes_do_not_depend_on_the_umask(tmp_path: Path, modes: Modes, file: int, folder: int) -> None:
    bench = Bench(tmp_path / "www" / "status", modes)
    bench.users = {"alice": "1"}
    before = os.umask(0o077)
    try:
        bench.minute()
    finally:
        os.umask(before)
    made = [bench.folder.parent, bench.folder, bench.folder / "pool", bench.folder / "users"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {folder}
    written = [bench.folder / "pool/pool.status", bench.folder / "users/alice"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {file}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    bench = Bench(tmp_path, PUBLIC)
    bench.minute()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o711


def test_a_user_who_is_shown_no_more_has_no_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.users = {"alice": "1", "bob": "1"}
    bench.minute()
    bench.users = {"bob": "1"}
    bench.minute()
    assert bench.there() == {"bob": content("1")}


def test_files_of_an_earlier_start_go_and_others_stay(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.mkdir()
    (users / "old").write_bytes(content("1"))
    (users / "index.html").write_text("<html>")
    (users / "folder").mkdir()
    (users / ".new").write_bytes(b'{\n "hash')                  # killed between its begin and its rename
    bench = Bench(tmp_path)
    bench.users = {"alice": "1"}
    bench.minute()
    assert sorted(path.name for path in users.iterdir()) == ["alice", "folder", "index.html"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    users = tmp_path / "status/users"
    users.mkdir(parents=True)
    (users / "alice").symlink_to(target)
    (users / ".new").symlink_to(target)
    bench = Bench(tmp_path / "status")
    bench.users = {"alice": "1"}
    bench.minute()
    assert target.read_text() == "mine"
    assert not (users / "alice").is_symlink() and bench.there() == {"alice": content("1")}


def test_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.users = {"alice": "1", "bob": "1"}
    bench.minute()
    inode = (tmp_path / "users/alice").stat().st_ino
    bench.users["bob"] = "2"
    bench.minute()
    assert (tmp_path / "users/alice").stat().st_ino == inode
    assert bench.there()["bob"] == content("2")


def test_a_name_that_cannot_be_written_costs_that_file_alone(tmp_path: Path) -> None:
    (tmp_path / "users/alice").mkdir(parents=True)
    bench = Bench(tmp_path)
    bench.users = {"alice": "1", "n" * 300: "1", "bob": "1"}
    bench.minute()
    assert (tmp_path / "users/bob").read_bytes() == content("1")


def test_a_folder_that_cannot_be_written_is_said_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture
                                                                      ) -> None:
    caplog.set_level("INFO")
    blocker = tmp_path / "status"
    blocker.write_text("a file is in the way")
    bench = Bench(blocker)
    bench.users = {"alice": "1"}
    bench.minute()
    bench.minute()
    assert caplog.text.count("status.unwritten") == 1 and "cure=" in caplog.text
    blocker.unlink()
    bench.minute()
    assert caplog.text.count("status.written") == 1
    assert bench.there() == {"alice": content("1")}


@pytest.mark.parametrize("call", ["write", "replace"])
def test_a_disk_that_is_full_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
                                                       ) -> None:
    bench = Bench(tmp_path)
    bench.users = {"alice": "1"}
    bench.minute()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"warppool.status.files.os.{call}", full)
        bench.users["alice"] = "2"
        bench.minute()
    assert bench.there() == {"alice": content("1")}
    bench.minute()
    assert bench.there() == {"alice": content("2")}


def test_a_file_is_whole_though_the_system_takes_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                  ) -> None:
    bench, write = Bench(tmp_path), os.write
    bench.users = {"alice": "1"}
    with monkeypatch.context() as patch:
        patch.setattr("warppool.status.files.os.write", lambda descriptor, data: write(descriptor, data[:7]))
        bench.minute()
    assert bench.there() == {"alice": content("1")}


def test_files_that_somebody_took_away_come_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.users = {"alice": "1"}
    bench.minute()
    (tmp_path / "users/alice").unlink()
    (tmp_path / "users").rmdir()
    bench.minute()
    assert bench.there() == {"alice": content("1")}


def test_a_user_with_many_workers_takes_the_whole_bite(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.users = {"farm": "1", "alice": "2"}

    def render(name: str, text: str) -> bytes:
        bench.now += BITE_S if name == "farm" else 0.0
        bench.rendered.append(name)
        return content(text)

    bench._render = render                                  # type: ignore[method-assign]
    assert bench.files.turn([]) < bench.now + EVERY_S
    assert bench.rendered == ["farm"]
    bench.files.turn([])
    assert bench.rendered == ["farm", "alice"]


def test_a_stop_waits_for_no_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.users = {f"u{number}": "1" for number in range(10 * BITE)}
    bench.files.put(STOP)
    bench.files.run()
    assert bench.rendered == []


def test_check_knows_where_it_cannot_write(tmp_path: Path) -> None:
    assert is_writable(tmp_path / "new/folder") == ""
    (tmp_path / "file").write_text("")
    assert "no directory" in is_writable(tmp_path / "file/below")
