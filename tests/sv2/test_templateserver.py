"""The template server: what a client gets and when, what it may ask, and what it may hand in."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mining.makers import NTIME, make_template
from tests.sv2.templatepairs import (
    FIRST_ID,
    RULES,
    SETUP,
    SMALL,
    START,
    Client,
    Jobs,
    Node,
    coinbase_of,
    easy_template,
    make_serving,
    pair_of,
    served,
    solve,
)
from warppool.bitcoin.coinbase import commitment_output, strip_witness
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import Header
from warppool.bitcoin.transaction import serialize_output
from warppool.events import Holds, Send
from warppool.sv2.messages.common import SetupConnectionError, SetupConnectionSuccess
from warppool.sv2.messages.extensions import RequestExtensions, RequestExtensionsError
from warppool.sv2.messages.template import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
    SubmitSolution,
)
from warppool.sv2.profile import SPEC, WARP
from warppool.sv2.templatecontext import NOT_FRESH_S
from warppool.sv2.templateserver import MAX_ASKED, MAX_BAD, MAX_CHANGES, REPEAT_S


@pytest.fixture(params=[WARP, SPEC], ids=lambda profile: profile.name)
def profile(request):
    return request.param


@pytest.fixture
def jobs():
    return Jobs()


def error(template_id: int, code: str) -> RequestTransactionDataError:
    return RequestTransactionDataError(template_id, code)


# --- set-up -----------------------------------------------------------------------------------------------------------

def test_a_client_of_empty_strings_is_set_up_and_gets_the_pair_in_one_send(profile, jobs):
    client, job = Client(profile, make_serving()), jobs(at=START._replace(unix=NTIME + 500))
    client.offer(job)
    assert client.say(SETUP) == [SetupConnectionSuccess(2, 0)]
    new, prev = client.say(SMALL)
    assert client.sends[-1] == [new, prev], "a machine that comes between the two ends SRI's pool"
    template = job.template
    assert new == NewTemplate(
        template_id=FIRST_ID, future_template=True, version=template.version, coinbase_tx_version=2,
        coinbase_prefix=template.coinbase_prefix, coinbase_tx_input_sequence=0xFFFFFFFE,
        coinbase_tx_value_remaining=312_500_000, coinbase_tx_outputs_count=1,
        coinbase_tx_outputs=template.coinbase_tx_outputs, coinbase_tx_locktime=839_999, merkle_path=())
    assert prev == SetNewPrevHash(FIRST_ID, template.tip.prev_hash, NTIME + 500, template.tip.nbits,
                                  template.tip.target.to_bytes(32, "little"))


def test_a_client_waits_for_the_first_template_for_as_long_as_it_takes(profile, jobs):
    client = Client(profile, make_serving())
    assert client.served(None) == [SetupConnectionSuccess(2, 0)]
    assert client.wait(10_000.0) == [] and client.close is None
    client = Client(profile, make_serving())
    client.served(None)
    assert [type(message) for message in client.offer(jobs())] == [NewTemplate, SetNewPrevHash]


@pytest.mark.parametrize(("setup", "code"), [
    ({"protocol": 0}, "unsupported-protocol"),
    ({"protocol": 1}, "unsupported-protocol"),
    ({"min_version": 3, "max_version": 4}, "protocol-version-mismatch"),
    ({"flags": 1}, "unsupported-feature-flags"),
])
def test_what_cannot_be_set_up_is_told_so(profile, setup, code):
    client = Client(profile, make_serving())
    (answer,) = client.say(replace(SETUP, **setup))
    assert isinstance(answer, SetupConnectionError) and answer.error_code == code
    assert client.close is not None and client.close.reason == code


def test_a_client_has_ten_seconds_for_each_of_its_first_two_messages(profile):
    client = Client(profile, make_serving())
    client.wait(9.0)
    client.say(SETUP)
    client.wait(9.0)
    assert client.close is None
    client.say(RequestExtensions(1, (2,)))
    client.wait(2.0)
    assert client.close is not None and "no CoinbaseOutputConstraints" in client.close.reason
    silent = Client(profile, make_serving())
    silent.wait(11.0)
    assert silent.close is not None and "no SetupConnection" in silent.close.reason


def test_no_extension_is_spoken_here(jobs):
    client = Client(WARP, make_serving())
    client.served(jobs())
    assert client.say(RequestExtensions(7, (2,))) == [RequestExtensionsError(7, (2,), ())]


def test_what_a_phase_has_no_place_for_closes(profile, jobs):
    for messages in ([SMALL], [SETUP, SETUP], [SETUP, RequestTransactionData(1)],
                     [SETUP, SMALL, NewTemplate(1, True, 4, 2, b"", 0, 0, 0, b"", 0, ())]):
        client = Client(profile, make_serving())
        client.offer(jobs())
        client.say(*messages)
        assert client.close is not None and client.close.is_peers_fault


def test_only_so_many_are_served_and_one_that_goes_makes_room(profile, jobs):
    context = make_serving(max_clients=2)
    first, second, third = (Client(profile, context, number) for number in (1, 2, 3))
    for client in (first, second, third):
        client.served(jobs())
    assert first.close is second.close is None
    assert third.close is not None and "as many template clients" in third.close.reason
    third.connection.closed(START)
    first.connection.closed(START)
    assert context.clients == 1
    fourth = Client(profile, context, 4)
    fourth.served(jobs())
    assert fourth.close is None and context.clients == 2


# --- templates --------------------------------------------------------------------------------------------------------

def test_a_new_tip_is_a_pair_in_one_send_and_ids_rise(profile, jobs):
    client = Client(profile, make_serving())
    client.served(jobs())
    for number in (2, 3, 2):
        new, prev = client.offer(jobs(easy_template(number)))
        assert client.sends[-1] == [new, prev] and new.future_template and prev.template_id == new.template_id
        assert prev.prev_hash == bytes([number]) * 32
    ids = [message.template_id for message in client.heard if isinstance(message, NewTemplate)]
    assert ids == sorted(set(ids)) and ids[0] == FIRST_ID


def test_another_difficulty_on_one_parent_is_another_tip(profile, jobs):
    client, template = Client(profile, make_serving()), easy_template()
    client.served(jobs(template))
    harder = replace(template, tip=replace(template.tip, nbits=0x1D00FFFF))
    assert [type(message) for message in client.offer(jobs(harder))] == [NewTemplate, SetNewPrevHash]


def test_better_fees_come_alone_by_the_delta_and_not_before_the_interval(profile, jobs):
    client = Client(profile, make_serving())
    node_answers(client)
    client.served(jobs(easy_template(value=1_000_000)))
    assert client.offer(jobs(easy_template(value=5_000_000))) == []
    (better,) = client.wait(RULES.interval_s)
    assert isinstance(better, NewTemplate) and not better.future_template
    assert better.coinbase_tx_value_remaining == 5_000_000
    client.wait(RULES.interval_s)
    assert client.offer(jobs(easy_template(value=5_000_999))) == [], "that is one sat too little"
    (better,) = client.offer(jobs(easy_template(value=5_001_000)))
    assert better.coinbase_tx_value_remaining == 5_001_000


def test_the_newest_template_comes_again_each_minute_with_an_id_of_its_own(profile, jobs):
    client = Client(profile, make_serving())
    node_answers(client)
    client.served(jobs(easy_template(value=1_000_000)))
    client.offer(jobs(easy_template(value=1_000_500)))
    again = client.wait(3 * REPEAT_S + 1)
    assert [message.coinbase_tx_value_remaining for message in again] == [1_000_500] * 3
    assert [message.template_id for message in again] == [FIRST_ID + 1, FIRST_ID + 2, FIRST_ID + 3]
    assert not any(message.future_template for message in again)


def node_answers(client: Client) -> None:
    """From now on the node answers all the time."""
    client.connection._session._context._fresh_at = lambda: client.now.monotonic


def test_who_hears_of_a_tip_late_brings_no_old_one_back(profile, jobs):
    """A client that reads slowly is offered nothing; its minute comes all the same."""
    context = make_serving()
    slow, client = Client(profile, context, 1), Client(profile, context, 2)
    node_answers(client)
    for each in (slow, client):
        each.served(jobs())
    client.wait(REPEAT_S - 1)
    new, prev = client.offer(jobs(easy_template(2)))
    assert [type(message) for message in slow.wait(REPEAT_S + 1)] == [NewTemplate, SetNewPrevHash]
    assert slow.heard[-1].prev_hash == prev.prev_hash
    client.wait(20.0)
    client.say(solve(new, prev))
    assert len(client.blocks) == 1


def test_a_job_that_is_only_fresh_is_no_news(profile, jobs):
    client, template = Client(profile, make_serving()), easy_template()
    client.served(jobs(template))
    assert client.offer(jobs(template)) == []


def test_clients_of_one_kind_get_one_template_under_one_id(profile, jobs):
    context, job = make_serving(), jobs()
    clients = [Client(profile, context, number) for number in range(5)]
    for client in clients:
        client.served(job)
    assert {client.heard[-1].template_id for client in clients} == {FIRST_ID}


# --- a node that is away ----------------------------------------------------------------------------------------------

def test_a_node_that_is_silent_ends_no_client_and_nothing_is_said_as_fresh(profile, jobs):
    node = Node()
    context = make_serving(node)
    client = Client(profile, context)
    client.served(jobs())
    node.answered_at = START.monotonic + 30.0
    assert len(client.wait(59.0)) == 0
    assert client.say(RequestTransactionData(0)) == [error(0, "template-id-not-found")]
    client.wait(2.0)                                        # 61 s: the node is silent since 31 s
    assert client.say(RequestTransactionData(0)) == [error(0, "node-not-fresh")]
    assert client.wait(10 * REPEAT_S) == [] and client.close is None
    late = Client(profile, context, 8)
    late.now = client.now
    late.offer(jobs())
    assert late.say(SETUP, SMALL) == [SetupConnectionSuccess(2, 0)], "dead work is not given to anybody new"
    assert client.say(CoinbaseOutputConstraints(100, 4)) == []
    node.answered_at = client.now.monotonic
    assert [type(message) for message in client.wait(2.0)] == [NewTemplate, SetNewPrevHash]
    assert [type(message) for message in late.wait(2.0)] == [NewTemplate, SetNewPrevHash]


def test_before_the_first_answer_of_a_node_nothing_is_fresh(profile):
    node = Node()
    node.answered_at = None
    client = Client(profile, make_serving(node))
    client.served(None)
    assert client.say(RequestTransactionData(0)) == [error(0, "node-not-fresh")]


def test_the_embedded_chain_is_always_fresh(profile):
    node = Node()
    node.answered_at = math.inf
    client = Client(profile, make_serving(node))
    client.served(None)
    client.wait(2 * NOT_FRESH_S)
    assert client.say(RequestTransactionData(0)) == [error(0, "template-id-not-found")]


# --- constraints ------------------------------------------------------------------------------------------------------

def test_changed_constraints_give_a_new_pair_at_once_and_the_same_ones_nothing(profile, jobs):
    client = Client(profile, make_serving())
    client.served(jobs())
    assert client.say(SMALL) == []
    new, prev = client.say(CoinbaseOutputConstraints(62, 0))
    assert new.future_template and prev.template_id == new.template_id == FIRST_ID + 1
    assert client.sends[-1] == [new, prev]


def test_who_changes_them_all_the_time_waits(profile, jobs):
    client = Client(profile, make_serving())
    client.served(jobs())
    answers = [client.say(CoinbaseOutputConstraints(31 + number, 0)) for number in range(1, 200)]
    assert sum(map(bool, answers)) < MAX_CHANGES
    assert len(client.wait(6.0)) == 2


@pytest.mark.parametrize("constraints", [
    CoinbaseOutputConstraints(24_709, 0), CoinbaseOutputConstraints(0xFFFFFFFF, 0), CoinbaseOutputConstraints(31, 1001),
])
def test_more_than_a_hundred_kilo_weight_units_are_refused(jobs, constraints):
    client = Client(SPEC, make_serving())
    client.served(jobs(), constraints)
    assert client.close is not None and "takes more of a block than 100 kWU" in client.close.reason


def test_a_hundred_kilo_weight_units_are_not(jobs):
    client = Client(SPEC, make_serving())
    client.served(jobs(), CoinbaseOutputConstraints(24_708, 1000))
    assert client.close is None and isinstance(client.heard[-1], SetNewPrevHash)


def test_a_template_that_cannot_be_made_shorter_ends_the_client(jobs):
    client, template = Client(SPEC, make_serving()), make_template(transactions=(b"tx",))
    client.served(jobs(template), CoinbaseOutputConstraints(1000, 4))
    assert client.close is not None and "no template" in client.close.reason


# --- transactions -----------------------------------------------------------------------------------------------------

def test_transactions_come_as_they_stand_in_the_block(profile, jobs):
    client = Client(profile, make_serving())
    client.served(jobs(easy_template(transactions=(b"first", b"second" * 200_000))))
    assert client.say(RequestTransactionData(FIRST_ID)) == []
    holds = [event for event in client.events if isinstance(event, Holds)]
    assert holds[-1].extra > 1_200_000, "the reactor knows it before the bytes come"
    assert client.wait(0.02) == [RequestTransactionDataSuccess(FIRST_ID, b"", (b"first", b"second" * 200_000))]


def test_an_empty_block_has_an_empty_list(profile, jobs):
    client = Client(profile, make_serving())
    client.served(jobs())
    client.say(RequestTransactionData(FIRST_ID))
    assert client.wait(0.02) == [RequestTransactionDataSuccess(FIRST_ID, b"", ())]


def test_what_is_not_there_is_answered_at_once(profile, jobs):
    client = Client(profile, make_serving())
    client.served(jobs())
    client.offer(jobs(easy_template(2)))
    client.wait(11.0)
    client.offer(jobs(easy_template(3)))
    assert client.say(RequestTransactionData(FIRST_ID)) == [error(FIRST_ID, "stale-template-id")]
    assert client.say(RequestTransactionData(FIRST_ID + 9)) == [error(FIRST_ID + 9, "template-id-not-found")]
    assert client.say(RequestTransactionData(0)) == [error(0, "template-id-not-found")]


def test_of_a_template_without_transactions_there_are_none(profile, jobs):
    client = Client(profile, make_serving())
    client.served(jobs(make_template(transactions=None)))
    assert client.say(RequestTransactionData(FIRST_ID)) == [error(FIRST_ID, "template-id-not-found")]


def test_who_floods_with_requests_waits_and_is_closed(profile, jobs):
    client = Client(profile, make_serving())
    client.served(jobs(easy_template(transactions=(bytes(4_000_000),))))
    client.say(*[RequestTransactionData(FIRST_ID)] * MAX_ASKED)
    assert len(client.wait(0.05)) == 1, "the next one comes a second later"
    assert len(client.wait(1.0)) == 1
    assert client.close is None
    client.say(*[RequestTransactionData(FIRST_ID)] * (MAX_ASKED - 1))
    assert client.close is not None and "requests for transactions" in client.close.reason


def test_many_who_ask_at_once_are_answered_one_after_the_other(profile, jobs):
    context = make_serving()
    job = jobs(easy_template(transactions=(bytes(4_000_000),)))
    clients = [Client(profile, context, number) for number in range(5)]
    for client in clients:
        client.served(job)
        client.say(RequestTransactionData(FIRST_ID))
    answered = [len(client.wait(0.05)) for client in clients]
    assert answered == [1, 0, 0, 0, 0]
    assert sum(len(client.wait(1.0)) for client in clients) == 4


def test_who_asks_all_the_time_keeps_nobody_waiting_for_long(jobs):
    """Twenty clients that always have a request waiting, each with a lower number than the one that asks once."""
    context, job = make_serving(), jobs(easy_template(transactions=(bytes(4_000_000),)))
    context._fresh_at = lambda: math.inf
    greedy = [Client(SPEC, context, number) for number in range(20)]
    honest = Client(SPEC, context, 99)
    for client in [*greedy, honest]:
        client.served(job)
    for client in greedy:
        client.say(*[RequestTransactionData(FIRST_ID)] * 3)
    waited, got = 0.0, []
    while not got:
        for client in greedy:
            client.wait(0.1)
            if not client.connection._session._data:
                client.say(RequestTransactionData(FIRST_ID))
        if waited == 0.0:
            honest._at(greedy[0].now.monotonic)
            honest.say(RequestTransactionData(FIRST_ID))
        got, waited = honest.wait(0.1), waited + 0.1
    assert waited < 21 * 0.2 + 0.5, "the twenty before it have had theirs once"


def test_the_worker_is_told_who_is_large(jobs):
    client = Client(SPEC, make_serving())
    client.served(jobs(), CoinbaseOutputConstraints(1000, 0))
    assert [event.holders for event in client.events if isinstance(event, Holds)] == [6], "and serves it last"


# --- solutions --------------------------------------------------------------------------------------------------------

def test_a_solution_is_a_block_with_all_its_transactions(profile, jobs):
    client, template = Client(profile, make_serving()), easy_template()
    client.served(jobs(template))
    new, prev = pair_of(client)
    solution = solve(new, prev)
    client.say(solution)
    (block,) = client.blocks
    assert block.template == template and block.height == 840_000 and block.share is None
    assert block.coinbase_tx == solution.coinbase_tx and block.header[36:68] == double_sha256(
        strip_witness(solution.coinbase_tx))
    assert block.block_hash == double_sha256(block.header) and block.user


def test_a_coinbase_without_its_witness_gets_it(profile, jobs):
    client, new, prev = served(profile, jobs())
    whole = coinbase_of(new)
    client.say(solve(new, prev, strip_witness(whole)))
    assert client.blocks[0].coinbase_tx == whole


def test_a_coinbase_that_has_the_templates_outputs_twice_is_the_one_that_was_mined(profile, jobs):
    """As SRI's pool hands in the blocks of standard channels in a group."""
    client, new, prev = served(profile, jobs())
    mined = coinbase_of(new)
    twice = coinbase_of(new, outputs=2 * new.coinbase_tx_outputs, count=2)
    client.say(replace(solve(new, prev, mined), coinbase_tx=twice))
    assert client.blocks[0].coinbase_tx == mined
    client.say(next(found for found in (solve(new, prev, twice, start=start) for start in range(0, 10_000, 500))
                    if not is_block(new, prev, mined, found)))
    assert client.blocks[1].coinbase_tx == twice, "or it was mined so"


