"""What a worker keeps beside a connection: when it is due, what waits for it, and what the reactor knows of that."""

from __future__ import annotations

import math

from warppool.events import Connection


class Client:
    """One connection and its account with the worker."""

    __slots__ = ("connection", "due", "holders", "is_full", "is_leaving", "is_mute", "is_parting", "is_queued",
                 "owes_job", "peer", "said", "turn", "unreported", "waiting")

    is_upstream = False

    def __init__(self, connection: Connection, peer: str) -> None:
        self.connection = connection
        self.peer = peer
        self.due = math.inf                     # monotonic seconds of the one entry that stands
        self.said = 0                           # the kinds of lines in the journal that it had, a bit each
        self.unreported = 0                     # bytes received and not yet reported as consumed
        self.waiting: bytearray | None = None   # bytes received that the connection has not been given
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
        """Bytes that wait for us, and not for the peer.

        Where nothing is held and no share is in flight, what a connection has is the front of a message, whose rest
        must be let in.
        """
        connection = self.connection
        waiting = len(self.waiting) if self.waiting is not None else 0
        return waiting + (connection.backlog if connection.held or connection.in_flight else 0)


class UpstreamClient(Client):
    """One that a session here asked for; a drain waits for what it says."""

    __slots__ = ()

    is_upstream = True
