"""The template source against the stub: it always comes back, says so once, and never runs wild."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.stub import PATIENCE_S, FakeClock, Mood, RpcFault, StubNode, await_true, display, dsha, make_transaction
from warppool.addresses import NodeAddress
from warppool.errors import NodeError
from warppool.loop import Reconfigure, ask_all
from warppool.node.items import NodeAnswered, NodeLost, TemplateReady
from warppool.node.jsonrpc import Cookie, JsonRpc
from warppool.node.rpc import RpcSource, SourceSettings


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(cookie=tmp_path / ".cookie") as stub:
        yield stub


class Running:
    """A source in its thread, with a clock that does not wait."""

    def __init__(self, stub: StubNode, cookie: Path, *, network: str = "regtest", **settings: Any) -> None:
        self.job_maker: queue.Queue[Any] = queue.Queue()
        self.clock = FakeClock()
        self.source = RpcSource(
            3, NodeAddress.parse(stub.url), Cookie(cookie), network, self.job_maker, clock=self.clock, **settings
        )
        self.thread = threading.Thread(target=self.source.run, name="node-3")
        self.thread.start()

    def next(self) -> Any:
        """What is news to the job maker."""
        while isinstance(item := self.job_maker.get(timeout=PATIENCE_S), NodeAnswered):
            assert item.node == 3
        return item

    def has_news(self) -> bool:
        return any(not isinstance(item, NodeAnswered) for item in list(self.job_maker.queue))

    def template(self) -> Any:
        item = self.next()
        assert isinstance(item, TemplateReady)
        assert item.node == 3
        return item.template

    def loss(self) -> str:
        item = self.next()
        assert isinstance(item, NodeLost)
        assert item.node == 3
        return item.reason

    def stop(self) -> None:
        self.source.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


def grow_under_eyes(stub: StubNode, run: Running) -> None:
    """Five more blocks, of which the source may have seen some one by one; its last template is on the fifth."""
    for _ in range(5):
        stub.grow()
    while run.next().template.tip.height != 6:
        pass


@pytest.fixture
def start(stub: StubNode, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def go(**settings: Any) -> Running:
        running.append(Running(stub, tmp_path / ".cookie", **settings))
        return running[-1]

    yield go
    for each in running:
        each.stop()


def polls(stub: StubNode) -> list[Any]:
    """The height and the time-out in milliseconds of each call that stood."""
    return [params for method, params in list(stub.calls) if method == "waitforblockheight"]


def test_the_first_template_and_one_at_each_new_tip(stub, start):
    run = start()
    first = run.template()
    assert (first.tip.height, first.template_id, first.source) == (1, 1, "node-3")
    for height in (2, 3, 4):
        stub.wait_until(lambda: polls(stub)[-1:] == [[height - 1, 2000]] or bool(  # noqa: B023 - called at once
            polls(stub) and polls(stub)[-1][0] == height - 1))  # noqa: B023
        tip = stub.grow()
        template = run.template()
        assert (template.tip.height, template.tip.prev_hash) == (height, tip)
    assert template.template_id > first.template_id


def test_a_refresh_comes_while_no_block_does(stub, start):
    run = start(refresh_s=0.3)
    first = run.template()
    stub.add_transactions(make_transaction(1), make_transaction(2))
    second = run.template()
    assert second.tip == first.tip
    assert len(second.transactions) == 2
    stub.add_transactions(make_transaction(3))
    third = run.template()
    assert third.transactions[0] is second.transactions[0]          # shared, not copied
    stub.grow()
    assert run.template().tip.height == 2
    assert stub.most_standing <= 2                                  # the poll, and one call beside it


def test_what_brings_nothing_new_says_only_that_the_node_answers(stub, start):
    stub.has_wait = False
    run = start(refresh_s=0.01)
    run.template()
    before = stub.count("getblocktemplate")
    stub.wait_until(lambda: stub.count("getblocktemplate") > before + 5)
    assert not run.has_news()
    item = run.job_maker.get(timeout=PATIENCE_S)
    assert isinstance(item, NodeAnswered)
    assert abs(item.curtime - time.time()) < 60
    stub.add_transactions(make_transaction(1))
    assert len(run.template().transactions) == 1


def test_what_the_job_maker_learns_of_a_template(stub, start):
    stub.clock_offset_s = 1000
    run = start()
    item = run.next()
    assert (item.chainwork, item.is_reorg) == (2, False)
    assert abs(item.curtime - time.time() - 1000) < 60
    assert item.answered_at == pytest.approx(run.clock.now, abs=10)
    stub.grow()
    assert run.next().chainwork == 4


def test_a_node_without_standing_calls_is_asked_for_its_tip_twice_a_second(stub, start):
    stub.has_wait = False
    run = start()
    run.template()
    began, before = run.clock.now, stub.count("getbestblockhash")
    stub.wait_until(lambda: stub.count("getbestblockhash") >= before + 20)
    assert run.clock.now - began >= 9
    stub.grow()
    assert run.template().tip.height == 2
    assert len(polls(stub)) == 1                    # it was told at the first that there is no such call


@pytest.mark.parametrize("mood", [Mood.FORBIDDEN, None])
def test_a_node_that_does_not_tell_its_tip_is_asked_for_templates_every_two_seconds(stub, start, mood):
    stub.has_wait = False
    if mood is None:
        def unknown(params: Any) -> None:
            raise RpcFault(-32601, "Method not found")

        stub.hooks["getbestblockhash"] = unknown
    else:
        stub.moods["getbestblockhash"] = mood
    run = start()
    run.template()
    began, before = run.clock.now, stub.count("getblocktemplate")
    stub.wait_until(lambda: stub.count("getblocktemplate") >= before + 10)
    assert run.clock.now - began >= 17
    stub.grow()
    assert run.template().tip.height == 2


@pytest.mark.parametrize("mood", [Mood.FORBIDDEN, Mood.BUSY, Mood.CLOSE, Mood.GARBAGE, Mood.WRONG_ID, Mood.NOT_JSON])
def test_a_node_that_drops_every_poll_is_not_lost(stub, start, caplog, mood):
    caplog.set_level(logging.INFO)
    stub.moods["waitforblockheight"] = mood
    run = start()
    run.template()
    began, before = run.clock.now, len(stub.calls)
    stub.wait_until(lambda: len(stub.calls) >= before + 20)
    assert run.clock.now - began >= 3               # it does not spin
    stub.grow()
    assert run.template().tip.height == 2
    assert "node.lost" not in caplog.text


def test_a_node_whose_polls_return_at_once_is_not_asked_without_end(stub, start):
    stub.hooks["waitforblockheight"] = lambda params: {"hash": display(dsha(b"?")), "height": 7}
    run = start()
    run.template()
    began, before = run.clock.now, stub.count("getblocktemplate")
    stub.wait_until(lambda: stub.count("getblocktemplate") >= before + 10)
    assert run.clock.now - began >= 8               # of the clock that only waiting moves


def test_a_node_whose_tip_never_rests_is_not_asked_more_than_twenty_times_a_second(stub, start):
    stub.hooks["waitforblockheight"] = lambda params: {"hash": display(dsha(b"?")), "height": 7}
    heights = iter(range(1, 10_000))

    def ever_new(params: Any) -> dict[str, Any]:
        height = next(heights)
        return stub.template() | {
            "height": height, "previousblockhash": display(dsha(b"%d" % height)), "coinbasevalue": 0,
        }

    stub.hooks["getblocktemplate"] = ever_new
    run = start()
    began = FakeClock().now
    for _ in range(20):
        run.template()
    assert run.clock.now - began >= 18 * 0.05


# --- what is left at the node -----------------------------------------------------------------------------------------

def test_the_first_poll_is_short_and_one_beside_which_a_call_was_answered_makes_the_next_long(stub, start):
    run = start()
    run.template()
    stub.wait_until(lambda: len(polls(stub)) >= 2)
    assert polls(stub)[0] == [1, 2000]
    assert 20_000 < polls(stub)[1][1] <= 30_000
    assert stub.count("getbestblockhash") >= 1
    run.stop()
    assert stub.standing == 1                       # which ends by itself


def test_with_one_thread_every_poll_stays_short_and_a_block_waits_two_seconds_at_most(stub, start, tmp_path):
    stub.rpc_threads = 1
    run = start()
    run.template()
    rpc = JsonRpc(NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"))
    for count in (1, 2, 3):
        stub.wait_until(lambda: len(polls(stub)) >= count)      # noqa: B023 - called at once
        with pytest.raises(NodeError, match="decode"):
            rpc.call("submitblock", "00", timeout_s=PATIENCE_S)
        assert len(polls(stub)) <= count + 1        # it waited for one poll at most
    rpc.hang_up()
    assert all(timeout <= 2000 for _, timeout in polls(stub))


def test_twenty_starts_leave_no_more_than_one_call_each_and_none_for_ever(stub, start):
    """Sixteen starts made the node's RPC dead for everybody."""
    for _ in range(20):
        run = start()
        run.template()
        before = len(polls(stub))
        stub.wait_until(lambda: len(polls(stub)) > before or before > 0)      # noqa: B023 - called at once
        run.stop()
    assert all(timeout <= 2000 for _, timeout in polls(stub))
    assert stub.most_standing <= 16
    await_true(lambda: stub.standing == 0)          # with nobody there and no new block


