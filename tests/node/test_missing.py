"""Blocks of ours that the books lack are found on the chain; nobody else's are, and nothing is asked without need."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mining.makers import PAYOUT, SHUFFLE, make_template, make_tip
from tests.node.books import RecordingBooks
from tests.node.stub import PATIENCE_S, FakeClock, Mood, RpcFault, StubNode, display, dsha
from warppool.addresses import NodeAddress
from warppool.bitcoin.coinbase import restore_witness
from warppool.errors import LedgerError
from warppool.mining.job import JobFactory
from warppool.mining.payrule import ToPool
from warppool.node.jsonrpc import Cookie
from warppool.node.missing import DEPTH, FINDER, MissingBlocks, Ours

pytestmark = pytest.mark.usefixtures("all_levels")

TAG, START, OLD_START = b"/warppool/", b"\xaa\xbb\xcc\xdd", b"1234"
SERVER = 7


def coinbase(height: int, *, tag: bytes = TAG, start: bytes = START, server: int = SERVER) -> bytes:
    factory = JobFactory(payer=ToPool(PAYOUT), tag=tag, start_id=start, shuffle=SHUFFLE, encoders={})
    head, tail = factory.make(make_template(make_tip(height=height)), now=0.0).coinbase_halves(12)
    return restore_witness(head + bytes((server,)) + bytes(11) + tail)


class Chain:
    """A stub whose blocks have the coinbases that the test gives; other heights have somebody else's."""

    def __init__(self, stub: StubNode, height: int, coinbases: dict[int, bytes]) -> None:
        self.stub = stub
        for _ in range(height):
            stub.grow()
        self.coinbases = coinbases
        stub.hooks["getblock"] = self.getblock
        stub.hooks["getrawtransaction"] = self.getrawtransaction
        stub.hooks["getblockchaininfo"] = lambda params: {
            "blocks": len(stub.chain) - 1, "bestblockhash": display(stub.chain[-1]),
            "chainwork": f"{len(stub.chain):064x}"}

    def hash_at(self, height: int) -> bytes:
        return self.stub.chain[height]

    def getblock(self, params: list[Any]) -> dict[str, Any] | str:
        height = self.stub.chain.index(bytes.fromhex(params[0])[::-1])
        if params[1] == 0:
            return (bytes(80) + b"\x02" + self.coinbase_at(height) + b"another transaction").hex()
        answer = {"hash": params[0], "height": height, "time": 1_700_000_000 + height, "bits": "207fffff",
                  "tx": [display(dsha(b"coinbase %d" % height)), "ff" * 32]}
        return answer | ({"previousblockhash": display(self.stub.chain[height - 1])} if height else {})

    def getrawtransaction(self, params: list[Any]) -> str:
        height = self.stub.chain.index(bytes.fromhex(params[2])[::-1])
        assert params[:2] == [display(dsha(b"coinbase %d" % height)), False]
        return self.coinbase_at(height).hex()

    def coinbase_at(self, height: int) -> bytes:
        return self.coinbases.get(height, coinbase(height, tag=b"/theirs/"))


class Rig:
    """A search in this thread, with a clock that does not wait."""

    def __init__(self, *stubs: StubNode) -> None:
        self.books = RecordingBooks()
        self.booked: set[bytes] = set()
        self.troubles: list[Exception] = []
        self.clock = FakeClock()
        self.stubs = stubs

    def search(self, start_ids: frozenset[bytes] = frozenset({START, OLD_START})) -> list[bytes]:
        """The hashes that were booked."""
        missing = MissingBlocks(
            [(NodeAddress.parse(stub.url), Cookie(stub.cookie)) for stub in self.stubs if stub.cookie is not None],
            Ours(TAG, start_ids, SERVER), self.books, may_begin=lambda: True, is_booked=self.is_booked,
            clock=self.clock)
        missing.run()
        return [told[1] for told in self.books.told if told[0] == "block"]

    def is_booked(self, block_hash: bytes) -> bool:
        if self.troubles:
            raise self.troubles.pop()
        return block_hash in self.booked


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(cookie=tmp_path / ".cookie") as stub:
        yield stub


