"""The choice of node and the calls that stand, on real bitcoinds: one that hangs, lags, has one thread, or steps back.
"""

from __future__ import annotations

import socket

import pytest

from tests.peers.bitcoind import Bitcoind, is_same_tip, skip_unless_installed
from tests.peers.pools import accepted, by_hand, ports, until, when_mined, write_config
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


def is_turned_away(pool: PoolProcess) -> bool:
    with socket.create_connection(("127.0.0.1", ports(pool)["sv1"]), timeout=30) as sock:
        try:
            return sock.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True


def test_a_node_without_company_is_left_for_the_one_that_moves_on(pair, tmp_path):
    first, second = pair
    with PoolProcess(write_config(tmp_path, first, second, behind_s=1)) as pool, by_hand(pool) as miner:
        assert pool.events("template.source")[0]["node"] == "node-0"
        first.isolate()
        (*_, top) = second.generate(3)
        miner.until(lambda: miner.work.prev_hash == from_display(top))
        assert pool.wait_for("node.lagging")["node"] == "node-0"
        first.rejoin(second)
        pool.wait_for("node.level")
        assert pool.events("template.source")[-1]["node"] == "node-1"     # it has to keep up for a while first


def test_the_pool_does_not_go_back_to_a_node_that_lags(pair, tmp_path):
    """From height 31 to 20 it went, when its node stopped and never came back."""
    first, second = pair
    second.isolate()
    (*_, top) = first.generate(21)
    with PoolProcess(write_config(tmp_path, first, second, work_max_age_s=15)) as pool:
        with by_hand(pool) as miner:
            miner.until(lambda: miner.work.prev_hash == from_display(top))
            first.stop()
            pool.wait_for("template.lost")
            miner.share()
            assert miner.work.prev_hash == from_display(top)
        missing = pool.wait_for("work.missing")
        assert "node-1: its tip is 21 blocks below" in missing["reason"]
        assert is_turned_away(pool)
        first.start()
        pool.wait_for("work.back")
        with when_mined(pool) as miner:
            assert miner.work.prev_hash == from_display(top)


def test_a_node_that_hangs_gives_way_and_its_time_is_not_ours(pair, tmp_path):
    first, second = pair
    with PoolProcess(write_config(tmp_path, first, second)) as pool, by_hand(pool) as miner:
        first.pause()
        try:
            (top,) = second.generate(1)
            miner.until(lambda: miner.work.prev_hash == from_display(top))
            block = miner.share(is_block=True)
            miner.until(lambda: miner.work.prev_hash == block)
        finally:
            first.resume()
        accepted(pool, block)
        until(lambda: first.best == second.best == to_display(block), pool)


def test_machines_are_sent_away_while_the_only_node_hangs(tmp_path):
    with Bitcoind(tmp_path / "node") as node:
        node.generate(5)
        with PoolProcess(write_config(tmp_path, node, work_max_age_s=5)) as pool:
            with by_hand(pool) as miner:
                miner.share()
            node.pause()
            try:
                pool.wait_for("work.missing")
                assert is_turned_away(pool)
            finally:
                node.resume()
            pool.wait_for("work.back")
            with when_mined(pool) as miner:
                block = miner.share(is_block=True)
                accepted(pool, block)


def test_a_node_with_one_rpc_thread_takes_blocks_while_we_wait_for_its_next_one(tmp_path):
    with Bitcoind(tmp_path / "node", "-rpcthreads=1") as node:
        node.generate(5)
        with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
            for _ in range(5):
                block = miner.share(is_block=True)
                miner.until(lambda: miner.work.prev_hash == block, patience_s=15)   # noqa: B023 - called at once
                accepted(pool, block)
            (top,) = node.generate(1)
            miner.until(lambda: miner.work.prev_hash == from_display(top))
        assert not pool.events("node.lost")


def test_many_starts_leave_the_node_its_threads(tmp_path):
    """Four threads, as older nodes have, and twelve starts with nobody to find a block."""
    with Bitcoind(tmp_path / "node", "-rpcthreads=4") as node:
        node.generate(5)
        config = write_config(tmp_path, node)
        for number in range(12):
            with PoolProcess(config) as pool:
                pool.ready()
                if number % 2:
                    pool.kill()
                else:
                    pool.terminate()
                    assert pool.wait() == 0
            assert node.height == 5                     # it answers everybody else


def test_a_deep_step_back_of_the_only_node_is_obeyed(tmp_path):
    with Bitcoind(tmp_path / "node") as node:
        (*_, old) = node.generate(9)
        deep = node.call("getblockhash", 3)
        with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
            miner.until(lambda: miner.work.prev_hash == from_display(old))
            node.call("invalidateblock", deep)
            wanted = node.best
            miner.until(lambda: miner.work.prev_hash == from_display(wanted))
            block = miner.share(is_block=True)
            accepted(pool, block)
            assert node.height == 3
