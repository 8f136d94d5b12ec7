"""The part of `/api/v1` that asks the books: history, refusals, blocks, and what is owed and paid."""

from __future__ import annotations

import re
from typing import Final

from warppool.ledger.payoutrows import PaidBlock
from warppool.stats.snapshot import BlockStats
from warppool.web.answers import BadField, HttpAnswer, json_answer, not_found, number_of, shown
from warppool.web.books import DAY_SLOTS, MOST_SLOTS, RESOLUTIONS, AccountPayment, Balance, displayed
from warppool.web.paging import PAGED, Json, page, page_of, place_of
from warppool.web.requests import Asked
from warppool.web.routes import WebRoute
from warppool.web.view import WebView

_HASH: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
MOST_ROWS: Final = 10_000
"""Blocks are shown no further down than this, since whoever asks for the last page has all of them read."""


def history(asked: Asked, view: WebView) -> HttpAnswer:
    """Work by slots, of the pool, a user or a worker; the slot that runs is left out."""
    resolution, slots, name = _slots_of(asked)
    points = view.books.history(view.stats.at, resolution, slots, name)
    return json_answer({"resolution": resolution, "points": [point._asdict() for point in points]})


def refusals(asked: Asked, view: WebView) -> HttpAnswer:
    """Refused shares by slots and reason, likewise; slots without any are left out."""
    resolution, slots, name = _slots_of(asked)
    points = view.books.refusals(view.stats.at, resolution, slots, name)
    return json_answer({"resolution": resolution, "points": [
        {"time": point.time, "by_reason": {shown(reason): count for reason, count in point.by_reason.items()}}
        for point in points]})


def blocks(asked: Asked, view: WebView) -> HttpAnswer:
    """Own blocks, the newest first: the newest hundred from the snapshot, the older ones from the books."""
    offset, limit = place_of(asked)
    stats = view.stats
    found, older = list(stats.blocks[offset:offset + limit]), max(offset, len(stats.blocks))
    if offset + limit > older < min(stats.blocks_found, MOST_ROWS):
        found += view.books.blocks(stats.work.height, older, offset + limit - older)
    return page(offset, limit, max(stats.blocks_found, len(stats.blocks)), found,
                lambda block: _block(block, view.settings.listed(block.worker)))


def payouts(asked: Asked, view: WebView) -> HttpAnswer:
    """What shared rewards stand at; there is nothing where nobody follows blocks."""
    payout = view.stats.payout
    if payout is None:
        return not_found()
    return json_answer({
        "unsettled_blocks": payout.unsettled, "is_shared": payout.is_shared, "window_percent": payout.window_percent,
        "accounts": payout.accounts, "payable_sat": payout.payable_sat, "is_paying": payout.is_paying})


def paid_blocks(asked: Asked, view: WebView) -> HttpAnswer:
    """The blocks that pay by name, the highest first."""
    if view.stats.payout is None:
        return not_found()
    offset, limit = place_of(asked)
    total, found = view.books.paid_blocks(min(offset, MOST_ROWS), limit)
    return page(offset, limit, total, found if offset < MOST_ROWS else [],
                lambda block: _paid(block, view.settings.listed(block.finder)))


def payments(asked: Asked, view: WebView) -> HttpAnswer:
    """Who got what of one block, by its hash: in the order of its outputs, and then who got nothing of it."""
    text = asked.names["block"]
    if view.stats.payout is None or not _HASH.fullmatch(text):
        return not_found()
    found = view.books.payments(bytes.fromhex(text)[::-1])
    return not_found() if found is None else page_of(
        asked, found, lambda each: _payment(each, view.settings.listed(each.account)))


def balances(asked: Asked, view: WebView) -> HttpAnswer:
    """What is owed to whom, the largest sums first."""
    if view.stats.payout is None:
        return not_found()
    return page_of(asked, view.books.balances(view.stats.at),
                   lambda each: _balance(each, view.settings.listed(each.account)))


def balance(asked: Asked, view: WebView) -> HttpAnswer:
    """What is owed to one account, by its whole address."""
    account = asked.names["account"]
    if view.stats.payout is None:
        return not_found()
    found = next((each for each in view.books.balances(view.stats.at) if each.account == account), None)
    return not_found() if found is None else json_answer(_balance(found, account))


_SLOTS: Final = ("resolution", "slots", "user", "worker")
ROUTES: Final = (
    WebRoute("/api/v1/blocks", blocks, query=PAGED, reads_books=True),
    WebRoute("/api/v1/history", history, query=_SLOTS, reads_books=True),
    WebRoute("/api/v1/rejects/history", refusals, query=_SLOTS, reads_books=True),
    WebRoute("/api/v1/payouts", payouts),
    WebRoute("/api/v1/payouts/blocks", paid_blocks, query=PAGED, reads_books=True),
    WebRoute("/api/v1/payouts/blocks/{block}", payments, query=PAGED, reads_books=True),
    WebRoute("/api/v1/payouts/balances", balances, query=PAGED, reads_books=True),
    WebRoute("/api/v1/payouts/balances/{account}", balance, reads_books=True),
)


def _slots_of(asked: Asked) -> tuple[int, int, str | None]:
    """Resolution, how many slots, and whose; BadField."""
    resolution = number_of(asked.query, "resolution", RESOLUTIONS[0], 0, 1 << 30)
    if resolution not in RESOLUTIONS:
        raise BadField(f"resolution takes {', '.join(map(str, RESOLUTIONS))}")
    slots = number_of(asked.query, "slots", DAY_SLOTS, 1, MOST_SLOTS)
    return resolution, slots, asked.query.get("worker") or asked.query.get("user") or None


def _block(block: BlockStats, name: str) -> Json:
    return {"hash": block.hash, "height": block.height, "worker": shown(name), "time": block.time,
            "difficulty": block.difficulty, "state": block.state, "confirmations": block.confirmations,
            "effort": block.effort}


def _paid(block: PaidBlock, finder: str) -> Json:
    return {"hash": displayed(block.hash), "height": block.height, "time": block.time, "state": block.state,
            "mode": block.mode, "finder": finder, "value_sat": block.value, "fee_sat": block.fee}


def _payment(each: AccountPayment, account: str) -> Json:
    return {"account": account, "paid_sat": each.paid, "fair_sat": each.fair, "balance_sat": each.balance}


def _balance(each: Balance, account: str) -> Json:
    return {"account": account, "payable_sat": each.payable, "maturing_sat": each.maturing,
            "claimed_sat": each.claimed}
