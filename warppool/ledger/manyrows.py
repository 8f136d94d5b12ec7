"""Statements that take many rows at once.

A step of a statement lets go of the GIL, and taking it back from a busy worker costs up to 5 ms. So few statements take
many rows: with one busy thread beside it, a commit of 100 shares took 6 ms so, and 145 ms by `executemany`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

_SIZES: Final = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)      # rows of a statement


class ManyRows:
    """A statement whose middle is `VALUES` and any number of rows with so many `columns`."""

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._columns = columns
        self._statements = {size: f"{before} VALUES {', '.join([row] * size)} {after}" for size in _SIZES}

    def execute(self, connection: sqlite3.Connection, values: Sequence[object]) -> None:
        """Execute it for the rows of `values`, which stand in it one after the other."""
        columns, done = self._columns, 0
        total = len(values) // columns
        for size in _SIZES:
            while done + size <= total:
                connection.execute(self._statements[size], values[done * columns:(done + size) * columns])
                done += size


def insert_into(table: str, columns: Sequence[str]) -> ManyRows:
    """Inserts rows of these columns."""
    return ManyRows(f"INSERT INTO {table} ({', '.join(columns)})", len(columns))
