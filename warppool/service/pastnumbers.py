"""What the books have of the past, read once at a start, before the ledger's thread writes anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from warppool.ledger.database import Reader
from warppool.ledger.rolluprows import BookedBlock, WorkerSum
from warppool.ledger.slots import TEN_MINUTES
from warppool.payout.weight import FRACTION_BITS
from warppool.stats.past import PastShares, Sums, pieces_of

DAY_S: Final = 86_400
WEEK_S: Final = 7 * DAY_S

SINCE_S: Final = (TEN_MINUTES, 3600, 6 * 3600, DAY_S, WEEK_S)
"""How long ago the pieces begin in which the last seven days are read."""


class Read(NamedTuple):
    """The blocks stand with the newest first."""

    past: PastShares
    blocks: list[BookedBlock]


def read_past(open_books: Callable[[], Reader], now: float) -> Read:
    """At Unix time `now`; LedgerError."""
    with open_books() as reader:
        blocks = reader.blocks()
        ever = _sums(reader.worker_sums(0.0))
        since = [(start, _sums(reader.worker_sums(start)))
                 for start in (_slot_start(now - seconds) for seconds in SINCE_S)]
        of_round = _of_round(reader, blocks[0]) if blocks else ever
        slots = reader.history(TEN_MINUTES, int(now - WEEK_S) // TEN_MINUTES, int(now) // TEN_MINUTES)
    week = sum(sums.accepted for sums in since[-1][1].values())
    is_older = sum(sums.accepted for sums in ever.values()) > week
    began = 0.0 if is_older else min([now, *(float(slot.slot * TEN_MINUTES) for slot in slots[:1])])
    return Read(PastShares(began, ever, of_round, pieces_of(since, now)), blocks)


def _of_round(reader: Reader, block: BookedBlock) -> dict[str, Sums]:
    """Since the newest own block, from the slot on in which it was found.

    The share that is the block lies in that slot, and no later one met what a block needs. Whose best share did has the
    best of the slots behind, or none while that slot is open.
    """
    sums = _sums(reader.worker_sums(block.time))
    found = [name for name, each in sums.items() if each.best >= block.difficulty]
    if found:
        behind = _sums(reader.worker_sums((block.time // DAY_S + 1) * DAY_S))
        for name in found:
            best = behind[name].best if name in behind else 0.0
            sums[name] = sums[name]._replace(best=best if best < block.difficulty else 0.0)
    return sums


def _slot_start(at: float) -> float:
    return float(max(0, int(at) // TEN_MINUTES * TEN_MINUTES))


def _sums(rows: Iterable[WorkerSum]) -> dict[str, Sums]:
    return {row.worker: Sums(row.accepted, row.weight / (1 << FRACTION_BITS), row.best) for row in rows}
