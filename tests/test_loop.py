"""The loop under every thread: items in their order, deadlines, orders, and a turn that fails."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.patience import PATIENCE_S
from warppool.loop import AFTER_FAULT_S, Ask, Loop, Reconfigure, Report, ask_all, patient, prompt
from warppool.threads import STOP, spawn


@dataclass(frozen=True, slots=True)
class Tally(Report):
    """With a counter of its own."""

    turns: int


class Echo(Loop[Any]):
    """Keeps what comes; items that can be called are called, and what is due is what the test says."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("echo", **kwargs)
        self.turns: list[list[Any]] = []
        self.config: Any = None
        self.due = math.inf
        self.turns_to_go = 0
        self.acts: list[str] = []

    def turn(self, items: list[Any]) -> float:
        self.turns.append(items)
        for item in items:
            if callable(item):
                item()
        return self.due

    def report(self) -> Tally:
        return Tally(*self.vitals(), turns=len(self.turns))

    def reconfigure(self, value: object) -> None:
        if value == "bad":
            raise ValueError(value)
        self.config = value

    def is_done(self) -> bool:
        self.turns_to_go -= 1
        return self.turns_to_go < 0

    def finish(self) -> None:
        self.acts.append("finished")


class Scripted:
    """An inbox whose waits take no time; at the end of the script comes STOP."""

    def __init__(self, *items: Any) -> None:
        self.now = 100.0
        self.waits: list[float | None] = []
        self._items = [*items, STOP]

    def monotonic(self) -> float:
        return self.now

    def qsize(self) -> int:
        return next((at for at, item in enumerate(self._items) if item is None), len(self._items))

    def get_nowait(self) -> Any:
        return self._items.pop(0)

    def get(self, timeout: float | None) -> Any:
        self.waits.append(timeout)
        item = self._items.pop(0)
        if item is None and timeout is not None:
            self.now += timeout
            raise queue.Empty
        return self._items.pop(0) if item is None else item


def scripted(*items: Any, due: Callable[[float], float] = lambda now: math.inf) -> tuple[Echo, Scripted]:
    inbox = Scripted(*items)
    loop = Echo(inbox=inbox, monotonic=inbox.monotonic)
    real = loop.turn
    loop.turn = lambda items: (real(items), due(inbox.now))[1]       # type: ignore[method-assign]
    loop.run()
    return loop, inbox


@pytest.fixture
def running() -> Iterator[Echo]:
    loop, died = Echo(), []
    thread = spawn(loop.name, loop.run, died.append)
    yield loop
    loop.inbox.put(STOP)
    thread.join(PATIENCE_S)
    assert not thread.is_alive() and died == []


def reports(*loops: Echo) -> list[Tally]:
    return ask_all(loops, PATIENCE_S)       # type: ignore[return-value]


def test_all_that_waits_is_one_turn_in_its_order() -> None:
    loop, inbox = scripted(1, 2, 3, None, 4)
    assert loop.turns == [[1, 2, 3], [4]]
    assert inbox.waits == [0.0, None], "the first turn comes at once, and without a deadline the sleep has no end"


def test_the_first_turn_needs_no_item() -> None:
    loop, _ = scripted(None, None, 1)
    assert loop.turns == [[], [1]]


def test_a_turn_comes_when_it_is_due() -> None:
    loop, inbox = scripted(1, None, None, 2, due=lambda now: now + 7.5)
    assert loop.turns == [[1], [], [], [2]]
    assert inbox.waits == [0.0, 7.5, 7.5, 7.5]


@pytest.mark.parametrize("due", [-math.inf, 0.0])
def test_what_is_due_already_is_done_without_a_sleep(due: float) -> None:
    _, inbox = scripted(1, None, 2, due=lambda now: due)
    assert inbox.waits == [0.0, 0.0, 0.0]


def test_a_deadline_in_a_thousand_years_can_be_slept_for(running: Echo) -> None:
    running.due = 1e300
    assert reports(running)[0].turns == 2


def test_a_turn_takes_no_more_than_it_may() -> None:
    inbox = Scripted(*range(5))
    loop = Echo(inbox=inbox, monotonic=inbox.monotonic)
    loop.most_items = 2
    loop.run()
    assert loop.turns == [[0, 1], [2, 3], [4]]


def test_what_stands_before_stop_is_done_and_so_is_what_waits_with_it() -> None:
    """A share or a block that comes a moment too late is better done than dropped."""
    loop, _ = scripted(1, STOP, 2)
    assert loop.turns == [[1, 2]] and loop.acts == ["finished"]


