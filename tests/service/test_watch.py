"""Which threads are complained of, and which ones starve systemd's watchdog."""

from __future__ import annotations

import logging
from typing import NamedTuple

import pytest

from warppool.loop import GRACE_S, PATIENT_LIMIT_S, PROMPT_LIMIT_S, HangLimits, ServingThread, patient, prompt
from warppool.service import run
from warppool.service.notify import Notifier
from warppool.service.signals import Requests
from warppool.service.watch import SAY_EVERY_S, Watchdog


class Thread(NamedTuple):
    """What the watchdog sees of one."""

    name: str
    beat: float
    limits: HangLimits


def watching(*threads: ServingThread) -> Watchdog:
    watchdog = Watchdog()
    for thread in threads:
        watchdog.add(thread)
    return watchdog


def test_a_prompt_thread_starves_the_watchdog_after_its_limit() -> None:
    watchdog = watching(Thread("reactor", 100.0, prompt()), Thread("node-0", 100.0, prompt(60.0)))
    assert watchdog.hanging(100.0 + PROMPT_LIMIT_S) == []
    assert watchdog.hanging(100.1 + PROMPT_LIMIT_S) == ["reactor"]
    assert watchdog.hanging(160.1) == ["reactor", "node-0"]


def test_a_dying_disk_or_a_slow_submitblock_does_not_kill_the_daemon() -> None:
    """The ledger in a commit of four minutes is complained of, and fed for all that."""
    watchdog = watching(Thread("ledger", 100.0, patient(10.0)), Thread("submit-0", 100.0, patient(30.0)))
    assert watchdog.hanging(100.0 + PATIENT_LIMIT_S) == []
    assert watchdog.hanging(100.1 + PATIENT_LIMIT_S) == ["ledger", "submit-0"]


def test_a_time_out_above_five_minutes_is_waited_for() -> None:
    watchdog = watching(Thread("slow", 0.0, patient(400.0)))
    assert watchdog.hanging(410.0) == []
    assert watchdog.hanging(410.1) == ["slow"]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return found


def test_a_slow_thread_is_said_once_a_minute_and_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watchdog = watching(Thread("submit-0", 0.0, patient(30.0)))
    slow_at = 30.0 + GRACE_S
    watchdog.look(slow_at)
    assert lines(caplog) == []
    for second in range(1, 2 + int(SAY_EVERY_S)):
        watchdog.look(slow_at + second)
    assert lines(caplog) == ["ERROR event=thread.slow thread=submit-0 seconds=41 starves_watchdog=no",
                             "ERROR event=thread.slow thread=submit-0 seconds=101 starves_watchdog=no"]
    watchdog.threads = [Thread("submit-0", 200.0, patient(30.0)), Thread("jobs", 170.0, prompt())]
    watchdog.look(201.0)
    assert lines(caplog) == ["INFO event=thread.back thread=submit-0",
                             "ERROR event=thread.slow thread=jobs seconds=31 starves_watchdog=yes"]


class Manager(Notifier):
    """systemd, as far as the watch has to do with it."""

    def __init__(self) -> None:
        super().__init__({"WATCHDOG_USEC": "20000"})
        self.fed = 0

    def alive(self) -> bool:
        self.fed += 1
        return True

    def status(self, words: str) -> bool:
        return True


class Hung:
    """A service whose threads stand still; the watch ends after some looks."""

    def __init__(self, *threads: ServingThread) -> None:
        self.watchdog = watching(*threads)
        self.has_failed = self.is_ready = self.status = self
        self.looks = self.relieved = 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks > 20

    def watch(self, now: float) -> None:
        self.relieved += 1

    def mistake(self) -> str:
        return ""

    def waits_for(self) -> str:
        return "waiting for the node: no template yet"

    def hanging(self, now: float) -> list[str]:
        return self.watchdog.hanging(now)


@pytest.mark.parametrize(("beat", "is_fed"), [(1e12, True), (-1000.0, False)])
def test_the_watchdog_is_fed_while_no_thread_hangs(beat: float, is_fed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    service, manager = Hung(Thread("worker-0", beat, prompt())), Manager()
    monkeypatch.setattr(service, "is_ready", type("Never", (), {"is_set": lambda self: False})())
    run._watch(service, manager, Requests())      # type: ignore[arg-type]
    assert (manager.fed > 0) is is_fed
    assert service.relieved, "shares that wait behind a commit that hangs are refused in time"