def is_block(new, prev, coinbase, solution):
    """Whether this solution is one with that coinbase, too."""
    root = double_sha256(strip_witness(coinbase))
    header = Header(solution.version, prev.prev_hash, root, solution.header_timestamp, prev.n_bits,
                    solution.header_nonce).pack()
    return int.from_bytes(double_sha256(header), "little") <= int.from_bytes(prev.target, "little")


def test_before_segwit_a_block_has_no_witness(profile, jobs):
    client, new, prev = served(profile, jobs(easy_template(coinbase_tx_outputs=b"", coinbase_tx_outputs_count=0)))
    whole = coinbase_of(new)
    client.say(solve(new, prev, whole))
    assert client.blocks[0].coinbase_tx == strip_witness(whole)


def spoiled(case: str, new: NewTemplate) -> bytes:
    match case:
        case "overclaims":
            return coinbase_of(new, value=new.coinbase_tx_value_remaining + 1)
        case "lacks the commitment":
            return coinbase_of(new, outputs=b"", count=0)
        case "commits anew":
            return coinbase_of(new, outputs=new.coinbase_tx_outputs + commitment_output(bytes(32)), count=2)
        case "another height":
            return coinbase_of(new, prefix=b"\x03\x01\x02\x03")
        case _:
            raise AssertionError(case)


