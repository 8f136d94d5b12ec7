"""Sessions that a drop cut off: kept for a while, so that a machine goes on where it was, whichever worker it comes to.

What a machine takes up again is its channel: extranonce1, jobs, difficulty, and the shares that must not count a
second time. A session has a home: the worker that opened the session. The first byte of the session's id is the number
of the home, and the extranonce prefix of the channel is one of the home's. The other bytes of the id are random, so
that nobody can take up the session of another machine.

A channel has one owner at any time. It is handed over as a whole, from worker to worker, by the messages below, and
only when no share of it is in flight; its old owner never touches it again:

    dropped     Returned goes home, where the channel is kept for RESUMABLE_S
    claimed     Claim goes home, Handed comes back with the channel, or with None if the session is not there
    too late    who has waited CLAIM_S says Withdrawn; a channel that was on its way then goes home by Returned
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from warppool.events import Nudge
from warppool.mining.channel import Channel
from warppool.mining.extranonce import PrefixPool
from warppool.sv1.words import Preference

SESSION_ID_SIZE = 8
"""Bytes of a session's id: the number of its home, and chance."""

MAX_HOMES = 256
"""Workers that one byte can name."""

RESUMABLE_S = 600.0
"""How long a dropped session is kept."""

CLAIM_S = 1.0
"""The longest that a subscribe waits for a session of another worker, or for one whose last shares are in flight."""

MAX_RESUMABLE = 4096
"""Sessions kept at a time, the oldest given up first. Only those that had a share accepted are kept, so that a storm of
subscribes pushes out nobody who mines."""

MAX_KEPT_SHARES = 256
"""Accepted shares that a kept session remembers, those of its newest keys. At 12 shares a minute that is twice the
work of RESUMABLE_S, so an honest machine finds all its keys again. A machine that floods the pool brings 200 KiB of
share hashes in a second, and keeps no more of them than others do."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What is kept of a session. Whoever holds this owns the channel."""

    channel: Channel
    preference: Preference
    expires_at: float                   # monotonic seconds


@dataclass(frozen=True, slots=True)
class Claim:
    """A machine at `worker` names a session; to the session's home. Nobody waits for the answer after `until`."""

    session_id: bytes
    worker: int
    conn_id: int
    until: float                        # monotonic seconds


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The connection waits no longer; to the session's home."""

    session_id: bytes
    conn_id: int


@dataclass(frozen=True, slots=True)
class Handed:
    """The answer to a claim: the session, which is the receiver's from now on, or None."""

    session_id: bytes
    conn_id: int
    dropped: Dropped | None


@dataclass(frozen=True, slots=True)
class Returned:
    """A session comes home: its connection is gone, or nobody waited for it any more."""

    session_id: bytes
    dropped: Dropped


Message = Claim | Withdrawn | Handed | Returned


def _nobody(worker: int, message: Message) -> None:
    raise AssertionError(f"there is no worker {worker}")


