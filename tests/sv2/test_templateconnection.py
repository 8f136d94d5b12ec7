"""A template client on a port for miners: it is handed over with all that it has sent, wherever TCP cuts that."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sv2.pairs import make_context
from tests.sv2.profiles import profile  # noqa: F401
from tests.sv2.templatepairs import FIRST_ID, SETUP, SMALL, START, Client, Jobs, make_serving, solve
from warppool.events import BlockFound, Close, HandOver, Send
from warppool.sv2.connection import ServerConnection
from warppool.sv2.messages.common import SetupConnectionSuccess
from warppool.sv2.messages.template import NewTemplate, RequestTransactionData, SetNewPrevHash
from warppool.sv2.templateconnection import TemplateConnection


def miners_port(serving=None):
    """A connection on a port where both are served."""
    context = replace(make_context(), templates=serving or make_serving())
    return ServerConnection(7, context, idle_timeout_s=600.0, now=START), context.profile


def taken_over(data, step=None):
    """Send `data` in pieces of `step` bytes to such a port, as a worker would; the client, and what it heard."""
    connection, dialect = miners_port()
    client, job = Client(dialect, make_serving()), Jobs()()
    for at in range(0, len(data), step or len(data)):
        events = connection.receive(data[at:at + (step or len(data))], START)
        if events and isinstance(events[-1], HandOver):
            assert not any(isinstance(event, Send) for event in events)
            connection = client.connection = events[-1].connection
            assert isinstance(connection, TemplateConnection)
            client._take(connection.offer(job, START))
            events = connection.receive(b"", START)
        client._take(events)
    return client


def test_the_first_message_decides_and_what_stood_behind_it_is_read():
    dialect = miners_port()[1]
    data = b"".join(map(dialect.encode, [SETUP, SMALL, RequestTransactionData(0)]))
    client = taken_over(data)
    assert [type(message).__name__ for message in client.heard] == [
        "SetupConnectionSuccess", "NewTemplate", "SetNewPrevHash", "RequestTransactionDataError"]
    new, prev = client.heard[1:3]
    assert isinstance(new, NewTemplate) and isinstance(prev, SetNewPrevHash)
    client.say(solve(new, prev))
    assert len(client.blocks) == 1


@given(st.integers(1, 60))
def test_it_does_not_matter_where_the_bytes_are_cut(step):
    dialect = miners_port()[1]
    client = taken_over(b"".join(map(dialect.encode, [SETUP, SMALL, RequestTransactionData(0)])), step)
    assert [type(message) for message in client.heard[:2]] == [SetupConnectionSuccess, NewTemplate]
    assert len(client.heard) == 4


def test_where_no_templates_are_served_the_protocol_is_not():
    connection = ServerConnection(7, make_context(), idle_timeout_s=600.0, now=START)
    events = connection.receive(make_context().profile.encode(SETUP), START)
    assert isinstance(events[-1], Close) and events[-1].reason == "unsupported-protocol"


def test_a_miner_of_that_port_is_served_as_ever():
    connection, dialect = miners_port()
    events = connection.receive(dialect.encode(replace(SETUP, protocol=0, vendor="bitaxe")), START)
    assert not any(isinstance(event, HandOver | Close) for event in events)
    assert not connection.stays_without_work


def test_a_second_set_up_hands_nothing_over():
    connection, dialect = miners_port()
    connection.receive(dialect.encode(replace(SETUP, protocol=0)), START)
    events = connection.receive(dialect.encode(SETUP), START)
    assert isinstance(events[-1], Close) and "SetupConnection in phase MINING" in events[-1].reason


@pytest.mark.parametrize("change", [{"min_version": 3, "max_version": 3}, {"flags": 1}])
def test_a_set_up_that_is_refused_ends_the_connection_that_took_it_over(change):
    dialect = miners_port()[1]
    client = taken_over(b"".join(map(dialect.encode, [replace(SETUP, **change), SMALL])))
    assert client.close is not None and len(client.heard) == 1


def test_where_there_is_no_work_a_miner_is_closed_without_a_word_and_a_client_is_served():
    serving, dialect = make_serving(), miners_port()[1]
    miner = TemplateConnection(7, dialect, serving, now=START, no_mining="no node gives work")
    events = miner.receive(dialect.encode(replace(SETUP, protocol=0)), START)
    assert events == [Close(7, "no node gives work")]
    client = Client(dialect, serving, 8)
    client.connection = TemplateConnection(8, dialect, serving, now=START, no_mining="no node gives work")
    client.served(Jobs()())
    assert client.heard[-1].template_id == FIRST_ID and client.connection.stays_without_work


@pytest.mark.slow
def test_ten_thousand_mutated_clients_are_refused_or_say_nothing():
    """Whatever bytes come, a connection returns events; what is handed on is a block of the template all the same."""
    dialect, random = miners_port()[1], Random(10)
    serving, job = make_serving(), Jobs()()
    client = Client(dialect, serving)
    client.served(job)
    new, prev = client.heard[1:3]
    frames = list(map(dialect.encode, [SETUP, SMALL, RequestTransactionData(FIRST_ID), solve(new, prev)]))
    for _ in range(10_000):
        data = bytearray(b"".join(frames[:random.randint(1, 4)]))
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        mutant = TemplateConnection(8, dialect, serving, now=START)
        mutant.offer(job, START)
        events = mutant.receive(bytes(data), START)
        while mutant.held:
            events += mutant.receive(b"", START)
        for event in events:
            if isinstance(event, BlockFound):
                assert int.from_bytes(event.block_hash, "little") <= job.tip.target
                assert new.coinbase_tx_outputs in event.coinbase_tx and new.coinbase_prefix in event.coinbase_tx
        mutant.closed(START)
    assert serving.clients == 1, "and nobody's place is lost"
