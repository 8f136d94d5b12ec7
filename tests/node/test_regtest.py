"""The embedded chain: judges as the consensus rules say, offers templates in time, and loses nothing to a `kill -9`."""

from __future__ import annotations

import builtins
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.node.books import RecordingBooks
from tests.node.chainblocks import mine, raw, submission
from tests.patience import PATIENCE_S
from warppool.bitcoin.coinbase import height_of
from warppool.errors import MissingExtra, NodeError
from warppool.events import Now
from warppool.mining.template import Template
from warppool.node import regtest
from warppool.node.chainitems import TIP_MOVED, AskChain, ChainAnswer
from warppool.node.items import NodeLost, Outcome, SubmitBlock, TemplateReady, Verdict
from warppool.node.journal import Journal
from warppool.node.journalthread import JournalThread
from warppool.node.kernel import ChainTip, Kernel
from warppool.node.kernelanswers import answer_of
from warppool.node.regtest import Backlog, RegtestSource, make_template
from warppool.node.submitter import NodeInbox, Submitter
from warppool.threads import STOP

pytest.importorskip("pbk")

UNIX = 1_760_000_000
GENESIS = bytes.fromhex("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206")[::-1]


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path / "regtest")
    kernel.open()
    yield kernel
    kernel.close()


def template_on(kernel: Kernel) -> Template:
    return make_template(1, kernel.tip(), UNIX, "node-0")


def template_after(block: Any) -> Template:
    """A template on a block that need not be the tip."""
    parent = block.template.tip
    tip = ChainTip(parent.height, block.block_hash, parent.nbits, parent.min_ntime)
    return make_template(2, tip, parent.min_ntime + 1, "node-0")


class FrozenClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.monotonic = 1000.0

    def __call__(self) -> Now:
        return Now(self.monotonic, UNIX)


class Rig:
    """A source in its thread, with the queues around it."""

    def __init__(self, data_dir: Path, **kwargs: Any) -> None:
        self.job_maker: queue.Queue[Any] = queue.Queue()
        self.outcomes: queue.Queue[Any] = queue.Queue()
        self.source = RegtestSource(0, data_dir, self.job_maker, self.outcomes, **kwargs)
        self.thread = threading.Thread(target=self.source.run, name="node-0")

    def template(self) -> Template:
        item = self.job_maker.get(timeout=PATIENCE_S)
        assert isinstance(item, TemplateReady), item
        return item.template

    def outcome(self) -> Outcome:
        return self.outcomes.get(timeout=PATIENCE_S)

    def stop(self) -> list[Outcome]:
        """End the thread; the outcomes that nobody took."""
        self.source.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        return [self.outcomes.get_nowait() for _ in range(self.outcomes.qsize())]


@contextmanager
def running(data_dir: Path, restore: list[SubmitBlock] | None = None, **kwargs: Any) -> Iterator[Rig]:
    rig = Rig(data_dir, **kwargs)
    for block in restore or ():
        rig.source.inbox.put(block)
    before = threading.active_count()
    rig.thread.start()
    try:
        yield rig
    finally:
        rig.stop()
    assert threading.active_count() == before


# The kernel's word.

def test_hundreds_of_blocks_mined_from_templates_are_accepted_past_the_halving(kernel: Kernel) -> None:
    for height in range(1, 311):
        template = template_on(kernel)
        assert height_of(template.coinbase_prefix) == template.tip.height == height
        block = mine(template)
        assert kernel.submit(raw(block)) == [(block.block_hash, Verdict.ACCEPTED, "")]
    assert kernel.tip().height == 310
    assert template_on(kernel).coinbase_tx_value_remaining == 1_250_000_000


def test_the_coinbase_is_locked_to_the_height_before_its_own() -> None:
    for height in (1, 2, 17, 1000):
        template = make_template(1, ChainTip(height - 1, b"\x01" * 32, 0x207FFFFF, 0), UNIX, "node-0")
        assert (template.coinbase_tx_locktime, template.coinbase_tx_input_sequence) == (height - 1, 0xFFFFFFFE)


