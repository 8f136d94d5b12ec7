"""Our template provider on a real bitcoind, and its clients: our pool, SRI's pool and job declarator client."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import bitcoind, spec, sri
from tests.peers.bitcoind import Bitcoind
from tests.peers.pools import by_hand, until
from tests.peers.sri import SriJdClient, SriPool
from tests.service.process import PoolProcess, ProviderProcess
from warppool.bitcoin.hashes import to_display

pytestmark = pytest.mark.peer

BLOCKS = 4
SENT = 3                # transactions, for one block


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    bitcoind.skip_unless_installed()


def fill_mempool(node: Bitcoind, transactions: int) -> None:
    """Transactions of the node's wallet, each of which spends what the one before leaves."""
    if "miner" not in node.call("listwallets"):
        node.call("createwallet", "miner")
        node.generate(101, node.call("getnewaddress", wallet="miner"))
    for _ in range(transactions):
        node.call("sendtoaddress", node.call("getnewaddress", wallet="miner"), 0.1, wallet="miner")


@pytest.mark.parametrize("profile", ["warp", "spec"])
def test_our_pool_mines_on_our_provider(tmp_path: Path, profile: str) -> None:
    """The pool has no other node. All blocks but the first have transactions."""
    with Bitcoind(tmp_path / "node") as node:
        fill_mempool(node, 0)
        provided = spec.provider_config(tmp_path / "provider", node)
        served = spec.pool_config(tmp_path / "pool", {"source": "tdp", "url": provided.url(profile)})
        with ProviderProcess(provided.config) as provider:
            provider.ready()
            with PoolProcess(served.config) as pool:
                pool.ready()
                with by_hand(pool) as miner:
                    for _ in range(BLOCKS):
                        miner.until(lambda: to_display(miner.work.prev_hash) == node.best)
                        fill_mempool(node, SENT)                    # they are in the template of the next tip
                        block = miner.share(is_block=True)
                        until(lambda: node.best == to_display(block), pool)     # noqa: B023 - called at once
                pool.terminate()
                assert pool.wait() == 0
            provider.terminate()
            assert provider.wait() == 0
        assert not pool.events("block.refused")
        assert carried(node) >= SENT * (BLOCKS - 1)


@pytest.mark.parametrize("program", [SriPool, SriJdClient])
def test_sris_pool_and_job_declarator_client_take_our_templates(tmp_path: Path, program: type[SriPool]) -> None:
    """The provider's certificate is verified. Blocks with and without transactions."""
    sri.skip_unless_installed(program.NAME)
    spec.skip_unless_miner()
    with Bitcoind(tmp_path / "node") as node:
        fill_mempool(node, SENT)
        provided = spec.provider_config(tmp_path / "provider", node)
        with ProviderProcess(provided.config) as provider:
            provider.ready()
            with program(tmp_path / "sri", provided.spec_port, sri.AUTHORITY) as pool:
                for kind in ("extended", "standard"):
                    check_mined(node, spec.mine(pool.port, BLOCKS // 2, kind, standard_jobs=kind == "standard"))
                    fill_mempool(node, SENT)
            provider.terminate()
            assert provider.wait() == 0
        assert carried(node) >= SENT


def carried(node: Bitcoind) -> int:
    """Transactions in the last blocks, besides coinbases."""
    hashes = [node.call("getblockhash", node.height - depth) for depth in range(BLOCKS)]
    return sum(len(node.call("getblock", each)["tx"]) - 1 for each in hashes)


def test_blocks_of_standard_channels_in_a_group_are_made_whole_again(tmp_path: Path) -> None:
    """SRI's pool hands them in with the template's outputs twice."""
    sri.skip_unless_installed(SriPool.NAME)
    spec.skip_unless_miner()
    with Bitcoind(tmp_path / "node") as node:
        node.generate(2)
        provided = spec.provider_config(tmp_path / "provider", node)
        with ProviderProcess(provided.config) as provider:
            provider.ready()
            with SriPool(tmp_path / "sri", provided.spec_port, sri.AUTHORITY) as pool:
                check_mined(node, spec.mine(pool.port, 2 * BLOCKS, "standard", standard_jobs=False), 2 * BLOCKS)
            assert provider.events("solution.refused") == []


def check_mined(node: Bitcoind, lines: list[list[str]], blocks: int = BLOCKS // 2) -> None:
    chained = [display for display, in spec.said(lines, "chained")]
    assert len(chained) == blocks and node.best == chained[-1]
    assert spec.said(lines, "refused") == []
