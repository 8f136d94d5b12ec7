"""A node that falls ill, and the pool around it: miners stay and work, and a block found meanwhile arrives in the end.

The daemon is whole and in this process, with the times of its node threads made short: a node that hangs is given a
quarter of a second instead of half a minute. Only one test waits for real, ten seconds.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.mining.makers import make_factory
from tests.node.chainblocks import mine, submission
from tests.node.outcomes import OutcomeQueue
from tests.node.stub import PATIENCE_S, Mood, StubNode, await_true, display, dsha
from tests.service.byhand import HandMiner
from tests.service.process import ADDRESS, fields_of
from warppool.addresses import NodeAddress
from warppool.config.options import Config, Secrets
from warppool.config.pool import config_of
from warppool.events import BlockFound
from warppool.mining.job import Job
from warppool.node import jobmaker, pace
from warppool.node.items import Verdict
from warppool.node.jobmaker import FRESH_JOB_S, JobMaker
from warppool.node.jsonrpc import Cookie
from warppool.node.rpc import RpcSource
from warppool.node.rpcsubmit import RpcSubmitter
from warppool.noise.primitives import public_key
from warppool.service import nodes as wiring
from warppool.service.pool import Pool
from warppool.threads import STOP

SECRET = bytes(range(1, 33))
REFRESH_S = 0.15
CALL_TIMEOUT_S = 0.25
FRESH_S = 0.3


class Log:
    """What the daemon said since the test began."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def lines(self) -> list[tuple[int, dict[str, str]]]:
        return [(record.levelno, fields_of(record.getMessage())) for record in list(self._caplog.records)]

    def events(self, *names: str) -> list[dict[str, str]]:
        return [fields for _, fields in self.lines() if fields.get("event") in names]

    def warnings(self) -> Counter[str]:
        """How often each event of WARNING and above was said."""
        return Counter(fields.get("event", "?") for level, fields in self.lines() if level >= logging.WARNING)

    def has(self, name: str, **wanted: str) -> Callable[[], bool]:
        """A condition: it was said, with these fields."""
        return lambda: any(wanted.items() <= fields.items() for fields in self.events(name))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    with caplog.at_level(logging.DEBUG, logger="warppool"):
        yield Log(caplog)


@pytest.fixture
def cookie(tmp_path: Path) -> Path:
    return tmp_path / ".cookie"


