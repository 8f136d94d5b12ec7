"""The pool's side of a V1 conversation: requests in, lines and events out (architecture.md §4).

One session is one connection. Calls may come in any order, pipelined or one by one, and work goes out once the machine
has both subscribed and authorized. `shares.py` keeps the order of the answers; `connection.py` sees the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from warppool.bitcoin.target import MAX_TARGET
from warppool.events import Happened, Now
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.identity import is_user_identity
from warppool.mining.job import VERSION_MASK, Job
from warppool.mining.share import Reject, Weight
from warppool.sv1.messages import Message, Response, accepted, encode_id, error, result
from warppool.sv1.resume import ResumableSessions
from warppool.sv1.shares import Shares, Step, read_submit
from warppool.sv1.words import hex_number, wanted_target
from warppool.sv1.work import Work

SESSION_ID_SIZE = 8
"""Random bytes that name a session, so that a machine can take it up again and nobody else can."""

MAX_WORKERS = 1000
"""Workers on one connection: more than any farm behind a proxy, and a bound on what one peer can make us hold."""

OTHER = 20
"""The code of every error that has none of its own."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the V1 sessions of one worker share. `random_bytes` makes so many bytes that nobody can guess."""

    policy: DifficultyPolicy
    prefixes: PrefixPool
    resumable: ResumableSessions
    random_bytes: Callable[[int], bytes]
    extranonce2_size: int = 8               # 4 to 8: rentals need 4, Braiins and cgminer take no more than 8


