"""A connection over a transport in memory, with the worker's part between them: what follows goes on the wire."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from warppool.events import Close, Connection, Event, Now, Send
from warppool.transport import Transport


class Over:
    """Bytes from the wire in; events out, among which what is sent is sealed in one piece, and stands before a Close.

    Whatever else is asked is the connection's.
    """

    def __init__(self, transport: Transport, connection: Connection) -> None:
        self.transport = transport
        self.connection: Any = connection
        self.is_over = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    @property
    def wakes_at(self) -> float:
        return math.inf if self.is_over else min(self.transport.wakes_at, self.connection.wakes_at)

    @property
    def backlog(self) -> int:
        return self.transport.pending + self.connection.backlog

    def receive(self, data: bytes, now: Now) -> list[Event]:
        if self.is_over and data:
            return []
        plaintext = self.transport.open(data, now.monotonic) if data else b""
        events = self.connection.receive(plaintext, now) if plaintext or self.connection.held else []
        return self.sealed(events, now)

    def tick(self, now: Now) -> list[Event]:
        if not self.is_over and self.transport.wakes_at <= now.monotonic:
            self.transport.tick(now.monotonic)
            return self.sealed([], now)
        return self.sealed(self.connection.tick(now), now)

    def offer(self, job: Any, now: Now) -> list[Event]:
        return self.sealed(self.connection.offer(job, now), now)

    def judged(self, weights: Sequence[Any], now: Now) -> list[Event]:
        return self.sealed(self.connection.judged(weights, now), now)

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        return self.sealed(self.connection.recorded(ids, now), now)

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        return self.sealed(self.connection.not_recorded(ids, now), now)

    def given_up(self, ids: Sequence[int], now: Now) -> list[Event]:
        return self.sealed(self.connection.given_up(ids, now), now)

    def closed(self, now: Now) -> list[Event]:
        self.is_over = True
        return self.connection.closed(now)

    def sealed(self, events: Sequence[Event], now: Now) -> list[Event]:
        """The events as the reactor and the others would get them."""
        conn_id = self.connection.conn_id
        said = b"".join(event.data for event in events if isinstance(event, Send) and event.conn_id == conn_id)
        closes = [event for event in events if isinstance(event, Close) and event.conn_id == conn_id]
        rest = [event for event in events if not (isinstance(event, Send | Close) and event.conn_id == conn_id)]
        if self.is_over:
            return rest
        wire = self.transport.seal(said)
        end = self.transport.end
        if not closes and end is not None:
            closes = [Close(conn_id, end.reason, end.is_peers_fault)]
            if self.connection.held:
                self.connection.abandon()           # of what it holds, only shares are taken
        self.is_over = bool(closes)
        return [*rest, *([Send(conn_id, wire)] if wire else []), *closes]