@pytest.fixture
def stub(cookie: Path) -> Iterator[StubNode]:
    with StubNode(cookie=cookie) as stub:
        yield stub


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half minutes of the node threads become parts of a second."""

    class HastySource(RpcSource):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more | {"refresh_s": REFRESH_S, "call_timeout_s": CALL_TIMEOUT_S})

    class HastySubmitter(RpcSubmitter):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, submit_timeout_s=CALL_TIMEOUT_S, lookup_timeout_s=CALL_TIMEOUT_S)

    monkeypatch.setattr(wiring, "RpcSource", HastySource)
    monkeypatch.setattr(wiring, "RpcSubmitter", HastySubmitter)
    monkeypatch.setattr("warppool.node.rpc.SAME_TIP_TURN_S", 0.05)
    monkeypatch.setattr("warppool.node.rpc.AGAIN_S", 0.1)
    monkeypatch.setattr(jobmaker, "SAME_TIP_JOB_S", 0.05)
    monkeypatch.setattr(pace, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(pace, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(jobmaker, "FRESH_JOB_S", FRESH_S)


def config_for(folder: Path, *stubs: StubNode) -> Config:
    """A pool on these nodes, where every hash is a share, however fast they come."""
    document = {
        "pool": {"network": "regtest", "payout_address": ADDRESS, "data_dir": str(folder / "data")},
        "stratum": {"listen": [], "sv2_listen": ["127.0.0.1:0"]},
        "difficulty": dict.fromkeys(("start", "min", "max"), Decimal("1e-10")),
        "node": [{"url": stub.url, "cookie_file": str(stub.cookie)} for stub in stubs],
    }
    return config_of(document, folder=folder, secrets=Secrets(sv2_static_priv_key=SECRET), environ={}, source="test")


@contextmanager
def running(folder: Path, *stubs: StubNode) -> Iterator[Pool]:
    """A daemon that is ready; afterwards no thread of it is left, whatever its nodes do."""
    before = set(threading.enumerate())
    daemon = Pool(config_for(folder, *stubs))
    daemon.service.start()
    try:
        assert daemon.service.is_ready.wait(PATIENCE_S)
        yield daemon
    finally:
        daemon.service.stop()
    assert not daemon.service.has_failed.is_set()
    ours = [thread.name for thread in threading.enumerate() if thread not in before]
    assert [name for name in ours if not name.startswith("stub-")] == []


def miner_of(daemon: Pool, kind: str = "standard") -> HandMiner:
    return HandMiner(daemon.ports.listeners[0].port, public_key(SECRET), kind=kind)


# --- one node in every mood -------------------------------------------------------------------------------------------

Change = Callable[[StubNode], None]


def falls_into(mood: Mood) -> Change:
    return lambda stub: setattr(stub, "mood", mood)


def changes_its_login(stub: StubNode) -> None:
    """And the cookie file still shows the old one."""
    with stub.changed:
        stub.login = b"__cookie__:another"


def writes_its_cookie(stub: StubNode) -> None:
    assert stub.cookie is not None
    stub.cookie.write_bytes(stub.login)


TROUBLES: dict[str, tuple[Change, Change, str]] = {
    "hangs": (falls_into(Mood.HANG), falls_into(Mood.WELL), "no whole answer"),
    "401": (changes_its_login, writes_its_cookie, "HTTP 401"),
    "503": (falls_into(Mood.BUSY), falls_into(Mood.WELL), "HTTP 503"),
    "garbage": (falls_into(Mood.GARBAGE), falls_into(Mood.WELL), "is not HTTP"),
    "half a body": (falls_into(Mood.HALF), falls_into(Mood.WELL), "in the middle of an answer"),
    "dribbles": (falls_into(Mood.DRIBBLE), falls_into(Mood.WELL), "no whole answer"),
    "gone": (StubNode.stop, lambda stub: (stub.start(), None)[1], "Connection refused"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.usefixtures("hasty")
def test_miners_mine_on_while_the_node_is_ill_and_their_block_arrives_afterwards(trouble, tmp_path, stub, log):
    begin, end, words = TROUBLES[trouble]
    with running(tmp_path, stub) as daemon, miner_of(daemon) as miner, miner_of(daemon, "extended") as other:
        miner.share()
        genesis = miner.work.prev_hash
        begin(stub)
        miner.until(log.has("template.lost"))
        assert words in log.events("node.lost")[0]["reason"]

        seen = len(miner.jobs)
        miner.until(lambda: len(miner.jobs) >= seen + 2)                # fresh jobs go out
        assert miner.work.prev_hash == genesis
        for each in (miner, other, miner):
            each.share()
        block = other.share(is_block=True)
        miner.until(log.has("block.delayed"))
        for each in (miner, other):
            each.share()
        assert not log.events("block.accepted", "node.back")

        end(stub)
        miner.until(lambda: miner.work.prev_hash == block)
        miner.until(log.has("block.accepted", hash=block[::-1].hex(), height="1"))
        other.until(lambda: other.work.prev_hash == block)
        for each in (miner, other):
            each.share()
        second = miner.share(is_block=True)
        other.until(lambda: other.work.prev_hash == second)
    assert stub.chain[1:] == [block, second]
    assert {dsha(raw[:80]) for raw in stub.submitted} == {block, second} and len(set(stub.submitted)) == 2
    of_first = [fields["event"] for fields in log.events("block.found", "block.submitted", "block.accepted")
                if fields["hash"] == block[::-1].hex()]
    assert of_first == ["block.submitted", "block.found", "block.accepted"]
    assert [fields["node"] for fields in log.events("node.lost", "node.back")] == ["node-0"] * 2
    assert log.warnings() == {"node.lost": 1, "template.lost": 1, "block.delayed": 1}


@pytest.mark.usefixtures("hasty")
def test_a_node_that_restarts_with_a_new_cookie(tmp_path, stub, log):
    with running(tmp_path, stub) as daemon, miner_of(daemon) as miner:
        stub.new_login()                            # no miner and no operator notices
        tip = stub.grow()
        miner.until(lambda: miner.work.prev_hash == tip)
        block = miner.share(is_block=True)
        miner.until(lambda: miner.work.prev_hash == block)
        assert not log.events("node.lost")
        stub.stop()
        miner.until(log.has("node.lost"))
        stub.new_login()
        stub.start()
        tip = stub.grow()
        miner.until(lambda: miner.work.prev_hash == tip)
        assert log.warnings() == {"node.lost": 1, "template.lost": 1}


@pytest.mark.usefixtures("hasty")
def test_a_node_that_gives_templates_and_takes_no_blocks(tmp_path, stub, log):
    stub.moods["submitblock"] = Mood.HANG
    with running(tmp_path, stub) as daemon, miner_of(daemon) as miner:
        block = miner.share(is_block=True)
        miner.until(log.has("block.delayed"))
        tip = stub.grow()                           # someone else's: ours is beside the chain now
        miner.until(lambda: miner.work.prev_hash == tip)
        miner.share()
        assert not log.events("node.lost", "block.side")
        stub.moods.clear()
        miner.until(log.has("block.side", hash=block[::-1].hex()))
    assert log.warnings() == {"block.delayed": 1, "block.side": 1}


@pytest.mark.parametrize("mood", [Mood.HANG, Mood.DRIBBLE, None])
def test_the_pool_stops_while_the_node_is_ill_and_hands_the_block_in_after_a_restart(mood, tmp_path, stub, log):
    """With the times of the real thing: what hangs, hangs for half a minute."""
    with running(tmp_path, stub) as daemon, miner_of(daemon) as miner:
        if mood is None:
            stub.stop()
        else:
            stub.mood = mood
        block = miner.share(is_block=True)
        miner.until(log.has("block.submitted"))
    assert log.events("daemon.stopped") and not log.events("daemon.hanging", "block.accepted")
    if mood is None:
        stub.start()
    stub.mood = Mood.WELL
    with running(tmp_path, stub) as daemon, miner_of(daemon) as miner:
        miner.until(lambda: miner.work.prev_hash == block)
        miner.until(log.has("block.accepted"))
        miner.share()
    assert stub.chain[1:] == [block]
    names = [fields["event"] for fields in log.events("block.found", "block.submitted", "block.accepted")]
    assert names == ["block.submitted", "block.found", "block.accepted"]


def test_ten_real_seconds_without_the_node(tmp_path, stub, log, monkeypatch):
    """With the times of the real thing, but for how long it waits to look again."""
    monkeypatch.setattr(pace, "LONGEST_PAUSE_S", 2.0)
    with running(tmp_path, stub) as daemon, miner_of(daemon) as miner:
        miner.share()
        stub.stop()
        back_at = time.monotonic() + 10.0
        block = miner.share(is_block=True)
        while time.monotonic() < back_at:
            miner.share()
            pause = time.monotonic() + 0.1
            miner.until(lambda: time.monotonic() >= pause)      # noqa: B023 - called at once
        stub.start()
        miner.until(log.has("node.back"))
        miner.until(log.has("block.accepted"))
        miner.until(lambda: miner.work.prev_hash == block)
        miner.share()
    assert stub.chain[1:] == [block] and len(stub.submitted) == 1
    assert log.warnings() == {"node.lost": 1, "template.lost": 1, "block.delayed": 1}


# --- two nodes --------------------------------------------------------------------------------------------------------

@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[StubNode, StubNode]]:
    """Two nodes with one chain; the second is away."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(StubNode(cookie=tmp_path / f".cookie-{number}")) for number in range(2))
        second.stop()
        yield first, second


