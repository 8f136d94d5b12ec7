"""What the threads tell of machines and times, beside shares and blocks: frozen, since it crosses threads."""

from __future__ import annotations

from typing import NamedTuple


class MachineCame(NamedTuple):
    """A machine has work: a V1 connection, or a channel. `name` is its worker's whole name, `at` Unix seconds, and
    `protocol` what it speaks, as in `WorkerStats`. No address and no id that means something outside. `type` is that of
    a channel, standard or extended; another word where it is none.
    """

    conn_id: int
    channel_id: int
    name: str
    agent: str
    protocol: str
    at: float
    type: str = ""


class MachineGone(NamedTuple):
    """It has work no more; `channel_id` None means all of the connection, of which there may be none."""

    conn_id: int
    channel_id: int | None
    at: float


class BlockSent(NamedTuple):
    """A machine of a translator has found what is a block, as its upstream's job says, and it went there. `hash` is 32
    bytes in header order, `name` its worker's whole name, `at` Unix seconds, `difficulty` that of the network.
    """

    hash: bytes
    height: int
    name: str
    at: float
    difficulty: float


class RefusedShares(NamedTuple):
    """(worker, reason, Unix time of the minute, count) of shares that were refused."""

    counts: tuple[tuple[str, str, int, int], ...]


class HandshakeOver(NamedTuple):
    """A peer has done its handshake, or will not; `kind` is that of its connection, as the listeners name it."""

    kind: str
    is_done: bool


class PeerDropped(NamedTuple):
    """We have closed the connection of a peer; `reason` is one word of ours."""

    reason: str


class Took(NamedTuple):
    """How long things took, each in seconds: `kind` is one of NOTIFY, ANSWER and COMMIT."""

    kind: str
    seconds: tuple[float, ...]


NOTIFY = "notify"
ANSWER = "answer"
COMMIT = "commit"

MachineItem = MachineCame | MachineGone | BlockSent | HandshakeOver | PeerDropped
"""What a worker tells of machines and of others who knock."""
