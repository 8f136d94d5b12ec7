"""The whole pool on a real bitcoind: `warppool run` as a process, machines on it, and the node as the judge.

What is waited for is an event or a state of the chain, never a time; deadlines are for a machine that does much else.
"""

from __future__ import annotations

import pytest

from tests.peers.bcoin_node import MATURE
from tests.peers.bitcoind import PRIVATE_SIGNET, Bitcoind, skip_unless_installed
from tests.peers.pools import accepted, by_hand, machine, mining, run_check, until, when_mined, write_config
from tests.service.process import PoolProcess
from warppool.bitcoin.hashes import from_display, to_display
from warppool.node.calls import METHODS

pytestmark = pytest.mark.peer

BLOCK_WEIGHT = 4_000_000
LONG_CHAIN = 2500       # blocks: a node that reindexes shows tips on the way


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()


# --- transactions -----------------------------------------------------------------------------------------------------

WALLET = ((3100, 10, 40), (300, 14, 30), (30, 12, 20), (3, 12, 10), (1, 20, 5))
"""Outputs, how many such transactions, sat for a vbyte: more than one block holds, and the small ones come last,
so that they fill what the large ones leave."""


def strangers(node: Bitcoind, count: int) -> list[str]:
    """Addresses that no wallet here knows."""
    key = ("tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUGLnL4qHHoQvao8ESaAstxYSnhyswJ76uZPStJRJCTKvos"
           "UCJZL5B")
    descriptor = node.call("getdescriptorinfo", f"wpkh({key}/0/*)")["descriptor"]
    return node.call("deriveaddresses", descriptor, [0, count - 1])


def test_a_full_block_of_wallet_transactions_with_the_smallest_reserve(tmp_path):
    """The node fills its template up to 2,000 units below the limit of a block, header and coinbase included."""
    room = ["-blockreservedweight=2000", f"-blockmaxweight={BLOCK_WEIGHT}", f"-blockmaxsize={BLOCK_WEIGHT}",
            "-blockprioritysize=0"]
    with Bitcoind(tmp_path / "node", *room) as node:
        node.call("createwallet", "w")
        node.generate(sum(times for _, times, _ in WALLET), node.call("getnewaddress", wallet="w"))
        node.generate(MATURE)
        outputs = [{address: 0.00002} for address in strangers(node, WALLET[0][0])]
        for count, times, fee_rate in WALLET:
            for _ in range(times):
                node.call("send", outputs[:count], None, "unset", fee_rate, wallet="w")
        with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
            block = miner.share(is_block=True)
            accepted(pool, block)
            found = node.call("getblock", to_display(block), 1)
            assert BLOCK_WEIGHT - 2000 - 800 < found["weight"] <= BLOCK_WEIGHT
            miner.until(lambda: miner.work.prev_hash == block)
            rest = miner.share(is_block=True)                   # what did not fit stands in the next
            accepted(pool, rest)
            assert node.call("getrawmempool") == [] and len(node.call("getblock", to_display(rest), 1)["tx"]) > 1
            assert not pool.events("node.lost") and not pool.events("node.missed")
            coinbase = node.call("getblock", to_display(rest), 2)["tx"][0]
            assert (coinbase["locktime"], coinbase["vin"][0]["sequence"]) == (node.height - 1, 0xFFFFFFFE)


# --- starts and ends of a node ----------------------------------------------------------------------------------------

def test_blocks_of_both_protocols_on_a_node_with_one_rpc_thread(tmp_path):
    """A block is handed in while the pool waits for the node's news, although the node serves one call at a time."""
    with Bitcoind(tmp_path / "node", "-rpcthreads=1") as node, PoolProcess(write_config(tmp_path, node)) as pool:
        with machine(pool) as first, by_hand(pool) as second:
            first.begin()
            for _ in range(3):
                share = first.mine_block()
                accepted(pool, share.hash)
                second.until(lambda: second.work.prev_hash == share.hash)       # noqa: B023 - called at once
                block = second.share(is_block=True)
                accepted(pool, block)
                first.await_tip(block)
            (theirs,) = node.generate(1)
            first.await_tip(from_display(theirs))
        assert not pool.events("block.delayed") and not pool.events("node.lost")


