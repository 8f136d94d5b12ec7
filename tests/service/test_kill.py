"""`kill -9` under load, twenty times: what was acknowledged is in the books, and what was found is on the chain.

The daemons are processes of their own; the load hashes for itself what it submits, so that it can be compared with the
books byte for byte. All dice are seeded; when a blow falls within the daemon's work is up to the machine.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.node.stub import HARD_NBITS, StubNode
from tests.service.load import Load, LoadMiner
from tests.service.process import PoolProcess, write_config
from warppool.ledger.opening import open_reader
from warppool.node.kernel import Kernel
from warppool.noise.primitives import public_key

SECRET = bytes(range(1, 33))
KILLS = 10                          # of each kind of load
MOMENTS_S = (0.05, 0.8)             # after the load began
AFTER_SUBMIT_S = (0.0, 0.006)       # and after the last shares went out: before, in or after their commit
MINERS = 4


@pytest.fixture
def load() -> Iterator[Load]:
    load = Load()
    yield load
    load.close()


def connect(load: Load, port: int, turn: int, in_flight: int) -> None:
    """Miners of both kinds, each with shares in flight."""
    load.connect(LoadMiner(port, public_key(SECRET), f"load{number}.turn{turn}", ("standard", "extended")[number % 2],
                           in_flight, os.urandom(32)) for number in range(MINERS))


def kill_under_load(pool: PoolProcess, load: Load, dice: random.Random, is_enough: Callable[[], bool]) -> None:
    """Let the load begin, and strike at a moment of the dice after `is_enough`."""
    load.begin()
    load.go_on_until(is_enough)
    load.go_on(dice.uniform(*MOMENTS_S))
    assert not load.is_over and load.in_flight
    pool.outlive(dice.uniform(*AFTER_SUBMIT_S))
    pool.kill()
    load.end()


def check_books(data_dir: Path, load: Load) -> None:
    """Every acknowledged share is there once, none that was refused, and none that nobody sent."""
    with open_reader("sqlite:///shares.db", data_dir) as reader:
        times = Counter(share.hash for share in reader.shares())
    assert len(set(load.accepted)) == len(load.accepted)
    assert [each.hex() for each in load.accepted if times[each] != 1] == []
    assert [each.hex() for each in times if times[each] != 1] == []
    assert not times.keys() & load.refused.keys()
    assert times.keys() <= {*load.accepted, *load.lost}


def test_every_acknowledged_share_is_in_the_books(tmp_path: Path, load: Load) -> None:
    dice = random.Random(3)
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"},
                              difficulty={"start": 1e-10, "min": 1e-10, "max": 1e-10})
        for turn in range(KILLS):
            with PoolProcess(config) as pool:
                port = pool.ready()
                check_books(tmp_path / "data", load)                # after the kill before
                connect(load, port, turn, in_flight=32)
                kill_under_load(pool, load, dice, lambda: sum(load.answers()) >= 200)
        with PoolProcess(config) as pool:
            pool.ready()
            check_books(tmp_path / "data", load)
            pool.terminate()
            assert pool.wait() == 0
    check_books(tmp_path / "data", load)
    assert load.codes().keys() == {"invalid-share"}
    assert len(load.accepted) > 1000 and load.lost
    assert not load.blocks and not stub.submitted


def test_every_block_found_is_known_to_the_chain(tmp_path: Path, load: Load) -> None:
    pytest.importorskip("pbk")
    dice = random.Random(4)
    config = write_config(tmp_path, secret=SECRET, node={"source": "regtest"})
    found: set[str] = set()             # display hashes
    told: set[str] = set()
    for turn in range(KILLS):
        pools: list[PoolProcess] = []
        with PoolProcess(config) as pool:
            connect(load, pool.ready(), turn, in_flight=8)
            kill_under_load(pool, load, dice, lambda: len(pool.events("block.found")) >= 12)
        pools.append(pool)
        if turn % 2:                    # once more, while it still hands the journal to the chain
            pools.append(kill_at_start(config, dice))
        with PoolProcess(config) as pool:
            pool.ready()
            check_books(tmp_path / "data", load)
            pool.terminate()
            assert pool.wait() == 0
        pools.append(pool)
        for each in pools:
            found.update(line["hash"] for line in each.events("block.found"))
            told.update(line["hash"] for name in ("block.accepted", "block.side") for line in each.events(name))
            assert not each.events("block.refused") and not each.events("journal.damaged")
        check_chain(tmp_path / "data" / "regtest", found, load)
        assert found <= told            # and the operator was told what became of each
    assert load.codes().keys() <= {"invalid-share", "stale-share"}
    assert len(found) > 100 and len(load.accepted) > 100 and load.lost


def kill_at_start(config: Path, dice: random.Random) -> PoolProcess:
    """A daemon that is killed within moments of taking the data directory."""
    with PoolProcess(config) as pool:
        pool.wait_for("daemon.started")
        pool.outlive(dice.uniform(0.0, 0.3))
        pool.kill()
    return pool


def check_chain(directory: Path, found: set[str], load: Load) -> None:
    """The chain on the disk knows every block that was found and every one whose share was acknowledged."""
    kernel = Kernel(directory)
    kernel.open()
    try:
        wanted = {bytes.fromhex(each)[::-1] for each in found} | set(load.accepted)
        missing = [each[::-1].hex() for each in wanted if not kernel.knows(each)]
        assert missing == []
        assert kernel.tip().height > 0
    finally:
        kernel.close()
