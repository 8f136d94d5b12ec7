"""Two nodes, of which the first was cut off on a branch of own blocks: the word of the node that is mined books."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.inthread import in_thread
from tests.node.outcomes import OutcomeQueue
from tests.node.stub import PATIENCE_S, FakeClock, StubNode
from tests.node.test_missing import Chain
from tests.rewards.settlingpool import NODE, PoolBooks, cleared, events, of_kind, paid_by, settled
from tests.rewards.test_settling import ANNA, BERT, OWED, snapshot_on, with_balance
from warppool.addresses import NodeAddress
from warppool.node.chainitems import ChainAnswer
from warppool.node.jsonrpc import Cookie
from warppool.node.rpcsubmit import RpcSubmitter
from warppool.rewards.steps import AskNode

OWN = 120


class Asked:
    """A node that is asked by its own thread."""

    def __init__(self, number: int, stub: StubNode, chain: list[bytes]) -> None:
        self.number = number
        self.stub = stub
        self.replies: queue.Queue[ChainAnswer] = queue.Queue()
        Chain(stub, 0, {})
        stub.chain[:] = chain
        self.submitter = RpcSubmitter(number, NodeAddress.parse(stub.url), Cookie(stub.cookie or Path()),
                                      OutcomeQueue(), clock=FakeClock(), lookup_timeout_s=PATIENCE_S)

    def answer(self, step: AskNode) -> ChainAnswer:
        """Of one question, in the words that come over the wire."""
        looked = frozenset({*step.question.looked, step.question.tip})          # the look along the chain is not asked
        question = step.question.__class__(step.question.tip, step.question.blocks, looked, 0, frozenset(),
                                           self.replies)
        self.submitter.inbox.put(question)
        answer = self.replies.get(timeout=PATIENCE_S)
        return ChainAnswer(answer.node, answer.tip, answer.height, answer.standings, (answer.tip,), (), answer.trouble)


@contextmanager
def node(number: int, folder: Path, chain: list[bytes]) -> Iterator[Asked]:
    with StubNode(cookie=folder / f".cookie{number}") as stub:
        asked = Asked(number, stub, chain)
        with in_thread(asked.submitter.run, asked.submitter.stop):
            yield asked


def test_nothing_of_a_branch_that_another_node_beats_is_settled(tmp_path: Path) -> None:
    """120 own blocks, one on the other, wait for a verdict at a start. The first of them paid a balance."""
    pool = PoolBooks(tmp_path / "shares.db")
    pool.do(pool.settling.journal_told(pool.now))
    pool.grow(10)
    with_balance(pool)
    common, snapshot, branch = pool.chain[:], snapshot_on(pool), pool.chain[:]
    for number in range(OWN):
        block = paid_by(snapshot, branch[-1], len(branch), 10 + number, pays_balances=not number)
        pool.find(block)
        branch.append(block.block_hash)
    assert pool.purses(BERT) == (0, 0) and len(pool.settling.watched) == OWN
    pool.start()
    pool.do(pool.settling.journal_told(pool.now))

    better = common + [(b"better%d" % number).ljust(32, b".") for number in range(OWN + 1)]
    with node(NODE, tmp_path, branch) as cut_off, node(NODE + 1, tmp_path, better) as other:
        [question] = of_kind(pool.settling.mine(NODE, branch[-1], len(branch) - 1, pool.now), AskNode)
        late = cut_off.answer(question)
        assert max(each.confirmations or 0 for each in late.standings) == OWN
        [question] = of_kind(pool.settling.mine(NODE + 1, better[-1], len(better) - 1, pool.now), AskNode)
        assert pool.do(pool.settling.answered(late, pool.now)) == []        # the first node is not mined any more
        steps = pool.do(pool.settling.answered(other.answer(question), pool.now))

        assert events(steps) == ["payout.reversed"] * OWN and settled(steps) == []
        assert pool.purses(BERT) == (OWED, 0) and pool.purses(ANNA) == (0, 0)
        assert cleared(steps) == [better[-1]]

        with other.stub.changed:                            # and back: the branch gets more work after all
            other.stub.chain[:] = branch + [(b"more%d" % number).ljust(32, b".") for number in range(3)]
        tip = other.stub.chain[-1]
        [question] = of_kind(pool.settling.mine(NODE + 1, tip, len(branch) + 2, pool.now), AskNode)
        steps = pool.do(pool.settling.answered(other.answer(question), pool.now))
    assert len(settled(steps)) == OWN + 3 - 99 and pool.purses(BERT) == (0, 0)
    pool.close()
