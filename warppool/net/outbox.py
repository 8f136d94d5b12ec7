"""What the reactor is told: the items of its mailbox, all frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from warppool.loop import Ask, Reconfigure
from warppool.transport import Sealed


class Output(NamedTuple):
    """All that one wake-up of a worker has for the wire, at most one send a connection, as its transport sealed it.

    `consumed` is how many received bytes of a connection no longer wait in the worker, and `rooms` how many bytes may
    wait for its peer from now on. `announced` is the IP address that a connection's PROXY header named, "" where it
    named none; where that address has too many, the connection is closed before anything is sent. What is sent goes
    out before what is closed is closed.
    """

    sends: tuple[tuple[int, Sealed], ...]
    closes: tuple[int, ...] = ()
    consumed: tuple[tuple[int, int], ...] = ()
    rooms: tuple[tuple[int, int], ...] = ()
    announced: tuple[tuple[int, str], ...] = ()


class SocketAddress(NamedTuple):
    """Where to connect: `family` as `socket.AF_INET6`, `sockaddr` as `connect` takes it for that family."""

    family: int
    sockaddr: tuple[Any, ...]


class ConnectTo(NamedTuple):
    """Dial for a worker: try `addresses` in turn, until `deadline` (monotonic seconds).

    It is answered exactly once, by `Connected` or `ConnectFailed` in the inbox of `worker`.
    """

    worker: int
    dial_id: int
    addresses: tuple[SocketAddress, ...]
    deadline: float


@dataclass(frozen=True, slots=True)
class TurnAway:
    """Whether those who come are accepted and closed at once, without a byte, since there is no work for them.

    `let_past` has the kinds of listeners where somebody may come who wants none.
    """

    is_wanted: bool
    let_past: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StopAccepting:
    """The daemon stops: close the listeners, dial no more and read no more of what was accepted; answers go out."""


@dataclass(frozen=True, slots=True)
class FlushAndStop:
    """Send what was posted before, close every connection and end, at the latest at `deadline` (monotonic seconds)."""

    deadline: float


ReactorItem = Output | ConnectTo | TurnAway | StopAccepting | FlushAndStop | Ask | Reconfigure
