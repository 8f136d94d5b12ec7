"""One V1 machine's conversation, with a V2 pool behind it.

The machine's calls come in as the V1 side reads them; what the upstream says comes in by the methods under "from the
upstream". A machine has at most two channels: the one that it mines on and the next, which is being opened. What it was
told of its extranonce stands in `MachineJobs`; where the next channel's is another one, those machines that can take a
new extranonce go on with it, and the others are closed to connect anew.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

from warppool.events import Close, Event, Happened, Now
from warppool.mining.identity import read_identity
from warppool.mining.idle import patience_s
from warppool.mining.share import Reject
from warppool.sv1.answers import Step
from warppool.sv1.messages import accepted
from warppool.sv1.resume import SESSION_ID_SIZE
from warppool.sv1.session import MachineSession, texts
from warppool.sv1.shares import Fields
from warppool.sv1.words import NO_PREFERENCE, Preference
from warppool.sv2.client import Work
from warppool.translate.channel import Channel, Stage
from warppool.translate.choice import UpstreamChoice
from warppool.translate.context import TranslatorContext
from warppool.translate.held import HeldCalls
from warppool.translate.jobs import KEEP_ALIVE_S, MachineJobs
from warppool.translate.shares import Shares
from warppool.translate.upstreams import Upstream
from warppool.translate.verdicts import LOST, rejection_of

if TYPE_CHECKING:
    from warppool.translate.connection import TranslatedConnection

OPEN_S = 10.0
"""How long an upstream may take to open a channel."""

_NAME_REFUSALS = frozenset({"unknown-user", "invalid-user-identity"})


class TranslatorSession(MachineSession):
    """One machine: its calls, its answers, its channel; and the way to another upstream when that channel is lost."""

    __slots__ = ("_again_at", "_board", "_choice", "_current", "_has_opened", "_has_rolled", "_held", "_is_moving",
                 "_is_welcome", "_jobs", "_leave_by", "_leave_why", "_lost_at", "_next", "_next_by", "_owner",
                 "_ready_at", "_session_id", "_shares", "_context", "_wanted", "_work")

    def __init__(self, owner: TranslatedConnection, conn_id: int, context: TranslatorContext,
                 now: Now) -> None:
        self._shares = Shares(conn_id, context.counters, context.times.verdict_timeout_s)
        super().__init__(conn_id, self._shares)
        self._owner = owner
        self._context = context
        self._board = context.board
        self._jobs = MachineJobs()
        self._wanted = NO_PREFERENCE
        self._session_id = b""
        self._held = HeldCalls(self._shares)        # calls that wait for a channel
        self._is_welcome = False                    # a worker was told that it may mine
        self._current: Channel | None = None
        self._work: Work | None = None              # the newest of the current channel, until it is given out
        self._again_at = math.inf                   # when to go on with what came too fast: jobs, or the machine's wish
        self._next: Channel | None = None
        self._next_by = math.inf                    # ... by when it is to be open
        self._is_moving = False                     # the current channel shall be replaced
        self._choice = UpstreamChoice(context)         # of the next upstream
        self._lost_at = now.monotonic               # since when there is no channel, by our fault or the upstream's
        self._ready_at = now.monotonic              # since when the next one could be asked for
        self._has_rolled = False                    # the configure at hand asks for version bits
        self._has_opened = False                    # it has had a channel
        self._leave_by = math.inf                   # when it is closed at the latest, because it must connect anew
        self._leave_why = ""

    # -- what the connection asks --------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Shares that wait for the upstream's word, or for the end of our patience."""
        return self._shares.in_flight

    def idle_by(self, since: float, idle_timeout_s: float) -> float:
        """When it is idle; what counts is our own verdict, since an upstream may be long with its own."""
        shares = self._shares
        if not shares.good or shares.good_at <= since:
            return since + idle_timeout_s
        return shares.good_at + patience_s(idle_timeout_s, shares.good, shares.good_at - since)

    @property
    def is_authorized(self) -> bool:
        """A worker has been let in."""
        return self._is_welcome

    @property
    def has_work(self) -> bool:
        """The machine has a job to mine on."""
        return self._jobs.newest is not None

    @property
    def is_held(self) -> bool:
        """The machine waits for an upstream, which waits for nothing that the machine could say."""
        return bool(self._held) and not self._waits_for_name

    @property
    def is_leaving(self) -> bool:
        """It is to be closed as soon as the machine has its answers."""
        return self._leave_by < math.inf

    @property
    def wakes_at(self) -> float:
        """The earliest of all that this session waits for."""
        times = self._context.times
        current, following = self._current, self._next
        if current is not None and following is None and not self._is_moving and self._leave_by == math.inf:
            return min(current.first_sent_at + times.verdict_timeout_s,     # it mines; so it is at every share
                       self._jobs.notified_at + KEEP_ALIVE_S, self._again_at, current.fails_at)
        if self.is_leaving and not self._shares.unanswered:
            return -math.inf
        due = self._leave_by
        if current is not None:
            due = min(due, current.first_sent_at + times.verdict_timeout_s)
            if not self.is_leaving:
                due = min(due, self._jobs.notified_at + KEEP_ALIVE_S, self._again_at, current.fails_at)
        if self._waits_for_name:
            return min(due, self._held.may_open_at(self._user))
        if current is None:
            due = min(due, self._lost_at + times.grace_s)
        if following is not None:
            return min(due, self._next_by)
        return min(due, self._choice.seek_at) if self._wants_upstream else due

    def flush(self, events: list[Event]) -> None:
        """Put on the wire what was queued for the upstreams."""
        for channel in (self._current, self._next):
            if channel is not None and channel.uplink.queued:
                channel.uplink.flush(events)

    def tick(self, now: Now) -> list[Step]:
        """Do what is due."""
        steps: list[Step] = []
        current, following = self._current, self._next
        if current is not None:
            steps += self._shares.expire(current, now)
            if now.monotonic >= self._again_at:
                self._again_at = math.inf
                self._bound(current, now)
                steps += self._begin(now)
            if now.monotonic >= self._jobs.notified_at + KEEP_ALIVE_S and not self.is_leaving:
                steps += self._jobs.again(self._mask, now)
            if now.monotonic >= current.fails_at and not self.is_leaving:
                steps += current.uplink.fail(f"no word on the last {current.unanswered} shares of a channel", now,
                                             is_unfit=True)
                current = self._current
        if self.is_leaving and (not self._shares.unanswered or now.monotonic >= self._leave_by):
            return [*steps, Close(self.conn_id, self._leave_why)]
        self._ask(now)
        grace_s = self._context.times.grace_s
        if current is None and not self._waits_for_name and now.monotonic >= self._lost_at + grace_s:
            return [*steps, Close(self.conn_id, f"no upstream for {grace_s:.0f} s")]
        if following is not None and now.monotonic >= self._next_by:
            steps += following.uplink.fail("no channel in time", now)
        return [*steps, *self._seek(now)]

    def closed(self, now: Now) -> list[Step]:
        """The connection is gone: its channels go too, as soon as their last shares are answered or given up."""
        self._board.stop_waiting(self._owner)
        channels = [channel for channel in (self._current, self._next) if channel is not None]
        self._current = self._next = None
        self._choice.seek_at = math.inf
        self._held.drop()
        return [step for channel in channels for step in self._retire(channel, now)]

    # -- the machine's calls -------------------------------------------------------------------------------------

    @property
    def _preference(self) -> Preference:
        return self._wanted

    def _follow(self, preference: Preference, now: Now) -> list[Step]:
        self._wanted = preference
        for channel in (self._current, self._next):
            if channel is not None:
                self._bound(channel, now)
        return []

    def _bound(self, channel: Channel, now: Now) -> None:
        """Keep the upstream told of what the machine takes."""
        again_at = channel.bound(self._max_target(channel.uplink.upstream), now.monotonic)
        self._again_at = min(self._again_at, again_at)

    def _max_target(self, upstream: Upstream) -> int:
        """The easiest target that the machine wants. The network's wins over it, where that is known, as in the pool:
        a machine that asks for more than that would pass over blocks.
        """
        return max(self._wanted.easiest, upstream.network_target)

    def _configure_rolling(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """The machine gets what it and we allow; if its job allows less, it hears of that right behind."""
        self._has_rolled = False
        steps = self._configure(request_id, params, now)
        return [*steps, *self._jobs.roll(self._mask)] if self._has_rolled else steps

    def _roll(self, wanted: object) -> dict[str, object]:
        self._has_rolled = True
        return super()._roll(wanted)

    def _answer_configure(self, line: bytes) -> list[Step]:
        """Out of turn, where what stands before it waits for an upstream: that may be long."""
        return [line] if self._held and line else super()._answer_configure(line)

    def _is_fit(self, name: str) -> bool:
        """Whether the name can go upstream."""
        return read_identity(self._context.identity_of(name)) is not None

    def _subscribe(self, request_id: bytes, params: list[object] | None, now: Now) -> list[Step]:
        """Give the machine its search space, now or as soon as there is a channel."""
        self.agent = texts(params or [], 1)[0]
        if not self._session_id:
            self._session_id = self._context.random_bytes(SESSION_ID_SIZE)
        current = self._current
        if current is not None and current.stage is Stage.OPEN:
            self._jobs.tell_extranonce(current)
            return [*self._shares.answer(self._jobs.subscription(request_id, self._session_id)), *self._begin(now)]
        self._jobs.extranonce = None                # that of an upstream that is lost, if there was one
        self._held.subscribe(request_id, now.monotonic)
        self._ask(now)
        return []

    def _welcome(self, request_id: bytes, name: str, password: str, now: Now) -> list[Step]:
        """A worker that we let in: the upstream has the last word on the first one's name."""
        steps = self._follow(self._wanted.with_password(password), now)
        if self._is_welcome or self._current is not None:
            self._is_welcome = True
            return [*self._shares.answer(accepted(request_id)), *steps, *self._begin(now)]
        self._held.authorize(request_id, name)
        self._ask(now)
        return steps

    def _malformed(self, request_id: bytes) -> list[Step]:
        if self._jobs.extranonce is None:
            return self._shares.refuse(request_id, "", rejection_of(Reject.INVALID_CHANNEL))
        return self._shares.refuse(request_id, self._user or "", rejection_of(Reject.MALFORMED))

    def submit(self, request_id: bytes, fields: Fields, now: Now) -> list[Step]:
        """Judge a share, and send it upstream if it is good."""
        if self._jobs.extranonce is None:
            return self._shares.refuse(request_id, "", rejection_of(Reject.INVALID_CHANNEL))
        self.last_share_at = now.monotonic
        name, key = fields[0], fields[1]
        may_mine = self._may_mine(name)
        if not may_mine:
            name = read_identity(name) or ""
            may_mine = self._may_mine(name)
        given = self._jobs.find(key)
        if given is None:
            rejection = LOST if self._current is None else rejection_of(Reject.INVALID_JOB)
            return self._shares.refuse(request_id, name if may_mine else "", rejection)
        return self._shares.submit(
            request_id, fields, given, self._current, self._mask, self._jobs.easiest,
            None if may_mine else Reject.UNAUTHORIZED, name, now)

    # -- the way to an upstream ----------------------------------------------------------------------------------

    @property
    def _wants_upstream(self) -> bool:
        return self._next is None and not self.is_leaving and (self._current is None or self._is_moving)

    def _seek(self, now: Now) -> list[Step]:
        """Begin the next channel, if one is wanted and an upstream is there, or is to be tried."""
        if not self._wants_upstream or now.monotonic < self._choice.seek_at:
            return []
        upstream = self._choice.choose(now.monotonic)
        if upstream is None:
            self._board.wait(self._owner)
            self._choice.seek_at = self._board.next_try()
            return []
        self._board.stop_waiting(self._owner)
        current = self._current
        if current is not None and current.uplink.upstream is upstream and not current.uplink.is_leaving:
            self._is_moving = False                 # the better one is gone again
            return []
        uplink, events = self._board.connect(upstream, self.conn_id)
        self._next = Channel(self._owner, uplink)
        self._next_by = math.inf                    # the connection has deadlines of its own until it is set up
        uplink.join(self._next)
        self._ready_at = now.monotonic
        self._ask(now)
        return [*events]

    def seek_again(self, now: Now) -> None:
        """What it waits for may have come."""
        self._choice.seek_at = now.monotonic

    @property
    def _waits_for_name(self) -> bool:
        """The next channel could be asked for, did the machine say its name, or that it waits."""
        channel = self._next
        return channel is not None and channel.stage is Stage.JOINED and channel.uplink.is_up

    def _ask(self, now: Now) -> None:
        """Ask for the next channel as soon as it can be asked for."""
        channel = self._next
        if channel is not None and self._waits_for_name and now.monotonic >= self._held.may_open_at(self._user):
            user = self._user
            identity = (self._context.identity_of(user) if user is not None
                        else channel.uplink.upstream.config.user_identity)
            channel.ask(identity, self._max_target(channel.uplink.upstream), is_named=user is not None)
            self._next_by = now.monotonic + OPEN_S
            self._lost_at += now.monotonic - self._ready_at     # the machine let us wait so long

    def _try_again(self, channel: Channel, now: Now, *, is_shunned: bool) -> None:
        """The next channel, or the only one, is no more: look for another."""
        if self._current is not None and not self._current.uplink.is_leaving:
            self._is_moving = False                 # the better one was not as good as it looked
        self._choice.has_failed(channel.uplink.upstream, now.monotonic, is_shunned=is_shunned)

    def _retire(self, channel: Channel, now: Now) -> list[Step]:
        return [*channel.uplink.retire(channel, now)]

    def _leave(self, reason: str, now: Now) -> list[Step]:
        """The machine cannot go on as it is: close it when it has its answers, so that it connects anew."""
        if self.is_leaving:
            return []
        self._leave_by = now.monotonic + self._context.times.verdict_timeout_s
        self._leave_why = reason
        self._board.stop_waiting(self._owner)
        channel, self._next = self._next, None
        return self._retire(channel, now) if channel is not None else []

    # -- from the upstream ---------------------------------------------------------------------------------------

    @property
    def _is_bound(self) -> bool:
        """The machine has an extranonce and cannot take another one."""
        return self._jobs.extranonce is not None and not self.wants_extranonce

    def ready(self, channel: Channel, now: Now) -> list[Step]:
        """The connection for the next channel is set up."""
        if channel is not self._next:
            return []
        if self._is_bound:
            return self._leave("an upstream is back, with another extranonce", now)
        self._ready_at = now.monotonic
        self._ask(now)
        return []

    def granted(self, channel: Channel, now: Now) -> list[Step]:
        """The next channel is open. Where there is a current one, it is replaced when the first work comes."""
        if channel is not self._next:
            return []
        self._next_by = now.monotonic + self._context.times.silence_s
        self._bound(channel, now)                   # its wish may have changed since the open
        if self._current is not None:
            return []
        self._take_over(channel)
        upstream = channel.uplink.upstream
        fields: tuple[tuple[str, object], ...] = (
            ("upstream", upstream.config.name), ("channel", channel.channel_id), ("user", self._user or ""),
            ("kind", "v1"), ("prefix", channel.extranonce_prefix), ("agent", self.agent))
        steps: list[Step] = [upstream.hush.say(self.conn_id, "info", "miner.reopened", fields, now) if self._has_opened
                             else Happened(self.conn_id, "info", "miner.opened", fields)]
        self._has_opened = True
        self._is_welcome |= self._held.grant(channel, self._jobs, self._session_id, has_name=self._user is not None)
        self._shares.send(steps)
        return steps

    def _take_over(self, channel: Channel) -> None:
        self._current, self._next = channel, None
        self._next_by = math.inf
        self._forget_work()
        self._is_moving = False
        self._jobs.forget()

    def refused(self, channel: Channel, code: str, now: Now) -> list[Step]:
        """The upstream does not open the next channel."""
        if channel is not self._next:
            return []
        self._next_by = math.inf
        if channel.is_named and not self._is_welcome and code in _NAME_REFUSALS:
            channel.stage = Stage.JOINED            # for another name
            self._ready_at = now.monotonic
            return self._refuse_held(code)
        channel.stage = Stage.OVER
        self._next = None
        self._try_again(channel, now, is_shunned=True)
        return []

    def _refuse_held(self, code: str) -> list[Step]:
        """The upstream does not know the name: the machine is told, and may try another."""
        self._user, self._others = None, None
        self._held.refuse()
        steps: list[Step] = [self._refused(code)]
        self._shares.send(steps)
        return steps

    def give(self, channel: Channel, work: Work, now: Now) -> list[Step]:
        """New work of a channel of this machine."""
        steps: list[Step] = []
        if channel is self._next:
            before = self._current
            self._take_over(channel)
            if before is not None:
                steps += self._retire(before, now)
        if channel is not self._current:
            return steps
        self._choice.has_worked()
        self._work = work
        self._bound(channel, now)
        return [*steps, *self._begin(now)]

    def replace_work(self, channel: Channel, work: Work) -> bool:
        """True where other work of the same tip waits to be given out: the newest takes its place, and that is all."""
        if channel is not self._current or self._work is None:
            return False
        self._work = work
        return True

    def _forget_work(self) -> None:
        self._work = None
        self._again_at = math.inf

    def _begin(self, now: Now) -> list[Step]:
        """Give the newest work to a machine that is ready for it; once more after each subscribe.

        Where jobs of one tip come too fast, the newest of them waits for its time.
        """
        channel, jobs = self._current, self._jobs
        if channel is None or self._user is None or jobs.extranonce is None or self.is_leaving:
            return []
        work = self._work
        if work is None:
            return [] if jobs.announced else [*jobs.again(self._mask, now)]
        give_at = jobs.next_at(channel, now.monotonic)
        if give_at > now.monotonic:
            self._again_at = min(self._again_at, give_at)
            return []
        self._work = None
        if not self.wants_extranonce and not jobs.fits(work.extranonce_prefix, work.extranonce_size):
            return self._leave("the upstream has changed its extranonce", now)
        return [*jobs.give(channel, work, self._mask, now)]

    def accepted(self, channel: Channel, last_sequence: int, now: Now) -> list[Step]:
        """The upstream took all shares up to this one."""
        return self._shares.accepted(channel, last_sequence, now)

    def rejected(self, channel: Channel, sequence: int, code: str, now: Now) -> list[Step]:
        """The upstream refused one."""
        return self._shares.rejected(channel, sequence, code, now)

    def expire(self, channel: Channel, now: Now) -> list[Step]:
        """Answer what a channel that is no longer mined on has left for too long."""
        return self._shares.expire(channel, now)

    def lost(self, channel: Channel, now: Now) -> list[Step]:
        """A channel is gone, with all that waits for it."""
        steps = self._shares.lose(channel)
        if channel is self._next:
            self._next = None
            self._next_by = math.inf
            self._try_again(channel, now, is_shunned=channel.uplink.is_unfit or not channel.uplink.is_up)
        elif channel is self._current:
            self._current = None
            self._forget_work()
            self._is_moving = False
            self._lost_at = now.monotonic
            self._jobs.forget()
            if self._next is None:
                self._try_again(channel, now, is_shunned=channel.uplink.is_unfit)
        return steps

    def move(self, channel: Channel, reason: str, now: Now) -> list[Step]:
        """The channel is to be left for another, in the pool's time or because a better upstream is there."""
        if channel is self._next:
            self._next = None
            self._next_by = math.inf
            return [*self._retire(channel, now), *self._seek(now)]
        if channel is not self._current or self._is_moving:
            return []
        if not channel.uplink.is_leaving:
            better = self._choice.choose(now.monotonic)
            if better is None or better.rank >= channel.uplink.upstream.rank:
                return []                           # the better one has refused this machine
        if self._is_bound:
            return self._leave(reason, now)
        self._is_moving = True
        self._choice.seek_at = now.monotonic
        return self._seek(now)

    _STEPS = MappingProxyType({
        **MachineSession._STEPS,
        "mining.configure": _configure_rolling,
        "mining.subscribe": _subscribe,
    })

