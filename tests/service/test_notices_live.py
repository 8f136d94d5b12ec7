"""Notices of a pool that runs: a block is told, and a place that takes nothing costs neither a share nor the stop."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from pathlib import Path

from tests.node.stub import StubNode
from tests.patience import until
from tests.service.livepool import LivePool, running, v1_config
from warppool.config.faceoptions import NoticeConfig

EVENTS = ("block.found", "block.accepted")
EASY = {"start": 1e-8, "min": 1e-8, "max": 1e-8}        # one hash in 43 is a share


def pool_with(notice: NoticeConfig, folder: Path, stub: StubNode) -> LivePool:
    return LivePool(replace(v1_config(folder, stub, **EASY), notices=(notice,)), stub)


def has_looked(pool: LivePool) -> bool:
    """The notices have seen the pool as it was before the test does anything."""
    (thread,) = [each for each in pool.daemon.service.threads.watchdog.threads if each.name == "notices"]
    return thread._number is not None


def test_a_block_is_told_to_a_program(tmp_path):
    told = tmp_path / "told"
    told.touch()
    code = "import sys; text = sys.stdin.read(); open(sys.argv[1], 'a').write(text)"
    notice = NoticeConfig(name="program", events=EVENTS, command=(sys.executable, "-c", code, str(told)))
    with StubNode(cookie=tmp_path / "cookie") as stub, running(pool_with(notice, tmp_path, stub)) as pool:
        until(lambda: has_looked(pool))
        with pool.machine(worker="alice.<b>rig") as machine:
            block = machine.begin().mine_block()
        until(lambda: told.read_text().count("\n") == len(EVENTS))
    found, accepted = map(json.loads, told.read_text().splitlines())
    assert (found["event"], accepted["event"]) == EVENTS
    for document in (found, accepted):
        assert document["facts"] == {"height": 1, "hash": block.display, "found_by": "alice.<b>rig"}


def test_a_place_that_takes_nothing_holds_up_neither_shares_nor_the_stop(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server, StubNode(cookie=tmp_path / "cookie") as stub:
        notice = NoticeConfig(name="silent", events=EVENTS, url=f"http://127.0.0.1:{server.getsockname()[1]}/t0ken")
        with running(pool_with(notice, tmp_path, stub)) as pool:
            until(lambda: has_looked(pool))
            with pool.machine() as machine:
                machine.begin().mine_block()
                asked, _ = server.accept()          # the notice is on its way, and nobody answers
                before = len(pool.booked())
                machine.mine_block()
                until(lambda: len(pool.booked()) > before)
        with asked:
            assert not pool.daemon.service.is_hanging, "the stop has cut it"