def test_a_poll_for_a_tip_that_has_gone_is_not_joined_by_another(stub, start):
    run = start(refresh_s=0.3)
    stub.grow()
    stub.grow()
    run.template()
    stub.wait_until(lambda: len(polls(stub)) >= 1)
    with stub.changed:                              # the height it waits for is now far above
        stub.side.update(stub.chain[1:])
        del stub.chain[1:]
    while run.template().tip.height != 1:
        pass
    stub.add_transactions(make_transaction(1))
    assert len(run.template().transactions) == 1
    assert stub.most_standing <= 2


def test_ask_now_asks_at_once(stub, start):
    run = start()
    run.template()
    stub.wait_until(lambda: len(polls(stub)) >= 2)  # a long one stands
    stub.add_transactions(make_transaction(1))
    before = time.monotonic()
    run.source.ask_now()
    assert len(run.template().transactions) == 1
    assert time.monotonic() - before < 10
    stub.grow()
    assert run.template().tip.height == 2


# --- reorganisations, work and the border of testnet4 -----------------------------------------------------------------

def test_a_node_that_goes_back_says_so(stub, start):
    run = start(refresh_s=0.3)
    grow_under_eyes(stub, run)
    stub.reorganise(dsha(b"another"), drop=3)
    item = run.next()
    assert (item.template.tip.height, item.is_reorg, item.chainwork) == (4, True, 8)


