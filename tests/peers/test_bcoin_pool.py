"""The whole pool on bcoin: `warppool run` as a process, miners on it, and two judges of every block.

bcoin takes the blocks, and libbitcoinkernel, which is stricter, must agree with its whole chain.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.peers.bcoin_node import (
    MATURE,
    OP_TRUE_ADDRESS,
    BcoinNode,
    fill_mempool,
    judge_by_kernel,
    skip_unless_installed,
)
from tests.service.byhand import HandMiner
from tests.service.process import ADDRESS, PoolProcess
from warppool.addresses import PoolUrl
from warppool.bitcoin.hashes import from_display, to_display
from warppool.bitcoin.transaction import whole_transaction
from warppool.miner.cpu import CpuMiner
from warppool.node.rpc import REFRESH_S
from warppool.noise.primitives import public_key

pytestmark = pytest.mark.peer
pytest.importorskip("pbk", reason="libbitcoinkernel is not installed: pip install 'warppool[regtest]'")

SECRET = bytes(range(1, 33))
PATIENCE_S = 30.0
CHAINS, LINKS = 8, 3            # of transactions for one block
SPENDABLE = 30                  # coinbases that transactions may come from


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()


def write_config(folder: Path, *nodes: BcoinNode) -> Path:
    """A pool on these nodes; their keys stand in secrets.toml, in their order."""
    lines = ["[pool]", 'network = "regtest"', f'payout_address = "{ADDRESS}"', 'data_dir = "data"',
             "[stratum]", "listen = []", 'sv2_listen = ["127.0.0.1:0"]',
             "[difficulty]", "start = 1e-10", "min = 1e-10", "max = 1e-10", "[log]", 'level = "debug"']
    for node in nodes:
        lines += ["[[node]]", f'url = "http://{node.address}"', f'user = "{node.login.user}"']
    path = folder / "warppool.toml"
    path.write_text("\n".join(lines) + "\n")
    with open(os.open(folder / "secrets.toml", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(f'sv2_static_priv_key_hex = "{SECRET.hex()}"\n'
                   f"node_passwords = {json.dumps([node.login.password for node in nodes])}\n")
    return path


def by_hand(pool: PoolProcess) -> HandMiner:
    return HandMiner(pool.ready(), public_key(SECRET), kind="extended")


@contextmanager
def mining(port: int, *kinds: str) -> Iterator[None]:
    """CPU miners at work, one for each kind of channel."""
    miners = [CpuMiner(PoolUrl("127.0.0.1", port, public_key(SECRET)), f"alice.{kind}", kind) for kind in kinds]
    threads = [threading.Thread(target=miner.run) for miner in miners]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for miner in miners:
            miner.stop()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert [miner.tally.last_reject for miner in miners if miner.tally.last_reject not in ("", "stale-share")] == []


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def finders(pool: PoolProcess) -> dict[str, str]:
    """Who found each block that bcoin accepted, by display hash."""
    accepted = {fields["hash"] for fields in pool.events("block.accepted")}
    return {fields["hash"]: fields["user"] for fields in pool.events("block.found") if fields["hash"] in accepted}


def ids_of(raws: list[bytes]) -> list[str]:
    """The display txids of raw transactions, sorted."""
    return sorted(to_display(whole_transaction(raw).txid) for raw in raws)


def blocks_of(node: BcoinNode, first: int) -> list[dict[str, Any]]:
    """The chain from height `first` on, as bcoin describes it."""
    return [node.call("getblock", node.call("getblockhash", height), True)
            for height in range(first, node.call("getblockcount") + 1)]


def test_miners_on_both_kinds_of_channel_bring_transactions_into_the_chain(tmp_path):
    with BcoinNode() as node:
        node.call("generatetoaddress", MATURE + SPENDABLE, OP_TRUE_ADDRESS)
        sent = {"alice.extended": ids_of(fill_mempool(node, CHAINS, LINKS))}    # by the miner that may carry them
        with PoolProcess(write_config(tmp_path, node)) as pool:
            port = pool.ready()
            with mining(port, "extended"):
                until(lambda: node.call("getrawmempool") == [])
            sent["alice.standard"] = ids_of(fill_mempool(node, CHAINS, LINKS, first=1 + CHAINS))
            with mining(port, "standard"):
                until(lambda: node.call("getrawmempool") == [])
            with mining(port, "standard", "extended"):                          # both on one tip, one of them wins
                goal = node.call("getblockcount") + 5
                until(lambda: node.call("getblockcount") >= goal)
            until(lambda: len(finders(pool)) >= node.call("getblockcount") - MATURE - SPENDABLE)
            pool.terminate()
            assert pool.wait() == 0
        who = finders(pool)
        ours = blocks_of(node, MATURE + SPENDABLE + 1)
        assert len(ours) >= 7
        assert [block["hash"] for block in ours if block["hash"] not in who] == []
        for user, txids in sent.items():
            carried = [txid for block in ours if who[block["hash"]] == user for txid in block["tx"][1:]]
            assert sorted(carried) == txids
        assert max(len(block["tx"]) for block in ours) == 1 + CHAINS * LINKS
        assert not pool.events("block.refused") and not pool.events("node.lost")
        judge_by_kernel(node, tmp_path / "kernel")


def test_a_block_from_elsewhere_moves_the_miners_by_long_poll(tmp_path):
    with BcoinNode() as node:
        node.call("generatetoaddress", 30, OP_TRUE_ADDRESS)
        with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
            for _ in range(3):
                (theirs,) = node.call("generatetoaddress", 1, OP_TRUE_ADDRESS)
                miner.until(lambda: miner.work.prev_hash == from_display(theirs),   # noqa: B023 - called at once
                            patience_s=REFRESH_S / 2)                               # or the refresh would bring it
            block = miner.share(is_block=True)
            miner.until(lambda: miner.work.prev_hash == block)
            assert node.call("getbestblockhash") == to_display(block)
            assert not pool.events("node.lost")


def test_a_block_with_transactions_found_while_bcoin_is_down_arrives_when_it_is_back(tmp_path):
    with BcoinNode(prefix=tmp_path / "bcoin") as node:
        node.call("generatetoaddress", MATURE + SPENDABLE, OP_TRUE_ADDRESS)
        with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
            for turn, is_killed in enumerate((False, True)):
                sent = ids_of(fill_mempool(node, CHAINS, LINKS, first=1 + turn * CHAINS))
                before = miner.share(is_block=True)     # a new tip, so that bcoin makes its template anew
                miner.until(lambda: miner.work.prev_hash == before)     # noqa: B023 - called at once
                height = node.call("getblockcount")
                node.stop(kill=is_killed)
                block = miner.share(is_block=True)
                name = to_display(block)
                pool.wait_for("block.delayed", lambda fields, name=name: fields["hash"] == name)
                miner.share()
                node.start()
                assert node.call("getblockcount") == height
                miner.until(lambda: miner.work.prev_hash == block)      # noqa: B023 - called at once
                for each in (to_display(before), name):
                    pool.wait_for("block.accepted", lambda fields, each=each: fields["hash"] == each)
                assert node.call("getbestblockhash") == name
                *_, left, carried = (block["tx"][1:] for block in blocks_of(node, height))
                assert sorted(left + carried) == sent and carried
                miner.until(lambda: len(pool.events("node.back")) == turn + 1)  # noqa: B023 - called at once
                assert len(pool.events("node.lost")) == turn + 1
            pool.terminate()
            assert pool.wait() == 0
        assert len(pool.events("block.found")) == len(pool.events("block.accepted")) == 4
        judge_by_kernel(node, tmp_path / "kernel")


def test_blocks_go_to_two_nodes_and_the_second_gives_templates_when_the_first_is_lost(tmp_path):
    first = BcoinNode(tmp_path / "bcoin-0", "key of the first")
    second = BcoinNode(tmp_path / "bcoin-1", "key of the second")
    with first, second:
        first.call("generatetoaddress", 30, OP_TRUE_ADDRESS)
        for raw in first.blocks():
            assert second.call("submitblock", raw.hex()) is None
        second.stop()                                   # so that the first one answers first
        with PoolProcess(write_config(tmp_path, first, second)) as pool, by_hand(pool) as miner:

            def mine_block(*nodes: BcoinNode) -> str:
                block = miner.share(is_block=True)
                miner.until(lambda: miner.work.prev_hash == block)
                miner.until(lambda: all(node.call("getbestblockhash") == to_display(block) for node in nodes))
                return to_display(block)

            pool.wait_for("node.lost", lambda fields: fields["node"] == "node-1")
            second.start()
            pool.wait_for("node.back", lambda fields: fields["node"] == "node-1")
            mine_block(first, second)
            tip = mine_block(first, second)
            # Else the pool would go on with the template before, which is one block behind.
            pool.wait_for("template.received", lambda fields: (fields["node"], fields["prev_hash"]) == ("node-1", tip))
            first.stop(kill=True)
            pool.wait_for("template.source", lambda fields: fields["node"] == "node-1")
            mine_block(second)
            mine_block(second)
            first.start()
            miner.until(lambda: first.call("getbestblockhash") == second.call("getbestblockhash"))
            mine_block(first, second)
            # While both are there, either may have the next block first; then its tip has more work.
            assert pool.events("template.source")[0]["node"] == "node-0"
            assert not pool.events("template.lost") and not pool.events("block.refused")
            pool.terminate()
            assert pool.wait() == 0
        assert first.call("getblockcount") == 35
        judge_by_kernel(first, tmp_path / "kernel")