class ResumableSessions:
    """The dropped sessions of worker number `worker` of `workers`; used on its thread alone.

    `post` leaves a message for another worker, who gives it to `receive`. Prefixes go back to `prefixes` when the time
    of their session is over. `now` is monotonic. Steps return nudges for those connections whose answer has come.
    """

    def __init__(self, prefixes: PrefixPool, worker: int = 0, workers: int = 1,
                 post: Callable[[int, Message], None] = _nobody) -> None:
        if workers > MAX_HOMES:
            raise ValueError(f"{workers} workers, and {MAX_HOMES} have a name")
        self._prefixes = prefixes
        self._worker = worker
        self._workers = workers
        self._post = post
        self._kept: dict[bytes, Dropped] = {}               # at home and free, in the order in which they expire
        self._away: dict[bytes, Claim | None] = {}          # at home here, but lent or settling; and who waits for it
        self._awaiting: dict[bytes, Dropped] = {}           # dropped here with shares in flight, by the time of that
        self._asked: dict[int, bytes] = {}                  # sessions that connections here wait for
        self._answers: dict[int, Dropped | None] = {}       # ... and what was found, until they take it

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    @property
    def shares(self) -> int:
        """How many accepted shares the kept sessions remember."""
        return sum(dropped.channel.remembered for dropped in self._kept.values())

    @property
    def held(self) -> int:
        """All entries of whatever kind, for those who count what strangers leave behind."""
        return (len(self._kept) + len(self._away) + len(self._awaiting) + len(self._asked)
                + len(self._answers))

    def new_id(self, random_bytes: Callable[[int], bytes]) -> bytes:
        """The id of a session that begins here."""
        return bytes([self._worker]) + random_bytes(SESSION_ID_SIZE - 1)

    # -- a machine comes -----------------------------------------------------------------------------------------

    def claim(self, session_id: bytes, conn_id: int, now: float) -> Dropped | None:
        """The session of that id, if it is kept here; else None. Where another worker may have the session, that worker
        is asked, and `is_asked` is true from now on.
        """
        self.expire(now)
        if len(session_id) != SESSION_ID_SIZE:
            return None
        claim = Claim(session_id, self._worker, conn_id, now + CLAIM_S)
        home = session_id[0]
        if home == self._worker:
            found = self._kept.pop(session_id, None)
            if found is None and self._line_up(claim, now):
                self._asked[conn_id] = session_id
            return found
        if home < self._workers:
            self._asked[conn_id] = session_id
            self._post(home, claim)
        return None

    def _line_up(self, claim: Claim, now: float) -> bool:
        """Let a claim wait for a session that is away; False if the session is unknown here, or another claim waits."""
        if claim.session_id not in self._away:
            return False
        first = self._away[claim.session_id]
        if first is not None and first.until > now:
            return False
        self._away[claim.session_id] = claim
        return True

    def is_asked(self, conn_id: int) -> bool:
        """Whether the connection waits for a session."""
        return conn_id in self._asked

    def has_answer(self, conn_id: int) -> bool:
        """Whether its home has answered."""
        return conn_id in self._answers

    def take_answer(self, conn_id: int) -> Dropped | None:
        """What the home has answered; the connection waits no longer."""
        del self._asked[conn_id]
        return self._answers.pop(conn_id)

    def give_up(self, conn_id: int, now: float) -> list[Nudge]:
        """The connection waits no longer: it is gone, or has waited long enough."""
        session_id = self._asked.pop(conn_id, None)
        if session_id is None:
            return []
        home = session_id[0]
        if conn_id in self._answers:
            dropped = self._answers.pop(conn_id)
            return [] if dropped is None else self._send_home(session_id, dropped, now)
        if home == self._worker:
            self._forget_claim(session_id, conn_id)
        else:
            self._post(home, Withdrawn(session_id, conn_id))
        return []

    # -- a machine goes ------------------------------------------------------------------------------------------

    def await_shares(self, session_id: bytes, channel: Channel, preference: Preference, now: float) -> None:
        """The connection of this session is gone, with shares in flight: `shares_done` follows."""
        self._awaiting[session_id] = Dropped(channel, preference, now + RESUMABLE_S)
        if session_id[0] == self._worker:
            self._away.setdefault(session_id, None)

    def shares_done(self, session_id: bytes, now: float) -> list[Nudge]:
        """No share of the session is in flight any more, and its connection has let the channel go."""
        dropped = self._awaiting.pop(session_id, None)
        return [] if dropped is None else self._send_home(session_id, dropped, now)

    def keep(self, session_id: bytes, channel: Channel, preference: Preference, now: float) -> list[Nudge]:
        """The connection of this session is gone, with nothing in flight, and has let the channel go."""
        self.expire(now)
        return self._send_home(session_id, Dropped(channel, preference, now + RESUMABLE_S), now)

    def _send_home(self, session_id: bytes, dropped: Dropped, now: float) -> list[Nudge]:
        home = session_id[0]
        if home == self._worker:
            return self._come_home(session_id, dropped, now)
        self._post(home, Returned(session_id, dropped))
        return []

    def _come_home(self, session_id: bytes, dropped: Dropped, now: float) -> list[Nudge]:
        """Keep the session until a machine claims it, or answer the claim that waits for it."""
        claim = self._away.pop(session_id, None)
        is_worth = dropped.channel.accepted > 0 and dropped.expires_at > now
        if not is_worth:
            self._release(dropped)
        if claim is not None and claim.until > now:
            return self._hand(claim, dropped if is_worth else None)
        if is_worth:
            if len(self._kept) >= MAX_RESUMABLE:
                self._give_up_kept(next(iter(self._kept)))
            dropped.channel.trim(MAX_KEPT_SHARES)
            self._kept[session_id] = dropped
        return []

    # -- between workers -----------------------------------------------------------------------------------------

    def receive(self, message: Message, now: float) -> list[Nudge]:
        """A message of another worker."""
        self.expire(now)
        match message:
            case Claim():
                if message.until <= now:                    # nobody waits for it any more
                    return []
                dropped = self._kept.pop(message.session_id, None)
                if dropped is None and self._line_up(message, now):
                    return []
                return self._hand(message, dropped)
            case Withdrawn(session_id, conn_id):
                self._forget_claim(session_id, conn_id)
                return []
            case Handed(session_id, conn_id, dropped):
                if self._asked.get(conn_id) == session_id and conn_id not in self._answers:
                    self._answers[conn_id] = dropped
                    return [Nudge(conn_id)]
                return [] if dropped is None else self._send_home(session_id, dropped, now)
            case Returned(session_id, dropped):
                return self._come_home(session_id, dropped, now)

    def _hand(self, claim: Claim, dropped: Dropped | None) -> list[Nudge]:
        """Answer a claim. A session that goes to another worker is away until it is returned."""
        handed = Handed(claim.session_id, claim.conn_id, dropped)
        if claim.worker == self._worker:
            self._answers[claim.conn_id] = dropped          # it waits, else its claim would be forgotten
            return [Nudge(claim.conn_id)]
        if dropped is not None:
            self._away[claim.session_id] = None
        self._post(claim.worker, handed)
        return []

    def _forget_claim(self, session_id: bytes, conn_id: int) -> None:
        claim = self._away.get(session_id)
        if claim is not None and claim.conn_id == conn_id:
            self._away[session_id] = None

    # -- the end -------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Give up sessions that were kept long enough, and those whose shares were in flight for longer than a session
        is kept.
        """
        while self._kept:
            first = next(iter(self._kept))
            if self._kept[first].expires_at > now:
                break
            self._give_up_kept(first)
        while self._awaiting:
            first = next(iter(self._awaiting))
            if self._awaiting[first].expires_at > now:
                break
            self._send_home(first, self._awaiting.pop(first), now)      # too old to be kept there

    def _give_up_kept(self, session_id: bytes) -> None:
        self._release(self._kept.pop(session_id))

    def _release(self, dropped: Dropped) -> None:
        channel = dropped.channel
        self._prefixes.release(channel.extranonce_prefix, channel.tip)
