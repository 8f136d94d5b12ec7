"""What the charts of the page ask of the books, read-only and bounded: a day of one name by ten minutes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from warppool.errors import LedgerError
from warppool.ledger.opening import open_reader
from warppool.ledger.slots import TEN_MINUTES
from warppool.payout.weight import FRACTION_BITS
from warppool.web.pages import History


def history_of(url: str, data_dir: Path) -> History:
    """For `Pages`. A connection of its own for each question, of which there are few: none is kept open, so that books
    that are put back are read from then on.
    """
    def history(first: int, last: int, name: str | None) -> Mapping[int, float] | None:
        try:
            with open_reader(url, data_dir) as reader:
                slots = reader.history(TEN_MINUTES, first, last, name)
        except LedgerError:                     # the log has it from the thread that writes them
            return None
        return {each.slot: each.weight / (1 << FRACTION_BITS) for each in slots}

    return history
