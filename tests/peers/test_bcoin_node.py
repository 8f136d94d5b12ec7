"""The RPC source and submitter with a real node: bcoin gives templates and takes blocks, and the kernel agrees.

bcoin shows how a node speaks; libbitcoinkernel is the stricter judge of what was said (tests/peers/bcoin_node.py).
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.node.outcomes import OutcomeQueue
from tests.peers.bcoin_node import (
    MATURE,
    OP_TRUE_ADDRESS,
    OP_TRUE_SCRIPT,
    BcoinNode,
    fill_mempool,
    judge_by_kernel,
    skip_unless_installed,
)
from warppool.bitcoin.block import assemble_block, block_hash
from warppool.bitcoin.coinbase import coinbase_halves, restore_witness
from warppool.bitcoin.hashes import double_sha256, to_display
from warppool.bitcoin.header import pack_header
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.transaction import serialize_output
from warppool.mining.template import Template
from warppool.node.items import NodeLost, SubmitBlock, TemplateReady, Verdict
from warppool.node.pace import SystemClock
from warppool.node.rpc import RpcSource
from warppool.node.rpcsubmit import RpcSubmitter

pytestmark = pytest.mark.peer
pytest.importorskip("pbk", reason="libbitcoinkernel is not installed: pip install 'warppool[regtest]'")

PATIENCE_S = 30.0
_EXTRANONCES = itertools.count(1)


class HastyClock(SystemClock):
    """The real clock, with the submitter's half minutes in tenths of seconds."""

    SPEED = 300.0

    def monotonic(self) -> float:
        return time.monotonic() * self.SPEED

    def inbox(self) -> queue.Queue[Any]:
        return HastyInbox()


