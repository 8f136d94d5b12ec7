"""The loop of every thread that has an inbox: take all that waits there, do one turn with it, sleep until the next.

A thread of the program is a class built on `Loop`. The class says what a turn does (`turn`), what it reports of itself
(`report`) and what it does with a new configuration (`reconfigure`). The loop does the rest, the same for all: inbox,
deadline, the sign of life for the watchdog, the orders that every loop understands, and the place for the unforeseen.

The reactor sleeps in a selector and has a loop of its own. It shows the watchdog the same face (`ServingThread`).
"""

from __future__ import annotations

import logging
import math
import queue
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from warppool.threads import STOP, Stop

log = logging.getLogger("warppool")

Item = TypeVar("Item")
Answer = TypeVar("Answer")

PROMPT_LIMIT_S = 20.0
"""A thread that serves machines or makes work hangs if one turn takes longer."""

GRACE_S = 10.0
"""What a patient thread has beyond its own time-out before it is called slow."""

PATIENT_LIMIT_S = 300.0
"""A patient thread whose turn takes longer hangs for good."""

AFTER_FAULT_S = 1.0
"""From a turn that failed to the next one at the latest: a fault that comes back must not spin the thread."""

LONGEST_SLEEP_S = 3600.0
"""Between two turns with a deadline. A wait of many years would be refused by the system."""


class HangLimits(NamedTuple):
    """How long one turn may take, in seconds: over `slow_s` the thread is complained of, over `hangs_s` systemd's
    watchdog starves.
    """

    slow_s: float
    hangs_s: float


def prompt(limit_s: float = PROMPT_LIMIT_S) -> HangLimits:
    """For a thread that serves machines or makes work. When it hangs nobody is served, and a restart is the cure."""
    return HangLimits(limit_s, limit_s)


def patient(timeout_s: float) -> HangLimits:
    """For a thread whose one step may take its own `timeout_s`, as it waits for a disk or a node's `submitblock`.

    A restart would not make the disk faster, and might come in the middle of a block.
    """
    return HangLimits(timeout_s + GRACE_S, max(PATIENT_LIMIT_S, timeout_s + GRACE_S))


def unawaited(slow_s: float) -> HangLimits:
    """For a thread that only shows numbers to people. It may hang for ever, as on a file server that is gone: it is
    complained of, and never a reason for a restart, since nobody who mines waits for it.
    """
    return HangLimits(slow_s, math.inf)


class Takes(Protocol):
    """A queue, or what wakes its owner besides."""

    def put(self, item: Any, /) -> None: ...


