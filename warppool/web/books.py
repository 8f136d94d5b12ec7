"""What answers ask of the books: read-only, in questions whose size has a bound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from warppool.ledger.database import Reader
from warppool.ledger.payoutrows import PaidBlock
from warppool.payout.weight import FRACTION_BITS
from warppool.stats.ownblocks import seen_at
from warppool.stats.snapshot import BlockStats
from warppool.stats.windows import HASHES_PER_DIFFICULTY

RESOLUTIONS: Final = (600, 3600, 86_400)
"""Seconds of a slot, as the books have them."""

DAY_SLOTS: Final = 144                  # of ten minutes
MOST_SLOTS: Final = 1008                # a week of ten minutes, six weeks of hours

KEPT_S: Final = 60.0
"""How long an answer of the books is kept: slots that are over do not change, and balances do so at a block."""

MAX_KEPT: Final = 32

Value = TypeVar("Value")


class HistoryPoint(NamedTuple):
    """What was accepted in the slot that began at `time` (Unix seconds); `hashrate` is in hashes a second."""

    time: int
    hashrate: float
    accepted: int
    difficulty: float
    best: float


class RefusalPoint(NamedTuple):
    """How many shares were refused in the slot that began at `time` (Unix seconds), by reason."""

    time: int
    by_reason: Mapping[str, int]


class Balance(NamedTuple):
    """What an account is owed, in satoshi: with the next block, once blocks are mature, and what stands in a claim."""

    account: str
    payable: int
    maturing: int
    claimed: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.payable + self.maturing + self.claimed


class AccountPayment(NamedTuple):
    """What an account got of a block, in satoshi. `fair` is its share of the window, `balance` what it was owed
    besides; None where the block was not shared by weights.
    """

    account: str
    paid: int
    fair: int | None
    balance: int | None


class PayoutBooks(NamedTuple):
    """How what is owed and paid is worked out of the books: `balances`, and the `payments` of the block with a hash (32
    bytes, header order), None where there is no such block.
    """

    balances: Callable[[Reader], list[Balance]]
    payments: Callable[[Reader, bytes], list[AccountPayment] | None]


OWES_NOBODY: Final = PayoutBooks(lambda reader: [], lambda reader, block_hash: None)


class WebBooks:
    """Opens the books for each question, on the thread that asks. Owned by that thread.

    `opened` opens a reader; LedgerError from it, and from each question.
    """

    def __init__(self, opened: Callable[[], Reader], payouts: PayoutBooks = OWES_NOBODY) -> None:
        self._opened = opened
        self._payouts = payouts
        self._kept: dict[object, tuple[float, Any]] = {}            # and the time of the snapshot it is of
        self._divided: tuple[bytes, list[AccountPayment]] | None = None

    def history(self, at: float, resolution: int, slots: int, name: str | None = None) -> list[HistoryPoint]:
        """The last `slots` slots that were over at Unix time `at`, oldest first, of the pool, a user or a worker.

        The slot that runs is left out: it would look like a fall. The first point is that of the first slot that has a
        share, and slots without one have a point as well.
        """
        last = int(at) // resolution - 1
        return self._asked(at, ("work", resolution, last, slots, name), lambda reader: _points(
            resolution, last, {each.slot: each[1:] for each in reader.history(
                resolution, last - slots + 1, last, name)}))

    def refusals(self, at: float, resolution: int, slots: int, name: str | None = None) -> list[RefusalPoint]:
        """The slots among the last `slots` in which shares were refused; the running one is left out here, too."""
        last = int(at) // resolution - 1
        return self._asked(at, ("refusals", resolution, last, slots, name), lambda reader: _refusals(
            resolution, reader, last - slots + 1, last, name))

    def blocks(self, height: int, offset: int, count: int) -> list[BlockStats]:
        """Own blocks, the newest first, while the block at `height` is mined."""
        with self._opened() as reader:
            found = reader.blocks(offset + count)[offset:]
        return [seen_at(BlockStats(displayed(block.hash), block.height, block.worker, block.time, block.difficulty,
                                   block.outcome or "found"), height) for block in found]

    def paid_blocks(self, offset: int, count: int) -> tuple[int, list[PaidBlock]]:
        """How many own blocks move money, and some of them, the highest first."""
        with self._opened() as reader:
            return reader.paid_blocks(offset, count)

    def balances(self, at: float) -> list[Balance]:
        """What is owed, the largest sums first, at most a minute old."""
        return self._asked(at, "balances", lambda reader: sorted(
            self._payouts.balances(reader), key=lambda each: (-each.total, each.account)))

    def payments(self, block_hash: bytes) -> list[AccountPayment] | None:
        """Who got what of the block with this hash (32 bytes, header order); None for an unknown one.

        To divide a block among many takes long, and who reads it page by page asks for each: the last one is kept.
        """
        if self._divided is None or self._divided[0] != block_hash:
            with self._opened() as reader:
                found = self._payouts.payments(reader, block_hash)
            if found is None:
                return None
            self._divided = block_hash, found
        return self._divided[1]

    def _asked(self, at: float, question: object, answer: Callable[[Reader], Value]) -> Value:
        """The answer, at most a minute old; the oldest of those that are kept makes room."""
        asked_at, kept = self._kept.pop(question, (0.0, None))
        if not 0.0 <= at - asked_at < KEPT_S:
            with self._opened() as reader:
                asked_at, kept = at, answer(reader)
        self._kept[question] = (asked_at, kept)
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        found: Value = kept
        return found


def displayed(block_hash: bytes) -> str:
    """A hash in header order, as people write it."""
    return block_hash[::-1].hex()


def _points(resolution: int, last: int, sums: Mapping[int, tuple[Any, ...]]) -> list[HistoryPoint]:
    if not sums:
        return []
    return [_point(resolution, slot, *sums.get(slot, (0, 0, 0.0))) for slot in range(min(sums), last + 1)]


def _point(resolution: int, slot: int, accepted: int, weight: int, best: float) -> HistoryPoint:
    difficulty = weight / (1 << FRACTION_BITS)
    return HistoryPoint(slot * resolution, difficulty * HASHES_PER_DIFFICULTY / resolution, accepted, difficulty, best)


def _refusals(resolution: int, reader: Reader, first: int, last: int, name: str | None) -> list[RefusalPoint]:
    by_slot: dict[int, dict[str, int]] = defaultdict(dict)
    for slot, reason, shares in reader.refusal_history(resolution, first, last, name):
        by_slot[slot][reason] = shares
    return [RefusalPoint(slot * resolution, by_slot[slot]) for slot in sorted(by_slot)]
