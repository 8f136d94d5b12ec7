"""`warppool backup`: a copy of the books, while the daemon runs or not."""

from __future__ import annotations

import argparse

from warppool.config.anyfile import books_of, read_any
from warppool.ledger.opening import open_reader


def backup(args: argparse.Namespace) -> int:
    """Copy the books into a file; LedgerError."""
    with open_reader(*books_of(read_any(args.config, with_secrets=False))) as reader:
        reader.back_up(args.file)
    print(f"{args.file} has the books")
    return 0
