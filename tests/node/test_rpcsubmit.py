"""Blocks to a node that may be ill, away, behind, or of another opinion."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.outcomes import OutcomeQueue
from tests.node.stub import PATIENCE_S, FakeClock, Mood, RpcFault, StubNode, await_true, display, dsha
from warppool.addresses import NodeAddress
from warppool.loop import Reconfigure, ask_all
from warppool.node import rpcsubmit
from warppool.node.items import DropBlock, HasBlock, NodeHeard, Outcome, SubmitBlock, Verdict
from warppool.node.jsonrpc import Cookie
from warppool.node.rpcsubmit import RpcSubmitter
from warppool.threads import STOP


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(cookie=tmp_path / ".cookie") as stub:
        yield stub


def block_on(parent: bytes, height: int, number: int = 0) -> SubmitBlock:
    """80 bytes of header whose hash meets the easy target, and a body that the stub does not read."""
    head = (4).to_bytes(4, "little") + parent + number.to_bytes(40, "little")
    nonce = 0
    while int.from_bytes(dsha(head + nonce.to_bytes(4, "little")), "little") >> 255:
        nonce += 1
    raw = head + nonce.to_bytes(4, "little") + b"\x01body"
    return SubmitBlock(dsha(raw[:80]), height, raw)


class Running:
    """A submitter in its thread, with a clock that does not wait."""

    def __init__(self, stub: StubNode, cookie: Path) -> None:
        self.outcomes = OutcomeQueue()
        self.clock = FakeClock()
        self.submitter = RpcSubmitter(
            2, NodeAddress.parse(stub.url), Cookie(cookie), self.outcomes,
            clock=self.clock, submit_timeout_s=PATIENCE_S, lookup_timeout_s=PATIENCE_S,
        )
        self.thread = threading.Thread(target=self.submitter.run, name="submit-2")
        self.thread.start()

    def be_hasty(self) -> None:
        """Wait a moment only for an answer that does not come. Where all others come, a slow machine needs its time."""
        self.submitter._submit_timeout_s = self.submitter._lookup_timeout_s = 0.3

    def put(self, *blocks: SubmitBlock) -> None:
        for block in blocks:
            self.submitter.inbox.put(block)

    def outcome(self) -> tuple[bytes, Verdict, str]:
        item = self.outcomes.get(timeout=PATIENCE_S)
        assert isinstance(item, Outcome)
        assert item.node == 2
        return item.block_hash, item.verdict, item.reason

    def pass_time(self, seconds: float) -> None:
        until = self.clock.now + seconds
        await_true(lambda: self.clock.now >= until)

    def stop(self) -> None:
        self.submitter.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@pytest.fixture
def run(stub: StubNode, tmp_path: Path) -> Iterator[Running]:
    run = Running(stub, tmp_path / ".cookie")
    yield run
    run.stop()


@pytest.fixture
def block(stub: StubNode) -> SubmitBlock:
    return block_on(stub.chain[-1], 1)


def faulty(code: int, message: str) -> Callable[[list[Any]], Any]:
    def hook(params: list[Any]) -> Any:
        raise RpcFault(code, message)

    return hook


def test_a_block_is_accepted_and_then_buried_under_six(stub, run, block):
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")
    assert stub.submitted == [block.raw_block]
    for _ in range(5):
        stub.grow()
    run.pass_time(300)
    assert run.outcomes.empty()             # five stand on it
    stub.grow()
    assert run.outcome() == (block.block_hash, Verdict.BURIED, "")
    looked = stub.count("getblockheader")
    run.put(other := block_on(stub.chain[-1], 8))
    stub.wait_until(lambda: stub.count("getblockheader") >= looked + 5)
    seen = [params[0] for method, params in stub.calls if method == "getblockheader"]
    assert set(seen[looked:]) == {display(other.block_hash)}        # a buried block is done with


def test_watched_blocks_are_looked_at_twice_a_minute(stub, run, block):
    run.put(block)
    run.outcome()
    began = run.clock.now
    before = stub.count("getblockheader")
    stub.wait_until(lambda: stub.count("getblockheader") >= before + 5)
    assert run.clock.now - began >= 4 * 30


def test_a_block_beside_the_chain_is_side_and_buried_with_the_branch_that_beat_it(stub, run):
    genesis = stub.chain[-1]
    stub.grow()
    block = block_on(genesis, 1)
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.SIDE, "inconclusive")
    for _ in range(5):
        stub.grow()
    run.pass_time(100)
    assert run.outcomes.empty()
    stub.grow()
    assert run.outcome() == (block.block_hash, Verdict.BURIED, "")


@pytest.mark.parametrize("confirms_all", [False, True])
def test_null_for_a_side_branch_is_found_out_by_the_look_up(stub, run, block, confirms_all):
    """As bcoin answers, which also counts confirmations where there are none."""
    stub.confirms_all = confirms_all
    stub.grow()
    stub.side.add(block.block_hash)
    stub.hooks["submitblock"] = lambda params: None
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.SIDE, "")


def test_a_reorganisation_is_told_both_ways(stub, run, block):
    run.put(block)
    assert run.outcome()[1] is Verdict.ACCEPTED
    with stub.changed:
        stub.chain[1] = dsha(b"another")
        stub.side.add(block.block_hash)
    assert run.outcome()[1] is Verdict.SIDE
    with stub.changed:
        stub.chain[1] = block.block_hash
        stub.side.clear()
    assert run.outcome()[1] is Verdict.ACCEPTED


@pytest.mark.parametrize("word", [
    "duplicate", "rejected: duplicate", "duplicate-inconclusive", "inconclusive",
    "rejected: already have block 0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",       # btcd
    "rejected: already have block (orphan) 0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
])
def test_what_the_node_has_is_no_failure(stub, run, block, word):
    stub.chain.append(block.block_hash)
    stub.hooks["submitblock"] = lambda params: word
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")


def test_a_replayed_block_that_lies_deep_is_accepted_and_buried_at_once(stub, run, block):
    stub.chain.append(block.block_hash)
    for _ in range(500):
        stub.grow()
    run.put(block)
    assert [run.outcome()[1], run.outcome()[1]] == [Verdict.ACCEPTED, Verdict.BURIED]


@pytest.mark.parametrize(("answer", "reason"), [
    ("high-hash", "high-hash"),
    ("rejected: bad-txnmrklroot", "bad-txnmrklroot"),
    ("rejected: hash of 7f is higher than expected max of 7e", "hash of 7f is higher than expected max of 7e"),
    ("duplicate-invalid", "duplicate-invalid"),
    ("bad-prevblk", "bad-prevblk"),
    ("rejected", "rejected"),
    ("", "rejected"),
    (False, "False"),
    ({"odd": 1}, "{'odd': 1}"),
    ("x" * 1000, "x" * 100),
])
def test_a_refusal_is_final_and_has_the_nodes_word(stub, run, block, answer, reason):
    stub.hooks["submitblock"] = lambda params: answer
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.REFUSED, reason)
    other = block_on(bytes(32), 1, 5)
    run.put(other)
    assert run.outcome()[0] == other.block_hash
    assert stub.count("submitblock") == 2
    assert stub.count("getblockheader") == 0


def test_a_block_that_cannot_be_decoded_is_refused(stub, run, block):
    stub.hooks["submitblock"] = faulty(-22, "Block decode failed")
    run.put(block)
    block_hash, verdict, reason = run.outcome()
    assert (block_hash, verdict) == (block.block_hash, Verdict.REFUSED)
    assert "Block decode failed" in reason


@pytest.mark.parametrize("mood", [
    Mood.HANG, Mood.UNAUTHORIZED, Mood.FORBIDDEN, Mood.BUSY, Mood.WARM_UP, Mood.GARBAGE, Mood.NOT_JSON, Mood.HALF,
    Mood.DRIBBLE, Mood.CLOSE, Mood.WRONG_ID,
])
def test_a_block_waits_for_an_ill_node(stub, run, block, caplog, mood):
    if mood in (Mood.HANG, Mood.DRIBBLE):
        run.be_hasty()
    stub.mood = mood
    run.put(block)
    stub.wait_until(lambda: stub.count("submitblock") >= 2)
    assert run.outcomes.empty()
    stub.mood = Mood.WELL
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")
    assert stub.chain[-1] == block.block_hash
    assert caplog.text.count("block.delayed") == 1


def test_with_another_login_the_block_that_waited_for_it_goes_out(stub, run, block, tmp_path):
    (tmp_path / "other").write_bytes(stub.login)
    (tmp_path / ".cookie").write_bytes(b"__cookie__:wrong")
    run.put(block)
    stub.wait_until(lambda: stub.count("submitblock") >= 2)
    assert run.outcomes.empty()
    run.submitter.inbox.put(Reconfigure(Cookie(tmp_path / "other")))
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")


def test_a_block_found_while_the_node_is_away_for_a_minute_arrives(stub, run, block, caplog):
    stub.stop()
    run.put(block)
    run.pass_time(60)
    stub.new_login()
    stub.start()
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")
    assert caplog.text.count("block.delayed") == 1
    assert "Connection refused" in caplog.text


def test_a_block_is_tried_again_within_seconds_however_long_the_node_is_away(stub, run, block):
    stub.stop()
    run.put(block)
    run.pass_time(300)
    assert 1.5 < max(run.clock.waits) <= 2.5


def test_a_submit_that_hangs_and_works_is_found_out(stub, run, block):
    """The node takes the block, and its answer is lost."""
    stub.moods["submitblock"] = Mood.HALF
    run.put(block)
    stub.wait_until(lambda: block.block_hash in stub.chain)
    stub.moods.clear()
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")
    assert len(stub.submitted) >= 2


def test_a_node_that_knows_no_more_than_the_header_gets_the_block_again(stub, run, block):
    """Its disk was full: it kept the header, and the submit came to no answer."""
    told_before: list[Any] = []

    def submit(params: list[Any]) -> None:
        told_before.extend(run.outcomes.others)
        stub.side.clear()
        stub.grow(block.block_hash)

    stub.side.add(block.block_hash)
    stub.moods["submitblock"] = Mood.CLOSE
    run.put(block)
    stub.wait_until(lambda: stub.count("getblockheader") >= 1)
    stub.hooks["submitblock"] = submit
    stub.moods.clear()
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")
    assert not any(isinstance(item, HasBlock) for item in told_before)      # its share was not safe yet


def test_other_blocks_do_not_wait_for_one_that_is_in_trouble(stub, run):
    bad, good = block_on(stub.chain[-1], 1, 1), block_on(stub.chain[-1], 1, 2)

    def submit(params: list[Any]) -> Any:
        if params[0] == bad.raw_block.hex():
            raise RpcFault(-1, "some fault of the node")
        return stub._do_submitblock(params)

    stub.hooks["submitblock"] = submit
    run.put(bad)
    stub.wait_until(lambda: stub.count("submitblock") >= 3)
    run.put(good)
    assert run.outcome() == (good.block_hash, Verdict.ACCEPTED, "")
    stub.hooks.clear()
    assert run.outcome() == (bad.block_hash, Verdict.SIDE, "inconclusive")


@pytest.mark.parametrize("word", [
    "prev-blk-not-found", "rejected: bad-prevblk", "time-too-new", "inconclusive-not-best-prevblk",
])
def test_a_node_that_is_behind_gets_the_block_again(stub, run, block, caplog, word):
    stub.hooks["submitblock"] = lambda params: word
    run.put(block)
    stub.wait_until(lambda: stub.count("submitblock") >= 3)
    assert run.outcomes.empty()
    del stub.hooks["submitblock"]
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")
    assert caplog.text.count("block.delayed") == 1


def test_a_node_that_stays_behind_for_two_hours_has_refused_it(stub, run, block):
    stub.stop()
    run.put(block)
    run.pass_time(8000)                     # to be away is not to be behind
    stub.hooks["submitblock"] = lambda params: "prev-blk-not-found"
    stub.start()
    began = run.clock.now
    assert run.outcome() == (block.block_hash, Verdict.REFUSED, "prev-blk-not-found")
    assert run.clock.now - began >= 7200 - 20


def test_a_duplicate_that_the_node_does_not_know_is_refused_in_the_end(stub, run, block):
    """As bcoin answers for a block that it holds invalid, or whose parent it lacks."""
    stub.hooks["submitblock"] = lambda params: "rejected: duplicate"
    stub.hooks["getblockheader"] = faulty(-1, "Block not found")
    began = run.clock.now
    run.put(block)
    assert run.outcome() == (
        block.block_hash, Verdict.REFUSED, "duplicate, yet not found: the node holds it invalid"
    )
    assert run.clock.now - began >= 7200


def test_a_side_block_of_btcd_is_side_and_buried_like_others(stub, run, block):
    """btcd answers null for a block beside its chain, and has no header of it to give."""
    stub.chain.append(bytes(32))
    stub.hooks["submitblock"] = lambda params: None
    stub.hooks["getblockheader"] = faulty(-32603, f"block {display(block.block_hash)} is not in the main chain")
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.SIDE, "")
    for number in range(10):
        stub.chain.append(bytes([number]) * 32)
    assert run.outcome() == (block.block_hash, Verdict.BURIED, "")


def test_a_side_block_that_the_node_keeps_out_of_its_index_is_side(stub, run, block):
    stub.hooks["submitblock"] = lambda params: "inconclusive"
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.SIDE, "inconclusive")


def test_a_node_that_forgets_the_block_in_a_crash_gets_it_again(stub, run, block, caplog):
    run.put(block)
    assert run.outcome()[1] is Verdict.ACCEPTED
    with stub.changed:
        stub.chain.remove(block.block_hash)
    stub.wait_until(lambda: len(stub.submitted) == 2)
    stub.wait_until(lambda: block.block_hash in stub.chain)
    assert caplog.text.count("block.delayed") == 1
    assert "does not know it after taking it" in caplog.text


@pytest.mark.parametrize("header", [None, [], {}, {"confirmations": "1"}, "00" * 80])
def test_an_odd_header_is_no_verdict(stub, run, block, header):
    stub.hooks["getblockheader"] = lambda params: header
    run.put(block)
    stub.wait_until(lambda: stub.count("getblockheader") >= 3)
    assert run.outcomes.empty()
    del stub.hooks["getblockheader"]
    assert run.outcome()[1] is Verdict.ACCEPTED
    assert len(stub.submitted) == 1


def test_an_odd_height_is_no_burial(stub, run):
    genesis = stub.chain[-1]
    stub.grow()
    stub.hooks["getblockcount"] = lambda params: "7"
    run.put(block_on(genesis, 1))
    assert run.outcome()[1] is Verdict.SIDE
    stub.wait_until(lambda: stub.count("getblockcount") >= 3)
    assert run.outcomes.empty()


def test_a_look_up_that_fails_is_no_reason_to_hand_in_again(stub, run, block, caplog):
    stub.hooks["getblockheader"] = faulty(-32603, "no")
    run.put(block)
    stub.wait_until(lambda: stub.count("getblockheader") >= 3)
    assert len(stub.submitted) == 1


def test_a_node_that_goes_away_while_we_watch_is_not_said_here(stub, run, block, caplog):
    run.put(block)
    run.outcome()
    stub.stop()
    run.pass_time(120)
    assert "block.delayed" not in caplog.text
    stub.start()
    for _ in range(6):
        stub.grow()
    assert run.outcome()[1] is Verdict.BURIED


def test_one_block_twice_is_one_block(stub, run, block):
    run.put(block, block)
    assert run.outcome()[1] is Verdict.ACCEPTED
    other = block_on(block.block_hash, 2)
    run.put(other)
    assert run.outcome()[0] == other.block_hash
    assert len(stub.submitted) == 2


def test_a_hundred_blocks_at_once(stub, run):
    blocks = []
    parent = stub.chain[-1]
    for height in range(1, 101):
        blocks.append(block_on(parent, height))
        parent = blocks[-1].block_hash
    run.put(*blocks)
    told: dict[bytes, list[Verdict]] = {}
    while sum(map(len, told.values())) < 194:
        block_hash, verdict, _ = run.outcome()
        told.setdefault(block_hash, []).append(verdict)
    for block in blocks[:-6]:
        assert told[block.block_hash] == [Verdict.ACCEPTED, Verdict.BURIED]
    assert len(stub.submitted) == 100


def test_a_fault_of_our_own_does_not_end_the_thread(stub, run, block, caplog, monkeypatch):
    faults = iter([ZeroDivisionError("unforeseen")])
    plain = RpcSubmitter._look_up

    def look_up(self: RpcSubmitter, case: Any) -> None:
        for fault in faults:
            raise fault
        plain(self, case)

    monkeypatch.setattr(RpcSubmitter, "_look_up", look_up)
    run.put(block)
    assert run.outcome()[1] is Verdict.ACCEPTED
    assert "ZeroDivisionError" in caplog.text


def test_stop_on_the_inbox_lets_what_came_before_it_have_its_try(stub, run, block):
    run.put(block)
    run.submitter.inbox.put(STOP)
    run.thread.join(PATIENCE_S)
    assert not run.thread.is_alive()
    assert stub.submitted == [block.raw_block]


def test_stop_ends_a_call_that_hangs(stub, tmp_path, block, caplog):
    stub.mood = Mood.HANG
    submitter = RpcSubmitter(0, NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"), queue.Queue())
    thread = threading.Thread(target=submitter.run)
    thread.start()
    submitter.inbox.put(block)
    stub.wait_until(lambda: stub.count("submitblock") == 1)
    submitter.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert "block.delayed" not in caplog.text


def test_a_stop_touches_none_of_a_thousand_blocks_that_wait_for_a_dead_node(stub, tmp_path, monkeypatch):
    """Each hand-in makes hex of 4 MB: a thousand of them took half a minute after the stop."""
    stub.mood = Mood.HANG
    submitter = RpcSubmitter(0, NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"), queue.Queue())
    handed: list[str] = []
    hand_in = submitter._rpc.call

    def noted(method: str, *params: Any, timeout_s: float) -> Any:
        handed.append(params[0])
        return hand_in(method, *params, timeout_s=timeout_s)

    monkeypatch.setattr(submitter._rpc, "call", noted)
    for number in range(1000):
        submitter.inbox.put(block_on(stub.chain[-1], 1, number))
    thread = threading.Thread(target=submitter.run)
    thread.start()
    stub.wait_until(lambda: stub.count("submitblock") == 1)
    submitter.inbox.put(STOP)
    submitter.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive() and len(handed) == 1


def test_a_flood_at_one_height_does_not_keep_the_next_height_waiting(stub, run):
    """A CPU miner on regtest: hundreds of rivals wait when the next block comes, which stands on one of them."""
    flood = [block_on(stub.chain[-1], 1, number) for number in range(300)]
    has_begun, is_queued = threading.Event(), threading.Event()

    def submit(params: list[Any]) -> Any:
        has_begun.set()
        assert is_queued.wait(PATIENCE_S)
        return stub._do_submitblock(params)

    stub.hooks["submitblock"] = submit
    run.submitter._submit_timeout_s = PATIENCE_S
    run.put(*flood)
    assert has_begun.wait(PATIENCE_S)               # the node has the first one, and nobody knows yet what it says
    run.put(ahead := block_on(flood[0].block_hash, 2))
    is_queued.set()
    stub.wait_until(lambda: ahead.raw_block in stub.submitted)
    assert stub.submitted.index(ahead.raw_block) < 5
    stub.wait_until(lambda: len(stub.submitted) == 301)     # and each of the others is handed in once
    assert stub.chain[1:] == [flood[0].block_hash, ahead.block_hash]


def test_a_new_block_waits_for_no_look_up_that_hangs(stub, tmp_path):
    """The look-up may take ten minutes here; it is given up after a second."""
    stub.moods["getblockheader"] = Mood.HANG
    submitter = RpcSubmitter(0, NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"), queue.Queue(),
                             lookup_timeout_s=600.0)
    thread = threading.Thread(target=submitter.run)
    thread.start()
    submitter.inbox.put(first := block_on(stub.chain[-1], 1))
    stub.wait_until(lambda: stub.count("getblockheader") == 1)
    submitter.inbox.put(block_on(first.block_hash, 2))
    stub.wait_until(lambda: len(stub.submitted) == 2)
    submitter.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_new_block_waits_for_no_look_up_whose_calls_are_all_slow(stub, tmp_path):
    """Each call is answered within the second that a new block may wait, and together they would take three."""
    def slowly(answer: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
        def hook(params: list[Any]) -> Any:
            time.sleep(0.95)
            return answer(params)

        return hook

    for method in ("getblockheader", "getblockcount", "getblockhash"):
        stub.hooks[method] = slowly(getattr(stub, f"_do_{method}"))
    submitter = RpcSubmitter(0, NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"), queue.Queue())
    thread = threading.Thread(target=submitter.run)
    thread.start()
    submitter.inbox.put(first := block_on(stub.chain[-1], 1))
    stub.wait_until(lambda: stub.count("getblockheader") == 1)
    submitter.inbox.put(block_on(first.block_hash, 2))
    stub.wait_until(lambda: len(stub.submitted) == 2)
    assert stub.count("getblockhash") == 0          # the last call of the look-up
    submitter.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


# Calls that the node refuses.

def forbidden(stub: StubNode, *methods: str) -> None:
    stub.moods.update(dict.fromkeys(methods, Mood.FORBIDDEN))


REFUSALS = [
    ("getblockheader",), ("getblockcount",), ("getblockhash",), ("getblockheader", "getblockcount"),
    ("getblockheader", "getblock"), ("getblockheader", "getblock", "getblockcount", "getblockchaininfo"),
    ("getblockcount", "getblockchaininfo"), ("getblockhash", "getblockcount", "getblockchaininfo"),
]


@pytest.mark.parametrize("methods", REFUSALS)
@pytest.mark.parametrize("is_known_method", [True, False])
def test_a_block_gets_its_verdicts_by_whatever_calls_are_left(stub, run, block, caplog, methods, is_known_method):
    stub.hooks["getblock"] = stub._do_getblockheader
    if is_known_method:
        forbidden(stub, *methods)
    else:
        stub.hooks.update(dict.fromkeys(methods, faulty(-32601, "Method not found")))
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")
    for _ in range(6):
        stub.grow()
    assert run.outcome() == (block.block_hash, Verdict.BURIED, "")
    assert "event=node.unseen" not in caplog.text and len(stub.submitted) == 1


@pytest.mark.parametrize("methods", REFUSALS[:6])
def test_a_block_beside_the_chain_is_seen_by_whatever_calls_are_left(stub, run, methods):
    genesis = stub.chain[-1]
    stub.grow()
    stub.hooks["getblock"] = stub._do_getblockheader
    forbidden(stub, *methods)
    run.put(block := block_on(genesis, 1))
    assert run.outcome()[:2] == (block.block_hash, Verdict.SIDE)
    for _ in range(6):
        stub.grow()
    assert run.outcome() == (block.block_hash, Verdict.BURIED, "")


def test_where_nothing_shows_the_chain_the_log_says_each_minute_what_is_missing(stub, run, block, caplog):
    forbidden(stub, "getblockheader", "getblock", "getblockhash", "getblockcount", "getblockchaininfo")
    began = run.clock.now
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")        # by the answer to submitblock
    run.pass_time(600)
    minutes = (run.clock.now - began) / 60
    said = caplog.text.count("event=node.unseen")
    assert minutes / 2 - 1 <= said <= minutes + 1
    assert "missing=getblockheader,getblockcount" in caplog.text
    stub.moods.clear()                                                      # and it is tried again
    for _ in range(6):
        stub.grow()
    assert run.outcome() == (block.block_hash, Verdict.BURIED, "")


def test_a_lagging_node_gets_eight_megabytes_once(stub, run, block):
    """It says that it lacks the parent: from then on it is asked for the parent, and nothing is sent twice."""
    other = block_on(dsha(b"not here yet"), 2)
    run.put(other)
    run.pass_time(600)
    assert stub.submitted == [other.raw_block]
    assert stub.count("getblockheader") > 100
    with stub.changed:
        stub.chain.append(dsha(b"not here yet"))
    assert run.outcome() == (other.block_hash, Verdict.ACCEPTED, "")
    assert len(stub.submitted) == 2


def test_a_node_that_takes_a_minute_for_each_block_is_not_sent_it_again(stub, run, block):
    """Each submit times out, and the look-up finds what the node did meanwhile."""
    stub.moods["submitblock"] = Mood.DRIBBLE
    run.be_hasty()
    run.put(block)
    assert run.outcome() == (block.block_hash, Verdict.ACCEPTED, "")
    assert len(stub.submitted) == 1


def test_the_submitter_hears_that_the_node_has_the_block_and_how_high_it_is(stub, run, block):
    run.put(block)
    run.outcome()
    await_true(lambda: any(isinstance(each, NodeHeard) and each.height == 1 for each in run.outcomes.others))
    assert HasBlock(block.block_hash, 2) in run.outcomes.others


def test_a_block_that_left_the_journal_is_dropped(stub, run):
    run.put(lost := block_on(dsha(b"never here"), 2))
    stub.wait_until(lambda: stub.count("getblockheader") >= 3)
    run.submitter.inbox.put(DropBlock(lost.block_hash))
    await_true(lambda: not len(run.submitter._blocks))
    assert run.submitter.beat == float("inf") or await_true(lambda: run.submitter.beat == float("inf")) is None


def test_stop_while_it_waits_for_work(stub, tmp_path):
    submitter = RpcSubmitter(0, NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"), queue.Queue())
    thread = threading.Thread(target=submitter.run)
    thread.start()
    submitter.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


# What others ask.

@pytest.fixture
def looking(stub, tmp_path, monkeypatch) -> Iterator[tuple[RpcSubmitter, SubmitBlock]]:
    """One that stands in a look-up, for which a new block would not wait."""
    monkeypatch.setattr(rpcsubmit, "LOOKUP_PATIENCE_S", 0.1)
    stub.moods["getblockheader"] = Mood.HANG
    submitter = RpcSubmitter(0, NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"), queue.Queue(),
                             lookup_timeout_s=600.0)
    thread = threading.Thread(target=submitter.run)
    thread.start()
    submitter.inbox.put(first := block_on(stub.chain[-1], 1))
    stub.wait_until(lambda: stub.count("getblockheader") == 1)
    yield submitter, first
    submitter.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_who_asks_during_a_look_up_is_answered_and_ends_nothing(stub, looking):
    submitter, _ = looking
    for _ in range(3):
        report, = ask_all([submitter], PATIENCE_S)
        assert (report.name, report.handed, report.blocks) == ("submit-0", 1, 1)
    assert stub.count("getblockheader") == 1


def test_a_stop_during_a_look_up_gives_the_blocks_that_came_meanwhile_their_try(stub, looking):
    submitter, first = looking
    submitter.inbox.put(second := block_on(first.block_hash, 2))
    submitter.inbox.put(STOP)
    await_true(lambda: submitter.is_over)
    assert stub.submitted == [first.raw_block, second.raw_block]
