"""Our template provider on a real bitcoind, and its clients: SRI's pool and job declarator client."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import bitcoind, spec, sri
from tests.peers.bitcoind import Bitcoind
from tests.peers.sri import SriJdClient, SriPool

pytestmark = pytest.mark.peer

BLOCKS = 4


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


@pytest.mark.parametrize("program", [SriPool, SriJdClient])
def test_sris_pool_and_job_declarator_client_take_our_templates(tmp_path: Path, program: type[SriPool]) -> None:
    """The provider's certificate is verified. Blocks with and without transactions."""
    sri.skip_unless_installed(program.NAME)
    spec.skip_unless_miner()
    with Bitcoind(tmp_path / "node") as node:
        node.generate(2)
        provided = spec.provider_config(tmp_path / "provider", node)
        with spec.ProviderProcess(provided.config) as provider:
            provider.ready()
            with program(tmp_path / "sri", provided.spec_port, sri.AUTHORITY) as pool:
                for kind in ("extended", "standard"):
                    check_mined(node, spec.mine(pool.port, BLOCKS // 2, kind, standard_jobs=kind == "standard"))
                    fill_mempool(node, 3)
            provider.terminate()
            assert provider.wait() == 0


def check_mined(node: Bitcoind, lines: list[list[str]]) -> None:
    chained = [display for display, in spec.said(lines, "chained")]
    assert len(chained) == BLOCKS // 2 and node.best == chained[-1]
    assert spec.said(lines, "refused") == []
