"""Lists for people and for programs: a table, JSON lines or CSV, from rows of the same columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final, TextIO

from warppool.commands.shares import harmless, printable

FORMATS: Final = ("table", "jsonl", "csv")

Row = tuple[object, ...]

MOST_MEASURED: Final = 1_000
"""Rows that a table's columns are measured by; a longer one is as wide as these."""

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


def write_rows(columns: Sequence[str], rows: Iterable[Row], out: TextIO, format: str) -> None:  # noqa: A002
    """Write `rows`, each with a value for every column, in one of FORMATS."""
    _WRITERS[format](columns, rows, out)
    out.flush()


def _write_jsonl(columns: Sequence[str], rows: Iterable[Row], out: TextIO) -> None:
    encode = json.JSONEncoder(separators=(",", ":")).encode
    for row in rows:
        out.write(encode(dict(zip(columns, row, strict=True))) + "\n")


def _write_csv(columns: Sequence[str], rows: Iterable[Row], out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    encoding = out.encoding or "utf-8"
    for row in rows:
        writer.writerow([harmless(printable(value, encoding)) if isinstance(value, str) else value for value in row])


def _write_table(columns: Sequence[str], rows: Iterable[Row], out: TextIO) -> None:
    """Streams all but the first rows, by which the columns are measured."""
    rows = iter(rows)
    first = [[_cell(value) for value in row] for row in islice(rows, MOST_MEASURED)]
    widths = [max(len(text) for text in column) for column in zip(columns, *first, strict=True)]
    for cells in ([*columns], *first):
        out.write(_line(cells, widths))
    for row in rows:
        out.write(_line([_cell(value) for value in row], widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() + "\n"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return amount(value)
    return plain(str(value))


def plain(text: str) -> str:
    """`text` on one line of a terminal: whatever does not print there is escaped, since strangers choose names."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
                   for letter in text)


def amount(value: float) -> str:
    """A difficulty in at most four digits and a letter: `4.568M`."""
    for suffix in ("", "k", "M", "G", "T", "P"):
        if abs(value) < 999.95:
            return f"{value:.4g}{suffix}"
        value /= 1000
    return f"{value:.4g}E"


def ago(seconds: float) -> str:
    """A time span in its two largest units: `1 d 3 h`."""
    left = max(0, int(seconds))
    for index, (unit, size) in enumerate(_UNITS):
        if left >= size:
            smaller, smaller_size = (*_UNITS, ("s", 1))[index + 1]
            return f"{left // size} {unit} {left % size // smaller_size} {smaller}"
    return f"{left} s"


def time_text(unix: float) -> str:
    """A time of RFC 3339, in whole seconds."""
    return f"{datetime.fromtimestamp(int(unix), UTC):%Y-%m-%dT%H:%M:%SZ}"


_WRITERS: Final[dict[str, Callable[[Sequence[str], Iterable[Row], TextIO], None]]] = {
    "table": _write_table, "jsonl": _write_jsonl, "csv": _write_csv}
