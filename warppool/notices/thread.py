"""The thread `notices`: looks at the newest snapshot once a second, and tells each place what it wants to hear.

It reads values that are there anyway, and nothing ever waits for it: a chat service that is away costs the pool
nothing. What waits to be sent is bounded (`outbox.py`), and one delivery takes ten seconds at most.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from warppool.loop import GRACE_S, Loop, Report, unawaited
from warppool.notices.delivery import DELIVERY_S, Delivery, NotDelivered
from warppool.notices.kinds import DIGEST_DAILY, Notice
from warppool.notices.outbox import Outbox
from warppool.notices.seen import Around, Day, view_of
from warppool.notices.watching import DigestClock, Watch
from warppool.say import say
from warppool.stats.snapshot import StatsSnapshot

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
"""Snapshots come once a second."""

BOOKS_READ_S: Final = 120.0
"""After a start the books are read first, so that machines of before are known; but not for ever, if they hang."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody to tell: what of, and how. `name` is the operator's name for it."""

    name: str
    events: frozenset[str]
    delivery: Delivery
    gone_s: float = 600.0
    digest_hour: int = 8


@dataclass(frozen=True, slots=True)
class NoticesReport(Report):
    """Since the start: notices that arrived, and those that were given up or found no room; and what waits now."""

    sent: int
    lost: int
    waiting_notices: int


class Notices(Loop[Any]):
    """Tells `places`. `latest` gives the newest snapshot, `around` what is not in it; any thread may call both.

    `unix` is the wall clock, in seconds.
    """

    def __init__(self, places: Sequence[Recipient], latest: Callable[[], StatsSnapshot], around: Callable[[], Around],
                 unix: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__("notices", monotonic=monotonic)
        self.limits = unawaited(DELIVERY_S * len(places) + GRACE_S)     # a turn may find each of them away
        self._told = [_Told(place) for place in places]
        self._latest = latest
        self._around = around
        self._unix = unix
        self._number: int | None = None             # of the snapshot that was looked at last
        self._sent = 0

    def turn(self, items: list[Any]) -> float:
        """Look at a snapshot that is new, and send one notice to each place that has one to get."""
        if self.is_stopping:
            return self._monotonic()
        snapshot = self._latest()
        if snapshot.number != self._number and (snapshot.is_whole or snapshot.at - snapshot.started > BOOKS_READ_S):
            self._number = snapshot.number
            self.guard(self._look, snapshot)
        for told in self._told:
            if not self.is_stopping:
                self._send(told)
        now = self._monotonic()
        return min([now + LOOK_EVERY_S, *(told.outbox.wakes_at() for told in self._told)])

    def report(self) -> NoticesReport:
        """What became of all notices so far."""
        return NoticesReport(*self.vitals(), sent=self._sent, lost=sum(told.outbox.lost for told in self._told),
                             waiting_notices=sum(len(told.outbox) for told in self._told))

    def stop(self) -> None:
        """Any thread: end now. A delivery that is on its way is cut, since it may take longer than a stop."""
        super().stop()
        for told in self._told:
            told.place.delivery.close()

    def finish(self) -> None:
        """Say how much is left untold."""
        left = sum(len(told.outbox) for told in self._told)
        if left:
            say(log, logging.INFO, "notice.left", count=left)

    def _look(self, snapshot: StatsSnapshot) -> None:
        view, now = view_of(snapshot, self._around()), self._monotonic()
        local = time.localtime(self._unix())
        for told in self._told:
            for notice in told.watch.look(view):
                told.outbox.add(notice, now)
            if DIGEST_DAILY in told.place.events:
                told.day.begin(snapshot)
                if told.clock.is_due(local.tm_year, local.tm_yday, local.tm_hour):
                    told.outbox.add(Notice(DIGEST_DAILY, snapshot.at, told.day.facts(snapshot)), now)

    def _send(self, told: _Told) -> None:
        notice = told.outbox.take(self._monotonic())
        if notice is None:
            return
        place = told.place
        try:
            place.delivery.deliver(notice)
        except NotDelivered as exc:
            is_again = told.outbox.failed(self._monotonic(), is_final=exc.is_final)
            told.say_failed(notice, str(exc), is_again)
        except Exception:           # unforeseen: that notice is given up, and the next one is tried
            log.exception("event=thread.failed thread=%s step=deliver", self.name)
            told.outbox.failed(self._monotonic(), is_final=True)
        else:
            self._sent += 1
            told.outbox.sent()
            told.say_sent(notice)


class _Told:
    """What the thread keeps of one place."""

    def __init__(self, place: Recipient) -> None:
        self.place = place
        self.outbox = Outbox()
        self.watch = Watch(place.events, place.gone_s)
        self.clock = DigestClock(place.digest_hour)
        self.day = Day()
        self._is_failing = False            # and that was said

    def say_failed(self, notice: Notice, reason: str, is_again: bool) -> None:
        """A warning for the first of a row of failures: the others are of the same place and mostly of one cause."""
        was_failing, self._is_failing = self._is_failing, True
        say(log, logging.DEBUG if was_failing else logging.WARNING, "notice.failed", name=self.place.name,
            place=self.place.delivery.place, about=notice.kind, reason=reason, again=is_again)

    def say_sent(self, notice: Notice) -> None:
        """It has arrived; and if others before it have not, how many were lost so far."""
        if self._is_failing:
            self._is_failing = False
            say(log, logging.INFO, "notice.recovered", name=self.place.name, place=self.place.delivery.place,
                lost=self.outbox.lost)
        say(log, logging.INFO, "notice.sent", name=self.place.name, place=self.place.delivery.place, about=notice.kind,
            count=notice.count)
