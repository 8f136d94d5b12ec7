"""A disk whose fsync does not come back, under a whole daemon: the node has the block, its share is acknowledged.

The daemon is a process of its own. Its thread `journal` waits in each fsync until the test lets go, or for ever.
"""

from __future__ import annotations

from pathlib import Path

from tests.node.stub import EASY_NBITS, StubNode
from tests.service.byhand import HandMiner
from tests.service.process import PoolProcess, write_config
from warppool.ledger.opening import open_reader
from warppool.node.journal import Journal
from warppool.noise.primitives import public_key

SECRET = bytes(range(1, 33))

HANGING_DISK = """
import os, pathlib, threading, time
fsync = os.fsync

def slow(descriptor):
    if threading.current_thread().name == "journal":
        (pathlib.Path(__file__).parent / "hangs").touch()
        while not (pathlib.Path(__file__).parent / "released").exists():
            time.sleep(0.01)
    fsync(descriptor)

os.fsync = slow
"""


def test_a_disk_that_hangs_delays_no_node_no_share_and_no_stop(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "sitecustomize.py").write_text(HANGING_DISK)
    with StubNode(nbits=EASY_NBITS, cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"},
                              difficulty={"start": 1e-10, "min": 1e-10, "max": 1e-10})
        with PoolProcess(config, PYTHONPATH=str(disk)) as pool:
            blocks = []
            with HandMiner(pool.ready(), public_key(SECRET)) as miner:
                for _ in range(2):
                    blocks.append(block := miner.share(is_block=True))          # accepted, so it is in the books
                    pool.wait_for("block.found", lambda line: line["hash"] == block[::-1].hex())
                    pool.wait_for("block.accepted", lambda line: line["hash"] == block[::-1].hex())
                    miner.until(lambda: miner.work.prev_hash == block)
            assert (disk / "hangs").exists() and stub.chain[1:] == blocks
            pool.terminate()
            assert pool.wait() == 0             # within 5 s, though that thread cannot end
        assert pool.events("daemon.hanging")[0]["threads"] == "journal"
    with open_reader("sqlite:///shares.db", tmp_path / "data") as books:
        assert [share.hash for share in books.shares()] == blocks
        assert all(books.has_block(block) for block in blocks)
    assert blocks[0] in {entry.block_hash for entry in Journal(tmp_path / "data" / "blocks").load()}
