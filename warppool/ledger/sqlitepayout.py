"""How the rows of thread `payout` get into the SQLite file: each booking whole or not at all."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from warppool.errors import LedgerError
from warppool.ledger.manyrows import insert_into
from warppool.ledger.payoutitems import (
    Booking,
    ClaimRow,
    ConfirmRestore,
    DropSnapshots,
    Hold,
    KeepSnapshot,
    PayoutBlock,
    RestoredCopy,
    TipRow,
    Unbooked,
)
from warppool.ledger.sqlitenames import AccountIds, encode
from warppool.payout.moves import ALLOWED, Move, PayoutState

log = logging.getLogger("warppool.ledger")

NEW: Final = ""                     # the state of a block that has made no move yet

_KEEP: Final = "INSERT OR IGNORE INTO snapshots (id, parent, time_ms, body) VALUES (?, ?, ?, ?)"
_DROP: Final = """
    DELETE FROM snapshots
    WHERE id = ? AND NOT EXISTS (SELECT 1 FROM payout_blocks WHERE payout_blocks.snapshot = snapshots.id)"""
_HOLD: Final = """
    INSERT INTO holds (name, first_id) VALUES (CAST(? AS TEXT), ?)
    ON CONFLICT (name) DO UPDATE SET first_id = excluded.first_id"""
_BLOCK: Final = f"""
    INSERT INTO payout_blocks (hash, parent, height, time_ms, mode, finder, account, snapshot, room, value, fee,
        pays_balances, coinbase, nbits, state, turn)
    VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?, ?, '{NEW}', 0)
    ON CONFLICT (hash) DO NOTHING"""
_ENTRIES: Final = insert_into("entries", ("block", "turn", "account", "kind", "sat"))
_CLAIM: Final = """
    INSERT INTO claims (claim, account, kind, sat, height, time_ms, txid)
    VALUES (?, ?, CAST(? AS TEXT), ?, ?, ?, CAST(? AS TEXT)) ON CONFLICT (claim, kind) DO NOTHING"""


class NotAllowed(LedgerError):
    """The books are not as this booking takes them to be."""


class PayoutRows:
    """Writes bookings inside the transaction that is open."""

    def __init__(self, accounts: AccountIds) -> None:
        self._accounts = accounts

    def write(self, connection: sqlite3.Connection, booking: Booking) -> Unbooked | None:
        """Write all rows of `booking`; None, or why none of them is written. sqlite3.Error: the disk's trouble."""
        connection.execute("SAVEPOINT booking")
        try:
            for row in booking.rows:
                _WRITERS[type(row)](self, connection, row)
        except (NotAllowed, sqlite3.IntegrityError) as exc:
            reason = str(exc)
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError, TypeError, KeyError) as exc:
            log.exception("event=ledger.unbookable")        # a bug of ours, which shall not hold up the shares
            reason = repr(exc)
        else:
            connection.execute("RELEASE booking")
            return None
        connection.execute("ROLLBACK TO booking")
        connection.execute("RELEASE booking")
        self._accounts.clear()                              # some of them may have fallen
        return Unbooked(booking, reason)

    def _keep(self, connection: sqlite3.Connection, row: KeepSnapshot) -> None:
        connection.execute(_KEEP, (row.snapshot_id, row.parent, round(row.time * 1000), row.body))

    def _drop(self, connection: sqlite3.Connection, row: DropSnapshots) -> None:
        for snapshot_id in row.ids:
            connection.execute(_DROP, (snapshot_id,))

    def _tip(self, connection: sqlite3.Connection, row: TipRow) -> None:
        connection.execute("INSERT OR IGNORE INTO tips (height, hash, nbits) VALUES (?, ?, ?)",
                           (row.height, row.hash, row.nbits))

    def _hold(self, connection: sqlite3.Connection, row: Hold) -> None:
        if row.first_id is None:
            connection.execute("DELETE FROM holds WHERE name = CAST(? AS TEXT)", (encode(row.name),))
        else:
            connection.execute(_HOLD, (encode(row.name), row.first_id))

    def _block(self, connection: sqlite3.Connection, row: PayoutBlock) -> None:
        if row.snapshot_id and not connection.execute(
                "SELECT 1 FROM snapshots WHERE id = ?", (row.snapshot_id,)).fetchone():
            raise NotAllowed(f"block {row.hash[::-1].hex()}: the books have no snapshot {row.snapshot_id.hex()}")
        connection.execute(_BLOCK, (
            row.hash, row.parent, row.height, round(row.time * 1000), encode(row.mode),
            self._accounts.optional(connection, row.finder), self._accounts.optional(connection, row.account),
            row.snapshot_id or None, row.room, row.value, row.fee, row.pays_balances, row.coinbase,
            row.nbits))

    def _move(self, connection: sqlite3.Connection, move: Move) -> None:
        found = connection.execute("SELECT state, turn FROM payout_blocks WHERE hash = ?", (move.key,)).fetchone()
        if found is not None and _is_past(move, *found):
            return
        before, turn = move.before or NEW, move.turn - (move.before is not None)
        if found != (before, turn) or move.after not in ALLOWED.get(move.before, ()):
            stands = "not in the books" if found is None else f"{found[0] or 'new'} in turn {found[1]}"
            raise NotAllowed(f"block {move.key[::-1].hex()} is {stands}: it cannot go from {before or 'new'} to "
                             f"{move.after} in turn {move.turn}")
        connection.execute("UPDATE payout_blocks SET state = CAST(? AS TEXT), turn = ? WHERE hash = ?",
                           (encode(move.after), move.turn, move.key))
        _ENTRIES.execute(connection, [
            value for account, purse, sat in move.entries
            for value in (move.key, move.turn, self._accounts.id_of(connection, account), str(purse), sat)])

    def _confirm(self, connection: sqlite3.Connection, _: ConfirmRestore) -> None:
        connection.execute("UPDATE meta SET is_unconfirmed = 0")

    def _restored(self, connection: sqlite3.Connection, _: RestoredCopy) -> None:
        connection.execute("UPDATE meta SET is_unconfirmed = 1")

    def _claim(self, connection: sqlite3.Connection, row: ClaimRow) -> None:
        connection.execute(_CLAIM, (
            row.claim, self._accounts.id_of(connection, row.account), encode(row.kind), row.sat, row.height,
            round(row.time * 1000), encode(row.txid)))


def _is_past(move: Move, state: str, turn: int) -> bool:
    """Whether a block in this state and turn has made that move: below its turn it was found and reversed by turns."""
    if move.turn == turn:
        return state == move.after
    return move.turn < turn and move.after == (PayoutState.REVERSED if move.turn % 2 else PayoutState.FOUND)


_WRITERS: Final[dict[type, Callable[[PayoutRows, sqlite3.Connection, Any], None]]] = {
    KeepSnapshot: PayoutRows._keep, DropSnapshots: PayoutRows._drop, TipRow: PayoutRows._tip, Hold: PayoutRows._hold,
    PayoutBlock: PayoutRows._block, Move: PayoutRows._move, ClaimRow: PayoutRows._claim,
    ConfirmRestore: PayoutRows._confirm, RestoredCopy: PayoutRows._restored,
}
