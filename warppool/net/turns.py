"""Whose turn it is: a worker serves all its connections in turn, however much one of them has sent.

A connection that has nothing waiting is served as soon as its bytes come, which is what nearly every share meets. What
does not fit into its part of the turn waits, and the connection stands in a ring: each gets its part, then the next
one, and those with more go to the end. A turn ends after TURN_S whatever there is to do, so that a new job, a record or
somebody else's share is looked at soon.

A connection with little to say, whose bytes come when the turn is over, does not go to the end of the ring: a hundred
connections that always have more stand there, and each may bring 64 shares. It stands in a line of its own, which is
served first in the next turn. Who brings more than LITTLE, or has more waiting, stands in the ring.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from warppool.net.clients import Client
from warppool.net.haste import HASTE
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ReactorItem

TURN_S = 0.005
"""How long a turn lasts before what is left waits for the next one. A share takes 20 µs, a V2 handshake 300 µs."""

REST_S = 0.001
"""How long a worker sleeps that was busy for TURN_S and has more to do for connections that wait. A thread that never
waits keeps the interpreter's lock for 5 ms at a time, as Python is set by default, and the reactor needs it again after
each call of a socket: with a hundred sockets that are ready a neighbour's share would wait for half a second."""

MAX_REST_S = 0.02
"""The longest such sleep: the reactor that does not come to its mail has as much to do as this worker."""

LITTLE = 1024
"""Bytes that a connection may bring to stand in the line and not in the ring: some six shares of a V1 machine, or any
one message of a machine that sets up."""

LEAST_SERVED = 4
"""Connections of the line, and of the ring, that are served in a turn that is late already, so that both move on."""


class Turns:
    """The ring of one worker and the length of its turns; used by that worker's thread alone.

    The worker itself says when a turn begins, and writes `number`, `ends_at` and `rested`: a lone share waits for that.
    """

    def __init__(self, length_s: float = TURN_S) -> None:
        self.number = 0
        self.length_s = length_s
        self.waiting = 0                                # connections in line and ring, and those that are gone
        self.rested = time.monotonic()                  # when the worker had nothing to do last
        self.ends_at = self.rested + length_s           # monotonic seconds
        self._line: deque[Client] = deque()
        self._ring: deque[Client] = deque()
        self._left: deque[Client] = deque()

    @property
    def has_line(self) -> bool:
        """Whether a connection with little to say waits for the next turn."""
        return bool(self._line)

    @property
    def has_more(self) -> bool:
        """Whether any connection waits for its part of the next turn."""
        return self.waiting > 0

    def is_late(self) -> bool:
        """Whether this turn has lasted long enough."""
        return time.monotonic() > self.ends_at

    def queue(self, client: Client) -> None:
        """Give `client` its part of a later turn."""
        if not client.is_queued and not client.is_full:
            client.is_queued = True
            self.waiting += 1
            self._ring.append(client)

    def line_up(self, client: Client) -> None:
        """Serve `client`, which has little to say, before those in the ring."""
        if not client.is_queued and not client.is_full:
            client.is_queued = True
            self.waiting += 1
            self._line.append(client)

    def leave(self, client: Client) -> None:
        """Serve `client`, whose peer is gone, before the ring, in which it may stand: most of what it holds is dropped
        unread, and until then it takes memory, of which those who come and go have much.
        """
        self.waiting += 1
        self._left.append(client)

    def line(self) -> Iterator[Client]:
        """The connections of the line that are to be served now, each once."""
        return self._take(self._line)

    def left(self) -> Iterator[Client]:
        """The connections whose peers are gone that are to be served now, each once."""
        return self._take(self._left)

    def round(self) -> Iterator[Client]:
        """The connections of the ring that are to be served now, each once; whoever is served may be queued again."""
        return self._take(self._ring)

    def _take(self, waiting: deque[Client]) -> Iterator[Client]:
        for count in range(len(waiting)):
            if count >= LEAST_SERVED and self.is_late():
                return
            client = waiting.popleft()
            self.waiting -= 1
            client.is_queued = False
            if not client.is_mute:
                yield client

    def rest(self, mailbox: Mailbox[ReactorItem]) -> None:
        """A turn is over that was long, or has left something, or has seen the end of haste. Let other threads have the
        interpreter, where this one would go on and on: until the reactor has been through all its sockets once, or
        sleeps, or MAX_REST_S are over.
        """
        now = time.monotonic()
        if now > self.ends_at:
            HASTE.begin(now)
        elif now > HASTE.until:
            HASTE.end()
        if self.has_more and now - self.rested > self.length_s:
            rounds, until = mailbox.rounds, now + MAX_REST_S
            time.sleep(REST_S)
            while mailbox.rounds == rounds and not mailbox.is_reader_asleep and time.monotonic() < until:
                time.sleep(REST_S)
            self.rested = time.monotonic()
