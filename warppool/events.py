"""What the core says happened: frozen values that sessions return and threads hand on.

Every event names its connection by `conn_id`, since one session may own two connections (a translator does). The events
of the hot path are named tuples, which cost a third of a frozen dataclass to build; the rest are frozen dataclasses.
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
    from warppool.mining.share import Weight
    from warppool.mining.template import Template


class Now(NamedTuple):
    """One reading of both clocks, taken once a wake-up and handed down.

    `monotonic` is for deadlines and never jumps; `unix` is for header times and for the books.
    """

    monotonic: float
    unix: float


class Send(NamedTuple):
    """Tell the peer of `conn_id` so, after all that it was told before: plaintext, which its transport seals."""

    conn_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close `conn_id` once all that was sent before is out; `reason` is for the log alone."""

    conn_id: int
    reason: str
    is_peers_fault: bool = False


@dataclass(frozen=True, slots=True)
class Happened:
    """Something for the log: `name` is `noun.verb` in the past tense, `fields` stand in their order.

    `level` is one of `debug`, `info`, `warning`, `error`, `critical`.
    """

    conn_id: int
    level: str
    name: str
    fields: tuple[tuple[str, object], ...] = ()


class ShareSubmitted(NamedTuple):
    """A readable share on a known job: `header` (80 bytes) waits to be weighed against `network_target`.

    A connection's weights come back by `judged`, in the order of its `ShareSubmitted`.
    """

    conn_id: int
    header: bytes
    network_target: int


class ShareAccepted(NamedTuple):
    """A share that counts, for the books; its miner hears of it when `share_id` comes back by `recorded`.

    `time` is in Unix seconds, `user` the whole worker name, `difficulty` what is credited, `share_hash` 32 bytes in
    header order.
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


class ShareRefused(NamedTuple):
    """A share that does not count; `reason` is the Sv2 error code, which names it for V1 and V2 alike."""

    conn_id: int
    user: str
    reason: str


@dataclass(frozen=True, slots=True)
class BlockFound:
    """A hash at or under the network target, once per hash, whatever became of its share.

    `header` is 80 bytes, `coinbase_tx` the whole transaction with marker, flag and witness where the template commits
    to one, `block_hash` 32 bytes in header order. `share` is the accepted share, which may enter the books only after
    the block is in its journal; None where the share itself was refused.
    """

    conn_id: int
    template: Template
    height: int
    header: bytes
    coinbase_tx: bytes
    block_hash: bytes
    user: str
    share: ShareAccepted | None


class Dial(NamedTuple):
    """`conn_id` asks for an outgoing connection to `host`, a name or an IP address; `upstream` shall serve it.

    Exactly one of `upstream.opened` and `upstream.failed` follows, in a later wake-up and within some 10 s; nothing
    does once the worker stops. There is no way to take it back: who no longer wants it answers `opened` with `Close`.
    """

    conn_id: int
    host: str
    port: int
    upstream: Upstream


class Nudge(NamedTuple):
    """A step of another connection leaves `conn_id` something to do: it gets its `tick` at once.

    For two connections that share a session. A worker looks at `wakes_at`, `held` and `in_flight` only of the
    connection whose step it took. So the step that changes one of these of the other makes the other's `wakes_at` its
    `now` and says `Nudge`. One that is closed gets no tick, but is forgotten if nothing of it is in flight any more.
    """

    conn_id: int


class Holds(NamedTuple):
    """`conn_id` has so many open channels or authorized workers now, each of which lets more bytes wait for its peer.

    `extra` is the size in bytes of the largest message that it asked for, where it asks for large ones.
    """

    conn_id: int
    holders: int
    extra: int = 0


Event = Send | Close | Happened | ShareSubmitted | ShareAccepted | ShareRefused | BlockFound | Dial | Nudge | Holds


class Held(IntEnum):
    """Why a connection has stopped before the end of what it received; false for not at all."""

    NOTHING = 0
    TURN = 1                # it had its part of this turn: `receive(b"")` in the next one goes on
    CALLS = 2               # its peer has made too many calls: after a `tick` at `wakes_at` it is TURN
    ANSWERS = 3             # too many shares are unanswered: answers make it TURN


class Connection(Protocol):
    """The one face that a worker sees of a peer, whatever its protocol (architecture.md §3).

    All methods are called by the owning worker alone and none of them raises for what a peer sent: a fault comes back
    as the events so far with a `Close` last. After `closed` a connection is mute, but its shares in flight are still
    judged and recorded, since one of them may be a block.
    """

    conn_id: int
    wakes_at: float
    """Monotonic seconds of the next wanted `tick`; `math.inf` for none."""

    @property
    def limits(self) -> Limits:
        """What a connection of this kind may use."""

    @property
    def held(self) -> Held:
        """Why it has stopped before the end of what it received."""

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited; a closed connection is forgotten at 0."""

    @property
    def backlog(self) -> int:
        """Plaintext that is not processed: what is held, and the front of a message that is not whole."""

    @property
    def machines(self) -> int:
        """How many machines, or channels, have work here: 0 or 1 on a V1 connection."""

    def receive(self, data: bytes, now: Now) -> list[Event]:
        """Plaintext arrived; empty `data` asks to go on with the backlog. One call does one turn's work at most."""

    def abandon(self) -> None:
        """The peer is gone, and messages of it are still held. Of those only the shares are taken from now on, since
        one of them may be a block; `closed` follows when nothing is held any more.
        """

    def offer(self, job: Job, now: Now) -> list[Event]:
        """A new job for every channel of the connection."""

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Event]:
        """The next weights, in the order in which this connection said `ShareSubmitted`."""

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """The shares with these ids are committed: they may be acknowledged."""

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares will never be committed: they are refused, if not `given_up` before, and leave the seen-set."""

    def given_up(self, ids: Sequence[int], now: Now) -> list[Event]:
        """The ledger gave these shares up and may still commit them: they are refused and stay in the seen-set."""

    def tick(self, now: Now) -> list[Event]:
        """`wakes_at` has come; or, before it, a `Nudge`."""

    def closed(self, now: Now) -> list[Event]:
        """The connection is gone, by whoever's wish; nothing can be sent any more."""


