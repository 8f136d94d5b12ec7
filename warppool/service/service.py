"""A program that serves, as one object made of parts; `pool.py` and `translator.py` make these and hand them over.

Start goes from the books outwards to the ports, stop from the ports inwards: first no more bytes come in, then what is
in flight is judged, recorded and answered, and the books close last (docs/threads.rst#stopping).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol

from warppool.say import say
from warppool.service.faces import Faces
from warppool.service.ledger import Ledger
from warppool.service.ports import Ports
from warppool.service.reload import Reload
from warppool.service.threads import JOIN_S, Threads

log = logging.getLogger("warppool")

DRAIN_S = 2.0
"""How long a stop waits for shares in flight; with what follows it stays within the 5 s that SIGTERM is promised."""

FLUSH_S = 0.5
"""How long a stop waits for peers to take the last answers and hang up."""

STOP_S = 4.5
"""How long a stop takes at most, whatever hangs: what is left then ends with the process."""


class Part(Protocol):
    """Some threads of a service that are started together and stopped together, by the main thread."""

    def start(self, threads: Threads) -> None:
        """Start them."""

    def stop(self, threads: Threads) -> None:
        """End them once what they were handed is done, and wait for them where others need that."""


class InTurn:
    """Parts that start in this order, and stop in it, too."""

    def __init__(self, *parts: Part) -> None:
        self._parts = parts

    def start(self, threads: Threads) -> None:
        """Start them."""
        for part in self._parts:
            part.start(threads)

    def stop(self, threads: Threads) -> None:
        """End them."""
        for part in self._parts:
            part.stop(threads)


class Status(Protocol):
    """What people read of a service; asked by the main thread."""

    def ready_fields(self) -> dict[str, object]:
        """What `event=service.ready` says beside the ports."""

    def line(self) -> str:
        """What the service does, for `systemctl status`."""

    def waits_for(self) -> str:
        """What is still missing before it is ready, for `systemctl status`."""

    def mistake(self) -> str:
        """What only the operator can mend, found before it is ready; "" for nothing."""

    def say_summary(self, now: float) -> None:
        """The line of each minute, at monotonic `now`."""


class Parts(NamedTuple):
    """What a service is made of. `resources` closes what they hold open.

    `behind` are the threads that workers hand things on to, `before` those that give workers something to do.
    `ask_nodes` asks for work at once, as when somebody knows of a new tip. `reload` takes another configuration.
    `faces` show the numbers to people.
    """

    resources: ExitStack
    ledger: Ledger
    ports: Ports
    behind: Part
    before: Part
    status: Status
    ask_nodes: Callable[[], None]
    reload: Reload[Any]
    faces: Faces = Faces()


class Service:
    """The parts as one object: `start`, `is_ready`, `stop`, by the main thread.

    `is_ready` is set by the part that finds that there is something to serve.
    """

    def __init__(self, parts: Parts, is_ready: threading.Event, drain_s: float = DRAIN_S) -> None:
        self.is_ready = is_ready
        self.threads = Threads()
        self.has_failed = self.threads.has_failed   # a thread died: the program must end
        self.is_hanging = False                     # threads are left after `stop`
        self.parts = parts
        self.status = parts.status
        self.drain_s = drain_s

    def start(self) -> None:
        """Start every thread; `is_ready` follows."""
        parts, threads = self.parts, self.threads
        parts.reload.write_running()
        threads.start(parts.ledger.thread)
        parts.behind.start(threads)
        threads.start(*parts.ports.workers, parts.ports.reactor)
        parts.before.start(threads)
        parts.faces.start(threads)

    def reload(self) -> None:
        """Read the whole configuration again, and take of it what a running service may."""
        self.parts.reload()

    def look(self, now: float) -> None:
        """Warn of what draws near, at Unix time `now`: the end of a certificate."""
        for certificate in (self.parts.ports.certificate, self.parts.ports.spec):
            if certificate is not None:
                certificate.look(now)

    def watch(self, now: float) -> None:
        """Complain of slow threads, and help those who wait for a ledger that hangs; `now` is monotonic."""
        self.threads.watchdog.look(now)
        self.parts.ledger.thread.relieve()

    def hanging(self, now: float) -> list[str]:
        """The names of threads that have not turned for too long, by the monotonic clock: they starve the watchdog."""
        return self.threads.watchdog.hanging(now)

    def stop(self) -> None:
        """End every thread within 5 s: answers in flight go out, and the books are committed.

        A thread that a disk or a node holds up longer than that is left behind (`is_hanging`).
        """
        parts, threads = self.parts, self.threads
        threads.stop_by = time.monotonic() + STOP_S - FLUSH_S - JOIN_S
        parts.faces.stop(threads)
        parts.ports.stop_accepting()
        parts.before.stop(threads)
        parts.ports.drain(self.drain_s)
        parts.ports.stop_workers(threads)
        parts.ports.flush(FLUSH_S)
        parts.behind.stop(threads)
        parts.ledger.stop()
        threads.stop_by = math.inf
        threads.join([parts.ledger.thread.name, parts.ports.reactor.name, *parts.faces.names], FLUSH_S + JOIN_S)
        self.close()
        left = threads.alive()
        self.is_hanging = bool(left)
        if left:
            say(log, logging.ERROR, "daemon.hanging", threads=",".join(left))
        say(log, logging.INFO, "daemon.stopped")

    def close(self) -> None:
        """Close all that is open; for one that was never started. `stop` does it itself."""
        self.parts.resources.close()
