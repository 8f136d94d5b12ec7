"""Which threads are complained of, and which ones starve systemd's watchdog."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from warppool.app import run
from warppool.app.notify import Notifier
from warppool.app.watch import GRACE_S, PATIENT_LIMIT_S, PROMPT_LIMIT_S, SAY_EVERY_S, Watch, hanging, patient, prompt


def test_a_prompt_thread_starves_the_watchdog_after_its_limit() -> None:
    beats = [prompt("reactor", 100.0), prompt("node-0", 100.0, 60.0)]
    assert hanging(beats, 100.0 + PROMPT_LIMIT_S) == []
    assert hanging(beats, 100.1 + PROMPT_LIMIT_S) == ["reactor"]
    assert hanging(beats, 160.1) == ["reactor", "node-0"]


def test_a_dying_disk_or_a_slow_submitblock_does_not_kill_the_daemon() -> None:
    """The ledger in a commit of four minutes is complained of, and fed for all that."""
    beats = [patient("ledger", 100.0, 10.0), patient("submit-0", 100.0, 30.0)]
    assert hanging(beats, 100.0 + PATIENT_LIMIT_S) == []
    assert hanging(beats, 100.1 + PATIENT_LIMIT_S) == ["ledger", "submit-0"]


def test_a_time_out_above_five_minutes_is_waited_for() -> None:
    assert hanging([patient("slow", 0.0, 400.0)], 410.0) == []
    assert hanging([patient("slow", 0.0, 400.0)], 410.1) == ["slow"]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return found


def test_a_slow_thread_is_said_once_a_minute_and_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watch, beats = Watch(), [patient("submit-0", 0.0, 30.0), prompt("jobs", 0.0)]
    slow_at = 30.0 + GRACE_S
    watch.look(beats[:1], slow_at)
    assert lines(caplog) == []
    for second in range(1, 2 + int(SAY_EVERY_S)):
        watch.look(beats[:1], slow_at + second)
    assert lines(caplog) == ["ERROR event=thread.slow thread=submit-0 seconds=41 starves_watchdog=no",
                             "ERROR event=thread.slow thread=submit-0 seconds=101 starves_watchdog=no"]
    watch.look([patient("submit-0", 200.0, 30.0), prompt("jobs", 170.0)], 201.0)
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

    status = ready_fields = ports = None

    def __init__(self, *beats: Any) -> None:
        self._beats = list(beats)
        self.has_failed = self.is_ready = self
        self.looks = self.relieved = 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks > 20

    def beats(self) -> list[Any]:
        return self._beats

    def relieve(self) -> None:
        self.relieved += 1

    def mistake(self) -> str:
        return ""

    def waits_for(self) -> str:
        return "waiting for the node: no template yet"

    def hanging(self, now: float) -> list[str]:
        return hanging(self._beats, now)


@pytest.mark.parametrize(("beat", "is_fed"), [
    (prompt("worker-0", 1e12), True), (prompt("worker-0", -1000.0), False)])
def test_the_watchdog_is_fed_while_no_thread_hangs(beat: Any, is_fed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    service, manager = Hung(beat), Manager()
    monkeypatch.setattr(service, "is_ready", type("Never", (), {"is_set": lambda self: False})())
    run._watch(service, manager, run.StopWish())      # type: ignore[arg-type]
    assert (manager.fed > 0) is is_fed
    assert service.relieved, "shares that wait behind a commit that hangs are refused in time"