@pytest.mark.parametrize(("case", "words"), [
    ("overclaims", "claims 312500001 sat"), ("lacks the commitment", "lacks an output"),
    ("commits anew", "another witness commitment"), ("another height", "does not begin with the prefix"),
])
def test_a_coinbase_that_spoils_its_block_is_said_and_not_handed_on(profile, jobs, case, words):
    client, new, prev = served(profile, jobs())
    client.say(solve(new, prev, spoiled(case, new)))
    assert client.blocks == [] and words in str(client.happened("solution.refused")[0]["reason"])


def test_more_outputs_than_one_may_share_the_value(profile, jobs):
    client, new, prev = served(profile, jobs())
    more = serialize_output(100, b"\x51") + new.coinbase_tx_outputs + serialize_output(0, b"\x6a")
    client.say(solve(new, prev, coinbase_of(new, value=new.coinbase_tx_value_remaining - 100, outputs=more, count=3)))
    assert len(client.blocks) == 1


@pytest.mark.parametrize("raw", [b"", b"\x00", bytes(60), bytes(65_535), b"\x02\0\0\0\0\1" + bytes(100)])
def test_a_coinbase_that_is_none_is_refused(profile, jobs, raw):
    client, new, prev = served(profile, jobs())
    client.say(SubmitSolution(new.template_id, new.version, prev.header_timestamp, 0, raw))
    assert client.blocks == [] and len(client.happened("solution.refused")) == 1 and client.close is None


