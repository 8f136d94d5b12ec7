"""The pool's side of a V1 conversation: requests in, lines and events out.

One session is one connection. Calls may come in any order, pipelined or one by one, and work goes out once the machine
has both subscribed and authorized. `session.py` has the calls that lead to no work. `channel.py` has what the machine
gets, and `mining/validator.py` what becomes of its shares. `connection.py` sees the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from warppool.events import Happened, Now
from warppool.mining.account import Account, NoAccount
from warppool.mining.channel import Channel
from warppool.mining.counter import CoinbaseCounters
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.identity import read_identity
from warppool.mining.idle import idle_by
from warppool.mining.job import Job
from warppool.mining.names import BAD_NAME, OTHER_ACCOUNT, OTHER_ADDRESS, FreeNames, NameRule, cramped
from warppool.mining.rooms import room_of_agent
from warppool.mining.share import Reject, Weight
from warppool.mining.validator import ShareValidator
from warppool.sv1.answers import Answers, Step, Ticket
from warppool.sv1.channel import MachineChannel
from warppool.sv1.messages import ACCEPTED, Message, accepted, error, refusal, result
from warppool.sv1.resume import CLAIM_S, Dropped, ResumableSessions
from warppool.sv1.session import OTHER, MachineSession, texts
from warppool.sv1.shares import BEYOND_ANY_MASK, Fields, Share
from warppool.sv1.words import Preference

EXTRANONCE2_SIZES = (4, 8)
"""Rentals need 4 bytes, Braiins and cgminer take no more than 8, and NerdMiner computes garbage with 5 to 7."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the V1 sessions of one worker share. `random_bytes(size)` makes bytes that nobody can guess."""

    policy: DifficultyPolicy
    prefixes: PrefixPool
    counters: CoinbaseCounters
    resumable: ResumableSessions
    random_bytes: Callable[[int], bytes]
    extranonce2_size: int = 8
    names: NameRule = field(default_factory=FreeNames)

    def __post_init__(self) -> None:
        """ValueError for a size that machines cannot roll."""
        if self.extranonce2_size not in EXTRANONCE2_SIZES:
            raise ValueError(f"an extranonce2 of {self.extranonce2_size} bytes")


