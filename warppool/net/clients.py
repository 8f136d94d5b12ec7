"""What a worker keeps beside a connection: its transport, when it is due, what waits for it and what it has to say."""

from __future__ import annotations

import math
from typing import NamedTuple

from warppool.events import Connection, Event, Now, OutgoingConnection, WithoutShares
from warppool.transport import Transport


class Stack(NamedTuple):
    """What serves one socket: a transport, and the connection that gets its plaintext."""

    transport: Transport
    connection: Connection


class Undecided(WithoutShares):
    """In the place of a connection while its transport finds out which one it will be."""

    __slots__ = ("conn_id",)

    wakes_at = math.inf

    def __init__(self, conn_id: int) -> None:
        self.conn_id = conn_id

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """A transport that decides gives no plaintext."""
        return []

    def tick(self, now: Now) -> list[Event]:
        """The deadline is the transport's."""
        return []

    def closed(self, now: Now) -> list[Event]:
        """Nobody was here yet."""
        return []


class Client:
    """One connection, its transport and its account with the worker."""

    __slots__ = ("agent", "came_at", "connection", "due", "end", "holders", "is_closing", "is_full", "is_leaving",
                 "is_mute", "is_parting", "is_queued", "is_shaking", "kind", "name", "owes_job", "peer", "said",
                 "transport", "turn", "unreported", "unsealed", "waiting")

    is_upstream = False

    def __init__(self, stack: Stack, peer: str, kind: str = "") -> None:
        self.transport, self.connection = stack
        self.peer = peer
        self.kind = kind                        # of its listener, or what it was recognised as
        self.is_shaking = hasattr(self.transport, "is_established")     # its handshake is not over, or not counted yet
        self.came_at = math.inf                 # monotonic seconds of when its first machine had work
        self.name = self.agent = self.end = ""  # of its first machine; and why it ended
        self.unsealed: list[bytes] | None = None    # plaintext to be sealed at the end of the wake-up, if any is
        self.is_closing = False                 # it is closed behind that
        self.due = math.inf                     # monotonic seconds of the one entry that stands
        self.said = 0                           # the kinds of lines in the journal that it had, a bit each
        self.unreported = 0                     # bytes from the wire not yet reported as consumed
        self.waiting: bytearray | None = None   # bytes from the wire that the transport has not been given
        self.turn = -1                          # number of the worker's turn in which it was given some last
        self.holders = 0                        # its open channels or authorized workers
        self.is_queued = False                  # it stands in the ring, for its part of a later turn
        self.is_full = False                    # its peer does not read: nothing is asked of it, and no job made
        self.owes_job = False                   # it has not been offered the latest job
        self.is_leaving = False                 # its peer is gone; shares among what it sent are still taken
        self.is_mute = False                    # closed; only its shares in flight keep it
        self.is_parting = False                 # its peer sends no more: it ends once all is answered

    def hold(self, data: bytes) -> None:
        """Keep what was received for a later turn."""
        if self.waiting is None:
            self.waiting = bytearray(data)
        else:
            self.waiting += data

    def take(self, most: int) -> bytes:
        """Up to `most` bytes of what waits."""
        waiting = self.waiting
        if waiting is None:
            return b""
        if len(waiting) <= most:
            self.waiting = None
            return bytes(waiting)
        taken = bytes(waiting[:most])
        del waiting[:most]
        return taken

    @property
    def unread(self) -> int:
        """Bytes that wait for us, and not for the peer; plaintext is never more than the ciphertext was.

        Where nothing is held and no share is in flight, what transport and connection have is the front of a record
        or of a message, whose rest must be let in.
        """
        connection = self.connection
        waiting = len(self.waiting) if self.waiting is not None else 0
        if connection.held or connection.in_flight:
            waiting += connection.backlog + self.transport.pending
        return waiting


class UpstreamClient(Client):
    """One that a session here asked for; a drain waits for what it says."""

    __slots__ = ("upstream",)

    is_upstream = True

    def __init__(self, transport: Transport, upstream: OutgoingConnection, peer: str) -> None:
        super().__init__(Stack(transport, upstream), peer)
        self.upstream = upstream
