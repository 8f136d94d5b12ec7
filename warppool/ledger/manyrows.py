"""Statements that take many rows at once.

A step of a statement lets go of the GIL, and taking it back from a busy worker costs up to 5 ms. So few statements take
many rows: with one busy thread beside it, a commit of 100 shares took 6 ms so, and 145 ms by `executemany`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

_MOST: Final = 256
_SIZES: Final = (_MOST, 192, 128, 96, 64, 48, 32, 24, *range(16, 0, -1))        # rows of a statement


def _parts(rows: int) -> tuple[int, ...]:
    """The sizes that so many rows, at most _MOST, are written by."""
    parts: list[int] = []
    while left := rows - sum(parts):
        parts.append(next(size for size in _SIZES if size <= left))
    return tuple(parts)


_PARTS: Final = tuple(map(_parts, range(_MOST + 1)))


class ManyRows:
    """A statement whose middle is `VALUES` and any number of rows with so many `columns`."""

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._columns = columns
        self._statements = {size: f"{before} VALUES {', '.join([row] * size)} {after}" for size in _SIZES}

    def execute(self, connection: sqlite3.Connection, values: Sequence[object]) -> None:
        """Execute it for the rows of `values`, which stand in it one after the other."""
        columns, at = self._columns, 0
        total = len(values) // columns
        parts = _PARTS[total] if total <= _MOST else (_MOST,) * (total // _MOST) + _PARTS[total % _MOST]
        for size in parts:
            end = at + size * columns
            connection.execute(self._statements[size], values[at:end])
            at = end


def insert_into(table: str, columns: Sequence[str]) -> ManyRows:
    """Inserts rows of these columns."""
    return ManyRows(f"INSERT INTO {table} ({', '.join(columns)})", len(columns))
