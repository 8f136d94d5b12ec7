"""A start waits for trouble of the moment, says so once, and gives up in time."""

from __future__ import annotations

import logging
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.service.process import PATIENCE_S, PoolProcess, environ, write_config
from tests.service.test_run import NO_NODE, SECRET, ServiceManager, manager
from warppool.errors import ConfigError, LedgerBusy, LedgerError, NotNow
from warppool.ledger.opening import open_ledger
from warppool.service.patience import AGAIN_S, Patience, Stopped, impatient

__all__ = ["manager"]


class Time:
    """A clock that waits by being moved; `stops_at` is when the end is wished."""

    def __init__(self, stops_at: float = 1e9) -> None:
        self.now = 0.0
        self.stops_at = stops_at
        self.told: list[str] = []

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now >= self.stops_at

    def patience(self) -> Patience:
        return Patience(self.wait, self.told.append, clock=lambda: self.now)


def failing_until(time: Time, moment: float, error: Exception = NotNow("stratum.listen: taken")):  # noqa: B008
    def attempt() -> str:
        if time.now < moment:
            raise error
        return "done"

    return attempt


def test_what_works_is_not_waited_for() -> None:
    time = Time()
    assert time.patience().until_done(lambda: "done") == "done"
    assert (time.now, time.told) == (0.0, [])


def test_trouble_that_goes_by_is_said_once_and_waited_for(caplog) -> None:
    caplog.set_level(logging.INFO)
    time = Time()
    assert time.patience().until_done(failing_until(time, 7.0)) == "done"
    assert 7.0 <= time.now < 7.0 + 2 * AGAIN_S
    assert time.told == ["waiting: stratum.listen: taken"]
    assert [record.getMessage() for record in caplog.records] == [
        'event=start.waiting reason="stratum.listen: taken" meaning="it may go by itself: tried again for up to 30 s"']


def test_the_patience_is_for_all_of_a_start() -> None:
    time = Time()
    patience = time.patience()
    patience.until_done(failing_until(time, 20.0))
    with pytest.raises(NotNow, match="taken"):
        patience.until_done(failing_until(time, 100.0))
    assert 30.0 <= time.now < 30.0 + 2 * AGAIN_S


def test_a_mistake_of_the_file_is_not_waited_for() -> None:
    time = Time()
    with pytest.raises(ConfigError):
        time.patience().until_done(failing_until(time, 7.0, ConfigError("pool.data_dir")))
    assert time.now == 0.0


def test_a_wish_to_stop_ends_the_wait() -> None:
    time = Time(stops_at=3.0)
    with pytest.raises(Stopped):
        time.patience().until_done(failing_until(time, 7.0))
    assert time.now == 3.0


def test_without_patience_it_is_an_error_at_once() -> None:
    with pytest.raises(NotNow):
        impatient().until_done(failing_until(Time(), 1.0))


def test_books_that_another_program_holds_locked_are_trouble_of_the_moment(tmp_path: Path) -> None:
    open_ledger("sqlite:///shares.db", tmp_path).close()
    with sqlite3.connect(tmp_path / "shares.db", isolation_level=None) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerBusy) as caught:
            open_ledger("sqlite:///shares.db", tmp_path)
    other.close()
    assert isinstance(caught.value, NotNow) and isinstance(caught.value, LedgerError)


# --- the daemon -------------------------------------------------------------------------------------------------------

def test_a_daemon_starts_as_soon_as_its_port_is_free(tmp_path: Path, manager: ServiceManager) -> None:
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    config = write_config(tmp_path, secret=SECRET, node=NO_NODE, stratum={"sv2_listen": [f"127.0.0.1:{port}"]})
    with PoolProcess(config, NOTIFY_SOCKET=f"@{manager.name}") as pool:
        waiting = pool.wait_for("start.waiting")
        assert "stratum.sv2_listen" in waiting["reason"] and "ss -tanp" in waiting["reason"]
        threading.Timer(0.3, other.close).start()
        pool.wait_for("daemon.started")
        pool.terminate()
        assert pool.wait() == 0
        assert len(pool.events("start.waiting")) == 1
    manager.hear_the_rest()
    assert manager.words[0] == "STATUS=starting"
    assert manager.words[1].startswith("STATUS=waiting: stratum.sv2_listen: port ")


def test_sigterm_ends_a_daemon_that_waits_for_its_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        config = write_config(tmp_path, secret=SECRET, node=NO_NODE, stratum={"sv2_listen": [taken]})
        with PoolProcess(config) as pool:
            pool.wait_for("start.waiting")
            pool.terminate()
            assert pool.wait() == 0


SHORT = """
import sys, time
from warppool.commands.cli import main
from warppool.service.patience import Patience
Patience.__init__.__defaults__ = (1.0, time.monotonic)
sys.exit(main(sys.argv[1:]))
"""


def test_trouble_that_stays_is_one_line_and_status_1(tmp_path: Path) -> None:
    """So that systemd, which never restarts after 2, tries again."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        config = write_config(tmp_path, secret=SECRET, node=NO_NODE, stratum={"sv2_listen": [taken]})
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", SHORT, "run", "-c", str(config)], capture_output=True, text=True,
                              timeout=PATIENCE_S, env=environ())
        assert time.monotonic() - began >= 1.0
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("event=start.waiting") == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("warppool: error: stratum.sv2_listen: ") and taken in last


def test_systemd_hears_what_the_daemon_waits_for(tmp_path: Path, manager: ServiceManager) -> None:
    config = write_config(tmp_path, secret=SECRET, node=NO_NODE)
    with PoolProcess(config, NOTIFY_SOCKET=f"@{manager.name}") as pool:
        assert manager.hear() == "STATUS=starting"
        while "no cookie at" not in manager.hear():
            pass
        assert manager.heard[-1].startswith("STATUS=waiting for the node: node-0: ")
        pool.terminate()
        assert pool.wait() == 0
    assert "READY=1" not in manager.words