class HastyInbox(queue.Queue[Any]):
    """Its owner sleeps by that clock."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return super().get(block, None if timeout is None else timeout / HastyClock.SPEED)


class Pool:
    """A source and a submitter on one node, each in its thread."""

    def __init__(self, node: BcoinNode) -> None:
        self.job_maker: queue.Queue[Any] = queue.Queue()
        self.outcomes = OutcomeQueue()
        self.source = RpcSource(0, node.address, node.login, "regtest", self.job_maker)
        self.submitter = RpcSubmitter(0, node.address, node.login, self.outcomes, clock=HastyClock())
        self._threads = [threading.Thread(target=self.source.run), threading.Thread(target=self.submitter.run)]
        for thread in self._threads:
            thread.start()

    def template(self, is_wanted: Callable[[Template], bool] = lambda template: True) -> Template:
        """The next template of the sort that is wanted."""
        while True:
            item = self.job_maker.get(timeout=PATIENCE_S)
            assert isinstance(item, TemplateReady), item
            if is_wanted(item.template):
                return item.template

    def at_height(self, height: int) -> Template:
        return self.template(lambda template: template.tip.height == height)

    def hand_in(self, block: SubmitBlock) -> SubmitBlock:
        self.submitter.inbox.put(block)
        return block

    def outcome(self, block: SubmitBlock) -> tuple[Verdict, str]:
        """The next outcome, which must be of `block` unless it is the burial of another."""
        while True:
            outcome = self.outcomes.get(timeout=PATIENCE_S)
            if outcome.block_hash == block.block_hash:
                return outcome.verdict, outcome.reason
            assert outcome.verdict is Verdict.BURIED

    def stop(self) -> None:
        self.source.stop()
        self.submitter.stop()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.fixture
def node() -> Iterator[BcoinNode]:
    skip_unless_installed()
    with BcoinNode() as node:
        yield node


@pytest.fixture
def pools() -> Iterator[Callable[[BcoinNode], Pool]]:
    made: list[Pool] = []

    def make(node: BcoinNode) -> Pool:
        made.append(Pool(node))
        return made[-1]

    yield make
    for pool in made:
        pool.stop()


def mine(template: Template, *, overpay: int = 0, is_block: bool = True, height: int | None = None) -> SubmitBlock:
    """A block on `template`, found by trying nonces; the other arguments spoil it."""
    value = template.coinbase_tx_value_remaining + overpay
    push = template.coinbase_prefix if height is None else b"\x02" + height.to_bytes(2, "little")
    prefix, suffix = coinbase_halves(
        version=template.coinbase_tx_version,
        input_sequence=template.coinbase_tx_input_sequence,
        locktime=template.coinbase_tx_locktime,
        script_prefix=push + b"\x08",
        extranonce_size=8,
        outputs=serialize_output(value, OP_TRUE_SCRIPT) + template.coinbase_tx_outputs,
        outputs_count=1 + template.coinbase_tx_outputs_count,
    )
    coinbase = prefix + next(_EXTRANONCES).to_bytes(8, "big") + suffix
    root = fold_merkle_path(double_sha256(coinbase), template.merkle_path)
    tip = template.tip
    for nonce in itertools.count():
        header = pack_header(template.version, tip.prev_hash, root, tip.min_ntime, tip.nbits, nonce)
        if (int.from_bytes(block_hash(header), "little") <= tip.target) == is_block:
            break
    assert template.transactions is not None
    if template.has_witness:
        coinbase = restore_witness(coinbase)
    return SubmitBlock(block_hash(header), tip.height, assemble_block(header, coinbase, template.transactions))


def test_blocks_with_transactions_are_accepted_by_bcoin_and_by_the_kernel(node, pools, tmp_path):
    node.call("generatetoaddress", MATURE + 20, OP_TRUE_ADDRESS)
    pool = pools(node)
    empty = pool.template()
    assert empty.transactions == ()
    assert empty.has_witness
    sent = fill_mempool(node, chains=5, links=6)
    first = pool.hand_in(mine(empty))               # a new tip, so that bcoin makes its template anew
    assert pool.outcome(first) == (Verdict.ACCEPTED, "")

    template = pool.at_height(empty.tip.height + 1)
    assert sorted(template.transactions) == sorted(sent)
    assert template.coinbase_tx_value_remaining == 50 * 10**8 + 30 * 10_000
    full = pool.hand_in(mine(template))
    assert pool.outcome(full) == (Verdict.ACCEPTED, "")
    assert node.call("getbestblockhash") == to_display(full.block_hash)
    assert len(node.call("getblock", to_display(full.block_hash), True)["tx"]) == 31

    for height in range(full.height + 1, full.height + 7):
        block = pool.hand_in(mine(pool.at_height(height)))
        assert pool.outcome(block) == (Verdict.ACCEPTED, "")
    assert pool.outcome(full) == (Verdict.BURIED, "")
    judge_by_kernel(node, tmp_path)


def test_a_chain_from_its_first_block_through_the_coming_of_segwit(node, pools, tmp_path):
    pool = pools(node)
    has_witness = []
    for height in range(1, 31):
        template = pool.at_height(height)
        has_witness.append(template.has_witness)
        block = pool.hand_in(mine(template))
        assert pool.outcome(block) == (Verdict.ACCEPTED, "")
    # Our blocks carried the version bits of the templates, or it would never have come.
    assert has_witness == [False] * 23 + [True] * 7
    judge_by_kernel(node, tmp_path)


def test_what_bcoin_says_of_other_blocks(node, pools):
    node.call("generatetoaddress", 30, OP_TRUE_ADDRESS)
    pool = pools(node)
    template = pool.template()
    good = pool.hand_in(mine(template))
    assert pool.outcome(good) == (Verdict.ACCEPTED, "")
    rival = pool.hand_in(mine(template))            # bcoin says null, as to the first
    assert pool.outcome(rival) == (Verdict.SIDE, "")

    template = pool.at_height(template.tip.height + 1)
    overpaid = pool.hand_in(mine(template, overpay=1))
    assert pool.outcome(overpaid) == (Verdict.REFUSED, "bad-cb-amount")
    weak = pool.hand_in(mine(template, is_block=False))
    assert pool.outcome(weak) == (Verdict.REFUSED, "high-hash")
    misplaced = pool.hand_in(mine(template, height=1000))
    assert pool.outcome(misplaced) == (Verdict.REFUSED, "bad-cb-height")
    cut = mine(template)
    verdict, reason = pool.outcome(pool.hand_in(SubmitBlock(cut.block_hash, cut.height, cut.raw_block[:-1])))
    assert verdict is Verdict.REFUSED
    assert "Out of bounds read" in reason

    again = pools(node)                             # as after a restart: bcoin says `rejected: duplicate`
    assert again.outcome(again.hand_in(good)) == (Verdict.ACCEPTED, "")


def test_a_block_found_while_bcoin_is_away_arrives_when_it_is_back(pools, tmp_path):
    skip_unless_installed()
    with BcoinNode(prefix=tmp_path / "bcoin") as node:
        node.call("generatetoaddress", 30, OP_TRUE_ADDRESS)
        pool = pools(node)
        template = pool.template()
        node.stop()
        assert isinstance(pool.job_maker.get(timeout=PATIENCE_S), NodeLost)
        block = pool.hand_in(mine(template))
        node.start()
        assert pool.outcome(block) == (Verdict.ACCEPTED, "")
        assert pool.at_height(32).tip.prev_hash == block.block_hash
        judge_by_kernel(node, tmp_path / "kernel")
