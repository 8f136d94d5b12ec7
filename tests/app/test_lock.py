"""One data directory, one daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from warppool.app.lock import DataDirLock, holder
from warppool.errors import ConfigError

CHECKOUT = Path(__file__).parents[2]
HOLD = "import sys; from pathlib import Path; from warppool.app.lock import DataDirLock; " \
       "lock = DataDirLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def test_a_second_daemon_is_refused_and_a_killed_one_leaves_nothing_behind(tmp_path):
    data_dir = tmp_path / "var/warppool"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(data_dir)], cwd=CHECKOUT, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"pool\.data_dir: {data_dir} is in use by another warppool "
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


def test_the_directory_is_made_for_us_alone(tmp_path):
    DataDirLock(tmp_path / "a/b").release()
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a/b/warppool.lock").stat().st_mode & 0o777 == 0o600


def test_asking_for_the_holder_makes_nothing(tmp_path):
    assert holder(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=rf"pool\.data_dir: {tmp_path}/file cannot be used: File exists"):
        DataDirLock(tmp_path / "file")
    (tmp_path / "dir/warppool.lock").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"pool\.data_dir: .*warppool\.lock cannot be used: Is a directory"):
        DataDirLock(tmp_path / "dir")
