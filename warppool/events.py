"""Events: frozen values by which sessions say what has happened, and what is to be done about it.

Every event names its connection by `conn_id`, since a step of one connection may have something to say for another one
(in the translator, an upstream's has answers for machines). The events that each share brings are named tuples, because
a named tuple takes a third of the time that a frozen dataclass takes to build. The others are frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from warppool.limits import UPSTREAM, Limits
from warppool.transport import Transport, TransportEnd

if TYPE_CHECKING:
    from warppool.mining.job import Job
    from warppool.mining.payee import Payee, Terms
    from warppool.mining.share import Weight
    from warppool.mining.template import Template


class Now(NamedTuple):
    """Both clocks, read once for each wake-up of a thread and given to all that happens in it.

    `monotonic` never jumps, so deadlines use it. `unix` is for header times and for the books. Both are in seconds.
    """

    monotonic: float
    unix: float


class Send(NamedTuple):
    """Send `data` to the peer of `conn_id`, after all that was sent to it before. It is plaintext: the connection's
    transport seals it.
    """

    conn_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close `conn_id` when all that was sent before is on the wire; `reason` is for the log alone."""

    conn_id: int
    reason: str
    is_peers_fault: bool = False


@dataclass(frozen=True, slots=True)
class HandOver:
    """From now on `conn_id` is served by `connection`: its first message has shown what the peer wants.

    What stood behind that message waits in `connection`, which is asked to go on. The one before says nothing more.
    """

    conn_id: int
    connection: Connection


@dataclass(frozen=True, slots=True)
class Happened:
    """A line for the log: `name` is `noun.verb` in the past tense, `fields` are printed in their order.

    `level` is one of `debug`, `info`, `warning`, `error`, `critical`. `channels` are the numbers of those that the line
    is about, where they are more than its fields name.
    """

    conn_id: int
    level: str
    name: str
    fields: tuple[tuple[str, object], ...] = ()
    channels: tuple[int, ...] = ()


class ShareSubmitted(NamedTuple):
    """A share that could be read, on a known job. Its `header` (80 bytes) is to be hashed and compared with
    `network_target`.

    The worker gives the results to the connection by `judged`, in the order of its `ShareSubmitted`.
    """

    conn_id: int
    header: bytes
    network_target: int


class ShareAccepted(NamedTuple):
    """A share that counts, for the books. The machine is told when `share_id` comes back by `recorded`.

    `time` is in Unix seconds, `user` is the worker's whole name, `difficulty` is what the share is credited with,
    `share_hash` has 32 bytes in header order. `account` is that of the channel, a canonical address; "" in mode pool.
    """

    conn_id: int
    share_id: int
    time: float
    protocol: str
    channel_id: int
    user: str
    difficulty: float
    job_id: int
    height: int
    share_hash: bytes
    account: str = ""


class ShareRefused(NamedTuple):
    """A share that does not count. `reason` is the error code of Sv2, which V1's shares are counted under, too."""

    conn_id: int
    user: str
    reason: str


@dataclass(frozen=True, slots=True)
class BlockFound:
    """A hash at or under the network target: a block. Said once for each hash, whatever became of the share.

    `header` has 80 bytes. `coinbase_tx` is the whole transaction, with marker, flag and witness if the template commits
    to witnesses. `block_hash` has 32 bytes in header order. `share` is the accepted share, which may be booked only
    when the block is safe (docs/decisions.rst#decision-block-path); None if the share was refused. `payee` is that of
    the channel, `terms` say by what the outputs of the coinbase were computed; None where nobody has to know.
    """

    conn_id: int
    template: Template
    height: int
    header: bytes
    coinbase_tx: bytes
    block_hash: bytes
    user: str
    share: ShareAccepted | None
    payee: Payee | None = None
    terms: Terms | None = None


class Dial(NamedTuple):
    """`conn_id` asks for an outgoing connection to `host`, a name or an IP address. `upstream` is to serve it.

    The worker calls exactly one of `upstream.opened` and `upstream.failed`, in a later wake-up and within some 10 s;
    none of them if the worker stops before. The order cannot be cancelled: who does not want the connection any more
    answers `opened` with `Close`.
    """

    conn_id: int
    host: str
    port: int
    upstream: OutgoingConnection


class Nudge(NamedTuple):
    """A step of another connection leaves `conn_id` something to do: it gets its `tick` at once.

    For two connections that share a session. A worker looks at `wakes_at`, `held` and `in_flight` only of the
    connection whose step it took. So the step that changes one of these of the other makes the other's `wakes_at` its
    `now` and says `Nudge`. One that is closed gets no tick, but is forgotten if nothing of it is in flight any more.
    """

    conn_id: int


