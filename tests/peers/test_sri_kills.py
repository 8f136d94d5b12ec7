"""Kill -9 of our programs and SRI's, one at a time, in random order, at a block each time.

What may be lost is a block that only a program of SRI's had, and one that a program of ours had not read, or not
judged, when it was killed: its machine was told nothing. `pytest -s` shows how many of which.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.peers import bitcoind, spec, sri
from tests.peers.bitcoind import Bitcoind
from tests.peers.sri_farm import PATHS, Farm, Sent
from tests.peers.test_sri_translator import acknowledged

pytestmark = pytest.mark.peer

KILLS = 20
SEED = 10
AFTER_SUBMIT_S = (0.0, 0.001, 0.005, 0.02)      # before, in or after what is done with the block


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    bitcoind.skip_unless_installed()
    sri.skip_unless_installed(sri.POOL, sri.TRANSLATOR, sri.JD_CLIENT)


def test_twenty_kills_lose_no_acknowledged_share_and_no_block_of_ours(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    with Bitcoind(tmp_path / "node") as node:
        node.generate(2)
        with Farm(tmp_path, node) as farm:
            for path in PATHS:
                farm.mine(path)
            for _ in range(KILLS):
                kill_one(farm, dice)
            farm.ours["pool"].now.terminate()
            assert farm.ours["pool"].now.wait() == 0
            check(farm)


def kill_one(farm: Farm, dice: random.Random) -> None:
    """A machine submits a block, and something on its way to the node dies; then every way through it works again."""
    path = dice.choice(list(PATHS))
    victim = dice.choice(PATHS[path])
    finder = farm.machine(path)
    try:
        display = finder.send_block()
        time.sleep(dice.choice(AFTER_SUBMIT_S))
        farm.kill(victim)
        farm.sent.append(Sent(path, victim, display, finder.hear()))
    finally:
        finder.close()
    farm.revive(victim)
    for each, passed in PATHS.items():
        if victim in passed:
            farm.mine(each)


def check(farm: Farm) -> None:
    lost = [sent for sent in farm.sent if not farm.knows(sent.display)]
    heard = sum(sent.is_acknowledged for sent in farm.sent)
    print(f"blocks: {len(farm.sent)} sent, {heard} acknowledged, {len(lost)} lost")
    for (path, victim), count in Counter((sent.path, sent.victim or "nothing") for sent in lost).items():
        print(f"lost: {count} by way of {path}, at a kill of {victim}")
    said = {fields["hash"] for name in ("pool", "provider") for fields in farm.ours[name].events("block.found")}
    assert len(said) > len(lost)
    assert [sent for sent in lost if sent.display in said] == []
    assert [sent for sent in lost if sent.is_acknowledged and sent.path == "pool"] == []
    assert [sent for sent in lost if sent.is_acknowledged and sent.victim == "translator"] == []
    books = spec.booked(farm.served.config)
    assert max(books.values()) == 1
    booked = {display for _, display in books}
    assert {sent.display for sent in farm.sent if sent.is_acknowledged and sent.path == "pool"} <= booked
    by_translator = [worker for worker, _ in books if worker.startswith("farm")]
    assert len(by_translator) >= acknowledged(farm.sris["sri-translator"])