@pytest.mark.parametrize(("height", "reward"), [(1, 5_000_000_000), (149, 5_000_000_000), (150, 2_500_000_000)])
def test_a_template_lets_the_pool_spend_the_subsidy(height: int, reward: int) -> None:
    template = make_template(1, ChainTip(height - 1, b"\x01" * 32, 0x207FFFFF, 0), UNIX, "node-0")
    assert template.coinbase_tx_value_remaining == reward
    assert template.tip.min_ntime == UNIX


def test_a_template_is_dated_after_the_median_of_the_last_blocks() -> None:
    assert make_template(1, ChainTip(1, b"\x01" * 32, 0x207FFFFF, UNIX + 9), UNIX, "node-0").tip.min_ntime == UNIX + 10


@pytest.mark.parametrize(("spoil", "reason"), [
    ({"overpay": 1}, "bad-cb-amount"),                      # process_block calls this one new and fine
    ({"is_block": False}, "high-hash"),
    ({"ntime": 1}, "time-too-old"),
    ({"ntime": 2**32 - 1}, "time-too-new"),
    ({"version": 1}, "bad-version(0x00000001)"),
    ({"nbits": 0x207FFFFE}, "bad-diffbits"),
])
def test_an_invalid_block_is_refused_with_its_reason(kernel: Kernel, spoil: dict[str, int], reason: str) -> None:
    block = mine(template_on(kernel), **spoil)      # type: ignore[arg-type]
    assert kernel.submit(raw(block)) == [(block.block_hash, Verdict.REFUSED, reason)]
    assert kernel.tip().height == 0


def test_an_unknown_parent_is_refused(kernel: Kernel) -> None:
    block = mine(make_template(1, ChainTip(1, b"\x07" * 32, 0x207FFFFF, UNIX), UNIX, "node-0"))
    assert kernel.submit(raw(block)) == [(block.block_hash, Verdict.REFUSED, "prev-blk-not-found")]


@pytest.mark.parametrize("mangle", [lambda data: data[:-1], lambda data: data + b"\x00", lambda data: data[:80]])
def test_bytes_that_are_not_exactly_a_block_are_refused(kernel: Kernel, mangle: Callable[[bytes], bytes]) -> None:
    block = mine(template_on(kernel))
    assert kernel.submit(mangle(raw(block))) == [(block.block_hash, Verdict.REFUSED, "decode-failed")]
    assert kernel.tip().height == 0


def test_duplicates_stand_where_the_block_stands(kernel: Kernel) -> None:
    active, side = mine(template_on(kernel)), mine(template_on(kernel))
    bad = mine(template_on(kernel), overpay=1)
    for block in (bad, active, side):
        kernel.submit(raw(block))
    assert kernel.submit(raw(active)) == [(active.block_hash, Verdict.ACCEPTED, "duplicate")]
    assert kernel.submit(raw(side)) == [(side.block_hash, Verdict.SIDE, "inconclusive")]
    assert kernel.submit(raw(bad)) == [(bad.block_hash, Verdict.REFUSED, "duplicate-invalid")]


def test_a_reorganization_tells_of_every_block_whose_standing_changed(kernel: Kernel) -> None:
    first, second = mine(template_on(kernel)), mine(template_on(kernel))
    kernel.submit(raw(first))
    assert kernel.submit(raw(second)) == [(second.block_hash, Verdict.SIDE, "inconclusive")]
    third = mine(template_after(second))
    own, *others = kernel.submit(raw(third))
    assert own == (third.block_hash, Verdict.ACCEPTED, "")
    assert sorted(others) == sorted([
        (first.block_hash, Verdict.SIDE, "reorganized"),
        (second.block_hash, Verdict.ACCEPTED, ""),
    ])
    assert kernel.block_at(1) == second.block_hash