def test_a_loop_that_is_not_done_goes_on_after_stop() -> None:
    inbox = Scripted(1)
    loop = Echo(inbox=inbox, monotonic=inbox.monotonic)
    inbox._items += [None, None, None]
    loop.turns_to_go, loop.due = 2, 0.0
    loop.run()
    assert loop.turns == [[1], [], []] and loop.acts == ["finished"]


def test_a_turn_that_fails_costs_that_turn_and_does_not_spin(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "warppool")
    loop, inbox = scripted(lambda: 1 / 0, None, 2)
    assert "event=thread.failed thread=echo" in caplog.text and "ZeroDivisionError" in caplog.text
    assert loop.turns[1:] == [[], [2]] and inbox.waits == [0.0, AFTER_FAULT_S, None]


def test_who_asks_is_answered_after_what_came_before(running: Echo) -> None:
    running.inbox.put("before")
    report, = reports(running)
    assert report.name == "echo" and ["before"] in running.turns
    assert report.beat <= time.monotonic() and report.waiting == 0
    with pytest.raises(AttributeError):
        report.turns = 0                    # type: ignore[misc]


def test_the_answer_comes_though_the_turn_failed(running: Echo) -> None:
    reply: queue.SimpleQueue[Report] = queue.SimpleQueue()
    held = threading.Event()
    running.inbox.put(lambda: held.wait(PATIENCE_S))
    running.inbox.put(lambda: 1 / 0)
    running.ask(reply)
    held.set()
    assert reply.get(timeout=PATIENCE_S).name == "echo"


def test_a_loop_that_hangs_is_left_out(running: Echo) -> None:
    other, held = Echo(), threading.Event()
    thread = spawn("other", other.run, lambda name: None)
    other.inbox.put(lambda: held.wait(PATIENCE_S))
    assert len(ask_all([other, running], 0.1)) == 1
    held.set()
    other.inbox.put(STOP)
    thread.join(PATIENCE_S)


def test_a_loop_that_is_over_still_reports() -> None:
    loop, _ = scripted(1)
    assert [(report.turns, report.beat) for report in reports(loop)] == [(1, math.inf)]


def test_who_asks_in_the_last_moment_is_answered() -> None:
    inbox: queue.Queue[Any] = queue.Queue()
    reply: queue.SimpleQueue[Report] = queue.SimpleQueue()
    loop = Echo(inbox=inbox)
    loop.finish = lambda: inbox.put(Ask(reply))         # type: ignore[method-assign]
    inbox.put(STOP)
    loop.run()
    assert reply.get_nowait().name == "echo"


def test_a_configuration_comes_before_the_turn_and_a_bad_one_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []
    inbox = Scripted()
    loop = Echo(inbox=inbox, monotonic=inbox.monotonic)
    inbox._items = [lambda: seen.append(loop.config), Reconfigure("new"), Reconfigure("bad"), "item", STOP]
    loop.run()
    assert seen == ["new"] and loop.config == "new" and loop.turns[0][1:] == ["item"]
    assert "event=thread.failed thread=echo step=reconfigure" in caplog.text


def test_a_loop_that_has_nothing_to_configure_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Plain(Loop[Any]):
        def turn(self, items: list[Any]) -> float:
            return math.inf

    plain = Plain("plain")
    plain.inbox.put(Reconfigure(3))
    plain.inbox.put(STOP)
    plain.run()
    assert "plain has nothing that can be configured anew: int" in caplog.text


def test_a_thread_that_sleeps_does_not_hang_and_one_in_a_turn_shows_since_when(running: Echo) -> None:
    reports(running)
    for due in (math.inf, time.monotonic() + 3600):
        running.due = due
        reports(running)
        deadline = time.monotonic() + PATIENCE_S
        while running.beat != math.inf and time.monotonic() < deadline:
            time.sleep(0.001)
        assert running.beat == math.inf
    held, begun = threading.Event(), threading.Event()
    before = time.monotonic()
    running.inbox.put(lambda: (begun.set(), held.wait(PATIENCE_S)))
    begun.wait(PATIENCE_S)
    assert before <= running.beat <= time.monotonic()
    held.set()


def test_how_long_a_turn_may_take() -> None:
    assert prompt() == (20.0, 20.0) and prompt(60.0) == (60.0, 60.0)
    assert patient(10.0) == (20.0, 300.0) and patient(400.0) == (410.0, 410.0)


def test_a_report_that_fails_costs_the_answer_alone(running: Echo, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "report", lambda: 1 / 0)
        assert ask_all([running], 0.2) == []
    assert "event=thread.failed thread=echo step=_send_reports" in caplog.text
    assert len(reports(running)) == 1
