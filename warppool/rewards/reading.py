"""The books for reading, opened when somebody wants to know something, and anew after trouble."""

from __future__ import annotations

from collections.abc import Callable

from warppool.ledger.database import Reader


class BooksReading:
    """Owned by one thread. `open_reader` gives a connection of its own; LedgerError."""

    def __init__(self, open_reader: Callable[[], Reader]) -> None:
        self._open_reader = open_reader
        self._reader: Reader | None = None

    def __call__(self) -> Reader:
        """The open books; LedgerError."""
        if self._reader is None:
            self._reader = self._open_reader()
        return self._reader

    def drop(self) -> None:
        """Something failed: the next call opens the books anew."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