def test_a_reorganisation_to_more_work_is_only_a_new_tip(stub, start):
    run = start()
    stub.grow()
    while run.next().template.tip.height != 2:
        pass
    stub.reorganise(dsha(b"another"), dsha(b"one more"), drop=1)
    item = run.next()
    assert (item.template.tip.height, item.is_reorg) == (3, False)


def test_bcoin_counts_confirmations_beside_the_chain_and_is_understood(stub, start):
    stub.confirms_all, stub.tells_work = True, False
    run = start(refresh_s=0.3)
    grow_under_eyes(stub, run)
    stub.reorganise(dsha(b"another"), drop=3)
    item = run.next()
    assert (item.template.tip.height, item.is_reorg, item.chainwork) == (4, True, None)


def test_a_node_that_lost_its_blocks_does_not_say_that_it_reorganised(stub, start):
    run = start(refresh_s=0.3)
    grow_under_eyes(stub, run)
    with stub.changed:
        del stub.chain[3:]                          # and it knows nothing of them
    item = run.next()
    assert (item.template.tip.height, item.is_reorg) == (3, False)


def test_a_node_that_was_lost_in_between_did_not_reorganise_under_our_eyes(stub, start):
    run = start(refresh_s=0.3)
    grow_under_eyes(stub, run)
    stub.stop()
    assert run.loss()
    stub.reorganise(dsha(b"another"), drop=3)
    stub.start()
    item = run.next()
    assert (item.template.tip.height, item.is_reorg) == (4, False)


