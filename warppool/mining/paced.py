"""The course of channels whose machines are to be disturbed seldom, and which may get their jobs in groups.

On one and the same tip the newest job goes out at most once in `JobPace.least_s`, and at least once in
`JobPace.most_s`. A change of the target waits for that job and stands right before it. These come at once, with a job
for the channel alone: the first work of a channel, what a machine asks for, changes in a channel's first
`JobPace.settling_s`, and what stops a flood. A new tip comes at once for all.

A job that was held back is known: a machine may have it from another connection, and have hashed with it before it
asks for a difficulty here. So such a job goes out with a coinbase counter that nobody has seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from warppool.events import Now
from warppool.mining.channel import Channel
from warppool.mining.counter import CoinbaseCounters
from warppool.mining.course import Course, CourseChange, NewJob, PeerChange
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.group import GROUP_IDS, PAYEE_IDS, Group, Membership
from warppool.mining.job import Job
from warppool.mining.pace import JobPace
from warppool.mining.payee import Payee
from warppool.mining.throttle import FLOOD


class PacedCourse(Course):
    """What the channels of one connection are given, at `pace`."""

    __slots__ = ("_first_payee", "_given_at", "_group_ids", "_groups", "_later_payees", "_open_channels", "_pace",
                 "due_at")

    def __init__(self, conn_id: int, policy: DifficultyPolicy, counters: CoinbaseCounters, pace: JobPace) -> None:
        super().__init__(conn_id, policy, counters)
        self.due_at = math.inf
        self._pace = pace
        self._groups: dict[tuple[int, Payee], Group] = {}   # by the rollable bytes and the payee of their members
        self._group_ids: set[int] = set()           # their numbers on the wire
        self._first_payee: Payee | None = None      # whose groups have the lowest numbers
        self._later_payees = 0                      # groups that others had, in the connection's whole life
        self._open_channels = 0
        self._given_at = -math.inf                  # monotonic seconds: when all channels had the newest job of then

    # -- channels ------------------------------------------------------------------------------------------------

    def begin(self, channel: Channel, now: Now) -> None:
        """The channel's first work is to come. It joins its group, where its peer takes groups."""
        super().begin(channel, now)
        self._open_channels += 1
        payee = channel.payee
        if not self.takes_groups or payee is None:
            return
        size = channel.extranonce_size
        group = self._groups.get((size, payee))
        if group is None:
            group = self._groups[size, payee] = Group(self._new_id(size, payee), size, payee, channel.keys)
            self._group_ids.add(group.group_id)
        if self.job is not None:
            group.move(self.job.tip)                # the others are there; and what it gets alone will be of this tip
        group.members += 1
        channel.membership = Membership(group, channel.extranonce_prefix, channel.keys.next, channel.target)

    def _new_id(self, size: int, payee: Payee) -> int:
        """The number of a new group. None that was a payee's is ever another one's: a peer may keep jobs by it."""
        if self._first_payee is None:
            self._first_payee = payee
        if payee == self._first_payee:
            return GROUP_IDS + size
        self._later_payees += 1                     # at most one for each open, and these are counted
        return GROUP_IDS + size + PAYEE_IDS * self._later_payees

    def end(self, channel: Channel) -> None:
        """The channel is closed, and gets nothing any more."""
        super().end(channel)
        if channel.membership is not None:
            group = channel.membership.group
            group.members -= 1
            if not group.members:
                # Nobody tells it of another tip, and it holds jobs.
                del self._groups[group.extranonce_size, group.payee]
                self._group_ids.remove(group.group_id)
        self._open_channels -= 1
        if not self._open_channels:
            self._given_at, self.due_at = -math.inf, math.inf

    def has_group(self, group_id: int) -> bool:
        """Whether a group with this number on the wire has members."""
        return group_id in self._group_ids

    def join(self, channel: Channel, now: Now) -> Sequence[PeerChange]:
        """The machine knows of its channel: its first work, for it alone."""
        changes = super().join(channel, now)
        self._note_alone(changes, now)
        return changes

    def update(self, channel: Channel, now: Now) -> Sequence[PeerChange]:
        """The machine has told another bound or another hash rate."""
        changes = super().update(channel, now)
        self._note_alone(changes, now)
        return changes

    def review(self, channel: Channel, now: Now) -> list[CourseChange]:
        """Ask the channel's throttle and vardiff whether its target is still the right one: at once while it settles,
        else with its next job. A flood does not wait.
        """
        if self.job is None or not channel.is_open:
            return []
        if now.monotonic < min(channel.began_at + self._pace.settling_s, self.due_at):
            changes = super().review(channel, now)
        else:
            channel.is_due = True
            ceiling, changes = channel.ceiling, []
            if channel.review_flood(now.monotonic) and channel.ceiling < ceiling:
                changes = self._change(channel, self.granted(channel), FLOOD)
        self._note_alone(changes, now)
        return changes

    def _note_alone(self, changes: Sequence[PeerChange], now: Now) -> None:
        """One channel alone was given a job: where it is the only one, the pace goes on from there."""
        if self._open_channels == 1 and changes and self.job is not None:
            self._note(now)

    def _note(self, now: Now) -> None:
        """All channels have the newest job now."""
        self._given_at = now.monotonic
        self.due_at = now.monotonic + self._pace.most_s

    # -- jobs for all --------------------------------------------------------------------------------------------

    def offer(self, job: Job, channels: Sequence[Channel], now: Now) -> tuple[Sequence[PeerChange], bool]:
        """`job` has come for all `channels`. On the tip that they mine it may have to wait."""
        before, self.job = self.job, job
        is_same_tip = before is not None and (before.tip is job.tip or before.tip == job.tip)
        due_at = self._given_at + self._pace.least_s
        if is_same_tip and now.monotonic < due_at:
            self.due_at = due_at
            return (), False
        return self._give(job, channels, now, is_unknown=job is not before and not job.is_known)

    def take_time(self, channels: Sequence[Channel], now: Now) -> Sequence[PeerChange]:
        """Where it is time, the newest job goes out: one that was held back, or the last one again."""
        if self.job is None or now.monotonic < self.due_at:
            return ()
        return self._give(self.job, channels, now, is_unknown=False)[0]

    def _give(self, job: Job, channels: Sequence[Channel], now: Now,
              is_unknown: bool) -> tuple[Sequence[PeerChange], bool]:
        """Every channel gets `job`, alone or in its group, after another target where one is due.

        `is_unknown` says that nobody who speaks here can have known the job's own counter before.
        """
        if not channels:
            return (), False
        self._note(now)
        changes: list[PeerChange] = []
        groups: dict[Group, None] = {}
        jobs, was_due = 0, False
        version, counters = self.policy.version, self._counters
        for channel in channels:
            if not channel.is_proven or not job.rule.serves_all:
                refused = self._prove(channel, job)
                if refused is not None:
                    changes += refused
                    jobs += len(refused)            # a line for the log changes no time
                    continue
            if channel.is_due:
                was_due = True
                changes += self._settle(channel, now)
            is_elsewhere = channel.tip is not job.tip
            if is_elsewhere or channel.policy_version != version:
                changes += self._follow_bounds(channel, job)
            membership = channel.membership
            if membership is None:
                mine, is_new_tip = channel.offer(job, counters) if is_unknown else channel.offer_alone(job, counters)
                changes.append(NewJob(channel, mine, is_new_tip, False))
                jobs += 1
                continue
            groups[membership.group] = None
            if is_elsewhere and channel.tip != job.tip:
                channel.move(job.tip)
        for group in groups:
            changes.append(group.assign(job, job.counter if is_unknown else counters.take()))
        return changes, was_due or len(changes) > jobs + len(groups)

    def _settle(self, channel: Channel, now: Now) -> list[CourseChange]:
        """The review that has waited for this job."""
        channel.is_due = False
        target, reason = self.granted(channel), FLOOD           # its ceiling may have risen
        if channel.vardiff is not None:
            wanted = channel.vardiff.wanted(channel.max_target, self.network_target, now.monotonic)
            target, reason = wanted or (target, reason)
        return self._retarget(channel, target, reason)
