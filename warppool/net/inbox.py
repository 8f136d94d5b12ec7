"""The items of a worker's inbox (`queue.Queue`): all frozen, since they cross threads."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import NamedTuple

from warppool.events import Dial
from warppool.mining.job import Job
from warppool.mining.share import Weight


class Opened(NamedTuple):
    """The reactor accepted a connection on `listener` (its kind, as `sv2`); `peer` is the address for the log.

    `is_proxied`: it comes from a proxy that we trust, and a PROXY header stands in front of all else.
    `is_out_of_work`, which the worker adds: there is no work for machines, and only those who want none are served.
    """

    conn_id: int
    listener: str
    peer: str
    is_proxied: bool = False
    is_out_of_work: bool = False


class Received(NamedTuple):
    """Bytes from the wire, as many as one read gave."""

    conn_id: int
    data: bytes


class Gone(NamedTuple):
    """The peer closed, or the reactor dropped it; nothing can be sent any more."""

    conn_id: int
    reason: str


class Ended(NamedTuple):
    """The peer sends no more and may still be reading: it gets its answers, and then the worker closes."""

    conn_id: int


class Full(NamedTuple):
    """The peer does not read: more bytes wait for it than it may have. It is not read either until `Emptied`."""

    conn_id: int


class Emptied(NamedTuple):
    """The peer has read on: it is read again, and may be sent jobs."""

    conn_id: int


class Connected(NamedTuple):
    """What this worker asked for under `dial_id` stands; `peer` is the address that answered, for the log."""

    dial_id: int
    conn_id: int
    peer: str


class ConnectFailed(NamedTuple):
    """What this worker asked for under `dial_id` will not be; from the resolver it comes by itself."""

    dial_id: int
    reason: str


RarePart = Opened | Gone | Ended | Full | Emptied | Connected | ConnectFailed
Part = Received | RarePart
"""What the reactor has to say of one connection; nearly always it is bytes."""


@dataclass(frozen=True, slots=True)
class FromReactor:
    """All that one wake-up of the reactor has for this worker, in order."""

    items: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class JobReady:
    """A new job for every connection. `tip_at` is the monotonic time at which the first job of a new tip was handed
    out; None for a later one of the same tip.
    """

    job: Job
    tip_at: float | None = None


@dataclass(frozen=True, slots=True)
class NoWork:
    """The work that is out may be dead, and there is no other: close every mining connection until the next job.

    Connections that stay without work, and listeners whose connections are let past, are exempt.
    """


@dataclass(frozen=True, slots=True)
class Weighed:
    """The weights of the batch that this worker has with the executor, in its order."""

    weights: tuple[Weight, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The ledger committed these shares, each `(conn_id, share_id)`."""

    ids: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class NotRecorded:
    """The ledger could not write these shares within its patience and has dropped them; they may be sent again."""

    ids: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The patience for these shares is over, and a commit of them may still happen: refused, and not to be sent again.

    `NotRecorded` follows once it can happen no more; after a fault of the disk it may never come.
    """

    ids: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class FromWorker:
    """A message of another worker's sessions to the sessions here; what it hands over has no other owner any more."""

    message: object


@dataclass(frozen=True, slots=True)
class Drain:
    """The daemon stops: no new bytes will come; say when nothing is in flight any more."""

    reply: queue.SimpleQueue[int]


WorkerItem = (FromReactor | JobReady | NoWork | Weighed | Recorded | NotRecorded | GivenUp | FromWorker | ConnectFailed
              | Dial | Drain)
"""What a worker's inbox takes, beside the orders of every loop."""
