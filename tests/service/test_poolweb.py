"""What the web says of payouts is what `warppool payouts` says, of the same books."""

from __future__ import annotations

import json
from functools import partial

from tests.rewards.world import BLOCK, BOB, claim, mine, some_shares
from tests.stats.made import snapshot
from tests.web.asking import Hand, ask
from warppool.commands.payouts import balances, parts
from warppool.ledger.sqlitereader import SqliteReader
from warppool.service.poolweb import balances_of, payments_of
from warppool.stats.snapshot import PayoutStats
from warppool.web import apibooks
from warppool.web.app import WebApp
from warppool.web.books import PayoutBooks, WebBooks
from warppool.web.routes import RouteTable
from warppool.web.view import WebSettings, WebViews


def test_balances_blocks_and_their_parts_are_those_of_the_command(tmp_path):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "shares.db"
    mine(path, some_shares(), balances={BOB: 1_234_567})
    with SqliteReader(path) as reader:
        owed = list(balances(reader))
        claim(path, owed[0]["account"], "claim", 1)
        owed = list(balances(reader))
        paid = list(parts(reader, reader.payout_block(BLOCK), "regtest"))
    assert owed[0]["claimed"] == 1

    stats = snapshot(payout=PayoutStats(is_shared=True))
    books = WebBooks(lambda: SqliteReader(path), PayoutBooks(balances_of, partial(payments_of, "regtest")))
    app = WebApp(RouteTable(apibooks.ROUTES), WebViews(lambda: stats, WebSettings(is_short=False), books),
                 frozenset({"localhost"}), monotonic=Hand())

    def items(target: str) -> list[dict]:
        return json.loads(ask(app, f"/api/v1/payouts/{target}").body)["items"]

    assert sorted(items("balances"), key=lambda row: row["account"]) == [
        {"account": row["account"], "payable_sat": row["payable"], "maturing_sat": row["maturing"],
         "claimed_sat": row["claimed"]} for row in owed]
    (block,) = items("blocks")
    assert block["hash"] == BLOCK[::-1].hex()
    assert items(f"blocks/{block['hash']}") == [
        {"account": row["account"], "paid_sat": row["paid"], "fair_sat": row.get("fair"),
         "balance_sat": row.get("balance")} for row in paid]
    assert ask(app, f"/api/v1/payouts/blocks/{'0' * 64}").status == 404
