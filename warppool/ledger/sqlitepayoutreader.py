"""Reading who is paid from the SQLite file: `payoutrows.py` says what each method gives."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from warppool.ledger.payoutitems import ClaimRow, PayoutBlock, TipRow
from warppool.ledger.payoutrows import (
    BlockPosition,
    CreditRow,
    EntryRow,
    Epoch,
    HourRow,
    LastShare,
    Meta,
    MinuteRow,
    PaidBlock,
    Start,
)
from warppool.ledger.sqlitelosses import is_explained
from warppool.ledger.sqliteshares import CREDITS

SLICE_ROWS: Final = 10_000          # rows of one short transaction
_ENDLESS: Final = (1 << 63) - 1

_HOURS: Final = "SELECT server, first_id, last_id, account, whole, fraction, count FROM window_hours"
_FIRST_HOUR: Final = """
    SELECT coalesce((SELECT first_id FROM window_hours WHERE first_id <= ? ORDER BY first_id DESC LIMIT 1), ?)"""
_NEXT_CREDIT: Final = "SELECT min(id) FROM shares WHERE id > ? AND id <= ?"
_BLOCKS: Final = """
    SELECT b.hash, b.parent, b.height, b.time_ms / 1000.0, b.mode, coalesce(f.address, ''), coalesce(a.address, ''),
        coalesce(b.snapshot, x''), b.room, b.value, b.fee, b.pays_balances, b.coinbase, b.nbits, b.state,
        b.turn
    FROM payout_blocks b LEFT JOIN accounts f ON f.id = b.finder LEFT JOIN accounts a ON a.id = b.account"""
_PAID: Final = """
    SELECT b.hash, b.height, b.time_ms / 1000.0, b.mode, coalesce(a.address, ''), b.value, b.fee, b.state
    FROM payout_blocks b LEFT JOIN accounts a ON a.id = b.finder
    WHERE b.hash IN (SELECT hash FROM payout_blocks ORDER BY height DESC, hash LIMIT ? OFFSET ?)
    ORDER BY b.height DESC, b.hash"""
_PAYS_BALANCES_AT: Final = 11       # in a row of `_BLOCKS`
_ENTRIES: Final = """
    SELECT e.block, e.turn, a.address, e.kind, e.sat FROM entries e CROSS JOIN accounts a ON a.id = e.account"""
_SUMS: Final = """
    SELECT a.address, e.kind, sum(e.sat) FROM entries e JOIN accounts a ON a.id = e.account
    GROUP BY e.account, e.kind HAVING sum(e.sat) != 0 ORDER BY a.address, e.kind"""
_CLAIMS: Final = """
    SELECT c.claim, a.address, c.kind, c.sat, c.height, c.time_ms / 1000.0, c.txid
    FROM claims c JOIN accounts a ON a.id = c.account ORDER BY c.number"""


class SqlitePayoutReader:
    """The half of a read-only connection that is about who is paid."""

    _connection: sqlite3.Connection

    def _translated(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def meta(self) -> Meta:
        return Meta._make(self._all("SELECT next_share_id, server_id, journal_id FROM meta")[0])

    def needs_confirmation(self) -> bool:
        return bool(self._all("SELECT is_unconfirmed FROM meta")[0][0])

    def explains_loss(self, unix: float) -> bool:
        with self._translated():
            return is_explained(self._connection, unix)

    def last_id(self) -> int:
        return int(self._all("SELECT coalesce(max(id), 0) FROM shares")[0][0])

    def starts(self) -> list[Start]:
        return list(map(Start._make, self._all("SELECT start_id, server_id, time_ms FROM starts ORDER BY time_ms")))

    def epochs(self) -> list[Epoch]:
        return list(map(Epoch._make, self._all("SELECT first_id, mode FROM payout_epochs ORDER BY first_id")))

    def hours(self, first_id: int = 1, last_id: int | None = None, *, newest_first: bool = False) -> Iterator[HourRow]:
        addresses = self._addresses()
        low = self._all(_FIRST_HOUR, first_id, first_id)[0][0]
        high = _ENDLESS if last_id is None else last_id
        for rows in self._hour_slices(low, high, newest_first=newest_first):
            for server, first, last, account, whole, fraction, shares in rows:
                if last >= first_id:
                    if account not in addresses:
                        addresses = self._addresses()
                    yield HourRow(server, first, last, addresses[account], whole, fraction, shares)

    def _hour_slices(self, low: int, high: int, *, newest_first: bool) -> Iterator[list[tuple[Any, ...]]]:
        order = "first_id DESC, account" if newest_first else "first_id, account"
        query = f"{_HOURS} WHERE first_id BETWEEN ? AND ? ORDER BY {order} LIMIT {SLICE_ROWS}"
        while True:
            rows = self._all(query, low, high)
            if len(rows) < SLICE_ROWS:
                yield rows
                return
            edge = rows[-1][1]              # its hour may be cut: left to the next slice, unless it fills this one
            whole = [row for row in rows if row[1] != edge]
            if not whole:
                whole = self._all(f"{_HOURS} WHERE first_id = ? ORDER BY account", edge)
                edge += -1 if newest_first else 1
            yield whole
            low, high = (low, edge) if newest_first else (edge, high)

    def closed_id(self) -> int:
        rows = self._all("SELECT last_id FROM window_hours ORDER BY first_id DESC LIMIT 1")
        return int(rows[0][0]) if rows else 0

    def credits(self, first_id: int, last_id: int) -> Iterator[CreditRow]:
        addresses = self._addresses()
        at: int | None = first_id
        while at is not None and at <= last_id:
            end = min(at + SLICE_ROWS - 1, last_id)
            for share_id, time_ms, account, difficulty in self._all(CREDITS, at, end):
                if account not in addresses:
                    addresses = self._addresses()
                yield CreditRow(share_id, time_ms, addresses[account], difficulty)
            at = self._all(_NEXT_CREDIT, end, last_id)[0][0]

    def minutes(self) -> list[MinuteRow]:
        return list(map(MinuteRow._make, self._all("SELECT minute, first_id FROM minutes ORDER BY first_id, minute")))

    def first_id_since(self, minute: int) -> int | None:
        first: int | None = self._all("SELECT min(first_id) FROM minutes WHERE minute >= ?", minute)[0][0]
        return first

    def tips(self, count: int) -> list[TipRow]:
        query = """SELECT height, hash, nbits FROM tips
            WHERE height > (SELECT max(height) FROM tips) - ? ORDER BY height DESC, hash"""
        return [TipRow(*row) for row in self._all(query, count)]

    def holds(self) -> dict[str, int]:
        return dict(self._all("SELECT name, first_id FROM holds"))

    def last_shares(self) -> list[LastShare]:
        query = "SELECT address, last_id, last_hour FROM accounts WHERE last_id IS NOT NULL ORDER BY address"
        return list(map(LastShare._make, self._all(query)))

    def snapshot(self, snapshot_id: bytes) -> bytes | None:
        rows = self._all("SELECT body FROM snapshots WHERE id = ?", snapshot_id)
        return rows[0][0] if rows else None

    def newest_snapshot(self) -> tuple[bytes, bytes] | None:
        rows = self._all("SELECT id, body FROM snapshots ORDER BY rowid DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else None

    def snapshot_ids(self, parent: bytes | None = None) -> list[bytes]:
        if parent is None:
            rows = self._all("SELECT id FROM snapshots ORDER BY rowid DESC")
        else:
            rows = self._all("SELECT id FROM snapshots WHERE parent = ? ORDER BY rowid DESC", parent)
        return [row[0] for row in rows]

    def payout_blocks(self, states: Collection[str] | None = None) -> list[BlockPosition]:
        places = "" if states is None else f" WHERE b.state IN ({', '.join('?' * len(states))})"
        rows = self._all(f"{_BLOCKS}{places} ORDER BY b.height, b.hash", *(states or ()))
        return list(map(_position, rows))

    def paid_blocks(self, offset: int, count: int) -> tuple[int, list[PaidBlock]]:
        (total,) = self._all("SELECT count(*) FROM payout_blocks")[0]
        return total, list(map(PaidBlock._make, self._all(_PAID, count, offset)))

    def payout_block(self, block_hash: bytes) -> BlockPosition | None:
        rows = self._all(f"{_BLOCKS} WHERE b.hash = ?", block_hash)
        return _position(rows[0]) if rows else None

    def entries(self, block_hash: bytes | None = None) -> Iterator[EntryRow]:
        order = "ORDER BY e.block, e.turn, a.address, e.kind"
        if block_hash is not None:
            return map(EntryRow._make, self._all(f"{_ENTRIES} WHERE e.block = ? {order}", block_hash))
        return map(EntryRow._make, self._all(f"{_ENTRIES} {order}"))

    def entry_sums(self) -> list[tuple[str, str, int]]:
        return self._all(_SUMS)

    def claims(self) -> list[ClaimRow]:
        return [ClaimRow(*row) for row in self._all(_CLAIMS)]

    def _addresses(self) -> dict[int, str]:
        return dict(self._all("SELECT id, address FROM accounts"))

    def _all(self, query: str, *values: object) -> list[Any]:
        with self._translated():
            return self._connection.execute(query, values).fetchall()


def _position(row: tuple[Any, ...]) -> BlockPosition:
    *block, state, turn = row
    block[_PAYS_BALANCES_AT] = bool(block[_PAYS_BALANCES_AT])
    return BlockPosition(PayoutBlock(*block), state, turn)
