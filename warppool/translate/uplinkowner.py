"""What a connection to an upstream tells whoever made it: all that the connection shows of the upstream."""

from __future__ import annotations

from typing import Protocol, TypeVar

from warppool.events import Event, Now
from warppool.translate.context import Times

U = TypeVar("U", contravariant=True)


class UplinkOwner(Protocol[U]):
    """Of connections of class `U`. What comes back are events for the worker."""

    times: Times

    @property
    def check_every_s(self) -> float:
        """Seconds between two looks for a better upstream."""

    def is_set_up(self, uplink: U, now: Now) -> list[Event]:
        """The pool accepted the connection."""

    def has_worked(self, uplink: U, now: Now) -> list[Event]:
        """The pool gave work."""

    def has_failed(self, uplink: U, now: Now, *, is_wrong_key: bool = False) -> list[Event]:
        """The connection could not be made, or broke."""

    def has_left(self, uplink: U, now: Now) -> list[Event]:
        """The connection is no longer needed, which says nothing about the upstream."""

    def asks_to_move(self, uplink: U, host: str, port: int, age_s: float) -> bool:
        """The pool wants to be connected anew, there or here; False where that is too soon."""

    def probe(self, uplink: U, now: Now) -> list[Event]:
        """The pool is silent, as a living one may be: what finds out whether it takes another connection. Then
        `probed` of this one tells of that.
        """

    def find_better(self, uplink: U, now: Now) -> tuple[bool, list[Event]]:
        """Whether a better upstream is up; where none is, what checks the health of those that are better."""