@pytest.mark.usefixtures("hasty")
def test_blocks_go_to_both_nodes_and_templates_come_from_the_one_that_answers(tmp_path, pair, log):
    first, second = pair
    with running(tmp_path, first, second) as daemon, miner_of(daemon) as miner:

        def mine_block() -> bytes:
            block = miner.share(is_block=True)
            miner.until(lambda: miner.work.prev_hash == block)
            return block

        miner.until(log.has("node.lost", node="node-1"))
        blocks = [mine_block()]
        second.start()
        miner.until(log.has("node.back", node="node-1"))
        miner.until(lambda: second.chain == first.chain)                # it gets what it missed
        blocks.append(mine_block())
        # Else the pool would go on with the template before, which is one block behind.
        miner.until(log.has("template.received", node="node-1", prev_hash=display(blocks[-1])))
        assert log.events("template.source")[0]["node"] == "node-0"

        first.stop()
        miner.until(log.has("node.lost", node="node-0"))
        miner.until(lambda: log.events("template.source")[-1]["node"] == "node-1")
        miner.share()                                                   # nothing is stale: the tip is the same
        blocks += [mine_block(), mine_block()]
        assert first.chain[1:] == blocks[:2]
        first.start()
        miner.until(log.has("node.back", node="node-0"))
        miner.until(lambda: first.chain[1:] == blocks)
        assert log.events("template.source")[-1]["node"] == "node-1"    # what was lost once has to keep up first

        miner.until(log.has("template.received", node="node-0", prev_hash=display(blocks[-1])))
        second.mood = Mood.BUSY
        miner.until(lambda: log.events("template.source")[-1]["node"] == "node-0")
        blocks.append(mine_block())
        second.mood = Mood.WELL
        miner.until(lambda: second.chain == first.chain)
    assert first.chain[1:] == blocks
    assert Counter(fields["node"] for fields in log.events("node.lost")) == {"node-0": 1, "node-1": 2}
    assert not log.events("template.lost", "block.refused", "block.side")