class MiningServerSession(MachineSession):
    """One machine's conversation with a pool: the work is ours, and so are the verdicts."""

    __slots__ = ("_account", "_claim_by", "_closed_at", "_context", "_held", "_session_id", "_validator", "machine",
                 "wakes_at")

    wakes_at: float
    """Monotonic seconds of when vardiff is to be asked, or a subscribe has waited long enough."""

    def __init__(self, conn_id: int, context: Context) -> None:
        super().__init__(conn_id, Answers())
        self._validator: ShareValidator[Share] = ShareValidator(conn_id, "sv1")
        self.machine = MachineChannel(conn_id, context.policy, context.counters)
        self._context = context
        self._account: Account | None = None        # of the first worker, and of all others here
        self._session_id = b""
        self._held: list[Ticket] = []               # subscribes that wait for a session of another worker ...
        self._claim_by = math.inf                   # ... and until when, in monotonic seconds
        self._closed_at: float | None = None        # monotonic
        self.wakes_at = math.inf

    # -- what the connection asks --------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return self._validator.in_flight

    @property
    def has_work(self) -> bool:
        """The machine has a job to mine on."""
        return self.machine.has_work

    def idle_by(self, since: float, idle_timeout_s: float) -> float:
        """When the machine is idle, by its channel (`mining/idle.py`)."""
        channel = self.machine.channel
        if channel is None:
            return since + idle_timeout_s
        return idle_by(channel, since, idle_timeout_s, self.machine.network_target)

    def receive(self, message: Message, now: Now) -> list[Step]:
        """Apply one message and return what follows from it, in order."""
        return self._scheduled(super().receive(message, now))

    def offer(self, job: Job, now: Now) -> list[Step]:
        """A new job; it goes out if the machine is ready for work."""
        self._context.prefixes.moved(job.tip)
        self._context.resumable.expire(now.monotonic)
        steps = self.machine.offer(job)
        # A job alone changes no time, but where it is the first one. This runs for all machines at every job.
        return steps if len(steps) == 1 and self.wakes_at < math.inf else self._scheduled(steps)

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Step]:
        """The weights of the shares submitted first; block before verdict, verdict before answer."""
        validator = self._validator
        steps: list[Step] = []
        for share in validator.judged(weights, now):
            event = share.block or share.accepted       # the accepted share of a block is in the block
            if event is not None:
                steps.append(event)
            if share.reject is not None:
                steps.append(self._refuse(share, share.reject))
                self.answers.send(steps)                # an accepted share has no answer before its record
        if validator.flood is not None:
            steps.append(validator.flood)
        if validator.due is not None:
            validator.due = None
            steps += self._scheduled(self.machine.review(now))
        return steps if self._closed_at is None else self._with_end(steps)

    def tick(self, now: Now) -> list[Step]:
        """Ask vardiff if its time has come, and answer a subscribe that waited."""
        steps = self._answer_held(now) if self._held else []
        if now.monotonic >= self.machine.wakes_at:
            steps += self.machine.review(now)
        return self._scheduled(steps)

    def _scheduled(self, steps: list[Step]) -> list[Step]:
        """`steps`, after which the time of the next tick may be another."""
        self.wakes_at = min(self.machine.wakes_at, self._claim_by)
        return steps

    def recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares are in the books."""
        steps: list[Step] = []
        for share in self._validator.recorded(ids):
            share.line = share.request_id and ACCEPTED % share.request_id       # b"": a notification gets no answer
        self.answers.send(steps)
        return steps if self._closed_at is None else self._with_end(steps)

    def not_recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares will never be in the books."""
        return self._refuse_all(self._validator.not_recorded(ids))

    def given_up(self, ids: Sequence[int]) -> list[Step]:
        """These shares are refused, and may be in the books all the same."""
        return self._refuse_all(self._validator.given_up(ids))

    def _refuse_all(self, shares: Sequence[Share]) -> list[Step]:
        steps: list[Step] = [self._refuse(share, Reject.NOT_RECORDED) for share in shares]
        self.answers.send(steps)
        return self._with_end(steps)

    def closed(self, now: Now) -> list[Step]:
        """The connection is gone: its session goes home as soon as nothing of it is in flight."""
        machine, resumable = self.machine, self._context.resumable
        self._closed_at = now.monotonic
        machine.end()
        self._held.clear()
        self.wakes_at = self._claim_by = math.inf
        steps: list[Step] = [*resumable.give_up(self.conn_id, now.monotonic)]
        channel = machine.channel
        if channel is None:
            return steps
        if self._validator.in_flight:
            resumable.await_shares(self._session_id, channel, machine.preference, now.monotonic)
            return steps
        self._let_go()
        return [*steps, *resumable.keep(self._session_id, channel, machine.preference, now.monotonic)]

    def _with_end(self, steps: list[Step]) -> list[Step]:
        """`steps`, and what follows where the connection is closed and its last share has come back just now."""
        closed_at = self._closed_at
        if closed_at is None or self.machine.channel is None or self._validator.in_flight:
            return steps
        self._let_go()
        return [*steps, *self._context.resumable.shares_done(self._session_id, closed_at)]

    def _let_go(self) -> None:
        """The channel is another session's from now on."""
        self.machine.channel = None
        self._validator.let_go()

    # -- set-up --------------------------------------------------------------------------------------------------

    @property
    def _preference(self) -> Preference:
        return self.machine.preference

    def _follow(self, preference: Preference, now: Now) -> list[Step]:
        return self.machine.follow(preference, now)

    def _subscribe(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """Give the machine its search space: that of the session it names, if that is kept, else a new one.

        A second subscribe brings the same again, and the work anew.
        """
        self.agent, named = texts(params or [], 2)
        steps = self._resume(named, now) if self.machine.channel is None and not self._held else []
        if self._context.resumable.is_asked(self.conn_id):
            self._claim_by = min(self._claim_by, now.monotonic + CLAIM_S)
            ticket = Ticket(request_id)
            self.answers.hold(ticket)
            self._held.append(ticket)
            return []
        return [*self._refused_space(), *self.answers.answer(self._space(request_id)), *steps, *self._begin(now)]

    def _resume(self, named: str, now: Now) -> list[Step]:
        """Take up the session of that name if it is kept here. Where another worker may have it, ask that one."""
        try:
            session_id = bytes.fromhex(named)
        except ValueError:
            return []
        dropped = self._context.resumable.claim(session_id, self.conn_id, now.monotonic)
        self._session_id = session_id               # `_open` makes another id if there is no such session
        return [] if dropped is None else self._take_up(dropped, now)

    def _take_up(self, dropped: Dropped, now: Now) -> list[Step]:
        channel = dropped.channel
        return self._part_from(channel) or self.machine.resume(channel, dropped.preference, now)

    def _part_from(self, channel: Channel) -> list[Step]:
        """Close `channel`, which another session had, if that was another account's, and open a new one in its place.

        A session is taken up before the machine says its name. What is left of the session is extranonce1 alone.
        """
        account, payee = self._account, channel.payee
        if account is None or not channel.user or (payee is not None and payee.account == account.address):
            return []
        self.machine.succeed(channel)
        return [Happened(self.conn_id, "info", "miner.closed", (
            ("channel", channel.channel_id), ("reason", "another account took up its session"),
            ("user", channel.user)))]

    def _answer_held(self, now: Now) -> list[Step]:
        """What a subscribe waited for is there, or it has waited long enough."""
        resumable = self._context.resumable
        steps: list[Step] = []
        resumed: list[Step] = []
        if resumable.has_answer(self.conn_id):
            dropped = resumable.take_answer(self.conn_id)
            if dropped is not None:
                resumed = self._take_up(dropped, now)
        elif now.monotonic < self._claim_by:
            return []
        else:
            steps += resumable.give_up(self.conn_id, now.monotonic)
        self._claim_by = math.inf
        held, self._held = self._held, []
        steps += self._refused_space()
        for ticket in held:
            ticket.line = self._space(ticket.request_id)
        self.answers.send(steps)
        return [*steps, *resumed, *self._begin(now)]

    def _refused_space(self) -> list[Step]:
        """Open a channel where the machine has none; the line for the log if there is none left."""
        return [] if self.machine.channel is not None or self._open() else [self._refused("no-extranonce-prefix-left")]

    def _space(self, request_id: bytes) -> bytes:
        """The answer to a subscribe."""
        channel, session = self.machine.channel, self._session_id.hex()
        if channel is None:
            return error(request_id, OTHER, "No extranonce left")
        return result(request_id, [[["mining.set_difficulty", session], ["mining.notify", session]],
                                   channel.extranonce_prefix.hex(), channel.extranonce_size])

    def _open(self) -> bool:
        context = self._context
        prefix = context.prefixes.take()
        if prefix is None:
            return False
        self._session_id = context.resumable.new_id(context.random_bytes)
        self.machine.open(prefix, context.extranonce2_size)
        return True

    def _bind(self, request_id: bytes, name: str) -> list[Step]:
        names = self._context.names
        try:
            account = names.account(name)
        except NoAccount as exc:
            return self._refuse_worker(self._no(request_id), BAD_NAME, ("user", name), ("meaning", str(exc)))
        if self._account is None:
            self._account = account
        elif account.address != self._account.address:
            return self._refuse_worker(refusal(request_id, *OTHER_ADDRESS), OTHER_ACCOUNT, ("user", name), (
                "account", self._account.address))
        return []

    def _no(self, request_id: bytes) -> bytes:
        said = self._context.names.refusal
        return result(request_id, False) if said is None else refusal(request_id, *said)

    def _welcome(self, request_id: bytes, name: str, password: str, now: Now) -> list[Step]:
        machine, account = self.machine, self._account
        assert account is not None, "a worker without an account was let in"
        steps: list[Step] = self.answers.answer(accepted(request_id))
        steps += self._context.names.said(self.conn_id, name, account.address, now.monotonic)
        if machine.is_on:
            return [*steps, *machine.follow(machine.preference.with_password(password), now)]
        if machine.channel is not None:
            steps += self._part_from(machine.channel)
        return [*steps, *machine.follow(machine.preference.with_password(password), now), *self._begin(now)]

    def _begin(self, now: Now) -> list[Step]:
        """Work for a machine that has both subscribed and authorized; once more after each subscribe."""
        machine, channel, account = self.machine, self.machine.channel, self._account
        if channel is None or self._user is None or account is None:
            return []
        is_new, is_first = not channel.user, not machine.is_on
        if is_first:
            names = self._context.names
            channel.set_payee(names.payee(account, room_of_agent(self.agent) if names.has_rooms else 0))
        steps = machine.begin(self._user, now)
        if not is_first:
            return steps
        return [Happened(self.conn_id, "info", "miner.opened" if is_new else "miner.resumed", (
            ("channel", channel.channel_id), ("user", self._user), ("kind", "v1"),
            ("prefix", channel.extranonce_prefix), ("difficulty", channel.difficulty), ("agent", self.agent))),
            *cramped(self._context.names, self.conn_id, machine.job, channel, self.agent, now.monotonic), *steps]

    # -- shares --------------------------------------------------------------------------------------------------

    def _malformed(self, request_id: bytes) -> list[Step]:
        if self.machine.channel is None:
            return self._refuse_unweighed(request_id, "", Reject.INVALID_CHANNEL)
        return self._refuse_unweighed(request_id, self._user or "", Reject.MALFORMED)

    def submit(self, request_id: bytes, fields: Fields, now: Now) -> list[Step]:
        """Build the header if the job is known and the extranonce2 fits; else the answer is clear already.

        Block first: whoever sends it, a share on a known job is weighed before anything is held against it.
        """
        channel = self.machine.channel
        if channel is None:
            return self._refuse_unweighed(request_id, "", Reject.INVALID_CHANNEL)
        self.last_share_at = now.monotonic
        name, key, extranonce2, ntime, nonce, bits = fields
        fault = None
        if name != self._user and not self._may_mine(name):
            name = read_identity(name) or ""
            if not self._may_mine(name):
                fault = Reject.UNAUTHORIZED
        mine = channel.jobs.get(key) or channel.old_jobs.get(key)       # `find`
        if mine is None:
            return self._refuse_unweighed(request_id, "" if fault else name, Reject.INVALID_JOB)
        if len(extranonce2) != channel.extranonce_size:
            return self._refuse_unweighed(request_id, "" if fault else name, Reject.BAD_EXTRANONCE_SIZE)
        job, mask = mine.job, self._mask
        version = asked = job.version
        if bits >= 0:
            mask &= job.version_mask
            version = asked = (version & ~mask) | (bits & mask)
            if not mask or bits & ~mask:
                asked = BEYOND_ANY_MASK
        share = Share(channel, mine, name, extranonce2, asked, mask, ntime, job.tip.min_ntime,
                      mine.header(extranonce2, version, ntime, nonce), fault)
        share.request_id, share.line = request_id, None
        self.answers.hold(share)
        return [self._validator.submit(share)]

    def _refuse_unweighed(self, request_id: bytes, user: str, reject: Reject) -> list[Step]:
        """A share that no header could be built of."""
        return [*self.answers.answer(error(request_id, reject.v1_code, reject.v1_words)),
                self._validator.refused(user, reject)]

    def _refuse(self, share: Share, reject: Reject) -> Step:
        """The answer waits for its turn; what the books hear does not."""
        share.line = error(share.request_id, reject.v1_code, reject.v1_words)
        return self._validator.refused(share.user, reject)

    _STEPS = MappingProxyType({
        **MachineSession._STEPS,
        "mining.subscribe": _subscribe,
    })
