"""`warppool workers`, `blocks` and `refusals`: what the books say, while the daemon runs or not."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from warppool.bitcoin.hashes import to_display
from warppool.commands.shares import parse_since
from warppool.commands.tables import Row, time_text, write_rows
from warppool.config.anyfile import books_of, read_any
from warppool.ledger.database import Reader
from warppool.ledger.opening import open_reader
from warppool.payout.weight import FRACTION_BITS
from warppool.stats.windows import HASHES_PER_DIFFICULTY

DAY_S: Final = 86_400.0

WORKER_COLUMNS: Final = ("worker", "user", "accepted", "difficulty", "best", "accepted_1d", "difficulty_1d",
                         "hashrate_1d")
BLOCK_COLUMNS: Final = ("height", "hash", "time", "worker", "difficulty", "outcome", "detail")
REFUSAL_COLUMNS: Final = ("worker", "reason", "shares")

_ONE: Final = 1 << FRACTION_BITS


def workers(args: argparse.Namespace) -> int:
    """Each worker that is in the books, those with the most work of the last day first."""
    with _books(args) as books:
        write_rows(WORKER_COLUMNS, worker_rows(books, time.time(), args.user), sys.stdout, args.format)
    return 0


def blocks(args: argparse.Namespace) -> int:
    """Each block that was found, the newest first."""
    with _books(args) as books:
        write_rows(BLOCK_COLUMNS, block_rows(books), sys.stdout, args.format)
    return 0


def refusals(args: argparse.Namespace) -> int:
    """Refused shares by worker and reason, the most first."""
    since = time.time() - DAY_S if args.since is None else parse_since(args.since) / 1000
    with _books(args) as books:
        write_rows(REFUSAL_COLUMNS, refusal_rows(books, since, args.user), sys.stdout, args.format)
    return 0


def worker_rows(books: Reader, now: float, user: str | None) -> Iterator[Row]:
    """A row for each worker, or for those of `user`, which may be a whole name; `now` is in Unix seconds."""
    today = {each.worker: each for each in books.worker_sums(now - DAY_S)}
    whole = [each for each in books.worker_sums(0) if _is_of(each.worker, user)]
    whole.sort(key=lambda each: (-(today[each.worker].weight if each.worker in today else 0), each.worker))
    for each in whole:
        day = today.get(each.worker)
        weight, accepted = (day.weight, day.accepted) if day is not None else (0, 0)
        yield (each.worker, each.worker.partition(".")[0], each.accepted, each.weight / _ONE, each.best, accepted,
               weight / _ONE, weight / _ONE * HASHES_PER_DIFFICULTY / DAY_S)


def block_rows(books: Reader) -> Iterator[Row]:
    """A row for each block of the books."""
    for block in books.blocks():
        yield (block.height, to_display(block.hash), time_text(block.time), block.worker, block.difficulty,
               block.outcome or None, block.detail or None)


def refusal_rows(books: Reader, since: float, user: str | None) -> Iterator[Row]:
    """A row for each worker and reason since Unix time `since`. "" is all names that have no share here."""
    rows = [each for each in books.refusal_sums(since) if _is_of(each.worker, user)]
    for each in sorted(rows, key=lambda each: (-each.shares, each.worker, each.reason)):
        yield each.worker, each.reason, each.shares


def _is_of(worker: str, user: str | None) -> bool:
    return user is None or user in (worker, worker.partition(".")[0])


@contextmanager
def _books(args: argparse.Namespace) -> Iterator[Reader]:
    with open_reader(*books_of(read_any(args.config, with_secrets=False))) as books:
        yield books
