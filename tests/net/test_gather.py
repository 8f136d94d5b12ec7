"""What the reactor gathers: nothing on a quiet pool, and never for longer than it says."""

from __future__ import annotations

import math
import queue
from typing import Any

import pytest

from warppool.net.gather import BUSY_S, GATHER_S, Bags
from warppool.net.inbox import FromReactor, Received


class Scene:
    """Bags for two workers, and a clock by hand."""

    def __init__(self) -> None:
        self.inboxes: list[queue.Queue[Any]] = [queue.Queue(), queue.Queue()]
        self.bags = Bags(self.inboxes)
        self.sent = 0

    def come(self, now: float, worker: int = 0, *, at_once: bool = False) -> int:
        """One part comes and a wake-up of the reactor ends; how many parts the worker has got."""
        self.bags[worker].append(Received(1, b"%d" % self.sent))
        self.sent += 1
        return self.wake(now, worker, at_once=at_once)

    def wake(self, now: float, worker: int = 0, *, at_once: bool = False) -> int:
        """A wake-up ends without one."""
        self.bags.hand_on(now, at_once=at_once)
        parts: list[Any] = []
        while not self.inboxes[worker].empty():
            item = self.inboxes[worker].get()
            assert isinstance(item, FromReactor)
            parts += item.items
        return len(parts)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_shares_that_come_now_and_then_are_handed_on_at_once(scene: Scene) -> None:
    for number in range(100):
        assert scene.come(50.0 + number * BUSY_S) == 1
        assert scene.bags.due == math.inf


def test_two_at_once_do_not_make_a_pool_busy(scene: Scene) -> None:
    assert scene.come(50.0) == 1
    assert scene.come(50.0 + GATHER_S / 4) == 1


def test_on_a_busy_pool_what_comes_is_gathered_and_then_handed_on_together(scene: Scene) -> None:
    scene.come(50.0)
    scene.come(50.0)
    step = GATHER_S / 8
    got = [scene.come(50.0 + step * number) for number in range(1, 9)]
    assert got == [0, 0, 0, 0, 0, 0, 0, 8]
    assert scene.bags.due == math.inf


def test_nothing_waits_longer_than_the_time_to_gather_whatever_comes(scene: Scene) -> None:
    """The greediest machine sends all the time: a share of its neighbour waits no longer for that."""
    now, since = 50.0, None
    for number in range(2000):
        now += 0.000_3 * (1 + number % 7)
        got = scene.come(now)
        if got:
            since = None
        elif since is None:
            since = now
        assert since is None or scene.bags.due - since <= GATHER_S
        if scene.bags.due <= now:
            assert got


def test_when_it_is_due_a_wake_up_without_news_hands_it_on(scene: Scene) -> None:
    for _ in range(3):
        got = scene.come(50.0)
    assert got == 0
    assert scene.wake(scene.bags.due - 1e-6) == 0
    assert scene.wake(scene.bags.due) == 1
    assert scene.wake(60.0) == 0


def test_mail_ends_the_wait(scene: Scene) -> None:
    for _ in range(3):
        scene.come(50.0)
    assert scene.come(50.0, at_once=True) == 2


def test_a_worker_without_parts_is_not_woken(scene: Scene) -> None:
    scene.come(50.0)
    assert scene.inboxes[1].empty()
    assert scene.come(50.0, worker=1) == 1
    assert scene.inboxes[0].empty()
