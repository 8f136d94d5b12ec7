"""What the reactor keeps of each connection: its socket, its buffers, and what the selector watches it for."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE

from warppool.limits import UPSTREAM, V1
from warppool.net.inbox import Part

UNREAD_LIMIT = 64 * 1024
"""A connection with more bytes than this waiting in its worker is not read until they are fewer."""


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
        self.origin = origin                    # as in `acceptor.Accepted`
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
    """One that a worker asked for: it counts towards no limit, and is read as long as there are workers."""

    __slots__ = ()

    is_dialled = True
    limits = UPSTREAM


class Watcher:
    """Keeps the selector in line with what is wanted of each peer; used by the reactor's thread alone."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.is_reading = True
        """False once the daemon stops: of what was accepted nothing is read any more."""
        self._selector = selector

    def update(self, peer: Peer) -> None:
        """Something has changed that decides what is wanted of `peer`.

        A socket that nothing is wanted of is taken out: epoll would report its hang-up over and over.
        """
        wanted = EVENT_WRITE if peer.unsent else 0
        if not peer.is_ended and (
                peer.is_closing or ((self.is_reading or peer.is_dialled) and peer.unread <= UNREAD_LIMIT
                                    and not peer.is_full)):
            wanted |= EVENT_READ
        if wanted == peer.watching:
            return
        if not wanted:
            self._selector.unregister(peer.sock)
        elif not peer.watching:
            self._selector.register(peer.sock, wanted, peer)
        else:
            self._selector.modify(peer.sock, wanted, peer)
        peer.watching = wanted

    def forget(self, peer: Peer) -> None:
        """Its socket is about to be closed."""
        if peer.watching:
            with suppress(KeyError):            # a `modify` that failed has taken it out
                self._selector.unregister(peer.sock)
