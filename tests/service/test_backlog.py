"""SIGTERM with a thousand blocks in the journal and a node that does not answer, as a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.chainblocks import mine, raw
from tests.node.stub import HARD_NBITS, Mood, StubNode
from tests.service.process import PoolProcess, write_config
from warppool.node.journal import Entry, Journal
from warppool.node.kernel import ChainTip
from warppool.node.regtest import make_template

SECRET = bytes(range(1, 33))
BLOCKS = 1000


def fill_journal(directory: Path) -> list[bytes]:
    """Blocks of many heights that nobody knows; their hashes."""
    journal = Journal(directory)
    journal.load()
    hashes = []
    for height in range(1, BLOCKS + 1):
        block = mine(make_template(1, ChainTip(height - 1, height.to_bytes(32, "big"), 0x207FFFFF, 0), 1_700_000_000,
                                   "node-0"))
        journal.write(Entry(block.block_hash, height, "alice", 1_700_000_000.0 + height, 1, True, raw(block)))
        hashes.append(block.block_hash)
    return hashes


@pytest.mark.parametrize("mood", [Mood.HANG, Mood.CLOSE, Mood.BUSY])
def test_a_stop_takes_five_seconds_whatever_waits_for_a_dead_node(tmp_path: Path, mood: Mood) -> None:
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        stub.moods["submitblock"] = mood
        stub.moods["getblockheader"] = mood
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"})
        hashes = fill_journal(tmp_path / "data" / "blocks")
        with PoolProcess(config) as pool:
            pool.ready()
            stub.wait_until(lambda: stub.count("submitblock") >= 1)
            pool.terminate()
            assert pool.wait() == 0             # within 5 s
    assert pool.events("journal.replayed")[0]["blocks"] == str(BLOCKS)
    assert not pool.events("daemon.hanging") and not pool.events("thread.died")
    assert {entry.block_hash for entry in Journal(tmp_path / "data" / "blocks").load()} == set(hashes)
