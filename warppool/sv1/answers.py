"""Answers of one V1 connection. They leave in the order of the requests, since some firmware gives every submit one and
the same id. An answer that waits for something holds up all answers behind it.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol, TypeAlias

from warppool.events import Event

Step: TypeAlias = bytes | Event
"""What a step of the session leads to: lines to be sent, or an event for the worker."""


class Place(Protocol):
    """The place of a request among the answers of its connection."""

    line: bytes | None
    """The answer, None until there is one; b"" where a notification gets none."""


class Ticket:
    """A `Place` that is nothing else."""

    __slots__ = ("line", "request_id")

    def __init__(self, request_id: bytes) -> None:
        self.request_id = request_id
        self.line: bytes | None = None


class Answers:
    """The answers that wait: the first one for what it needs, the others for those before them.

    `unanswered` is how many wait.
    """

    __slots__ = ("_answers", "unanswered")

    def __init__(self) -> None:
        self._answers: deque[Place | bytes] | None = None      # made with the first that waits: thousands idle
        self.unanswered = 0

    def answer(self, line: bytes) -> list[Step]:
        """The answer to a request that waits for nothing: it leaves now, or behind those before it.

        b"" is the answer to a notification, which gets none.
        """
        if not line:
            return []
        if not self._answers:
            return [line]
        self._answers.append(line)
        self.unanswered += 1
        return []

    def hold(self, place: Place) -> None:
        """A request whose answer is not known yet."""
        if self._answers is None:
            self._answers = deque()
        self._answers.append(place)
        self.unanswered += 1

    def send(self, steps: list[Step]) -> None:
        """Add all answers up to the first that still waits."""
        answers = self._answers
        while answers:
            first = answers[0]
            line = first if isinstance(first, bytes) else first.line
            if line is None:
                break
            if line:                                # b"": a notification gets no answer
                steps.append(line)
            answers.popleft()
            self.unanswered -= 1