def test_ten_that_are_no_solutions_end_the_client_and_good_ones_count_between_them(profile, jobs):
    client, new, prev = served(profile, jobs())
    bad = solve(new, prev, is_good=False)
    client.say(*[bad] * (MAX_BAD - 1))
    assert client.close is None
    client.say(solve(new, prev))
    assert len(client.blocks) == 1
    client.say(bad, solve(new, prev, start=5000))
    assert client.close is not None and "10 solutions" in client.close.reason
    assert len(client.blocks) == 1, "what stands behind the fault is not read"


def test_one_that_comes_again_or_too_late_is_no_fault(profile, jobs):
    client, new, prev = served(profile, jobs())
    solution = solve(new, prev)
    client.say(*[solution] * 30, *[replace(solution, template_id=5)] * 30)
    assert len(client.blocks) == 1 and client.close is None


def test_the_first_template_of_a_tip_is_good_as_long_as_the_tip_lasts_and_ten_seconds_more(profile, jobs):
    client = Client(profile, make_serving())
    node_answers(client)
    client.served(jobs(easy_template(value=1_000_000)))
    new, prev = pair_of(client)
    for step in range(1, 300):
        client.wait(RULES.interval_s)
        assert client.offer(jobs(easy_template(value=1_000_000 + 5000 * step)))
    client.say(solve(new, prev))
    assert len(client.blocks) == 1
    client.offer(jobs(easy_template(2)))
    client.wait(9.0)
    client.say(solve(new, prev, start=2000))
    assert len(client.blocks) == 2, "blocks on the old tip may be on their way"
    client.wait(2.0)
    client.say(solve(new, prev, start=4000))
    assert len(client.blocks) == 2 and client.close is None
    assert len(client.happened("solution.late")) == 1


