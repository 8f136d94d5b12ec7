"""What a worker counts."""

from __future__ import annotations

import math

from warppool.bitcoin.target import DIFF1, MAX_TARGET
from warppool.events import Now, ShareAccepted, ShareRefused
from warppool.net.counts import HAND_OVER_KEYS, HAND_OVER_S, Counts


def share(value: int, difficulty: float = 1.0) -> ShareAccepted:
    return ShareAccepted(1, 1, 0.0, "sv2", 1, "alice", difficulty, 1, 1, value.to_bytes(32, "little"))


def test_accepted_shares_add_up_and_the_best_is_remembered() -> None:
    counts = Counts()
    assert counts.report(("worker", 0.0, 0), 3, connections=2).best_difficulty == 0.0
    counts.news += [share(DIFF1 // 8, 2.0), share(DIFF1 // 16, 4.0)]
    counts.news += [share(DIFF1)]
    stats = counts.report(("worker", 0.0, 0), 3, connections=2)
    assert (stats.worker, stats.connections, stats.accepted, stats.difficulty) == (3, 2, 3, 7.0)
    assert math.isclose(stats.best_difficulty, 16.0)


def test_the_extremes_of_a_hash_have_a_difficulty() -> None:
    counts = Counts()
    counts.news += [share(MAX_TARGET)]
    assert 0 < counts.report(("worker", 0.0, 0), 0, connections=0).best_difficulty < 1
    counts.news += [share(0)]
    assert math.isfinite(counts.report(("worker", 0.0, 0), 0, connections=0).best_difficulty)


def test_refusals_are_gathered_by_user_reason_and_minute() -> None:
    counts = Counts()
    assert counts.refusals_due == math.inf and counts.take_refusals() == ()
    for unix, user, reason in [(119.9, "a", "stale-share"), (120.0, "a", "stale-share"), (179.0, "a", "stale-share"),
                               (121.0, "b", "stale-share"), (122.0, "a", "duplicate-share")]:
        counts.refuse(ShareRefused(1, user, reason), Now(10.0 + unix / 1e6, unix))
    assert math.isclose(counts.refusals_due, 10.0 + 119.9 / 1e6 + HAND_OVER_S)        # a second after the first
    assert set(counts.take_refusals()) == {
        ("a", "stale-share", 60, 1), ("a", "stale-share", 120, 2), ("b", "stale-share", 120, 1),
        ("a", "duplicate-share", 120, 1)}
    assert counts.refusals_due == math.inf and counts.take_refusals() == ()
    assert counts.report(("worker", 0.0, 0), 0, connections=0).refused == (("duplicate-share", 1), ("stale-share", 4))


def test_many_names_are_handed_over_early() -> None:
    counts = Counts()
    for number in range(HAND_OVER_KEYS):
        assert counts.refusals_due > 5.0
        counts.refuse(ShareRefused(1, f"user-{number}", "stale-share"), Now(5.0, 0.0))
    assert counts.refusals_due == 5.0
    assert len(counts.take_refusals()) == HAND_OVER_KEYS