def test_a_restart_too_short_to_be_a_loss_is_no_step_back(stub, start):
    """A node with -reindex knows its old blocks by their headers, and says of each that it is not on its chain."""
    run = start(refresh_s=0.3)
    grow_under_eyes(stub, run)
    with stub.changed:
        stub.hang_up()
        stub.reorganise(dsha(b"another"), drop=3)
    while (item := run.next()).template.tip.height == 6:
        pass
    assert (item.template.tip.height, item.is_reorg) == (4, False)
    before = stub.count("getblocktemplate")
    stub.wait_until(lambda: stub.count("getblocktemplate") > before + 2)
    assert not run.has_news()


@pytest.mark.parametrize("mood", [Mood.BUSY, Mood.HANG])
def test_a_node_that_is_too_busy_to_tell_of_the_tip_that_it_left_is_asked_again(stub, start, mood):
    """Else its reorganisation would never be obeyed: nobody asks about a tip twice."""
    run = start(refresh_s=0.3)
    grow_under_eyes(stub, run)
    stub.moods["getblockheader"] = mood
    stub.reorganise(dsha(b"another"), drop=3)
    item = run.next()
    assert (item.template.tip.height, item.is_reorg) == (4, False)
    stub.moods.clear()
    items = (run.job_maker.get(timeout=PATIENCE_S) for _ in range(50))
    item = next(each for each in items if isinstance(each, TemplateReady) and each.is_reorg)
    assert (item.template.tip.height, item.chainwork) == (4, 8)
    before = stub.count("getblocktemplate")
    stub.wait_until(lambda: stub.count("getblocktemplate") > before + 2)
    assert not run.has_news()                       # it is told once


@pytest.mark.parametrize("work", ["f" * 65, "f" * 100_000, "-1", "0x_", "none", 7, None, "", "1" * 64 + "\n"])
def test_a_chainwork_that_cannot_be_is_none(stub, start, work):
    """It would end the job maker when a line of the log counts blocks: Python writes no number of 10,000 digits."""
    stub.hooks["getblockheader"] = lambda params: {"confirmations": 1, "chainwork": work}
    assert start().next().chainwork is None


@pytest.mark.parametrize("mood", [Mood.FORBIDDEN, Mood.BUSY, Mood.HANG])
def test_a_node_that_tells_nothing_of_its_tip_is_mined_all_the_same(stub, start, mood, caplog):
    stub.moods["getblockheader"] = mood
    run = start()
    item = run.next()
    assert (item.template.tip.height, item.chainwork) == (1, None)
    stub.grow()
    assert run.template().tip.height == 2
    assert caplog.text.count("node.silent") == (mood is Mood.FORBIDDEN)


def test_what_could_not_be_learned_of_a_tip_is_asked_for_again(stub, start):
    stub.moods["getblockheader"] = Mood.BUSY
    run = start(refresh_s=0.3)
    assert run.next().chainwork is None
    stub.moods.clear()
    assert run.next().chainwork == 2


@pytest.mark.parametrize(("network", "nbits", "height", "max_ntime"), [
    ("testnet4", 0x1C00FFFF, 5, 1_900_001_200),
    ("testnet4", 0x1D00FFFF, 5, 2**32 - 1),         # it is of difficulty 1 on both sides
    ("testnet4", 0x1C00FFFF, 2016, 2**32 - 1),      # the first of a period never is
    ("main", 0x1C00FFFF, 5, 2**32 - 1),
])
def test_the_border_of_the_twenty_minute_rule(stub, start, network, nbits, height, max_ntime):
    stub.network, stub.nbits = network, nbits
    stub.hooks["getblockheader"] = lambda params: {"confirmations": 1, "time": 1_900_000_000, "chainwork": "ff"}
    stub.extra |= {"curtime": 1_900_000_100, "height": height, "coinbasevalue": 0}
    tip = start(network=network).template().tip
    assert (tip.min_ntime, tip.max_ntime) == (1_900_000_100, max_ntime)


