"""What the ledger's thread and the readers of the books want of a database, whichever it is.

`sqlite.py` and `sqlitereader.py` are the one that there is; `opening.py` knows by the `ledger.url` which it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from warppool.errors import LedgerError
from warppool.events import ShareAccepted
from warppool.ledger.beginning import Beginning
from warppool.ledger.items import BlockOutcome, Row
from warppool.ledger.payoutitems import Unbooked
from warppool.ledger.payoutrows import PayoutReader
from warppool.ledger.rolluprows import RollupReader

Unwritten = BlockOutcome | Unbooked
"""An outcome whose block is unknown, or a booking that the books do not allow."""


class CommitInDoubt(LedgerError):
    """The commit itself failed, so the transaction may be in the books or not: `resolve` finds out.

    `first_id` is the id that the transaction gave its first share.
    """

    def __init__(self, message: str, first_id: int) -> None:
        super().__init__(message)
        self.first_id = first_id


class Database(Protocol):
    """The books, for writing. One thread uses it at a time. After any LedgerError it is closed, and `open` starts anew.
    """

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""

    @property
    def next_id(self) -> int:
        """The id that the next `write` gives its first share."""

    def open(self) -> None:
        """Connect, making the books or bringing their tables up to date as needed; LedgerError."""

    def verify(self) -> None:
        """Look the open books through, as far as that takes no more than a second or so; LedgerError if damaged."""

    def begin(self, beginning: Beginning) -> bytes:
        """A start of the pool, before its first job: from now on shares are booked as its mode asks.

        Returns the id of the block journal that belongs to the books. LedgerError if these books cannot be those of
        this pool.
        """

    def write(
        self,
        shares: Sequence[ShareAccepted],
        refusals: Mapping[tuple[str, str, int], int],
        rows: Sequence[Row],
    ) -> list[Unwritten]:
        """Book it all in one transaction, on the disk when this returns; what is left out of it comes back.

        `refusals` maps (user, reason, minute_unix) to a count. LedgerError: nothing was written. CommitInDoubt, one of
        them: nobody knows yet.
        """

    def resolve(self, first_id: int, shares: Sequence[ShareAccepted], erase: int) -> bool:
        """Whether a commit in doubt is in the reopened books; if so, its first `erase` shares are taken out again.

        `shares` are those of the failed `write`, at least one. Settling again after a LedgerError is safe.
        """

    def keep(self, days: int) -> None:
        """Delete shares that are older from now on, bit by bit (`tend`); 0 keeps all."""

    def tend(self) -> bool:
        """Do one of the small things that the books need beside what is booked; whether there may be more to do.

        LedgerError: it is not done. It is safe to be killed in it.
        """

    def close(self) -> None:
        """End the connection; never raises."""


class BookedShare(NamedTuple):
    """One share of the books; `user` is the worker's name up to its first dot, `hash` 32 bytes in header order.

    `account` is the address that it counts for, "" in mode pool.
    """

    time_ms: int
    protocol: str
    channel: int
    worker: str
    user: str
    difficulty: float
    job: int
    height: int
    hash: bytes
    share_id: int
    account: str


class Totals(NamedTuple):
    """All that was ever booked; `difficulty` is the sum of what was credited."""

    shares: int
    difficulty: float
    blocks: int


class Reader(PayoutReader, RollupReader, Protocol):
    """The books, for reading alone, while a daemon writes them and when none does. LedgerError from any method."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def close(self) -> None:
        """End the connection."""

    def back_up(self, target: Path) -> None:
        """Copy the books into the new file `target`, as they are at one moment."""

    def shares(self, since_ms: int | None = None, user: str | None = None) -> Iterator[BookedShare]:
        """The shares booked so far in the order of their commits, from `since_ms` (Unix) on, of one worker or user.

        `user` is a whole worker name or what stands before the first dot of one. Takes constant memory.
        """

    def totals(self) -> Totals:
        """Count and sum the books, those shares too that are not kept any more."""

    def has_block(self, block_hash: bytes) -> bool:
        """Whether the books have the block with this hash (32 bytes, header order)."""
