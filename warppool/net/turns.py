"""Whose turn it is: a worker serves all its connections in turn, however much one of them has sent.

A connection that has nothing waiting is served as soon as its bytes come, which is what nearly every share meets. What
does not fit into its part of the turn waits, and the connection stands in a ring: each gets its part, then the next
one, and those with more go to the end. A turn ends after TURN_S whatever there is to do, so that a new job, a record or
somebody else's share is looked at soon.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from warppool.net.clients import Client
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ReactorItem

TURN_S = 0.005
"""How long a turn lasts before what is left waits for the next one. A share takes 20 µs, a V2 handshake 300 µs."""

REST_S = 0.001
"""How long a worker sleeps that was busy for TURN_S and has more to do for the connections in the ring. A thread that
never waits keeps the interpreter's lock for 5 ms at a time, and the reactor needs it again after each call of a
socket: with a hundred sockets that are ready a neighbour's share would wait for half a second."""

MAX_REST_S = 0.02
"""The longest such sleep: the reactor that does not come to its mail has as much to do as this worker."""

LEAST_SERVED = 4
"""Connections of the ring that are served in a turn that is late already, so that the ring always moves."""


class Turns:
    """The ring of one worker and the length of its turns; used by that worker's thread alone."""

    def __init__(self, length_s: float = TURN_S) -> None:
        self.number = 0
        self.length_s = length_s
        self._began = self._rested = time.monotonic()
        self._ring: deque[Client] = deque()

    @property
    def has_more(self) -> bool:
        """Whether a connection waits for its part of the next turn."""
        return bool(self._ring)

    def begin(self, now: float) -> None:
        """A turn begins; with nothing in the ring the worker has just waited."""
        self.number += 1
        self._began = now
        if not self._ring:
            self._rested = now

    def is_late(self) -> bool:
        """Whether this turn has lasted long enough."""
        return time.monotonic() - self._began > self.length_s

    def queue(self, client: Client) -> None:
        """Give `client` its part of a later turn."""
        if not client.is_queued and not client.is_full:
            client.is_queued = True
            self._ring.append(client)

    def round(self) -> Iterator[Client]:
        """The connections to be served now, each once; whoever is served may be queued again."""
        for count in range(len(self._ring)):
            if count >= LEAST_SERVED and self.is_late():
                return
            client = self._ring.popleft()
            client.is_queued = False
            if not client.is_mute:
                yield client

    def rest(self, mailbox: Mailbox[ReactorItem]) -> None:
        """Let other threads have the interpreter, where this one would go on and on: until the reactor has been through
        all its sockets once, or sleeps, or MAX_REST_S are over.
        """
        now = time.monotonic()
        if self._ring and now - self._rested > self.length_s:
            rounds, until = mailbox.rounds, now + MAX_REST_S
            time.sleep(REST_S)
            while mailbox.rounds == rounds and not mailbox.is_reader_asleep and time.monotonic() < until:
                time.sleep(REST_S)
            self._rested = time.monotonic()
