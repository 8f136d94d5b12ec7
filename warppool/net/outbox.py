"""What the reactor is told: the items of its mailbox, all frozen, and what a worker makes them from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from warppool.events import Send


class Output(NamedTuple):
    """All that one wake-up of a worker has for the wire, at most one send a connection.

    `consumed` is how many received bytes of a connection no longer wait in the worker, and `rooms` how many bytes may
    wait for its peer from now on. `announced` is the IP address that a connection's PROXY header named, "" where it
    named none; where that address has too many, the connection is closed before anything is sent. What is sent goes
    out before what is closed is closed.
    """

    sends: tuple[tuple[int, bytes], ...]
    closes: tuple[int, ...] = ()
    consumed: tuple[tuple[int, int], ...] = ()
    rooms: tuple[tuple[int, int], ...] = ()
    announced: tuple[tuple[int, str], ...] = ()


class Address(NamedTuple):
    """Where to connect: `family` as `socket.AF_INET6`, `sockaddr` as `connect` takes it for that family."""

    family: int
    sockaddr: tuple[Any, ...]


class ConnectTo(NamedTuple):
    """Dial for a worker: try `addresses` in turn, until `deadline` (monotonic seconds).

    It is answered exactly once, by `Connected` or `ConnectFailed` in the inbox of `worker`.
    """

    worker: int
    dial_id: int
    addresses: tuple[Address, ...]
    deadline: float


@dataclass(frozen=True, slots=True)
class TurnAway:
    """Whether those who come are accepted and closed at once, without a byte, since there is no work for them."""

    is_wanted: bool


@dataclass(frozen=True, slots=True)
class StopAccepting:
    """The daemon stops: close the listeners, dial no more and read no more of what was accepted; answers go out."""


@dataclass(frozen=True, slots=True)
class FlushAndStop:
    """Send what was posted before, close every connection and end, at the latest at `deadline` (monotonic seconds)."""

    deadline: float


class Outgoing:
    """Gathers what one wake-up of a worker has for the wire."""

    def __init__(self) -> None:
        self._sends: dict[int, list[bytes]] = {}
        self._closes: list[int] = []
        self._consumed: list[tuple[int, int]] = []
        self._rooms: dict[int, int] = {}
        self._announced: list[tuple[int, str]] = []

    def send(self, event: Send) -> None:
        """After all that was sent to this connection before."""
        parts = self._sends.get(event.conn_id)
        if parts is None:
            self._sends[event.conn_id] = [event.data]
        else:
            parts.append(event.data)

    def close(self, conn_id: int) -> None:
        """Once all is out."""
        self._closes.append(conn_id)

    def report(self, conn_id: int, count: int) -> None:
        """So many more received bytes no longer wait."""
        self._consumed.append((conn_id, count))

    def allow(self, conn_id: int, room: int) -> None:
        """So many bytes may wait for its peer."""
        self._rooms[conn_id] = room

    def announce(self, conn_id: int, ip: str) -> None:
        """The PROXY header of this connection is read, and named `ip`, or "" for nobody."""
        self._announced.append((conn_id, ip))

    def take(self) -> Output | None:
        """All of it, one send a connection; None if there is nothing."""
        if not (self._sends or self._closes or self._consumed or self._rooms or self._announced):
            return None
        sends = tuple([(conn_id, parts[0] if len(parts) == 1 else b"".join(parts))
                       for conn_id, parts in self._sends.items()])
        output = Output(sends, tuple(self._closes), tuple(self._consumed), tuple(self._rooms.items()),
                        tuple(self._announced))
        self._sends, self._closes, self._consumed, self._rooms, self._announced = {}, [], [], {}, []
        return output


ReactorItem = Output | ConnectTo | TurnAway | StopAccepting | FlushAndStop
