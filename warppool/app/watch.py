"""Who still turns: the beats of all threads, what is said of a slow one, and which ones starve systemd's watchdog.

A thread that serves machines or makes work is prompt: when it hangs, nobody is served, and a restart is the cure. A
thread that waits for a disk or for a node's `submitblock` is patient: a restart would not make the disk faster, and
might come in the midst of a block. So a patient thread is complained of first, and starves the watchdog much later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from warppool.say import say

log = logging.getLogger("warppool")

PROMPT_LIMIT_S = 20.0
"""A prompt thread that has not turned for so long hangs: each promises a turn every 5 s."""

GRACE_S = 10.0
"""What a patient thread has beyond its own time-out."""

PATIENT_LIMIT_S = 300.0
"""A patient thread that has not turned for so long hangs for good."""

SAY_EVERY_S = 60.0
"""Between two complaints of one thread."""


class Beat(NamedTuple):
    """One thread's last turn. All times are in monotonic seconds.

    Later than `slow_s` after `at` the thread is complained of, and later than `hangs_s` it starves the watchdog.
    """

    name: str
    at: float
    slow_s: float
    hangs_s: float


def prompt(name: str, at: float, limit_s: float = PROMPT_LIMIT_S) -> Beat:
    """A thread that may never stand for longer than `limit_s`: reactor, workers, job maker, node loops."""
    return Beat(name, at, limit_s, limit_s)


def patient(name: str, at: float, timeout_s: float) -> Beat:
    """A thread whose one step may take its own `timeout_s`: ledger, journal, each submit-N."""
    return Beat(name, at, timeout_s + GRACE_S, max(PATIENT_LIMIT_S, timeout_s + GRACE_S))


def hanging(beats: Iterable[Beat], now: float) -> list[str]:
    """The names of the threads that starve the watchdog."""
    return [beat.name for beat in beats if now - beat.at > beat.hangs_s]


class Watch:
    """Complains of slow threads, once a minute each; used by the main thread alone."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}           # when each thread that is slow was complained of last

    def look(self, beats: Iterable[Beat], now: float) -> None:
        """Say `thread.slow` of each thread that is late, and `thread.back` when it turns again."""
        for beat in beats:
            last = self._said.get(beat.name)
            if now - beat.at <= beat.slow_s:
                if last is not None:
                    del self._said[beat.name]
                    say(log, logging.INFO, "thread.back", thread=beat.name)
            elif last is None or now - last >= SAY_EVERY_S:
                self._said[beat.name] = now
                say(log, logging.ERROR, "thread.slow", thread=beat.name, seconds=round(now - beat.at),
                    starves_watchdog=now - beat.at > beat.hangs_s)
