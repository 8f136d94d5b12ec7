"""The thread `stats` with a clock of the test's: what it hears becomes one snapshot a second."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from tests.stats.test_standings import START, share
from warppool.ledger.items import BlockOutcome, BlockRow
from warppool.ledger.payoutitems import Booked, Booking, SharesBooked
from warppool.service.numbers import SHARE_OF_BLOCK_S, Ear, Fork, Looked, StatsThread
from warppool.stats.health import health_of
from warppool.stats.items import ANSWER, NOTIFY, MachineCame, MachineGone, RefusedShares, Took
from warppool.stats.snapshot import NodeStats, WorkStats
from warppool.stats.windows import HASHES_PER_DIFFICULTY

HASH = b"\xab" * 32


class Sources:
    """A pool that mines a block of difficulty 100."""

    program, network = "warppool", "regtest"

    def __init__(self) -> None:
        self.work = WorkStats(has_work=True, height=101, network_difficulty=100.0)

    def look(self, now: float, unix: float) -> Looked:
        return Looked(self.work, (NodeStats("node-0", "up", since=unix),))


class Rig:
    def __init__(self, unix: float = START) -> None:
        self.mono = 50.0
        self.unix = unix
        self.ear, self.sources = Ear(), Sources()
        self.thread = StatsThread(self.ear, self.sources, monotonic=lambda: self.mono, unix=lambda: self.unix)

    def tell(self, *items: object):
        for item in items:
            self.ear.put(item)
        self.mono += 1.0
        assert self.thread.turn([]) == self.mono + 1.0
        return self.thread.latest()


@pytest.fixture
def rig():
    return Rig()


def values_of(value: Any):
    """Every number in a snapshot."""
    if is_dataclass(value):
        for item in fields(value):
            yield from values_of(getattr(value, item.name))
    elif isinstance(value, tuple):
        for each in value:
            yield from values_of(each)
    elif isinstance(value, int | float):
        yield value


def test_there_is_a_snapshot_before_the_first_turn_and_nothing_in_it_is_nan(rig):
    first = rig.thread.latest()
    assert (first.number, first.users, first.work.template_age_s) == (0, (), None)
    for snapshot in (first, rig.tell(), rig.tell(SharesBooked(1, (share("bob.a", 5.0),)))):
        assert all(math.isfinite(value) for value in values_of(snapshot))


def test_what_is_booked_is_in_the_next_snapshot_for_worker_user_and_pool(rig):
    rig.tell(MachineCame(3, 1, "bob.a", "cgminer", "sv1-tls", START))
    snapshot = rig.tell(SharesBooked(1, (share("bob.a", 5.0), share("bob.a", 1.0))), SharesBooked(3, (share("eve"),)),
                        RefusedShares((("bob.a", "stale-share", 0, 2),)), Took(ANSWER, (0.003, 0.004)))
    assert snapshot.pool.accepted == 3 and snapshot.pool.difficulty == 7.0
    assert snapshot.pool.rates.h1 == pytest.approx(7 * HASHES_PER_DIFFICULTY / 2)
    assert snapshot.users_by_name["bob"].tally.difficulty == 6.0
    worker = snapshot.workers_by_name["bob.a"]
    assert (worker.machines, worker.protocol, worker.refused) == (1, "v1-tls", (("stale-share", 2),))
    assert snapshot.connections == (("v1-tls", 1),) and snapshot.refused == (("stale-share", 2),)
    assert snapshot.share_to_answer.count == 2 and snapshot.round.effort == pytest.approx(0.07)
    assert snapshot.shares_per_second[0] == pytest.approx(1.5)
    assert rig.tell(MachineGone(3, None, START + 3)).machines == 0


def test_a_block_ends_the_round_once_and_its_state_follows_what_nodes_say(rig):
    rig.tell(SharesBooked(1, (share("bob", 50.0),)))
    row = BlockRow(HASH, 101, "bob", START + 2, 100.0)
    snapshot = rig.tell(row, row, SharesBooked(2, (share("bob", 10.0),)))
    (block,) = snapshot.blocks
    assert (block.state, block.effort, snapshot.blocks_found) == ("found", 0.5, 1)
    assert snapshot.round.difficulty == 10.0 and snapshot.round.effort == pytest.approx(0.1)
    rig.sources.work = WorkStats(has_work=True, height=102, network_difficulty=100.0)
    snapshot = rig.tell(BlockOutcome(HASH, "accepted", "", START + 3), BlockOutcome(b"\1" * 32, "side", "", START))
    assert (snapshot.blocks[0].state, snapshot.blocks[0].confirmations) == ("accepted", 1)
    rig.sources.work = WorkStats(has_work=True, height=300, network_difficulty=100.0)
    assert rig.tell().blocks[0].state == "settled"


@pytest.mark.parametrize("is_later", [False, True])
def test_the_share_that_is_a_block_is_of_the_round_that_it_ends(rig, is_later):
    """It is booked after the block: the best share of the next round is not the block of the last one."""
    rig.tell(SharesBooked(1, (share("bob", 50.0),)))
    found = share("bob", 5.0, best=120.0)
    row = BlockRow(found.share_hash, 101, "bob", START + 2, 100.0)
    booked = SharesBooked(2, (share("eve", 2.0), found, share("eve", 3.0, best=7.0)))
    if is_later:
        rig.tell(row)
    snapshot = rig.tell(*([] if is_later else [row]), booked)
    assert (snapshot.pool.accepted, snapshot.pool.difficulty, snapshot.pool.best_ever) == (4, 60.0, pytest.approx(120))
    assert snapshot.round.difficulty == 3.0 and snapshot.pool.best == pytest.approx(7)
    assert [user.tally.best for user in snapshot.users if user.name == "bob"] == [0.0]
    rig.mono += 100.0
    again = rig.tell(SharesBooked(5, (found,)))
    assert again.round.difficulty == 8.0, "it ends one round"


def test_a_block_whose_share_never_comes_ends_the_round_alone(rig):
    rig.tell(BlockRow(HASH, 101, "bob", START + 2, 100.0), SharesBooked(1, (share("bob", 5.0),)))
    rig.mono += SHARE_OF_BLOCK_S
    assert rig.tell().round.difficulty == 5.0
    late = share("bob", 5.0)._replace(share_hash=HASH)
    assert rig.tell(SharesBooked(2, (late,))).round.difficulty == 10.0


def test_a_block_that_a_replay_tells_again_ends_no_round(rig):
    rig.tell(SharesBooked(1, (share("bob", 50.0),)))
    snapshot = rig.tell(BlockRow(HASH, 90, "bob", START - 5000, 100.0))
    assert snapshot.round.difficulty == 50.0 and snapshot.blocks[0].effort is None


def test_a_block_ends_the_round_whose_clock_was_set_back(rig):
    rig.tell(SharesBooked(1, (share("bob", 50.0),)), BlockRow(HASH, 101, "bob", START + 1, 100.0))
    rig.unix = START - 86_400
    snapshot = rig.tell(SharesBooked(2, (share("bob", 7.0),)), BlockRow(b"\1" * 32, 102, "bob", rig.unix, 100.0))
    assert snapshot.round.difficulty == 0.0 and snapshot.blocks[0].effort == pytest.approx(0.07)


@pytest.mark.parametrize("set_by", [-86_400.0, 20 * 365 * 86_400.0])
def test_times_follow_the_clock_on_the_wall_and_windows_do_not(rig, set_by):
    rig.tell(MachineCame(3, 1, "bob", "cgminer", "sv1", START), SharesBooked(1, (share("bob", 6.0),)))
    rig.unix = START + 1.0 + set_by
    snapshot = rig.tell(SharesBooked(2, (share("bob", 6.0)._replace(time=rig.unix),)))
    assert snapshot.at == rig.unix and snapshot.started == pytest.approx(rig.unix - 2.0)
    assert snapshot.pool.rates.m1 == pytest.approx(12 * HASHES_PER_DIFFICULTY / 2)
    assert snapshot.idle == 0 and health_of(snapshot, rig.unix).is_ok
    rig.unix += 61.0
    rig.mono += 60.0
    assert rig.tell().workers_by_name["bob"].is_idle == (set_by > 0)     # who came in the future is not idle


def test_what_cannot_be_heard_costs_nothing_of_the_rest(rig, caplog):
    snapshot = rig.tell("nonsense", SharesBooked(1, (share("bob"),)))
    assert snapshot.pool.accepted == 1 and "event=thread.failed" in caplog.text


def test_the_ledger_is_heard_by_both_and_nobody_is_woken(rig):
    heard: list[object] = []

    class Other:
        def put(self, item: object) -> None:
            heard.append(item)

    shares, booked = SharesBooked(1, ()), Booked(Booking(()))
    for item in (shares, booked):
        Fork(rig.ear, Other()).put(item)
        Fork(rig.ear, None).put(item)
    assert heard == [shares, booked] and rig.ear.drain() == [shares, shares]
    assert rig.thread.inbox.qsize() == 0


def test_what_the_books_took_for_a_commit_and_for_an_answer_is_counted_by_bounds(rig):
    snapshot = rig.tell(SharesBooked(1, (share("eve"),)), SharesBooked(2, (share("eve"),), 0.0015, 0.007),
                        SharesBooked(3, (share("eve"),), 0.0, None), Took(NOTIFY, (0.3,)))
    assert snapshot.commit.counts[:2] == (1, 1) and snapshot.commit.count == 2
    assert snapshot.share_to_answer.count == 1 == snapshot.share_to_answer.counts[3]
    assert snapshot.tip_to_notify.quantile(0.99) == 0.5
