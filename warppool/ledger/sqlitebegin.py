"""What the books hold of each start of the pool: its mark, its mode, and that they are the books of this pool."""

from __future__ import annotations

import logging
import sqlite3
from typing import Final

from warppool.bitcoin.hashes import to_display
from warppool.errors import LedgerError
from warppool.ledger.beginning import BOOKKEEPING, WINDOW_HOLD, Beginning
from warppool.ledger.markfile import Marked
from warppool.ledger.sqlitehours import WindowHours
from warppool.ledger.sqlitelosses import strange_losses
from warppool.ledger.sqlitenames import encode
from warppool.say import say

log = logging.getLogger("warppool.ledger")

_HAS_MONEY: Final = "SELECT EXISTS (SELECT 1 FROM window_hours) OR EXISTS (SELECT 1 FROM payout_blocks)"
_STRANGE_IDS: Final = "SELECT EXISTS (SELECT 1 FROM shares WHERE id >= (SELECT next_share_id FROM meta))"
_META: Final = "SELECT server_id, journal_id, is_copy FROM meta"
_SEGMENTS: Final = "SELECT journal_id FROM journals ORDER BY first_id"
_START: Final = "INSERT OR REPLACE INTO starts (start_id, server_id, time_ms) VALUES (?, ?, ?)"
_LAST_EPOCH: Final = "SELECT mode FROM payout_epochs ORDER BY first_id DESC LIMIT 1"


def begin(connection: sqlite3.Connection, beginning: Beginning, next_id: int, marked: Marked | None = None) -> bytes:
    """Write down a start, inside the transaction that is open; LedgerError if the books are another pool's.

    `next_id` is the id of the next share, `marked` is what was marked last. Returns the id of the journal that the
    books belong to: a new one where they are a copy that is written on from now on.
    """
    server_id, known_journal, is_copy = connection.execute(_META).fetchone()
    segments = [bytes(each) for (each,) in connection.execute(_SEGMENTS)]
    (has_money,) = connection.execute(_HAS_MONEY).fetchone()
    if has_money and BOOKKEEPING[beginning.mode].are_credited:
        if server_id != beginning.server_id:
            raise LedgerError(f"these are the books of server {server_id}, which know what its miners are owed: give "
                              f"pool.server_id = {server_id}, or name new books in ledger.url")
        if beginning.is_journal_known and known_journal and beginning.journal_id not in {known_journal, *segments}:
            raise LedgerError("these books know what miners are owed, by blocks of another block journal: put blocks "
                              "and journal-id of their pool.data_dir back, or name new books in ledger.url")
    lost = strange_losses(connection, beginning.found)
    _note_mode(connection, beginning, next_id, server_id)
    if not BOOKKEEPING[beginning.mode].has_window:      # one of before would keep old shares for ever
        connection.execute("DELETE FROM holds WHERE name = ?", (WINDOW_HOLD,))
    connection.execute(_START, (beginning.start_id, beginning.server_id, round(beginning.time * 1000)))
    journal_id = bytes(known_journal or beginning.journal_id)
    if beginning.is_journal_known and beginning.journal_id not in segments:
        journal_id = beginning.journal_id
    is_behind = marked is not None and _is_behind(marked, segments, next_id)
    if is_copy or is_behind or lost:
        journal_id = beginning.new_journal_id or journal_id
        if has_money:
            connection.execute("UPDATE meta SET is_unconfirmed = 1")
        _say_restored(next_id, marked.next_share_id if is_behind and marked is not None else "none",
                      "their shares begin a segment", to_display(lost[0]) if lost else "none")
    _note_segment(connection, segments, journal_id or (segments or [beginning.new_journal_id])[-1], next_id)
    connection.execute("UPDATE meta SET server_id = ?, journal_id = ?, next_share_id = ?, is_copy = 0",
                       (beginning.server_id, journal_id, next_id))
    return journal_id


def note_copy(connection: sqlite3.Connection, next_id: int, known_id: int) -> None:
    """Books that a running daemon wrote on went back from `known_id`: the next start finds that they are a copy."""
    connection.execute("UPDATE meta SET is_copy = 1")
    _say_restored(next_id, known_id, "the next start begins a segment with them: restart soon")


def _say_restored(next_id: int, marked: int | str, consequence: str, lacks: str = "none") -> None:
    say(log, logging.WARNING, "ledger.restored", next_share_id=next_id, marked=marked, lacks=lacks,
        meaning=f"these books are a restored copy, which lacks what was booked since; {consequence}")


def _is_behind(marked: Marked, segments: list[bytes], next_id: int) -> bool:
    """Whether the books have lost what was marked: ids of their newest segment, or that whole segment."""
    if segments[-1:] == [marked.journal_id]:
        return next_id < marked.next_share_id
    return bool(segments) and marked.journal_id not in segments


def segment_of(connection: sqlite3.Connection) -> bytes:
    """The id of the newest segment, b"" if there is none."""
    return bytes(next((each for (each,) in connection.execute(f"{_SEGMENTS} DESC")), b""))


def _note_segment(connection: sqlite3.Connection, segments: list[bytes], segment: bytes, next_id: int) -> None:
    """A row where the shares from `next_id` on are of another segment than those before."""
    if segment and segments[-1:] != [segment]:
        connection.execute("INSERT OR REPLACE INTO journals (first_id, journal_id) VALUES (?, ?)",
                           (next_id if segments else 1, segment))


def has_strange_ids(connection: sqlite3.Connection) -> bool:
    """Whether there are shares that no commit of ours can have written: from `next_share_id` on, in a mode that writes
    this with every commit.
    """
    if not BOOKKEEPING[_last_mode(connection)].are_credited:
        return False
    return bool(connection.execute(_STRANGE_IDS).fetchone()[0])


def _note_mode(connection: sqlite3.Connection, beginning: Beginning, next_id: int, server_id: int | None) -> None:
    """A row where the mode is not that of the shares before `next_id`; an epoch without a share leaves none."""
    last = _last_mode(connection)
    if last != beginning.mode and BOOKKEEPING[last].has_window and server_id is not None:
        WindowHours(server_id).end(connection, next_id - 1)
    connection.execute("DELETE FROM payout_epochs WHERE first_id >= ?", (next_id,))
    if _last_mode(connection) != beginning.mode:
        connection.execute("INSERT INTO payout_epochs (first_id, mode) VALUES (?, CAST(? AS TEXT))",
                           (next_id, encode(beginning.mode)))


def _last_mode(connection: sqlite3.Connection) -> str:
    """The mode of the newest epoch; that of books which have none is `pool`."""
    row = connection.execute(_LAST_EPOCH).fetchone()
    return "pool" if row is None else str(row[0])