def test_our_blocks_that_the_books_lack_are_booked_with_a_warning(
    stub: StubNode, caplog: pytest.LogCaptureFixture
) -> None:
    chain = Chain(stub, 200, {
        199: coinbase(199), 190: coinbase(190, start=OLD_START), 180: coinbase(180), 56: coinbase(56),
        170: coinbase(170, tag=b"/warpool/"), 160: coinbase(160, start=b"abcd"), 150: coinbase(150, server=8)})
    rig = Rig(stub)
    rig.booked = {chain.hash_at(180)}
    assert rig.search() == [chain.hash_at(199), chain.hash_at(190)]         # 56 is deeper than 144 blocks
    assert rig.books.told[0] == ("block", chain.hash_at(199), 199, FINDER, 1_700_000_199.0, pytest.approx(4.6565e-10))
    assert rig.books.told[1][:3] == ("outcome", chain.hash_at(199), "accepted")
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 2
    assert f"event=block.recovered height=199 hash={display(chain.hash_at(199))}" in warnings[0]
    assert stub.count("getblock") == stub.count("getrawtransaction") == DEPTH


def test_the_last_of_the_144_is_looked_at(stub: StubNode) -> None:
    chain = Chain(stub, 200, {57: coinbase(57)})
    assert Rig(stub).search() == [chain.hash_at(57)]


def test_a_short_chain_ends_at_its_first_block(stub: StubNode) -> None:
    chain = Chain(stub, 3, {1: coinbase(1)})
    assert Rig(stub).search() == [chain.hash_at(1)]


def test_a_first_start_asks_nothing(stub: StubNode) -> None:
    Chain(stub, 3, {1: coinbase(1)})
    assert Rig(stub).search(frozenset()) == [] and stub.calls == []


def test_the_best_chain_is_looked_at(stub: StubNode, tmp_path: Path) -> None:
    Chain(stub, 5, {})
    with StubNode(cookie=tmp_path / ".other") as other:
        chain = Chain(other, 9, {8: coinbase(8)})
        assert Rig(stub, other).search() == [chain.hash_at(8)]
        assert stub.count("getblock") == 0
        other.stop()
        assert Rig(stub, other).search() == []                  # and without it, the one that answers
        other.start()
    assert stub.count("getblock") == 6


def test_what_is_only_trouble_of_the_moment_is_tried_again(stub: StubNode) -> None:
    chain = Chain(stub, 5, {4: coinbase(4)})
    rig = Rig(stub)
    rig.troubles = [LedgerError("locked"), LedgerError("locked")]
    tries = iter([RpcFault(-28, "Loading block index..."), None, None])

    def getblock(params: list[Any]) -> Any:
        if (fault := next(tries, None)) is not None:
            raise fault
        return chain.getblock(params)

    stub.hooks["getblock"] = getblock
    assert rig.search() == [chain.hash_at(4)]


def refuse(stub: StubNode, method: str, mood: Mood | None) -> None:
    if mood is None:
        del stub.hooks[method]                                  # no such method
    else:
        stub.moods[method] = mood


@pytest.mark.parametrize("mood", [Mood.FORBIDDEN, None])
def test_a_node_that_refuses_is_said_once(stub: StubNode, caplog: pytest.LogCaptureFixture, mood: Mood | None) -> None:
    Chain(stub, 5, {4: coinbase(4)})
    refuse(stub, "getblock", mood)
    assert Rig(stub).search() == []
    assert caplog.text.count("event=missing.unseen") == 1 and stub.count("getblock") == 1


@pytest.mark.parametrize("mood", [Mood.FORBIDDEN, None])
def test_a_node_that_gives_no_single_transactions_is_asked_for_whole_blocks(stub: StubNode, mood: Mood | None) -> None:
    """As btcd, whose getrawtransaction takes no block."""
    chain = Chain(stub, 5, {2: coinbase(2)})
    refuse(stub, "getrawtransaction", mood)
    assert Rig(stub).search() == [chain.hash_at(2)]
    assert stub.count("getrawtransaction") == 1


@pytest.mark.parametrize("answer", [None, [], {}, "00", {"hash": 1, "tx": []}])
def test_odd_answers_end_nothing(stub: StubNode, answer: object) -> None:
    chain = Chain(stub, 5, {4: coinbase(4)})
    answers = [answer]
    stub.hooks["getblock"] = lambda params: answers.pop() if answers else chain.getblock(params)
    assert Rig(stub).search() == [chain.hash_at(4)]


def test_stop_ends_it_while_it_waits_and_while_the_node_hangs(stub: StubNode) -> None:
    for may_begin in (False, True):
        stub.moods["getblockchaininfo"] = Mood.HANG
        missing = MissingBlocks(
            [(NodeAddress.parse(stub.url), Cookie(stub.cookie or Path()))], Ours(TAG, {START}, SERVER),
            RecordingBooks(), may_begin=lambda may_begin=may_begin: may_begin, is_booked=lambda block_hash: False,
            clock=FakeClock() if may_begin else None)
        thread = threading.Thread(target=missing.run)
        thread.start()
        if may_begin:
            stub.wait_until(lambda: stub.count("getblockchaininfo") >= 1)
        missing.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
