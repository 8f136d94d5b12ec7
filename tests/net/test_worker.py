"""One worker alone, its inbox filled beforehand and its run ended by STOP, so that all of it is one wake-up."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.net.conftest import LogLines
from tests.net.lines import LineConnection
from warppool.events import Close, Event, Happened, Now, Send, ShareAccepted
from warppool.loop import Ask, Loop
from warppool.mining.share import Weight, weigh
from warppool.net import clientsteps as module
from warppool.net.clients import Stack
from warppool.net.counts import ADD_UP_AT
from warppool.net.hasher import EXECUTOR_MIN_BATCH, Hasher
from warppool.net.inbox import (
    Connected,
    Drain,
    Emptied,
    FromReactor,
    Full,
    Gone,
    JobReady,
    NotRecorded,
    NoWork,
    Opened,
    Received,
    Recorded,
    Weighed,
)
from warppool.net.joboffers import OFFER_SLICE
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import Output, ReactorItem
from warppool.net.reports import WorkerReport
from warppool.net.resolver import Connect
from warppool.net.serving import REPORT_AT
from warppool.net.worker import Worker
from warppool.threads import STOP
from warppool.transport import PLAIN

PARTS = (Opened, Received, Gone, Connected, Full, Emptied)


class StubHasher(Hasher):
    """Takes batches and does not answer."""

    def __init__(self) -> None:
        self.batches: list[tuple[Any, ...]] = []

    def submit(self, batch: tuple[Any, ...], reply_to: queue.Queue[Any]) -> None:
        self.batches.append(batch)


class Scene:
    """A worker in this thread; `log` holds all that left it, in order."""

    def __init__(self, max_unanswered: int = 1024) -> None:
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.mailbox: Mailbox[ReactorItem] = Mailbox()
        self.hasher = StubHasher()
        self.connections: dict[int, LineConnection] = {}
        self.log: list[tuple[str, Any]] = []
        self.asked: list[Connect] = []
        self._max_unanswered = max_unanswered
        self.worker = Worker(4, self.inbox, self.mailbox, self.hasher, self.serve,
                             record=lambda shares: self.log.append(("record", [share.share_id for share in shares])),
                             refused=lambda counts: self.log.append(("refused", counts)),
                             found=lambda block: self.log.append(("found", block.user)), dial=self.asked.append)
        self.worker._turns.length_s = math.inf              # a busy machine ends no turn early

    def serve(self, opened: Opened, now: Now) -> Stack:
        return Stack(PLAIN, self.connect(opened, now))

    def connect(self, opened: Opened, now: Now) -> LineConnection:
        connection = self.connections[opened.conn_id] = LineConnection(opened.conn_id, self._max_unanswered)
        return connection

    def turn(self, *items: Any) -> list[Output]:
        """One wake-up with `items` (parts of the reactor may come bare), and what the reactor is told."""
        for item in items:
            self.inbox.put(FromReactor((item,)) if isinstance(item, PARTS) else item)
        self.inbox.put(STOP)
        self.worker.run()
        outputs = self.mailbox.drain()
        assert all(isinstance(output, Output) for output in outputs)
        return outputs      # type: ignore[return-value]

    def open(self, *conn_ids: int) -> None:
        assert self.turn(*(Opened(conn_id, "lines", f"peer-{conn_id}") for conn_id in conn_ids)) == []

    def wake(self, *items: Any) -> float:
        """One wake-up without a stop; when the next one is due."""
        self.worker.is_stopping = False                     # as `turn` leaves it
        self.worker.beat = time.monotonic()
        return self.worker.turn(list(items))

    def stats(self) -> WorkerReport:
        reply: queue.SimpleQueue[WorkerReport] = queue.SimpleQueue()
        self.turn(Ask(reply))
        return reply.get_nowait()


@pytest.fixture
def scene() -> Any:
    made = Scene()
    yield made
    made.mailbox.close()


def test_one_output_one_send_a_connection_and_one_record_a_wake_up(scene: Scene) -> None:
    scene.open(1, 2)
    outputs = scene.turn(Received(1, b"echo a\nshare 1\n"), Received(2, b"echo b\nshare 2\n"), Received(1, b"echo c\n"),
                         Received(2, b"bad 3\n"), Received(2, b"quit\n"))
    assert outputs == [Output(((1, b"a\nc\n"), (2, b"b\nbye\nno 3\n")), closes=(2,))]
    assert scene.log == [("record", [1, 2]),
                         ("refused", (("user-2", "invalid-share", scene.log[1][1][0][2], 1),))]


def test_weights_come_back_in_order_by_connection(scene: Scene) -> None:
    scene.open(1, 2)
    scene.turn(Received(1, b"share 1\n"), Received(2, b"share 2\nshare 3\n"), Received(1, b"share 4\n"))
    assert scene.connections[1].calls == [("receive", 8), ("receive", 8), ("judged", 2)]
    assert scene.connections[2].calls == [("receive", 16), ("judged", 2)]
    assert scene.log == [("record", [1, 4, 2, 3])]


def test_a_block_goes_first(scene: Scene) -> None:
    """Before the shares of connections that spoke earlier, and before anything is sent."""
    scene.open(1, 2, 3)
    order: list[str] = []
    scene.mailbox.post = lambda item: order.append("sent")      # type: ignore[method-assign]
    scene.turn(Received(1, b"share 1\n"), Received(2, b"bad 2\nblock 3\n"), Received(3, b"late 4\n"))
    assert scene.log[:2] == [("found", "user-2"), ("record", [1])]
    assert order == ["sent"]
    stats = scene.stats()
    assert (stats.accepted, stats.blocks, stats.difficulty) == (2, 1, 2.0)


def test_a_large_batch_goes_to_the_executor_and_later_shares_wait_for_it(scene: Scene) -> None:
    scene.open(1, 2)
    burst = b"".join(b"bad %d\n" % number for number in range(EXECUTOR_MIN_BATCH))
    assert scene.turn(Received(1, burst)) == []
    assert [len(batch) for batch in scene.hasher.batches] == [EXECUTOR_MIN_BATCH]
    assert scene.turn(Received(1, b"bad 100\n"), Received(2, burst)) == []          # one in flight
    assert len(scene.hasher.batches) == 1
    weights = tuple(weigh(share.header, share.network_target) for share in scene.hasher.batches[0])
    output, = scene.turn(Weighed(weights))
    assert output.sends == ((1, b"".join(b"no %d\n" % number for number in range(EXECUTOR_MIN_BATCH))),)
    assert [len(batch) for batch in scene.hasher.batches] == [EXECUTOR_MIN_BATCH] * 1 + [EXECUTOR_MIN_BATCH + 1]
    second = scene.hasher.batches[1]
    assert [share.conn_id for share in second] == [1] + [2] * EXECUTOR_MIN_BATCH


def test_an_executor_that_failed_leaves_the_batch_to_the_worker(scene: Scene) -> None:
    scene.open(1)
    scene.turn(Received(1, b"".join(b"bad %d\n" % number for number in range(EXECUTOR_MIN_BATCH))))
    output, = scene.turn(Weighed(()))
    assert output.sends[0][1].count(b"no ") == EXECUTOR_MIN_BATCH


def test_the_executor_answers_even_if_weighing_fails(log_lines: LogLines) -> None:
    hasher, inbox = Hasher(1), queue.Queue[Any]()
    try:
        hasher.submit((None, None), inbox)      # type: ignore[arg-type]
        assert inbox.get(timeout=10) == Weighed(())
        assert {thread.name for thread in threading.enumerate() if thread.name.startswith("hash")} == {"hash-0"}
        assert log_lines.having("event=hasher.failed shares=2")
    finally:
        hasher.stop()


def test_consumed_bytes_are_reported_once_they_are_many(scene: Scene) -> None:
    scene.open(1)
    assert scene.turn(Received(1, b"echo " + b"x" * (REPORT_AT - 7) + b"\n"))[0].consumed == ()
    assert scene.turn(Received(1, b"echo y\n"))[0].consumed == ((1, REPORT_AT + 6),)
    assert scene.turn(Received(1, b"echo y\n"))[0].consumed == ()


def test_bytes_that_are_held_back_are_not_reported() -> None:
    scene = Scene(max_unanswered=1)
    try:
        scene.open(1)
        line = b"echo " + b"x" * 994 + b"\n"
        assert scene.turn(Received(1, b"share 1\n" + line * 40)) == []
        output, = scene.turn(Recorded(((1, 1),)))
        assert output.sends[0][1] == b"ok 1\n" + (b"x" * 994 + b"\n") * 40
        assert output.consumed == ((1, 8 + 40_000),)
    finally:
        scene.mailbox.close()


def test_the_front_of_a_frame_is_reported_since_its_rest_must_come(scene: Scene) -> None:
    """A connection that waits for its peer, not for us, must not be stopped by what it holds."""
    scene.open(1)
    front = b"echo " + b"x" * 100_000
    assert scene.turn(Received(1, front)) == [Output((), consumed=((1, len(front)),))]
    assert scene.turn(Received(1, b"\n"))[0].sends == ((1, b"x" * 100_000 + b"\n"),)


def test_jobs_go_out_in_slices(scene: Scene) -> None:
    scene.open(*range(1, 2 * OFFER_SLICE + 2))
    outputs = scene.turn(JobReady("J"))         # type: ignore[arg-type]
    assert [len(output.sends) for output in outputs] == [OFFER_SLICE, OFFER_SLICE, 1]
    assert [send for output in outputs for send in output.sends] == [
        (conn_id, b"job J\n") for conn_id in range(1, 2 * OFFER_SLICE + 2)]


def test_who_comes_later_is_offered_the_latest_job(scene: Scene) -> None:
    scene.turn(JobReady("I"), JobReady("J"))    # type: ignore[arg-type]
    assert scene.turn(Opened(1, "lines", "peer-1")) == [Output(((1, b"job J\n"),))]


def test_a_step_that_raises_closes_that_connection_alone(scene: Scene, log_lines: LogLines) -> None:
    scene.open(1, 2)
    output, = scene.turn(Received(1, b"share 1\nboom\n"), Received(2, b"echo on\n"), Received(1, b"echo never\n"))
    assert output == Output(((2, b"on\n"),), closes=(1,))
    assert scene.connections[1].calls[-1] == ("closed", None)
    assert "a bug of this connection" in log_lines.having("event=conn.failed conn=1 peer=peer-1")[0]


@pytest.mark.parametrize("method", ["receive", "offer", "judged", "recorded", "not_recorded", "tick", "closed"])
def test_every_step_may_raise(scene: Scene, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def fail(*_: Any) -> list[Event]:
        raise ValueError(f"{method} is broken")

    scene.open(1, 2)
    scene.turn(Received(1, b"share 1\nshare 3\n"), Received(2, b"share 2\n"))
    monkeypatch.setattr(scene.connections[1], method, fail)
    scene.turn(Received(1, b"wake 0\nshare 4\n"), JobReady("J"))   # type: ignore[arg-type]
    scene.turn(Recorded(((1, 1), (2, 2))), NotRecorded(((1, 3),)), Gone(1, "left"))
    assert f"{method} is broken" in log_lines.having("event=conn.failed conn=1")[0]
    assert log_lines.having("event=conn.failed conn=2") == []
    assert scene.turn(Received(2, b"echo well\n"))[0].sends == ((2, b"well\n"),)


def test_after_a_close_a_connection_is_mute(scene: Scene, log_lines: LogLines) -> None:
    scene.open(1)
    output, = scene.turn(Received(1, b"share 1\nwhat\necho never\n"), Received(1, b"echo never\n"), Gone(1, "left"))
    assert output == Output((), closes=(1,))
    assert [name for name, _ in scene.connections[1].calls] == ["receive", "closed", "judged"]
    assert scene.log == [("record", [1])]       # though it was closed by then
    line, = log_lines.having("event=conn.closed")
    assert line == 'INFO event=conn.closed conn=1 peer=peer-1 reason="no such command: what"'
    assert scene.stats().connections == 1
    scene.turn(Recorded(((1, 1),)))
    assert scene.stats().connections == 0
    assert scene.turn(Recorded(((1, 1),)), Received(1, b"echo never\n")) == []


def test_a_closed_connection_is_not_kept_for_ever(scene: Scene, log_lines: LogLines,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MUTE_S", 0.0)
    scene.open(1)
    scene.turn(Received(1, b"share 1\n"), Gone(1, "left"))
    assert scene.stats().connections == 0
    assert log_lines.having("WARNING event=conn.abandoned conn=1 in_flight=1")


def test_events_for_the_log_are_logged(scene: Scene, log_lines: LogLines) -> None:
    scene.open(1)
    scene.turn(Gone(1, "left"))
    assert log_lines.having("event=line.ended") == ["DEBUG event=line.ended conn=1 in_flight=0"]
    assert log_lines.having("conn.gone") == ["DEBUG event=conn.gone conn=1 peer=peer-1 reason=left"]


def test_a_level_of_its_own(scene: Scene, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open(1)
    happened = [Happened(1, level, f"tried.{level}") for level in ("debug", "info", "warning", "error", "critical")]
    monkeypatch.setattr(scene.connections[1], "receive", lambda *_: happened)
    scene.turn(Received(1, b"x"))
    assert log_lines.having("event=tried") == [
        f"{level.upper()} event=tried.{level} conn=1" + (" peer=peer-1" if level != "debug" else "")
        for level in ("debug", "info", "warning", "error", "critical")]


def test_deadlines_that_move_on_cost_one_entry(scene: Scene) -> None:
    scene.open(1)
    for second in range(1000, 1100):
        scene.turn(Received(1, b"wake %d\n" % second))
    assert len(scene.worker._deadlines._heap) == 1
    scene.turn(Received(1, b"wake 10\n"))                       # an earlier one is entered
    assert len(scene.worker._deadlines._heap) == 2


def test_a_storm_of_reconnects_leaves_no_deadlines(scene: Scene) -> None:
    for conn_id in range(1, 1000):
        scene.open(conn_id)
        scene.turn(Received(conn_id, b"wake 600\n"), Gone(conn_id, "left"))
    assert len(scene.worker._deadlines._heap) < 100


class _Alarmed(LineConnection):
    """Wants one tick, at a time that has passed."""

    def __init__(self, conn_id: int) -> None:
        super().__init__(conn_id)
        self.wakes_at = -math.inf

    def tick(self, now: Now) -> list[Event]:
        self.wakes_at = math.inf
        return [Send(self.conn_id, b"tick")]


def test_when_many_are_due_at_once_the_turn_ends_all_the_same(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "connect", lambda opened, now: _Alarmed(opened.conn_id))
    scene.worker._turns.length_s = -1.0                         # it is over before it begins
    scene.wake(FromReactor(tuple(Opened(conn_id, "lines", "peer") for conn_id in range(1, 11))))
    told, turns = [len(output.sends) for output in scene.mailbox.drain()], 1        # type: ignore[union-attr]
    while scene.worker._deadlines.first <= time.monotonic():
        due = scene.wake()
        told += [len(output.sends) for output in scene.mailbox.drain()]             # type: ignore[union-attr]
        turns += 1
    assert told == [4, 4, 2] and turns == 3 and due == math.inf


class _Restless(LineConnection):
    """Wants its tick at a time that has passed, always."""

    def __init__(self, conn_id: int) -> None:
        super().__init__(conn_id)
        self.wakes_at = -1.0
        self.ticks = 0

    def tick(self, now: Now) -> list[Event]:
        self.ticks += 1
        return [Close(self.conn_id, "tired")] if self.ticks == 3 else []


def test_a_connection_that_wants_the_past_does_not_spin(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    restless = _Restless(1)
    monkeypatch.setattr(scene.worker, "_connect", lambda *_: Stack(PLAIN, restless))
    scene.open(1)
    assert restless.ticks == 1
    assert scene.worker._deadlines.first > scene.worker._now.monotonic
    while restless.ticks < 3:
        scene.wake()
    assert scene.stats().connections == 0 and scene.worker._deadlines.first < math.inf


def test_a_drain_takes_nothing_more_and_answers_when_all_is_settled(scene: Scene) -> None:
    reply: queue.SimpleQueue[int] = queue.SimpleQueue()
    scene.open(1, 2)
    scene.turn(Received(1, b"share 1\nbad 9\n"), Received(2, b"block 2\n"), Drain(reply))
    assert reply.empty()
    assert scene.turn(Received(1, b"echo never\n"), Opened(3, "lines", "late"), JobReady("J")) == []    # type: ignore[arg-type]
    assert 3 not in scene.connections
    assert scene.turn(Recorded(((1, 1),)))[0].sends == ((1, b"ok 1\n"),)
    assert reply.empty()
    scene.turn(NotRecorded(((2, 2),)))
    assert reply.get_nowait() == 4 and reply.empty()
    assert [entry for entry in scene.log if entry[0] == "refused"] != []


def test_a_drain_of_an_idle_worker_is_answered_at_once(scene: Scene) -> None:
    reply: queue.SimpleQueue[int] = queue.SimpleQueue()
    scene.open(1)
    scene.turn(Drain(reply))
    assert reply.get_nowait() == 4


def test_refusals_are_handed_over_after_a_while(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open(1)
    scene.wake(FromReactor((Received(1, b"bad 1\n"),)))
    assert scene.log == []
    monkeypatch.setattr(scene.worker._counts, "refusals_due", 0.0)
    scene.wake()
    assert [(user, reason, count) for user, reason, _, count in scene.log[0][1]] == [("user-1", "invalid-share", 1)]


def test_what_is_no_item_is_logged_and_the_thread_goes_on(scene: Scene, log_lines: LogLines) -> None:
    scene.open(1)
    assert scene.turn("nonsense", Received(1, b"echo on\n"))[0].sends == ((1, b"on\n"),)
    assert log_lines.having("event=thread.failed thread=worker-4 step=_handle")


def test_share_lines_are_for_debug_alone(scene: Scene, log_lines: LogLines) -> None:
    scene.open(1)
    scene.turn(Received(1, b"share 1\nbad 2\n"))
    assert log_lines.having("event=share.accepted") == [
        "DEBUG event=share.accepted conn=1 channel=1 user=user-1 difficulty=1"]
    assert log_lines.having("event=share.refused") == [
        "DEBUG event=share.refused conn=1 user=user-1 reason=invalid-share"]


def test_a_late_block_of_a_closed_connection_is_found(scene: Scene) -> None:
    scene.open(1)
    scene.turn(Received(1, b"block 1\n" * EXECUTOR_MIN_BATCH), Gone(1, "left"))
    weights: Sequence[Weight] = [weigh(share.header, share.network_target) for share in scene.hasher.batches[0]]
    scene.turn(Weighed(tuple(weights)))
    assert ("found", "user-1") in scene.log


def test_events_carry_their_own_connection(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session with two connections speaks for both."""
    scene.open(1, 2)
    share = ShareAccepted(2, 5, 0.0, "lines", 1, "u", 1.0, 1, 1, bytes(32))
    monkeypatch.setattr(scene.connections[1], "receive",
                        lambda *_: [Send(2, b"to two"), share, Send(1, b"to one"), Close(2, "over")])
    assert scene.turn(Received(1, b"x")) == [Output(((1, b"to one"), (2, b"to two")), closes=(2,))]
    assert scene.connections[2].calls == [("closed", None)]