@pytest.mark.usefixtures("hasty")
def test_a_node_that_hangs_over_a_block_holds_up_no_other(tmp_path, pair, log):
    first, second = pair
    second.start()
    second.moods["submitblock"] = Mood.HANG
    with running(tmp_path, first, second) as daemon, miner_of(daemon) as miner:
        block = miner.share(is_block=True)
        miner.until(log.has("block.accepted", node="node-0"))
        assert first.chain[1:] == [block] and second.chain[1:] == []
        second.moods.clear()
        miner.until(log.has("block.accepted", node="node-1"))
        assert second.chain == first.chain
    assert len(log.events("block.found")) == len(log.events("block.submitted")) == 1


# --- a minute on a clock of our own -----------------------------------------------------------------------------------

class MinuteClock:
    """Time that moves when the test moves it, for several threads; a step is over once all of them wait again."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[float, Callable[[], bool]]] = {}
        self._is_stopped = False

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self._wait(self.now + seconds, lambda: self._is_stopped)
        return self._is_stopped

    def take(self, inbox: queue.Queue[Any], seconds: float | None) -> Any:
        self._wait(math.inf if seconds is None else self.now + seconds, lambda: not inbox.empty())
        return None if inbox.empty() else inbox.get_nowait()

    def inbox(self) -> Inbox:
        return Inbox(self)

    def stop(self) -> None:
        self._is_stopped = True
        self.nudge()

    def nudge(self) -> None:
        """Someone put something somewhere."""
        with self._changed:
            self._changed.notify_all()

    def settle(self, threads: int) -> None:
        """Until so many threads wait for the time, and none of them for now."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._at_rest() == threads, PATIENCE_S)

    def advance(self, seconds: float) -> None:
        with self._changed:
            self.now += seconds
            self._changed.notify_all()

    def _at_rest(self) -> int:
        return sum(due_at > self.now and not is_ready() for due_at, is_ready in self._waiting.values())

    def _wait(self, due_at: float, is_ready: Callable[[], bool]) -> None:
        me = threading.get_ident()
        with self._changed:
            self._waiting[me] = (due_at, is_ready)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.now >= due_at or is_ready())
            del self._waiting[me]


