"""`warppool translate` from outside: what it says to those who start it and to systemd, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.far import closed_port
from tests.service.farm import Fleet, LivePool, stub_pools
from tests.service.process import PATIENCE_S, WARPPOOL, TranslatorProcess, environ
from tests.service.test_run import WATCHDOG_USEC, ServiceManager, assert_refused
from warppool.addresses import PoolUrl
from warppool.ledger.opening import open_reader


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[LivePool]:
    with stub_pools(tmp_path) as (pool,):
        yield pool


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    manager = ServiceManager()
    yield manager
    manager.door.close()


def write(folder: Path, url: PoolUrl, more: str = "", upstream: str = "") -> Path:
    path = folder / "translator.toml"
    path.write_text(f'[stratum]\nlisten = ["127.0.0.1:0"]\n[translator]\ndata_dir = "translator"\n{more}\n'
                    f'[[upstream]]\nurl = "{url}"\nuser_identity = "farm.unnamed"\n{upstream}\n')
    return path


def test_systemd_hears_ready_when_an_upstream_has_answered_and_the_watchdog_is_fed(tmp_path, pool, manager):
    config = write(tmp_path, pool.url)
    with TranslatorProcess(config, NOTIFY_SOCKET=f"@{manager.name}", WATCHDOG_USEC=WATCHDOG_USEC) as translator:
        ready = manager.hear_until("READY=1").splitlines()
        port = translator.ready()
        assert f"STATUS=translating on 127.0.0.1:{port} for {pool.url.place}" in ready
        assert translator.events("service.ready")[0]["upstream"] == pool.url.place
        for _ in range(3):
            manager.hear_until("WATCHDOG=1")
        os.kill(translator.pid, signal.SIGHUP)
        manager.hear_until("RELOADING=1")
        manager.hear_until("READY=1")
        assert translator.wait_for("reload.done")["changed"] == "0"
        translator.terminate()
        assert translator.wait() == 0
        assert translator.events("service.stopping") and translator.events("daemon.stopped")
        manager.hear_the_rest()
    assert manager.words[-1] == "STOPPING=1"


def test_sigterm_under_load_ends_it_in_time_and_every_answer_is_in_the_books(tmp_path, pool):
    with TranslatorProcess(write(tmp_path, pool.url)) as translator:
        with Fleet(translator.ready(), [f"farm.{number}" for number in range(20)], in_flight=32) as fleet:
            fleet.drive(fleet.are_working)
            fleet.give(10_000)
            fleet.drive(lambda: fleet.answers[0] > 500)
            translator.terminate()
            for machine in fleet.machines:
                machine.is_stopped = True
                while machine.hear():
                    pass
            assert translator.wait() == 0
            assert not translator.events("daemon.undrained") and not translator.events("daemon.hanging")
        answered = fleet.answers[0]
    with open_reader("sqlite:///shares.db", tmp_path / "translator") as reader:
        assert reader.totals().shares == answered == len(pool.booked())


def test_an_upstream_with_another_key_is_an_error_in_the_log(tmp_path, pool):
    wrong = PoolUrl(pool.url.host, pool.url.port, bytes(31) + b"\x09")
    config = write(tmp_path, wrong)
    with TranslatorProcess(config) as translator:
        refused = translator.wait_for("upstream.refused")
        assert refused["upstream"] == pool.url.place and "another key" in refused["meaning"]
        assert not translator.events("service.ready")
        translator.terminate()
        assert translator.wait() == 0


@pytest.mark.parametrize(("more", "upstream", "words"), [
    ("mode = 'both'", "", ["translator.mode", "connection or channels"]),
    ("", "fallback = true", ["upstream.fallback", "fallback_only"]),
    ("[log]\nlevel = 'loud'", "", ["log.level", "loud"]),
])
def test_every_mistake_is_one_line_and_status_2(tmp_path, more, upstream, words):
    config = write(tmp_path, PoolUrl("127.0.0.1", closed_port(), bytes(range(32))), more, upstream)
    done = subprocess.run([*WARPPOOL, "translate", "-c", str(config)], capture_output=True, text=True,
                          timeout=PATIENCE_S, env=environ())
    assert_refused(done, *words)
    assert not (tmp_path / "translator").exists()