def test_at_the_border_a_fresh_template_is_asked_for(stub, start):
    stub.network, stub.nbits = "testnet4", 0x1C00FFFF
    stub.hooks["getblockheader"] = lambda params: {"confirmations": 1, "time": 1_900_000_000, "chainwork": "ff"}
    stub.extra |= {"curtime": 1_900_001_199, "height": 5, "coinbasevalue": 0}
    run = start(network="testnet4")
    assert run.template().tip.max_ntime == 1_900_001_200
    stub.wait_until(lambda: len(polls(stub)) >= 1)
    assert polls(stub)[0][1] <= 2000
    stub.nbits = 0x1D00FFFF
    stub.extra["curtime"] = 1_900_001_201
    tip = run.template().tip                        # 25 s before a refresh is due
    assert (tip.nbits, tip.min_ntime, tip.max_ntime) == (0x1D00FFFF, 1_900_001_201, 2**32 - 1)


# --- trouble ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("mood", "words"), [
    (Mood.HANG, "no whole answer"),
    (Mood.UNAUTHORIZED, "HTTP 401"),
    (Mood.FORBIDDEN, "rpcallowip"),
    (Mood.BUSY, "HTTP 503"),
    (Mood.WARM_UP, "the node is starting"),
    (Mood.GARBAGE, "is not HTTP"),
    (Mood.NOT_JSON, "is not JSON"),
    (Mood.HALF, "in the middle of an answer"),
    (Mood.DRIBBLE, "no whole answer"),
    (Mood.CLOSE, "no answer from"),
    (Mood.WRONG_ID, "answer to another call"),
])
def test_a_node_that_falls_ill_is_lost_once_and_back_once(stub, start, caplog, mood, words):
    caplog.set_level(logging.INFO)
    run = start(refresh_s=0.02, call_timeout_s=0.6 if mood in (Mood.HANG, Mood.DRIBBLE) else PATIENCE_S)
    run.template()
    stub.mood = mood
    assert words in run.loss()
    before = len(stub.calls)
    stub.wait_until(lambda: len(stub.calls) >= before + 3)
    stub.mood = Mood.WELL
    assert run.template().tip.height == 1           # nothing new, but the job maker hears that the node is back
    stub.grow()
    assert run.template().tip.height == 2
    assert not run.has_news()
    assert [caplog.text.count(word) for word in ("node.lost", "node.back")] == [1, 1]


def test_a_minute_without_the_node(stub, start, caplog):
    caplog.set_level(logging.INFO)
    run = start()
    run.template()
    stub.stop()
    assert run.loss()
    began = run.clock.now
    await_true(lambda: run.clock.now >= began + 60)
    stub.new_login()                                # a restarted node has a new cookie
    stub.start()
    assert run.template().tip.height == 1
    stub.grow()
    assert run.template().tip.height == 2
    assert [caplog.text.count(word) for word in ("node.lost", "node.back", "node.missed")] == [1, 1, 0]


@pytest.mark.parametrize("mood", [None, Mood.WARM_UP])
def test_a_node_that_is_not_up_is_asked_every_second(stub, start, mood):
    stub.stop()
    run = start()
    run.loss()
    if mood is not None:
        stub.mood = mood
        stub.start()
        stub.wait_until(lambda: len(stub.calls) >= 3)
        run.clock.waits.clear()
    await_true(lambda: len(run.clock.waits) >= 10)
    assert set(run.clock.waits[1:]) == {1.0}


@pytest.mark.parametrize("mood", [Mood.UNAUTHORIZED, Mood.FORBIDDEN, Mood.BUSY, Mood.NOT_JSON, Mood.CLOSE])
def test_whatever_is_wrong_with_a_node_it_is_found_within_two_seconds(stub, start, mood):
    stub.mood = mood
    run = start()
    run.loss()
    await_true(lambda: len(run.clock.waits) >= 10)
    for pause, plain in zip(run.clock.waits, [0.5, 1, 1.5, 1.5, 1.5, 1.5], strict=False):
        assert plain <= pause <= 1.25 * plain < 2


