"""The course of a channel: which targets and which jobs it is given, and in which order, in V1 and V2 alike.

A session says what happens: a job for all has come, a machine asks for another difficulty, shares come or stay away. It
gets back changes, in the order in which the machine is to hear of them, and encodes each in the words of its protocol:

    NewTarget   V2 sends SetTarget. V1 sends nothing: a machine is told a difficulty with the job that it counts from
    NewJob      V2 sends the job, and SetNewPrevHash behind it where the tip is new; V1 sends a notify
    GroupJob    V2 alone: one job, and SetNewPrevHash, for all channels of a group (`group.py`)
    Happened    nothing: a line for the log

A target counts for what is assigned after it. So a change of the target brings the newest job again, under a key and a
coinbase counter of its own. The new key leaves the old target with the old key. The new counter makes other headers of
the job: a machine searches from the start again, and would bring the same shares as before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from warppool.bitcoin.target import MAX_TARGET
from warppool.events import Happened, Now
from warppool.mining.channel import Channel
from warppool.mining.channeljob import ChannelJob
from warppool.mining.counter import CoinbaseCounters
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.group import GroupJob
from warppool.mining.job import Job
from warppool.mining.throttle import FLOOD
from warppool.mining.vardiff import Vardiff

NETWORK = "network difficulty"
"""The reason of a change by a tip with other nbits, for the log."""

CONFIGURATION = "configuration"
"""The reason of a change by other bounds of the operator, for the log."""

UPDATE = "update of the channel"
"""The reason of a change by an UpdateChannel, for the log."""


class NewTarget(NamedTuple):
    """What is assigned to the channel from now on has this target."""

    channel: Channel
    target: int


class NewJob(NamedTuple):
    """A job was assigned to the channel.

    With `is_new_tip` it builds on another tip than the one before. With `is_clean` the machine is to drop the jobs that
    it has, though they are of the same tip.
    """

    channel: Channel
    job: ChannelJob
    is_new_tip: bool
    is_clean: bool


CourseChange = NewTarget | NewJob | Happened
"""What a machine, or the log, is to hear of."""

PeerChange = CourseChange | GroupJob
"""The same for a peer whose channels may be in groups."""


class Course:
    """What the channels of one connection are given, each job as it comes. `job` is the newest one, for all; None
    before the first.

    `due_at` (monotonic seconds) is when `take_time` has something to give; `takes_groups` says that channels that
    begin may be put into groups. Here there is neither; `paced.PacedCourse` has both.
    """

    __slots__ = ("_conn_id", "_counters", "job", "policy", "takes_groups")

    due_at = math.inf

    def __init__(self, conn_id: int, policy: DifficultyPolicy, counters: CoinbaseCounters) -> None:
        self._conn_id = conn_id
        self.policy = policy
        self._counters = counters
        self.takes_groups = False
        self.job: Job | None = None

    @property
    def network_target(self) -> int:
        """The network's, as far as it is known: 1 says that nothing is too hard."""
        return self.job.tip.target if self.job is not None else 1

    # -- difficulty ----------------------------------------------------------------------------------------------

    def begin(self, channel: Channel, now: Now) -> None:
        """The channel's first work is to come. Its machine is measured next."""
        channel.began_at = now.monotonic
        channel.throttle = self.policy.throttle(now.monotonic)
        channel.policy_version = self.policy.version

    def end(self, channel: Channel) -> None:
        """The channel is closed, and gets nothing any more."""
        channel.is_open = False

    def has_group(self, group_id: int) -> bool:
        """Whether a group with this number on the wire has members."""
        return False

    def measure(self, channel: Channel, goal: int, now: Now, *, is_declared: bool = False, easiest: int = MAX_TARGET,
                is_fixed: bool = False) -> None:
        """Find out how fast the machine is, from the target `goal` on; or leave its difficulty there for good.

        `easiest` is the machine's own bound. The target itself is `granted` next.
        """
        channel.fixed_target = min(goal, easiest)
        channel.vardiff = None if is_fixed else Vardiff(self.policy, goal, now.monotonic, is_declared=is_declared,
                                                        easiest=easiest, ceiling=channel.ceiling)

    def follow_policy(self, channel: Channel) -> None:
        """The policy has other numbers, or the channel comes from another worker; its target is `granted` next."""
        channel.policy_version = self.policy.version
        channel.throttle = self.policy.throttle(channel.accepted_at, channel.throttle)
        if channel.vardiff is not None:
            channel.vardiff.follow(self.policy, channel.ceiling)

    def granted(self, channel: Channel) -> int:
        """The target that the channel is to have, within the bounds as they are now."""
        vardiff = channel.vardiff
        if vardiff is not None:
            return vardiff.granted(channel.max_target, self.network_target)
        return self.policy.granted(channel.fixed_target, channel.max_target, self.network_target, channel.ceiling)

    def regrant(self, channel: Channel, reason: str) -> list[CourseChange]:
        """A bound of the channel has changed, and its target may change with it; `reason` is for the log."""
        return self._change(channel, self.granted(channel), reason)

    def review(self, channel: Channel, now: Now) -> list[CourseChange]:
        """Ask the channel's throttle and vardiff whether its target is still the right one.

        Nothing is wrong with the silence of a machine that has no job.
        """
        if self.job is None or not channel.is_open:
            return []
        changes: list[CourseChange] = []
        if channel.review_flood(now.monotonic):
            changes += self._change(channel, self.granted(channel), FLOOD)
        if channel.vardiff is not None:
            wanted = channel.vardiff.wanted(channel.max_target, self.network_target, now.monotonic)
            if wanted is not None:
                changes += self._change(channel, *wanted)
        return changes

    def _change(self, channel: Channel, target: int, reason: str) -> list[CourseChange]:
        """Another target, and the newest job again. Where the machine brings too many shares it drops older jobs."""
        is_flood = reason is FLOOD and target < channel.target
        changes = self._retarget(channel, target, reason)
        return [*changes, *self.assign_again(channel, is_clean=is_flood)] if changes else changes

    def _retarget(self, channel: Channel, target: int, reason: str) -> list[CourseChange]:
        if target == channel.target:
            return []
        before = channel.difficulty
        channel.set_target(target)
        return [NewTarget(channel, target), Happened(self._conn_id, "debug", "difficulty.changed", (
            ("channel", channel.channel_id), ("from", before), ("to", channel.difficulty), ("reason", reason)))]

    def update(self, channel: Channel, now: Now) -> Sequence[PeerChange]:
        """The machine has told another bound or another hash rate."""
        return self.regrant(channel, UPDATE)

    # -- jobs ----------------------------------------------------------------------------------------------------

    def offer(self, job: Job, channels: Sequence[Channel], now: Now) -> tuple[Sequence[PeerChange], bool]:
        """`job` has come for all `channels`: (what they hear of, whether the time of a review may have changed)."""
        self.job = job
        changes: list[CourseChange] = []
        for channel in channels:
            changes += self.assign(channel)
        return changes, len(changes) > len(channels)            # a job alone changes no time

    def take_time(self, channels: Sequence[Channel], now: Now) -> Sequence[PeerChange]:
        """`due_at` may have come."""
        return ()

    def join(self, channel: Channel, now: Now) -> Sequence[PeerChange]:
        """The machine knows of its channel: its first work."""
        return self.assign_again(channel)

    def assign(self, channel: Channel) -> list[CourseChange]:
        """`job` has come for all: assign it to the channel, if its machine may have jobs."""
        job = self.job
        if job is None or not channel.is_open:
            return []
        if not channel.is_proven or not job.rule.serves_all:
            refused = self._prove(channel, job)
            if refused is not None:
                return refused
        is_as_before = channel.tip is job.tip and channel.policy_version == self.policy.version
        changes = [] if is_as_before else self._follow_bounds(channel, job)
        mine, is_new_tip = channel.offer(job, self._counters)
        # as NewJob(...), which costs twice as much: this runs for all channels at every job
        changes.append(tuple.__new__(NewJob, (channel, mine, is_new_tip, False)))
        return changes

    def assign_again(self, channel: Channel, *, is_clean: bool = False) -> list[CourseChange]:
        """Assign the newest job to this channel alone: as it begins, or goes on, or since its target has changed."""
        job = self.job
        if job is None or not channel.is_open:
            return []
        refused = self._prove(channel, job)
        if refused is not None:
            return refused
        changes = self._follow_bounds(channel, job)
        changes.append(NewJob(channel, *channel.offer_alone(job, self._counters), is_clean))
        return changes

    def _prove(self, channel: Channel, job: Job) -> list[CourseChange] | None:
        """None where the channel may have `job`; else what the log is to hear of that.

        The coinbase that a payee alone has is proved once, with the channel's first job.
        """
        payee = channel.payee
        if payee is None or not job.rule.serves(payee):
            return []                               # the log has heard why the job does not serve some
        if not channel.is_proven:
            fault = job.fault_of(payee, len(channel.extranonce_prefix) + channel.extranonce_size)
            if fault:
                channel.payee = None
                return [Happened(self._conn_id, "error", "coinbase.unproven", (
                    ("channel", channel.channel_id), ("account", payee.account), ("rule", fault),
                    ("consequence", "the channel gets no work")))]
            channel.is_proven = True
        return None

    def _follow_bounds(self, channel: Channel, job: Job) -> list[CourseChange]:
        """Where the network's difficulty or the operator's bounds have changed, the channel's may change with them."""
        if channel.policy_version != self.policy.version:
            self.follow_policy(channel)
            return self._retarget(channel, self.granted(channel), CONFIGURATION)
        tip = channel.tip
        if tip is not None and (tip is job.tip or tip.target == job.tip.target):
            return []                               # None: no job was there when the channel began
        return self._retarget(channel, self.granted(channel), NETWORK)
