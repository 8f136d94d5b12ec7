"""A pool whose V2 port serves templates too: to whom, what, and who stays when no node gives work."""

from __future__ import annotations

import pytest

from tests.net.conftest import log_lines  # noqa: F401
from tests.node.stub import Mood, StubNode, make_transaction
from tests.patience import until
from tests.service.livepool import LivePool, running
from tests.service.process import write_config, write_secrets
from tests.service.templateclients import AUTHORITY_SECRET, SECRET, TemplateClient
from tests.sv2.templatepairs import solve
from warppool.commands.democert import self_signed
from warppool.config.pool import read_config
from warppool.loop import Reconfigure
from warppool.net.joboffers import OUT_OF_WORK
from warppool.node.choice import Rules
from warppool.node.jobmaker import JobMakerSettings
from warppool.sv2.messages.common import SetupConnectionSuccess
from warppool.sv2.messages.template import (
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
)
from warppool.sv2.profile import SPEC, WARP


@pytest.fixture
def stub(tmp_path):
    with StubNode(cookie=tmp_path / "cookie") as running:
        yield running


def config_of(tmp_path, stub, **pool):
    path = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": str(stub.cookie)}, pool=pool,
                        stratum={"sv2_listen": ["127.0.0.1:0"], "listen": ["127.0.0.1:0"], "serve_templates": True})
    return read_config(path, {})


def test_a_template_client_gets_what_is_mined_and_its_block_goes_to_the_node(tmp_path, stub):
    stub.add_transactions(*(make_transaction(number) for number in range(3)))
    with running(LivePool(config_of(tmp_path, stub), stub)) as pool, TemplateClient(pool.ports["sv2"]) as client:
        client.begin()
        new, prev = client.next(NewTemplate), client.next(SetNewPrevHash)
        client.say(RequestTransactionData(new.template_id))
        assert len(client.next(RequestTransactionDataSuccess).transaction_list) == 3
        client.say(solve(new, prev))
        until(lambda: bool(stub.submitted))
        assert client.next(SetNewPrevHash).prev_hash != prev.prev_hash
        assert pool.booked() == [], "it is no machine of ours"


@pytest.mark.parametrize(("kind", "profile"), [("sv2-spec", SPEC), ("any", SPEC), ("any", WARP)],
                         ids=["spec", "any spec", "any warp"])
def test_every_port_of_v2_serves_them(tmp_path, stub, kind, profile):
    certificate, key = self_signed().write(tmp_path)
    path = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": str(stub.cookie)}, stratum={
        "sv2_listen": [], "sv2_spec_listen": ["127.0.0.1:0"], "any_listen": ["127.0.0.1:0"], "serve_templates": True,
        "tls_cert": str(certificate), "tls_key": str(key)})
    write_secrets(tmp_path, sv2_static_priv_key_hex=SECRET, sv2_spec_static_priv_key_hex=SECRET,
                  sv2_spec_authority_priv_key_hex=AUTHORITY_SECRET)
    with running(LivePool(read_config(path, {}), stub)) as pool, TemplateClient(pool.ports[kind], profile) as client:
        client.begin()
        new, prev = client.next(NewTemplate), client.next(SetNewPrevHash)
        client.say(solve(new, prev))
        until(lambda: bool(stub.submitted))
        assert client.next(SetNewPrevHash).prev_hash != prev.prev_hash


def test_machines_mine_on_the_same_port(tmp_path, stub):
    with running(LivePool(config_of(tmp_path, stub), stub)) as pool, TemplateClient(pool.ports["sv2"]) as machine:
        machine.begin(protocol=0)
        assert machine.next(SetupConnectionSuccess).flags == 0


def test_without_work_machines_go_and_template_clients_stay_and_come(tmp_path, stub, log_lines):  # noqa: F811
    with running(LivePool(config_of(tmp_path, stub), stub)) as pool, (
            TemplateClient(pool.ports["sv2"])) as client, TemplateClient(pool.ports["sv2"]) as machine:
        client.begin()
        machine.begin(protocol=0)
        client.next(SetNewPrevHash)
        machine.next(SetupConnectionSuccess)
        stub.mood = Mood.BUSY
        log_lines.wait_for("event=template.lost")
        settings = JobMakerSettings(Rules(work_max_age_s=1.0), pool.daemon.nodes.names, b"")
        pool.daemon.job_maker.put(Reconfigure(settings))
        machine.ends()
        log_lines.wait_for("event=work.missing")
        with TemplateClient(pool.ports["sv2"]) as late, TemplateClient(pool.ports["sv2"]) as miner:
            late.begin()
            assert late.next(SetupConnectionSuccess).flags == 0
            miner.begin(protocol=0)
            miner.ends()
            assert miner.heard == []
            assert len([line for line in log_lines.having("event=conn.closed") if OUT_OF_WORK in line]) >= 2
            client.say(RequestTransactionData(0))
            client.next(object)
            stub.mood = Mood.WELL
            stub.grow()
            client.next(SetNewPrevHash)
            late.next(SetNewPrevHash)