class Holds(NamedTuple):
    """`conn_id` has `holders` open channels or authorized workers now. For each, more bytes may wait for the peer.

    `extra` is the size in bytes of the largest message that the peer asked for, where it asks for large ones.
    """

    conn_id: int
    holders: int
    extra: int = 0


Event = (Send | Close | HandOver | Happened | ShareSubmitted | ShareAccepted | ShareRefused | BlockFound | Dial | Nudge
         | Holds)


class Held(IntEnum):
    """Why a connection does not work on all that it has received. NOTHING, which is false: it does."""

    NOTHING = 0
    TURN = 1                # it has used up its part of this turn: `receive(b"")` in the next turn goes on
    CALLS = 2               # the peer has made too many calls: a `tick` at `wakes_at` makes this TURN
    ANSWERS = 3             # too many of its shares have no answer yet: answers make this TURN


class Connection(Protocol):
    """What a worker asks of a connection, whatever its protocol (docs/architecture.rst#flow).

    Only the worker that owns the connection calls these methods. None of them raises for what a peer sent: after a
    fault they return the events so far, and a `Close` last. After `closed` a connection sends nothing more. Its shares
    in flight are still judged and recorded, since one of them may be a block.
    """

    conn_id: int
    wakes_at: float
    """Monotonic seconds of the next wanted `tick`; `math.inf` for none."""

    @property
    def limits(self) -> Limits:
        """What a connection of this kind may use."""

    @property
    def stays_without_work(self) -> bool:
        """Whether it is kept where no node gives work, since its peer has no machines of ours to be sent away."""

    @property
    def held(self) -> Held:
        """Why it does not work on all that it has received."""

    @property
    def in_flight(self) -> int:
        """How many shares wait for their weight or their record. At 0 the worker forgets a closed connection."""

    @property
    def backlog(self) -> int:
        """Bytes of plaintext that wait: messages that are held, and the beginning of one that is not whole."""

    @property
    def machines(self) -> int:
        """How many machines, or channels, have work: on a V1 connection 0 or 1."""

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Plaintext has come; b"" asks to go on with the backlog. One call does the work of one turn at most."""

    def abandon(self) -> None:
        """The peer is gone, and messages of it are still held. From now on only the shares among them are read, since
        one of them may be a block. `closed` follows when nothing is held any more.
        """

    def offer(self, job: Job, now: Now) -> list[Event]:
        """A new job for every channel of the connection."""

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Event]:
        """The next weights, in the order of this connection's `ShareSubmitted`."""

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """The ledger has committed the shares with these ids: they may be acknowledged."""

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares will never be committed. They are refused, unless `given_up` did, and leave the seen-set."""

    def given_up(self, ids: Sequence[int], now: Now) -> list[Event]:
        """The ledger has given up these shares, and may still commit them: refused, and they stay in the seen-set."""

    def tick(self, now: Now) -> list[Event]:
        """`wakes_at` has come; or a `Nudge`, before that time."""

    def closed(self, now: Now) -> list[Event]:
        """The connection is gone, whoever closed it. Nothing can be sent any more."""


class OutgoingConnection(Connection, Protocol):
    """An outgoing connection. It belongs to the worker whose session asked for it by `Dial`.

    Its `conn_id` is 0 until the worker sets it, just before `opened`. From then on it is a connection like any other,
    with one difference: it is still read while the daemon drains, because a drain waits for the pool's answers.
    """

    def transport(self, now: Now) -> Transport:
        """The connection's transport. The worker asks for it once, just before `opened`."""

    def opened(self, conn_id: int, peer: str, now: Now) -> list[Event]:
        """The connection is there; `peer` is the address that answered, for the log."""

    def broken(self, end: TransportEnd, now: Now) -> list[Event]:
        """Its transport takes in nothing more. The worker closes the connection where this does not."""

    def failed(self, reason: str, now: Now) -> list[Event]:
        """There will be no connection from this `Dial`, and no other call; `reason` is for the log."""


class WithoutShares:
    """The methods of `Connection` that are about shares, for connections without any: those to upstreams."""

    __slots__ = ()

    limits: ClassVar[Limits] = UPSTREAM
    stays_without_work: ClassVar[bool] = False
    held: ClassVar[Held] = Held.NOTHING

    @property
    def in_flight(self) -> int:
        """No share is here."""
        return 0

    @property
    def backlog(self) -> int:
        """Nothing is held."""
        return 0

    @property
    def machines(self) -> int:
        """Nobody mines here."""
        return 0

    def abandon(self) -> None:
        """Nothing is held."""

    def offer(self, job: Job, now: Now) -> list[Event]:
        """The pool's own jobs go to machines, not to upstreams."""
        return []

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Event]:
        """No weight was asked for."""
        return []

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """No answer waits for the books."""
        return []

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """No answer waits for the books."""
        return []

    def given_up(self, ids: Sequence[int], now: Now) -> list[Event]:
        """No answer waits for the books."""
        return []
