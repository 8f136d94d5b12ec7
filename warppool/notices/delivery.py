"""How one notice leaves: what a post and a command have in common."""

from __future__ import annotations

from typing import Final, Protocol

from warppool.notices.kinds import Notice

DELIVERY_S: Final = 10.0
"""For all of one delivery: looking the name up, connecting, shaking hands, sending, and the answer; or a command."""


class NotDelivered(Exception):
    """The notice has not arrived; the text says why, and holds no token. `is_final`: the same would come again."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


class Delivery(Protocol):
    """Brings notices to one place. It belongs to one thread; `close` alone may come from any other."""

    @property
    def place(self) -> str:
        """What the journal may show: a host alone, or the name of a program."""

    def deliver(self, notice: Notice) -> None:
        """Send it, within DELIVERY_S; NotDelivered."""

    def close(self) -> None:
        """Any thread: end what is on its way, which then is NotDelivered, and send nothing more."""
