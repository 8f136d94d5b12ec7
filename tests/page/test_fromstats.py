"""What the pages say of a snapshot, and of one in which nothing is well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.page.reading import Reading, plain
from tests.stats.made import ADDRESS, AT, HOSTILE, snapshot, tally, user, worker
from warppool.page.about import About
from warppool.page.fromstats import REASONS, WHOLE, Names, pool_view, user_view, worker_view
from warppool.page.markup import path, visible
from warppool.page.minerpage import miner_page
from warppool.page.poolpage import pool_page
from warppool.page.poolstate import machine_state, pool_state, user_state
from warppool.page.view import ConnectUrl, Point
from warppool.stats.snapshot import (
    BOUNDS,
    AccountPart,
    Histogram,
    LedgerStats,
    NodeStats,
    OutputStats,
    PayoutStats,
    StatsSnapshot,
    WorkStats,
)

ABOUT = About("Hill", "The finder is paid.", (ConnectUrl("V1", "stratum+tcp://hill.example:3333"),))


def _short(name: str) -> str:
    return f"{name[:6]}…"


def test_the_first_page_of_a_pool():
    text = Reading(pool_page(pool_view(snapshot(), ABOUT, WHOLE))).text
    for words in (
            "Working. 3 machines mine on work that is 3 s old. 1 of 2 nodes does not answer.", "Hash rate 3.59 TH/s",
            "Machines 3 of 3 users: 2 V1, 1 V2", "Best share ever 123 M enough for a block", "Blocks found 2",
            "Work since the last block 42 %", "The finder is paid.", "stratum+tcp://hill.example:3333",
            "840,001", "in the chain: 41 of 100 confirmations 120 %", "settled: its coins can be spent",
            "Too late: the network had a new block 12", "Block height 840,042", "Age of the work 3 s",
            "Last block of the network 4 min ago", "3.125 BTC", "/warppool/", "node-0 answers, and its work is mined",
            "node-1 does not answer", "New block to last machine within 5 ms, 99 of 100",
            visible(f"{HOSTILE}.{HOSTILE}")):
        assert words in text


def test_lists_shorten_names_and_lead_nowhere_where_the_operator_wants_that():
    stats = snapshot()
    body = pool_page(pool_view(stats, ABOUT, Names(_short, is_linked=False)))
    assert ADDRESS[:6] in body.decode() and f"{ADDRESS}.rig" not in body.decode()
    assert not [link for link in Reading(body).all("a") if link["href"].startswith("/user/")]
    links = [link["href"] for link in Reading(pool_page(pool_view(stats, ABOUT, WHOLE))).all("a")]
    assert path("user", HOSTILE, f"{HOSTILE}.{HOSTILE}") in links and path("user", ADDRESS, f"{ADDRESS}.rig") in links


def test_a_machine_without_a_name_has_no_page():
    assert WHOLE.link(worker("", user="")).path == "" and WHOLE.link(worker("..", user="")).path == ""


def test_lists_are_short_however_many_there_are():
    many = [worker(f"{ADDRESS}.{number}") for number in range(300)]
    stats = snapshot(user(ADDRESS, *many))
    assert "The 20 of 300 with the most work" in Reading(pool_page(pool_view(stats, ABOUT, WHOLE))).text
    page = Reading(miner_page(user_view(stats, ABOUT, stats.users[0])))
    assert "The 100 of 300" in page.text and len(page.all("tr")) < 150


def test_the_page_of_a_user_and_of_his_machine():
    stats = snapshot()
    page = Reading(miner_page(user_view(stats, ABOUT, stats.users_by_name[ADDRESS])))
    text = page.text
    assert path("user", ADDRESS, f"{ADDRESS}.idle") in [link["href"] for link in page.all("a")]
    for words in (f"Miner {ADDRESS}", "Mining. 2 machines mine. The last share was accepted 4 s ago.",
                  "idle 1.24 TH/s", "Sent twice 2", "Shares of all time 98,765", "Work of all time 2 G",
                  "The finder is paid."):
        assert words in text
    rig = stats.workers_by_name[f"{ADDRESS}.rig"]
    text = Reading(miner_page(worker_view(stats, ABOUT, rig))).text
    for words in (f"Machine {ADDRESS}.rig", "Mining. Connected for 24 h.", f"Belongs to {ADDRESS}", "Program sv2",
                  "Protocol V2", "Connected since 24 h ago"):
        assert words in text


WORK = snapshot().work


@pytest.mark.parametrize(("changes", "level", "sentence"), [
    ({"work": WorkStats()}, "bad",
     "No Bitcoin node gives any (lost: node-1), so nobody can mine here now."),
    ({"work": WorkStats(), "nodes": ()}, "bad", "No Bitcoin node gives any, so nobody can mine here now."),
    ({"ledger": LedgerStats(is_troubled=True)}, "bad",
     "The books cannot be written now. A share waits ten seconds for them, and is refused then."),
    ({"work": replace(WORK, template_age_s=240.0), "nodes": ()}, "warn",
     "The Bitcoin node has given nothing new for 4 min."),
    ({"machines": 0}, "warn", "The pool works, and no machine is connected."),
    ({"machines": 1, "nodes": (NodeStats("a", "up"),)}, "good", "1 machine mines on work that is 3 s old."),
    ({"nodes": (), "is_whole": False}, "good",
     "3 machines mine on work that is 3 s old. The books are still being read: averages, bests and totals are of this "
     "run alone."),
])
def test_the_state_is_the_worst_that_is_true(changes, level, sentence):
    state = pool_state(snapshot(**changes))
    assert (state.level, plain(state.sentence)) == (level, plain(sentence))


def test_the_state_of_who_is_idle_away_or_new():
    idle, away = worker(is_idle=True, tally=tally(last_share=AT - 400)), worker(machines=0, gone_at=AT - 700)
    new = worker(is_idle=True, tally=tally(last_share=0.0))
    assert plain(machine_state(idle, AT).sentence) == "Connected, and no share was accepted for 7 min."
    assert plain(machine_state(new, AT).sentence) == "Connected, and no share was accepted yet."
    assert plain(machine_state(away, AT).sentence) == "This machine is not connected. It was seen 12 min ago."
    assert user_state(user(ADDRESS, idle), AT).word == "Idle."
    assert user_state(user(ADDRESS, idle, worker(f"{ADDRESS}.b")), AT).word == "Mining."
    assert user_state(user(ADDRESS, away), AT).word == "Away."


def test_a_pool_that_has_just_begun_says_nothing_that_is_no_number():
    stats = StatsSnapshot(number=0, at=AT, started=AT)
    assert "Starting." in Reading(pool_page(pool_view(stats, ABOUT, WHOLE))).text
    text = Reading(pool_page(pool_view(replace(stats, number=1), ABOUT, WHOLE))).text
    assert "nan" not in text.lower() and "1970" not in text and "No work." in text and "Running for 0 s" in text


def test_the_window_stands_where_rewards_are_shared():
    shared = PayoutStats(is_shared=True, window_percent=71.3, accounts=12, payable_sat=123_456)
    window = pool_view(snapshot(payout=shared), ABOUT, WHOLE).window
    assert {label: plain(value) for label, value in window} == {
        "Window filled": "71.3 %", "Addresses in it": "12", "Owed until a later block pays": "0.00123456 BTC"}
    assert pool_view(snapshot(payout=replace(shared, is_shared=False)), ABOUT, WHOLE).window == ()
    unread = replace(shared, window_percent=None)
    assert pool_view(snapshot(payout=unread), ABOUT, WHOLE).window[0] == ("Window filled", "is being read")


def test_a_user_sees_his_part_of_the_window_and_what_he_is_owed():
    shared = PayoutStats(is_shared=True, total_weight=400, weights=((ADDRESS, 100), ("other", 300)),
                         balances=(("another", 7), (ADDRESS, 123_456)))
    assert shared.part_of(ADDRESS) == shared.part_of(ADDRESS.upper()) == AccountPart(0.25, 123_456)
    assert shared.part_of("another") == AccountPart(0.0, 7) and shared.part_of("nobody") is None
    text = Reading(miner_page(user_view(snapshot(payout=shared), ABOUT, user()))).text
    for words in ("Part of the window 25 %", "before the fee about 0.78125 BTC", "later block pays 0.00123456 BTC"):
        assert words in text
    stranger = Reading(miner_page(user_view(snapshot(payout=shared), ABOUT, user("bob")))).text
    assert "Part of the window none now" in stranger
    assert "Part of the window" not in Reading(miner_page(user_view(snapshot(), ABOUT, user()))).text


def test_a_time_beyond_what_is_measured_is_not_made_small():
    slow = Histogram(BOUNDS, (0,) * len(BOUNDS) + (5,))
    assert ("Commit of the books", "often more than 10 s") in pool_view(snapshot(commit=slow), ABOUT, WHOLE).timings


def test_every_reason_to_refuse_a_share_has_words():
    from warppool.mining.share import Reject

    assert {reject.sv2_code for reject in Reject} <= REASONS.keys()


def test_without_the_books_there_is_no_chart_and_the_page_says_so():
    stats = snapshot()
    assert "The chart is not at hand now" in pool_page(pool_view(stats, ABOUT, WHOLE)).decode()
    assert "The chart begins" in pool_page(pool_view(stats, ABOUT, WHOLE, ())).decode()
    assert "data-plot" in pool_page(pool_view(stats, ABOUT, WHOLE, (Point(600.0, 1.0), Point(1200.0, 2.0)))).decode()


def test_why_a_node_is_lost_is_for_the_operator_alone():
    reason = "no cookie at /home/alice/.bitcoin/.cookie of 10.1.2.3:8332"
    nodes = (NodeStats("node-0", "lost", reason), NodeStats("node-1", "up"))
    for age_s in (None, 1.0, 500.0):
        work = WorkStats(has_work=age_s is not None, template_age_s=age_s)
        shown = pool_page(pool_view(snapshot(nodes=nodes, work=work), About(), Names())).decode()
        assert "node-0" in shown and "alice" not in shown and "10.1.2.3" not in shown


def test_an_address_of_a_miner_in_the_coinbase_is_shortened_and_an_operators_is_not():
    work = replace(snapshot().work, outputs=(OutputStats("abc", 2, is_miner=True), OutputStats("def", 1)))
    shown = pool_view(snapshot(work=work), About(), Names(_short))
    assert shown.job is not None and [each.to for each in shown.job.outputs] == [_short("abc"), "def"]
