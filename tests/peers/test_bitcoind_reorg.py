"""The pool on several real bitcoinds that keep company or lose it, and on one whose chain changes its mind."""

from __future__ import annotations

import pytest

from tests.peers.bitcoind import OP_TRUE_ADDRESSES, Bitcoind, is_same_tip, skip_unless_installed
from tests.peers.pools import FOREIGN, accepted, by_hand, until, write_config
from tests.service.process import PoolProcess
from warppool.bitcoin.hashes import from_display, to_display

pytestmark = pytest.mark.peer


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()


@pytest.fixture
def pair(tmp_path):
    """Two nodes that keep company, at height 10."""
    with Bitcoind(tmp_path / "first") as first, Bitcoind(tmp_path / "second") as second:
        first.connect(second)
        first.generate(10)
        until(lambda: is_same_tip(first, second))
        yield first, second


def test_blocks_reach_both_nodes_also_while_they_do_not_know_each_other(pair, tmp_path):
    first, second = pair
    with PoolProcess(write_config(tmp_path, first, second)) as pool, by_hand(pool) as miner:
        first.isolate()
        for _ in range(3):
            block = miner.share(is_block=True)
            miner.until(lambda: miner.work.prev_hash == block)                  # noqa: B023 - called at once
        until(lambda: first.best == second.best == to_display(block), pool)


def test_a_reorganisation_of_the_node_that_is_mined_is_obeyed(tmp_path):
    with Bitcoind(tmp_path / "node") as node:
        node.generate(5)
        with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
            for number in range(3):
                old = node.best
                node.call("invalidateblock", old)
                wanted = node.best
                miner.until(lambda: miner.work.prev_hash == from_display(wanted))       # noqa: B023 - called at once
                node.call("reconsiderblock", old)
                miner.until(lambda: miner.work.prev_hash == from_display(old))          # noqa: B023 - called at once
                (top,) = node.generate(1, (FOREIGN, OP_TRUE_ADDRESSES["regtest"])[number % 2])
                miner.until(lambda: miner.work.prev_hash == from_display(top))          # noqa: B023 - called at once
            block = miner.share(is_block=True)
            until(lambda: node.best == to_display(block), pool)


def test_a_longer_chain_replaces_blocks_of_ours_and_the_log_says_so(tmp_path):
    """The node was cut off from the world; its reorganisation is obeyed at once, though it goes three blocks deep."""
    with Bitcoind(tmp_path / "node") as node, Bitcoind(tmp_path / "far") as far:
        node.connect(far)
        node.generate(5)
        until(lambda: is_same_tip(node, far))
        node.isolate()
        with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
            blocks = []
            for _ in range(3):
                blocks.append(miner.share(is_block=True))
                accepted(pool, blocks[-1])
                miner.until(lambda: miner.work.prev_hash == blocks[-1])
            (*_, top) = far.generate(4, FOREIGN)
            node.rejoin(far)
            miner.until(lambda: miner.work.prev_hash == from_display(top))
            for block in blocks:
                until(lambda: [each for each in pool.events("block.side") if each["hash"] == to_display(block)],  # noqa: B023
                      pool)
            assert not pool.events("node.lost")


def mined_and_other(pool: PoolProcess, *nodes: Bitcoind) -> tuple[Bitcoind, Bitcoind]:
    """The node whose templates are mined now, and the other of two."""
    number = int(pool.events("template.source")[-1]["node"].removeprefix("node-"))
    return nodes[number], nodes[1 - number]


def test_the_tip_of_most_work_is_mined_whichever_node_has_it(pair, tmp_path):
    """The node that is mined is cut off; the other goes on with the chain of the world."""
    with PoolProcess(write_config(tmp_path, *pair)) as pool, by_hand(pool) as miner:
        first, second = mined_and_other(pool, *pair)
        first.isolate()
        (*_, far) = second.generate(3, FOREIGN)
        miner.until(lambda: miner.work.prev_hash == from_display(far))
        block = miner.share(is_block=True)
        until(lambda: second.best == to_display(block), pool)
        first.rejoin(second)
        until(lambda: is_same_tip(first, second), pool)
        miner.until(lambda: miner.work.prev_hash == from_display(second.best))


def test_a_stopped_node_is_left_for_another_and_taken_back(pair, tmp_path):
    """SIGSTOP: its port stays open, and nobody answers there."""
    with PoolProcess(write_config(tmp_path, *pair)) as pool, by_hand(pool) as miner:
        first, second = mined_and_other(pool, *pair)
        first.pause()
        (*_, top) = second.generate(2, FOREIGN)
        miner.until(lambda: miner.work.prev_hash == from_display(top))
        block = miner.share(is_block=True)
        until(lambda: second.best == to_display(block), pool)
        first.resume()
        until(lambda: is_same_tip(first, second), pool)
        miner.until(lambda: miner.work.prev_hash == block)
