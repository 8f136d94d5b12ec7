"""The part of `events.Connection` that is the same in V1 and V2: what becomes of shares goes to the session, what
follows from that goes out, and nobody is served beyond his part.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from warppool.events import Event, Held, Now
from warppool.limits import FREE_CALLS, Bucket, Limits
from warppool.mining.share import Weight

# An enum's member is a function call away on Python 3.11, and every share asks.
_NOTHING = Held.NOTHING
_TURN = Held.TURN
_CALLS = Held.CALLS
_ANSWERS = Held.ANSWERS

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
    """A connection around such a session, which it has as `_session`.

    It stops reading where its part of a turn is done, where too many shares are unanswered, and where its peer has made
    too many calls; `held` says which.
    """

    __slots__ = ("_bucket", "_calls", "_is_abandoned", "_resumes_at", "held")

    limits: Limits
    _session: JudgingSession[T]

    def __init__(self) -> None:
        self.held = _NOTHING
        self._is_abandoned = False                  # the peer is gone: only shares are taken
        self._calls = 0                             # that were no shares, up to FREE_CALLS
        self._bucket: Bucket | None = None          # made after those, which few machines need
        self._resumes_at = math.inf                 # monotonic: when the next call may be made, where held for it

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
    def _finish(self, events: list[Event]) -> list[Event]:
        """Send what there is to send."""

    def _resume(self, now: Now, events: list[Event]) -> list[Event]:
        """Answers made room: what was held back for them may go on, in its turn."""
        if self.held:
            self._let_go(now)
        return self._finish(events)

    # -- its part ------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _is_full(self) -> bool:
        """Too many shares are unanswered."""

    @property
    @abstractmethod
    def _holders(self) -> int:
        """Open channels or authorized workers."""

    def abandon(self) -> None:
        """The peer is gone: of what is held only shares are taken from now on."""
        self._is_abandoned = True
        if self.held == _CALLS:
            self.held = _TURN

    def _count_call(self, now: Now) -> None:
        """The peer made a call that is no share."""
        if self._bucket is None:
            if self._calls < FREE_CALLS or not self.limits.calls:
                self._calls += 1
                return
            self._bucket = Bucket(self.limits, now.monotonic)
        self._bucket.take(now.monotonic, self._holders)

    def _is_out_of_calls(self, now: Now) -> bool:
        bucket = self._bucket
        return bucket is not None and not self._is_abandoned and not bucket.has_one(now.monotonic, self._holders)

    def _hold(self, now: Now) -> None:
        """It stopped before the end; say why."""
        if self._is_full:
            self.held = _ANSWERS
        elif self._bucket is not None and self._is_out_of_calls(now):
            self.held = _CALLS
            self._resumes_at = self._bucket.due(now.monotonic, self._holders)
        else:
            self.held = _TURN

    def _let_go(self, now: Now) -> None:
        """Whatever it was held for may be there."""
        if (self.held == _ANSWERS and not self._is_full) or (
                self.held == _CALLS and now.monotonic >= self._resumes_at):
            self.held = _TURN
