"""What the books hold of own blocks and claims at a start, as settlement takes it up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from warppool.errors import LedgerError
from warppool.ledger.payoutitems import ClaimRow
from warppool.ledger.payoutrows import PayoutReader
from warppool.payout.balances import Balances
from warppool.payout.claims import Claims, OpenClaim
from warppool.payout.moves import BookEntry, Move, PayoutState, Purse, Step, booked_from, claim, claim_moved, pay, void
from warppool.payout.settlement import Settlement, Watched
from warppool.rewards.ownblocks import SHARED
from warppool.rewards.stored import read_snapshot

CLAIM_MADE, CLAIM_PAID, CLAIM_VOID = "claim", "paid", "void"
"""The kinds of rows in `claims`."""


class Past(NamedTuple):
    """`known` are the hashes of all own blocks in the books that move money. `shared` has those of shared rewards, with
    the oldest share that each pays for, 0 where the block is settled.

    `settled` of these are settled. `seen_height` is the height of the blocks that were mined when the books heard of a
    tip last; None if they never did. `is_unconfirmed`: the books are a restored copy, which the operator has not
    confirmed.
    """

    settlement: Settlement
    known: frozenset[bytes]
    shared: Mapping[bytes, int]
    settled: int
    seen_height: int | None
    is_unconfirmed: bool = False


def read_past(reader: PayoutReader) -> Past:
    """Read it; LedgerError."""
    entries = [BookEntry(account, Purse(kind), sat) for account, kind, sat in reader.entry_sums()]
    watched, known, shared, settled = [], set(), {}, 0
    for block, state, turn in reader.payout_blocks():
        known.add(block.hash)
        if block.mode == SHARED:
            shared[block.hash] = 0 if state == PayoutState.SETTLED else _first_share(reader, block.snapshot_id)
        if state == PayoutState.SETTLED:
            settled += block.mode == SHARED
        elif state:
            rows = [(row.turn, BookEntry(row.account, Purse(row.kind), row.sat)) for row in reader.entries(block.hash)]
            position = booked_from(block.hash, PayoutState(state), turn, rows)
            watched.append(Watched(block.hash, block.parent, block.height, position))
    claims, moves = claims_of(reader.claims())
    entries += [entry for move in moves for entry in move.entries]
    tips = reader.tips(1)
    return Past(Settlement(Balances(entries), claims, watched), frozenset(known), shared, settled,
                tips[0].height if tips else None, reader.needs_confirmation())


def _first_share(reader: PayoutReader, snapshot_id: bytes) -> int:
    body = reader.snapshot(snapshot_id)
    with suppress(LedgerError):                         # a damaged one: whoever needs it says so
        return 0 if body is None else read_snapshot(body).window.first_id
    return 0


def claims_of(rows: Iterable[ClaimRow]) -> tuple[Claims, list[Move]]:
    """The claims of the books, and the moves that led to them, whose entries the books do not hold."""
    by_claim: dict[bytes, list[ClaimRow]] = defaultdict(list)
    for row in rows:
        by_claim[row.claim].append(row)
    waiting: list[OpenClaim] = []
    paid: list[tuple[str, str]] = []
    moves: list[Move] = []
    for claim_id, told in by_claim.items():
        by_kind = {row.kind: row for row in told}
        made = by_kind.get(CLAIM_MADE)
        if made is None:                                # the books refused the claim, and took what became of it
            continue
        position, move = claim(claim_id, made.account, made.sat)
        moves.append(move)
        if CLAIM_PAID in by_kind:
            payment = by_kind[CLAIM_PAID]
            moves.append(pay(position, payment.sat)[1])
            paid.append((payment.account, payment.txid))
        elif CLAIM_VOID in by_kind:
            moves.append(void(position)[1])
        else:
            waiting.append(OpenClaim(position, made.height))
    return Claims(waiting, paid), moves


def claim_rows(steps: Iterable[Step], height: int, time: float, txid: str = "") -> list[ClaimRow]:
    """The rows for what became of claims by these steps, at a tip of `height` and at `time` (Unix seconds)."""
    rows = []
    for _, move in steps:
        kind = _KINDS.get(move.after)
        if kind is not None:
            account, sat = claim_moved(move)
            rows.append(ClaimRow(move.key, account, kind, sat, height, time, txid if kind == CLAIM_PAID else ""))
    return rows


_KINDS = {PayoutState.CLAIMED: CLAIM_MADE, PayoutState.PAID: CLAIM_PAID, PayoutState.VOID: CLAIM_VOID}
