"""Signals: their handlers only leave a request, which the main thread takes up between two steps."""

from __future__ import annotations

import queue
import signal
from contextlib import suppress
from types import FrameType


class Requests:
    """What signals ask for: to end, to reload, to ask the nodes. Set by signal handlers, read by the main thread alone.

    A handler runs between any two steps of the main thread, so it may not take a lock that the main thread takes, too:
    with a threading.Event it would at times wait for itself, for ever. SimpleQueue.put is made for this.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._is_set = False
        self._is_reload_requested = False
        self._is_asking_requested = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self, number: int = 0) -> None:
        """Ask for the end, at any moment; `number` is the signal that says so."""
        self.signal = number
        self._is_set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        """Whether the end was ever asked for."""
        return self._is_set

    def request_reload(self) -> None:
        """Ask that the configuration is read anew, at any moment."""
        self._is_reload_requested = True
        self._wake.put(None)

    def take_reload(self) -> bool:
        """Whether that was asked since the last call. A request that comes now is met by the reload that follows."""
        if not self._is_reload_requested:
            return False
        self._is_reload_requested = False
        return True

    def request_asking(self) -> None:
        """Ask that the nodes are asked for work at once, at any moment."""
        self._is_asking_requested = True
        self._wake.put(None)

    def take_asking(self) -> bool:
        """Whether that was asked since the last call."""
        if not self._is_asking_requested:
            return False
        self._is_asking_requested = False
        return True

    def wait(self, timeout_s: float) -> bool:
        """Whether the end is asked for before so many seconds are over. Any other request ends the wait, too."""
        if not self._is_set:
            with suppress(queue.Empty):
                self._wake.get(timeout=timeout_s)
        return self._is_set


def catch_signals(requests: Requests) -> None:
    """SIGTERM and SIGINT ask for the end, SIGHUP for a reload, and SIGUSR1 that the nodes are asked at once.

    Nodes send the last one by `blocknotify`, a habit from other pools; a program that has nothing to ask ignores it.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        requests.set(number)

    def reload(number: int, frame: FrameType | None) -> None:
        requests.request_reload()

    def ask(number: int, frame: FrameType | None) -> None:
        requests.request_asking()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, reload)
    signal.signal(signal.SIGUSR1, ask)


def ignore_signals() -> None:
    """All is done: an impatient second SIGTERM cannot find Python's own handlers, which come back at its end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
