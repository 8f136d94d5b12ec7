"""Found blocks and a real bitcoind: killed at a block, without books, without rights."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.peers.bitcoind import Bitcoind, RpcError, skip_unless_installed, until
from tests.peers.pools import by_hand, write_config
from tests.service.process import PoolProcess
from warppool.bitcoin.hashes import from_display, to_display
from warppool.ledger.opening import open_reader

pytestmark = pytest.mark.peer

KILLS = 9
AFTER_SUBMIT_S = (0.0, 0.02)        # before, in or after the node's check and the commit of the share
DEBUG = {"WARPPOOL__LOG__LEVEL": "debug"}


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()


def booked_blocks(data_dir: Path, hashes: list[bytes]) -> list[bytes]:
    with open_reader("sqlite:///shares.db", data_dir) as books:
        return [each for each in hashes if books.has_block(each)]


def booked_shares(data_dir: Path) -> Counter[bytes]:
    with open_reader("sqlite:///shares.db", data_dir) as books:
        return Counter(share.hash for share in books.shares())


def knows(node: Bitcoind, block_hash: bytes) -> bool:
    return isinstance(node.call("getblockheader", to_display(block_hash)), dict)


def raw_blocks(node: Bitcoind, hashes: list[bytes]) -> list[str]:
    """Those of the blocks that the node has."""
    raw: list[str] = []
    for each in hashes:
        with suppress(RpcError):
            raw.append(node.call("getblock", to_display(each), 0))
    return raw


def stop(pool: PoolProcess) -> None:
    pool.terminate()
    assert pool.wait() == 0


def test_a_start_after_the_books_were_lost_finds_our_blocks(tmp_path: Path) -> None:
    """Journal and ledger are gone, the chain is not. Blocks of others stand between ours."""
    data = tmp_path / "data"
    with Bitcoind(tmp_path / "node") as node:
        node.generate(2)
        config = write_config(tmp_path, node)
        ours: list[bytes] = []
        with PoolProcess(config) as pool, by_hand(pool) as miner:
            for _ in range(3):
                ours.append(block := miner.share(is_block=True))
                miner.until(lambda: miner.work.prev_hash == block)
                (theirs,) = node.generate(1)
                miner.until(lambda: miner.work.prev_hash == from_display(theirs))   # noqa: B023 - called at once
            pool.kill()
        for path in data.glob("shares.db*"):
            path.unlink()
        shutil.rmtree(data / "blocks")
        with PoolProcess(config, **DEBUG) as pool:
            fields = pool.wait_for("missing.searched")
            assert fields["found"] == "3"
            until(lambda: booked_blocks(data, ours) == ours)
            stop(pool)
        assert {fields["hash"] for fields in pool.events("block.recovered")} == set(map(to_display, ours))
        with PoolProcess(config, **DEBUG) as pool:                              # once found, they are in the books
            assert pool.wait_for("missing.searched")["found"] == "0"
            stop(pool)
        assert node.best != to_display(ours[-1]) and all(knows(node, each) for each in ours)


def test_a_kill_at_a_block_loses_no_acknowledged_share_and_no_block_that_was_said(tmp_path: Path) -> None:
    """Every third time the node dies with the pool, and forgets all since it last wrote its state.

    A kill may come when the node has a block and the journal not yet: nobody was told of it, but what comes next stands
    on it. A network would have it by then. Here the test brings it to the node again.
    """
    dice, data = random.Random(8), tmp_path / "data"
    network: list[str] = []             # such blocks, raw
    sent: list[bytes] = []
    acknowledged: list[bytes] = []
    with Bitcoind(tmp_path / "node") as node:
        node.generate(2)
        config = write_config(tmp_path, node)
        for turn in range(KILLS):
            if turn % 3 == 0:
                node.restart()              # it writes its state: what is buried deeper is no longer our business
            with PoolProcess(config) as pool, by_hand(pool) as miner:
                sent.append(miner.send_share(is_block=True))
                pool.outlive(dice.uniform(*AFTER_SUBMIT_S))
                pool.kill()
                miner.hear_the_rest()
                assert miner.refused == []
                acknowledged += sent[-1:] * miner.accepted
            if turn % 3 == 2:
                network += raw_blocks(node, [each for each in sent if each not in acknowledged])
                node.kill()
                node.start()
            said = [from_display(fields["hash"]) for fields in pool.events("block.found")]
            with PoolProcess(config) as pool, by_hand(pool) as miner:
                lacking = [each for each in said if not knows_eventually(node, each, network)]
                assert not lacking, explain(node, pool, data, lacking)
                # The node may still be getting back what it lost: no share on a tip that is two tips old by now.
                miner.until(lambda: to_display(miner.work.prev_hash) == node.best)
                acknowledged.append(miner.share(is_block=True))             # and the pool works
                # While it runs: a stop gives each block one try, and leaves what has to wait to the next start.
                lacking = [each for each in acknowledged if not knows_eventually(node, each, network)]
                assert not lacking, explain(node, pool, data, lacking)
                stop(pool)
            assert booked_blocks(data, said) == said
        assert all(knows(node, each) for each in acknowledged)
    shares = booked_shares(data)
    assert [each.hex() for each in acknowledged if shares[each] != 1] == []
    assert max(shares.values()) == 1
    assert booked_blocks(data, acknowledged) == acknowledged
    assert shares.keys() <= {*sent, *acknowledged}


def explain(node: Bitcoind, pool: PoolProcess, data: Path, lacking: list[bytes]) -> str:
    """What can be seen from outside of blocks that the node should have."""
    journal = sorted(path.name for path in (data / "blocks").iterdir())
    return "\n".join(["the node lacks", *map(to_display, lacking), f"its best is {node.best}; the journal has",
                      *journal, "the pool says", *pool.lines])


def knows_eventually(node: Bitcoind, block_hash: bytes, network: list[str]) -> bool:
    """True once the node knows the block; False if it does not within its time. It gets what `network` has, too."""
    def look() -> bool:
        try:
            for raw in network:
                node.call("submitblock", raw)
            return knows(node, block_hash)
        except (RpcError, OSError):
            return False

    try:
        return bool(until(look))
    except AssertionError:
        return False


@pytest.mark.parametrize("calls", [
    "getblockchaininfo,getblocktemplate,submitblock,getblockhash",
    "getblockchaininfo,getblocktemplate,submitblock,getblockheader",
])
def test_a_node_that_lets_us_make_few_calls_still_gives_verdicts(tmp_path: Path, calls: str) -> None:
    login = {"user": "pool", "password": "a password"}
    with Bitcoind(tmp_path / "node", **login) as node:
        node.generate(2)
        node.restart(f"-rpcwhitelist=pool:{calls}")
        config = write_config(tmp_path, node)
        with PoolProcess(config) as pool, by_hand(pool) as miner:
            for _ in range(2):
                block = miner.share(is_block=True)
                pool.wait_for("block.accepted", lambda line: line["hash"] == to_display(block))  # noqa: B023
                miner.until(lambda: miner.work.prev_hash == block)              # noqa: B023 - called at once
            stop(pool)
        assert not pool.events("node.unseen")