def test_the_node_starts_again_with_another_cookie(tmp_path):
    with Bitcoind(tmp_path / "node") as node:
        node.generate(1)
        with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
            for _ in range(2):
                cookie = node.login()
                node.restart()
                assert node.login() != cookie
                block = miner.share(is_block=True)
                accepted(pool, block)
                miner.until(lambda: miner.work.prev_hash == block)              # noqa: B023 - called at once
                (theirs,) = node.generate(1)
                miner.until(lambda: miner.work.prev_hash == from_display(theirs))   # noqa: B023 - called at once
            assert not pool.events("block.refused")


def test_a_pool_that_starts_while_the_node_still_loads(tmp_path):
    """The node answers -28 until its chain is verified; the pool waits, and gives work once it is there."""
    node = Bitcoind(tmp_path / "node")
    with node:
        node.generate(600)
    node.start("-checkblocks=0", "-checklevel=4", is_awaited=False)
    with node, PoolProcess(write_config(tmp_path, node)) as pool:
        with by_hand(pool) as miner:
            assert miner.work.prev_hash == from_display(node.best)
            accepted(pool, miner.share(is_block=True))
        assert pool.events("service.ready")[0]["height"] == "601"


def test_a_node_that_is_killed_at_a_block_gets_its_blocks_again(tmp_path):
    """It falls back to what it had written, and the journal has what it lost."""
    with Bitcoind(tmp_path / "node") as node, PoolProcess(write_config(tmp_path, node)) as pool:
        with by_hand(pool) as miner:
            blocks = []
            for _ in range(12):
                blocks.append(miner.share(is_block=True))
                miner.until(lambda: miner.work.prev_hash == blocks[-1])
            node.kill()
            node.start()
            fell_to = node.height
            assert fell_to < 12, "nothing was lost: no test"
        until(lambda: node.height >= 12 and node.best == to_display(blocks[-1]), pool)
        assert [node.call("getblockhash", height) for height in range(1, 13)] == [*map(to_display, blocks)]
        assert not pool.events("block.refused")


def test_a_block_found_in_the_moment_of_the_kill_is_not_lost(tmp_path):
    with (Bitcoind(tmp_path / "node") as node, PoolProcess(write_config(tmp_path, node)) as pool,
          by_hand(pool) as miner):
        first = miner.share(is_block=True)
        miner.until(lambda: miner.work.prev_hash == first)
        node.kill()
        second = miner.share(is_block=True)
        node.start()
        until(lambda: node.best == to_display(second), pool)
        accepted(pool, second)


def test_a_node_that_reindexes_is_followed_to_its_tip_again(tmp_path):
    with Bitcoind(tmp_path / "node") as node:
        node.generate(LONG_CHAIN)
        tip = from_display(node.best)
        with PoolProcess(write_config(tmp_path, node)) as pool:
            with by_hand(pool) as miner:
                assert miner.work.prev_hash == tip
            node.restart("-reindex")
            until(lambda: node.height == LONG_CHAIN, pool)
            with when_mined(pool) as miner:
                miner.until(lambda: miner.work.prev_hash == tip)
                block = miner.share(is_block=True)
                accepted(pool, block)
                assert node.height == LONG_CHAIN + 1 and node.best == to_display(block)
            heights = [int(fields["height"]) for fields in pool.events("tip.moved") if "height" in fields]
            assert not [height for height in heights if height <= LONG_CHAIN], "a tip below the mark was mined"


def test_machines_are_sent_away_when_the_only_node_stops_answering_and_get_work_when_it_is_back(tmp_path):
    """SIGSTOP: what the node gave last is dead work after a while, and a machine's own fail-over is better."""
    with Bitcoind(tmp_path / "node") as node, PoolProcess(write_config(tmp_path, node, work_max_age_s=6)) as pool:
        with by_hand(pool) as miner, machine(pool) as other:
            other.begin()
            node.pause()
            for each in (miner, other):
                with pytest.raises(AssertionError, match="the pool closed the connection"):
                    each.until(lambda: False)
        with pytest.raises((AssertionError, OSError)), machine(pool) as late:       # the port stays open
            late.begin()
        node.resume()
        with when_mined(pool) as miner:
            accepted(pool, miner.share(is_block=True))