def test_when_there_is_no_work_everybody_is_closed_and_whoever_was_just_let_in(scene: Scene) -> None:
    scene.open(1, 2)
    (output,) = scene.turn(NoWork())
    assert sorted(output.closes) == [1, 2]
    assert [scene.connections[n].calls[-1][0] for n in (1, 2)] == ["closed", "closed"]
    (output,) = scene.turn(Opened(3, "lines", "peer-3"))
    assert output.closes == (3,) and 3 not in scene.connections
    assert (scene.stats().connections, scene.stats().machines) == (0, 0)
    scene.turn(JobReady("J"))                   # type: ignore[arg-type]
    scene.turn(Opened(4, "lines", "peer-4"))
    assert (scene.stats().connections, scene.stats().machines) == (1, 1)


def test_a_block_in_flight_is_a_block_though_there_is_no_work_any_more(scene: Scene) -> None:
    scene.open(1)
    scene.turn(Received(1, b"share 1\nblock 2\n"), NoWork())
    assert scene.log == [("found", "user-1"), ("record", [1])]


def test_no_step_of_a_worker_has_the_name_of_something_in_its_loop() -> None:
    """A worker is both; one would be called in the place of the other."""
    steps = {name for part in Worker.__mro__[1:] if part.__module__.startswith("warppool.net") for name in vars(part)}
    loop = {name for name in vars(Loop) if not name.startswith("__")}
    assert steps & loop == set()


def test_shares_that_wait_to_be_counted_are_few_and_all_are_counted(scene: Scene) -> None:
    scene.open(1)
    for number in range(2 * ADD_UP_AT + 10):
        scene.turn(Received(1, b"share %d\n" % number), Recorded(((1, number),)))
        assert len(scene.worker._counts.news) < ADD_UP_AT
    assert scene.stats().accepted == 2 * ADD_UP_AT + 10
