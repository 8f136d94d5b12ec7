"""The thread tells each place what it asked for, and a place that is away costs nobody else a notice."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.patience import PATIENCE_S
from tests.stats.made import AT, snapshot, tally, worker
from tests.stats.made import user as made_user
from warppool.notices import kinds
from warppool.notices.delivery import DELIVERY_S, NotDelivered
from warppool.notices.kinds import Notice
from warppool.notices.outbox import KIND_EVERY_S, MOST_WAITING, RETRIES_S
from warppool.notices.seen import Around, view_of
from warppool.notices.thread import BOOKS_READ_S, LOOK_EVERY_S, Notices, Recipient
from warppool.notices.view import SeenCertificate
from warppool.stats.snapshot import BlockStats, LedgerStats, NodeStats, StatsSnapshot, WorkStats

BLOCKS = frozenset({kinds.BLOCK_FOUND, kinds.BLOCK_ACCEPTED, kinds.BLOCK_ORPHANED, kinds.BLOCK_SETTLED})


class Box:
    """A place that keeps what it is told, unless `fault` is set."""

    place = "chat.example"

    def __init__(self, fault: Exception | None = None) -> None:
        self.got: list[Notice] = []
        self.fault = fault
        self.is_closed = False

    def deliver(self, notice: Notice) -> None:
        if self.fault is not None:
            raise self.fault
        self.got.append(notice)

    def close(self) -> None:
        self.is_closed = True


class Clock:
    """Monotonic and wall clock; and the snapshot of now."""

    def __init__(self) -> None:
        self.now = 0.0
        self.snapshot = snapshot(blocks=(), nodes=())

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return AT + self.now

    def show(self, **changes: object) -> None:
        self.snapshot = replace(self.snapshot, number=self.snapshot.number + 1, at=AT + self.now, **changes)


def block(state: str, number: int = 1) -> BlockStats:
    return BlockStats(f"{number:064x}", 840_000 + number, "alice.rig", AT, 1e6, state)


def notices_with(clock: Clock, *boxes: Box, events: frozenset[str] = BLOCKS, **more: object) -> Notices:
    places = [Recipient(f"place-{number}", events, box, **more) for number, box in enumerate(boxes)]
    return Notices(places, lambda: clock.snapshot, Around, clock.unix, clock.monotonic)


def test_a_block_reaches_every_place_that_asked_for_it():
    clock, box, deaf = Clock(), Box(), Box()
    notices = Notices([Recipient("a", BLOCKS, box), Recipient("b", frozenset({kinds.NODE_LOST}), deaf)],
                      lambda: clock.snapshot, Around, clock.unix, clock.monotonic)
    notices.turn([])
    clock.show(blocks=(block("found"),))
    notices.turn([])
    (notice,) = box.got
    assert notice.kind == kinds.BLOCK_FOUND
    assert dict(notice.facts) == {"height": 840_001, "hash": f"{1:064x}", "found_by": "alice.rig"}
    assert deaf.got == []
    clock.show(blocks=(block("side"),))
    notices.turn([])
    assert [notice.kind for notice in box.got] == [kinds.BLOCK_FOUND, kinds.BLOCK_ORPHANED]


def test_a_turn_in_which_every_place_is_away_is_no_hanging_thread():
    notices = notices_with(Clock(), *(Box() for _ in range(9)))
    assert notices.limits.slow_s > 9 * DELIVERY_S


def test_one_snapshot_is_looked_at_once():
    clock, box = Clock(), Box()
    notices = notices_with(clock, box)
    notices.turn([])
    clock.show(blocks=(block("found"),))
    assert [notices.turn([]) for _ in range(5)] == [LOOK_EVERY_S] * 5
    assert len(box.got) == 1


def test_books_that_are_not_read_yet_are_waited_for_but_not_for_ever():
    clock, box = Clock(), Box()
    clock.show(is_whole=False, started=AT)
    notices = notices_with(clock, box)
    notices.turn([])
    clock.show(is_whole=True, blocks=(block("settled"),))
    notices.turn([])
    assert box.got == [], "the first whole snapshot is the ground of all others"
    clock.now = BOOKS_READ_S + 1
    clock.show(is_whole=False, blocks=(block("settled"), block("found", 2)))
    notices.turn([])
    assert len(box.got) == 1


def test_a_place_that_is_away_is_tried_again_and_holds_up_no_other(caplog):
    clock, away, box = Clock(), Box(NotDelivered("cannot be reached")), Box()
    notices = notices_with(clock, away, box)
    notices.turn([])
    clock.show(blocks=(block("found"),))
    with caplog.at_level(logging.INFO):
        notices.turn([])
        assert len(box.got) == 1 and away.got == []
        clock.now += RETRIES_S[0]
        notices.turn([])
        away.fault = None
        clock.now += RETRIES_S[1]
        notices.turn([])
    assert len(away.got) == 1
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in lines if "place-0" in line] == [
        "event=notice.failed", "event=notice.recovered", "event=notice.sent"]
    assert sum(record.levelno >= logging.WARNING for record in caplog.records) == 1


def test_a_place_that_is_away_for_long_costs_one_warning_and_a_bounded_memory(caplog):
    clock, away = Clock(), Box(NotDelivered("cannot be reached"))
    notices = notices_with(clock, away)
    notices.turn([])
    with caplog.at_level(logging.WARNING):
        for number in range(300):
            clock.now += KIND_EVERY_S
            clock.show(blocks=(block("found", number),))
            notices.turn([])
    assert len(caplog.records) == 1
    report = notices.report()
    assert report.waiting_notices <= MOST_WAITING + 1 and report.lost > 200 and report.sent == 0


def test_a_fault_of_ours_costs_that_notice_alone(caplog):
    clock, broken, box = Clock(), Box(RuntimeError("a bug")), Box()
    notices = notices_with(clock, broken, box)
    notices.turn([])
    clock.show(blocks=(block("found"),))
    notices.turn([])
    assert len(box.got) == 1 and "a bug" in caplog.text
    broken.fault = None
    clock.show(blocks=(block("accepted"),))
    notices.turn([])
    assert [notice.kind for notice in broken.got] == [kinds.BLOCK_ACCEPTED]


def local_noon() -> float:
    """Seconds from AT to a time when the local clock shows noon."""
    shown = time.localtime(AT)
    return float((12 - shown.tm_hour) * 3600 - shown.tm_min * 60)


def test_a_digest_is_sent_once_a_day_and_counts_from_the_one_before():
    clock, box = Clock(), Box()
    clock.now = local_noon() - 3600
    notices = notices_with(clock, box, events=frozenset({kinds.DIGEST_DAILY}), digest_hour=12)
    clock.show(pool=tally(accepted=100, refused=0))
    notices.turn([])
    for hour in range(1, 30):
        clock.now += 3600
        clock.show(pool=tally(accepted=100 + hour * 10, refused=hour))
        notices.turn([])
    first, second = box.got
    assert dict(first.facts)["accepted_shares"] == 10
    assert dict(second.facts)["accepted_shares"] == 240 and dict(second.facts)["refused_shares"] == 24
    assert dict(second.facts)["refused_percent"] == 9.09
    assert dict(first.facts)["hash_rate"] == "1.2 TH/s"


def test_the_view_is_what_the_snapshot_says():
    gone = worker("bob.old", machines=0, gone_at=AT - 700, tally=tally(last_share=AT - 900))
    never = worker("bob.never", machines=0, tally=tally(last_share=0.0))
    view = view_of(snapshot(made_user("bob", gone, worker("bob.new"), never)), Around(
        (SeenCertificate("tls", AT),), "9.9"))
    assert [(node.name, node.state) for node in view.nodes] == [("node-0", "up"), ("node-1", "lost")]
    assert [block.state for block in view.blocks] == ["accepted", "settled"]
    assert [(machine.name, machine.is_connected, machine.seen_at) for machine in view.machines] == [
        ("bob.old", False, AT - 700), ("bob.new", True, AT - 3.5)]
    assert list(view.machines) == list(view.machines), "each place goes through them"
    assert (view.has_work, view.trouble, view.other_version) == (True, "", "9.9")


@pytest.mark.parametrize(("changes", "has_work", "has_trouble"), [
    ({"work": WorkStats()}, None, False),
    ({"work": WorkStats(has_work=False, height=840_000)}, False, False),
    ({"ledger": LedgerStats(is_troubled=True)}, True, True),
    ({"nodes": (NodeStats("node-0", "behind"),)}, True, False),
])
def test_trouble_is_seen(changes, has_work, has_trouble):
    view = view_of(snapshot(**changes), Around())
    assert view.has_work is has_work and bool(view.trouble) is has_trouble


def run(notices: Notices) -> threading.Thread:
    thread = threading.Thread(target=notices.run, name=notices.name)
    thread.start()
    return thread


def test_a_stop_ends_it_whatever_a_place_does():
    class Hanging(Box):
        """Delivers for ever, until it is closed."""

        def __init__(self) -> None:
            super().__init__()
            self.began, self.closed = threading.Event(), threading.Event()

        def deliver(self, notice: Notice) -> None:
            self.began.set()
            assert self.closed.wait(PATIENCE_S)
            raise NotDelivered("the daemon stops")

        def close(self) -> None:
            self.closed.set()

    first, box = snapshot(blocks=()), Hanging()
    steps = iter([first])

    def latest() -> StatsSnapshot:
        return next(steps, replace(first, number=first.number + 1, blocks=(block("found"),)))

    notices = Notices([Recipient("a", BLOCKS, box)], latest, Around)
    thread = run(notices)
    assert box.began.wait(PATIENCE_S)
    notices.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert notices.report().waiting_notices == 1


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < ends:
        time.sleep(0.01)
    assert condition()


def test_it_looks_by_itself():
    clock, box = Clock(), Box()
    notices = Notices([Recipient("a", BLOCKS, box)], lambda: clock.snapshot, Around)
    thread = run(notices)
    until(lambda: notices._number is not None)
    clock.show(blocks=(block("found"),))
    until(lambda: len(box.got) == 1)
    notices.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive() and box.is_closed
