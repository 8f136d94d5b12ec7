"""One data directory, one daemon."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from warppool.errors import ConfigError, NotNow
from warppool.service import mounts
from warppool.service.lock import DataDirLock, holder

CHECKOUT = Path(__file__).parents[2]
HOLD = "import sys; from pathlib import Path; from warppool.service.lock import DataDirLock; " \
       "lock = DataDirLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def test_a_second_daemon_is_refused_and_a_killed_one_leaves_nothing_behind(tmp_path):
    data_dir = tmp_path / "var/warppool"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(data_dir)], cwd=CHECKOUT, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(NotNow, match=rf"pool\.data_dir: {data_dir} is in use by another warppool "
                                              rf"\(pid {other.pid}\): stop it, or give"):
            DataDirLock(data_dir)
        assert holder(data_dir) == f"pid {other.pid}"
        other.send_signal(signal.SIGKILL)
    assert holder(data_dir) is None
    lock = DataDirLock(data_dir)
    assert holder(data_dir) == f"pid {os.getpid()}"
    lock.release()
    assert holder(data_dir) is None
    DataDirLock(data_dir).release()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_what_is_made_is_ours_and_our_groups_whatever_the_umask(tmp_path, umask):
    (tmp_path / "there").mkdir(mode=0o711)
    before = os.umask(umask)
    try:
        DataDirLock(tmp_path / "a/b").release()
        DataDirLock(tmp_path / "there").release()
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777
             for name in ("a", "a/b", "a/b/warppool.lock", "there", "there/warppool.lock")}
    assert modes == {"a": 0o750, "a/b": 0o750, "a/b/warppool.lock": 0o640, "there": 0o711, "there/warppool.lock": 0o640}


def test_asking_for_the_holder_makes_nothing(tmp_path):
    assert holder(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=rf"pool\.data_dir: {tmp_path}/file cannot be used: Not a directory: name"):
        DataDirLock(tmp_path / "file")
    (tmp_path / "dir/warppool.lock").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"pool\.data_dir: .*warppool\.lock cannot be used: Is a directory"):
        DataDirLock(tmp_path / "dir")


# --- mounts -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Write what fstab and the kernel say."""

    def write(fstab: str, mounted: str) -> None:
        (tmp_path / "fstab").write_text(fstab)
        (tmp_path / "mountinfo").write_text(mounted)

    monkeypatch.setattr(mounts, "FSTAB", tmp_path / "fstab")
    monkeypatch.setattr(mounts, "MOUNTED", tmp_path / "mountinfo")
    return write


MOUNTINFO = "22 1 0:21 / / rw - ext4 /dev/a rw\n23 22 0:22 / {} rw - ext4 /dev/b rw\n"


def test_nothing_is_made_below_a_mount_point_whose_file_system_is_missing(tmp_path, tables):
    disk = tmp_path / "my disk"
    disk.mkdir()
    written = str(disk).replace(" ", r"\040")
    fstab = f"# {written}\n/dev/a / ext4 defaults 0 1\n/dev/b {written} ext4 defaults 0 2\n/dev/c none swap sw 0 0\n"
    tables(fstab, MOUNTINFO.format("/elsewhere"))
    with pytest.raises(NotNow, match=rf"pool\.data_dir: {disk}/pool lies in {disk}, and no file system is mounted"):
        DataDirLock(disk / "pool")
    assert not list(disk.iterdir())
    tables(fstab, MOUNTINFO.format(written))
    DataDirLock(disk / "pool").release()


def test_without_tables_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts, "FSTAB", tmp_path / "none")
    DataDirLock(tmp_path / "pool").release()


@pytest.mark.parametrize(("number", "kind", "cure"), [
    (errno.EIO, NotNow, "look at its disk"), (errno.ESTALE, NotNow, "look at its disk"),
    (errno.ENOSPC, NotNow, "make room"), (errno.EDQUOT, NotNow, "make room"),
    (errno.EROFS, ConfigError, "ReadWritePaths="), (errno.EACCES, ConfigError, "chown"),
    (errno.ENOTDIR, ConfigError, "name another data_dir"),
])
def test_what_a_directory_says_is_of_the_moment_or_a_mistake(tmp_path, number, kind, cure):
    error = mounts.unusable(OSError(number, os.strerror(number)), tmp_path, "pool.data_dir")
    assert type(error) is kind
    assert str(error).startswith("pool.data_dir: ") and cure in str(error)


def test_an_empty_folder_that_may_not_be_written_looks_like_a_missing_mount(tmp_path):
    (tmp_path / "mnt").mkdir()
    refused = OSError(errno.EACCES, "Permission denied")
    assert type(mounts.unusable(refused, tmp_path / "mnt/pool", "pool.data_dir")) is NotNow
    (tmp_path / "mnt/file").write_text("")
    assert type(mounts.unusable(refused, tmp_path / "mnt/pool", "pool.data_dir")) is ConfigError