def test_a_side_block_that_proves_bad_when_it_would_win_is_refused_late(kernel: Kernel) -> None:
    good, bad = mine(template_on(kernel)), mine(template_on(kernel), overpay=1)
    kernel.submit(raw(good))
    assert kernel.submit(raw(bad)) == [(bad.block_hash, Verdict.SIDE, "inconclusive")]
    child = mine(template_after(bad))
    assert kernel.submit(raw(child)) == [
        (child.block_hash, Verdict.SIDE, "inconclusive"),
        (bad.block_hash, Verdict.REFUSED, "bad-cb-amount"),
    ]
    assert kernel.tip_hash() == good.block_hash


def test_a_flush_keeps_active_and_side_blocks(kernel: Kernel) -> None:
    active, side = mine(template_on(kernel)), mine(template_on(kernel))
    kernel.submit(raw(active))
    kernel.submit(raw(side))
    kernel.flush()
    assert kernel.tip_hash() == active.block_hash
    assert kernel.is_active(active.block_hash) and not kernel.is_active(side.block_hash)
    assert kernel.knows(side.block_hash) and not kernel.knows(b"\x07" * 32)
    assert not kernel.is_active(b"\x07" * 32)


def test_a_coinbase_is_read_back_from_the_chain_active_or_beside_it(kernel: Kernel) -> None:
    template = template_on(kernel)
    active, side = mine(template), mine(template)
    for block in (active, side):
        kernel.submit(raw(block))
    kernel.flush()
    assert [kernel.coinbase_of(block.block_hash) for block in (active, side)] == [
        active.coinbase_tx, side.coinbase_tx]
    with pytest.raises(NodeError, match="07070707"):
        kernel.coinbase_of(b"\x07" * 32)


def test_one_directory_has_one_kernel_and_the_refusal_leaves_its_locks_alone(kernel: Kernel, tmp_path: Path) -> None:
    opening = (
        "import sys; from pathlib import Path; from warppool.node.kernel import Kernel; "
        "from warppool.errors import NodeError\n"
        "try: Kernel(Path(sys.argv[1])).open()\n"
        "except NodeError as exc: print(exc)"
    )
    for _ in range(2):
        with pytest.raises(NodeError, match="another process uses the embedded chain"):
            Kernel(tmp_path / "regtest").open()
        said = subprocess.run([sys.executable, "-c", opening, str(tmp_path / "regtest")], capture_output=True,
                              text=True, check=True, timeout=PATIENCE_S)
        assert "another process uses the embedded chain" in said.stdout


