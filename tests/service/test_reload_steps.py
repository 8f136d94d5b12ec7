"""What a reload says and does, step by step, with a program that is a list."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.config.test_changes import pool_of
from tests.service.process import fields_of
from warppool.config.options import Config
from warppool.config.running import FILE_NAME, read_running
from warppool.errors import ConfigError
from warppool.loop import Report
from warppool.service import reload
from warppool.service.reload import Program, Reload


class Rig:
    """A reload whose files say `new`, and what it did."""

    def __init__(self, folder: Path, environ: dict[str, str] | None = None) -> None:
        self.old = self._in(folder, pool_of())
        self.new: Config | Exception = self.old
        self.prepared: list[tuple[Config, Config]] = []
        self.taken: list[Config] = []
        self.fault: Exception | None = None
        self.threads: list[Any] = []
        self.reload = Reload(self.old, Program(self.read, self.prepare, lambda config: None), environ or {})
        self.folder = folder

    @staticmethod
    def _in(folder: Path, config: Config) -> Config:
        return replace(config, pool=replace(config.pool, data_dir=folder))

    def say(self, document: dict[str, Any]) -> None:
        self.new = self._in(self.folder, pool_of(document))

    def read(self) -> Config:
        if isinstance(self.new, Exception):
            raise self.new
        return self.new

    def prepare(self, runs: Config, new: Config) -> Callable[[], list[Any]]:
        if self.fault is not None:
            raise self.fault
        self.prepared.append((runs, new))

        def take() -> list[Any]:
            self.taken.append(runs)
            return self.threads

        return take


@pytest.fixture
def rig(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Any:
    level = logging.getLogger().level
    logging.getLogger().setLevel("INFO")
    yield Rig(tmp_path)
    logging.getLogger().setLevel(level)


def events(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    lines = [fields_of(record.getMessage()) for record in caplog.records if record.levelno >= logging.INFO]
    caplog.clear()
    return lines


def test_what_runs_is_prepared_before_anything_is_said_or_taken(rig, caplog, tmp_path):
    rig.say({"stratum": {"workers": 2, "max_per_ip": 7}})
    rig.reload()
    (runs, new), = rig.prepared
    assert rig.taken == [runs] == [rig.reload.config] and new is rig.new
    assert (runs.stratum.workers, runs.stratum.max_per_ip) == (1, 7)
    assert [line["event"] for line in events(caplog)] == ["config.left", "config.changed", "reload.done"]
    assert read_running(tmp_path).stratum.max_per_ip == 7
    rig.reload()
    assert [line["event"] for line in events(caplog)] == ["config.left", "reload.done"], "named each time"


@pytest.mark.parametrize("where", ["read", "prepare"])
@pytest.mark.parametrize(("fault", "event"), [
    (ConfigError("w.toml: pool.x is not known: did you mean pool.y?"), "reload.refused"),
    (KeyError("a bug"), "reload.failed")])
def test_whatever_fails_before_it_is_taken_changes_nothing(rig, caplog, tmp_path, where, fault, event):
    rig.say({"stratum": {"max_per_ip": 7}, "log": {"level": "error"}})
    if where == "read":
        rig.new = fault
    else:
        rig.fault = fault
    rig.reload()
    line, = events(caplog)
    assert line["event"] == event and "nothing is changed" in line["meaning"]
    assert rig.taken == [] and rig.reload.config is rig.old
    assert not (tmp_path / FILE_NAME).exists() and logging.getLogger().level == logging.INFO


def test_a_fault_while_threads_are_told_is_logged_and_the_pool_goes_on(rig, caplog, monkeypatch):
    rig.say({"stratum": {"max_per_ip": 7}})
    monkeypatch.setattr(rig, "taken", None)
    rig.reload()
    assert events(caplog)[-1]["event"] == "reload.failed" and rig.reload.config is rig.old


def test_a_stricter_log_still_says_what_changed_and_a_looser_one_says_it_too(rig, caplog):
    rig.say({"log": {"level": "error"}})
    rig.reload()
    assert [line["event"] for line in events(caplog)] == ["config.changed", "reload.done"]
    assert logging.getLogger().level == logging.ERROR
    rig.say({})
    rig.reload()
    assert [line["event"] for line in events(caplog)] == ["config.changed", "reload.done"]
    assert logging.getLogger().level == logging.INFO


def test_secrets_of_systemd_are_named_as_those_of_the_start(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rig = Rig(tmp_path, {"CREDENTIALS_DIRECTORY": "/run/credentials/warppool"})
    rig.reload()
    assert "LoadCredential" in events(caplog)[-1]["secrets"]
    rig.new = ConfigError("secrets.toml: node_passwords holds 0: it takes one for each [[node]] with a user")
    rig.reload()
    assert "at a restart" in events(caplog)[-1]["meaning"]


def test_a_disk_that_refuses_running_toml_stops_nothing(rig, caplog, tmp_path):
    rig.say({"stratum": {"max_per_ip": 7}})
    (tmp_path / (FILE_NAME + ".new")).mkdir()
    rig.reload()
    assert [line["event"] for line in events(caplog)] == ["config.changed", "running.unwritten", "reload.done"]
    assert rig.taken


class Thread:
    """One that hears, or hangs."""

    def __init__(self, name: str, hangs: bool) -> None:
        self.name = name
        self._hangs = hangs

    def ask(self, reply: Any) -> None:
        if not self._hangs:
            reply.put(Report(self.name, 0.0, 0))


def test_it_is_done_when_the_threads_have_heard_and_names_those_that_have_not(rig, caplog, monkeypatch):
    monkeypatch.setattr(reload, "HEARD_S", 0.01)
    rig.threads = [Thread("worker-0", hangs=False), Thread("reactor", hangs=False)]
    rig.reload()
    assert "late" not in events(caplog)[-1]
    rig.threads = [Thread("worker-0", hangs=False), Thread("reactor", hangs=True), Thread("jobs", hangs=True)]
    rig.reload()
    assert events(caplog)[-1]["late"] == "reactor,jobs"
