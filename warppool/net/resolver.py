"""Names become addresses, on a thread of their own, since the system's resolver may take its time."""

from __future__ import annotations

import ipaddress
import logging
import math
import queue
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from warppool.loop import Loop, Report
from warppool.net.inbox import ConnectFailed
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ConnectTo, ReactorItem, SocketAddress

log = logging.getLogger(__name__)

MAX_ADDRESSES = 4
"""Of one name; more would leave each too little of a dial's 10 s for one lost packet, which is sent again after 1 s."""

MAX_LOOKUPS = 4
"""Names looked up at once. They can hang for half a minute, each on a thread; a translator has a few upstreams."""


class Connect(NamedTuple):
    """A worker wants `host` (a name or an IP address) dialled; `deadline` is for all of it, in monotonic seconds."""

    worker: int
    dial_id: int
    host: str
    port: int
    deadline: float


class _Looked(NamedTuple):
    """What the system said of a name: addresses, or the reason why there are none."""

    host: str
    addresses: tuple[SocketAddress, ...]              # with port 0
    reason: str


@dataclass(frozen=True, slots=True)
class ResolverReport(Report):
    """Since the start: dials that were handed on to the reactor, and those that failed before that."""

    resolved: int
    failed: int
    waiting_dials: int          # for their name's address, now
    lookups: int                # names with a thread, now


class Resolver(Loop[Connect | _Looked]):
    """The thread `resolver`; `inboxes` are the workers', by index.

    `getaddrinfo` cannot be interrupted, so each name is looked up on a throw-away daemon thread: a name server that is
    silent holds up neither other names nor the end of the process. All who want the same name share one lookup. An
    answer goes on to the reactor, a failure back to the worker.
    """

    def __init__(self, mailbox: Mailbox[ReactorItem], inboxes: Sequence[queue.Queue[Any]]) -> None:
        super().__init__("resolver")
        self._mailbox = mailbox
        self._inboxes = inboxes
        self._waiting: dict[str, list[Connect]] = {}            # by name
        self._looking: set[str] = set()                         # names that have a thread
        self._resolved = 0
        self._failed = 0

    def dial(self, connect: Connect) -> None:
        """Any thread: have it dialled. Nothing is waited for. An IP address needs no lookup and goes straight on."""
        address = numeric_address(connect.host)
        if address is None:
            self.inbox.put(connect)
        else:
            self._pass_on(connect, (address,))

    def turn(self, items: list[Connect | _Looked]) -> float:
        """Take names and what the system said of others. At a stop, who still waits is not answered."""
        for item in items:
            if isinstance(item, Connect):
                self._waiting.setdefault(item.host, []).append(item)
            else:
                self._take_answer(item)
        self._expire(time.monotonic())
        if not self.is_stopping:
            self._look_up()
        return min((connect.deadline for connect in chain.from_iterable(self._waiting.values())), default=math.inf)

    def report(self) -> ResolverReport:
        """How many names were found, and how many are waited for."""
        return ResolverReport(*self.vitals(), resolved=self._resolved, failed=self._failed, lookups=len(self._looking),
                              waiting_dials=sum(map(len, self._waiting.values())))

    def _look_up(self) -> None:
        """Give threads to names that have none, while there are not too many."""
        for host in self._waiting:
            if len(self._looking) >= MAX_LOOKUPS:
                return
            if host not in self._looking:
                threading.Thread(target=_look_up, args=(host, self.inbox), name="lookup", daemon=True).start()
                self._looking.add(host)

    def _take_answer(self, looked: _Looked) -> None:
        self._looking.discard(looked.host)
        for connect in self._waiting.pop(looked.host, ()):
            if looked.addresses:
                self._resolved += 1
                self._pass_on(connect, looked.addresses)
            else:
                self._fail(connect, looked.reason)

    def _expire(self, now: float) -> None:
        """Give up for those whose time is over; the lookup itself goes on as long as it likes."""
        for host, waiting in list(self._waiting.items()):
            for connect in waiting:
                if connect.deadline <= now:
                    self._fail(connect, "no answer from the resolver")
            left = [connect for connect in waiting if connect.deadline > now]
            if left:
                self._waiting[host] = left
            else:
                del self._waiting[host]

    def _pass_on(self, connect: Connect, addresses: Sequence[SocketAddress]) -> None:
        with_port = tuple(address._replace(sockaddr=(address.sockaddr[0], connect.port, *address.sockaddr[2:]))
                          for address in addresses)
        self._mailbox.post(ConnectTo(connect.worker, connect.dial_id, with_port, connect.deadline))

    def _fail(self, connect: Connect, reason: str) -> None:
        self._failed += 1
        self._inboxes[connect.worker].put(ConnectFailed(connect.dial_id, f"{connect.host}: {reason}"))


def numeric_address(host: str) -> SocketAddress | None:
    """`host` as an address, with port 0; None where it must be looked up (an IPv6 zone is the system's to know)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return SocketAddress(socket.AF_INET, (host, 0))
    return None if address.scope_id else SocketAddress(socket.AF_INET6, (host, 0, 0, 0))


def _look_up(host: str, reply_to: queue.Queue[Any]) -> None:
    """Ask the system and always answer: a thread that ended in silence would keep its place for ever."""
    looked = _Looked(host, (), "lookup failed")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        looked = _Looked(host, _choose([SocketAddress(entry[0], entry[4]) for entry in found]), "no address")
    except OSError as exc:
        looked = _Looked(host, (), exc.strerror or "lookup failed")
    except UnicodeError:
        looked = _Looked(host, (), "not a name")
    except Exception:
        log.exception("event=lookup.failed host=%r", host)
    finally:
        reply_to.put(looked)


def _choose(found: Sequence[SocketAddress]) -> tuple[SocketAddress, ...]:
    """The first few in the system's order, both families by turns, since one of them may not work (RFC 8305 §4)."""
    ours = [address for address in found if address.family == found[0].family]
    others = [address for address in found if address.family != found[0].family]
    by_turns = (address for pair in zip_longest(ours, others) for address in pair if address is not None)
    return tuple(dict.fromkeys(by_turns))[:MAX_ADDRESSES]
