"""One V1 machine's calls, with a V2 pool behind it.

The machine's calls come in as the V1 side reads them; what the upstream says of the machine's channels comes in by the
methods of `channel.ChannelOwner`. Which channel the machine mines on, and which is next, is known to the route
(`route.Route`). What the machine was told of its extranonce stands in `MachineJobs`; where the next channel has another
extranonce, those machines that can take a new one go on with it, and the others are closed to connect anew.
"""

from __future__ import annotations

import math
from types import MappingProxyType

from warppool.events import Close, Event, Happened, Now
from warppool.mining.identity import read_identity
from warppool.mining.names import BAD_NAME
from warppool.mining.share import Reject
from warppool.sv1.answers import Step
from warppool.sv1.messages import accepted, refusal
from warppool.sv1.session import MachineSession, texts
from warppool.sv1.shares import Fields
from warppool.sv1.words import NO_PREFERENCE, Preference
from warppool.sv2.work import Work
from warppool.translate.channel import Stage, UpstreamChannel
from warppool.translate.failover import Failover
from warppool.translate.jobs import KEEP_ALIVE_S, MachineJobs
from warppool.translate.naming import REFUSALS, Naming
from warppool.translate.outlet import Outlet
from warppool.translate.route import Route, RouteChange, RoutePhase
from warppool.translate.sent import FULL
from warppool.translate.setupcalls import SetupCalls
from warppool.translate.shares import ShareForwarder
from warppool.translate.verdicts import LOST, rejection_of
from warppool.translate.wish import wish_of

_NAME_REFUSALS = frozenset({"unknown-user", BAD_NAME})

TOO_MANY = "more shares on one tip than its upstream bears of a machine: its d= is too small"
"""Why a machine must go."""

# An enum's member is a function call away on Python 3.11, and every share asks.
_MINING = RoutePhase.MINING
_LEAVING = RoutePhase.LEAVING


