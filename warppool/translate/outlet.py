"""A machine's connection, as the machine's session sees it."""

from __future__ import annotations

from typing import Protocol

from warppool.events import Event, Now
from warppool.sv1.answers import Step


class Outlet(Protocol):
    """By which leaves what an upstream's step has for the machine."""

    def pass_on(self, steps: list[Step], now: Now) -> list[Event]:
        """Whatever came of that step."""

    def pass_answers(self, steps: list[Step], now: Now) -> list[Event]:
        """Answers to shares alone: no deadline of the machine comes nearer by them."""

    def wake(self, now: Now) -> None:
        """The machine's session has something to do in the next tick."""