# --- rights -----------------------------------------------------------------------------------------------------------

def test_a_whitelist_of_the_calls_that_are_listed_is_enough(tmp_path):
    with Bitcoind(tmp_path / "node", f"-rpcwhitelist=pool:{','.join(METHODS)}", user="pool", password="word") as node:
        config = write_config(tmp_path, node)
        status, lines = run_check(config)
        assert status == 0 and not [line for line in lines if line.startswith("error")], lines
        with PoolProcess(config) as pool, by_hand(pool) as miner:
            for _ in range(3):
                block = miner.share(is_block=True)
                accepted(pool, block)
                miner.until(lambda: miner.work.prev_hash == block)              # noqa: B023 - called at once
            assert not [line for line in pool.lines if "HTTP 403" in line or "rpcwhitelist" in line]


@pytest.mark.parametrize("missing", ["submitblock", "getblocktemplate", "getblockchaininfo"])
def test_check_names_the_call_that_a_whitelist_lacks(tmp_path, missing):
    allowed = ",".join(method for method in METHODS if method != missing)
    with Bitcoind(tmp_path / "node", f"-rpcwhitelist=pool:{allowed}", user="pool", password="word") as node:
        status, lines = run_check(write_config(tmp_path, node))
    assert status == 1
    (error,) = [line for line in lines if line.startswith("error node")]
    assert missing in error and "rpcwhitelist" in error and "rpcallowip" in error


@pytest.mark.parametrize("missing", ["getblockheader", "getblockcount"])
def test_a_block_gets_its_verdict_without_a_call_that_looks_for_it(tmp_path, missing):
    allowed = ",".join(["getbestblockhash", *(method for method in METHODS if method != missing)])
    with (Bitcoind(tmp_path / "node", f"-rpcwhitelist=pool:{allowed}", user="pool", password="word") as node,
          PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner):
        block = miner.share(is_block=True)
        until(lambda: node.best == to_display(block), pool)
        until(lambda: pool.events("block.accepted") or [line for line in pool.lines if missing in line], pool,
              patience_s=90)                            # the log speaks once a minute
        assert not pool.events("block.refused")


# --- networks ---------------------------------------------------------------------------------------------------------

def test_a_signet_that_wants_signatures_is_refused_by_name(tmp_path):
    challenge = "5121" + "02" * 33 + "51ae"
    with Bitcoind(tmp_path / "node", f"-signetchallenge={challenge}", network="signet") as node:
        config = write_config(tmp_path, node)
        status, lines = run_check(config)
        assert status == 1 and any("signet_challenge" in line and challenge in line for line in lines), lines
        with PoolProcess(config) as pool:
            assert "signet_challenge" in pool.wait_for("node.lost")["reason"]


def test_a_private_signet_is_mined_from_its_first_block(tmp_path):
    """`initialblockdownload` is true there until the first block; difficulty 0.00113, by a processor."""
    with Bitcoind(tmp_path / "node", PRIVATE_SIGNET, network="signet") as node:
        assert node.call("getblockchaininfo")["initialblockdownload"]
        config = write_config(tmp_path, node, difficulty={"start": 1e-5, "min": 1e-6})
        with PoolProcess(config) as pool, mining(pool):
            until(lambda: node.height >= 1, pool, patience_s=600)
            pool.wait_for("block.accepted")
        assert not pool.events("block.refused")


def test_an_empty_testnet4_gives_work(tmp_path):
    """Nobody is there to download from: the node gives templates, and that is what counts."""
    with Bitcoind(tmp_path / "node", network="testnet4") as node:
        assert node.call("getblockchaininfo")["initialblockdownload"]
        config = write_config(tmp_path, node, difficulty={"start": 1e-5, "min": 1e-6})
        status, lines = run_check(config)
        assert status == 0, lines
        with PoolProcess(config) as pool, by_hand(pool) as miner:
            assert miner.work.prev_hash == from_display(node.best)
            assert miner.work.nbits == 0x1D00FFFF
            miner.share()