class TranslatorSession(MachineSession):
    """One machine: its calls, its answers, its jobs."""

    __slots__ = ("_jobs", "_naming", "_outlet", "_route", "_setup", "_wants")

    answers: ShareForwarder

    def __init__(self, outlet: Outlet, conn_id: int, failover: Failover, now: Now, address: str) -> None:
        answers = ShareForwarder(conn_id, failover)
        super().__init__(conn_id, answers)
        self._outlet = outlet
        self._naming = Naming(failover.context, address)
        self._setup = SetupCalls(answers)
        self._route = Route(self, failover, now.monotonic)
        self._jobs = MachineJobs()
        self._wants = NO_PREFERENCE

    # -- what the connection asks --------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Shares that wait for the upstream's word, or for the end of our patience."""
        return self.answers.in_flight

    def idle_by(self, since: float, idle_timeout_s: float) -> float:
        """When it is idle; what counts is our own verdict, since an upstream may be long with its own."""
        return self.answers.idle_by(since, idle_timeout_s)

    @property
    def is_authorized(self) -> bool:
        """A worker has been let in."""
        return self._setup.is_welcome

    @property
    def has_work(self) -> bool:
        """The machine has a job to mine on."""
        return self._jobs.newest is not None

    @property
    def is_held(self) -> bool:
        """The machine waits for an upstream, which waits for nothing that the machine could say."""
        return self._setup.has_calls and not self._route.waits_for_name

    @property
    def is_leaving(self) -> bool:
        """It is to be closed as soon as the machine has its answers."""
        return self._route.phase is _LEAVING

    @property
    def wakes_at(self) -> float:
        """The earliest of all that this session waits for."""
        route = self._route
        current, jobs = route.current, self._jobs
        if route.phase is _MINING and current is not None:      # as at every share
            sent = current.sent
            return min(sent.first_sent_at + route.failover.times.verdict_timeout_s,
                       jobs.notified_at + KEEP_ALIVE_S, jobs.again_at, sent.fails_at)
        if route.is_leaving and not self.answers.unanswered:
            return -math.inf
        due = min(route.leave_by, route.due(self._may_open_at()))
        if current is not None:
            due = min(due, current.sent.first_sent_at + route.failover.times.verdict_timeout_s)
            if not route.is_leaving:
                due = min(due, jobs.notified_at + KEEP_ALIVE_S, jobs.again_at, current.sent.fails_at)
        return due

    def tick(self, now: Now) -> list[Step]:
        """Do what is due."""
        steps: list[Step] = []
        route = self._route
        if route.current is not None:
            steps += self._tick_mining(route.current, now)
        if route.is_leaving and (not self.answers.unanswered or now.monotonic >= route.leave_by):
            return [*steps, Close(self.conn_id, route.leave_why)]
        steps += self._ask(now)
        if route.is_grace_over(now.monotonic):
            return [*steps, Close(self.conn_id, f"no upstream for {route.failover.times.grace_s:.0f} s")]
        if route.next is not None and now.monotonic >= route.next_by:
            steps += route.next.uplink.fail("no channel in time", now)
        return [*steps, *self._seek(now)]

    def _tick_mining(self, current: UpstreamChannel, now: Now) -> list[Step]:
        steps = self.answers.expire(current, now)
        if now.monotonic >= self._jobs.again_at:
            self._jobs.again_at = math.inf
            steps += self._bound(current, now)
            steps += self._begin(now)
        if self.is_leaving:
            return steps
        if now.monotonic >= self._jobs.notified_at + KEEP_ALIVE_S:
            steps += self._jobs.again(self._mask, now)
        if current.sent.fails_at == FULL:
            return [*steps, *self.answers.settle(current), Close(self.conn_id, TOO_MANY)]
        if now.monotonic >= current.sent.fails_at:
            reason = (f"no word on the last {current.sent.unanswered} shares of a channel" if current.tip else
                      "no work for a channel that it has opened")
            steps += current.uplink.fail(reason, now, is_unfit=True)
        return steps

    def closed(self, now: Now) -> list[Step]:
        """The connection is gone: its channels go too, as soon as their last shares are answered or given up."""
        self._setup.drop()
        self._naming.closed(self._user, now.monotonic)
        return [*self._route.close(now)]

    # -- the machine's calls -------------------------------------------------------------------------------------

    @property
    def _preference(self) -> Preference:
        return self._wants

    def _follow(self, preference: Preference, now: Now) -> list[Step]:
        self._wants = preference
        return [*self._bound(self._route.current, now), *self._bound(self._route.next, now)]

    def _bound(self, channel: UpstreamChannel | None, now: Now) -> list[Event]:
        """Keep the upstream told of what the machine takes."""
        if channel is None:
            return []
        events, again_at = channel.bound(wish_of(self._wants, channel.uplink.upstream), now.monotonic)
        self._jobs.again_at = min(self._jobs.again_at, again_at)
        return events

    def _configure_rolling(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """The machine gets what it and we allow; if its job allows less, the machine hears of that right behind."""
        return [*self._configure(request_id, params, now), *self._jobs.roll(self._mask)]

    def _roll(self, wanted: object) -> dict[str, object]:
        self._jobs.ask_for_bits()
        return super()._roll(wanted)

    def _answer_configure(self, line: bytes) -> list[Step]:
        """Out of turn, where what stands before it waits for an upstream: that may be long."""
        return [line] if self._setup.has_calls and line else super()._answer_configure(line)

    def _is_fit(self, name: str) -> bool:
        """Whether the name can go upstream."""
        return self._naming.is_fit(name)

    def _bind(self, request_id: bytes, name: str) -> list[Step]:
        reason = self._naming.why_not(name, self._user)
        if not reason:
            return []
        return self._refuse_worker(refusal(request_id, *REFUSALS[reason]), reason, ("user", name))

    def _subscribe(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """Give the machine its search space, now or as soon as there is a channel."""
        self.agent, session = texts(params or [], 2)
        self._naming.subscribe(self.agent, session, now.monotonic)
        current = self._route.current
        if current is not None and current.stage is Stage.OPEN:
            self._jobs.tell_extranonce(current)
            answer = self._jobs.subscription(request_id, self._naming.session_id)
            return [*self.answers.answer(answer), *self._begin(now)]
        self._jobs.extranonce = None                # that of an upstream that is lost, if there was one
        self._setup.subscribe(request_id, now.monotonic)
        return [*self._ask(now)]

    def _welcome(self, request_id: bytes, name: str, password: str, now: Now) -> list[Step]:
        """A worker that we let in: the upstream has the last word on the first one's name."""
        steps = self._follow(self._wants.with_password(password), now)
        if self._setup.is_welcome or self._route.current is not None:
            steps += self._setup.welcome(self.conn_id, self._route.current, name, self.agent)
            return [*self.answers.answer(accepted(request_id)), *steps, *self._send_back(now), *self._begin(now)]
        self._setup.authorize(request_id, name)
        return [*steps, *self._ask(now)]

    def _malformed(self, request_id: bytes) -> list[Step]:
        if self._jobs.extranonce is None:
            return self.answers.refuse(request_id, "", rejection_of(Reject.INVALID_CHANNEL))
        return self.answers.refuse(request_id, self._user or "", rejection_of(Reject.MALFORMED))

    def submit(self, request_id: bytes, fields: Fields, now: Now) -> list[Step]:
        """Judge a share, and send it upstream if it is good."""
        if self._jobs.extranonce is None:
            return self.answers.refuse(request_id, "", rejection_of(Reject.INVALID_CHANNEL))
        self.last_share_at = now.monotonic
        current, jobs = self._route.current, self._jobs
        name, key = fields[0], fields[1]
        fault = None
        if name != self._user and not self._may_mine(name):
            name = read_identity(name) or ""
            if not self._may_mine(name):
                fault = Reject.UNAUTHORIZED
        job = jobs.of_tip.get(key) or jobs.of_last_tip.get(key)
        if job is None:
            rejection = LOST if current is None else rejection_of(Reject.INVALID_JOB)
            return self.answers.refuse(request_id, name if fault is None else "", rejection)
        return self.answers.submit(request_id, fields, job, current, self._mask, jobs.easiest, fault, name, now)

    # -- to an upstream ------------------------------------------------------------------------------------------

    def seek_again(self, now: Now) -> None:
        """An upstream has come or gone; the nudge is the caller's."""
        self._route.seek_at = now.monotonic
        self._outlet.wake(now)

    def _seek(self, now: Now) -> list[Event]:
        return [*self._route.seek(now), *self._ask(now)]

    def _ask(self, now: Now) -> list[Event]:
        """Ask for the next channel as soon as it can be asked for."""
        route, user = self._route, self._user
        channel = route.next
        if channel is None or not route.waits_for_name or now.monotonic < self._may_open_at():
            return []
        upstream = channel.uplink.upstream
        identity, is_named = self._naming.identity(user, upstream.config.user_identity, now.monotonic)
        return [route.ask(identity, wish_of(self._wants, upstream), now, is_named=is_named)]

    def _may_open_at(self) -> float:
        return self._naming.may_open_at(self._setup.may_open_at(self._user))

    def _send_back(self, now: Now) -> list[Step]:
        """Close a machine that is on a channel of another account: it comes back, and gets one of its own."""
        user, route = self._user, self._route
        if user is None or route.is_leaving or self._naming.may_mine(route.current, user):
            return []
        self._naming.send_back(user, now.monotonic)
        return [Happened(self.conn_id, "info", "miner.sent_back", (("user", user), ("agent", self.agent))),
                *route.leave("its channel is another account's, and it comes back for its own", now)]

    @property
    def _is_bound(self) -> bool:
        """The machine has an extranonce and cannot take another one."""
        return self._jobs.extranonce is not None and not self.wants_extranonce

    # -- from the upstream (channel.ChannelOwner) ----------------------------------------------------------------

    def ready(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """The connection for the next channel is set up."""
        steps: list[Step] = []
        if channel is self._route.next:
            if self._is_bound:
                steps += self._route.leave("an upstream is back, with another extranonce", now)
            else:
                self._route.is_ready(now)
                steps += self._ask(now)
        return self._outlet.pass_on(steps, now)

    def granted(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """The next channel is open. Where there is a current one, it is replaced when the first work comes."""
        steps: list[Step] = []
        if channel is self._route.next:
            steps += self._bound(channel, now)      # the machine may want another target since the open
            if self._route.is_granted(now):
                steps += self._begin_channel(channel, now)
        return self._outlet.pass_on(steps, now)

    def _begin_channel(self, channel: UpstreamChannel, now: Now) -> list[Step]:
        """The machine has a channel, and did not have one: answer what waited for that."""
        self._jobs.forget()
        steps: list[Step] = [channel.uplink.upstream.say_opened(
            self.conn_id, now, ("channel", channel.channel_id), ("user", self._user or ""), ("kind", "v1"),
            ("prefix", channel.extranonce_prefix), ("agent", self.agent), is_again=self._setup.has_opened)]
        self._setup.grant(channel, self._jobs, self._naming.session_id, has_name=self._user is not None)
        self.answers.send(steps)
        return [*steps, *self._send_back(now)]

    def refused(self, channel: UpstreamChannel, code: str, now: Now) -> list[Event]:
        """The upstream does not open the next channel."""
        steps: list[Step] = []
        if channel is self._route.next:
            if channel.is_named and not self._setup.is_welcome and code in _NAME_REFUSALS:
                self._route.await_name(now)
                if self._naming.refuse(channel.identity, self._user):
                    self._user, self._others = None, None
                    self._setup.refuse(code)        # the machine is told, and may try another name
                    steps.append(self._refused(code))
                    self.answers.send(steps)
                steps += self._ask(now)
            else:
                channel.end()
                self._route.give_up(now, is_shunned=True)
        return self._outlet.pass_on(steps, now)

    def give(self, channel: UpstreamChannel, work: Work, now: Now, *, is_new_tip: bool) -> list[Event]:
        """New work of a channel of this machine; other work of the same tip that waits to be given out is forgotten."""
        route, jobs = self._route, self._jobs
        if channel is route.current and jobs.waiting is not None and not is_new_tip:
            jobs.waiting = work
            return []
        steps: list[Step] = []
        if channel is route.next:
            before = route.mine()
            if before is None:
                steps += self._begin_channel(channel, now)
            else:
                jobs.forget()
                steps += before.uplink.retire(before, now)
        if channel is route.current:
            route.has_worked()
            jobs.waiting = work
            steps += [*self._bound(channel, now), *self._begin(now)]
        return self._outlet.pass_on(steps, now)

    def _begin(self, now: Now) -> list[Step]:
        """Give the newest work to a machine that is ready for it; once more after each subscribe.

        Where jobs of one tip come too fast, the newest of them waits for its time.
        """
        channel, jobs = self._route.current, self._jobs
        if channel is None or self._user is None or jobs.extranonce is None or self.is_leaving:
            return []
        if jobs.is_too_soon(channel, now.monotonic):
            return []
        if not self.wants_extranonce and not jobs.fits():
            return [*self._route.leave("the upstream has changed its extranonce", now)]
        return [*jobs.deliver(channel, self._mask, now)]

    def accepted(self, channel: UpstreamChannel, last_sequence: int, now: Now) -> list[Event]:
        """The upstream took all shares up to this one."""
        return self._outlet.pass_answers(self.answers.accepted(channel, last_sequence, now), now)

    def rejected(self, channel: UpstreamChannel, sequence: int, code: str, now: Now) -> list[Event]:
        """The upstream refused one."""
        return self._outlet.pass_on(self.answers.rejected(channel, sequence, code, now), now)

    def expire(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """Answer what a channel that is no longer mined on has left for too long."""
        return self._outlet.pass_on(self.answers.expire(channel, now), now)

    def lost(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """A channel is gone, with all that waits for it."""
        steps = self.answers.lose(channel)
        uplink, route = channel.uplink, self._route
        if channel is route.next:
            route.give_up(now, is_shunned=uplink.is_unfit or not uplink.is_up)
        elif channel is route.current:
            route.lose(now)
            self._jobs.forget()
        return self._outlet.pass_on(steps, now)

    def move(self, channel: UpstreamChannel, reason: str, now: Now, *, may_close: bool = True) -> list[Event]:
        """The channel is to be left for another, in the pool's time or because a better upstream is there."""
        route = self._route
        steps: list[Step] = []
        if channel is route.next:
            steps += route.leave_next(now)
        elif channel is route.current and route.may(RouteChange.MOVE) and route.has_better(now):
            if not self._is_bound:
                steps += route.move(now)
            elif may_close:
                steps += route.leave(reason, now)
        steps += self._ask(now)
        return self._outlet.pass_on(steps, now)

    _STEPS = MappingProxyType({
        **MachineSession._STEPS,
        "mining.configure": _configure_rolling,
        "mining.subscribe": _subscribe,
    })
