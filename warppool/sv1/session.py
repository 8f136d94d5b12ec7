"""What every server side of a V1 conversation has in common, whoever makes the work: the calls that lead to no work,
who may mine, what a machine prefers, and the order of the answers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from warppool.bitcoin.target import MAX_TARGET
from warppool.events import Close, Happened, Now
from warppool.mining.identity import MAX_BAD_NAMES, NO_NAME, read_identity
from warppool.mining.job import VERSION_MASK, Job
from warppool.mining.names import BAD_NAME
from warppool.mining.share import Weight
from warppool.sv1.answers import Answers, Step
from warppool.sv1.lines import read_submit_line
from warppool.sv1.messages import Message, Response, accepted, encode_id, error, result
from warppool.sv1.shares import Fields, read_submit
from warppool.sv1.words import Preference, hex_number, wanted_target

MAX_WORKERS = 1000
"""Workers on one connection: more than any farm behind a proxy, and a bound on what one peer can make us hold."""

OTHER = 20
"""The code of every error that has none of its own."""


class MachineSession(ABC):
    """One machine's V1 conversation: no socket, no clock, no thread.

    `receive` raises BadLine for an id that cannot be echoed; then nothing has changed. A subclass adds the call that
    brings work, `mining.subscribe`, to the table of steps.
    """

    __slots__ = ("_bad_names", "_mask", "_others", "_user", "agent", "answers", "conn_id", "last_share_at",
                 "wants_extranonce")

    def __init__(self, conn_id: int, answers: Answers) -> None:
        self.conn_id = conn_id
        self.agent = ""
        self.wants_extranonce = False               # it knows mining.set_extranonce
        self.last_share_at: float | None = None     # monotonic
        self.answers = answers
        self._user: str | None = None               # the first worker that was authorized ...
        self._others: set[str] | None = None        # ... and those after it, which few connections have
        self._bad_names = 0                         # refused for their form
        self._mask = 0                              # version bits that the machine may roll

    # -- what the connection asks --------------------------------------------------------------------------------

    @property
    def is_authorized(self) -> bool:
        """A worker has been let in."""
        return self._user is not None

    @property
    @abstractmethod
    def has_work(self) -> bool:
        """The machine has a job to mine on."""

    @property
    def machines(self) -> int:
        """1 for a machine that has work, else 0."""
        return int(self.has_work)

    @property
    def holders(self) -> int:
        """How many workers have been let in: each may have bytes and calls of its own."""
        return self.workers

    @property
    def workers(self) -> int:
        """How many workers have been let in."""
        return 0 if self._user is None else 1 + len(self._others or ())

    @property
    def is_held(self) -> bool:
        """The machine waits for us before it can go on. The time until then does not count as its silence."""
        return False

    @abstractmethod
    def idle_by(self, since: float, idle_timeout_s: float) -> float:
        """When a machine that works since `since` is idle, unless a share is accepted before; in monotonic seconds."""

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """Shares whose weight, record or verdict is still awaited."""

    @property
    def wakes_at(self) -> float:
        """Monotonic seconds of the next wanted `tick`."""
        return math.inf

    @abstractmethod
    def submit(self, request_id: bytes, fields: Fields, now: Now) -> list[Step]:
        """A share that can be read, which is nearly all that a machine ever says."""

    read_share = staticmethod(read_submit_line)         # nearly every line is a share, and needs no parser

    def receive(self, message: Message, now: Now) -> list[Step]:
        """Apply one message and return what follows from it, in order."""
        if isinstance(message, Response):           # to a request of ours, none of which needs its answer
            return []
        step = self._STEPS.get(message.method)
        if step is None:
            return self._unknown(encode_id(message.id), message.method)
        return step(self, encode_id(message.id), message.params, now)

    def offer(self, job: Job, now: Now) -> list[Step]:
        """A new job of ours. Nothing follows where the work comes from an upstream."""
        return []

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Step]:
        """The weights of the shares submitted first, for a session that submits shares to be weighed."""
        return []

    def recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares are in the books, for a session whose answers wait for that."""
        return []

    def not_recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares will never be in the books."""
        return []

    def given_up(self, ids: Sequence[int]) -> list[Step]:
        """These shares are refused, and may be in the books all the same."""
        return []

    def tick(self, now: Now) -> list[Step]:
        """`wakes_at` may have come."""
        return []

    @abstractmethod
    def closed(self, now: Now) -> list[Step]:
        """The connection is gone; no line can be sent any more."""

    # -- what a subclass does of it ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _preference(self) -> Preference:
        """What the machine prefers, as far as it has said."""

    @abstractmethod
    def _follow(self, preference: Preference, now: Now) -> list[Step]:
        """The machine prefers this from now on; perhaps it has said the same before."""

    @abstractmethod
    def _welcome(self, request_id: bytes, name: str, password: str, now: Now) -> list[Step]:
        """A worker was let in: answer, and give work if all is there."""

    @abstractmethod
    def _malformed(self, request_id: bytes) -> list[Step]:
        """A share that cannot be read is refused, and counted."""

    # -- set-up --------------------------------------------------------------------------------------------------

    def _configure(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """BIP310. Every extension that was asked for gets its key, and no other does: a Whatsminer hangs up on keys
        that it did not ask for.
        """
        names = params[0] if params else None
        options = params[1] if params is not None and len(params) > 1 else {}
        if not isinstance(names, list) or not isinstance(options, dict):
            return self.answers.answer(error(request_id, OTHER, "Malformed configure"))
        answer: dict[str, object] = {}
        preference, steps = self._preference, []
        for name in names:
            if name == "version-rolling":
                answer.update(self._roll(options.get("version-rolling.mask", "ffffffff")))
            elif name == "minimum-difficulty":
                target = wanted_target(options.get("minimum-difficulty.value"))
                answer[name] = target is not None
                preference = preference if target is None else replace(preference, minimum=target)
            elif name == "subscribe-extranonce":
                answer[name] = self.wants_extranonce = True
            elif name == "info":
                answer[name] = True
                steps.append(self._described(options))
            elif isinstance(name, str):
                answer[name] = False
        return [*self._answer_configure(result(request_id, answer)), *steps, *self._follow(preference, now)]

    def _answer_configure(self, line: bytes) -> list[Step]:
        """The answer to a configure leaves in its turn."""
        return self.answers.answer(line)

    def _roll(self, wanted: object) -> dict[str, object]:
        """Grant version bits. A count of bits that cannot be met is no reason to grant none
        (docs/v1-wire.rst#v1-methods).
        """
        self._mask = (hex_number(wanted, 8) or 0) & VERSION_MASK
        if not self._mask:
            return {"version-rolling": False}
        return {"version-rolling": True, "version-rolling.mask": f"{self._mask:08x}"}

    def _described(self, options: dict[str, object]) -> Step:
        fields = tuple((name.removeprefix("info.").replace("-", "_"), options[name]) for name in _INFO
                       if isinstance(options.get(name), str))
        return Happened(self.conn_id, "debug", "miner.described", fields)

    def _authorize(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        if not params or not isinstance(params[0], str):
            return self.answers.answer(error(request_id, OTHER, "Malformed authorize"))
        said, password = texts(params, 2)
        name = read_identity(said)
        if name is None or not self._is_fit(name):
            return self._refuse_form(request_id, said)
        refused = self._bind(request_id, name)
        if refused:
            return refused
        if not self._let_in(name):
            return [*self.answers.answer(result(request_id, False)), self._refused("too-many-workers")]
        return self._welcome(request_id, name, password, now)

    def _is_fit(self, name: str) -> bool:
        """Whether this name of a worker can be used where its shares go."""
        return True

    def _bind(self, request_id: bytes, name: str) -> list[Step]:
        """Bind the connection to the account of the first name; the refusal of a name that leads to none, or to another
        one.
        """
        return []

    def _refuse_form(self, request_id: bytes, said: str) -> list[Step]:
        """The name is none."""
        return self._refuse_name(self._no(request_id), BAD_NAME, ("user", said), ("meaning", NO_NAME))

    def _no(self, request_id: bytes) -> bytes:
        """The answer to a name that is none."""
        return result(request_id, False)

    def _refuse_name(self, answer: bytes, reason: str, *more: tuple[str, object]) -> list[Step]:
        """A name is none, or leads to no account; `more` is for the log. A peer that goes on so is no machine, and is
        closed.
        """
        self._bad_names += 1
        steps = [*self.answers.answer(answer), self._refused(reason, *more)]
        if self._bad_names >= MAX_BAD_NAMES:
            steps.append(Close(self.conn_id, f"{MAX_BAD_NAMES} names that are none", is_peers_fault=True))
        return steps

    def _refuse_worker(self, answer: bytes, reason: str, *more: tuple[str, object]) -> list[Step]:
        """A name is refused for its account. Where another worker has been let in, the peer mines on."""
        if self._user is None:
            return self._refuse_name(answer, reason, *more)
        return [*self.answers.answer(answer), self._refused(reason, *more)]

    def _refused(self, reason: str, *more: tuple[str, object]) -> Step:
        return Happened(self.conn_id, "info", "miner.refused", (("reason", reason), *more, ("agent", self.agent)))

    def _let_in(self, name: str) -> bool:
        """Take a worker on; False if there are too many."""
        if self._user is None or self._user == name:
            self._user = name
            return True
        if self._others is None:
            self._others = set()
        if self.workers < MAX_WORKERS:
            self._others.add(name)
        return name in self._others

    def _may_mine(self, name: str) -> bool:
        return name == self._user or (self._others is not None and name in self._others)

    def _submit(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        fields = read_submit(params)
        return self._malformed(request_id) if fields is None else self.submit(request_id, fields, now)

    # -- small calls ---------------------------------------------------------------------------------------------

    def _subscribe_extranonce(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        self.wants_extranonce = True
        return self.answers.answer(accepted(request_id))

    def _suggest_difficulty(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        return self._suggested(request_id, wanted_target(params[0]) if params else None, now)

    def _suggest_target(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        return self._suggested(request_id, hex_number(params[0], 64) if params else None, now)

    def _suggested(self, request_id: bytes, target: int | None, now: Now) -> list[Step]:
        """A hint where to start. It counts as long as nothing better is known: a word of the password, or shares."""
        answer = self.answers.answer(accepted(request_id))
        preference = self._preference
        if target is None or self.last_share_at is not None or preference.floor != MAX_TARGET or preference.hash_rate:
            return answer
        return [*answer, *self._follow(replace(preference, start=target), now)]

    def _ping(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        return self.answers.answer(result(request_id, "pong"))

    def _get_transactions(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        return self.answers.answer(error(request_id, OTHER, "Not supported"))

    def _unknown(self, request_id: bytes, method: str) -> list[Step]:
        return [*self.answers.answer(error(request_id, OTHER, "Unknown method")),
                Happened(self.conn_id, "debug", "message.ignored", (("message", method[:64]),))]

    _STEPS: Mapping[str, Callable[..., list[Step]]] = MappingProxyType({
        "mining.configure": _configure,
        "mining.authorize": _authorize,
        "mining.submit": _submit,
        "mining.extranonce.subscribe": _subscribe_extranonce,
        "mining.suggest_difficulty": _suggest_difficulty,
        "mining.suggest_target": _suggest_target,
        "mining.get_transactions": _get_transactions,
        "mining.ping": _ping,
    })


_INFO = ("info.connection-url", "info.hw-version", "info.sw-version", "info.hw-id")


def texts(params: Sequence[object], count: int) -> list[str]:
    """The first `count` parameters, "" for each that is missing or no text."""
    return [param if isinstance(param, str) else "" for param in [*params[:count], *[""] * count][:count]]
