"""A miner on SRI's library crates, on our pool's port of the published profile, with a real bitcoind as its node."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import bitcoind, spec
from tests.peers.bitcoind import Bitcoind
from tests.service.process import PoolProcess

pytestmark = pytest.mark.peer


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    bitcoind.skip_unless_installed()
    spec.skip_unless_miner()


def test_ten_blocks_on_both_kinds_of_channel_alone_and_in_a_group(tmp_path: Path) -> None:
    with Bitcoind(tmp_path / "node") as node:
        node.generate(2)
        served = spec.pool_config(tmp_path, node)
        with PoolProcess(served.config) as pool:
            pool.ready()
            lines = [
                *spec.mine(served.spec_port, 2, "extended"),
                *spec.mine(served.spec_port, 2, "standard"),
                *spec.mine(served.spec_port, 2, "standard", standard_jobs=True),
                *spec.mine(served.spec_port, 4, "extended", "standard", "extended"),
            ]
            chained = [display for display, in spec.said(lines, "chained")]
            for display in chained:
                pool.wait_for("block.accepted", lambda fields, display=display: fields["hash"] == display)
            pool.terminate()
            assert pool.wait() == 0
        assert len(chained) == 10 and node.height == 12
        assert {node.call("getblockheader", display)["confirmations"] for display in chained} == set(range(1, 11))
        assert spec.said(lines, "refused") == []
        submitted = [display for event in ("share", "block") for *_, display in spec.said(lines, event)]
        assert len(submitted) == sum(int(count) for *_, count in spec.said(lines, "accepted")) > 10
        assert spec.booked(served.config) == {("sri.crates", display): 1 for display in submitted}
        check_groups(spec.said(lines, "opened"))


def check_groups(opened: list[list[str]]) -> None:
    """Who wants standard jobs is in no group; all channels of one size of extranonce are in the same one."""
    alone, grouped = opened[2:3], opened[3:]
    assert [group for _, group, _ in alone] == ["0"]
    groups = {kind: {group for _, group, of in grouped if of == kind} for kind in ("extended", "standard")}
    assert all(len(each) == 1 and each != {"0"} for each in groups.values())
