"""bitcoind as the tests start it: it ends and comes back, keeps company and parts from it, and tells its own errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.bitcoind import PRIVATE_SIGNET, Bitcoind, RpcError, is_same_tip, skip_unless_installed, until

pytestmark = pytest.mark.peer


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()


@pytest.fixture
def pair(tmp_path) -> Iterator[tuple[Bitcoind, Bitcoind]]:
    with Bitcoind(tmp_path / "first") as first, Bitcoind(tmp_path / "second") as second:
        first.connect(second)
        yield first, second


def test_the_longer_of_two_chains_wins_once_they_meet(pair):
    first, second = pair
    first.generate(2)
    until(lambda: is_same_tip(first, second))
    first.isolate()
    first.generate(1)
    second.generate(2)
    assert (first.height, second.height) == (3, 4)
    first.rejoin(second)
    until(lambda: is_same_tip(first, second))
    assert first.height == 4


def test_a_node_comes_back_after_each_kind_of_end(pair):
    first, _ = pair
    first.generate(1)
    tip, cookie = first.best, first.login()
    first.restart()
    assert first.best == tip and first.login() != cookie
    first.kill()
    first.start()
    first.pause()
    first.resume()
    assert first.call("getnetworkinfo")["connections"] == 0


def test_its_errors_are_told(pair):
    with pytest.raises(RpcError) as refused:
        pair[0].call("getblockhash", 1000)
    assert refused.value.code == -8
    with pytest.raises(RpcError) as refused:
        pair[0].call("getblockcount", login="nobody:nothing")
    assert refused.value.code == 401


def test_a_private_signet_is_mined_with_a_plain_processor(tmp_path):
    with Bitcoind(tmp_path / "node", PRIVATE_SIGNET, network="signet") as node:
        node.generate(1)
        info = node.call("getblockchaininfo")
    assert (info["chain"], info["blocks"], info["signet_challenge"]) == ("signet", 1, "51")
    assert 0.001 < info["difficulty"] < 0.0012