class MiningServerSession:
    """One machine's V1 conversation: no socket, no clock, no thread.

    `receive` raises BadLine for an id that cannot be echoed; then nothing has changed.
    """

    __slots__ = ("_mask", "_others", "_session_id", "_shares", "_surroundings", "_user", "agent", "conn_id",
                 "last_share_at", "wants_extranonce", "work")

    def __init__(self, conn_id: int, surroundings: Surroundings) -> None:
        self.conn_id = conn_id
        self.agent = ""
        self.wants_extranonce = False               # it knows mining.set_extranonce
        self.last_share_at: float | None = None     # monotonic
        self.work = Work(conn_id, surroundings.policy)
        self._surroundings = surroundings
        self._shares = Shares(conn_id)
        self._session_id = b""
        self._user: str | None = None               # the first worker that was authorized ...
        self._others: set[str] | None = None        # ... and those after it, which few connections have
        self._mask = 0                              # version bits that the machine may roll

    # -- what the connection asks --------------------------------------------------------------------------------

    @property
    def is_authorized(self) -> bool:
        """A worker has been let in."""
        return self._user is not None

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return self._shares.in_flight

    @property
    def unanswered(self) -> int:
        """Answers held back by a share that waits, and that share's."""
        return self._shares.unanswered

    def receive(self, message: Message, now: Now) -> list[Step]:
        """Apply one message and return what follows from it, in order."""
        if isinstance(message, Response):           # to a request of ours, none of which needs its answer
            return []
        step = self._STEPS.get(message.method)
        if step is None:
            return self._unknown(encode_id(message.id), message.method)
        return step(self, encode_id(message.id), message.params, now)

    def offer(self, job: Job, now: Now) -> list[Step]:
        """A new job; it goes out if the machine is ready for work."""
        self._surroundings.prefixes.moved(job.tip)
        self._surroundings.resumable.expire(now.monotonic)
        return self.work.offer(job, now)

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

    def closed(self, now: Now) -> None:
        """The connection is gone: a session that had work is kept for a while, any other gives its prefix back."""
        channel, surroundings = self.work.channel, self._surroundings
        self.work.end()
        if channel is not None and channel.tip is not None:
            surroundings.resumable.keep(self._session_id, channel, self.work.wish, now.monotonic)
        elif channel is not None:
            surroundings.prefixes.release(channel.extranonce_prefix)

    # -- set-up --------------------------------------------------------------------------------------------------

    def _configure(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """BIP310. Every extension that was asked for gets its key, and no other does: a Whatsminer hangs up on keys
        that it did not ask for.
        """
        names = params[0] if params else None
        options = params[1] if params is not None and len(params) > 1 else {}
        if not isinstance(names, list) or not isinstance(options, dict):
            return self._shares.answer(error(request_id, OTHER, "Malformed configure"))
        answer: dict[str, object] = {}
        wish, steps = self.work.wish, []
        for name in names:
            if name == "version-rolling":
                answer.update(self._roll(options.get("version-rolling.mask", "ffffffff")))
            elif name == "minimum-difficulty":
                target = wanted_target(options.get("minimum-difficulty.value"))
                answer[name] = target is not None
                wish = wish if target is None else replace(wish, minimum=target)
            elif name == "subscribe-extranonce":
                answer[name] = self.wants_extranonce = True
            elif name == "info":
                answer[name] = True
                steps.append(self._described(options))
            elif isinstance(name, str):
                answer[name] = False
        return [*self._shares.answer(result(request_id, answer)), *steps, *self.work.follow(wish, now)]

    def _roll(self, wanted: object) -> dict[str, object]:
        """Grant version bits. A count of bits that cannot be met is no reason to grant none (sv2-wire.md §6.1)."""
        self._mask = (hex_number(wanted, 8) or 0) & VERSION_MASK
        if not self._mask:
            return {"version-rolling": False}
        return {"version-rolling": True, "version-rolling.mask": f"{self._mask:08x}"}

    def _described(self, options: dict[str, object]) -> Step:
        fields = tuple((name.removeprefix("info.").replace("-", "_"), options[name]) for name in _INFO
                       if isinstance(options.get(name), str))
        return Happened(self.conn_id, "debug", "miner.described", fields)

    def _subscribe(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """Give the machine its search space: that of the session it names, if that is kept here, else a new one.

        A second subscribe brings the same again, and the work anew.
        """
        self.agent, named = _texts(params or [], 2)
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

    def _authorize(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        if not params or not isinstance(params[0], str):
            return self._shares.answer(error(request_id, OTHER, "Malformed authorize"))
        name, password = _texts(params, 2)
        if not is_user_identity(name) or not self._let_in(name):
            return [*self._shares.answer(result(request_id, False)), self._refused("invalid-user-identity")]
        wish = self.work.wish.with_password(password)
        return [*self._shares.answer(accepted(request_id)), *self.work.follow(wish, now),
                *([] if self.work.is_on else self._begin(now))]

    def _refused(self, reason: str) -> Step:
        return Happened(self.conn_id, "info", "miner.refused", (("reason", reason), ("agent", self.agent)))

    def _let_in(self, name: str) -> bool:
        """Take a worker on; False if there are too many."""
        if self._user is None or self._user == name:
            self._user = name
            return True
        if self._others is None:
            self._others = set()
        if len(self._others) < MAX_WORKERS:
            self._others.add(name)
        return name in self._others

    def _may_mine(self, name: str) -> bool:
        return name == self._user or (self._others is not None and name in self._others)

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

    # -- small calls ---------------------------------------------------------------------------------------------

    def _subscribe_extranonce(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        self.wants_extranonce = True
        return self._shares.answer(accepted(request_id))

    def _suggest_difficulty(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        return self._suggested(request_id, wanted_target(params[0]) if params else None, now)

    def _suggest_target(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        return self._suggested(request_id, hex_number(params[0], 64) if params else None, now)

    def _suggested(self, request_id: bytes, target: int | None, now: Now) -> list[Step]:
        """A hint where to start, as long as nothing better is known: a password's word, or shares."""
        answer = self._shares.answer(accepted(request_id))
        if target is None or self.last_share_at is not None or self.work.wish.floor != MAX_TARGET:
            return answer
        return [*answer, *self.work.follow(replace(self.work.wish, start=target), now)]

    def _ping(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        return self._shares.answer(result(request_id, "pong"))

    def _get_transactions(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        return self._shares.answer(error(request_id, OTHER, "Not supported"))

    def _unknown(self, request_id: bytes, method: str) -> list[Step]:
        return [*self._shares.answer(error(request_id, OTHER, "Unknown method")),
                Happened(self.conn_id, "debug", "message.ignored", (("message", method[:64]),))]

    # -- shares --------------------------------------------------------------------------------------------------

    def _submit(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """Block first: whoever sends it, a share on a known job is weighed before anything is held against it."""
        channel = self.work.channel
        if channel is None:
            return self._shares.refuse(request_id, "", Reject.INVALID_CHANNEL)
        fields = read_submit(params)
        if fields is None:
            return self._shares.refuse(request_id, self._user or "", Reject.MALFORMED)
        self.last_share_at = now.monotonic
        name = fields[0]
        if self._may_mine(name):
            return self._shares.submit(request_id, fields, channel, self._mask, None, name)
        user = name if is_user_identity(name) else ""
        return self._shares.submit(request_id, fields, channel, self._mask, Reject.UNAUTHORIZED, user)

    _STEPS: Mapping[str, Callable[..., list[Step]]] = MappingProxyType({
        "mining.submit": _submit,
        "mining.configure": _configure,
        "mining.subscribe": _subscribe,
        "mining.authorize": _authorize,
        "mining.extranonce.subscribe": _subscribe_extranonce,
        "mining.suggest_difficulty": _suggest_difficulty,
        "mining.suggest_target": _suggest_target,
        "mining.get_transactions": _get_transactions,
        "mining.ping": _ping,
    })


_INFO = ("info.connection-url", "info.hw-version", "info.sw-version", "info.hw-id")


def _texts(params: Sequence[object], count: int) -> list[str]:
    """The first `count` parameters, "" for each that is missing or no text."""
    return [param if isinstance(param, str) else "" for param in [*params[:count], *[""] * count][:count]]