def test_a_client_that_comes_again_may_hand_in_what_it_has_found(profile, jobs):
    context, job = make_serving(), jobs()
    client = Client(profile, context)
    client.served(job)
    new, prev = pair_of(client)
    client.connection.closed(client.now)
    again = Client(profile, context, 8)
    again.served(job)
    again.say(solve(new, prev))
    assert len(again.blocks) == 1


def test_a_solution_that_is_held_when_its_client_goes_is_still_taken(profile, jobs):
    client, new, prev = served(profile, jobs())
    flood = [RequestTransactionData(5)] * 20
    data = b"".join(map(profile.encode, [*flood, solve(new, prev), *flood]))
    events = client.connection.receive(data, client.now)
    assert client.connection.held and client.blocks == []
    client.connection.abandon()
    while client.connection.held:
        events = client.connection.receive(b"", client.now)
        assert not any(isinstance(event, Send) for event in events), "nobody hears it"
        client._take(events)
    assert len(client.blocks) == 1


def test_what_was_served_is_counted(profile, jobs):
    context = make_serving()
    client = Client(profile, context)
    client.served(jobs())
    new, prev = pair_of(client)
    client.say(solve(new, prev), solve(new, prev, is_good=False), RequestTransactionData(FIRST_ID))
    client.wait(0.02)
    counts = context.report()
    assert (counts.clients, counts.templates, counts.answers, counts.solutions, counts.spoiled) == (1, 1, 1, 1, 1)