def test_another_reason_in_one_outage_is_said_too_once(stub, start, caplog):
    stub.stop()
    run = start()
    run.loss()
    stub.mood = Mood.BUSY
    stub.start()
    await_true(lambda: "node.missed" in caplog.text)
    calls = len(stub.calls)
    stub.wait_until(lambda: len(stub.calls) >= calls + 5)
    stub.mood = Mood.WELL
    run.template()
    assert [caplog.text.count(word) for word in ("node.lost", "node.missed")] == [1, 1]
    assert "HTTP 503" in caplog.text


@pytest.mark.parametrize(("network", "chain", "words"), [
    ("main", "regtest", "the node is on regtest, and pool.network is main"),
    ("testnet4", "test", "the node is on testnet3, and pool.network is testnet4"),
    ("main", "signet", "the node is on signet"),
])
def test_the_wrong_network_waits_until_it_is_right(stub, start, network, chain, words):
    stub.network = chain
    run = start(network=network)
    assert words in run.loss()
    stub.network = network
    assert run.template()


@pytest.mark.parametrize("network", ["main", "testnet4", "signet", "regtest"])
def test_every_network_by_its_name(stub, start, network):
    stub.network = network
    stub.extra["signet_challenge"] = "51"
    run = start(network=network)
    assert run.template()
    (rules,) = [params[0]["rules"] for method, params in list(stub.calls)[:2] if method == "getblocktemplate"]
    assert rules == (["segwit", "signet"] if network == "signet" else ["segwit"])


def test_a_signet_that_signs_its_blocks_is_refused(stub, start):
    stub.network = "signet"
    stub.extra["signet_challenge"] = "512102" + "11" * 32 + "51ae"
    assert "need a signature" in start(network="signet").loss()


@pytest.mark.parametrize("info", [None, [], {}, {"chain": 5}])
def test_an_odd_getblockchaininfo(stub, start, info):
    stub.hooks["getblockchaininfo"] = lambda params: info
    run = start()
    assert "names no chain" in run.loss()
    del stub.hooks["getblockchaininfo"]
    assert run.template()


def test_a_node_that_still_downloads_is_waited_for(stub, start, caplog):
    stub.network = "main"
    blocks = iter(range(10_000))
    stub.hooks["getblockchaininfo"] = lambda params: {
        "chain": "main", "blocks": next(blocks), "initialblockdownload": True,
    }
    run = start(network="main")
    assert "still downloading" in run.loss()
    stub.wait_until(lambda: stub.count("getblockchaininfo") > 5)
    assert stub.count("getblocktemplate") == 0
    del stub.hooks["getblockchaininfo"]
    assert run.template()
    assert caplog.text.count("still downloading") == 1


def test_a_signet_whose_blocks_need_a_signature_is_refused_at_once(stub, start):
    """The node tells it of its chain, also while it downloads; no template has to come first."""
    stub.network = "signet"
    challenge = "5121" + "02" * 33 + "51ae"
    stub.hooks["getblockchaininfo"] = lambda params: {
        "chain": "signet", "blocks": 0, "initialblockdownload": True, "signet_challenge": challenge,
    }
    loss = start(network="signet").loss()
    assert "need a signature" in loss and challenge in loss
    assert stub.count("getblocktemplate") == 0


def test_a_template_without_rules_is_mined_where_the_chain_says_that_segwit_is_active(stub, start):
    """As btcd does it."""
    stub.hooks["getblockchaininfo"] = lambda params: {
        "chain": "regtest", "bip9_softforks": {"segwit": {"status": "active"}},
    }

    def template(params):
        answer = stub.template()
        del answer["rules"], answer["default_witness_commitment"]
        return answer

    stub.hooks["getblocktemplate"] = template
    assert start().template().has_witness


@pytest.mark.parametrize("network", ["testnet4", "signet", "regtest"])
def test_on_test_networks_initialblockdownload_alone_refuses_nothing_and_that_is_said(stub, start, caplog, network):
    caplog.set_level(logging.INFO)
    stub.network = network
    stub.extra["signet_challenge"] = "51"
    stub.hooks["getblockchaininfo"] = lambda params: {"chain": network, "initialblockdownload": True}
    run = start(network=network)
    assert run.template()
    assert caplog.text.count("event=node.syncing node=node-3") == 1
    stub.stop()
    run.loss()
    stub.start()
    run.template()
    assert caplog.text.count("event=node.syncing") == 1