def test_a_broken_directory_is_said_with_the_kernels_words_and_a_cure(kernel: Kernel, tmp_path: Path) -> None:
    kernel.close()
    (tmp_path / "regtest" / "chainstate" / "CURRENT").write_text("garbage")
    with pytest.raises(NodeError, match=r"Error opening coins database; .*move the directory away"):
        kernel.open()


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without_pbk(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pbk":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pbk)
    with pytest.raises(MissingExtra, match=r"pip install 'warppool\[regtest\]'"):
        RegtestSource(0, tmp_path, queue.Queue(), queue.Queue())


# The source.

def test_each_new_tip_brings_a_template_until_stop_buries_all(tmp_path: Path) -> None:
    blocks = []
    with running(tmp_path) as rig:
        template = rig.template()
        assert (template.tip.height, template.source, template.transactions) == (1, "node-0", ())
        for height in range(1, 4):
            blocks.append(mine(template))
            rig.source.inbox.put(submission(blocks[-1]))
            assert rig.outcome() == Outcome(blocks[-1].block_hash, 0, Verdict.ACCEPTED, "")
            template = rig.template()
            assert (template.tip.height, template.tip.prev_hash) == (height + 1, blocks[-1].block_hash)
        assert rig.stop() == [Outcome(block.block_hash, 0, Verdict.BURIED, "") for block in blocks]
    with running(tmp_path) as rig:
        assert rig.template().tip.prev_hash == blocks[-1].block_hash


def test_templates_are_200_ms_apart_and_the_newest_tip_gets_the_next(tmp_path: Path) -> None:
    clock = FrozenClock()
    with running(tmp_path, now=clock) as rig:
        template = rig.template()
        chain = [mine(template)]
        for _ in range(2):
            chain.append(mine(template_after(chain[-1])))
        for block in chain:
            rig.source.inbox.put(submission(block))
            assert rig.outcome().verdict is Verdict.ACCEPTED
        clock.monotonic += 0.199
        side = mine(template)
        rig.source.inbox.put(submission(side))
        assert rig.outcome().verdict is Verdict.SIDE            # the barrier: a turn has passed, and no template came
        assert rig.job_maker.empty()
        clock.monotonic += 0.002
        assert rig.template().tip.prev_hash == chain[-1].block_hash


def test_what_the_journal_held_is_in_the_chain_before_the_first_template(tmp_path: Path, kernel: Kernel) -> None:
    blocks = []
    for _ in range(150):
        blocks.append(mine(template_on(kernel)))
        kernel.submit(raw(blocks[-1]))
    with running(tmp_path / "fresh", [submission(block) for block in blocks]) as rig:
        assert rig.template().tip.prev_hash == blocks[-1].block_hash
        assert [rig.outcome().verdict for _ in blocks] == [Verdict.ACCEPTED] * 150


def test_blocks_are_buried_after_each_flush_and_only_those_that_the_chain_has(tmp_path: Path) -> None:
    with running(tmp_path, flush_every=20) as rig:
        template = rig.template()
        bad, blocks = mine(template, overpay=1), [mine(template)]
        for _ in range(18):
            blocks.append(mine(template_after(blocks[-1])))
        rig.source.inbox.put(submission(bad))
        assert rig.outcome() == Outcome(bad.block_hash, 0, Verdict.REFUSED, "bad-cb-amount")
        for block in blocks:
            rig.source.inbox.put(submission(block))
        outcomes = [rig.outcome() for _ in range(38)]
        assert [each.verdict for each in outcomes] == [Verdict.ACCEPTED] * 19 + [Verdict.BURIED] * 19
        assert [each.block_hash for each in outcomes[19:]] == [block.block_hash for block in blocks]
        last = mine(template_after(blocks[-1]))
        rig.source.inbox.put(submission(last))
        assert rig.outcome() == Outcome(last.block_hash, 0, Verdict.ACCEPTED, "")
        assert rig.stop() == [Outcome(last.block_hash, 0, Verdict.BURIED, "")]


def test_a_block_that_a_flush_lost_is_not_buried_and_goes_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Kernel.knows
    lost: list[bytes] = []

    def forgets_once(self: Kernel, block_hash: bytes) -> bool:
        if not lost:
            lost.append(block_hash)
            return False
        return real(self, block_hash)

    monkeypatch.setattr(Kernel, "knows", forgets_once)
    with running(tmp_path, flush_every=1) as rig:
        block = mine(rig.template())
        rig.source.inbox.put(submission(block))
        verdicts = [rig.outcome().verdict for _ in range(3)]
        assert verdicts == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.BURIED] and lost == [block.block_hash]


def test_what_stands_on_the_tip_is_taken_first_and_parents_before_children() -> None:
    backlog = Backlog()
    root = make_template(1, ChainTip(0, b"\x01" * 32, 0x207FFFFF, 0), UNIX, "node-0")
    rivals = [mine(root) for _ in range(3)]
    child, later = mine(template_after(rivals[0])), mine(template_after(rivals[1]))
    for block in (*rivals, child, later):
        backlog.add(submission(block))
    order, tip = [], b"\x01" * 32
    while backlog:
        order.append(backlog.take(tip).block_hash)
        tip = order[-1] if len(order) <= 2 else tip
    assert order == [block.block_hash for block in (rivals[0], child, rivals[1], rivals[2], later)]


def test_a_stop_leaves_a_long_backlog_to_the_journal(tmp_path: Path) -> None:
    clock = FrozenClock()
    template = make_template(1, ChainTip(0, GENESIS, 0x207FFFFF, 0), UNIX, "node-0")
    blocks = [mine(template) for _ in range(30)]
    source = RegtestSource(0, tmp_path, queue.Queue(), queue.Queue(), now=clock)
    real = source._kernel.submit

    def slow(raw_block: bytes) -> Any:
        clock.monotonic += 0.3
        return real(raw_block)

    source._kernel.submit = slow            # type: ignore[method-assign]
    for block in blocks:
        source.inbox.put(submission(block))
    source.stop()
    source.run()
    outcomes = [source._submitter.get_nowait() for _ in range(source._submitter.qsize())]
    assert [each.verdict for each in outcomes] == [Verdict.ACCEPTED, *[Verdict.SIDE] * 3, *[Verdict.BURIED] * 4]


