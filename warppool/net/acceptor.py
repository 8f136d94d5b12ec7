"""The acceptor: accepts connections while there is room, and says once, with a count, when there is none."""

from __future__ import annotations

import errno
import logging
import math
import selectors
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from warppool.net.limits import is_loopback, origin_of, per_ip_cap
from warppool.net.listener import Listener, format_address, plain_ip
from warppool.net.repeats import Repeats

log = logging.getLogger(__name__)

ACCEPTS_PER_TURN = 128
"""So that a storm of connections cannot keep the reactor from those that are there."""

PAUSE_S = 1.0
"""How long nothing is accepted when descriptors or memory have run out: only time helps, and trying costs CPU."""

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Visitor(NamedTuple):
    """An accepted, non-blocking socket; `ip` counts towards the limit per address, `peer` is for the log."""

    sock: socket.socket
    ip: str
    peer: str


class Acceptor:
    """Owns the listening sockets and counts who is inside; used by the reactor's thread alone.

    `max_per_ip` bounds the connections of one IPv4 address or one IPv6 /64; 0 is no limit, and -1 half of
    `max_connections` but at least 1,000, where loopback is not counted.
    """

    def __init__(self, listeners: Sequence[Listener], selector: selectors.BaseSelector, max_connections: int,
                 max_per_ip: int) -> None:
        self.due = math.inf
        """Monotonic seconds at which `turn` is wanted; `inf` for never."""
        self.resumes_at = math.inf
        """Monotonic seconds at which a paused acceptor accepts again; `inf` when it is not paused."""
        self.turns_away = False
        """Whether those who come are closed at once, without a byte: there is no work for them."""
        self._listeners = tuple(listeners)
        self._selector = selector
        self._max_connections = max_connections
        self._max_per_ip = per_ip_cap(max_per_ip, max_connections)
        self._counts_loopback = max_per_ip > 0
        self._inside = 0
        self._inside_per_ip: Counter[str] = Counter()
        self._full = Repeats(log, "connection.refused")
        self._crowded = Repeats(log, "address.refused")
        self._exhausted = Repeats(log, "accept.paused")
        self._watch()

    def let_in(self, listener: Listener, now: float) -> Iterator[Visitor]:
        """Accept what waits at `listener`; those over a limit are closed at once."""
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, address = listener.sock.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    self._pause(exc, now)
                    return
                continue            # ECONNABORTED and its kin: this one left while it waited, the next may be well
            ip = plain_ip(address[0])
            if self.turns_away:
                sock.close()
            elif self._has_room(ip, now):
                sock.setblocking(False)
                self._inside += 1
                if self._is_counted(ip):
                    self._inside_per_ip[origin_of(ip)] += 1
                yield Visitor(sock, ip, format_address(ip, address[1]))
            else:
                sock.close()

    def left(self, ip: str) -> None:
        """A visitor's socket is closed."""
        self._inside -= 1
        if self._is_counted(ip):
            origin = origin_of(ip)
            self._inside_per_ip[origin] -= 1
            if not self._inside_per_ip[origin]:
                del self._inside_per_ip[origin]

    def turn(self, now: float) -> None:
        """Open again after a pause, and say what was only counted so far."""
        if now >= self.resumes_at:
            self.resumes_at = math.inf
            self._watch()
        for repeats in (self._full, self._crowded, self._exhausted):
            repeats.flush(now)
        self._note_due()

    def close(self) -> None:
        """Close every listening socket, for good."""
        if self.resumes_at == math.inf:
            self._unwatch()
        self.resumes_at = math.inf
        self._note_due()
        for listener in self._listeners:
            listener.sock.close()
        self._listeners = ()

    def _has_room(self, ip: str, now: float) -> bool:
        if self._inside >= self._max_connections:
            self._full.add(now, peer=ip, limit=self._max_connections, reason="max_connections or LimitNOFILE= reached")
            self._note_due()
            return False
        if self._is_counted(ip):
            origin = origin_of(ip)
            if self._inside_per_ip.get(origin, 0) >= self._max_per_ip:
                self._crowded.add(now, peer=origin, limit=self._max_per_ip, reason="max_per_ip reached")
                self._note_due()
                return False
        return True

    def _is_counted(self, ip: str) -> bool:
        return bool(self._max_per_ip) and (self._counts_loopback or not is_loopback(ip))

    def _pause(self, error: OSError, now: float) -> None:
        self._exhausted.add(now, reason=error.strerror, seconds=PAUSE_S, inside=self._inside)
        self.resumes_at = now + PAUSE_S
        self._note_due()
        self._unwatch()

    def _note_due(self) -> None:
        self.due = min(self.resumes_at, self._full.due, self._crowded.due, self._exhausted.due)

    def _watch(self) -> None:
        for listener in self._listeners:
            self._selector.register(listener.sock, selectors.EVENT_READ, listener)

    def _unwatch(self) -> None:
        for listener in self._listeners:
            self._selector.unregister(listener.sock)
