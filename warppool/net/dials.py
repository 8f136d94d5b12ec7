"""What the sessions of one worker have asked to be dialled, until it stands or has failed."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

from warppool.errors import LocalProtocolError
from warppool.events import Dial, OutgoingConnection
from warppool.net.resolver import Connect
from warppool.say import say

log = logging.getLogger(__name__)

DIAL_S = 10.0
"""The longest that a dial may take, its name's lookup and all addresses together; TCP itself would try for minutes."""

STOPPING = "stopping"
"""Why nothing is dialled any more."""


class Dials:
    """Owned by worker number `worker`; the upstream objects stay here, and only their dial ids cross threads.

    `resolve` hands a wish on and must not block; None where no session dials.
    """

    def __init__(self, worker: int, resolve: Callable[[Connect], None] | None) -> None:
        self.worker = worker
        self._resolve = resolve
        self._ids = itertools.count(1)
        self._pending: dict[int, OutgoingConnection] = {}

    def ask(self, dial: Dial, now: float) -> None:
        """Have it dialled, from monotonic `now` on."""
        if self._resolve is None:
            raise LocalProtocolError("this worker has nobody who dials")
        dial_id = next(self._ids)
        self._pending[dial_id] = dial.upstream
        say(log, logging.DEBUG, "dial.started", conn=dial.conn_id, dial=dial_id, host=dial.host, port=dial.port)
        self._resolve(Connect(self.worker, dial_id, dial.host, dial.port, now + DIAL_S))

    def take(self, dial_id: int) -> OutgoingConnection | None:
        """Who waits for this outcome; None if it was given up."""
        return self._pending.pop(dial_id, None)

    @property
    def pending(self) -> tuple[int, ...]:
        """The ids of all that are still out, oldest first."""
        return tuple(self._pending)
