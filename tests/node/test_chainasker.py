"""Where own blocks stand on a node's chain, and which blocks of the chain are ours; blocks that wait come first."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.outcomes import OutcomeQueue
from tests.node.stub import PATIENCE_S, FakeClock, Mood, RpcFault, StubNode, display, dsha
from tests.node.test_missing import START, Chain, coinbase
from tests.node.test_rpcsubmit import block_on
from warppool.addresses import NodeAddress
from warppool.node.chainitems import AskChain, ChainAnswer
from warppool.node.items import Outcome
from warppool.node.jsonrpc import Cookie
from warppool.node.rpcsubmit import RpcSubmitter
from warppool.payout.settlement import Standing


class Asked:
    """A node's chain, and the thread that hands it blocks, which is asked."""

    def __init__(self, stub: StubNode, height: int, coinbases: dict[int, bytes]) -> None:
        self.stub = stub
        theirs = {at: coinbase(at, start=b"zzzz") for at in range(1, height + 2)}
        self.chain = Chain(stub, height, theirs | coinbases)
        self.outcomes = OutcomeQueue()
        self.answers: queue.Queue[Any] = queue.Queue()
        self.submitter = RpcSubmitter(2, NodeAddress.parse(stub.url), Cookie(stub.cookie or Path()), self.outcomes,
                                      clock=FakeClock(), submit_timeout_s=PATIENCE_S, lookup_timeout_s=PATIENCE_S)
        self.thread = threading.Thread(target=self.submitter.run)

    def start(self) -> None:
        self.thread.start()

    def question(self, *blocks: tuple[bytes, int], tip: bytes = b"", looked: tuple[bytes, ...] = (), depth: int = 144
                 ) -> AskChain:
        return AskChain(tip or self.stub.chain[-1], blocks, frozenset(looked), depth, frozenset({START}), self.answers)

    def ask(self, *blocks: tuple[bytes, int], **how: Any) -> ChainAnswer:
        self.submitter.inbox.put(self.question(*blocks, **how))
        answer = self.answers.get(timeout=PATIENCE_S)
        assert isinstance(answer, ChainAnswer)
        assert answer.node == 2
        return answer


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(cookie=tmp_path / ".cookie") as stub:
        yield stub


@pytest.fixture
def asked(stub: StubNode) -> Iterator[Asked]:
    asked = Asked(stub, 20, {15: coinbase(15), 18: coinbase(18, tag=b"/an old tag/")})
    yield asked
    asked.submitter.stop()
    asked.thread.join(PATIENCE_S)
    assert not asked.thread.is_alive()


def test_where_own_blocks_stand(stub, asked):
    asked.start()
    side = dsha(b"side")
    stub.side.add(side)
    answer = asked.ask((stub.chain[20], 20), (stub.chain[11], 11), (side, 20), (side, 21), (dsha(b"new"), 21),
                       (dsha(b"never"), 12), looked=(stub.chain[20],))
    assert answer.standings == (
        Standing(stub.chain[20], 1), Standing(stub.chain[11], 10), Standing(side, 0), Standing(side, 0),
        Standing(dsha(b"new"), None), Standing(dsha(b"never"), 0))
    assert (answer.tip, answer.height, answer.looked, answer.trouble) == (stub.chain[20], 20, (), "")


def test_blocks_of_ours_are_found_down_to_one_that_was_looked_at(stub, asked):
    asked.start()
    answer = asked.ask(looked=(stub.chain[14],))
    assert answer.looked == tuple(stub.chain[15:21])
    assert [(each.block_hash, each.parent, each.grandparent, each.height) for each in answer.ours] == [
        (stub.chain[15], stub.chain[14], stub.chain[13], 15), (stub.chain[18], stub.chain[17], stub.chain[16], 18)]
    assert answer.ours[0][4:6] == (1_700_000_015, 0x207FFFFF)
    assert answer.ours[0].coinbase == asked.chain.coinbase_at(15)
    assert asked.ask(looked=(stub.chain[15],)).ours == answer.ours[1:]
    assert asked.ask(depth=3).looked == tuple(stub.chain[18:21])


def test_the_first_block_of_a_chain_ends_the_look(stub, asked):
    asked.start()
    assert asked.ask(depth=1000).looked == tuple(stub.chain)


def test_a_tip_that_is_not_the_best_any_more_gives_no_answer(stub, asked):
    asked.start()
    answer = asked.ask((stub.chain[19], 19), tip=stub.chain[19])
    assert (answer.standings, answer.looked, answer.trouble) == ((), (), "its tip is another one by now")


def test_a_tip_that_moves_during_the_answers_gives_no_answer(stub, asked):
    tip = stub.chain[20]

    def getblock(params: list[Any]) -> Any:
        if params[0] == display(stub.chain[16]):
            stub.grow()
        return asked.chain.getblock(params)

    stub.hooks["getblock"] = getblock
    asked.start()
    answer = asked.ask(tip=tip)
    assert (answer.tip, answer.looked, answer.trouble) == (tip, (), "its tip is another one by now")


def test_a_look_that_a_new_tip_broke_off_goes_on_where_it_was(stub, asked):
    """A long look on a slow node would last longer than any tip, and begin anew with each."""
    seen = []

    def getblock(params: list[Any]) -> Any:
        if params[1] == 1:
            seen.append(params[0])
        if params[0] == display(stub.chain[4]) and len(stub.chain) == 21:
            stub.grow()
        return asked.chain.getblock(params)

    stub.hooks["getblock"] = getblock
    asked.start()
    assert asked.ask().trouble
    del seen[:]
    answer = asked.ask(depth=1000)
    assert answer.looked == tuple(stub.chain) and [each.height for each in answer.ours] == [15, 18]
    assert seen == [display(stub.chain[21])]
    del seen[:]
    assert asked.ask(depth=5).looked == tuple(stub.chain[17:]) and len(seen) >= 5      # nothing is kept for good


@pytest.mark.parametrize("method", ["getblockchaininfo", "getblockhash", "getblock", "getrawtransaction"])
def test_trouble_of_the_node_is_the_answer(stub, asked, method):
    def fail(params: list[Any]) -> Any:
        raise RpcFault(-28, "Loading block index...")

    stub.hooks[method] = fail
    asked.start()
    answer = asked.ask((stub.chain[11], 11))
    assert "Loading block index" in answer.trouble and answer.standings == ()


@pytest.mark.parametrize("method", ["getblockhash", "getblock"])
def test_a_node_that_lets_us_see_nothing_says_so(stub, asked, method):
    stub.moods[method] = Mood.FORBIDDEN
    asked.start()
    assert method in asked.ask((stub.chain[11], 11)).trouble


def test_a_block_to_hand_in_comes_before_all_questions(stub, asked):
    block = block_on(stub.chain[20], 21)
    asked.submitter.inbox.put(asked.question(depth=5))
    asked.submitter.inbox.put(block)
    asked.start()
    answer = asked.answers.get(timeout=PATIENCE_S)
    assert answer.trouble == "its tip is another one by now"        # the block went in first, and is the tip
    assert isinstance(outcome := asked.outcomes.get(timeout=PATIENCE_S), Outcome)
    assert outcome.block_hash == block.block_hash


def test_a_later_question_takes_the_place_of_one_that_waits(stub, asked):
    asked.submitter.inbox.put(asked.question(depth=1))
    asked.submitter.inbox.put(asked.question(depth=2))
    asked.start()
    assert len(asked.answers.get(timeout=PATIENCE_S).looked) == 2
    assert len(asked.ask(depth=3).looked) == 3                      # and nothing came between
