"""Connections that are handed over by their first message, and those that stay, or come, where there is no work."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tests.net.lines import LineConnection
from tests.net.test_worker import Scene
from warppool.events import Event, HandOver, Held, Now, Send
from warppool.net.clients import Stack
from warppool.net.inbox import Gone, JobReady, NoWork, Opened, Received
from warppool.net.outbox import Output
from warppool.transport import PLAIN


class Staying(LineConnection):
    """Its peer has no machines of ours."""

    stays_without_work = True


class Greeting(Staying):
    """Answers the message by which it was handed over, once it is asked to go on."""

    is_new = True

    @property
    def held(self) -> Held:
        return Held.NOTHING if self.is_new else super().held

    def receive(self, data: bytes, now: Now) -> list[Event]:
        greeting: list[Event] = [Send(self.conn_id, b"hello\n")] if self.is_new else []
        self.is_new = False
        return greeting + super().receive(data, now)


class Asking(LineConnection):
    """`other` hands the connection over, with what stood behind that line."""

    def _obey(self, word: str, rest: str, now: Now) -> list[Event]:
        if word != "other":
            return super()._obey(word, rest, now)
        other = Greeting(self.conn_id)
        other._held, self._held = self._held, b""
        other.wakes_at = now.monotonic + 60.0
        return [HandOver(self.conn_id, other)]


class Hall(Scene):
    """A worker whose listener `past` lets in though there is no work; `opened` is how each was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.worker.let_past = frozenset({"past"})
        self.opened: list[Opened] = []

    def serve(self, opened: Opened, now: Now) -> Stack:
        self.opened.append(opened)
        connection = self.connections[opened.conn_id] = (Staying if opened.is_out_of_work else Asking)(opened.conn_id)
        return Stack(PLAIN, connection)


@pytest.fixture
def hall() -> Iterator[Hall]:
    hall = Hall()
    yield hall
    hall.mailbox.close()


def said(outputs: list[Output]) -> bytes:
    return b"".join(data for output in outputs for _, data in output.sends)


def test_what_stood_behind_the_first_message_is_heard_by_who_serves_from_then_on(hall: Hall) -> None:
    hall.turn(JobReady("J"))                    # type: ignore[arg-type]
    assert said(hall.turn(Opened(1, "lines", "peer-1"))) == b"job J\n"
    assert said(hall.turn(Received(1, b"other\necho A\n"))) == b"job J\nhello\nA\n"
    assert said(hall.turn(Received(1, b"echo B\n"))) == b"B\n"
    before = hall.connections[1]
    assert before.calls == [("receive", 13)], "the one before hears no more"
    client = hall.worker._clients[1]
    assert type(client.connection) is Greeting and client.due < math.inf, "another deadline is its own"
    hall.turn(Gone(1, "closed"))
    assert hall.stats().connections == 0 and client.connection.calls[-1][0] == "closed"


def test_who_leaves_in_the_moment_of_the_hand_over_leaves_nothing_behind(hall: Hall) -> None:
    hall.turn(Opened(1, "lines", "peer-1"))
    hall.turn(Received(1, b"other\necho A\n"), Gone(1, "closed"))
    hall.turn(Received(1, b"other\n"))
    assert hall.stats().connections == 0


def test_without_work_machines_go_and_others_stay_and_come_where_they_are_let_past(hall: Hall) -> None:
    hall.turn(Opened(1, "lines", "peer-1"), Opened(2, "lines", "peer-2"), Received(2, b"other\n"))
    (output,) = hall.turn(NoWork())
    assert output.closes == (1,)
    (output,) = hall.turn(Opened(3, "lines", "peer-3"), Opened(4, "past", "peer-4"))
    assert output.closes == (3,) and [each.conn_id for each in hall.opened] == [1, 2, 4]
    assert hall.opened[-1].is_out_of_work and not hall.opened[0].is_out_of_work
    assert said(hall.turn(Received(2, b"echo A\n"), Received(4, b"echo B\n"))) == b"A\nB\n"
    hall.turn(JobReady("J"))                    # type: ignore[arg-type]
    hall.turn(Opened(5, "past", "peer-5"))
    assert not hall.opened[-1].is_out_of_work and hall.stats().connections == 3
