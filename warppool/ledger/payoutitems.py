"""What thread `payout` has booked, and what it hears of the books: all frozen, since they cross threads.

Hashes of blocks have 32 bytes in header order, accounts are canonical addresses, times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from warppool.events import ShareAccepted
from warppool.payout.moves import Move


@dataclass(frozen=True, slots=True)
class KeepSnapshot:
    """Keep the snapshot `body`; `snapshot_id` is the first 16 bytes of its SHA-256, `parent` the tip that it names."""

    snapshot_id: bytes
    parent: bytes
    time: float
    body: bytes


@dataclass(frozen=True, slots=True)
class DropSnapshots:
    """Delete these snapshots, but for those that a block names."""

    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TipRow:
    """A tip that was mined on; `nbits` as in its header."""

    height: int
    hash: bytes
    nbits: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep all shares from `first_id` on for `name`; the last one said of a name stands. None: no hold any more."""

    name: str
    first_id: int | None


@dataclass(frozen=True, slots=True)
class PayoutBlock:
    """A block of ours whose coinbase moves money, before its first move; booked once per hash.

    `mode` is the mode that made its job. `account` has an output of its own ("": a snapshot says who is paid), `finder`
    is the account of the channel that found it ("" if unknown). `snapshot_id` has 16 bytes or none, `room` bytes were
    left for outputs, `value` and `fee` are sat, `coinbase` is the stripped transaction, `nbits` stand in the header.
    """

    hash: bytes
    parent: bytes
    height: int
    time: float
    mode: str
    finder: str
    account: str
    snapshot_id: bytes
    room: int
    value: int
    fee: int
    pays_balances: bool
    coinbase: bytes
    nbits: int


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """Something became of the claim with this id (16 bytes): `kind` says what, once for each kind.

    `height` is that of the tip at which it is booked, `txid` a display hash or "".
    """

    claim: bytes
    account: str
    kind: str
    sat: int
    height: int
    time: float
    txid: str = ""


@dataclass(frozen=True, slots=True)
class ConfirmRestore:
    """The operator knows that these books are a restored copy, and has balances paid by them."""


@dataclass(frozen=True, slots=True)
class RestoredCopy:
    """These books are a restored copy, as it has turned out: no balance is paid until the operator has confirmed it."""


PayoutRow = (KeepSnapshot | DropSnapshots | TipRow | Hold | PayoutBlock | Move | ClaimRow | ConfirmRestore
             | RestoredCopy)
"""A `Move` is one of a block that the books have; where the block stands so already, nothing is written."""


@dataclass(frozen=True, slots=True)
class Booking:
    """Rows to write in one transaction, all of them or none. It may be said again: what is booked stays as it is.

    Answered with `Booked` or `Unbooked`; while the books cannot be written it waits. `token` is the sender's.
    """

    rows: tuple[PayoutRow, ...]
    token: object = None


@dataclass(frozen=True, slots=True)
class Booked:
    """The rows of `booking` are in the books."""

    booking: Booking


@dataclass(frozen=True, slots=True)
class Unbooked:
    """Nothing of `booking` is in the books, and nobody will try again."""

    booking: Booking
    reason: str


@dataclass(frozen=True, slots=True)
class SharesBooked:
    """These shares are in the books for good, under `first_id` and the ids that follow.

    `commit_s` is how long their commit took, None where it was in doubt. `waited_s` is how long the first of them that
    waited for its record was under way, from its weighing to its answer; None where none waited.
    """

    first_id: int
    shares: tuple[ShareAccepted, ...]
    commit_s: float | None = field(default=None, compare=False)
    waited_s: float | None = field(default=None, compare=False)
