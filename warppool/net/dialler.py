"""The dialler: makes outgoing connections for the workers, one address after the other, and never waits."""

from __future__ import annotations

import errno
import itertools
import os
import selectors
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from warppool.addresses import format_address, plain_ip
from warppool.net.deadlines import Deadlines
from warppool.net.dials import STOPPING
from warppool.net.outbox import ConnectTo, SocketAddress


class Reached(NamedTuple):
    """A connected, non-blocking socket; `peer` is the address that answered, for the log, and `ip` its host."""

    order: ConnectTo
    sock: socket.socket
    ip: str
    peer: str


class Missed(NamedTuple):
    """No address would have us; `reason` names each with what it said."""

    order: ConnectTo
    reason: str


class Attempt:
    """One order that the network has: its present socket, and the addresses that are left."""

    __slots__ = ("due", "left", "number", "order", "reasons", "sock", "where")

    def __init__(self, number: int, order: ConnectTo) -> None:
        self.number = number
        self.order = order
        self.left = deque(order.addresses)
        self.reasons: list[str] = []
        self.sock: socket.socket | None = None
        self.where = ""                         # the address that is tried
        self.due = 0.0                          # monotonic seconds until which it may answer


class Dialler:
    """Owns the sockets that are not connected yet; used by the reactor's thread alone.

    Each address of an order gets an equal share of the time that is left, so that one which swallows packets, as where
    IPv6 is broken, does not take it all.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._attempts: dict[int, Attempt] = {}
        self._numbers = itertools.count()
        self.deadlines = Deadlines()
        """`expire` is wanted at the first of them."""
        self._is_open = True

    def begin(self, order: ConnectTo, now: float) -> Missed | None:
        """Try the first address; after `give_up` nothing is tried."""
        if not self._is_open:
            return Missed(order, STOPPING)
        attempt = Attempt(next(self._numbers), order)
        self._attempts[attempt.number] = attempt
        return self._try_next(attempt, now)

    def proceed(self, attempt: Attempt, now: float) -> Reached | Missed | None:
        """The kernel knows about the address that is tried."""
        sock = attempt.sock
        assert sock is not None
        try:
            host, port = _peer_of(sock)
        except OSError as exc:
            self._fail(attempt, exc.strerror or "failed")
            return self._try_next(attempt, now)
        self._release(attempt, sock)
        del self._attempts[attempt.number]
        return Reached(attempt.order, sock, plain_ip(host), format_address(host, port))

    def expire(self, now: float) -> Iterator[Missed]:
        """Go on where an address has had its time; yields those for which it was the last."""
        for due, number in self.deadlines.take(now):
            attempt = self._attempts.get(number)
            if attempt is not None and attempt.due == due:
                self._fail(attempt, "timed out")
                missed = self._try_next(attempt, now)
                if missed is not None:
                    yield missed

    def give_up(self) -> Iterator[Missed]:
        """The daemon stops: drop what is not connected, for good."""
        self._is_open = False
        attempts, self._attempts = self._attempts, {}
        for attempt in attempts.values():
            self._fail(attempt, STOPPING)
            yield Missed(attempt.order, STOPPING)

    def close(self) -> None:
        """Close every socket; nobody is told."""
        for _ in self.give_up():
            pass

    def _try_next(self, attempt: Attempt, now: float) -> Missed | None:
        """Let the kernel connect to the next address that it does not refuse at once."""
        while attempt.left:
            share_s = (attempt.order.deadline - now) / len(attempt.left)
            address = attempt.left.popleft()
            attempt.where = format_address(*address.sockaddr[:2])
            try:
                attempt.sock = _new_socket(address)
                error = attempt.sock.connect_ex(address.sockaddr)
                if error and error != errno.EINPROGRESS:
                    raise OSError(error, os.strerror(error))
                self._selector.register(attempt.sock, selectors.EVENT_WRITE, attempt)
            except (OSError, OverflowError) as exc:             # descriptors have run out, no route, no such port, ...
                self._fail(attempt, getattr(exc, "strerror", None) or str(exc))
                continue
            attempt.due = now + share_s
            self.deadlines.enter(attempt.due, attempt.number)
            return None
        self._attempts.pop(attempt.number, None)
        return Missed(attempt.order, "; ".join(attempt.reasons) or "no address")

    def _fail(self, attempt: Attempt, reason: str) -> None:
        attempt.reasons.append(f"{attempt.where}: {reason}")
        sock = attempt.sock
        if sock is not None:
            self._release(attempt, sock)
            sock.close()

    def _release(self, attempt: Attempt, sock: socket.socket) -> None:
        attempt.sock = None
        with suppress(KeyError):                # one that was refused at once was never registered
            self._selector.unregister(sock)


def _new_socket(address: SocketAddress) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _peer_of(sock: socket.socket) -> tuple[str, int]:
    """Host and port at the other end of `sock`; OSError if it is not connected, or to itself.

    Who dials a closed port of its own machine over and over will one day be given that very port to dial from, and TCP
    then connects the socket to itself.
    """
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    peer = sock.getpeername()                   # raises if it was reset since
    if peer == sock.getsockname():
        raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return peer[0], peer[1]
