"""`warppool shares`: the books as JSON lines or CSV, streamed."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, TextIO

from warppool.errors import ConfigError
from warppool.ledger.database import BookedShare, Reader

COLUMNS: Final = ("time", "protocol", "channel", "user", "worker", "difficulty", "job", "height", "hash", "id",
                  "server", "account")

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula in one spreadsheet or another; the last four are the wide forms of the first."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))", re.ASCII
)


def write_shares(reader: Reader, out: TextIO, format: str, since: str | None, user: str | None) -> None:  # noqa: A002
    """Write every share from `since` (RFC 3339) on, of worker or user `user`, one a line.

    `format` is `jsonl` or `csv`. A reader of `out` that goes away ends it quietly. ConfigError for a bad `since` or
    `format`, LedgerError from the books.
    """
    since_ms = None if since is None else parse_since(since)
    write = _WRITERS.get(format)
    if write is None:
        raise ConfigError(f"--format is {format!r}: it may be {' or '.join(_WRITERS)}")
    try:
        server = reader.meta().server_id
        write((_values(share, server) for share in reader.shares(since_ms, user)), out)
        out.flush()
    except BrokenPipeError:
        _abandon(out)


def parse_since(text: str) -> int:
    """The first Unix millisecond at or after an RFC 3339 date-time; ConfigError for any other text."""
    match = _RFC3339.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        day, minute, second, fraction, offset = match.groups()
        is_leap = second == "60"            # RFC 3339 allows it; Unix time gives it the number of the next second
        moment = datetime.fromisoformat(f"{day}T{minute}:{'59' if is_leap else second}{offset or '+00:00'}")
        seconds = (moment - _EPOCH) // timedelta(seconds=1) + is_leap
    except ValueError:
        raise ConfigError(f"--since is {text!r}: it may be a time of RFC 3339, as 2026-11-22T10:00:00Z") from None
    milliseconds = (fraction or "").ljust(3, "0")
    return seconds * 1000 + int(milliseconds[:3]) + bool(milliseconds[3:].strip("0"))


def _values(share: BookedShare, server: int | None) -> tuple[object, ...]:
    """The values of one line, in the order of `COLUMNS`; floats are written as `repr` says them."""
    moment = _EPOCH + timedelta(milliseconds=share.time_ms)
    time = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    return (
        time, share.protocol, share.channel, share.user, share.worker, share.difficulty, share.job, share.height,
        share.hash[::-1].hex(), share.share_id, server, share.account or None,
    )


def _write_jsonl(rows: Iterable[tuple[object, ...]], out: TextIO) -> None:
    encode = json.JSONEncoder(separators=(",", ":")).encode         # ASCII, so any name goes through any terminal
    for row in rows:
        out.write(encode(dict(zip(COLUMNS, row, strict=True))) + "\n")


def _write_csv(rows: Iterable[tuple[object, ...]], out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    encoding = out.encoding or "utf-8"
    for row in rows:
        writer.writerow([harmless(printable(value, encoding)) if isinstance(value, str) else value for value in row])


def harmless(text: str) -> str:
    """`text` so that no spreadsheet takes it for a formula: machines choose their names, and one may run a program."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def printable(text: str, encoding: str) -> str:
    """`text` with whatever `encoding` cannot say, bytes that are no UTF-8 among it, written as `\\udcff`."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _abandon(out: TextIO) -> None:
    """Nobody reads `out` any more: let what it still buffers fall, so that Python's exit stays quiet too."""
    with suppress(OSError, ValueError):             # io.UnsupportedOperation is both
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)


_WRITERS: Final[dict[str, Callable[[Iterable[tuple[object, ...]], TextIO], None]]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}
