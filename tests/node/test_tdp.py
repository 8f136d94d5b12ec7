"""Thread `node-N` with a scripted template provider: templates, transactions, blocks, and all that may go wrong."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.inthread import in_thread
from tests.node.provider import ScriptedProvider
from tests.node.test_submitter import events
from tests.patience import PATIENCE_S
from tests.sv2.profiles import EACH_PROFILE
from tests.sv2.templates import new_template, new_tip, raw_transactions
from warppool.addresses import ProviderUrl
from warppool.loop import Reconfigure
from warppool.node import questions, tdp
from warppool.node.items import DropBlock, NodeAnswered, NodeHeard, NodeLost, Outcome, TemplateReady, Verdict
from warppool.node.kepttransactions import TransactionsKept, key_of
from warppool.node.solutions import OfferSolution
from warppool.node.tdp import ProviderSettings, TdpSource
from warppool.node.tdpline import ProviderMistake
from warppool.sv2.messages.common import SetupConnection, SetupConnectionError
from warppool.sv2.messages.template import (
    CoinbaseOutputConstraints,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SubmitSolution,
)
from warppool.sv2.profile import WARP
from warppool.sv2.types import Message

pytestmark = pytest.mark.usefixtures("all_levels")

OURS = b"\x77" * 32


class Running:
    """A source that runs, and what it says to the job maker and to the submitter."""

    def __init__(self, url: ProviderUrl, profile: Any = WARP, **given: Any) -> None:
        self.jobs: queue.Queue[Any] = queue.Queue()
        self.outcomes: queue.Queue[Any] = queue.Queue()
        self.source = TdpSource(3, ProviderSettings(url, profile, 180.0), "regtest", self.jobs, self.outcomes, **given)

    def job(self, kind: type[Any] = TemplateReady) -> Any:
        """The next word of that kind to the job maker."""
        return _next(self.jobs, kind)

    def outcome(self, kind: type[Any]) -> Any:
        return _next(self.outcomes, kind)


def _next(inbox: queue.Queue[Any], kind: type[Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        item = inbox.get(timeout=max(0.0, deadline - time.monotonic()))
        if isinstance(item, kind):
            return item


@contextmanager
def running(provider: ScriptedProvider, url: ProviderUrl | None = None, **given: Any) -> Iterator[Running]:
    rig = Running(url or provider.url(), provider.profile, **given)
    with in_thread(rig.source.run, rig.source.stop):
        yield rig


def new_pair(template_id: int, height: int = 5, raws: tuple[bytes, ...] = (), prev_hash: bytes = b"\x05" * 32,
         **tip: Any) -> tuple[Message, Message]:
    """A template and its tip, of now."""
    return (new_template(template_id, height, transactions=raws),
            new_tip(template_id, prev_hash, **({"header_timestamp": int(time.time())} | tip)))


def transactions_of(raws: tuple[bytes, ...]) -> Any:
    def answer(message: Message) -> list[Message]:
        if isinstance(message, RequestTransactionData):
            return [RequestTransactionDataSuccess(message.template_id, b"", raws)]
        return []
    return answer


def solution(template_id: int | None = 10, height: int = 5, is_watched: bool = True) -> OfferSolution:
    header = bytes(range(80))
    return OfferSolution(OURS, height, header, b"whole coinbase", template_id, is_watched)


# --- what goes well ---------------------------------------------------------------------------------------------------

@EACH_PROFILE
def test_a_provider_is_set_up_told_our_constraints_and_mined(profile, caplog):
    with ScriptedProvider(profile) as provider, running(provider) as rig:
        setup = provider.await_message(SetupConnection)
        assert (setup.protocol, setup.endpoint_host, setup.vendor) == (2, "127.0.0.1", "warppool")
        constraints = provider.await_message(CoinbaseOutputConstraints)
        assert constraints.coinbase_output_max_additional_size == 43            # P2PK, until a plan is given
        assert constraints.coinbase_output_max_additional_sigops == (None if profile is WARP else 4)
        provider.say(*new_pair(10))
        ready = rig.job()
        assert (ready.node, ready.template.template_id, ready.template.source) == (3, 10, "node-3")
        assert abs(ready.curtime - time.time()) < 60 and ready.chainwork is None and ready.answered_at is not None
        provider.say(new_template(11, future=False))
        assert rig.job().template.template_id == 11
        assert rig.outcome(NodeHeard) == NodeHeard(3, 4)
        assert "node.found" in events(caplog)
        assert rig.source.trouble == ""


@EACH_PROFILE
def test_transactions_come_in_the_background_and_a_template_that_has_the_same_needs_no_question(profile):
    raws = raw_transactions(5)
    with ScriptedProvider(profile) as provider, running(provider) as rig:
        provider.answer = transactions_of(raws)
        provider.say(*new_pair(10, raws=raws))
        assert rig.job().template.transactions is None
        kept = rig.outcome(TransactionsKept)
        assert kept == TransactionsKept(3, kept.key, raws)
        assert provider.await_message(RequestTransactionData) == RequestTransactionData(10)
        provider.say(new_template(11, transactions=raws, future=False))
        ready = rig.job()
        assert ready.template.transactions == raws and key_of(ready.template) == kept.key
        provider.answer = transactions_of(raw_transactions(6))
        provider.say(new_template(12, transactions=raw_transactions(6), future=False))
        assert provider.await_message(RequestTransactionData) == RequestTransactionData(12)
        assert rig.outcome(TransactionsKept).transactions == raw_transactions(6)


@EACH_PROFILE
def test_a_block_goes_out_at_once_and_the_tips_tell_what_becomes_of_it(profile, caplog):
    with ScriptedProvider(profile) as provider, running(provider) as rig:
        provider.say(*new_pair(10))
        rig.job()
        rig.source.put(solution())
        header = bytes(range(80))
        assert provider.await_message(SubmitSolution) == SubmitSolution(
            10, int.from_bytes(header[:4], "little"), int.from_bytes(header[68:72], "little"),
            int.from_bytes(header[76:], "little"), b"whole coinbase")
        provider.say(*new_pair(11, 6, prev_hash=OURS))
        assert rig.outcome(Outcome) == Outcome(OURS, 3, Verdict.ACCEPTED, "")
        provider.say(*new_pair(12, 12, prev_hash=b"\x09" * 32))
        assert rig.outcome(Outcome) == Outcome(OURS, 3, Verdict.BURIED, "")
        assert "block.offered" in events(caplog)


def test_a_block_that_is_found_while_the_provider_is_away_goes_out_when_it_is_back():
    with ScriptedProvider() as provider, running(provider) as rig:
        provider.say(*new_pair(10))
        rig.job()
        rig.source.put(solution())
        provider.await_message(SubmitSolution)
        provider.hang_up()
        rig.job(NodeLost)
        rig.source.put(OfferSolution(b"\x78" * 32, 5, bytes(80), b"another", 10, False))
        assert {provider.await_message(SubmitSolution).coinbase_tx for _ in range(2)} == {b"whole coinbase", b"another"}


def test_the_last_blocks_go_out_before_the_thread_ends():
    with ScriptedProvider() as provider:
        with running(provider) as rig:
            provider.say(*new_pair(10))
            rig.job()
            rig.source.put(solution())
        assert provider.await_message(SubmitSolution).template_id == 10


def test_a_dropped_block_is_not_offered_again():
    with ScriptedProvider() as provider, running(provider) as rig:
        provider.await_message(CoinbaseOutputConstraints)
        provider.say(*new_pair(10))
        rig.job()
        rig.source.put(solution())
        provider.await_message(SubmitSolution)
        rig.source.put(DropBlock(OURS))
        provider.hang_up()
        provider.await_message(CoinbaseOutputConstraints)
        provider.say(*new_pair(20, 6))
        rig.job(NodeLost)
        rig.job()
        assert not len(rig.source._solutions)


# --- whether it lives -------------------------------------------------------------------------------------------------

def test_it_is_asked_whether_it_lives_by_an_id_that_no_template_has():
    with ScriptedProvider() as provider, running(provider, ask_every_s=0.02) as rig:
        provider.say(*new_pair(10))
        rig.job()
        assert provider.await_message(RequestTransactionData) == RequestTransactionData(0)
        for code in ("template-id-not-found", "stale-template-id"):
            provider.life_code = code
            answered = rig.job(NodeAnswered)
            assert answered.node == 3 and abs(answered.curtime - time.time()) < 60


@pytest.mark.parametrize("code", ["node-not-fresh", "stale", ""])
def test_any_other_answer_shows_no_life(code, caplog):
    with ScriptedProvider() as provider, running(provider, ask_every_s=0.02) as rig:
        provider.life_code = ""
        provider.answer = lambda message: ([RequestTransactionDataError(0, code)]
                                           if isinstance(message, RequestTransactionData) else [])
        provider.say(*new_pair(10))
        rig.job()
        assert "does not show that its node does" in rig.job(NodeLost).reason
        provider.life_code = "template-id-not-found"
        rig.job(NodeAnswered)
        assert rig.source.trouble == ""


def test_transactions_for_that_id_show_life_too():
    with ScriptedProvider() as provider, running(provider, ask_every_s=0.02) as rig:
        provider.life_code = ""
        provider.answer = transactions_of(())
        provider.say(*new_pair(10))
        rig.job()
        rig.job(NodeAnswered)


# --- what goes wrong --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("messages", "words"), [
    ([new_template(10, coinbase_tx_value_remaining=1)], "coinbase_tx_value_remaining: 1 sat"),
    ([new_template(10), new_tip(10, header_timestamp=1)], "header_timestamp: 1 is"),
    ([RequestTransactionDataError(10, "x")], "nobody asked"),
])
def test_a_mistake_of_the_provider_is_said_with_its_reason_and_ends_the_connection(messages, words, caplog):
    with ScriptedProvider() as provider, running(provider) as rig:
        provider.await_message(CoinbaseOutputConstraints)
        provider.say(*messages)
        assert words in rig.job(NodeLost).reason
        assert words in rig.source.trouble
        provider.await_message(CoinbaseOutputConstraints)               # dialled again
        provider.say(*new_pair(10))
        rig.job()
        assert {"node.lost", "node.back"} <= set(events(caplog)) and provider.connections == 2


def test_transactions_that_are_not_those_of_the_template_end_the_connection():
    with ScriptedProvider() as provider, running(provider) as rig:
        provider.answer = transactions_of(raw_transactions(4))
        provider.say(*new_pair(10, raws=raw_transactions(5)))
        rig.job()
        assert "do not lead to its merkle_path" in rig.job(NodeLost).reason


def test_what_comes_before_a_mistake_is_mined():
    with ScriptedProvider() as provider, running(provider) as rig:
        provider.say(*new_pair(10), new_template(9))
        assert rig.job().template.template_id == 10
        assert "template_id: it comes after 10" in rig.job(NodeLost).reason


def test_transactions_that_it_refuses_are_said_once_and_asked_for_again_where_that_may_help(caplog):
    with ScriptedProvider() as provider, running(provider) as rig:
        provider.answer = lambda message: ([RequestTransactionDataError(message.template_id, "stale-template-id")]
                                           if isinstance(message, RequestTransactionData) else [])
        provider.say(*new_pair(10, raws=raw_transactions(2)))
        rig.job()
        provider.await_message(RequestTransactionData)
        provider.say(new_template(11, transactions=raw_transactions(3), future=False))
        rig.job()
        assert provider.await_message(RequestTransactionData) == RequestTransactionData(11)
        provider.answer = transactions_of(raw_transactions(4))
        provider.say(new_template(12, transactions=raw_transactions(4), future=False))
        rig.outcome(TransactionsKept)
        assert events(caplog).count("transactions.refused") == 1


@EACH_PROFILE
@pytest.mark.parametrize("key", [b"\x02" * 32])
def test_another_key_than_the_pinned_one_is_refused_and_none_takes_anybody(profile, key):
    with ScriptedProvider(profile) as provider:
        with running(provider, provider.url(key)) as rig:
            assert "key" in rig.job(NodeLost).reason
        with running(provider, provider.url(b"")) as rig:
            provider.await_message(CoinbaseOutputConstraints)
            provider.say(*new_pair(10))
            rig.job()


def test_who_refuses_the_set_up_is_quoted():
    with ScriptedProvider(is_set_up=False) as provider:
        provider.answer = lambda message: [SetupConnectionError(0, "unsupported-protocol")]
        with running(provider) as rig:
            assert "unsupported-protocol" in rig.job(NodeLost).reason


def test_nobody_there_is_said_once_and_it_is_found_when_it_comes(caplog):
    with ScriptedProvider() as provider:
        url = provider.url()
    with running(provider, url) as rig:
        assert "Connection refused" in rig.job(NodeLost).reason
    assert events(caplog).count("node.lost") == 1


def test_one_who_says_ever_more_is_read_no_faster_than_we_can_mine(caplog):
    with ScriptedProvider() as provider, running(provider) as rig:
        provider.say(*new_pair(10))
        rig.job()
        began = time.monotonic()
        provider.say(*(new_template(number, future=False) for number in range(11, 171)))
        while rig.job().template.template_id < 170:
            pass
        provider.say(new_template(171, future=False))
        rig.job()
        assert time.monotonic() - began > 1.5           # of 161 messages 80 are free, and the others take 25 ms each


# --- who says too little ----------------------------------------------------------------------------------------------

def test_who_does_not_set_up_in_time_is_left(monkeypatch):
    monkeypatch.setattr(tdp, "SETUP_S", 0.1)
    with ScriptedProvider(is_set_up=False) as provider, running(provider) as rig:
        assert "no set-up within" in rig.job(NodeLost).reason


def test_who_gives_no_template_counts_as_lost_and_may_still_give_one(monkeypatch, caplog):
    monkeypatch.setattr(tdp, "SETUP_S", 0.1)
    with ScriptedProvider() as provider, running(provider) as rig:
        assert "gives no template yet" in rig.job(NodeLost).reason
        provider.say(*new_pair(10))
        rig.job()
        assert provider.connections == 1 and rig.source.trouble == ""


@pytest.mark.parametrize("pieces", [b"", b"\0\0\x74\xff\xff\xff" + bytes(1000)])
def test_who_does_not_end_its_answer_in_time_is_left(monkeypatch, pieces):
    """Silence, or 16 MB that never come."""
    monkeypatch.setattr(questions, "DATA_TIMEOUT_S", 0.2)
    with ScriptedProvider() as provider, running(provider) as rig:
        provider.say(*new_pair(10, raws=raw_transactions(2)))
        provider.await_message(RequestTransactionData)
        provider.say_bytes(pieces)
        assert "no answer to RequestTransactionData in time" in rig.job(NodeLost).reason


def test_who_says_nothing_to_whether_it_lives_is_left(monkeypatch):
    monkeypatch.setattr(questions, "LIFE_TIMEOUT_S", 0.1)
    with ScriptedProvider() as provider, running(provider, ask_every_s=0.02) as rig:
        provider.life_code = ""
        provider.say(*new_pair(10))
        assert "in time" in rig.job(NodeLost).reason


def test_pauses_grow_for_one_who_says_what_cannot_be_however_he_begins():
    source = Running(ProviderUrl("127.0.0.1", 1, b"", "")).source
    try:
        pauses = []
        for _ in range(9):
            source._lose(ProviderMistake("x"), "x")
            pauses.append(source._next_at - source._monotonic())
            source._is_back(0.0)                        # a good template in between
        assert max(pauses) > 50 and min(pauses[-2:]) > 50 and pauses[0] < 1
    finally:
        source.close()


def test_another_key_after_a_reload_is_proved_by_a_new_connection():
    with ScriptedProvider() as provider, running(provider) as rig:
        provider.await_message(CoinbaseOutputConstraints)
        provider.say(*new_pair(10))
        rig.job()
        rig.source.put(Reconfigure(ProviderSettings(provider.url(b"\x02" * 32), WARP, 90.0)))
        assert "key" in rig.job(NodeLost).reason
        rig.source.put(Reconfigure(ProviderSettings(provider.url(), WARP, 90.0)))
        provider.await_message(CoinbaseOutputConstraints)
        provider.say(*new_pair(20))
        assert rig.job().template.template_id == 20
