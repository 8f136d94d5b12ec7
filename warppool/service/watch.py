"""The watchdog: who still turns, what is said of a slow thread, and which ones starve systemd's watchdog.

Every thread that serves is added when it is started, and says itself how long a turn may take (`loop.HangLimits`).
"""

from __future__ import annotations

import logging

from warppool.loop import ServingThread
from warppool.say import say

log = logging.getLogger("warppool")

SAY_EVERY_S = 60.0
"""Between two complaints of one thread."""


class Watchdog:
    """Knows every thread that serves; used by the main thread alone. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self.threads: list[ServingThread] = []
        self._said: dict[str, float] = {}           # when each thread that is slow was complained of last

    def add(self, thread: ServingThread) -> None:
        """Watch `thread` from now on."""
        self.threads.append(thread)

    def remove(self, thread: ServingThread) -> None:
        """Its work is over: it ends in its own time."""
        self.threads.remove(thread)
        self._said.pop(thread.name, None)

    def look(self, now: float) -> None:
        """Say `thread.slow` of each thread that is late, and `thread.back` when it turns again."""
        for thread in self.threads:
            last, late_s = self._said.get(thread.name), now - thread.beat
            if late_s <= thread.limits.slow_s:
                if last is not None:
                    del self._said[thread.name]
                    say(log, logging.INFO, "thread.back", thread=thread.name)
            elif last is None or now - last >= SAY_EVERY_S:
                self._said[thread.name] = now
                say(log, logging.ERROR, "thread.slow", thread=thread.name, seconds=round(late_s),
                    starves_watchdog=late_s > thread.limits.hangs_s)

    def hanging(self, now: float) -> list[str]:
        """The names of the threads that starve systemd's watchdog."""
        return [thread.name for thread in self.threads if now - thread.beat > thread.limits.hangs_s]
