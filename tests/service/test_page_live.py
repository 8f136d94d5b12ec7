"""The page of a daemon that runs: who mines is on it, whole where his page is asked for, and short in the list."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.node.stub import HARD_NBITS, StubNode
from tests.page.reading import Reading
from tests.patience import until
from tests.service.livepool import LivePool, running, v1_config
from tests.web.asking import get
from warppool.addresses import Address

NAME = "somebody-with-a-long-name.rig1"
PLACE = f"/user/somebody-with-a-long-name/{NAME}"
EASY = {"start": 1e-8, "min": 1e-8, "max": 1e-8}


def _page(address: tuple[str, int], path: str, words: str) -> str:
    """The text of a page, as soon as it has these words; asked for so seldom that nobody is told to wait (429)."""
    seen = ""

    def has_words() -> bool:
        nonlocal seen
        time.sleep(0.2)
        seen = Reading(get(address, path).body).text
        return words in seen

    until(has_words)
    return seen


def test_who_mines_is_on_the_page(tmp_path):
    pytest.importorskip("waitress")
    pytest.importorskip("prometheus_client")
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        config = v1_config(tmp_path, stub, **EASY)
        config = replace(config, web=replace(config.web, listen=(Address("127.0.0.1", 0),)))
        pool = LivePool(config, stub)
        address = ("127.0.0.1", pool.daemon.web[0].ports[0])

        with running(pool):
            _page(address, "/", "no machine is connected")
            with pool.machine(worker=NAME).begin() as machine:
                assert machine.submit(machine.find()) == [None]
                _page(address, PLACE, "Mining.")
                first = _page(address, "/", "Working. 1 machine mines")
                assert "somebody…name.rig1" in first and NAME not in first
                assert f"stratum+tcp://127.0.0.1:{pool.ports['sv1']}" in first
                assert str(config.pool.payout_address) in first
            _page(address, PLACE, "Away.")
