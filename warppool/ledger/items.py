"""The items of the ledger's queue (`queue.Queue`): all frozen, since they cross threads.

It answers `Shares` with `Recorded` or `NotRecorded` (net/inbox.py), each share in exactly one of them, and the other
items not at all, but a `Booking` (payoutitems.py). `GivenUp` may come before a `NotRecorded`.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import Any

from warppool.events import ShareAccepted
from warppool.ledger.payoutitems import Booking, ClaimRow, PayoutBlock
from warppool.loop import Report
from warppool.payout.moves import Move


@dataclass(frozen=True, slots=True)
class Shares:
    """Accepted shares to book; what became of them goes to `reply_to`, if there is one.

    `since` is the monotonic time from which they wait; None is the moment at which the ledger takes them.
    """

    shares: tuple[ShareAccepted, ...]
    reply_to: queue.Queue[Any] | None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """What may change while the thread runs. `durability`: "commit" or "none", of the shares that come from now on.
    `keep_days`: shares that are older are deleted; 0 keeps all.
    """

    durability: str
    keep_days: int


@dataclass(frozen=True, slots=True)
class Refusals:
    """How many shares were refused: `(user, reason, minute_unix, count)`, added to what is booked already.

    `minute_unix` is the Unix time, in seconds, at which the minute began.
    """

    counts: tuple[tuple[str, str, int, int], ...]


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block was found and is in its journal; booked once per hash, so that a replay may say it again.

    `hash` is 32 bytes in header order, `user` the whole worker name, `time` in Unix seconds, `difficulty` that of the
    network.
    """

    hash: bytes
    height: int
    user: str
    time: float
    difficulty: float


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What became of the block with this hash (`accepted`, `side`, `refused`); the last one said stands.

    Comes after its `BlockRow`, at a replay too, since the books may be new. `detail` is the node's own words.
    """

    hash: bytes
    outcome: str
    detail: str
    time: float


Row = BlockRow | BlockOutcome | Booking
"""What is booked beside shares and counts, however long it takes."""


def moves_money(row: Row) -> bool:
    """Whether books that lack this row might pay somebody twice: a block, what became of it, a payment by hand."""
    return isinstance(row, BlockRow) or (isinstance(row, Booking) and any(
        isinstance(each, PayoutBlock | Move | ClaimRow) for each in row.rows))


@dataclass(frozen=True, slots=True)
class LedgerReport(Report):
    """`rows` and `commits` are what was written since the start; shares and rows of the present trouble are lost."""

    rows: int
    commits: int
    waiting_shares: int                 # for their record
    is_troubled: bool                   # the books cannot be written
    shares_lost: int
    rows_lost: int