def test_a_chain_in_use_is_a_lost_node_said_once_and_found_again(tmp_path: Path, kernel: Kernel) -> None:
    block = mine(template_on(kernel))
    with running(tmp_path, [submission(block)]) as rig:
        lost = rig.job_maker.get(timeout=PATIENCE_S)
        assert isinstance(lost, NodeLost) and "stop it first" in lost.reason
        kernel.close()
        assert rig.template().tip.prev_hash == block.block_hash     # the next item: it was said once


def test_a_kernel_without_a_verdict_gets_the_block_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = Kernel.submit, [NodeError("no verdict"), RuntimeError("unforeseen")]

    def fails_at_first(self: Kernel, raw_block: bytes) -> Any:
        if failures:
            raise failures.pop(0)
        return real(self, raw_block)

    monkeypatch.setattr(regtest, "_FIRST_PAUSE_S", 0.01)
    with running(tmp_path) as rig:
        block = mine(rig.template())
        monkeypatch.setattr(Kernel, "submit", fails_at_first)
        rig.source.inbox.put(submission(block))
        assert rig.job_maker.get(timeout=PATIENCE_S) == NodeLost(0, "no verdict")
        assert rig.template().tip.prev_hash == block.block_hash
        assert rig.outcome() == Outcome(block.block_hash, 0, Verdict.ACCEPTED, "")


def test_a_source_without_a_kernel_stops_at_once(tmp_path: Path, kernel: Kernel) -> None:
    with running(tmp_path) as rig:
        assert isinstance(rig.job_maker.get(timeout=PATIENCE_S), NodeLost)
        assert rig.stop() == []


# A whole chain of threads, killed.

MINING = """
import logging, queue, sys, threading
from pathlib import Path
from tests.node.books import RecordingBooks
from tests.node.books import RecordingBooks
from tests.node.chainblocks import mine
from warppool.node.items import Found
from warppool.node.journal import Journal
from warppool.node.journalthread import JournalThread
from warppool.node.regtest import RegtestSource
from warppool.node.submitter import NodeInbox, Submitter

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
data_dir, job_maker, inbox = Path(sys.argv[1]), queue.Queue(), queue.Queue()
source = RegtestSource(0, data_dir, job_maker, inbox, flush_every=int(sys.argv[2]))
journal = JournalThread(Journal(data_dir / "blocks"), inbox)
submitter = Submitter(inbox, journal, {0: NodeInbox(source.inbox, True)}, RecordingBooks())
submitter.replay()
threads = [threading.Thread(target=each, daemon=True) for each in (journal.run, submitter.run, source.run)]
for thread in threads:
    thread.start()
for _ in range(int(sys.argv[3])):
    template = job_maker.get().template
    for _ in range(4):                                  # one for the chain and three beside it
        inbox.put(Found(mine(template), None))
job_maker.get()
"""


def found_until_killed(data_dir: Path, flush_every: int, found: int) -> tuple[set[bytes], int, bytes]:
    """Mine in another process and kill it after so many finds: what it said it found, the height and tip it said."""
    miner = subprocess.Popen([sys.executable, "-c", MINING, str(data_dir), str(flush_every), "1000"], text=True,
                             stdout=subprocess.PIPE)
    hashes: set[bytes] = set()
    height, tip = 0, b""
    assert miner.stdout is not None
    with miner, miner.stdout:
        for line in miner.stdout:
            fields = dict(each.split("=", 1) for each in line.split())
            if fields["event"] == "block.found":
                hashes.add(bytes.fromhex(fields["hash"])[::-1])
            if fields["event"] == "block.accepted":
                height, tip = int(fields["height"]), bytes.fromhex(fields["hash"])[::-1]
            if len(hashes) == found:
                miner.send_signal(signal.SIGKILL)       # what it wrote until it dies is read, too
    assert miner.returncode == -signal.SIGKILL
    return hashes, height, tip


