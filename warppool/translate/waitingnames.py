"""Machines that were closed so that they mine under their own names: which of them comes back, and under which name.

A machine that waits for the answer to its subscribe before it says its name has its channel under another name until
then. Where that is another account, the machine is closed, and its name is kept here under its session and its origin.
An origin is the machine's address and agent: not all firmware says its session when it comes back.

The machine may come back to any worker. So each worker has a copy of all that is kept, and tells the others of what
changes, before the machine hears that it is closed: it cannot come back earlier than the news of it. A copy that is
late or lacks something costs a machine one more turn, and costs nobody a credit: for whom a machine mines is decided
when the machine says its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

WAITING_S = 600.0
"""How long a name is kept: as long as a dropped session of the pool."""

MAX_WAITING = 4096
"""Names kept at a time, the oldest given up first. A machine is back within seconds, so that a storm of names has to
bring hundreds a second to push it out."""


class Origin(NamedTuple):
    """Where a machine comes from: its address without the port, and what it calls itself."""

    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Awaited:
    """A machine is to come back under `name`, which belongs to `account`."""

    session_id: bytes
    name: str
    account: str
    origin: Origin
    expires_at: float                   # monotonic seconds


@dataclass(frozen=True, slots=True)
class CameBack:
    """The machine with this session is here again: it waits no more at its origin."""

    session_id: bytes


Message = Awaited | CameBack


def _nobody(message: Message) -> None:
    """Where there is one worker alone."""


class WaitingNames:
    """Owned by one worker; `tell` leaves a message for all the others, each of which gives it to `receive`.

    `now` is monotonic seconds.
    """

    __slots__ = ("_at_origin", "_by_session", "_tell")

    def __init__(self, tell: Callable[[Message], None] = _nobody) -> None:
        self._tell = tell
        self._by_session: dict[bytes, Awaited] = {}         # in the order in which they expire
        self._at_origin: dict[Origin, dict[str, Awaited]] = {}        # those that are not back yet, by their names

    def __len__(self) -> int:
        """How many names are kept."""
        return len(self._by_session)

    def keep(self, awaited: Awaited) -> None:
        """A machine is being closed, or is gone, and will come back."""
        self._keep(awaited)
        self._tell(awaited)

    def claim(self, session_id: bytes, now: float) -> Awaited | None:
        """Who comes back with this session, if anyone does. The name stays known, in case the machine drops."""
        self._expire(now)
        found = self._by_session.get(session_id)
        if found is not None:
            self._has_come(found)
        return found

    def claim_at(self, origin: Origin, now: float) -> Awaited | None:
        """Who comes back from this origin, where all that are awaited there are of one account; else None."""
        self._expire(now)
        here = self._at_origin.get(origin)
        if not here or len({awaited.account for awaited in here.values()}) > 1:
            return None
        found = next(iter(here.values()))
        self._has_come(found)
        return found

    def receive(self, message: Message) -> None:
        """What another worker tells."""
        if isinstance(message, Awaited):
            self._keep(message)
        else:
            awaited = self._by_session.get(message.session_id)
            if awaited is not None:
                self._leave_origin(awaited)

    def _has_come(self, awaited: Awaited) -> None:
        self._leave_origin(awaited)
        self._tell(CameBack(awaited.session_id))

    def _keep(self, awaited: Awaited) -> None:
        self._forget(awaited.session_id)
        while len(self._by_session) >= MAX_WAITING:
            self._forget(next(iter(self._by_session)))
        self._by_session[awaited.session_id] = awaited
        self._at_origin.setdefault(awaited.origin, {})[awaited.name] = awaited

    def _expire(self, now: float) -> None:
        while self._by_session:
            first = next(iter(self._by_session.values()))
            if first.expires_at > now:
                break
            self._forget(first.session_id)

    def _forget(self, session_id: bytes) -> None:
        awaited = self._by_session.pop(session_id, None)
        if awaited is not None:
            self._leave_origin(awaited)

    def _leave_origin(self, awaited: Awaited) -> None:
        here = self._at_origin.get(awaited.origin)
        if here is not None and here.get(awaited.name) is awaited:
            del here[awaited.name]
            if not here:
                del self._at_origin[awaited.origin]
