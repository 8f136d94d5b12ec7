"""How long things take in a running pool: each is counted where it happens."""

from __future__ import annotations

from pathlib import Path

from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import until
from tests.service.livepool import LivePool, running, v1_config


def test_a_tip_a_share_and_a_commit_are_each_in_their_histogram(tmp_path: Path) -> None:
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        pool = LivePool(v1_config(tmp_path, stub, start=1e-8, min=1e-8, max=1e-8), stub)
        with running(pool), pool.machine(worker="alice.rig1") as machine:
            machine.begin()
            assert machine.submit(machine.find()) == [None]
            stub.grow()
            latest = pool.daemon.numbers.latest
            until(lambda: min(latest().tip_to_notify.count, latest().share_to_answer.count, latest().commit.count) > 0)
            assert latest().share_to_answer.total >= latest().commit.total > 0
