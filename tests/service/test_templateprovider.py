"""The whole template provider in this process: clients over sockets, blocks on a chain."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from functools import partial

import pytest

from tests.net.conftest import log_lines  # noqa: F401
from tests.node.stub import Mood, StubNode, dsha, make_transaction, merkle_root
from tests.patience import PATIENCE_S, until
from tests.service.process import ProviderProcess
from tests.service.templateclients import TemplateClient, config_of, port_of, providing, write_provider_config
from tests.sv2.profiles import EACH_PROFILE
from tests.sv2.templatepairs import solve
from warppool.config.provider import read_provider_config
from warppool.sv2.messages.template import (
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
)
from warppool.sv2.profile import SPEC


@pytest.fixture
def stub(tmp_path):
    with StubNode(cookie=tmp_path / "cookie") as running:
        yield running


@pytest.fixture
def provider(stub, tmp_path):
    """One for twelve clients, on a node whose templates are nearly full."""
    stub.add_transactions(*(make_transaction(number, filler=250) for number in range(10)))
    stub.extra["weightlimit"] = sum(entry["weight"] for entry in stub.transactions) + 2_000
    with providing(config_of(tmp_path, {"url": stub.url, "cookie_file": str(stub.cookie)}, max_clients=12)) as running:
        yield running


@EACH_PROFILE
def test_a_client_mines_blocks_on_the_embedded_chain(tmp_path, profile):
    with providing(config_of(tmp_path, {"source": "regtest"})) as provider, (
            TemplateClient(port_of(provider, profile), profile)) as client:
        client.begin()
        for height in range(1, 6):
            new, prev = client.next(NewTemplate), client.next(SetNewPrevHash)
            assert new.template_id == prev.template_id and new.future_template
            assert new.coinbase_tx_locktime == height - 1
            client.say(solve(new, prev))
        client.next(SetNewPrevHash)
        assert provider.counts().solutions == 5


def test_the_line_of_each_minute_comes_without_the_workers_counts_too(provider, caplog, monkeypatch):
    """A worker that is busy for longer than its answer is waited for must not end the program."""
    caplog.set_level("INFO")
    status, now = provider.service.status, time.monotonic()
    monkeypatch.setattr(provider.ports, "reports", partial(provider.ports.reports, PATIENCE_S))
    status.say_summary(now)
    monkeypatch.setattr(provider.ports, "reports", list)
    status.say_summary(now)
    whole, short = (line for line in caplog.messages if "event=provider.summary" in line)
    assert "clients=0 templates=0 answers=0 solutions=0 spoiled=0 height=1 template_age=" in whole
    assert "event=provider.summary height=1 template_age=" in short


def test_a_block_goes_to_the_node_with_its_transactions(tmp_path):
    with StubNode(cookie=tmp_path / "cookie") as stub:
        stub.add_transactions(*(make_transaction(number) for number in range(5)))
        config = config_of(tmp_path, {"url": stub.url, "cookie_file": str(tmp_path / "cookie")})
        with providing(config) as provider, TemplateClient(port_of(provider)) as client:
            client.begin()
            new, prev = client.next(NewTemplate), client.next(SetNewPrevHash)
            client.say(RequestTransactionData(new.template_id), RequestTransactionData(0))
            assert client.next(RequestTransactionDataError).error_code in ("template-id-not-found", "node-not-fresh")
            given = client.next(RequestTransactionDataSuccess)
            assert len(given.transaction_list) == 5
            client.say(solve(new, prev))
            until(lambda: bool(stub.submitted))
            assert all(raw in stub.submitted[0] for raw in given.transaction_list)
            assert client.next(SetNewPrevHash).prev_hash != prev.prev_hash


def test_a_large_coinbase_gets_a_shorter_block_that_is_whole(stub, provider):
    """Ten transactions of 1,600 units leave 2,000 of 18,000: five outputs more take the last of them, and one more."""
    with TemplateClient(port_of(provider)) as small, TemplateClient(port_of(provider, SPEC), SPEC) as large:
        small.begin()
        all_of_it = small.next(NewTemplate)
        large.begin(size=1000)
        new, prev = large.next(NewTemplate), large.next(SetNewPrevHash)
        large.say(RequestTransactionData(new.template_id))
        left = large.next(RequestTransactionDataSuccess).transaction_list
        small.say(RequestTransactionData(all_of_it.template_id))
        whole = small.next(RequestTransactionDataSuccess).transaction_list
        lacking = len(whole) - len(left)
        assert lacking > 0 and left == whole[:len(left)]
        assert new.coinbase_tx_value_remaining == all_of_it.coinbase_tx_value_remaining - 1000 * lacking
        assert new.template_id != all_of_it.template_id
        large.say(solve(new, prev))
        until(lambda: bool(stub.submitted))
        raw = stub.submitted[0]
        assert raw[80] == 1 + len(left) and raw.endswith(left[-1])
        wtxids = [bytes(32), *(dsha(each) for each in left)]
        assert dsha(merkle_root(wtxids) + bytes(32)) in raw, "the block commits to what is left"


def test_ten_that_are_none_end_the_client_and_no_node_hears_of_them(stub, provider, log_lines):  # noqa: F811
    with TemplateClient(port_of(provider)) as client:
        client.begin()
        new, prev = client.next(NewTemplate), client.next(SetNewPrevHash)
        client.say(*[solve(new, prev, is_good=False)] * 50)
        client.ends()
    log_lines.wait_for("10 solutions that are none")
    assert provider.counts().spoiled == 10 and stub.count("submitblock") == 0


def test_who_does_not_read_holds_nobody_up(stub, provider):
    """A client that asks for megabytes over and over and reads none of it; others get every tip meanwhile."""
    del stub.extra["weightlimit"]
    stub.add_transactions(*(make_transaction(number, filler=100_000) for number in range(100, 108)))
    with TemplateClient(port_of(provider)) as deaf, TemplateClient(port_of(provider, SPEC), SPEC) as client:
        deaf.begin()
        tip = stub.grow()
        while (prev := deaf.next(SetNewPrevHash)).prev_hash != tip:
            pass
        deaf.say(*[RequestTransactionData(prev.template_id)] * 4)
        client.begin()
        client.next(SetNewPrevHash)
        for _ in range(5):
            tip = stub.grow()
            while client.next(SetNewPrevHash).prev_hash != tip:
                pass
        new, prev = client.heard[-2:]
        client.say(solve(new, prev))
        until(lambda: bool(stub.submitted))


def test_clients_of_all_sizes_are_served_and_those_with_small_coinbases_first(stub, provider):
    with ExitStack() as stack:
        clients = []
        for number in range(12):
            clients.append(client := stack.enter_context(TemplateClient(port_of(provider))))
            client.begin(size=2000 - 150 * number)
            client.next(SetNewPrevHash)
        tip = stub.grow()
        for client in clients:
            while client.next(SetNewPrevHash).prev_hash != tip:
                pass
        with TemplateClient(port_of(provider)) as greedy:
            greedy.begin(size=30_000)
            greedy.ends()
            assert not any(isinstance(message, NewTemplate) for message in greedy.heard)
        assert provider.counts().clients == 12


def test_the_thirteenth_waits_for_a_place(stub, provider):
    with ExitStack() as stack:
        for _ in range(12):
            client = stack.enter_context(TemplateClient(port_of(provider)))
            client.begin()
            client.next(SetNewPrevHash)
        with TemplateClient(port_of(provider)) as one_more:
            one_more.begin()
            one_more.ends()
    until(lambda: provider.counts().clients == 0)
    with TemplateClient(port_of(provider)) as client:
        client.begin()
        client.next(SetNewPrevHash)


def test_while_the_node_is_away_nobody_is_closed_and_then_all_goes_on(stub, provider, log_lines):  # noqa: F811
    with TemplateClient(port_of(provider)) as client:
        client.begin()
        client.next(SetNewPrevHash)
        stub.stop()
        log_lines.wait_for("event=template.lost")
        client.say(RequestTransactionData(0))
        assert client.next(RequestTransactionDataError).template_id == 0
        stub.start()
        tip = stub.grow()
        while client.next(SetNewPrevHash).prev_hash != tip:
            pass


def test_a_reload_takes_rules_and_limits_and_drops_nobody(stub, tmp_path, log_lines):  # noqa: F811
    node = {"url": stub.url, "cookie_file": str(stub.cookie)}
    first = config_of(tmp_path, node)
    with providing(first, read=lambda: read_provider_config(tmp_path / "template-provider.toml", {})) as provider, (
            TemplateClient(port_of(provider))) as client:
        client.begin()
        client.next(SetNewPrevHash)
        write_provider_config(tmp_path, node, max_clients=1, fee_delta_sat=5, interval_s=1,
                              stratum={"sv2_listen": ["127.0.0.1:0"]})
        provider.service.reload()
        log_lines.wait_for("event=config.left key=stratum.sv2_spec_listen")
        log_lines.wait_for("event=reload.done changed=3 restart=1")
        with TemplateClient(port_of(provider)) as late:
            late.begin()
            late.ends()
        stub.grow()
        client.next(SetNewPrevHash)
        (tmp_path / "template-provider.toml").write_text("[provider]\nnetwork = 7\n")
        provider.service.reload()
        log_lines.wait_for("event=reload.refused")


def test_who_speaks_something_else_on_the_published_port_is_told_so_in_the_log(provider, log_lines):  # noqa: F811
    with socket.create_connection(("127.0.0.1", port_of(provider, SPEC))) as sock:
        sock.sendall(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
        assert sock.recv(100) == b""
    log_lines.wait_for("Stratum V1, which this port does not serve")


def test_a_block_that_no_node_took_before_a_kill_goes_out_at_the_next_start(stub, tmp_path):
    config = write_provider_config(tmp_path, {"url": stub.url, "cookie_file": str(stub.cookie)})
    stub.moods["submitblock"] = Mood.HANG
    with ProviderProcess(config) as process:
        with TemplateClient(process.ready()) as client:
            client.begin()
            client.say(solve(client.next(NewTemplate), client.next(SetNewPrevHash)))
            found = process.wait_for("block.found")
        process.kill()
    del stub.moods["submitblock"]
    assert stub.submitted == []
    with ProviderProcess(config) as process:
        process.wait_for("journal.replayed")
        assert process.wait_for("block.accepted")["hash"] == found["hash"]
        process.ready()
        process.terminate()
        assert process.wait() == 0
