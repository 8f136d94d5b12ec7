"""The whole pool on btcd: `warppool run` as a process, miners on it, from the template to the accepted block."""

from __future__ import annotations

import threading

import pytest

from tests.node.outcomes import OutcomeQueue
from tests.peers.bcoin_node import MATURE, OP_TRUE_ADDRESS, spend
from tests.peers.btcd import Btcd, skip_unless_installed
from tests.peers.pools import PATIENCE_S, by_hand, machine, mining, run_check, until, write_config
from tests.service.process import PoolProcess
from warppool.addresses import NodeAddress
from warppool.bitcoin.hashes import double_sha256, from_display, to_display
from warppool.node.items import Outcome, SubmitBlock, Verdict
from warppool.node.jsonrpc import UserPassword
from warppool.node.rpc import REFRESH_S
from warppool.node.rpcsubmit import RpcSubmitter

pytestmark = pytest.mark.peer


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()


@pytest.fixture
def node(tmp_path):
    with Btcd(tmp_path / "btcd") as node:
        yield node


def outcome_of(node: Btcd, block: SubmitBlock) -> Outcome:
    """What a submitter says first of a block that is handed in."""
    outcomes = OutcomeQueue()
    submitter = RpcSubmitter(0, NodeAddress.parse(node.url), UserPassword(node.user, node.password), outcomes)
    thread = threading.Thread(target=submitter.run)
    thread.start()
    try:
        submitter.inbox.put(block)
        return outcomes.get(timeout=PATIENCE_S)
    finally:
        submitter.stop()
        thread.join(PATIENCE_S)


def test_check_takes_btcd(node, tmp_path):
    status, lines = run_check(write_config(tmp_path, node))
    assert status == 0, lines
    assert any("gives templates" in line for line in lines)


def test_blocks_of_both_protocols_from_the_template_to_the_chain(node, tmp_path):
    with PoolProcess(write_config(tmp_path, node)) as pool, machine(pool) as first, by_hand(pool) as second:
        first.begin()
        for _ in range(3):
            share = first.mine_block()
            second.until(lambda: second.work.prev_hash == share.hash)           # noqa: B023 - called at once
            block = second.share(is_block=True)
            second.until(lambda: second.work.prev_hash == block,                # noqa: B023 - called at once
                         patience_s=REFRESH_S / 2)                              # by long poll: the refresh comes later
            first.await_tip(block)
            assert node.best == to_display(block)
        names = [node.call("getblockhash", height) for height in range(1, 7)]
        for name in names:
            pool.wait_for("block.accepted", lambda fields, name=name: fields["hash"] == name)
        assert not pool.events("node.lost") and not pool.events("block.refused")
        block = node.call("getblock", names[3], 2)
        coinbase = (block.get("tx") or block["rawtx"])[0]
        assert (coinbase["locktime"], coinbase["vin"][0]["sequence"]) == (3, 0xFFFFFFFE)
        pool.terminate()
        assert pool.wait() == 0


def test_blocks_with_transactions_with_a_witness(tmp_path):
    """btcd gives a commitment only where a transaction has a witness; it takes blocks of both kinds."""
    with Btcd(tmp_path / "btcd", f"--miningaddr={OP_TRUE_ADDRESS}") as node:
        for _ in range(MATURE + 2):
            node.call("generate", 1)
        sent = []
        for height in (1, 2):
            coinbase = node.call("getblock", node.call("getblockhash", height), 1)["tx"][0]
            raw, _ = spend(from_display(coinbase), 50 * 10**8, 10_000)
            sent.append(node.call("sendrawtransaction", raw.hex()))
        with PoolProcess(write_config(tmp_path, node)) as pool:
            with mining(pool):
                until(lambda: node.call("getrawmempool") == [] and node.height > MATURE + 5, pool)
            pool.terminate()
            assert pool.wait() == 0
        assert not pool.events("block.refused") and len(pool.events("block.accepted")) >= 3
        first, second = (node.call("getblock", node.call("getblockhash", MATURE + 3 + number), 1)["tx"]
                         for number in (0, 1))
        assert sorted(first[1:]) == sorted(sent) and second[1:] == []


def test_a_block_that_btcd_has_already_is_accepted(node, tmp_path):
    with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
        block_hash = miner.share(is_block=True)
        name = to_display(block_hash)
        until(lambda: node.best == name, pool)
    raw = bytes.fromhex(node.call("getblock", name, 0))
    assert node.call("submitblock", raw.hex()) == f"rejected: already have block {name}"
    outcome = outcome_of(node, SubmitBlock(double_sha256(raw[:80]), 1, raw))
    assert (outcome.block_hash, outcome.verdict) == (from_display(name), Verdict.ACCEPTED)


def test_a_block_beside_the_chain_of_btcd_is_a_side_block(node, tmp_path):
    theirs = tmp_path / "other"
    with Btcd(theirs, f"--miningaddr={OP_TRUE_ADDRESS}") as other:
        longer = [other.call("getblock", other.call("generate", 1)[0], 0) for _ in range(3)]
    with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
        name = to_display(miner.share(is_block=True))
        pool.wait_for("block.accepted", lambda fields: fields["hash"] == name)
        stale = bytes.fromhex(node.call("getblock", name, 0))
    for raw in longer:
        assert node.call("submitblock", raw) is None
    assert outcome_of(node, SubmitBlock(double_sha256(stale[:80]), 1, stale)).verdict is Verdict.SIDE


def test_a_block_found_while_btcd_is_away_arrives_when_it_is_back(node, tmp_path):
    with PoolProcess(write_config(tmp_path, node)) as pool, by_hand(pool) as miner:
        miner.share(is_block=True)
        until(lambda: node.height == 1, pool)
        miner.until(lambda: miner.work.prev_hash == from_display(node.best))
        node.stop()
        block = miner.share(is_block=True)
        node.start()
        until(lambda: node.best == to_display(block), pool)
        miner.until(lambda: miner.work.prev_hash == block)


