"""What the books tell of who is paid, a row each. Accounts are addresses, "" where there is none; times are Unix.

Hashes of blocks have 32 bytes in header order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol

from warppool.ledger.payoutitems import ClaimRow, PayoutBlock, TipRow


class Meta(NamedTuple):
    """`next_share_id` was never given to a share. `server_id` is None, `journal_id` empty, until a pool has begun."""

    next_share_id: int
    server_id: int | None
    journal_id: bytes


class Start(NamedTuple):
    """A start of the pool, by its mark in coinbases."""

    start_id: bytes
    server_id: int
    time_ms: int


class Epoch(NamedTuple):
    """The mode of the shares from `first_id` on."""

    first_id: int
    mode: str


class HourRow(NamedTuple):
    """What an account's shares from `first_id` to `last_id` weigh: `whole` + `fraction` / 2^48.

    All rows of one hour have the same ids.
    """

    server: int
    first_id: int
    last_id: int
    account: str
    whole: int
    fraction: int
    shares: int


class CreditRow(NamedTuple):
    """A share as far as it counts for somebody."""

    share_id: int
    time_ms: int
    account: str
    difficulty: float


class MinuteRow(NamedTuple):
    """No share of this Unix minute has an id below `first_id`."""

    minute: int
    first_id: int


class LastShare(NamedTuple):
    """An account's newest share in a closed hour, and the Unix hour of that."""

    account: str
    share_id: int
    hour: int


class BlockPosition(NamedTuple):
    """A block and where it stands: `state` is "" before its first move."""

    block: PayoutBlock
    state: str
    turn: int


class PaidBlock(NamedTuple):
    """A block that moves money, without its coinbase: `value` and `fee` are sat, `finder` is an account or ""."""

    hash: bytes
    height: int
    time: float
    mode: str
    finder: str
    value: int
    fee: int
    state: str


class EntryRow(NamedTuple):
    """`sat` that the move to `turn` of this block brought into a purse of `account`, or took out of it."""

    block: bytes
    turn: int
    account: str
    kind: str
    sat: int


class PayoutReader(Protocol):
    """Reading who is paid. LedgerError from any method."""

    def meta(self) -> Meta:
        """What stands beside every commit."""

    def needs_confirmation(self) -> bool:
        """Whether the books are a restored copy, by which no balance is paid until the operator has said so."""

    def explains_loss(self, unix: float) -> bool:
        """Whether a sudden end of an earlier run explains that the books lack a block of ours of this Unix time."""

    def last_id(self) -> int:
        """The id of the newest share, 0 if there is none."""

    def starts(self) -> list[Start]:
        """All starts of the pool, by time."""

    def epochs(self) -> list[Epoch]:
        """The modes, oldest first; shares before the first row are of mode pool."""

    def hours(self, first_id: int = 1, last_id: int | None = None, *, newest_first: bool = False) -> Iterator[HourRow]:
        """The rows of all closed hours that have an id from `first_id` to `last_id`, by id and account."""

    def closed_id(self) -> int:
        """The last id of the newest closed hour, 0 if there is none."""

    def credits(self, first_id: int, last_id: int) -> Iterator[CreditRow]:
        """The shares from `first_id` to `last_id` that have an account, by id."""

    def minutes(self) -> list[MinuteRow]:
        """Which ids lie where in time, by id."""

    def first_id_since(self, minute: int) -> int | None:
        """No share of this Unix minute or a later one has an id below this; None if there is no such minute."""

    def tips(self, count: int) -> list[TipRow]:
        """The tips of the last `count` heights, highest first."""

    def holds(self) -> dict[str, int]:
        """From which id on shares are kept, and for whom."""

    def last_shares(self) -> list[LastShare]:
        """The newest share of each account that has one in a closed hour."""

    def snapshot(self, snapshot_id: bytes) -> bytes | None:
        """The body of a snapshot."""

    def newest_snapshot(self) -> tuple[bytes, bytes] | None:
        """Id and body of the snapshot that was kept last."""

    def snapshot_ids(self, parent: bytes | None = None) -> list[bytes]:
        """Ids of the snapshots, or of those that name one tip, the newest first."""

    def payout_blocks(self, states: Collection[str] | None = None) -> list[BlockPosition]:
        """Our blocks that move money, or those in one of `states`, by height."""

    def paid_blocks(self, offset: int, count: int) -> tuple[int, list[PaidBlock]]:
        """How many blocks move money, and `count` of them from `offset` on, the highest first."""

    def payout_block(self, block_hash: bytes) -> BlockPosition | None:
        """The block with this hash."""

    def entries(self, block_hash: bytes | None = None) -> Iterator[EntryRow]:
        """All entries, or those of one block, by block, turn and account."""

    def entry_sums(self) -> list[tuple[str, str, int]]:
        """Account, kind and the sum of all sat in it, where that is not 0."""

    def claims(self) -> list[ClaimRow]:
        """What became of claims, in the order in which it was booked."""
