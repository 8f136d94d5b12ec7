"""The books of a service: the lock of the data directory, the ledger's thread, and how other threads hand it rows."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from warppool.events import ShareAccepted
from warppool.ledger.beginning import BOOKKEEPING, Beginning
from warppool.ledger.database import Database
from warppool.ledger.items import BlockOutcome, BlockRow, Refusals, Shares
from warppool.ledger.opening import open_ledger, open_reader
from warppool.ledger.thread import LedgerThread
from warppool.loop import Takes
from warppool.node.journal import JOURNAL, times_found
from warppool.say import say
from warppool.service.journalid import new_journal_id, read_journal_id, write_journal_id
from warppool.service.lock import DataDirLock
from warppool.service.patience import Patience
from warppool.stats.items import RefusedShares
from warppool.threads import STOP

log = logging.getLogger("warppool")

KEEP_DAYS: Final = 90
"""Where no configuration says so: as the pool's `ledger.keep_days`."""


class Ledger:
    """Locks `data_dir`, which the configuration says under `key`, and opens the ledger at `url`.

    Shares are kept for `keep_days`, 0 for ever. `beginning` is a pool's start, written down before this returns;
    `heard` hears what is booked (ledger/thread.py), and `told` at once what is handed in beside shares.
    ConfigError, LedgerError; trouble of the moment is waited for by `patience`. `resources` closes what is open here.
    Any thread may call `shares`, `refused`, `block` and `block_outcome`, which put one item into the ledger's inbox.
    """

    def __init__(self, data_dir: Path, key: str, url: str, durability: str, patience: Patience,
                 resources: ExitStack, *, keep_days: int = KEEP_DAYS, beginning: Beginning | None = None,
                 heard: Takes | None = None, told: Callable[[object], None] | None = None) -> None:
        lock = patience.until_done(lambda: DataDirLock(data_dir, key))
        resources.callback(lock.release)
        self.inbox: queue.Queue[Any] = queue.Queue()
        self._told = told
        database = patience.until_done(lambda: _begun(url, data_dir, beginning))
        database.keep(keep_days)
        database.close()                            # good; its thread opens it again, since SQLite is a thread's own
        self.thread = LedgerThread(database, self.inbox, durability, heard=heard)

    def shares(self, shares: tuple[ShareAccepted, ...], reply_to: queue.Queue[Any] | None,
               since: float | None = None) -> None:
        """Book shares; `ledger.items.Shares` explains the arguments."""
        self.inbox.put(Shares(shares, reply_to, since))

    def refused(self, counts: tuple[tuple[str, str, int, int], ...]) -> None:
        """Book how many shares were refused."""
        self.inbox.put(Refusals(counts))
        self._tell(RefusedShares(counts))

    def block(self, block_hash: bytes, height: int, user: str, time: float, difficulty: float) -> None:
        """Book a block."""
        row = BlockRow(block_hash, height, user, time, difficulty)
        self.inbox.put(row)
        self._tell(row)

    def block_outcome(self, block_hash: bytes, outcome: str, detail: str, time: float) -> None:
        """Book what became of it."""
        row = BlockOutcome(block_hash, outcome, detail, time)
        self.inbox.put(row)
        self._tell(row)

    def _tell(self, item: object) -> None:
        if self._told is not None:
            self._told(item)

    def stop(self) -> None:
        """End the ledger's thread once all that was handed in is booked."""
        self.inbox.put(STOP)


def _begun(url: str, data_dir: Path, beginning: Beginning | None) -> Database:
    """The books, open, and the start of a pool in them; ConfigError, LedgerError."""
    database = open_ledger(url, data_dir)
    if beginning is None:
        return database
    beginning = replace(beginning, new_journal_id=new_journal_id(), found=times_found(data_dir / JOURNAL))
    if not BOOKKEEPING[beginning.mode].are_credited:
        database.begin(beginning)
        return database
    in_file = read_journal_id(data_dir)
    if in_file:
        _warn_of_forgotten(url, data_dir)
    journal_id = database.begin(replace(
        beginning, journal_id=in_file or new_journal_id(), is_journal_known=bool(in_file)))
    if journal_id != in_file:
        write_journal_id(data_dir, journal_id)
    return database


def _warn_of_forgotten(url: str, data_dir: Path) -> None:
    """Say so where the block journal has had books that know what miners are owed, and these are none of them."""
    with open_reader(url, data_dir) as reader:
        if not reader.meta().journal_id:
            say(log, logging.WARNING, "ledger.without_past", ledger=url, meaning="this pool has had other books, and "
                "what those say of work and balances is not known here", cure="if that is not meant, stop the pool and "
                "put the books back, or mend ledger.url")