class Inbox(queue.Queue[Any]):
    """A queue that waits by the clock."""

    def __init__(self, clock: MinuteClock) -> None:
        super().__init__()
        self._clock = clock

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item)
        self._clock.nudge()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if block and (item := self._clock.take(self, timeout)) is not None:
            return item
        return super().get(block=False)


class Bench:
    """Source, job maker and submitter of one node in their threads, all on one clock."""

    def __init__(self, stub: StubNode, cookie: Path) -> None:
        self.clock = MinuteClock()
        self._began = time.time() - self.clock.now
        self.jobs: list[tuple[float, Job]] = []
        self.outcomes = OutcomeQueue()
        self._inbox = Inbox(self.clock)
        node = NodeAddress.parse(stub.url), Cookie(cookie)
        self._job_maker = JobMaker(make_factory(), self._inbox, lambda job: self.jobs.append((self.clock.now, job)),
                          clock=self.clock.monotonic, unix=self.unix)
        self._source = RpcSource(0, *node, "regtest", self._inbox, clock=self.clock)
        self._submitter = RpcSubmitter(0, *node, self.outcomes, clock=self.clock)
        self._threads: Sequence[threading.Thread] = [
            threading.Thread(target=part.run) for part in (self._job_maker, self._source, self._submitter)]

    def unix(self) -> float:
        """Ours, which was the node's when it gave its only template."""
        return self._began + self.clock.now

    def __enter__(self) -> Bench:
        for thread in self._threads:
            thread.start()
        await_true(lambda: bool(self.jobs))
        return self

    def __exit__(self, *_: object) -> None:
        self._submitter.stop()
        self._source.stop()
        self._inbox.put(STOP)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def pass_seconds(self, seconds: int) -> None:
        """While the node is away: each thread does at each second what it has to do."""
        for _ in range(seconds):
            self.clock.settle(len(self._threads))
            self.clock.advance(1.0)
        self.clock.settle(len(self._threads))

    def hand_in(self, block: BlockFound) -> None:
        self._submitter.inbox.put(submission(block))
        self.clock.nudge()


def test_a_minute_without_the_node(stub, cookie, log):
    with Bench(stub, cookie) as bench:
        stub.stop()
        bench.clock.settle(3)
        bench.pass_seconds(20)
        block = mine(bench.jobs[-1][1].template)
        bench.hand_in(block)
        bench.pass_seconds(40)
        assert bench.outcomes.empty()
        assert [job.tip for _, job in bench.jobs] == [bench.jobs[0][1].tip] * 3
        assert [when - bench.jobs[0][0] for when, _ in bench.jobs] == pytest.approx([0, FRESH_JOB_S, 2 * FRESH_JOB_S])
        assert [job.ntime - bench.jobs[0][1].ntime for _, job in bench.jobs] == [0, 30, 60]
        assert abs(bench.jobs[-1][1].ntime - bench.unix()) < 60

        stub.start()
        bench.clock.advance(1.0)                        # the next try; however slow the machine, no more time passes
        await_true(lambda: bool(log.events("node.back")))
        await_true(lambda: bench.clock.advance(0.25) or bench.jobs[-1][1].tip.prev_hash == block.block_hash)
        outcome = bench.outcomes.get(timeout=PATIENCE_S)
    assert (outcome.block_hash, outcome.verdict, outcome.reason) == (block.block_hash, Verdict.ACCEPTED, "")
    assert stub.chain[1:] == [block.block_hash] and len(stub.submitted) == 1
    assert log.warnings() == {"node.lost": 1, "template.lost": 1, "block.delayed": 1}
    (back,) = log.events("node.back")
    assert 60 <= int(back["after_s"]) <= 62
    assert int(back["tries"]) <= 62                     # once a second
