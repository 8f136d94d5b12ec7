"""What a start of the pool says to the books, and what each mode of paying asks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple


class Bookkeeping(NamedTuple):
    """What a mode asks of the books: `are_credited`: shares have an account; `has_window`: weights are summed."""

    are_credited: bool
    has_window: bool


BOOKKEEPING: Final = {
    "pool": Bookkeeping(are_credited=False, has_window=False),
    "solo": Bookkeeping(are_credited=True, has_window=False),
    "pplns": Bookkeeping(are_credited=True, has_window=True),
}
"""By `pool.payout`."""


WINDOW_HOLD: Final = "window"
"""The name of the hold of shares that a window counts. A mode without a window holds none."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """A start of the pool: `mode` is `pool.payout`, `start_id` its mark in coinbases.

    `journal_id` is the id of the block journal (16 bytes, or none). `is_journal_known`: the journal has had it before;
    else the one that the books know stands. `new_journal_id` is one that nobody has had, should these books be a copy.
    `found` are the blocks of the journal: hash (header order), and the Unix time at which it was found.
    """

    mode: str
    server_id: int
    start_id: bytes
    time: float
    journal_id: bytes = b""
    is_journal_known: bool = False
    new_journal_id: bytes = b""
    found: tuple[tuple[bytes, float], ...] = ()
