"""The threads of a service: started by name, watched while they serve, and waited for at the end.

All of this is for the main thread.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from warppool.loop import Report, ServingThread, ask_all
from warppool.say import say
from warppool.service.watch import Watchdog
from warppool.threads import spawn

log = logging.getLogger("warppool")

JOIN_S = 0.5
"""How long a stop waits for threads that have nothing to wait for themselves."""


class Threads:
    """Every thread that was started here, by its name.

    `has_failed` is set when one of them dies of a bug. No `join` waits beyond `stop_by`, in monotonic seconds.
    """

    def __init__(self) -> None:
        self.watchdog = Watchdog()
        self.has_failed = threading.Event()
        self.stop_by = math.inf
        self._threads: dict[str, threading.Thread] = {}
        self._let_go: list[threading.Thread] = []

    def start(self, *threads: ServingThread) -> None:
        """Start threads that serve, under the eyes of the watchdog."""
        for thread in threads:
            self.watchdog.add(thread)
            self.spawn(thread.name, thread.run)

    def spawn(self, name: str, run: Callable[[], None]) -> None:
        """Start a thread that does one thing and ends."""
        self._threads[name] = spawn(name, run, self._died)

    def let_go(self, *threads: ServingThread) -> None:
        """Threads were told to end while the service goes on: they are watched no more, and may be started anew."""
        for thread in threads:
            self.watchdog.remove(thread)
            self._let_go.append(self._threads.pop(thread.name))
        self._let_go = [thread for thread in self._let_go if thread.is_alive()]

    def reports(self, timeout_s: float) -> Sequence[Report]:
        """What every thread that serves says of itself; one that does not answer in time is left out."""
        return ask_all(self.watchdog.threads, timeout_s)

    def is_alive(self, name: str) -> bool:
        """Whether the thread of that name runs."""
        return name in self._threads and self._threads[name].is_alive()

    def join(self, names: Iterable[str], timeout_s: float = JOIN_S) -> None:
        """Wait for the threads of these names, `timeout_s` in all; a thread that was never started is left out."""
        deadline = min(time.monotonic() + timeout_s, self.stop_by)
        for name in names:
            thread = self._threads.get(name)
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def alive(self) -> list[str]:
        """The names of the threads that run."""
        return sorted(thread.name for thread in (*self._threads.values(), *self._let_go) if thread.is_alive())

    def _died(self, name: str) -> None:
        say(log, logging.CRITICAL, "daemon.failed", thread=name, meaning="a bug: the daemon ends so that it can be "
            "started anew; the log above has the traceback")
        self.has_failed.set()
