"""What the reactor gathers: nothing on a quiet pool, and never for longer than it says."""

from __future__ import annotations

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

    def come(self, now: float, worker: int = 0) -> float:
        """One part comes and is handed on; the seconds of rest that follow."""
        part = Received(1, b"share")
        self.bags[worker].append(part)
        self.bags.hand_on(now)
        assert self.inboxes[worker].get_nowait() == FromReactor((part,))
        return max(0.0, self.bags.rest_until - now)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_on_a_quiet_pool_the_reactor_does_not_rest(scene: Scene) -> None:
    assert [scene.come(50.0 + number * BUSY_S) for number in range(100)] == [0.0] * 100


def test_on_a_busy_pool_it_rests_after_each_look_that_brought_something(scene: Scene) -> None:
    assert scene.come(50.0) == 0.0
    assert scene.come(50.0 + GATHER_S / 4) == pytest.approx(GATHER_S)
    assert scene.come(50.0 + GATHER_S * 2) == pytest.approx(GATHER_S)


def test_a_look_that_brought_nothing_is_no_sign_of_work(scene: Scene) -> None:
    scene.come(50.0)
    for step in range(10):
        scene.bags.hand_on(50.0 + step * BUSY_S / 10)
    assert scene.bags.rest_until < 50.0


def test_once_it_is_quiet_again_there_is_no_rest(scene: Scene) -> None:
    scene.come(50.0)
    assert scene.come(50.001) > 0
    assert scene.come(50.001 + BUSY_S) == 0.0


def test_a_worker_without_parts_is_not_woken(scene: Scene) -> None:
    scene.come(50.0)
    assert scene.inboxes[1].empty()
    scene.come(50.0, worker=1)
    assert scene.inboxes[0].empty()
