"""The pool's side of a V1 conversation: requests in, lines and events out (architecture.md §4).

One session is one connection. Calls may come in any order, pipelined or one by one, and work goes out once the machine
has both subscribed and authorized. `session.py` has the calls that lead to none, `shares.py` what becomes of shares;
`connection.py` sees the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from warppool.events import Happened, Now
from warppool.mining.counter import CoinbaseCounters
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.identity import read_identity
from warppool.mining.job import Job
from warppool.mining.share import Reject, Weight
from warppool.sv1.answers import Step
from warppool.sv1.messages import accepted, error, result
from warppool.sv1.resume import ResumableSessions
from warppool.sv1.session import OTHER, SESSION_ID_SIZE, MachineSession, texts
from warppool.sv1.shares import Fields, Shares
from warppool.sv1.words import Wish
from warppool.sv1.work import Work

EXTRANONCE2_SIZES = (4, 8)
"""Rentals need 4 bytes, Braiins and cgminer take no more than 8, and NerdMiner computes garbage with 5 to 7."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the V1 sessions of one worker share. `random_bytes` makes so many bytes that nobody can guess."""

    policy: DifficultyPolicy
    prefixes: PrefixPool
    counters: CoinbaseCounters
    resumable: ResumableSessions
    random_bytes: Callable[[int], bytes]
    extranonce2_size: int = 8

    def __post_init__(self) -> None:
        """ValueError for a size that machines cannot roll."""
        if self.extranonce2_size not in EXTRANONCE2_SIZES:
            raise ValueError(f"an extranonce2 of {self.extranonce2_size} bytes")


class MiningServerSession(MachineSession):
    """One machine's conversation with a pool: the work is ours, and so are the verdicts."""

    __slots__ = ("_session_id", "_shares", "_surroundings", "work")

    def __init__(self, conn_id: int, surroundings: Surroundings) -> None:
        self._shares = Shares(conn_id)
        super().__init__(conn_id, self._shares)
        self.work = Work(conn_id, surroundings.policy, surroundings.counters)
        self._surroundings = surroundings
        self._session_id = b""

    # -- what the connection asks --------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return self._shares.in_flight

    @property
    def has_work(self) -> bool:
        """The machine has a job to mine on."""
        return self.work.is_on and self.work.job is not None

    @property
    def wakes_at(self) -> float:
        """When vardiff is to be asked."""
        return self.work.wakes_at

    def offer(self, job: Job, now: Now) -> list[Step]:
        """A new job; it goes out if the machine is ready for work."""
        self._surroundings.prefixes.moved(job.tip)
        self._surroundings.resumable.expire(now.monotonic)
        return self.work.offer(job)

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Step]:
        """The weights of the shares submitted first; block before verdict, verdict before answer."""
        steps = self._shares.judged(weights, now)
        if self._shares.is_due():
            steps += self.work.look(now)
        return steps

    def tick(self, now: Now) -> list[Step]:
        """Ask vardiff if its time has come."""
        return self.work.look(now) if now.monotonic >= self.work.wakes_at else []

    def recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares are in the books."""
        return self._shares.recorded(ids)

    def not_recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares will never be in the books."""
        return self._shares.not_recorded(ids, self.work.channel)

    def given_up(self, ids: Sequence[int]) -> list[Step]:
        """These shares are refused, and may be in the books all the same."""
        return self._shares.given_up(ids)

    def closed(self, now: Now) -> list[Step]:
        """The connection is gone: a session that had work is kept for a while, any other gives its prefix back."""
        channel, surroundings = self.work.channel, self._surroundings
        self.work.end()
        if channel is not None and channel.tip is not None:
            surroundings.resumable.keep(self._session_id, channel, self.work.wish, now.monotonic)
        elif channel is not None:
            surroundings.prefixes.release(channel.extranonce_prefix)
        return []

    # -- set-up --------------------------------------------------------------------------------------------------

    @property
    def _wish(self) -> Wish:
        return self.work.wish

    def _follow(self, wish: Wish, now: Now) -> list[Step]:
        return self.work.follow(wish, now)

    def _subscribe(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """Give the machine its search space: that of the session it names, if that is kept here, else a new one.

        A second subscribe brings the same again, and the work anew.
        """
        self.agent, named = texts(params or [], 2)
        work = self.work
        steps = self._resume(named, now) if work.channel is None else []
        if work.channel is None and not self._open():
            return [*self._shares.answer(error(request_id, OTHER, "No extranonce left")),
                    self._refused("no-extranonce-prefix-left")]
        assert work.channel is not None
        session = self._session_id.hex()
        answer = result(request_id, [
            [["mining.set_difficulty", session], ["mining.notify", session]],
            work.channel.extranonce_prefix.hex(), work.channel.extranonce_size])
        return [*self._shares.answer(answer), *steps, *self._begin(now)]

    def _resume(self, named: str, now: Now) -> list[Step]:
        """Take up the session of that name, if it is kept."""
        try:
            session_id = bytes.fromhex(named)
        except ValueError:
            return []
        dropped = self._surroundings.resumable.take(session_id, now.monotonic)
        if dropped is None:
            return []
        self._session_id = session_id
        return self.work.resume(dropped.channel, dropped.wish, now)

    def _open(self) -> bool:
        prefix = self._surroundings.prefixes.take()
        if prefix is None:
            return False
        self._session_id = self._surroundings.random_bytes(SESSION_ID_SIZE)
        self.work.open(prefix, self._surroundings.extranonce2_size)
        return True

    def _welcome(self, request_id: bytes, name: str, password: str, now: Now) -> list[Step]:
        wish = self.work.wish.with_password(password)
        return [*self._shares.answer(accepted(request_id)), *self.work.follow(wish, now),
                *([] if self.work.is_on else self._begin(now))]

    def _begin(self, now: Now) -> list[Step]:
        """Work for a machine that has both subscribed and authorized; once more after each subscribe."""
        work, channel = self.work, self.work.channel
        if channel is None or self._user is None:
            return []
        is_new, is_first = not channel.user, not work.is_on
        steps = work.begin(self._user, now)
        if not is_first:
            return steps
        return [Happened(self.conn_id, "info", "miner.opened" if is_new else "miner.resumed", (
            ("channel", channel.channel_id), ("user", self._user), ("kind", "v1"),
            ("prefix", channel.extranonce_prefix), ("difficulty", channel.difficulty), ("agent", self.agent))), *steps]

    # -- shares --------------------------------------------------------------------------------------------------

    def _malformed(self, request_id: bytes) -> list[Step]:
        if self.work.channel is None:
            return self._shares.refuse(request_id, "", Reject.INVALID_CHANNEL)
        return self._shares.refuse(request_id, self._user or "", Reject.MALFORMED)

    def submit(self, request_id: bytes, fields: Fields, now: Now) -> list[Step]:
        """Block first: whoever sends it, a share on a known job is weighed before anything is held against it."""
        channel = self.work.channel
        if channel is None:
            return self._shares.refuse(request_id, "", Reject.INVALID_CHANNEL)
        self.last_share_at = now.monotonic
        name = fields[0]
        if not self._may_mine(name):
            name = read_identity(name) or ""
            if not self._may_mine(name):
                return self._shares.submit(request_id, fields, channel, self._mask, Reject.UNAUTHORIZED, name)
        return self._shares.submit(request_id, fields, channel, self._mask, None, name)

    _STEPS = MappingProxyType({
        **MachineSession._STEPS,
        "mining.subscribe": _subscribe,
    })
