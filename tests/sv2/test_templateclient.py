"""The pool's side of Template Distribution, message by message: pairing, questions, and what a provider may not say."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.sv2.profiles import EACH_PROFILE
from tests.sv2.templates import EASY_NBITS, UNIX, new_template, new_tip, raw_transactions
from warppool.bitcoin.coinbase import commitment_output
from warppool.bitcoin.target import target_from_nbits
from warppool.bitcoin.transaction import serialize_output
from warppool.errors import LocalProtocolError, RemoteProtocolError, UnexpectedMessage
from warppool.events import Now
from warppool.sv2.messages.common import SetupConnectionError, SetupConnectionSuccess
from warppool.sv2.messages.template import (
    CoinbaseOutputConstraints,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SubmitSolution,
)
from warppool.sv2.profile import Profile, Subprotocol
from warppool.sv2.templateclient import (
    ALIVE_CODES,
    MAX_FUTURE,
    NO_TEMPLATE,
    TemplateClientSession,
    TemplateGiven,
    TransactionsGiven,
    TransactionsRefused,
)
from warppool.sv2.templatelink import MAX_PAYLOAD, TemplateLink
from warppool.sv2.types import Message
from warppool.transport import Plain

CONSTRAINTS = CoinbaseOutputConstraints(31, 4)


def fresh() -> TemplateClientSession:
    return TemplateClientSession(CONSTRAINTS, network="regtest", source="node-1")


def set_up() -> TemplateClientSession:
    session = fresh()
    assert session.receive(SetupConnectionSuccess(2, 0), UNIX) == [CONSTRAINTS]
    return session


def say(session: TemplateClientSession, *messages: Message) -> list[Any]:
    return [step for message in messages for step in session.receive(message, UNIX)]


def on_a_tip() -> TemplateClientSession:
    session = set_up()
    say(session, new_template(10), new_tip(10))
    return session


# --- the set-up -------------------------------------------------------------------------------------------------------

def test_the_set_up_names_the_protocol_and_the_constraints_follow_at_once():
    setup = TemplateClientSession.setup(host="tp.example", port=8442, vendor="warppool", firmware="1")
    assert (setup.protocol, setup.min_version, setup.max_version, setup.flags) == (2, 2, 2, 0)
    assert say(fresh(), SetupConnectionSuccess(2, 0)) == [CONSTRAINTS]


@pytest.mark.parametrize(("answer", "words"), [
    (SetupConnectionError(0, "unsupported-protocol"), "refuses the connection: unsupported-protocol"),
    (SetupConnectionSuccess(3, 0), "version 3"),
    (new_template(1), "NewTemplate in phase AWAIT_ANSWER"),
])
def test_a_set_up_that_fails_says_why(answer, words):
    with pytest.raises(RemoteProtocolError, match=words):
        say(fresh(), answer)


# --- templates and tips -----------------------------------------------------------------------------------------------

def test_a_future_template_waits_for_the_tip_that_names_it():
    session = set_up()
    assert say(session, new_template(10), new_template(11, 5, transactions=raw_transactions(3))) == []
    (given,) = say(session, new_tip(11, b"\x07" * 32))
    assert isinstance(given, TemplateGiven) and given.is_new_tip
    template = given.template
    assert (template.template_id, template.tip.prev_hash, template.tip.height) == (11, b"\x07" * 32, 5)
    assert (template.tip.nbits, template.tip.min_ntime, template.source) == (EASY_NBITS, UNIX, "node-1")
    assert template.transactions is None and len(template.merkle_path) == 2


def test_a_template_without_transactions_is_whole_at_once():
    (given,) = say(set_up(), new_template(1), new_tip(1))
    assert given.template.transactions == ()


def test_a_template_that_is_not_for_the_future_is_for_the_present_tip():
    session = on_a_tip()
    (given,) = say(session, new_template(12, future=False, coinbase_tx_value_remaining=5_000_009_999))
    assert not given.is_new_tip
    assert given.template.tip.prev_hash == b"\x05" * 32
    assert given.template.coinbase_tx_value_remaining == 5_000_009_999


def test_a_new_pair_on_the_same_tip_is_taken():
    (given,) = say(on_a_tip(), new_template(11), new_tip(11))
    assert given.is_new_tip and given.template.template_id == 11


def test_of_many_future_templates_the_newest_are_held():
    session = set_up()
    for number in range(1, 3 * MAX_FUTURE):
        say(session, new_template(number))
    assert len(session._future) == MAX_FUTURE
    say(session, new_tip(3 * MAX_FUTURE - 1))
    with pytest.raises(RemoteProtocolError, match="no future template that is held"):
        say(session, new_tip(3 * MAX_FUTURE - 2))


# --- a provider's mistakes --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("changes", "words"), [
    ({"coinbase_tx_value_remaining": 4_999_999_999}, "value_remaining: 4999999999 sat .* pays 5000000000 and fees"),
    ({"coinbase_tx_value_remaining": 21_000_000 * 100_000_000 + 1}, "value_remaining"),
    ({"merkle_path": (bytes(32),) * 16}, "merkle_path: 16 hashes"),
    ({"coinbase_prefix": bytes.fromhex("55") + bytes(8)}, "coinbase_prefix: 9 bytes"),
    ({"coinbase_prefix": b""}, "coinbase_prefix: an empty"),
    ({"coinbase_prefix": b"\x02\x05\x00"}, "coinbase_prefix: .* does not begin with a height"),
    ({"coinbase_prefix": b"\x00"}, "coinbase_prefix: no block stands at height 0"),
    ({"version": 3}, "version: 0x00000003"),
    ({"version": 0x80000004}, "version: 0x80000004"),
    ({"coinbase_tx_locktime": 5}, "locktime: 5 is not over at height 5"),
    ({"coinbase_tx_locktime": 1_700_000_000}, "locktime"),
    ({"coinbase_tx_outputs": serialize_output(1, b"\x51")}, "own outputs is worth 1 sat"),
    ({"coinbase_tx_outputs": serialize_output(0, bytes(4096))}, "coinbase_tx_outputs: 4107 bytes"),
    ({"coinbase_tx_outputs_count": 2}, "coinbase_tx_outputs"),
    ({"coinbase_tx_outputs_count": 0xFFFFFFFF}, "coinbase_tx_outputs"),
])
def test_a_template_that_cannot_be_is_refused_with_the_reason(changes, words):
    with pytest.raises(RemoteProtocolError, match=f"NewTemplate 10, .*{words}"):
        say(set_up(), new_template(10, **changes))


def test_what_looks_odd_and_can_be_is_taken():
    session = set_up()
    odd = new_template(10, coinbase_tx_locktime=77, coinbase_tx_input_sequence=0xFFFFFFFF, coinbase_tx_outputs=b"",
                       coinbase_tx_outputs_count=0, coinbase_prefix=b"\x55mined\x00\x00", coinbase_tx_version=1)
    (given,) = say(session, odd, new_tip(10, target=b"\x01" + bytes(31)))
    assert given.template.tip.target == target_from_nbits(EASY_NBITS)      # what meets n_bits is a block


@pytest.mark.parametrize(("changes", "words"), [
    ({"n_bits": 0x20800000}, "n_bits"),
    ({"n_bits": 0x20000000}, "target"),
    ({"target": bytes(32)}, "target: it is 0"),
    ({"target": b"\xff" * 32}, "target: .* easier than that of n_bits"),
    ({"header_timestamp": UNIX + 7201}, "header_timestamp: .* 7201 s ahead of our clock"),
    ({"header_timestamp": UNIX - 7201}, "header_timestamp: .* 7201 s behind our clock"),
    ({"template_id": 9}, "template_id: no future template"),
    ({"template_id": 11}, "template_id: no future template"),
])
def test_a_tip_that_cannot_be_is_refused_with_the_reason(changes, words):
    session = set_up()
    say(session, new_template(10))
    with pytest.raises(RemoteProtocolError, match=f"SetNewPrevHash .*{words}"):
        say(session, new_tip(changes.pop("template_id", 10), **changes))


@pytest.mark.parametrize(("messages", "words"), [
    ([new_template(10)], "template_id: it comes after 10"),
    ([new_template(9, future=False)], "template_id: it comes after 10"),
    ([new_template(11, 6, future=False)], "height 6 on the tip for 5"),
    ([new_tip(10)], "no future template that is held"),
    ([new_template(11, 6), new_tip(11)], "the same at height 6 as before at 5"),
    ([SetupConnectionSuccess(2, 0)], "SetupConnectionSuccess in phase TEMPLATES"),
])
def test_what_does_not_follow_from_before_is_refused(messages, words):
    session = on_a_tip()
    with pytest.raises(RemoteProtocolError, match=words):
        say(session, *messages)


def test_a_template_for_the_present_before_any_tip_is_refused():
    with pytest.raises(RemoteProtocolError, match="before the first tip"):
        say(set_up(), new_template(10, future=False))


# --- transactions -----------------------------------------------------------------------------------------------------

def test_transactions_are_asked_for_one_template_at_a_time():
    session = on_a_tip()
    assert session.ask_transactions(10) == RequestTransactionData(10)
    with pytest.raises(LocalProtocolError):
        session.ask_transactions(NO_TEMPLATE)
    raw = raw_transactions(2)
    assert say(session, RequestTransactionDataSuccess(10, b"", raw)) == [TransactionsGiven(10, raw)]
    session.ask_transactions(NO_TEMPLATE)
    refusal = RequestTransactionDataError(NO_TEMPLATE, "template-id-not-found")
    assert say(session, refusal) == [TransactionsRefused(NO_TEMPLATE, "template-id-not-found")]
    assert "node-not-fresh" not in ALIVE_CODES


def test_nothing_is_asked_before_the_set_up():
    with pytest.raises(LocalProtocolError):
        fresh().ask_transactions(NO_TEMPLATE)


@pytest.mark.parametrize("answer", [RequestTransactionDataSuccess(10, b"", ()), RequestTransactionDataError(9, "x")])
def test_an_answer_to_no_question_is_refused(answer):
    with pytest.raises(RemoteProtocolError, match="nobody asked"):
        say(on_a_tip(), answer)
    session = on_a_tip()
    session.ask_transactions(11)
    with pytest.raises(RemoteProtocolError, match="nobody asked"):
        say(session, answer)


def test_a_client_hears_no_client():
    with pytest.raises(UnexpectedMessage):
        say(on_a_tip(), SubmitSolution(10, 1, 2, 3, b""))


# --- the link ---------------------------------------------------------------------------------------------------------

def link_of(profile: Profile) -> TemplateLink:
    return TemplateLink(profile, Plain(), fresh(),
                        TemplateClientSession.setup(host="h", port=1, vendor="v", firmware="f"))


def hear(link: TemplateLink, data: bytes) -> list[Any]:
    return list(link.receive(data, Now(0.0, UNIX)))


@EACH_PROFILE
def test_a_link_says_the_set_up_the_constraints_and_the_questions(profile):
    link = link_of(profile)
    assert link.outgoing() == profile.encode(TemplateClientSession.setup(host="h", port=1, vendor="v", firmware="f"))
    assert hear(link, profile.encode(SetupConnectionSuccess(2, 0))) == []
    assert link.outgoing() == profile.encode(CONSTRAINTS)
    wire = profile.encode(new_template(1)) + profile.encode(new_tip(1))
    (given,) = [event for at in range(len(wire)) for event in hear(link, wire[at:at + 1])]
    assert given.template.template_id == 1
    link.ask_transactions(1)
    assert link.outgoing() == profile.encode(RequestTransactionData(1))


@EACH_PROFILE
def test_what_comes_before_a_fault_is_not_lost_by_it(profile):
    link = link_of(profile)
    wire = [SetupConnectionSuccess(2, 0), new_template(1), new_tip(1), new_tip(2)]
    events = link.receive(b"".join(map(profile.encode, wire)), Now(0.0, UNIX))
    assert next(events).template.template_id == 1
    with pytest.raises(RemoteProtocolError):
        next(events)


@EACH_PROFILE
def test_a_message_of_16_mb_passes_only_where_it_was_asked_for(profile):
    announced = b"\0\0\x74\xff\xff\xff"
    link = link_of(profile)
    hear(link, b"".join(map(profile.encode, [SetupConnectionSuccess(2, 0), new_template(1), new_tip(1)])))
    link.ask_transactions(1)
    assert hear(link, announced) == []
    for ask in ([], [NO_TEMPLATE]):
        link = link_of(profile)
        hear(link, profile.encode(SetupConnectionSuccess(2, 0)))
        for template_id in ask:
            link.ask_transactions(template_id)
        with pytest.raises(RemoteProtocolError, match=f"{MAX_PAYLOAD} are allowed"):
            hear(link, announced)


@EACH_PROFILE
def test_a_provider_that_says_anything_leads_to_a_refusal_or_nothing_else(profile):
    rng = random.Random(10)
    sound = [profile.encode(message) for message in (
        SetupConnectionSuccess(2, 0), new_template(1, transactions=raw_transactions(2)), new_tip(1),
        new_template(2, future=False), RequestTransactionDataSuccess(1, b"", raw_transactions(2)),
        RequestTransactionDataError(1, "stale-template-id"))]
    refused = 0
    for _ in range(1500):
        link = link_of(profile)
        wire = bytearray(b"".join(sound[:rng.randrange(1, len(sound) + 1)]))
        for _ in range(rng.randrange(1, 4)):
            wire[rng.randrange(len(wire))] = rng.randrange(256)
        try:
            hear(link, bytes(wire[:rng.randrange(len(wire) + 1)]))
        except RemoteProtocolError:
            refused += 1
    assert refused > 100


def test_the_commitment_of_the_samples_is_one():
    assert new_template(1).coinbase_tx_outputs.startswith(commitment_output(bytes(32))[:15])
    assert Subprotocol.TEMPLATE_DISTRIBUTION is TemplateClientSession.subprotocol