# --- anything in any order --------------------------------------------------------------------------------------------

ACTIONS = st.lists(st.one_of(
    st.tuples(st.just("tip"), st.integers(1, 3)), st.tuples(st.just("fees"), st.integers(0, 5_000)),
    st.tuples(st.just("wait"), st.floats(0.0, 70.0)), st.tuples(st.just("size"), st.integers(0, 24_708)),
    st.tuples(st.just("ask"), st.integers(-3, 3)), st.tuples(st.just("solve"), st.booleans()),
    st.tuples(st.just("node"), st.booleans())), max_size=40)


@given(ACTIONS)
def test_whatever_happens_ids_rise_and_a_pair_is_never_cut(actions):
    node = Node()
    context = make_serving(node)
    client, jobs, tip, value, is_alive = Client(SPEC, context), Jobs(), 1, 1_000_000, True
    context._fresh_at = lambda: client.now.monotonic if is_alive else node.answered_at
    client.served(jobs(easy_template(tip, value)))
    for action, number in actions:
        if client.close is not None:
            break
        match action:
            case "tip":
                tip = number
                client.offer(jobs(easy_template(tip, value)))
            case "fees":
                value += number
                client.offer(jobs(easy_template(tip, value)))
            case "wait":
                client.wait(number)
            case "size":
                client.say(CoinbaseOutputConstraints(number, 0))
            case "ask":
                client.say(RequestTransactionData(pair_of(client)[0].template_id + number))
            case "solve":
                client.say(solve(*pair_of(client), is_good=number))
            case "node":
                is_alive, node.answered_at = number, client.now.monotonic
    ids = [message.template_id for message in client.heard if isinstance(message, NewTemplate)]
    assert ids == sorted(set(ids))
    for said in client.sends:
        kinds = [type(message) for message in said if isinstance(message, NewTemplate | SetNewPrevHash)]
        futures = [message.future_template for message in said if isinstance(message, NewTemplate)]
        assert kinds in ([], [NewTemplate], [NewTemplate, SetNewPrevHash]) and futures in ([], [len(kinds) == 2])
    last = pair_of(client)[1]
    assert not is_alive or client.close or last.prev_hash == bytes([tip]) * 32 or client.wait(6.0)
    assert len(context.store) <= 256