class ServingThread(Protocol):
    """What a service sees of a thread that serves, a loop or the reactor. Any thread may use it.

    `beat` is the monotonic time in seconds at which the turn that runs began; infinite while the thread sleeps, for a
    thread that waits does not hang.
    """

    @property
    def name(self) -> str: ...
    @property
    def beat(self) -> float: ...
    @property
    def limits(self) -> HangLimits: ...
    def ask(self, reply: queue.SimpleQueue[Report]) -> None: ...
    def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Report:
    """What a thread says of itself. Each loop adds counters of its own in a class built on this one.

    `beat` is the monotonic time in seconds at which the turn that answers began, infinite where the thread has ended.
    `waiting` items have come to the inbox since then.
    """

    name: str
    beat: float
    waiting: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Put a frozen report of yourself into `reply`. The answer proves that all before it in the inbox was handled."""

    reply: queue.SimpleQueue[Report]


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """From now on `value` is your configuration: a frozen value, whose class the loop's `reconfigure` names.

    It is not answered. An `Ask` behind it is answered after it has taken effect.
    """

    value: object


Order = Ask | Reconfigure | Stop
"""What every loop understands, beside items of its own."""


class Loop(ABC, Generic[Item]):
    """One thread's state and inbox. `run` is the body of the thread; `inbox` takes `Item`s from any thread, and STOP,
    Ask and Reconfigure.

    `name` is the thread's name, `limits` is how long a turn may take. `most_items` of the inbox go into one turn.
    `monotonic` is the clock, in seconds. All attributes belong to the thread; others read `name`, `beat` and `limits`,
    and beside these only what a class says.
    """

    limits = prompt()
    most_items = sys.maxsize

    def __init__(self, name: str, inbox: queue.Queue[Any] | None = None,
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.inbox: queue.Queue[Item | Order] = queue.Queue() if inbox is None else inbox
        self.beat = math.inf
        self.is_stopping = False            # STOP has come
        self.is_over = False                # nothing turns any more: the state is free to be read
        self._monotonic = monotonic
        self._asked: list[queue.SimpleQueue[Report]] = []

    # --- what each thread has of its own ------------------------------------------------------------------------------

    @abstractmethod
    def turn(self, items: list[Item]) -> float:
        """Do what `items` ask for, in their order, and what is due by now.

        Returns the monotonic time in seconds of the next turn at the latest: a past one for at once, infinity to sleep
        until something comes. The first turn comes at once, be there items or not.
        """

    def report(self) -> Report:
        """What this thread says of itself; called on the thread, or once it is over."""
        return Report(*self.vitals())

    def reconfigure(self, value: Any) -> None:
        """Take a new configuration; called on the thread, before the turn that it came for."""
        raise TypeError(f"{self.name} has nothing that can be configured anew: {type(value).__name__}")

    def is_done(self) -> bool:
        """After STOP: whether this turn was the last one."""
        return True

    def finish(self) -> None:
        """The last act of the thread, however it ends."""

    # --- what all have in common --------------------------------------------------------------------------------------

    def run(self) -> None:
        """The body of the thread: turn until STOP, and all that came before it."""
        inbox, monotonic = self.inbox, self._monotonic
        self.is_stopping = self.is_over = False
        due = -math.inf
        try:
            while not (self.is_stopping and self.is_done()):
                self.beat = math.inf
                timeout_s = None if due == math.inf else min(max(0.0, due - monotonic()), LONGEST_SLEEP_S)
                # Every share waits for what stands here: no call but those of the queue and of the clock.
                items: list[Any] = []
                try:
                    items.append(inbox.get(timeout=timeout_s))
                except queue.Empty:
                    pass
                else:
                    for _ in range(min(inbox.qsize(), self.most_items - 1)):    # nobody else takes from it
                        items.append(inbox.get_nowait())
                self.beat = monotonic()
                if not _ORDERS.isdisjoint(map(type, items)):
                    items = self._obey(items)
                try:
                    due = self.turn(items)
                except Exception:           # the place for the unforeseen that no single item is to blame for
                    log.exception("event=thread.failed thread=%s", self.name)
                    due = monotonic() + AFTER_FAULT_S
                if self._asked:
                    self.answer()
        finally:
            self.finish()
            self._close_inbox()

    def drain(self, wait_s: float = 0.0) -> list[Item]:
        """All that waits in the inbox, for a turn that takes long or waits elsewhere; orders are obeyed.

        Where nothing is there, waits up to `wait_s` seconds for the first.
        """
        items: list[Any] = []
        if wait_s > 0:
            with suppress(queue.Empty):
                items.append(self.inbox.get(timeout=wait_s))
        return self._obey(items + [self.inbox.get_nowait() for _ in range(self.inbox.qsize())])

    def put(self, item: Item | Order) -> None:
        """Any thread: leave `item` for the loop."""
        self.inbox.put(item)

    def guard(self, step: Callable[..., None], *args: Any) -> None:
        """Take one step of a turn. A fault in that step costs nothing of the others."""
        try:
            step(*args)
        except Exception:
            self.say_fault(step.__name__)

    def say_fault(self, step: str) -> None:
        """Say that `step` met the unforeseen; called where the exception is caught."""
        log.exception("event=thread.failed thread=%s step=%s", self.name, step)

    def stop(self) -> None:
        """Any thread: end once all that came before is done."""
        self.put(STOP)

    def ask(self, reply: queue.SimpleQueue[Report]) -> None:
        """Any thread: have a report put into `reply`, soon, unless the thread hangs."""
        if self.is_over:
            reply.put(self.report())
        else:
            self.put(Ask(reply))

    def vitals(self) -> tuple[str, float, int]:
        """The first fields of every report."""
        return self.name, self.beat, self.inbox.qsize()

    def _obey(self, items: list[Any]) -> list[Any]:
        """Do what the orders among `items` say, and return the others in their order."""
        others = []
        for item in items:
            if item is STOP:
                self.is_stopping = True
            elif isinstance(item, Ask):
                self._asked.append(item.reply)
            elif isinstance(item, Reconfigure):
                self.guard(self.reconfigure, item.value)
            else:
                others.append(item)
        return others

    def answer(self) -> None:
        """Answer those who asked: at the end of each turn, and amid one that takes long, if it likes."""
        if self._asked:
            self.guard(self._send_reports)

    def _send_reports(self) -> None:
        asked, self._asked = self._asked, []
        report = self.report()
        for reply in asked:
            reply.put(report)

    def _close_inbox(self) -> None:
        """Nothing turns any more. Who asked in the last moment is answered."""
        self.beat = math.inf
        self.is_over = True
        for item in self.drain():
            self.inbox.put(item)                # nobody takes it any more, and it stays where it was
        self.answer()


_ORDERS = frozenset({Stop, Ask, Reconfigure})


def ask_all(threads: Sequence[ServingThread], timeout_s: float) -> list[Any]:
    """The reports of all `threads`, in the order of the answers; who does not answer in time is left out.

    Each is of the class that the thread's `report` returns.
    """
    reply: queue.SimpleQueue[Report] = queue.SimpleQueue()
    for thread in threads:
        thread.ask(reply)
    return collect(reply, len(threads), timeout_s)


def collect(reply: queue.SimpleQueue[Answer], count: int, timeout_s: float) -> list[Answer]:
    """Up to `count` answers, for as long as `timeout_s` allows in all."""
    deadline = time.monotonic() + timeout_s
    answers: list[Answer] = []
    with suppress(queue.Empty):
        for _ in range(count):
            answers.append(reply.get(timeout=max(0.0, deadline - time.monotonic())))
    return answers
