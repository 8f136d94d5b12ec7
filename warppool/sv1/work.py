"""The work of one V1 machine: its channel, what it wants of difficulty, and the lines that bring it jobs."""

from __future__ import annotations

import math

from warppool.bitcoin.target import MAX_TARGET
from warppool.events import Happened, Now
from warppool.mining.assignment import Keys
from warppool.mining.channel import Channel, ChannelJob
from warppool.mining.counter import CoinbaseCounters
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PREFIX_SIZE
from warppool.mining.job import Job
from warppool.mining.throttle import FLOOD
from warppool.mining.vardiff import Vardiff
from warppool.sv1.answers import Step
from warppool.sv1.jobs import encoded
from warppool.sv1.words import NO_PREFERENCE, Preference, difficulty_text

CHANNEL_ID = 1
"""A V1 connection is one channel."""


class Work:
    """What the machine mines on, from its subscribe on, and under which target.

    `is_on` once it may have jobs: subscribed and authorized. A change of difficulty brings a notify of its own, since
    machines count a difficulty from the next one.
    """

    __slots__ = ("_announced", "_conn_id", "_counters", "_is_clean_due", "_policy", "channel", "is_on", "job",
                 "wakes_at", "preference")

    def __init__(self, conn_id: int, policy: DifficultyPolicy, counters: CoinbaseCounters) -> None:
        self.channel: Channel | None = None
        self.preference = NO_PREFERENCE
        self.job: Job | None = None             # the newest, whether or not it was sent
        self.is_on = False
        self.wakes_at = math.inf                # monotonic: when vardiff is to be asked
        self._conn_id = conn_id
        self._policy = policy
        self._counters = counters
        self._announced = 0                     # the target of the last set_difficulty, 0 for none yet
        self._is_clean_due = True               # the next notify tells the machine to drop what it has

    def open(self, prefix: bytes, extranonce2_size: int) -> None:
        """A new channel; its target is found when it begins."""
        self.channel = Channel(CHANNEL_ID, "", prefix, extranonce2_size, self._start(), MAX_TARGET, Keys())

    def resume(self, channel: Channel, preference: Preference, now: Now) -> list[Step]:
        """The channel of a session that was dropped, and what that one had wanted, where this one has not said more."""
        self.channel = channel
        said, self.preference = self.preference, preference
        channel.look_at_flood(now.monotonic)    # of shares that were judged when the connection was gone
        if channel.vardiff is not None:         # what it found before the drop is as good as a declaration
            channel.vardiff.restart(channel.target, now.monotonic, is_declared=True)
        return self.follow(said.over(preference), now)

    def begin(self, user: str, now: Now) -> list[Step]:
        """The machine may have jobs: it starts, or goes on, or subscribed once more and gets its work anew."""
        channel = self.channel
        assert channel is not None
        self._is_clean_due = True
        self._announced = 0
        if not self.is_on:
            self.is_on = True
            if not channel.user:
                channel.user = user
                channel.began_at = now.monotonic
                channel.throttle = self._policy.throttle(now.monotonic)
                self._measure(channel, self._start(), now)
            channel.set_target(self._granted(channel))
        return self._notify_alone(channel) if self.job is not None else []

    def end(self) -> None:
        """No more jobs; the channel may be another session's by now."""
        self.is_on = False
        self.wakes_at = math.inf

    def offer(self, job: Job) -> list[Step]:
        """A new job for all; it goes out if the machine is ready for it."""
        self.job = job
        channel = self.channel
        if channel is None or not self.is_on:
            return []
        self._follow_network(channel, job)
        return self._notify(channel, job, *channel.offer(job, self._counters))

    # -- difficulty ----------------------------------------------------------------------------------------------

    def follow(self, preference: Preference, now: Now) -> list[Step]:
        """The machine has said what it wants; nothing changes where it says the same again."""
        if preference == self.preference:
            return []
        is_start = ((preference.start is not None and preference.start != self.preference.start)
                    or (preference.hash_rate > 0 and preference.hash_rate != self.preference.hash_rate))
        self.preference = preference
        channel = self.channel
        if channel is None or not channel.user:         # it will begin with what it wants
            return []
        self._measure(channel, self._start() if is_start else channel.target, now)
        return self._retarget(channel, self._granted(channel), "asked")

    def look(self, now: Now) -> list[Step]:
        """Ask throttle and vardiff whether the target is still the right one."""
        channel, job = self.channel, self.job
        self.wakes_at = math.inf
        if not self.is_on or channel is None or job is None:
            return []
        steps: list[Step] = []
        if channel.look_at_flood(now.monotonic):
            steps += self._retarget(channel, self._granted(channel), FLOOD)
        if channel.vardiff is not None:
            wanted = channel.vardiff.wanted(MAX_TARGET, job.tip.target, now.monotonic)
            steps += self._retarget(channel, *wanted) if wanted is not None else []
        self.wakes_at = channel.wakes_at
        return steps

    def _start(self) -> int:
        """The target that a new channel wants, before any bounds."""
        start = self.preference.start
        return self._policy.wanted_at_open(self.preference.hash_rate) if start is None else start

    def _measure(self, channel: Channel, goal: int, now: Now) -> None:
        """Find out how fast the machine is, from `goal` on; or let its difficulty stand where `fd=` has put it."""
        channel.vardiff = None if self.preference.is_fixed else Vardiff(
            self._policy, goal, now.monotonic, easiest=self.preference.easiest, ceiling=channel.ceiling)

    def _granted(self, channel: Channel) -> int:
        """The target within the operator's bounds and the network's, as they are now."""
        network_target = self.job.tip.target if self.job is not None else 1
        if channel.vardiff is None:
            target = self._policy.granted(min(self._start(), self.preference.easiest), MAX_TARGET, network_target,
                                          channel.ceiling)
        else:
            target = channel.vardiff.granted(MAX_TARGET, network_target)
        self.wakes_at = channel.wakes_at if self.job is not None else math.inf
        return target

    def _retarget(self, channel: Channel, target: int, reason: str) -> list[Step]:
        if target == channel.target:
            return []
        before = channel.difficulty
        if reason is FLOOD and target < channel.target:
            self._is_clean_due = True
        channel.set_target(target)
        changed = Happened(self._conn_id, "debug", "difficulty.changed", (
            ("channel", channel.channel_id), ("from", before), ("to", channel.difficulty), ("reason", reason)))
        if not self.is_on or self.job is None:          # its first notify is still to come
            return [changed]
        return [changed, *self._notify_alone(channel)]

    # -- jobs ----------------------------------------------------------------------------------------------------

    def _notify_alone(self, channel: Channel) -> list[Step]:
        """The newest job for this machine: as it begins or goes on, or because its difficulty has changed.

        Its key leaves the old target with the old key. Its coinbase counter makes other headers of it: machines search
        from the start again, and would bring the same shares as before.
        """
        job = self.job
        assert job is not None
        self._follow_network(channel, job)
        return self._notify(channel, job, *channel.offer_alone(job, self._counters))

    def _follow_network(self, channel: Channel, job: Job) -> None:
        """Where the network's difficulty has changed, the channel's may change with it."""
        if channel.tip is None or channel.tip.target != job.tip.target:     # None: no job was there when it began
            channel.set_target(self._granted(channel))

    def _notify(self, channel: Channel, job: Job, mine: ChannelJob, has_moved: bool) -> list[Step]:
        """The line that brings an assignment, and before it the difficulty, where the machine does not know it."""
        is_clean, self._is_clean_due = has_moved or self._is_clean_due, False
        line = encoded(job, PREFIX_SIZE + channel.extranonce_size).line(mine.assignment, is_clean=is_clean)
        if self._announced == channel.target:
            return [line]
        self._announced = channel.target
        return [b'{"id":null,"method":"mining.set_difficulty","params":[%b]}\n' % difficulty_text(
            channel.target).encode(), line]
