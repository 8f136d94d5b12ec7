"""How many connections there may be: what the operator allows, within what the system allows."""

from __future__ import annotations

import ipaddress
import logging
import resource
from dataclasses import dataclass

from warppool.addresses import Net
from warppool.say import say

log = logging.getLogger(__name__)

RESERVED_FDS = 64
"""File descriptors kept back for all that is no miner: listeners, nodes, ledger, journal, log, and some slack. The web
has its own besides.
"""

LEAST_PER_IP = 1000
"""Connections that one address may have in any case: a farm of some size behind one router."""

MAX_UNANNOUNCED = 1000
"""Connections of proxies that may be before their PROXY header at one time. A proxy sends the header at once, and the
limit per address does not count them before it."""

_PLENTY = 1 << 20
"""Stands for a limit that is infinite: the kernel's own default bound (fs.nr_open)."""


@dataclass(frozen=True, slots=True)
class AcceptLimits:
    """How many connections are accepted, and whose.

    `max_connections` in all (`connection_cap`). `max_per_ip` of one IPv4 address or one IPv6 /64; 0 is no limit, and -1
    half of `max_connections` but at least 1,000, where loopback is not counted. What comes from `proxy_from` must begin
    with a PROXY header, whose address counts in the place of its own.
    """

    max_connections: int
    max_per_ip: int = 0
    proxy_from: tuple[Net, ...] = ()


def room_of(limit: int, fds_each: int = 1, besides: int = 0) -> int:
    """How many miners a limit of open files has room for, of whom each takes `fds_each`; `besides` are kept back too.
    """
    return max(0, limit - RESERVED_FDS - besides) // fds_each


def connection_cap(configured: int, fds_each: int = 1, besides: int = 0) -> int:
    """The most connections to accept: `configured`, or with 0 all that the file-descriptor limit leaves.

    `fds_each` is 2 where one is dialled for each that is accepted, and `besides` are the descriptors that the web may
    take. Looks at the soft limit as it is now, so raise that first. A configured number that cannot be had is lowered,
    which the log says.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = _PLENTY if soft == resource.RLIM_INFINITY else max(1, room_of(soft, fds_each, besides))
    if configured > possible:
        say(log, logging.WARNING, "limit.lowered", max_connections=configured, possible=possible,
            reason=f"the limit of open files is {soft}: raise LimitNOFILE= of the unit")
    return min(configured or possible, possible)


def per_ip_cap(configured: int, max_connections: int) -> int:
    """The most connections of one address, 0 for no limit; `configured` of -1 is half of all, but at least 1,000."""
    return max(LEAST_PER_IP, max_connections // 2) if configured < 0 else configured


def origin_of(ip: str) -> str:
    """What counts as one address: of IPv6 the /64, since whoever has one address of it has them all."""
    if ":" not in ip:
        return ip
    network = ipaddress.IPv6Address(ip.partition("%")[0]).packed[:8]
    return f"{ipaddress.IPv6Address(network + bytes(8))}/64"


def is_loopback(ip: str) -> bool:
    """Whether it is this machine itself, which is a proxy or a tunnel in front of many."""
    return ip.startswith("127.") or ip == "::1"
