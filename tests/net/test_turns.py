"""Turns: whatever strangers send, and whether they read, a neighbour's share is answered within one round."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest

from tests.net.lines import LineConnection
from tests.net.test_worker import Scene
from warppool.events import Held, Now
from warppool.limits import V1
from warppool.mining.share import weigh
from warppool.net.hasher import EXECUTOR_MIN_BATCH
from warppool.net.inbox import (
    Emptied,
    FromReactor,
    Full,
    GivenUp,
    Gone,
    JobReady,
    NotRecorded,
    Opened,
    Received,
    Recorded,
    Weighed,
)
from warppool.net.outbox import Output
from warppool.net.serving import MAX_UNDER_WAY
from warppool.net.turns import LEAST_SERVED, LITTLE
from warppool.stats.items import NOTIFY, Took

NEIGHBOUR = 1_000_000


class Bounded(LineConnection):
    """With the limits of a V1 machine: 64 lines a turn."""

    limits = V1


class BoundedScene(Scene):
    """A worker whose connections have their limits; `is_late` makes every turn late from its beginning."""

    def __init__(self, is_late: bool = False) -> None:
        super().__init__()
        self.worker._turns.length_s = -1.0 if is_late else math.inf

    def connect(self, opened: Opened, now: Now) -> LineConnection:
        connection = self.connections[opened.conn_id] = Bounded(opened.conn_id)
        return connection

    def step(self, *items: object) -> list[Output]:
        """One turn, and what the executor was given is weighed by then."""
        batches, self.hasher.batches = self.hasher.batches, []
        return self.turn(*(Weighed(tuple(weigh(share.header, share.network_target) for share in batch))
                           for batch in batches), *items)

    def records(self, number: int) -> bool:
        return any(name == "record" and number in what for name, what in self.log)


@pytest.fixture(params=[False, True], ids=["in time", "late"])
def scene(request: pytest.FixtureRequest) -> Iterator[BoundedScene]:
    made = BoundedScene(request.param)
    yield made
    made.mailbox.close()


@pytest.fixture
def late() -> Iterator[BoundedScene]:
    made = BoundedScene(is_late=True)
    yield made
    made.mailbox.close()


FLOODS = [b"echo x\n" * 9_000, b"bad 1\n" * 9_000, b"send 3000\n" * 6_000, b"echo " + b"x" * 60_000, b"\n" * 3,
          b"wake 0\n" * 9_000]


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("strangers", [1, 100])
def test_a_neighbours_share_is_answered_within_one_round(scene: BoundedScene, flood: bytes, strangers: int) -> None:
    scene.open(*range(1, strangers + 1), NEIGHBOUR)
    for _ in range(2):                          # as much as the reactor gives to a worker before it stops reading
        scene.inbox.put(FromReactor(tuple(Received(conn_id, flood) for conn_id in range(1, strangers + 1))))
    scene.turn(Received(NEIGHBOUR, b"share 7\n"))
    turns, most = 1, 2 if len(flood) > LITTLE else 2 + strangers // LEAST_SERVED
    while not scene.records(7):
        scene.step()
        turns += 1
        assert turns <= most
    scene.inbox.put(FromReactor(tuple(Received(conn_id, flood) for conn_id in range(1, strangers + 1))))
    outputs = scene.step(Recorded(((NEIGHBOUR, 7),)))
    assert (NEIGHBOUR, b"ok 7\n") in [send for output in outputs for send in output.sends], "a record waits for nothing"


def test_little_goes_before_much_also_while_many_shares_are_under_way(late: BoundedScene) -> None:
    late.open(*range(1, 101), NEIGHBOUR)
    late.inbox.put(FromReactor(tuple(Received(conn_id, b"share 1\n" * 1_000) for conn_id in range(1, 101))))
    late.turn(Received(NEIGHBOUR, b"share 7\n"))
    late.worker._unrecorded = MAX_UNDER_WAY + 1
    late.step()
    assert late.records(7)


@pytest.mark.parametrize("second", [NotRecorded, Recorded, None])
def test_a_share_given_up_makes_room_once_whatever_comes_after(scene: BoundedScene, second: type | None) -> None:
    """A disk that hangs must not let more shares under way than the bound says, each time that it gives some up."""
    scene.open(1, 2)
    scene.turn(Received(1, b"".join(b"share %d\n" % number for number in range(10))))
    scene.turn(Received(2, b"".join(b"share %d\n" % number for number in range(20))))
    assert scene.worker._unrecorded == 30
    given_up = tuple((1, number) for number in range(10))
    scene.turn(GivenUp(given_up))
    assert scene.worker._unrecorded == 20
    if second is not None:
        scene.turn(second(given_up))
        assert scene.worker._unrecorded == 20 and not scene.worker._given_up
    scene.turn(Recorded(tuple((2, number) for number in range(20))))
    assert scene.worker._unrecorded == 0


def test_what_is_remembered_of_shares_given_up_is_bounded(scene: BoundedScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warppool.net.serving.MAX_GIVEN_UP", 100)
    for number in range(1_000):
        scene.turn(GivenUp(((1, number),)))
    assert len(scene.worker._given_up) <= 102


def test_who_has_much_gains_nothing_by_bringing_it_in_little_pieces(late: BoundedScene) -> None:
    late.open(1, 2)
    late.inbox.put(FromReactor(tuple(Received(1, b"echo x\n" * 100) for _ in range(20))))
    outputs = late.turn(Received(2, b"echo y\n"))
    sent = {conn_id: len(data) for output in outputs for conn_id, data in output.sends}
    assert sent[2] == len(b"y\n")
    assert sent[1] <= 2 * V1.work_per_turn * len(b"x\n"), "once in the line, once in the ring"


def test_who_is_gone_waits_for_nobody_in_the_ring(late: BoundedScene) -> None:
    """Strangers who come, send much and go would fill the memory with what is dropped anyway."""
    late.open(*range(1, 101))
    late.inbox.put(FromReactor(tuple(Received(conn_id, b"echo x\n" * 1_000) for conn_id in range(1, 101))))
    late.turn()
    late.turn(Gone(100, "closed by the peer"))
    assert 100 not in late.worker._clients and late.worker._clients[99].waiting is not None


def test_one_turn_of_a_stranger_is_bounded(scene: BoundedScene) -> None:
    scene.open(1)
    for _ in range(20):                         # many small pieces are no way around it
        scene.inbox.put(FromReactor((Received(1, b"echo x\n" * 100),)))
    outputs = scene.turn()
    assert sum(len(data) for output in outputs for _, data in output.sends) <= 2 * 64 * len(b"x\n")
    assert scene.connections[1].held == Held.TURN or scene.worker._clients[1].waiting is not None


def test_everything_is_answered_in_the_end_and_in_order(scene: BoundedScene) -> None:
    scene.open(*range(1, 11))
    said = dict.fromkeys(range(1, 11), b"")
    for part in range(10):
        scene.inbox.put(FromReactor(tuple(
            Received(conn_id, b"".join(b"echo %d\n" % (part * 100 + n) for n in range(100))) for conn_id in said)))
    while scene.worker._turns.has_more or not scene.inbox.empty():
        for output in scene.turn():
            for conn_id, data in output.sends:
                said[conn_id] += data
    assert set(said.values()) == {b"".join(b"%d\n" % n for n in range(1000))}


def test_a_new_job_waits_for_no_flood(scene: BoundedScene) -> None:
    scene.open(1, 2)
    scene.inbox.put(FromReactor((Received(1, b"echo x\n" * 9_000),)))
    scene.turn(JobReady("J"))                   # type: ignore[arg-type]
    outputs = scene.turn()
    sent = [data for output in outputs for conn_id, data in output.sends if conn_id == 2]
    assert sent == [] or sent == [b"job J\n"]
    assert not scene.worker._offers


def test_what_a_closed_connection_had_queued_is_dropped_but_its_submits_are_weighed(scene: BoundedScene) -> None:
    scene.open(1)
    scene.inbox.put(FromReactor((
        Received(1, b"send 3000\n" * 5_000 + b"share 5\n" + b"echo x\n" * 100 + b"block 6\n"),)))
    scene.turn(Gone(1, "left"))
    turns = 0
    while 1 in scene.worker._clients and turns < 50:
        for output in scene.turn():
            assert sum(len(data) for _, data in output.sends) < 3000 * 129
        scene.turn(*(Recorded(((1, number),)) for name, what in scene.log if name == "record" for number in what))
        scene.turn(Recorded(((1, 6),)))
        turns += 1
    assert ("found", "user-1") in scene.log and scene.records(5)
    assert scene.stats().connections == 0
    calls = [name for name, _ in scene.connections[1].calls]
    assert calls.index("closed") > calls.index("judged") or calls[-1] == "recorded"


def test_a_connection_that_holds_nothing_ends_at_once(scene: BoundedScene) -> None:
    scene.open(1)
    scene.turn(Received(1, b"half a li"), Gone(1, "left"))
    while scene.worker._turns.has_more:
        scene.turn()
    assert scene.stats().connections == 0


class Word(str):
    """Stands for a job."""

    __slots__ = ()

    def as_known(self) -> Word:
        """Told late."""
        return Word(f"{self}, late")


def test_a_peer_that_does_not_read_gets_no_jobs_made_and_the_newest_when_it_reads(scene: BoundedScene) -> None:
    scene.open(1, 2)
    scene.turn(Full(1))
    assert scene.connections[1].calls == []
    for job in (Word("J"), Word("K"), Word("L")):
        outputs = scene.turn(JobReady(job))     # type: ignore[arg-type]
        assert [send for output in outputs for send in output.sends] == [(2, f"job {job}\n".encode())]
    assert scene.turn(Received(1, b"echo early\n")) == [], "nor is anything done for it"
    output, = scene.turn(Emptied(1))
    assert output.sends[0][1].startswith(b"job L, late\n"), "the peer decided when to read"
    while scene.worker._turns.has_more:
        scene.turn()
    assert scene.connections[1].calls == [("receive", 11)]
    assert [send for output in scene.turn(Emptied(1)) for send in output.sends] == [], "and the job once"


def test_a_flood_of_one_that_does_not_read_stands_still(scene: BoundedScene) -> None:
    scene.open(1)
    scene.inbox.put(FromReactor((Received(1, b"send 3000\n" * 6_000),)))
    scene.turn(Full(1))
    for _ in range(3):
        scene.turn()
    assert scene.turn() == [] and not scene.worker._turns.has_more
    scene.turn(Emptied(1))
    assert scene.worker._turns.has_more


def test_a_late_turn_leaves_offers_to_the_next_and_a_newer_job_takes_their_place(late: BoundedScene) -> None:
    late.open(*range(1, 11))
    sent = [send for output in late.turn(JobReady("J")) for send in output.sends]      # type: ignore[arg-type]
    assert 0 < len(sent) < 10
    while late.worker._offers:
        sent = [send for output in late.turn(JobReady("K")) for send in output.sends]  # type: ignore[arg-type]
        assert all(data == b"job K\n" for _, data in sent)
        for output in late.turn():
            sent += output.sends
        while late.worker._offers:
            for output in late.turn():
                sent += output.sends
        assert sorted(sent) == [(conn_id, b"job K\n") for conn_id in range(1, 11)]


def test_whoever_has_not_had_the_newest_job_gets_it_before_anything_else_of_his_is_heard(scene: BoundedScene) -> None:
    """Its peer knows the job from another connection, and could ask for a difficulty that suits what it has hashed."""
    scene.open(*range(1, 101))
    said = dict.fromkeys(range(1, 101), b"")
    outputs = scene.turn(JobReady("J"))         # type: ignore[arg-type]
    scene.inbox.put(FromReactor(tuple(Received(conn_id, b"echo x\n") for conn_id in range(100, 0, -1))))
    while scene.worker._offers or scene.worker._turns.has_more or not scene.inbox.empty():
        outputs += scene.turn()
    for output in outputs:
        for conn_id, data in output.sends:
            said[conn_id] += data
    assert set(said.values()) == {b"job J\nx\n"}


def test_a_reading_that_waits_is_reported_only_when_it_is_done(scene: BoundedScene) -> None:
    """So that the reactor stops reading a stranger whose bytes wait."""
    scene.open(1)
    flood = b"echo x\n" * 9_000
    outputs = scene.turn(Received(1, flood))
    consumed = 0
    while scene.worker._turns.has_more and outputs:
        consumed += sum(count for output in outputs for _, count in output.consumed)
        client = scene.worker._clients[1]
        assert client.unreported == len(flood) - consumed >= client.unread
        outputs = scene.turn()
    assert consumed > 0.7 * len(flood)


def test_shares_of_a_flood_go_to_the_executor_a_turn_at_a_time(scene: BoundedScene) -> None:
    scene.open(1)
    scene.turn(Received(1, b"bad 1\n" * 1_300))
    for _ in range(3):
        scene.step()
    assert all(len(batch) <= 130 for batch in scene.hasher.batches) and EXECUTOR_MIN_BATCH <= 64


def test_once_all_have_a_job_of_a_new_tip_it_is_told_how_long_that_took_and_of_no_other_job(late: BoundedScene) -> None:
    told: list[Took] = []
    late.worker._lines._tell = told.append          # type: ignore[assignment]
    late.turn(JobReady("I", tip_at=1.0))            # type: ignore[arg-type]
    assert told == [], "nobody is here"
    late.turn(*(Opened(conn_id, "lines", "peer") for conn_id in range(1, 11)))
    late.turn(JobReady("J", tip_at=time.monotonic() - 5.0))     # type: ignore[arg-type]
    assert late.worker._offers and told == []
    late.turn(JobReady("K"))                        # type: ignore[arg-type]
    while late.worker._offers:
        late.turn()
    assert [took.kind for took in told] == [NOTIFY] and told[0].seconds[0] >= 5.0
    late.turn(JobReady("L"))                        # type: ignore[arg-type]
    while late.worker._offers:
        late.turn()
    assert len(told) == 1