@pytest.mark.parametrize(("flush_every", "found"), [(1000, 9), (5, 14), (3, 15)])
def test_a_killed_process_comes_back_to_the_same_chain(tmp_path: Path, flush_every: int, found: int) -> None:
    hashes, height, tip = found_until_killed(tmp_path, flush_every, found)
    assert len(hashes) >= found and height >= 2

    job_maker: queue.Queue[Any] = queue.Queue()
    inbox: queue.Queue[Any] = queue.Queue()
    source = RegtestSource(0, tmp_path, job_maker, inbox)
    journal = JournalThread(Journal(tmp_path / "blocks"), inbox)
    submitter = Submitter(inbox, journal, {0: NodeInbox(source.inbox, True)}, RecordingBooks())
    submitter.replay()
    threads = [threading.Thread(target=each) for each in (submitter.run, source.run, journal.run)]
    for thread in threads:
        thread.start()
    template = job_maker.get(timeout=PATIENCE_S).template
    source.stop()
    threads[1].join(PATIENCE_S)
    inbox.put(STOP)
    threads[0].join(PATIENCE_S)
    journal.inbox.put(STOP)
    threads[2].join(PATIENCE_S)

    kernel = Kernel(tmp_path / "regtest")
    kernel.open()
    try:
        assert template.tip.prev_hash == kernel.tip_hash()
        assert kernel.tip().height >= height
        # Each height has four blocks of equal work. A kill in the midst of a flush may leave the kernel's chain behind
        # its index, and then the kernel itself chooses among them anew.
        assert kernel.block_at(height) == tip or (flush_every < found and kernel.block_at(height) in hashes)
        assert [each for each in hashes if not kernel.knows(each)] == []
    finally:
        kernel.close()
    assert list((tmp_path / "blocks").glob("*.block")) == []        # the last flush buried them all


def test_the_embedded_chain_says_where_own_blocks_stand_and_which_are_ours(kernel, tmp_path):
    start = b"wxyz"
    blocks = []
    for number in range(4):
        template = template_on(kernel)
        if number == 2:
            template = replace(template, coinbase_prefix=template.coinbase_prefix + b"\x10" + start)
        blocks.append(block := mine(template))
        kernel.submit(raw(block))
    side = mine(blocks[3].template)
    kernel.submit(raw(side))
    hashes = [block.block_hash for block in blocks]
    answers: queue.Queue[object] = queue.Queue()

    def ask(*own: tuple[bytes, int], tip: bytes = hashes[3], looked: frozenset[bytes] = frozenset()) -> ChainAnswer:
        return answer_of(kernel, AskChain(tip, own, looked, 144, frozenset({start}), answers), 3)

    answer = ask((hashes[0], 1), (hashes[3], 4), (side.block_hash, 4), (b"\x01" * 32, 4), (b"\x01" * 32, 5))
    assert [each.confirmations for each in answer.standings] == [4, 1, 0, 0, None]
    assert (answer.node, answer.height, answer.looked, answer.trouble) == (3, 4, (GENESIS, *hashes), "")
    assert ask(looked=frozenset({hashes[1]})).looked == (hashes[2], hashes[3])
    assert ask(tip=hashes[2]).trouble == "its tip is another one by now"


def test_a_later_question_takes_the_place_of_one_that_waits(tmp_path: Path) -> None:
    rig, answers = Rig(tmp_path), queue.Queue()
    for tip in (b"\x01" * 32, b"\x02" * 32):
        rig.source.inbox.put(AskChain(tip, (), frozenset(), 1, frozenset(), answers))
    rig.thread.start()
    answer = answers.get(timeout=PATIENCE_S)
    rig.stop()
    assert (answer.tip, answer.trouble, answers.empty()) == (b"\x02" * 32, TIP_MOVED, True)
