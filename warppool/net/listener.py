"""Listening sockets: from `"[::]:3333"` to a bound socket, or one line that says what the operator can do."""

from __future__ import annotations

import errno
import logging
import socket
from dataclasses import dataclass

from warppool.addresses import format_address, parse_address
from warppool.errors import ConfigError, NotNow, WarppoolError
from warppool.say import say

log = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that the kernel holds until they are accepted, as when a farm comes back; it cuts this to somaxconn."""

_OF_THE_MOMENT = frozenset((errno.EADDRINUSE, errno.EADDRNOTAVAIL))
"""An outgoing connection or an old one may hold the port, and an address may come with its network."""

KERNEL_UNSENT = 64 * 1024
"""Bytes that the kernel takes for a peer before it has sent them; without a bound it takes up to 4 MiB for one that
does not read. What is beyond it waits in the reactor, where it is counted."""

_NO_IPV6 = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL))


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound, listening, non-blocking socket; `kind` says what is spoken there, as `sv2`."""

    kind: str
    sock: socket.socket
    address: str                    # where it really listens, as `[::]:3333`; with the port that port 0 became

    @property
    def port(self) -> int:
        """The port, 1..65535."""
        return int(self.address.rpartition(":")[2])


def listen(kind: str, address: str, key: str) -> Listener:
    """Bind `address` and listen; ConfigError names the configuration `key` and what can be done.

    NotNow, in the same words, where the port or the address may be free or there a moment later.
    `[::]` takes IPv4 too; on a machine without IPv6 it becomes 0.0.0.0, which the log says.
    """
    host, port = parse_address(address, key)
    try:
        sock = _bound(host, port)
    except OSError as exc:
        if host != "::" or exc.errno not in _NO_IPV6:
            raise _refusal(exc, key, host, port) from exc
        sock = _ipv4_instead(port, key)
    real = format_address(*sock.getsockname()[:2])
    say(log, logging.INFO, "listener.opened", kind=kind, address=real)
    return Listener(kind, sock, real)


def _ipv4_instead(port: int, key: str) -> socket.socket:
    try:
        sock = _bound("0.0.0.0", port)
    except OSError as exc:
        raise _refusal(exc, key, "0.0.0.0", port) from exc
    say(log, logging.WARNING, "listener.narrowed", key=key, reason="no IPv6 on this machine",
        address=format_address("0.0.0.0", port))
    return sock


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)      # or a restart waits for old TIME_WAITs
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)      # Linux hands these two on to what is accepted,
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)      # which saves two calls a connection
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_UNSENT)       # this one, too
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _refusal(error: OSError, key: str, host: str, port: int) -> WarppoolError:
    kind = NotNow if error.errno in _OF_THE_MOMENT else ConfigError
    return kind(f"{key}: {_advice(error, host, port)}")


def _advice(error: OSError, host: str, port: int) -> str:
    where = format_address(host, port)
    match error.errno:
        case errno.EADDRINUSE:
            return (f"port {port} of {where} is taken by another program, or by an outgoing connection "
                    f"(`ss -tanp sport = :{port}` names it): stop that one or choose another port")
        case errno.EACCES:
            return (f"{where} needs a privilege: choose a port above 1023, or give the unit "
                    "AmbientCapabilities=CAP_NET_BIND_SERVICE")
        case errno.EADDRNOTAVAIL:
            return (f"this machine has no address {host} (`ip address` lists them): choose one of its own, or [::] for "
                    "all")
        case errno.EAFNOSUPPORT:
            return f"cannot listen on {where}: this machine has no IPv6: give an IPv4 address, such as 0.0.0.0:{port}"
        case errno.EMFILE | errno.ENFILE:
            return f"cannot listen on {where}: {error.strerror}: raise LimitNOFILE= of the unit, or ulimit -n"
        case _:
            return f"cannot listen on {where}: {error.strerror}: choose another address or port"
