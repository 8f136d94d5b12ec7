"""What a worker keeps beside a connection: when it is due, and how much of what came is unreported to the reactor."""

from __future__ import annotations

import math

from warppool.events import Connection


class Client:
    """One connection and its account with the worker."""

    __slots__ = ("connection", "due", "is_behind", "is_mute", "is_parting", "peer", "unreported")

    is_upstream = False

    def __init__(self, connection: Connection, peer: str) -> None:
        self.connection = connection
        self.peer = peer
        self.due = math.inf                     # monotonic seconds of the one entry that stands
        self.unreported = 0                     # bytes received and not yet reported as consumed
        self.is_behind = False                  # it may hold bytes back
        self.is_mute = False                    # closed; only its shares in flight keep it
        self.is_parting = False                 # its peer sends no more: it ends once all is answered


class UpstreamClient(Client):
    """One that a session here asked for; a drain waits for what it says."""

    __slots__ = ()

    is_upstream = True
