"""The part of `events.Connection` that is the same in V1 and V2: what becomes of shares goes to the session, and what
follows from that goes out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from warppool.events import Event, Now
from warppool.mining.share import Weight

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class JudgingSession(Protocol[T_co]):
    """A session that hands out headers to be weighed and shares to be recorded; `T_co` is a step of its protocol."""

    def judged(self, weights: Sequence[Weight], now: Now) -> Sequence[T_co]:
        """The next weights, in the order of the shares."""

    def recorded(self, ids: Sequence[int]) -> Sequence[T_co]:
        """These shares are committed."""

    def not_recorded(self, ids: Sequence[int]) -> Sequence[T_co]:
        """These shares will never be committed."""

    def given_up(self, ids: Sequence[int]) -> Sequence[T_co]:
        """These shares are refused, and may be committed all the same."""


class JudgingConnection(ABC, Generic[T]):
    """A connection around such a session, which it has as `_session`."""

    __slots__ = ()

    _session: JudgingSession[T]

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Event]:
        """The next weights, in the order of the shares."""
        events: list[Event] = []
        self._apply(self._session.judged(weights, now), events)
        return self._resume(now, events)

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares are committed."""
        events: list[Event] = []
        self._apply(self._session.recorded(ids), events)
        return self._resume(now, events)

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares will never be committed."""
        events: list[Event] = []
        self._apply(self._session.not_recorded(ids), events)
        return self._resume(now, events)

    def given_up(self, ids: Sequence[int], now: Now) -> list[Event]:
        """These shares are refused, and may be committed all the same."""
        events: list[Event] = []
        self._apply(self._session.given_up(ids), events)
        return self._resume(now, events)

    @abstractmethod
    def _apply(self, steps: Sequence[T], events: list[Event]) -> None:
        """Keep what is to be sent, and put the rest into `events`."""

    @abstractmethod
    def _resume(self, now: Now, events: list[Event]) -> list[Event]:
        """Answers made room: go on with what was held back, and send what there is to send."""
