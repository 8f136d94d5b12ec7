"""What the reactor keeps of each connection: its socket and its buffers."""

from __future__ import annotations

import socket

from warppool.limits import UPSTREAM, V1
from warppool.net.inbox import Part


class Peer:
    """One connection's socket and buffers. There are thousands, most of them idle, so nothing is allocated ahead."""

    __slots__ = ("bag", "conn_id", "ip", "is_closing", "is_ended", "is_full", "is_timed", "moved_at", "origin", "room",
                 "sock", "unread", "unsent", "watching")

    is_dialled = False
    limits = V1

    def __init__(self, conn_id: int, sock: socket.socket, ip: str, bag: list[Part],
                 origin: str | None = "") -> None:
        self.conn_id = conn_id
        self.sock = sock
        self.ip = ip
        self.origin = origin                    # as in `acceptor.Visitor`
        self.bag = bag                          # what its worker gets at the end of this wake-up
        self.unread = 0                         # bytes given to the worker and not yet reported as consumed
        self.unsent: bytearray | None = None    # None: all is out, as nearly always
        self.room = self.limits.unsent          # bytes that may wait for the peer
        self.moved_at = 0.0                     # monotonic: when the kernel took some of them last
        self.is_full = False                    # more wait than that: it is not read, and its worker knows
        self.is_timed = False                   # it has an entry among the deadlines
        self.watching = 0                       # selector events; 0: not registered
        self.is_closing = False                 # nothing more to send than `unsent`; what arrives is thrown away
        self.is_ended = False                   # the peer will send no more


class DialledPeer(Peer):
    """One that a worker asked for: it does not count as a visitor, and is read as long as there are workers."""

    __slots__ = ()

    is_dialled = True
    limits = UPSTREAM