def test_a_bad_template_is_a_loss_and_a_good_one_ends_it(stub, start):
    run = start(refresh_s=0.02)
    run.template()
    stub.extra["rules"] = ["segwit", "!covenants"]
    assert "'covenants'" in run.loss()
    stub.extra.clear()
    assert run.template()


def test_a_fault_of_our_own_does_not_end_the_thread(stub, start, monkeypatch, caplog):
    faults = iter([ZeroDivisionError("unforeseen")])

    def check_chain(self: RpcSource) -> None:
        for fault in faults:
            raise fault

    monkeypatch.setattr(RpcSource, "_check_chain", check_chain)
    run = start()
    assert "a fault in warppool" in run.loss()
    assert run.template()
    assert "ZeroDivisionError" in caplog.text


def test_the_beat_goes_on_while_the_node_is_away(stub, start):
    stub.stop()
    run = start()
    run.loss()
    began = run.clock.now
    while run.clock.now < began + 60:
        assert run.clock.now - run.source.beat <= 2
        time.sleep(0.001)


@pytest.mark.parametrize("mood", [Mood.WELL, Mood.HANG])
def test_stop_ends_whatever_it_waits_for(stub, start, mood, caplog):
    stub.mood = mood
    run = start()
    stub.wait_until(lambda: len(stub.calls) >= (1 if mood is Mood.HANG else 3))
    run.stop()
    assert "node.lost" not in caplog.text


def test_stop_before_the_start(stub, tmp_path):
    source = RpcSource(0, NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"), "regtest", queue.Queue())
    source.stop()
    source.run()
    assert stub.calls == []


def test_stop_during_a_pause_of_the_real_clock(stub, tmp_path):
    stub.stop()
    job_maker: queue.Queue[Any] = queue.Queue()
    source = RpcSource(0, NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"), "regtest", job_maker)
    thread = threading.Thread(target=source.run)
    thread.start()
    assert isinstance(job_maker.get(timeout=PATIENCE_S), NodeLost)
    source.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_who_asks_while_a_poll_stands_is_answered_at_once_and_costs_the_node_nothing(stub, start):
    run = start()
    run.template()
    stub.wait_until(lambda: stub.count("waitforblockheight") >= 1)
    templates = stub.count("getblocktemplate")
    for _ in range(20):
        report, = ask_all([run.source], PATIENCE_S)
        assert (report.name, report.trouble, report.is_misplaced, report.height) == ("node-3", "", False, 1)
    assert stub.count("getblocktemplate") <= templates + 1, "the node is not asked for each"
    run.source.ask_now()
    stub.wait_until(lambda: stub.count("getblocktemplate") > templates)


def test_a_source_without_its_node_says_what_is_wrong(stub, start):
    stub.stop()
    run = start()
    reason = run.loss()
    report, = ask_all([run.source], PATIENCE_S)
    assert (report.trouble, report.templates, report.height) == (reason, 0, 0)


# --- another configuration --------------------------------------------------------------------------------------------

def test_with_another_login_the_node_is_asked_at_once(stub, start, tmp_path):
    (tmp_path / "other").write_bytes(stub.login)
    (tmp_path / ".cookie").write_bytes(b"__cookie__:wrong")
    run = start()
    assert "HTTP 401" in run.loss()
    run.source.put(Reconfigure(SourceSettings(Cookie(tmp_path / "other"), 180.0)))
    assert run.template().tip.height == len(stub.chain)


def test_with_a_shorter_patience_the_node_is_asked_at_once_and_more_often(stub, start):
    stub.has_wait = False
    run = start(max_age_s=180.0)
    run.template()
    before, began = stub.count("getblocktemplate"), run.clock.now
    run.source.put(Reconfigure(SourceSettings(Cookie(stub.cookie), 4.0)))
    stub.wait_until(lambda: stub.count("getblocktemplate") >= before + 10)
    assert run.clock.now - began < 100.0, "each second or so, where it was each 25 s"
    assert not run.has_news()
