"""The threads that show numbers to people are a part like the others."""

from __future__ import annotations

import math

from warppool.loop import Loop
from warppool.service.faces import Faces
from warppool.service.threads import Threads


class Face(Loop[object]):
    """Shows nothing."""

    def turn(self, items: list[object]) -> float:
        return math.inf


def test_faces_start_under_the_watchdog_and_end_when_they_are_told() -> None:
    faces, threads = Faces(Face("one"), Face("two")), Threads()
    faces.start(threads)
    assert threads.alive() == ["one", "two"]
    assert [thread.name for thread in threads.watchdog.threads] == ["one", "two"]
    faces.stop(threads)
    threads.join(faces.names, 30)
    assert threads.alive() == []


def test_a_service_may_have_none() -> None:
    faces, threads = Faces(), Threads()
    faces.start(threads)
    faces.stop(threads)
    assert faces.names == threads.alive() == []
