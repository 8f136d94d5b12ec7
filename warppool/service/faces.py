"""The faces of a service: the threads that show its numbers to people, such as status files and the status socket.

They start last and are the first to be told to end. Nothing waits for them but the end of the stop itself, and nothing
that serves a machine waits for them at all.
"""

from __future__ import annotations

from typing import Protocol

from warppool.loop import ServingThread
from warppool.service.threads import Threads


class StoppableThread(ServingThread, Protocol):
    """A thread that serves, and that any thread may tell to end."""

    def stop(self) -> None: ...


class Faces:
    """A part: these threads, none for a service that shows nothing."""

    def __init__(self, *threads: StoppableThread) -> None:
        self._threads = threads

    @property
    def names(self) -> list[str]:
        """The names of the threads, for the stop to wait for."""
        return [thread.name for thread in self._threads]

    def start(self, threads: Threads) -> None:
        """Start them."""
        threads.start(*self._threads)

    def stop(self, threads: Threads) -> None:
        """Tell them to end; `Service.stop` waits for them at its very end."""
        for thread in self._threads:
            thread.stop()
