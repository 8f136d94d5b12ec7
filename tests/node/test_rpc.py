"""The template source against the stub: it always comes back, says so once, and never runs wild."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.stub import PATIENCE_S, FakeClock, Mood, RpcFault, StubNode, await_true, display, dsha, make_transaction
from warppool.node.items import NodeLost, TemplateReady
from warppool.node.jsonrpc import Cookie, NodeAddress
from warppool.node.rpc import RpcSource


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(cookie=tmp_path / ".cookie") as stub:
        yield stub


class Running:
    """A source in its thread, with a clock that does not wait."""

    def __init__(self, stub: StubNode, cookie: Path, *, network: str = "regtest", **settings: Any) -> None:
        self.desk: queue.Queue[Any] = queue.Queue()
        self.clock = FakeClock()
        self.source = RpcSource(
            3, NodeAddress.parse(stub.url), Cookie(cookie), network, self.desk, clock=self.clock, **settings
        )
        self.thread = threading.Thread(target=self.source.run, name="node-3")
        self.thread.start()

    def next(self) -> Any:
        return self.desk.get(timeout=PATIENCE_S)

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


@pytest.fixture
def start(stub: StubNode, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def go(**settings: Any) -> Running:
        running.append(Running(stub, tmp_path / ".cookie", **settings))
        return running[-1]

    yield go
    for each in running:
        each.stop()


def test_the_first_template_and_one_at_each_new_tip(stub, start):
    run = start()
    first = run.template()
    assert (first.tip.height, first.template_id, first.source) == (1, 1, "node-3")
    for height in (2, 3, 4):
        request = {"rules": ["segwit"], "longpollid": stub.template()["longpollid"]}
        stub.wait_until(lambda: stub.calls[-1] == ("getblocktemplate", [request]))  # noqa: B023 - called at once
        tip = stub.grow()
        template = run.template()
        assert (template.tip.height, template.tip.prev_hash) == (height, tip)
    assert template.template_id > first.template_id


def test_a_silent_long_poll_stays_and_a_plain_call_refreshes(stub, start):
    run = start(refresh_s=0.02)
    first = run.template()
    stub.add_transactions(make_transaction(1), make_transaction(2))
    second = run.template()
    assert second.tip == first.tip
    assert len(second.transactions) == 2
    stub.add_transactions(make_transaction(3))
    third = run.template()
    assert third.transactions[0] is second.transactions[0]          # shared, not copied
    polls = [params for method, params in stub.calls if params and "longpollid" in params[0]]
    assert len(polls) == 1                                          # the node has one thread in it, not three
    stub.grow()
    assert run.template().tip.height == 2


def test_what_brings_nothing_new_is_not_handed_on(stub, start):
    run = start(refresh_s=0.01)
    run.template()
    before = stub.count("getblocktemplate")
    stub.wait_until(lambda: stub.count("getblocktemplate") > before + 5)
    assert run.desk.empty()
    stub.add_transactions(make_transaction(1))
    assert len(run.template().transactions) == 1


def test_a_long_poll_that_missed_the_new_tip_is_replaced(stub, start):
    stub.long_polls_die = True
    run = start(refresh_s=0.02)
    run.template()
    stub.wait_until(lambda: any(params and "longpollid" in params[0] for _, params in stub.calls))
    with stub.changed:                              # the tip moves, and the long poll has died on its way
        stub.chain.append(dsha(b"unheard of"))
    assert run.template().tip.height == 2
    stub.wait_until(lambda: any(
        params and params[0].get("longpollid", "").startswith(display(dsha(b"unheard of"))) for _, params in stub.calls
    ))


def test_a_node_that_answers_long_polls_at_once_is_not_asked_more_than_once_a_second(stub, start):
    stub.is_hasty = True
    run = start()
    run.template()
    began = run.clock.now
    before = stub.count("getblocktemplate")
    stub.wait_until(lambda: stub.count("getblocktemplate") >= before + 10)
    assert run.clock.now - began >= 8               # of the clock that only waiting moves


def test_a_node_whose_tip_never_rests_is_not_asked_more_than_twenty_times_a_second(stub, start):
    stub.is_hasty = True
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


def test_a_node_that_drops_every_long_poll_is_not_lost(stub, start, caplog):
    caplog.set_level(logging.INFO)

    def no_long_poll(params: Any) -> dict[str, Any]:
        if "longpollid" in params[0]:
            raise RpcFault(-8, "Invalid longpoll ID.")
        return stub.template()

    stub.hooks["getblocktemplate"] = no_long_poll
    run = start()
    run.template()
    began, before = run.clock.now, stub.count("getblocktemplate")
    stub.wait_until(lambda: stub.count("getblocktemplate") >= before + 10)
    assert run.clock.now - began >= 4
    stub.grow()
    assert run.template().tip.height == 2
    assert "node.lost" not in caplog.text


def test_a_node_without_long_polls_is_asked_every_few_seconds(stub, start):
    stub.has_long_poll = False
    run = start()
    run.template()
    began, before = run.clock.now, stub.count("getblocktemplate")
    stub.wait_until(lambda: stub.count("getblocktemplate") >= before + 5)
    assert run.clock.now - began >= 20
    stub.grow()
    assert run.template().tip.height == 2


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
    run = start(refresh_s=0.02, call_timeout_s=0.3)
    run.template()
    stub.mood = mood
    assert words in run.loss()
    before = len(stub.calls)
    stub.wait_until(lambda: len(stub.calls) >= before + 3)
    stub.mood = Mood.WELL
    assert run.template().tip.height == 1           # nothing new, but the desk hears that the node is back
    stub.grow()
    assert run.template().tip.height == 2
    assert run.desk.empty()
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
    stub.wait_until(lambda: stub.calls[-1][0] == "getblocktemplate" and "longpollid" in stub.calls[-1][1][0])
    stub.grow()
    assert run.template().tip.height == 2
    assert [caplog.text.count(word) for word in ("node.lost", "node.back", "node.missed")] == [1, 1, 0]


def test_the_pauses_double_up_to_fifteen_seconds_and_start_anew(stub, start):
    stub.stop()
    run = start()
    run.loss()
    await_true(lambda: len(run.clock.waits) >= 10)
    for pause, plain in zip(run.clock.waits, [0.5, 1, 2, 4, 8, 15, 15, 15], strict=False):
        assert plain <= pause <= 1.25 * plain
    stub.start()
    run.template()
    stub.wait_until(lambda: "longpollid" in stub.calls[-1][1][0])
    stub.stop()
    seen = len(run.clock.waits)
    run.loss()
    await_true(lambda: len(run.clock.waits) >= seen + 3)
    assert any(0.5 <= pause <= 0.625 for pause in run.clock.waits[seen - 1:])


def test_another_reason_in_one_outage_is_said_too_once(stub, start, caplog):
    stub.stop()
    run = start()
    run.loss()
    stub.mood = Mood.BUSY
    stub.start()
    stub.wait_until(lambda: len(stub.calls) >= 5)
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
    assert stub.calls[1][1][0]["rules"] == (["segwit", "signet"] if network == "signet" else ["segwit"])


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


def test_an_old_regtest_chain_is_mined_all_the_same(stub, start):
    stub.hooks["getblockchaininfo"] = lambda params: {"chain": "regtest", "initialblockdownload": True}
    assert start().template()


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
    seen = run.source.beat
    await_true(lambda: run.source.beat >= seen + 60)


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
    desk: queue.Queue[Any] = queue.Queue()
    source = RpcSource(0, NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"), "regtest", desk)
    thread = threading.Thread(target=source.run)
    thread.start()
    assert isinstance(desk.get(timeout=PATIENCE_S), NodeLost)
    source.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
