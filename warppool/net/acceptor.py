"""The acceptor: accepts connections while there is room, and says once, with a count, when there is none."""

from __future__ import annotations

import errno
import ipaddress
import logging
import math
import selectors
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from warppool.addresses import format_address, plain_ip
from warppool.net.limits import MAX_UNANNOUNCED, AcceptLimits, is_loopback, origin_of, per_ip_cap
from warppool.net.listener import Listener
from warppool.net.repeats import Repeats

log = logging.getLogger(__name__)

ACCEPTS_PER_TURN = 128
"""So that a storm of connections cannot keep the reactor from those that are there."""

PAUSE_S = 1.0
"""How long nothing is accepted when descriptors or memory have run out: only time helps, and trying costs CPU."""

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Accepted(NamedTuple):
    """An accepted, non-blocking socket; `ip` and `peer` (with the port) are for the log.

    `origin` is what counts towards the limit per address, "" where nothing does. It is None for a proxy's connection,
    whose header will tell: then `Acceptor.announce` is to be asked.
    """

    sock: socket.socket
    ip: str
    peer: str
    origin: str | None


class Acceptor:
    """Owns the listening sockets and counts the connections; used by the reactor's thread alone.

    What comes from `limits.proxy_from` belongs to the address that its PROXY header announces, and to none before that.
    """

    def __init__(self, listeners: Sequence[Listener], selector: selectors.BaseSelector, limits: AcceptLimits,
                 drops: Counter[str] | None = None) -> None:
        self.due = math.inf
        """Monotonic seconds at which `turn` is wanted; `inf` for never."""
        self.resumes_at = math.inf
        """Monotonic seconds at which a paused acceptor accepts again; `inf` when it is not paused."""
        self.turns_away = False
        """Whether those who come are closed at once, without a byte: there is no work for them."""
        self.let_past: frozenset[str] = frozenset()
        """Kinds of listeners whose connections are let in all the same."""
        self._listeners = tuple(listeners)
        self._selector = selector
        self._limits = limits
        self._max_per_ip = per_ip_cap(limits.max_per_ip, limits.max_connections)
        self._open = 0
        self._unannounced = 0                   # of those: proxies' connections before their header
        self._open_per_ip: Counter[str] = Counter()
        self._drops: Counter[str] = Counter() if drops is None else drops      # by reason
        self._full = Repeats(log, "connection.refused")
        self._crowded = Repeats(log, "address.refused")
        self._before_header = Repeats(log, "proxy.refused")
        self._exhausted = Repeats(log, "accept.paused")
        self._watch()

    def accept(self, listener: Listener, now: float) -> Iterator[Accepted]:
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
            origin = None if self._is_proxy(ip) else self._origin(ip)
            is_let_in = not self.turns_away or listener.kind in self.let_past
            if not is_let_in:
                self._drops["no_work"] += 1
            if not is_let_in or not self._has_room(ip, origin, now):
                sock.close()
                continue
            sock.setblocking(False)
            self._open += 1
            if origin is None:
                self._unannounced += 1
            elif origin:
                self._open_per_ip[origin] += 1
            yield Accepted(sock, ip, format_address(ip, address[1]), origin)

    def announce(self, ip: str, now: float) -> str | None:
        """The header of a proxy's connection has named `ip`, or nobody (""): what counts for it from now on.

        None if that address has as many connections as it may have, and this one is to be closed; it then counts for
        none.
        """
        self._unannounced -= 1
        origin = self._origin(ip) if ip else ""
        if self._is_crowded(origin, now):
            return None
        if origin:
            self._open_per_ip[origin] += 1
        return origin

    def release(self, origin: str | None) -> None:
        """The socket of an accepted connection is closed; `origin` is what counted for it last."""
        self._open -= 1
        if origin is None:
            self._unannounced -= 1
        elif origin:
            self._open_per_ip[origin] -= 1
            if not self._open_per_ip[origin]:
                del self._open_per_ip[origin]

    def limit(self, limits: AcceptLimits) -> None:
        """Other limits, for those who come from now on."""
        self._limits = limits
        self._max_per_ip = per_ip_cap(limits.max_per_ip, limits.max_connections)

    def turn(self, now: float) -> None:
        """Open again after a pause, and say what was only counted so far."""
        if now >= self.resumes_at:
            self.resumes_at = math.inf
            self._watch()
        for repeats in (self._full, self._crowded, self._before_header, self._exhausted):
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

    def _has_room(self, ip: str, origin: str | None, now: float) -> bool:
        most = self._limits.max_connections
        if self._open >= most:
            self._drops["max_connections"] += 1
            self._full.add(now, peer=ip, limit=most, reason="max_connections or LimitNOFILE= reached")
        elif origin is None and self._unannounced >= MAX_UNANNOUNCED:
            self._drops["proxy_header"] += 1
            self._before_header.add(now, peer=ip, limit=MAX_UNANNOUNCED, reason="so many wait for a PROXY header")
        else:
            return not (origin and self._is_crowded(origin, now))
        self._note_due()
        return False

    def _is_crowded(self, origin: str, now: float) -> bool:
        """Whether one more of `origin` would be one too many; the log says so."""
        if not origin or self._open_per_ip.get(origin, 0) < self._max_per_ip:
            return False
        self._drops["max_per_ip"] += 1
        self._crowded.add(now, peer=origin, limit=self._max_per_ip, reason="max_per_ip reached")
        self._note_due()
        return True

    def _origin(self, ip: str) -> str:
        """What counts for one address; "" where there is no limit for it."""
        if not self._max_per_ip or (self._limits.max_per_ip < 0 and is_loopback(ip)):
            return ""
        return origin_of(ip)

    def _is_proxy(self, ip: str) -> bool:
        nets = self._limits.proxy_from
        if not nets:
            return False
        address = ipaddress.ip_address(ip)
        return any(address in net for net in nets)

    def _pause(self, error: OSError, now: float) -> None:
        self._exhausted.add(now, reason=error.strerror, seconds=PAUSE_S, inside=self._open)
        self.resumes_at = now + PAUSE_S
        self._note_due()
        self._unwatch()

    def _note_due(self) -> None:
        self.due = min(self.resumes_at, self._full.due, self._crowded.due, self._before_header.due,
                       self._exhausted.due)

    def _watch(self) -> None:
        for listener in self._listeners:
            self._selector.register(listener.sock, selectors.EVENT_READ, listener)

    def _unwatch(self) -> None:
        for listener in self._listeners:
            self._selector.unregister(listener.sock)