class Upstream(Connection, Protocol):
    """An outgoing connection, which belongs to the worker whose session asked for it by `Dial`.

    Its `conn_id` is 0 until the worker sets it, just before `opened`. From then on it is a connection like any other,
    except that it is still read while the daemon drains, since what the pool answers is what a drain waits for.
    """

    def transport(self, now: Now) -> Transport:
        """What is to stand between the wire and `receive`; asked for once, just before `opened`."""

    def opened(self, conn_id: int, peer: str, now: Now) -> list[Event]:
        """The connection stands; `peer` is the address that answered, for the log."""

    def broken(self, end: TransportEnd, now: Now) -> list[Event]:
        """Its transport takes in nothing more. The worker closes the connection where this does not."""

    def failed(self, reason: str, now: Now) -> list[Event]:
        """There will be no connection from this `Dial`, and no other call; `reason` is for the log."""


class WithoutShares:
    """The part of the face that is asked of connections which judge shares, for those that judge none: upstreams."""

    __slots__ = ()

    limits: ClassVar[Limits] = UPSTREAM
    held: ClassVar[Held] = Held.NOTHING

    @property
    def in_flight(self) -> int:
        """No share is here."""
        return 0

    @property
    def backlog(self) -> int:
        """Nothing is held back for one."""
        return 0

    @property
    def machines(self) -> int:
        """Nobody mines here."""
        return 0

    def abandon(self) -> None:
        """Nothing is held."""

    def offer(self, job: Job, now: Now) -> list[Event]:
        """Work comes from elsewhere."""
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
