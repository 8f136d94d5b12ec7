"""The whole template provider in this process: clients over sockets, blocks on a chain."""

from __future__ import annotations

import pytest

from tests.node.stub import StubNode, make_transaction
from tests.service.livepool import until
from tests.service.templateclients import TemplateClient, config_of, port_of, providing
from tests.sv2.templatepairs import solve
from warppool.sv2.messages.template import (
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
)
from warppool.sv2.profile import SPEC, WARP

both = pytest.mark.parametrize("profile", [WARP, SPEC], ids=["warp", "spec"])


@both
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


def test_a_block_goes_to_the_node_with_its_transactions(tmp_path):
    with StubNode(cookie=tmp_path / "cookie") as stub:
        stub.add_transactions(*(make_transaction(number) for number in range(5)))
        config = config_of(tmp_path, {"url": stub.url, "cookie_file": str(tmp_path / "cookie")})
        with providing(config) as provider, TemplateClient(port_of(provider)) as client:
            client.begin()
            new, prev = client.next(NewTemplate), client.next(SetNewPrevHash)
            client.say(RequestTransactionData(new.template_id), RequestTransactionData(0))
            assert client.next(RequestTransactionDataError).error_code == "template-id-not-found"
            given = client.next(RequestTransactionDataSuccess)
            assert len(given.transaction_list) == 5
            client.say(solve(new, prev))
            until(lambda: bool(stub.submitted))
            assert all(raw in stub.submitted[0] for raw in given.transaction_list)
            assert client.next(SetNewPrevHash).prev_hash != prev.prev_hash
