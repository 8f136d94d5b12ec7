"""What a running pool counts: how long things take, and what passes its doors, each where it happens."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import until
from tests.service.livepool import live
from warppool.service.connector import SV1_TLS


def test_a_tip_a_share_and_a_commit_are_in_their_histograms_and_each_peer_is_counted(tmp_path: Path) -> None:
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub, live(
            tmp_path, stub, start=1e-8, min=1e-8, max=1e-8) as pool, pool.machine(SV1_TLS) as machine:
        latest = pool.daemon.numbers.latest
        machine.begin()
        assert machine.submit(machine.find()) == [None]
        stub.grow()
        with socket.create_connection(("127.0.0.1", pool.ports[SV1_TLS])) as stranger:
            stranger.sendall(b"no TLS at all\n")
            until(lambda: dict(latest().traffic.dropped)["fault"])
        until(lambda: min(latest().tip_to_notify.count, latest().share_to_answer.count, latest().commit.count))
        assert latest().share_to_answer.total >= latest().commit.total > 0
        until(lambda: latest().traffic.handshakes == (("v1-tls", "done", 1), ("v1-tls", "failed", 1)))
        assert latest().traffic.shares == (("v1", 1, latest().pool.difficulty), ("v2", 0, 0.0))
        assert latest().nodes[0].requests.count > 0
