"""`/api/v1`: every answer is what `openapi.json` says, of any snapshot; names are names, and never more than that."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from tests.stats.made import ADDRESS, AT, HOSTILE, snapshot, user, worker
from tests.web.asking import NO_BOOKS, Hand, ask
from tests.web.schema import faults
from warppool.ledger.payoutrows import PaidBlock
from warppool.ledger.rolluprows import BookedBlock, SlotRefusals, SlotSum
from warppool.stats.snapshot import NodeStats, OutputStats, PayoutStats, StatsSnapshot, WorkStats
from warppool.web import apiv1, dropins, healthroute
from warppool.web.app import WebApp
from warppool.web.books import KEPT_S, AccountPayment, Balance, PayoutBooks, WebBooks
from warppool.web.routes import RouteTable
from warppool.web.shortname import shorten
from warppool.web.view import WebSettings, WebViews

DOCUMENT = json.loads(apiv1.OPENAPI)
SHARED = PayoutStats(unsettled=1, is_shared=True, window_percent=12.5, accounts=3, payable_sat=123_456, is_paying=True)
SNAPSHOTS = {
    "made up": snapshot(payout=SHARED),
    "just started": StatsSnapshot(number=0, at=AT, started=AT),
    "translator": snapshot(
        program="warppool translator", network="", work=WorkStats(has_work=True),
        nodes=(NodeStats("pool.example:34254", "up", is_mined=True), NodeStats("other.example:34254", "untried"))),
    "hostile": snapshot(user(HOSTILE, worker(f"{HOSTILE}.\udcff\ud800\n", user=HOSTILE, agent="\u202e\n\udcff"))),
}


class MadeUpBooks:
    """A reader of books with two slots that have shares, of the pool and of everybody."""

    asked: list[tuple[int, int, int, str | None]] = []

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def history(self, resolution: int, first_slot: int, last_slot: int, name: str | None = None) -> list[SlotSum]:
        """The last slot, and the third before it."""
        self.asked.append((resolution, first_slot, last_slot, name))
        return [SlotSum(last_slot - 3, 2, 3 << 48, 7.5), SlotSum(last_slot, 1, 1 << 47, 2.0)]

    def refusal_history(self, resolution: int, first_slot: int, last_slot: int, name: str | None = None
                        ) -> list[SlotRefusals]:
        """Two reasons in the last slot."""
        return [SlotRefusals(last_slot, "duplicate-share", 1), SlotRefusals(last_slot, "stale-share", 4)]

    def blocks(self, limit: int | None = None) -> list[BookedBlock]:
        """A hundred and fifty, the newest first."""
        return [BookedBlock(bytes([number]) * 32, 840_001 - number, ADDRESS, AT - number, 1e6,
                            "" if number == 149 else "accepted", "") for number in range(150)][:limit]

    def paid_blocks(self, offset: int, count: int) -> tuple[int, list[PaidBlock]]:
        """Three."""
        found = [PaidBlock(bytes(32), 840_001 - number, AT, "pplns", "" if number else ADDRESS, 312_500_000, 3_125_000,
                           "settled") for number in range(3)]
        return len(found), found[offset:offset + count]


OWED = [Balance("one", 5, 0, 0), Balance(ADDRESS, 100_000, 20, 3)]
PAID = [AccountPayment(ADDRESS, 300_000_000, 299_000_000, 1_000_000), AccountPayment("51", 12_500_000, None, None)]
PAID_HASH = "00" * 4 + "ab" * 28


def paid_of(reader: object, block_hash: bytes) -> list[AccountPayment] | None:
    return PAID if block_hash[::-1].hex() == PAID_HASH else None


BOOKS = WebBooks(lambda: MadeUpBooks(), PayoutBooks(lambda reader: OWED, paid_of))  # type: ignore[arg-type,return-value]


def app(stats: StatsSnapshot, books: WebBooks = BOOKS, **settings: Any) -> WebApp:
    """All routes that need no extra; its clock stands still, and each test asks fewer than 30 times."""
    table = RouteTable((*apiv1.ROUTES, *dropins.ROUTES, *healthroute.ROUTES))
    views = WebViews(lambda: stats, WebSettings(**settings), books)
    return WebApp(table, views, frozenset({"localhost"}), monotonic=Hand())


def targets() -> list[str]:
    """Each path of the document, with names that are there in the snapshots and names that are not."""
    found = []
    for path in DOCUMENT["paths"]:
        for name in (ADDRESS, HOSTILE, "nobody"):
            whole = f"{name}.rig" if "{worker}" in path else name
            filled = path.replace("{user}", quote(name, safe="")).replace("{worker}", quote(whole, safe=""))
            filled = filled.replace("{account}", quote(name, safe="")).replace(
                "{block}", PAID_HASH if name == ADDRESS else quote(name, safe=""))
            found.append((path, filled))
    return sorted(set(found))


@pytest.mark.parametrize("kind", SNAPSHOTS)
@pytest.mark.parametrize(("path", "filled"), targets())
def test_an_answer_is_what_the_document_says(kind: str, path: str, filled: str) -> None:
    reply = ask(app(SNAPSHOTS[kind]), f"/api/v1{filled}")
    responses = DOCUMENT["paths"][path]["get"]["responses"]
    assert str(reply.status) in responses
    assert reply.headers["content-type"] == "application/json"
    schema = responses[str(reply.status)]["content"]["application/json"]["schema"]
    assert list(faults(json.loads(reply.body), schema, DOCUMENT)) == []
    assert reply.body.isascii()


def test_the_document_has_every_route_and_no_other() -> None:
    routes = {route.path.removeprefix("/api/v1") for route in apiv1.ROUTES} - {"/openapi.json"}
    assert set(DOCUMENT["paths"]) == routes
    for route in apiv1.ROUTES[:-1]:
        described = DOCUMENT["paths"][route.path.removeprefix("/api/v1")]["get"].get("parameters", [])
        assert {each["name"] for each in described if each["in"] == "query"} == set(route.query)
    assert json.loads(ask(app(snapshot()), "/api/v1/openapi.json").body) == DOCUMENT


def test_what_the_schema_forbids_is_found() -> None:
    whole = json.loads(ask(app(snapshot()), "/api/v1/pool").body)
    schema = {"$ref": "#/components/schemas/Pool"}
    assert list(faults(whole, schema, DOCUMENT)) == []
    assert list(faults({**whole, "at": "now"}, schema, DOCUMENT))
    assert list(faults({**whole, "peer": "192.0.2.1"}, schema, DOCUMENT))
    assert list(faults({key: whole[key] for key in whole if key != "idle"}, schema, DOCUMENT))
    assert list(faults({**whole, "idle": True}, schema, DOCUMENT))


def test_lists_are_paged_and_bounded() -> None:
    many = [user(f"user{index:04}") for index in range(250)]
    pages = app(snapshot(*many))
    first = json.loads(ask(pages, "/api/v1/users").body)
    assert (first["offset"], first["limit"], first["total"], len(first["items"])) == (0, 25, 250, 25)
    last = json.loads(ask(pages, "/api/v1/users?offset=240&limit=100000").body)
    assert (last["limit"], [row["name"] for row in last["items"]]) == (100, [f"user{n:04}" for n in range(240, 250)])
    assert json.loads(ask(pages, "/api/v1/users?offset=99999999999").body)["items"] == []
    for wrong in ("offset=-1", "limit=1e9", "limit=%D9%A3", "offset=9999999999999"):
        assert ask(pages, f"/api/v1/users?{wrong}").status == 400


def test_lists_shorten_names_and_a_page_asked_for_by_name_does_not() -> None:
    short = app(snapshot())
    names = [row["name"] for row in json.loads(ask(short, "/api/v1/users").body)["items"]]
    assert names[0] == f"{ADDRESS[:8]}\u2026{ADDRESS[-4:]}"
    assert ADDRESS.encode() not in ask(short, "/api/v1/workers").body + ask(short, "/api/v1/blocks").body
    assert ADDRESS.encode() not in ask(short, "/api/info").body + ask(short, "/api/pool").body
    assert json.loads(ask(short, f"/api/v1/users/{ADDRESS}").body)["name"] == ADDRESS
    full = app(snapshot(), is_short=False)
    assert json.loads(ask(full, "/api/v1/users").body)["items"][0]["name"] == ADDRESS


def test_a_name_may_hold_a_slash_and_bytes_that_are_no_text() -> None:
    odd = "a/b\udcff"
    reply = ask(app(snapshot(user(odd))), "/api/v1/users/a%2Fb%FF")
    assert json.loads(reply.body)["name"] == "a/b\ufffd"
    assert ask(app(snapshot(user(odd))), "/api/v1/users/a/b%FF").status == 404


def test_history_has_a_point_for_each_slot_that_is_over() -> None:
    answer = json.loads(ask(app(snapshot()), "/api/v1/history?resolution=3600&slots=24&user=bob").body)
    last = int(AT) // 3600 - 1
    assert MadeUpBooks.asked[-1] == (3600, last - 23, last, "bob")
    assert [point["time"] for point in answer["points"]] == [(last - ago) * 3600 for ago in (3, 2, 1, 0)]
    assert [point["difficulty"] for point in answer["points"]] == [3.0, 0.0, 0.0, 0.5]
    assert answer["points"][0]["hashrate"] == pytest.approx(3 * 2**32 / 3600, rel=1e-4)
    assert ask(app(snapshot()), "/api/v1/history?resolution=7").status == 400
    assert ask(app(snapshot()), "/api/v1/history?slots=99999999").status == 200
    assert MadeUpBooks.asked[-1][2] - MadeUpBooks.asked[-1][1] == 1007


def test_what_is_over_is_asked_for_once_a_minute() -> None:
    books, asked = WebBooks(lambda: MadeUpBooks()), MadeUpBooks.asked  # type: ignore[arg-type,return-value]
    asked.clear()
    begin = AT // 86_400 * 86_400 + 600 * 60
    for later_s, count in ((0.0, 1), (KEPT_S - 1, 1), (KEPT_S, 2), (0.0, 3)):         # the clock may be set back
        assert len(books.history(begin + later_s, 600, 144)) == 4
        assert len(asked) == count
    for number in range(100):
        books.history(begin, 600, 144, str(number))
    assert len(books._kept) <= 32


def test_refusals_have_a_history() -> None:
    answer = json.loads(ask(app(snapshot()), "/api/v1/rejects/history?resolution=86400&slots=3").body)
    assert answer == {"resolution": 86400, "points": [
        {"time": (int(AT) // 86_400 - 1) * 86_400, "by_reason": {"duplicate-share": 1, "stale-share": 4}}]}


def test_blocks_beyond_the_newest_hundred_come_from_the_books() -> None:
    shown = snapshot().blocks[:1] * 100
    pages = app(snapshot(blocks=shown, blocks_found=150))
    rows = json.loads(ask(pages, "/api/v1/blocks?offset=90&limit=30").body)
    assert (rows["total"], len(rows["items"])) == (150, 30)
    assert [row["height"] for row in rows["items"][8:12]] == [shown[0].height] * 2 + [839_901, 839_900]
    last = json.loads(ask(pages, "/api/v1/blocks?offset=149&limit=100").body)["items"]
    assert [(row["height"], row["state"], row["effort"]) for row in last] == [(839_852, "found", None)]
    assert json.loads(ask(pages, "/api/v1/blocks?offset=99999999").body)["items"] == []


def test_who_is_owed_what_is_said_shortened_in_lists_and_whole_where_it_is_asked_for_by_name() -> None:
    owing = app(snapshot(payout=SHARED))
    rows = json.loads(ask(owing, "/api/v1/payouts/balances").body)
    assert rows["total"] == 2 and [row["payable_sat"] for row in rows["items"]] == [100_000, 5]
    assert rows["items"][0]["account"] == f"{ADDRESS[:8]}\u2026{ADDRESS[-4:]}"
    one = json.loads(ask(owing, f"/api/v1/payouts/balances/{ADDRESS}").body)
    assert one == {"account": ADDRESS, "payable_sat": 100_000, "maturing_sat": 20, "claimed_sat": 3}
    paid = json.loads(ask(owing, "/api/v1/payouts/blocks?offset=1").body)
    assert (paid["total"], [row["height"] for row in paid["items"]]) == (3, [840_000, 839_999])
    parts = json.loads(ask(owing, f"/api/v1/payouts/blocks/{PAID_HASH.upper()}?limit=1").body)
    assert (parts["total"], parts["items"]) == (2, [{
        "account": shorten(ADDRESS), "paid_sat": 300_000_000, "fair_sat": 299_000_000, "balance_sat": 1_000_000}])
    assert ask(owing, f"/api/v1/payouts/blocks/{'0' * 64}").status == 404
    nobody = app(snapshot())
    for path in ("blocks", f"blocks/{PAID_HASH}", "balances", f"balances/{ADDRESS}"):
        assert ask(nobody, f"/api/v1/payouts/{path}").status == 404


def test_a_block_is_divided_once_for_who_reads_page_by_page() -> None:
    asked: list[bytes] = []

    def payments(_: Any, block_hash: bytes) -> list[AccountPayment] | None:
        asked.append(block_hash)
        return None if block_hash == bytes(32) else [AccountPayment(str(number), number, None, None)
                                                     for number in range(300)]

    books = WebBooks(lambda: MadeUpBooks(), PayoutBooks(lambda reader: [], payments))   # type: ignore[arg-type,return-value]
    for block_hash in (b"a" * 32, b"a" * 32, bytes(32), b"a" * 32, b"b" * 32, b"b" * 32):
        found = books.payments(block_hash)
        assert (found is None) == (block_hash == bytes(32)) and (found is None or len(found) == 300)
    assert asked == [b"a" * 32, bytes(32), b"b" * 32]


def test_books_that_cannot_be_read_are_said_to_be_so_without_their_path() -> None:
    reply = ask(app(snapshot(), NO_BOOKS), "/api/v1/history")
    assert reply.status == 503
    assert b"secret" not in reply.body


def test_no_face_says_a_number_that_is_none() -> None:
    broken = snapshot(shares_per_second=(math.nan, 0.0, 0.0, 0.0))
    assert ask(app(broken), "/api/v1/pool").status == 500


def test_an_address_of_a_miner_in_the_coinbase_is_shortened_as_in_lists_and_an_operators_is_not():
    paid = (OutputStats(ADDRESS, 2, is_miner=True), OutputStats(ADDRESS, 1))
    stats = snapshot(work=replace(snapshot().work, outputs=paid))
    for is_short, names in ((True, [shorten(ADDRESS), ADDRESS]), (False, [ADDRESS, ADDRESS])):
        answer = json.loads(ask(app(stats, is_short=is_short), "/api/v1/pool").body)
        assert [each["to"] for each in answer["work"]["outputs"]] == names
